/* An image on its way through the network as a whole: tiles are encoded, row of tiles by row, as
 * the image's rows arrive; windows are pooled as soon as their maps are there. What a window gets
 * depends on the image and its place alone (geometry.h, windows.h): not on the number of threads,
 * nor on what else is asked. */
#ifndef CHIPSHOT_ENGINE_DENSE_RUN_H
#define CHIPSHOT_ENGINE_DENSE_RUN_H

#include "engine/embed_output.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

struct dense_run;

struct dense_run_plan {
    struct embedder *embedder; /* borrowed, as all that follows until the end */
    struct pool_lane *lane;
    struct chip_source source;
    struct grid grid;
    uint32_t n_rows;   /* of the image that are there */
    bool windows_only; /* the grid's chips are not asked for, and only the tiles that the windows
                          see are encoded */
    embed_progress progress;
    void *context;
    struct embed_output output;
};

/* As embed_grid_begin and the functions beside it. */
int dense_run_begin(struct dense_run **out, const struct dense_run_plan *plan, struct error *err);
void dense_run_allow(struct dense_run *run, uint32_t n_rows);
bool dense_run_wait(struct dense_run *run, uint32_t first_row);
void dense_run_cancel(struct dense_run *run);
int dense_run_finish(struct dense_run *run, struct embed_times *times, struct error *err);

/* Rows of pixels that two rows of tiles are made of. */
int dense_run_rows(const struct embedder *embedder, const struct grid *grid, uint32_t *out,
                   struct error *err);

/* Whether the maps of all tiles that some windows of an image see are to be in memory together. */
int dense_run_fits(const struct embedder *embedder, const struct grid *image,
                   const struct chip_rect *rects, uint32_t n_rects, bool *out, struct error *err);

#endif
