/* Size-limited 8-bit views of a plane: the preview of an image and of one chip. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PREVIEW_H
#define CHIPSHOT_ENGINE_IMAGE_PREVIEW_H

#include <stdint.h>

#include "base/error.h"

/* The size of a width x height image whose longer side is limited to max_side (at least 1 pixel a
 * side, never enlarged). */
void preview_size(uint32_t width, uint32_t height, uint32_t max_side, uint32_t *out_width,
                  uint32_t *out_height);

/* Area-averages a 0..1 plane (image_width floats a row) to out_width x out_height and quantises to
 * 0..255 (round half up, clipped). `out` holds out_width * out_height bytes. The window may be the
 * whole image. */
int preview_grey8(const float *pixels, uint32_t image_width, uint32_t x, uint32_t y, uint32_t width,
                  uint32_t height, uint32_t out_width, uint32_t out_height, uint8_t *out,
                  struct error *err);

#endif
