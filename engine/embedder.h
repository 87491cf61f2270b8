/* One encoder made ready: for each worker of a pool, each input size and one way to encode. */
#ifndef CHIPSHOT_ENGINE_EMBEDDER_H
#define CHIPSHOT_ENGINE_EMBEDDER_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "engine/encoding.h"
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

#endif
