/* PNG output for previews, chips and maps, with libpng. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_WRITE_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct rgb {
    uint8_t r, g, b;
};

struct png_bytes {
    uint8_t *data; /* owned; free with png_bytes_clear */
    size_t size;
};

void png_bytes_clear(struct png_bytes *bytes);

/* 8-bit grey, width x height, row-major. ERROR_NOMEM, ERROR_INVALID (size out of PNG's range). */
int png_write_grey8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                    struct error *err);

/* 16-bit grey in host byte order; a pixel size above 0 is written as an sCAL chunk (metres). */
int png_write_grey16(const uint16_t *pixels, uint32_t width, uint32_t height, double pixel_size_nm,
                     struct png_bytes *out, struct error *err);

/* 8-bit RGB, 3 bytes a pixel. */
int png_write_rgb8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                   struct error *err);

/* 8-bit indexed; every index < n_colors <= 256. */
int png_write_indexed(const uint8_t *indices, uint32_t width, uint32_t height,
                      const struct rgb *palette, uint32_t n_colors, struct png_bytes *out,
                      struct error *err);

#endif
