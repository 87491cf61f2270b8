/* Decoding of uploaded micrographs: bytes in, one float32 grey plane with the file's native values
 * out.
 *
 * Formats: PNG (W3C PNG Specification, third edition). Every input is hostile: limits are checked
 * from the file's header before anything is allocated, and a corrupt file leaves nothing behind.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_IMAGE_H
#define CHIPSHOT_ENGINE_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum image_format { IMAGE_FORMAT_PNG };

enum image_conversion {
    IMAGE_CONVERSION_NONE,      /* grey in the file */
    IMAGE_CONVERSION_LUMINANCE, /* RGB or palette colours, to luminance by ITU-R BT.709 weights */
};

struct image_info {
    enum image_format format;
    enum image_conversion conversion;
    uint32_t width;
    uint32_t height;
    uint32_t
        bit_depth; /* bits per sample in the file: 1, 2, 4, 8 or 16; a palette's colours have 8 */
    uint32_t n_channels;  /* channels in the file, alpha included; a palette's colours have 3 */
    double pixel_size_nm; /* edge of a pixel in nanometres; 0 when the file does not say (PNG: sCAL
                             chunk with unit metre, square pixels; pHYs is a print size and is not
                             used) */
};

struct image {
    struct image_info info;
    float *pixels; /* height x width, row-major, native values (0 .. 2^bit_depth - 1; luminance is
                      not rounded); owned */
};

struct image_limits {
    uint32_t max_side;         /* pixels */
    uint64_t max_pixels;       /* width x height */
    uint64_t max_decoded_size; /* bytes of the decoded float32 plane plus decoder buffers */
};

/* max_side 32,768; max_pixels 2^28; max_decoded_size 2 GiB. */
extern const struct image_limits image_limits_default;

/* "png" */
const char *image_format_name(enum image_format format);
/* "none", "luminance" */
const char *image_conversion_name(enum image_conversion conversion);

/* Reads the header alone. `data` is borrowed. ERROR_INVALID: not a supported format, or over a
 * limit; the message names the field, the limit and the value. */
int image_probe(const void *data, size_t size, const struct image_limits *limits,
                struct image_info *out, struct error *err);

/* Decodes a whole file. On success `out` is to be released with image_clear.
 * ERROR_INVALID: not an image, corrupt, truncated or over a limit. ERROR_NOMEM. */
int image_decode(const void *data, size_t size, const struct image_limits *limits,
                 struct image *out, struct error *err);

/* Checks that the whole file decodes, in less memory than image_decode where the format allows it
 * (row by row). Same errors. */
int image_verify(const void *data, size_t size, const struct image_limits *limits,
                 struct image_info *out, struct error *err);

/* Frees the pixels; the struct may be cleared twice. */
void image_clear(struct image *image);

#endif
