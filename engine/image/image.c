/* Tells formats apart by their first bytes, never by a name, and hands over to the format's
 * decoder. */
#include "engine/image/image.h"

#include <stdlib.h>
#include <string.h>

#include "engine/image/png_decode.h"

const struct image_limits image_limits_default = {
    .max_side = 32768,
    .max_pixels = UINT64_C(1) << 28,
    .max_decoded_size = UINT64_C(1) << 31,
};

static const uint8_t png_signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

/* What microscopes and browsers also write: named in the error, so that the user knows what to do.
 */
static const struct foreign_format {
    const char *name;
    uint8_t magic[8];
    size_t size;
} foreign_formats[] = {
    {"JPEG", {0xff, 0xd8, 0xff}, 3},
    {"TIFF", {'I', 'I', 42, 0}, 4},
    {"TIFF", {'M', 'M', 0, 42}, 4},
    {"BigTIFF", {'I', 'I', 43, 0}, 4},
    {"BigTIFF", {'M', 'M', 0, 43}, 4},
    {"GIF", {'G', 'I', 'F', '8'}, 4},
    {"BMP", {'B', 'M'}, 2},
    {"WebP", {'R', 'I', 'F', 'F'}, 4},
    {"HDF5", {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'}, 8},
    {"Gatan DM3", {0, 0, 0, 3}, 4},
    {"Gatan DM4", {0, 0, 0, 4}, 4},
    {"TIA SER", {'I', 'I', 0x97, 0x01}, 4},
    {"NumPy", {0x93, 'N', 'U', 'M', 'P', 'Y'}, 6},
    {"PDF", {'%', 'P', 'D', 'F'}, 4},
    {"ZIP", {'P', 'K', 3, 4}, 4},
    {"gzip", {0x1f, 0x8b}, 2},
};

const char *image_format_name(enum image_format format)
{
    switch (format) {
    case IMAGE_FORMAT_PNG:
        return "png";
    }
    return "unknown";
}

const char *image_conversion_name(enum image_conversion conversion)
{
    switch (conversion) {
    case IMAGE_CONVERSION_NONE:
        return "none";
    case IMAGE_CONVERSION_LUMINANCE:
        return "luminance";
    }
    return "unknown";
}

static int identify(const uint8_t *data, size_t size, enum image_format *out, struct error *err)
{
    if (size == 0)
        return error_set(err, ERROR_INVALID, "image: the file is empty; PNG is supported");
    if (size >= sizeof(png_signature) && memcmp(data, png_signature, sizeof(png_signature)) == 0) {
        *out = IMAGE_FORMAT_PNG;
        return 0;
    }
    if (size < sizeof(png_signature) && memcmp(data, png_signature, size) == 0)
        return error_set(err, ERROR_INVALID, "image: the PNG file is truncated after %zu bytes",
                         size);
    if ((size >= 4 && memcmp(data, png_signature, 4) == 0) ||
        (size >= 4 && memcmp(data + 1, "PNG", 3) == 0))
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file's first 8 bytes are damaged, as a transfer in text "
                         "mode does");
    for (size_t i = 0; i < sizeof(foreign_formats) / sizeof(foreign_formats[0]); i++) {
        const struct foreign_format *format = &foreign_formats[i];
        if (size >= format->size && memcmp(data, format->magic, format->size) == 0)
            return error_set(err, ERROR_INVALID,
                             "image: the file looks like a %s file; PNG is supported",
                             format->name);
    }
    return error_set(err, ERROR_INVALID, "image: the file is not a PNG file; PNG is supported");
}

static int run(const void *data, size_t size, const struct image_limits *limits,
               enum png_decode_goal goal, struct png_samples *samples, struct image *out,
               struct error *err)
{
    enum image_format format;
    int rc = identify(data, size, &format, err);
    if (rc != 0)
        return rc;
    switch (format) {
    case IMAGE_FORMAT_PNG:
        return png_decode(data, size, limits, goal, samples, out, err);
    }
    return error_set(err, ERROR_INVALID, "image: no decoder for format %d", (int)format);
}

int image_probe(const void *data, size_t size, const struct image_limits *limits,
                struct image_info *out, struct error *err)
{
    struct image image;
    int rc = run(data, size, limits, PNG_DECODE_HEADER, NULL, &image, err);
    if (rc == 0)
        *out = image.info;
    return rc;
}

int image_decode(const void *data, size_t size, const struct image_limits *limits,
                 struct image *out, struct error *err)
{
    return run(data, size, limits, PNG_DECODE_PIXELS, NULL, out, err);
}

int image_verify_count(const void *data, size_t size, const struct image_limits *limits,
                       struct image_info *out, uint32_t *counts, uint32_t *n_levels,
                       struct error *err)
{
    struct image image;
    struct png_samples samples = {.counts = counts};
    int rc = run(data, size, limits, PNG_DECODE_VERIFY, &samples, &image, err);
    if (rc != 0)
        return rc;
    *out = image.info;
    if (n_levels != NULL)
        *n_levels = samples.present ? samples_n_levels(image.info.bit_depth) : 0;
    return 0;
}

int image_verify(const void *data, size_t size, const struct image_limits *limits,
                 struct image_info *out, struct error *err)
{
    return image_verify_count(data, size, limits, out, NULL, NULL, err);
}

/* ---- samples ---- */

uint32_t samples_n_levels(uint32_t bit_depth)
{
    return UINT32_C(1) << bit_depth;
}

int samples_create(const void *data, size_t size, const struct image_limits *limits,
                   uint32_t n_held, struct samples *out, struct error *err)
{
    struct image image;
    struct png_samples samples = {.present = false};
    int rc = run(data, size, limits, PNG_DECODE_HEADER, &samples, &image, err);
    if (rc != 0)
        return rc;
    if (!samples.present)
        return error_set(err, ERROR_NOT_FOUND, "image: its pixels are not plain grey samples");
    const struct image_info *info = &image.info;
    /* Less than the float32 plane, which the limits admit. */
    struct samples made = {info->width, info->height, info->bit_depth, info->height, NULL};
    const uint64_t blocks = ((uint64_t)n_held + SAMPLES_BLOCK_ROWS - 1) / SAMPLES_BLOCK_ROWS;
    /* The block that is read and the one above it. */
    const uint64_t rows = (blocks > 2 ? blocks : 2) * SAMPLES_BLOCK_ROWS;
    if (rows < info->height)
        made.n_held = (uint32_t)rows;
    made.data = malloc((size_t)made.n_held * made.width * (made.bit_depth / 8));
    if (made.data == NULL)
        return error_set_nomem(err, "the image's pixels");
    *out = made;
    return 0;
}

int samples_read(const void *data, size_t size, const struct image_limits *limits,
                 struct samples *samples, samples_progress progress, void *context,
                 struct error *err)
{
    struct image image;
    struct png_samples to = {.progress = progress, .context = context};
    int rc = run(data, size, limits, PNG_DECODE_HEADER, &to, &image, err);
    if (rc != 0)
        return rc;
    if (!to.present || image.info.width != samples->width || image.info.height != samples->height ||
        image.info.bit_depth != samples->bit_depth)
        return error_set(err, ERROR_INVALID, "image: not the file that the samples were made for");
    to.data = samples->data;
    to.n_held = samples->n_held;
    return png_decode_samples(data, size, limits, &to, err);
}

/* Several tables, because equal neighbours would wait for each other's counts. */
static void count_bytes(const uint8_t *data, size_t n, uint32_t *counts)
{
    uint32_t tables[4][256] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 4; k++)
            tables[k][data[i + k]]++;
    }
    for (; i < n; i++)
        tables[0][data[i]]++;
    for (size_t v = 0; v < 256; v++)
        counts[v] += tables[0][v] + tables[1][v] + tables[2][v] + tables[3][v];
}

void samples_count(const struct samples *samples, uint32_t first, uint32_t end, uint32_t *counts)
{
    const size_t width = samples->width, row_size = width * (samples->bit_depth / 8);
    for (uint32_t y = first; y < end; y++) {
        const uint8_t *row = samples->data + y % samples->n_held * row_size;
        if (samples->bit_depth == 8)
            count_bytes(row, width, counts);
        for (size_t i = 0; samples->bit_depth == 16 && i < width; i++)
            counts[row[2 * i] << 8 | row[2 * i + 1]]++;
    }
}

void samples_clear(struct samples *samples)
{
    free(samples->data);
    samples->data = NULL;
}

void image_clear(struct image *image)
{
    if (image == NULL)
        return;
    free(image->pixels);
    image->pixels = NULL;
}
