/* Decoding of a stored image for a picture. */
#ifndef CHIPSHOT_API_RENDER_H
#define CHIPSHOT_API_RENDER_H

#include "api/call.h"
#include "db/images.h"
#include "engine/image/normalise.h"
#include "engine/image/png_write.h"

/* Part of every rendered picture's entity tag: to be raised when rendering changes its bytes. */
#define RENDER_REVISION "1"

/* Decodes and normalises a stored image; the caller clears it. ERROR_NOMEM, ERROR_CORRUPT, and
 * ERROR_CANCELLED when the request's cancel was asked. */
int render_open(struct api_call *call, const struct db_image *image,
                const struct normalise_params *params, struct image *out, struct error *err);

/* Answers with a PNG; takes `png`. */
void render_answer(struct api_call *call, struct png_bytes *png);

#endif
