/* The engine set up for a subcommand that works without a server: one encoder, one pool, one lane.
 */
#ifndef CHIPSHOT_SERVER_SESSION_H
#define CHIPSHOT_SERVER_SESSION_H

#include <stdint.h>

#include "base/error.h"
#include "engine/embed.h"
#include "engine/image/image.h"
#include "engine/image/normalise.h"

struct session {
    struct encoder *encoder;
    struct pool *pool;
    struct pool_lane *lane;
    struct embedder *embedder;
};

/* encoder_path NULL: the default encoder. n_threads 0: one a processor. input_sizes,
 * encoding and precision as embedder_create. */
int session_create(struct session *out, const char *encoder_path, uint64_t n_threads,
                   const struct input_sizes *input_sizes, enum encoding encoding,
                   enum precision precision, struct error *err);
void session_clear(struct session *session);

/* Loads an encoder from a file, or the default one (path NULL). */
int session_load_encoder(const char *path, struct encoder **out, struct error *err);

/* Reads and decodes an image file: native values. Release with image_clear. */
int session_decode_image(const char *path, struct image *out, struct error *err);
/* Normalises it; `path` is for messages. Says on standard error when pixels are replaced as
 * outliers, whose number is *n_outliers (NULL: not wanted). */
int session_normalise_image(const char *path, const struct normalise_params *normalise,
                            struct image *image, uint64_t *n_outliers, struct error *err);
/* Both. */
int session_load_image(const char *path, const struct normalise_params *normalise,
                       struct image *out, uint64_t *n_outliers, struct error *err);

#endif
