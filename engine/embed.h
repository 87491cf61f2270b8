/* Embedding of many chips of one image on the pool, in one of two ways (engine/encoding.h).
 *
 * Densely, the image goes through the network as a whole and each chip is a window of its feature
 * maps (engine/dense/run.h).
 *
 * Alone, chips are cut out, scaled and encoded, each as if it were an image. They are embedded in
 * batches of ENCODER_BATCH consecutive grid chips, the last one shorter: the same batches whatever
 * the number of threads or other jobs, hence the same bytes. At the end, when there is less than a
 * batch for each worker, they share batches, so that all end at about the same time: that is the
 * same bytes, too, since only a chip that is alone in a call is encoded otherwise than among
 * others, and a shared batch has none alone.
 */
#ifndef CHIPSHOT_ENGINE_EMBED_H
#define CHIPSHOT_ENGINE_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/embed_output.h"
#include "engine/embedder.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

/* Embeds every chip of `grid` of a normalised plane (borrowed) into out (grid_n_chips x
 * embedder_dimension).
 * ERROR_CANCELLED when progress said so. Blocks until done. ERROR_INVALID: dense encoding at an
 * input size above DENSE_INPUT_MAX. */
int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err);

/* The same without blocking, from floats or samples (`source`, copied; what it points to is used,
 * as that of `output`, until embed_finish, which must be called once for *out). Only the first
 * `n_rows` rows of the image are there yet: the thread may go on decoding this image, or the
 * next, while the workers embed. The lane must not be cancelled meanwhile; several runs may share
 * it. */
struct embed_run;
int embed_grid_begin(struct embed_run **out, struct embedder *embedder, struct pool_lane *lane,
                     const struct chip_source *source, const struct grid *grid, uint32_t n_rows,
                     embed_progress progress, void *context, const struct embed_output *output,
                     struct error *err);

/* How many rows of an image a source must hold at least, so that reading can go on while others are
 * embedded. ERROR_INVALID as embed_grid. */
int embed_rows_held(const struct embedder *embedder, const struct grid *grid, uint64_t *out,
                    struct error *err);

/* The first `n_rows` rows are there; never fewer than before. Not together with embed_finish. */
void embed_allow(struct embed_run *run, uint32_t n_rows);

/* Waits until the rows above `first_row` are not needed any more; what needs them must be allowed.
 * False: the run is cancelled. */
bool embed_wait(struct embed_run *run, uint32_t first_row);

/* Batches that have not begun are left out: embed_finish returns soon, with ERROR_CANCELLED. */
void embed_cancel(struct embed_run *run);

/* Waits for the end of a run, all rows of which are allowed unless it was cancelled, and frees it
 * (NULL: does nothing). `times`: NULL or where to. */
int embed_finish(struct embed_run *run, struct embed_times *times, struct error *err);

/* Embeds `n_rects` windows of a normalised plane (borrowed) of image_width x image_height. Chips
 * alone in batches of `batch` (1..ENCODER_BATCH) consecutive ones: with a batch of 1 a window's
 * embedding does not depend on which others there are. Densely it never does. All have the size of
 * the first and must lie inside the image. ERROR_CANCELLED once `cancel` (NULL: never) says so. */
int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, uint32_t image_height, const struct chip_rect *rects,
                uint32_t n_rects, uint32_t batch, const struct cancel *cancel, float *out,
                struct error *err);

/* The embedding of the window whose corner is pixel (x, y) from its image's maps; the caller's
 * thread. The maps need hold no more than what the window sees. */
void embed_from_maps(const struct embedder *embedder, const struct embed_maps *maps, uint32_t x,
                     uint32_t y, float *out);

#endif
