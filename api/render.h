/* Pictures of a stored image, drawn of its view (api/views.h). */
#ifndef CHIPSHOT_API_RENDER_H
#define CHIPSHOT_API_RENDER_H

#include "api/call.h"
#include "db/images.h"
#include "engine/image/chip_grid.h"
#include "engine/image/normalise.h"
#include "engine/image/png_write.h"

/* Part of every rendered picture's entity tag: to be raised when rendering changes its bytes. */
#define RENDER_REVISION "5"

/* A window of the image at its resolution, in 8 bits of grey: *out has width x height bytes, which
 * the caller frees. Errors as view_open. */
int render_window(struct api_call *call, const struct db_image *image,
                  const struct normalise_params *params, const struct chip_rect *window,
                  uint8_t **out, struct error *err);
/* The whole image as width x height bytes (preview_size). */
int render_preview(struct api_call *call, const struct db_image *image,
                   const struct normalise_params *params, uint32_t width, uint32_t height,
                   uint8_t **out, struct error *err);

/* Links of a chip, wherever it lies on its image: `picture`. The caller's. */
json_t *render_chip_links(const char *image_id, const struct chip_rect *chip);

/* Answers with a PNG; takes `png`. */
void render_answer(struct api_call *call, struct png_bytes *png);

#endif
