/* A run's way to one of the two encodings. */
#include "engine/embed.h"

#include <stdlib.h>

#include "engine/chip_run.h"
#include "engine/dense/run.h"
#include "engine/dense/windows.h"
#include "engine/embedder_parts.h"
#include "engine/image/source.h"

/* One of the two. */
struct embed_run {
    struct chip_run *chips;
    struct dense_run *dense;
};

void embed_maps_clear(struct embed_maps *maps)
{
    for (uint32_t i = 0; i < INPUT_SIZES_MAX; i++)
        dense_maps_clear(&maps->sizes[i]);
    maps->n = 0;
}

int embed_grid_begin(struct embed_run **out, struct embedder *embedder, struct pool_lane *lane,
                     const struct chip_source *source, const struct grid *grid, uint32_t n_rows,
                     embed_progress progress, void *context, const struct embed_output *output,
                     struct error *err)
{
    const struct dense_run_plan plan = {
        .embedder = embedder,
        .lane = lane,
        .source = *source,
        .grid = *grid,
        .n_rows = n_rows,
        .progress = progress,
        .context = context,
        .output = *output,
    };
    struct embed_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return error_set_nomem(err, "an embedding");
    int rc = embedder->encoding == ENCODING_DENSE
                 ? dense_run_begin(&run->dense, &plan, err)
                 : chip_run_begin_grid(&run->chips, embedder, lane, source, grid, n_rows, progress,
                                       context, output, err);
    if (rc < 0)
        free(run);
    else
        *out = run;
    return rc;
}

int embed_rows_held(const struct embedder *embedder, const struct grid *grid, uint64_t *out,
                    struct error *err)
{
    uint32_t n_rows = 0;
    int rc = 0;
    if (embedder->encoding == ENCODING_DENSE)
        rc = dense_run_rows(embedder, grid, &n_rows, err);
    if (rc == 0)
        *out = SOURCE_BLOCK_ROWS +
               (embedder->encoding == ENCODING_DENSE ? n_rows : chip_run_rows(embedder, grid));
    return rc;
}

void embed_allow(struct embed_run *run, uint32_t n_rows)
{
    if (run->dense != NULL)
        dense_run_allow(run->dense, n_rows);
    else
        chip_run_allow(run->chips, n_rows);
}

bool embed_wait(struct embed_run *run, uint32_t first_row)
{
    return run->dense != NULL ? dense_run_wait(run->dense, first_row)
                              : chip_run_wait(run->chips, first_row);
}

void embed_cancel(struct embed_run *run)
{
    if (run->dense != NULL)
        dense_run_cancel(run->dense);
    else
        chip_run_cancel(run->chips);
}

int embed_finish(struct embed_run *run, struct embed_times *times, struct error *err)
{
    if (run == NULL)
        return 0;
    int rc = run->dense != NULL ? dense_run_finish(run->dense, times, err)
                                : chip_run_finish(run->chips, times, err);
    free(run);
    return rc;
}

int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err)
{
    const struct chip_source source = {.pixels = pixels, .image_width = grid->image_width};
    const struct embed_output output = {.embeddings = out};
    struct embed_run *run = NULL;
    int rc = embed_grid_begin(&run, embedder, lane, &source, grid, grid->image_height, progress,
                              context, &output, err);
    return rc < 0 ? rc : embed_finish(run, NULL, err);
}

/* The tiles that all windows see together, or, where their maps would be too large, those of each
 * window by itself. */
static int embed_rects_densely(struct embedder *embedder, struct pool_lane *lane,
                               const struct chip_source *source, const struct grid *image,
                               const struct chip_rect *rects, uint32_t n_rects,
                               const struct cancel *cancel, float *out, struct error *err)
{
    const uint32_t dimension = embedder_dimension(embedder);
    uint32_t step = n_rects;
    bool together = false;
    int rc = dense_run_fits(embedder, image, rects, n_rects, &together, err);
    if (!together)
        step = 1;
    for (uint32_t first = 0; first < n_rects && rc == 0; first += step) {
        const struct dense_run_plan plan = {
            .embedder = embedder,
            .lane = lane,
            .source = *source,
            .grid = *image,
            .n_rows = image->image_height,
            .windows_only = true,
            .output = {.cancel = cancel,
                       .windows = rects + first,
                       .n_windows = step,
                       .window_embeddings = out + (size_t)first * dimension},
        };
        struct dense_run *run = NULL;
        rc = dense_run_begin(&run, &plan, err);
        if (rc == 0)
            rc = dense_run_finish(run, NULL, err);
    }
    return rc;
}

int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, uint32_t image_height, const struct chip_rect *rects,
                uint32_t n_rects, uint32_t batch, const struct cancel *cancel, float *out,
                struct error *err)
{
    const struct chip_source source = {.pixels = pixels, .image_width = image_width};
    struct chip_run *run = NULL;
    if (n_rects == 0)
        return 0;
    const struct grid image = {
        .params = {.chip_width = rects[0].width, .chip_height = rects[0].height},
        .image_width = image_width,
        .image_height = image_height,
    };
    if (embedder->encoding == ENCODING_DENSE)
        return embed_rects_densely(embedder, lane, &source, &image, rects, n_rects, cancel, out,
                                   err);
    int rc = chip_run_begin_rects(&run, embedder, lane, &source, rects, n_rects, batch, cancel, out,
                                  err);
    return rc < 0 ? rc : chip_run_finish(run, NULL, err);
}

void embed_from_maps(const struct embedder *embedder, const struct embed_maps *maps, uint32_t x,
                     uint32_t y, float *out)
{
    const struct encoder_info *info = encoder_info(embedder->encoder);
    const struct chip_rect window = {.x = x, .y = y};
    for (uint32_t i = 0; i < maps->n; i++, out += info->dimension) {
        dense_pool_windows(&maps->sizes[i], info, &window, 1, info->dimension, out);
        if (maps->n > 1)
            embedder_place_part(out, 1, info->dimension, info->dimension, out);
    }
}
