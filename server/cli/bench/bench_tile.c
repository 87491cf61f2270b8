#include "server/cli/bench/bench_tile.h"

#include <stdlib.h>

#include "base/clock.h"
#include "engine/dense/windows.h"
#include "engine/random.h"

enum { IMAGE_SIDE = 2048, CHIP_SIDE = 64 };

/* Of an image of side x side pixels. */
static int find_geometry(struct dense_geometry *out, uint32_t side, uint32_t chip, uint32_t input,
                         struct error *err)
{
    const struct grid_params params = {.chip_width = chip, .chip_height = chip};
    struct grid grid;
    int rc = grid_plan(&params, side, side, UINT32_MAX, &grid, err);
    return rc == 0 ? dense_geometry_init(out, &grid, input, err) : rc;
}

int bench_tile_init(struct bench_tile *tile, const struct encoder *encoder, uint32_t input,
                    struct error *err)
{
    const struct encoder_info *info = encoder_info(encoder);
    struct dense_geometry whole, core;
    *tile = (struct bench_tile){0};
    int rc = find_geometry(&whole, IMAGE_SIDE, CHIP_SIDE, input, err);
    if (rc == 0)
        rc = find_geometry(&core, whole.core, input, input, err);
    if (rc < 0)
        return rc;
    const struct dense_tiles tiles = dense_tiles_all(&core);
    rc = dense_maps_init(&tile->maps, &core, info, &tiles, core.n_strips, err);
    if (rc < 0)
        return rc;
    const size_t n_pixels = (size_t)core.side * core.side;
    tile->pixels = malloc(n_pixels * sizeof(float));
    tile->embedding = malloc(info->dimension * sizeof(float));
    if (tile->pixels == NULL || tile->embedding == NULL)
        return error_set_nomem(err, "a tile");
    struct random random;
    random_seed(&random, 1, 0);
    for (size_t i = 0; i < n_pixels; i++)
        tile->pixels[i] = (float)random_uniform(&random);
    tile->n_chips = (double)core.core / input * core.core / input;
    return 0;
}

void bench_tile_clear(struct bench_tile *tile)
{
    dense_maps_clear(&tile->maps);
    free(tile->pixels);
    free(tile->embedding);
    *tile = (struct bench_tile){0};
}

uint32_t bench_tile_side(const struct bench_tile *tile)
{
    return tile->maps.geometry.side;
}

static void put_map(void *context, uint32_t stage, const struct encoder_map *map)
{
    struct bench_tile *tile = context;
    const double start = clock_now_seconds();
    dense_maps_put(&tile->maps, 0, 0, stage, map);
    tile->put_seconds += clock_now_seconds() - start;
}

void bench_tile_encode(struct bench_tile *tile, const struct encoder *encoder,
                       struct encoder_workspace *workspace)
{
    const struct dense_geometry *geometry = &tile->maps.geometry;
    const uint32_t input = geometry->input;
    dense_maps_put_pixels(&tile->maps, 0, 0, tile->pixels);
    encoder_run_tile(encoder, workspace, tile->pixels, put_map, tile);
    const double start = clock_now_seconds();
    const struct encoder_info *info = encoder_info(encoder);
    for (uint32_t y = 0; y + input <= geometry->core; y += input) {
        for (uint32_t x = 0; x + input <= geometry->core; x += input) {
            const struct chip_rect window = {.x = x, .y = y};
            dense_pool_windows(&tile->maps, info, &window, 1, info->dimension, tile->embedding);
        }
    }
    tile->pool_seconds += clock_now_seconds() - start;
}
