#include "engine/dense/pass.h"

#include <inttypes.h>
#include <stdlib.h>

static uint32_t strips_a_tile(const struct dense_geometry *geometry)
{
    return geometry->core / DENSE_STRIP;
}

/* Strips that windows between two rows of tiles see of the upper one. */
static uint32_t strips_between(const struct dense_geometry *geometry)
{
    return geometry->input / DENSE_STRIP + 3;
}

static void include(uint32_t position, uint32_t a_tile, uint32_t *first, uint32_t *end)
{
    const uint32_t tile = position / a_tile;
    *first = tile < *first ? tile : *first;
    *end = tile + 1 > *end ? tile + 1 : *end;
}

struct dense_tiles pass_tiles_of(const struct dense_geometry *geometry,
                                 const struct pass_windows *windows)
{
    struct dense_tiles tiles = {UINT32_MAX, 0, UINT32_MAX, 0};
    for (uint32_t i = 0; i < windows->n; i++) {
        const double x = dense_scaled(geometry, &geometry->x, windows->rects[i].x);
        const double y = dense_scaled(geometry, &geometry->y, windows->rects[i].y);
        for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
            struct dense_span columns, rows;
            const uint32_t a_tile = geometry->core / dense_step(stage);
            dense_span_find(geometry, &geometry->x, stage, x, geometry->input, &columns);
            dense_span_find(geometry, &geometry->y, stage, y, geometry->input, &rows);
            include(columns.first, a_tile, &tiles.first_x, &tiles.end_x);
            include(columns.first + columns.n - 1, a_tile, &tiles.first_x, &tiles.end_x);
            include(rows.first, a_tile, &tiles.first_y, &tiles.end_y);
            include(rows.first + rows.n - 1, a_tile, &tiles.first_y, &tiles.end_y);
        }
    }
    return tiles;
}

static int check_ring(const struct dense_geometry *geometry, const struct encoder_info *info,
                      const struct dense_tiles *tiles, uint32_t n_held, struct error *err)
{
    const uint64_t size = dense_maps_size_held(geometry, info, tiles, n_held);
    if (size <= PASS_RING_SIZE_MAX)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "an image %u pixels wide, with chips of %u pixels along x encoded densely at "
                     "an input size of %u, takes %" PRIu64
                     " MiB of feature maps at a time, %" PRIu64
                     " at most; choose larger chips or a smaller input size",
                     geometry->x.n_pixels, geometry->x.chip, geometry->input, size >> 20,
                     PASS_RING_SIZE_MAX >> 20);
}

/* A small chip on a large image makes much work, however few chips are asked for. */
static int check_tiles(const struct dense_geometry *geometry, const struct dense_tiles *tiles,
                       struct error *err)
{
    const uint64_t n = (uint64_t)(tiles->end_x - tiles->first_x) * (tiles->end_y - tiles->first_y);
    if (n <= PASS_TILES_MAX)
        return 0;
    return error_set(
        err, ERROR_INVALID,
        "an image of %u x %u pixels, with chips of %u x %u encoded densely at an input "
        "size of %u, takes %" PRIu64
        " tiles, %d at most; choose larger chips or a smaller input size",
        geometry->x.n_pixels, geometry->y.n_pixels, geometry->x.chip, geometry->y.chip,
        geometry->input, n, PASS_TILES_MAX);
}

int pass_init(struct pass *pass, const struct encoder_info *info, const struct dense_tiles *tiles,
              uint64_t max_size, struct dense_maps *kept, struct error *err)
{
    const struct dense_geometry *geometry = &pass->geometry;
    const bool is_whole = dense_maps_size(geometry, info, tiles) <= max_size;
    const uint32_t n_held = 2 * strips_a_tile(geometry) + strips_between(geometry);
    const uint32_t n_rows = tiles->end_y - tiles->first_y;
    pass->maps = is_whole && kept != NULL ? kept : &pass->own;
    int rc = check_tiles(geometry, tiles, err);
    if (rc == 0 && !is_whole)
        rc = check_ring(geometry, info, tiles, n_held, err);
    if (rc == 0)
        rc =
            dense_maps_init(pass->maps, geometry, info, tiles, is_whole ? UINT32_MAX : n_held, err);
    if (rc < 0)
        return rc;
    pass->n_tiles = n_rows * pass_tile_columns(pass);
    pass->n_left = calloc(n_rows, sizeof(pass->n_left[0]));
    if (pass->n_left == NULL)
        return error_set_nomem(err, "an image's tiles");
    for (uint32_t i = 0; i < n_rows; i++)
        pass->n_left[i] = pass_tile_columns(pass);
    return 0;
}

void pass_adopt(struct pass *pass, struct dense_maps *maps)
{
    pass->maps = maps;
    pass->n_rows_done = maps->tiles.end_y - maps->tiles.first_y;
    pass->n_tiles = pass->n_rows_done * pass_tile_columns(pass);
}

void pass_clear(struct pass *pass)
{
    dense_maps_clear(&pass->own);
    free(pass->n_left);
    *pass = (struct pass){0};
}

uint32_t pass_tile_columns(const struct pass *pass)
{
    return pass->maps->tiles.end_x - pass->maps->tiles.first_x;
}

uint32_t pass_tile_row(const struct pass *pass, uint32_t tile)
{
    return pass->maps->tiles.first_y + tile / pass_tile_columns(pass);
}

uint32_t pass_tile_column(const struct pass *pass, uint32_t tile)
{
    return pass->maps->tiles.first_x + tile % pass_tile_columns(pass);
}

static bool is_done(const struct pass *pass)
{
    return pass->n_rows_done * pass_tile_columns(pass) == pass->n_tiles;
}

void pass_count_tile(struct pass *pass, uint32_t tile)
{
    pass->n_left[tile / pass_tile_columns(pass)]--;
    while (!is_done(pass) && pass->n_left[pass->n_rows_done] == 0)
        pass->n_rows_done++;
}

bool pass_window_is_ready(const struct pass *pass, uint32_t y)
{
    const uint32_t n_rows = pass->maps->tiles.first_y + pass->n_rows_done;
    uint32_t first, end;
    dense_window_strips(&pass->geometry, y, &first, &end);
    return is_done(pass) || end <= n_rows * strips_a_tile(&pass->geometry);
}

bool pass_tile_is_ready(const struct pass *pass, uint32_t tile, uint32_t n_rows,
                        uint32_t first_needed)
{
    const struct dense_maps *maps = pass->maps;
    const uint32_t row = pass_tile_row(pass, tile);
    uint32_t first, end;
    dense_tile_rows(&pass->geometry, row, &first, &end);
    if (end > n_rows)
        return false;
    const uint32_t last = (row + 1) * strips_a_tile(&pass->geometry);
    const uint32_t first_undone =
        (maps->tiles.first_y + pass->n_rows_done) * strips_a_tile(&pass->geometry);
    const uint32_t first_kept = first_undone < first_needed ? first_undone : first_needed;
    return maps->n_held == maps->n_strips || last <= maps->first_strip + maps->n_held ||
           last - maps->n_held <= first_kept;
}

bool pass_needs_rows(const struct pass *pass, uint32_t first_row)
{
    uint32_t first, end;
    if (is_done(pass))
        return false;
    dense_tile_rows(&pass->geometry, pass->maps->tiles.first_y + pass->n_rows_done, &first, &end);
    return first < first_row;
}
