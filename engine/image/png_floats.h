/* Rows of a PNG as libpng gives them, as floats: grey as it is, colours as their luminance, NaN
 * where a pixel is transparent. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_FLOATS_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_FLOATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the samples of a row are. */
struct png_floats {
    bool is_palette, is_color, has_alpha;
    bool is_wide; /* two bytes a sample, in native order */
    uint32_t n_palette;
    float palette[256]; /* luminance of the palette's colours */
};

/* Adds a colour to the palette; alpha 0 is transparent. */
void png_floats_add_color(struct png_floats *floats, uint8_t red, uint8_t green, uint8_t blue,
                          uint8_t alpha);

/* Samples of a pixel. */
uint32_t png_floats_n_channels(const struct png_floats *floats);

/* The first n pixels of a row into out[0], out[step], ... False: one's colour is beyond the
 * palette. */
bool png_floats_convert(const struct png_floats *floats, const uint8_t *row, uint32_t n, float *out,
                        size_t step);

#endif
