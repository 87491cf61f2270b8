/* Decoding of uploaded micrographs: bytes in, one float32 grey plane with the file's native values
 * out.
 *
 * Formats: PNG (W3C PNG Specification, third edition). Every input is hostile: limits are checked
 * from the file's header before anything is allocated, and a corrupt file leaves nothing behind.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_IMAGE_H
#define CHIPSHOT_ENGINE_IMAGE_IMAGE_H

#include <stdbool.h>
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

/* The pixels of a file of 8- or 16-bit grey samples in rows from top to bottom, as they are in it:
 * half or a quarter of the memory of a float32 plane, and usable row by row while it is read. */
struct samples {
    uint32_t width, height;
    uint32_t bit_depth; /* 8 or 16 */
    uint32_t n_held;    /* rows in memory; fewer than `height`: row y lies where y % n_held does */
    uint8_t *data;      /* n_held x width x bit_depth / 8, most significant byte first; owned */
};

/* Rows are read so many at once. */
enum { SAMPLES_BLOCK_ROWS = 64 };

/* How often each value occurs: 256 or 65,536 counts. */
enum { SAMPLE_LEVELS_MAX = 1 << 16 };
uint32_t samples_n_levels(uint32_t bit_depth);

/* Plans and allocates the samples of a file, of which at least `n_held` rows (or all) are in memory
 * at a time. ERROR_NOT_FOUND: its pixels are of another kind, to be read by image_decode; else as
 * image_probe. `out` is to be released with samples_clear. */
int samples_create(const void *data, size_t size, const struct image_limits *limits,
                   uint32_t n_held, struct samples *out, struct error *err);

/* Told of the rows read so far, from the top; now and then and at the end. False stops. Afterwards
 * the places of the next SAMPLES_BLOCK_ROWS rows are written: whoever needs what is there is to be
 * waited for. */
typedef bool (*samples_progress)(void *context, uint32_t n_rows);

/* Fills the samples of the file that they were made for. ERROR_CANCELLED when progress (NULL: none)
 * said so; else as image_decode, but for one thing: where image_decode refuses a code in the
 * compressed data that leaves some bits without meaning, a file that does not use those bits and
 * whose checksums are right may be read. */
int samples_read(const void *data, size_t size, const struct image_limits *limits,
                 struct samples *samples, samples_progress progress, void *context,
                 struct error *err);

/* Adds every sample of rows first .. end - 1, which are in memory, to `counts` (samples_n_levels of
 * them). */
void samples_count(const struct samples *samples, uint32_t first, uint32_t end, uint32_t *counts);
void samples_clear(struct samples *samples);

/* Checks that the whole file decodes, in less memory than image_decode where the format allows it
 * (row by row). Same errors. */
int image_verify(const void *data, size_t size, const struct image_limits *limits,
                 struct image_info *out, struct error *err);
/* The same, and counts the values of a file that has samples: *n_levels of `counts` (room for
 * SAMPLE_LEVELS_MAX, zeroed); 0 for another file. */
int image_verify_count(const void *data, size_t size, const struct image_limits *limits,
                       struct image_info *out, uint32_t *counts, uint32_t *n_levels,
                       struct error *err);

/* Frees the pixels; the struct may be cleared twice. */
void image_clear(struct image *image);

#endif
