/* The preview of an image: the whole of it in 8 bits of grey, limited in size. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PREVIEW_H
#define CHIPSHOT_ENGINE_IMAGE_PREVIEW_H

#include <stdint.h>

#include "base/error.h"
#include "engine/image/pyramid.h"

/* The size of a width x height image whose longer side is limited to max_side (at least 1 pixel a
 * side, never enlarged). */
void preview_size(uint32_t width, uint32_t height, uint32_t max_side, uint32_t *out_width,
                  uint32_t *out_height);

/* Draws out_width x out_height pixels (`out`; at least 1 a side), each the mean over its area of
 * the smallest level with twice as many pixels a side, or of level 0, whose pixels weigh as much as
 * they share with it; rounded half up. So at most 16 pixels are read for one that is drawn, of an
 * image that is not much longer than wide. ERROR_INVALID, ERROR_NOMEM, or an error of reading. */
int preview_draw(const struct pyramid *pyramid, pyramid_read_tiles read, void *context,
                 uint32_t out_width, uint32_t out_height, uint8_t *out, struct error *err);

/* The same of a 0..1 plane (height x width, borrowed), whose pyramid is made in memory. */
int preview_of_plane(const float *pixels, uint32_t width, uint32_t height, uint32_t out_width,
                     uint32_t out_height, uint8_t *out, struct error *err);

#endif
