/* The chips of an image, each cut out and encoded alone, in batches on the pool (embed.h). */
#ifndef CHIPSHOT_ENGINE_CHIP_RUN_H
#define CHIPSHOT_ENGINE_CHIP_RUN_H

#include "engine/embed_output.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

struct chip_run;

/* As embed_grid_begin and the functions beside it. */
int chip_run_begin_grid(struct chip_run **out, struct embedder *embedder, struct pool_lane *lane,
                        const struct chip_source *source, const struct grid *grid, uint32_t n_rows,
                        embed_progress progress, void *context, const struct embed_output *output,
                        struct error *err);
/* Of windows instead of a grid, all of whose pixels are there. */
int chip_run_begin_rects(struct chip_run **out, struct embedder *embedder, struct pool_lane *lane,
                         const struct chip_source *source, const struct chip_rect *rects,
                         uint32_t n_rects, uint32_t batch, const struct cancel *cancel,
                         float *embeddings, struct error *err);
void chip_run_allow(struct chip_run *run, uint32_t n_rows);
bool chip_run_wait(struct chip_run *run, uint32_t first_row);
void chip_run_cancel(struct chip_run *run);
int chip_run_finish(struct chip_run *run, struct embed_times *times, struct error *err);

/* Rows that a batch for each worker and one more reach over. */
uint64_t chip_run_rows(const struct embedder *embedder, const struct grid *grid);

#endif
