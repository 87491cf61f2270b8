/* Embedding of many chips of one image on the pool.
 *
 * Chips are embedded in batches of ENCODER_BATCH consecutive grid chips, the last one shorter: the
 * same batches whatever the number of threads or other jobs, hence the same bytes. At the end, when
 * there is less than a batch for each worker, they share batches, so that all end at about the same
 * time: that is the same bytes, too, since only a chip that is alone in a call is encoded otherwise
 * than among others, and a shared batch has none alone.
 */
#ifndef CHIPSHOT_ENGINE_EMBED_H
#define CHIPSHOT_ENGINE_EMBED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "engine/image/chip_grid.h"
#include "engine/pool.h"

enum { INPUT_SIZES_MAX = 3, INPUT_SIZES_TEXT = 16 };

/* The sides in pixels that chips are resampled to before they are encoded. With several, a chip is
 * encoded at each, which shows the encoder its details and its surroundings at different scales,
 * and the embeddings are concatenated in this order. */
struct input_sizes {
    uint32_t n; /* 0: one, the encoder's own */
    uint32_t sides[INPUT_SIZES_MAX];
};

/* ERROR_INVALID unless there are at most INPUT_SIZES_MAX sides within the encoder's range, each
 * larger than the one before: equal choices are then equal texts. */
int input_sizes_check(const struct input_sizes *sizes, struct error *err);
/* "48" or "48+96"; returns `text`. */
const char *input_sizes_text(const struct input_sizes *sizes, char text[INPUT_SIZES_TEXT]);

struct embedder;

/* An embedder holds one workspace a pool worker and input size for one encoder. `pool` and
 * `encoder` are borrowed; `sizes` is copied (NULL: the encoder's own). Any number of lanes may use
 * one embedder at the same time. ERROR_INVALID as input_sizes_check, encoding_check_side,
 * precision_check and encoder_workspace_create, and ERROR_CANCELLED as there.
 */
int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    const struct input_sizes *sizes, enum encoding encoding,
                    enum precision precision, const struct cancel *cancel, struct error *err);
void embedder_destroy(struct embedder *embedder);
const struct encoder *embedder_encoder(const struct embedder *embedder);
/* As used: n > 0. */
const struct input_sizes *embedder_input_sizes(const struct embedder *embedder);
/* As used: never ENCODING_OWN. */
enum encoding embedder_encoding(const struct embedder *embedder);
enum precision embedder_precision(const struct embedder *embedder);
/* Floats of an embedding: the encoder's dimension times the number of sizes. With several sizes
 * each size's part is divided by max(its Euclidean norm, 1e-12), so that none outweighs another. */
uint32_t embedder_dimension(const struct embedder *embedder);

/* Called after each batch with the number of chips it had, on a worker's thread, one call at a time
 * per embed call. Returns false to cancel the rest. */
typedef bool (*embed_progress)(void *context, uint64_t n_chips);

/* Takes the embeddings of the `n` chips of a batch, from chip `first` on, a multiple of
 * ENCODER_BATCH; on a worker's thread, several calls at once. Batches are whole, but for the last
 * one. A failure cancels the rest and is what embed_finish returns. */
typedef int (*embed_store)(void *context, uint64_t first, uint32_t n, const float *embeddings,
                           struct error *err);

/* Where the embeddings go. */
struct embed_output {
    float *embeddings; /* n_chips x embedder_dimension; NULL: to `store` */
    embed_store store;
    void *context;               /* of store */
    const struct cancel *cancel; /* asked within batches, too, which are then left: nothing that was
                                    not stored is to be used. NULL: never; borrowed */
};

/* Embeds every chip of `grid` of a normalised plane (borrowed) into out (grid_n_chips x
 * embedder_dimension).
 * ERROR_CANCELLED when progress said so. Blocks until done. */
int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err);

/* The same without blocking, from floats or samples (`source`, copied; what it points to is used,
 * as that of `output`, until embed_finish, which must be called once for *out). Only the first
 * `n_allowed` chips are there to be embedded yet: the thread may go on decoding this image, or the
 * next, while the workers embed. The lane must not be cancelled meanwhile; several runs may share
 * it. */
struct embed_run;
int embed_grid_begin(struct embed_run **out, struct embedder *embedder, struct pool_lane *lane,
                     const struct chip_source *source, const struct grid *grid, uint64_t n_allowed,
                     embed_progress progress, void *context, const struct embed_output *output,
                     struct error *err);

/* The pixels of the first `n_chips` chips are there; never fewer than before. Not together with
 * embed_finish. */
void embed_allow(struct embed_run *run, uint64_t n_chips);

/* Waits until the pixels of the first `n_chips` chips, all of which are allowed, are not needed any
 * more; the chips that share a batch with them must be allowed, too. False: the run is cancelled.
 */
bool embed_wait(struct embed_run *run, uint64_t n_chips);

/* Batches that have not begun are left out: embed_finish returns soon, with ERROR_CANCELLED. */
void embed_cancel(struct embed_run *run);

/* Seconds of worker threads, all together. */
struct embed_times {
    double resample;
    double encode;
    double store;
};

/* Waits for the end of a run, all chips of which are allowed unless it was cancelled, and frees it
 * (NULL: does nothing). `times`: NULL or where to. */
int embed_finish(struct embed_run *run, struct embed_times *times, struct error *err);

/* Embeds `n_rects` windows in batches of `batch` (1..ENCODER_BATCH) consecutive ones. With a batch
 * of 1 a window's embedding does not depend on which others there are. All have the size of the
 * first and must lie inside the image. */
int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, const struct chip_rect *rects, uint32_t n_rects,
                uint32_t batch, float *out, struct error *err);

#endif
