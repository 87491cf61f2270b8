/* Rows are made in blocks, so that what lies between the two passes of resampling follows the
 * block's size and not the tile's. */
#include "engine/dense/tile.h"

#include <stdlib.h>

#include "engine/give_way.h"

enum { BLOCK_ROWS = 32 };

void dense_tile_scratch_clear(struct dense_tile_scratch *scratch)
{
    free(scratch->floats);
    *scratch = (struct dense_tile_scratch){0};
}

/* The scaled pixel that is seen at `at`, which may lie beyond the image: by the margin at most it
 * is mirrored, and farther out the last of these goes on. */
static uint32_t mirrored(int64_t at, uint32_t n_scaled, uint32_t margin)
{
    const int64_t n = n_scaled;
    if (at >= n + margin)
        at = n + margin - 1;
    int64_t place = at % (2 * n);
    if (place < 0)
        place += 2 * n;
    return (uint32_t)(place < n ? place : 2 * n - 1 - place);
}

static void list_outputs(const struct dense_geometry *geometry, const struct dense_axis *axis,
                         uint32_t tile, uint32_t *outputs)
{
    const int64_t begin = (int64_t)tile * geometry->core - geometry->margin;
    for (uint32_t i = 0; i < geometry->side; i++)
        outputs[i] = mirrored(begin + i, axis->n_scaled, geometry->margin);
}

static int reserve(struct dense_tile_scratch *scratch, size_t n_floats, struct error *err)
{
    if (n_floats <= scratch->n_floats)
        return 0;
    float *floats = malloc(n_floats * sizeof(float));
    if (floats == NULL)
        return error_set_nomem(err, "resampling");
    free(scratch->floats);
    *scratch = (struct dense_tile_scratch){floats, n_floats};
    return 0;
}

/* Rows of a tile; its first ones make the resampler, whose columns all others share. */
static int make_rows(struct chip_resampler **resampler, const struct chip_source *source,
                     const struct resample_span *horizontal, const struct resample_span *vertical,
                     struct dense_tile_scratch *scratch, float *out, struct error *err)
{
    int rc = *resampler == NULL ? chip_resampler_create_part(resampler, horizontal, vertical, err)
                                : chip_resampler_set_rows(*resampler, vertical, err);
    if (rc == 0)
        rc = reserve(scratch, chip_resampler_scratch(*resampler), err);
    if (rc == 0) {
        const struct chip_rect window = chip_resampler_window(*resampler);
        chip_resample_source(*resampler, source, window.x, window.y, scratch->floats, out);
    }
    return rc;
}

int dense_tile_make(const struct dense_geometry *geometry, const struct chip_source *source,
                    uint32_t tile_x, uint32_t tile_y, struct dense_tile_scratch *scratch,
                    const struct cancel *cancel, float *out, struct error *err)
{
    uint32_t columns[ENCODER_INPUT_SIZE_MAX], rows[ENCODER_INPUT_SIZE_MAX];
    list_outputs(geometry, &geometry->x, tile_x, columns);
    list_outputs(geometry, &geometry->y, tile_y, rows);
    const uint32_t side = geometry->side;
    const struct resample_span horizontal = {.n_in = geometry->x.n_pixels,
                                             .scale = (double)geometry->x.chip / geometry->input,
                                             .outputs = columns,
                                             .n_out = side};
    struct chip_resampler *resampler = NULL;
    int rc = 0;
    for (uint32_t y = 0; y < side && rc == 0 && !cancel_is_asked(cancel); y += BLOCK_ROWS) {
        const struct resample_span vertical = {.n_in = geometry->y.n_pixels,
                                               .scale = (double)geometry->y.chip / geometry->input,
                                               .outputs = rows + y,
                                               .n_out =
                                                   side - y < BLOCK_ROWS ? side - y : BLOCK_ROWS};
        rc = make_rows(&resampler, source, &horizontal, &vertical, scratch, out + (size_t)y * side,
                       err);
        give_way();
    }
    chip_resampler_destroy(resampler);
    return rc;
}
