/* Embedding of many chips of one image on the pool.
 *
 * Chips are embedded in batches of ENCODER_BATCH consecutive grid chips, the last one shorter: the
 * same batches whatever the number of threads or other jobs, hence the same bytes.
 */
#ifndef CHIPSHOT_ENGINE_EMBED_H
#define CHIPSHOT_ENGINE_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

struct embedder;

/* An embedder holds one workspace a pool worker for one encoder and input size (0: the encoder's
 * own). Both are borrowed. Any number of lanes may use one embedder at the same time. */
int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    uint32_t input_size, struct error *err);
void embedder_destroy(struct embedder *embedder);
const struct encoder *embedder_encoder(const struct embedder *embedder);
uint32_t embedder_input_size(const struct embedder *embedder);

/* Called after each batch with the number of chips it had, on a worker's thread, one call at a time
 * per embed call. Returns false to cancel the rest. */
typedef bool (*embed_progress)(void *context, uint64_t n_chips);

/* Embeds every chip of `grid` of a normalised plane (borrowed) into out (grid_n_chips x dimension).
 * ERROR_CANCELLED when progress said so. Blocks until done. */
int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err);

/* Embeds `n_rects` windows in batches of `batch` (1..ENCODER_BATCH) consecutive ones. With a batch
 * of 1 a window's vector does not depend on which others there are. All have the size of the first
 * and must lie inside the image. */
int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, const struct chip_rect *rects, uint32_t n_rects,
                uint32_t batch, float *out, struct error *err);

#endif
