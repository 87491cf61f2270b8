/* PNG files chunk by chunk, valid or not, without libpng: what the decoder's tests feed it. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_IMAGE_PNG_BUILDER_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_IMAGE_PNG_BUILDER_H

#include <stddef.h>
#include <stdint.h>

enum { PNG_GREY = 0, PNG_RGB = 2, PNG_PALETTE = 3, PNG_GREY_ALPHA = 4, PNG_RGBA = 6 };

struct png_file {
    uint8_t *data; /* owned; free with png_file_clear */
    size_t size;
};

struct png_pixels {
    uint32_t width, height;
    uint8_t bit_depth, color_type, interlace;
    const uint16_t *samples; /* height x width x channels */
    const uint8_t *palette;  /* RGB triples, PNG_PALETTE only */
    size_t palette_size;     /* bytes */
};

void png_file_clear(struct png_file *file);
void png_add_bytes(struct png_file *file, const void *bytes, size_t size);
void png_add_signature(struct png_file *file);
/* `type` has four letters; the checksum is right. */
void png_add_chunk(struct png_file *file, const char *type, const void *bytes, size_t size);
void png_add_ihdr(struct png_file *file, uint32_t width, uint32_t height, uint8_t bit_depth,
                  uint8_t color_type, uint8_t interlace);
/* Compresses `raw` into one IDAT chunk. */
void png_add_idat(struct png_file *file, const void *raw, size_t size);
void png_add_iend(struct png_file *file);

uint32_t png_n_channels(uint8_t color_type);
/* Filtered (type 0) scanlines of all passes, packed; to be freed. */
uint8_t *png_scanlines(const struct png_pixels *pixels, size_t *size);
/* PLTE when there is one, IDAT and IEND: what follows IHDR and ancillary chunks. */
void png_add_pixels(struct png_file *file, const struct png_pixels *pixels);
/* A whole file. */
struct png_file png_build(const struct png_pixels *pixels);

#endif
