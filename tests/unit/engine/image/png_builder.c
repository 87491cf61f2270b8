/* Written from the PNG specification alone, so that it does not share the decoder's mistakes. */
#include "tests/unit/engine/image/png_builder.h"

#include "tests/test.h"

#include <zlib.h>

void png_file_clear(struct png_file *file)
{
    free(file->data);
    *file = (struct png_file){NULL, 0};
}

void png_add_bytes(struct png_file *file, const void *bytes, size_t size)
{
    if (size == 0)
        return;
    file->data = realloc(file->data, file->size + size);
    assert_non_null(file->data);
    memcpy(file->data + file->size, bytes, size);
    file->size += size;
}

static void put_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

void png_add_signature(struct png_file *file)
{
    png_add_bytes(file, "\x89PNG\r\n\x1a\n", 8);
}

void png_add_chunk(struct png_file *file, const char *type, const void *bytes, size_t size)
{
    uint8_t number[4];
    put_u32(number, (uint32_t)size);
    png_add_bytes(file, number, 4);
    png_add_bytes(file, type, 4);
    png_add_bytes(file, bytes, size);
    uLong crc = crc32(0, (const Bytef *)type, 4);
    if (size > 0)
        crc = crc32(crc, bytes, (uInt)size);
    put_u32(number, (uint32_t)crc);
    png_add_bytes(file, number, 4);
}

void png_add_ihdr(struct png_file *file, uint32_t width, uint32_t height, uint8_t bit_depth,
                  uint8_t color_type, uint8_t interlace)
{
    uint8_t ihdr[13] = {0};
    put_u32(ihdr, width);
    put_u32(ihdr + 4, height);
    ihdr[8] = bit_depth;
    ihdr[9] = color_type;
    ihdr[12] = interlace;
    png_add_chunk(file, "IHDR", ihdr, sizeof(ihdr));
}

void png_add_idat(struct png_file *file, const void *raw, size_t size)
{
    uLongf compressed_size = compressBound((uLong)size);
    uint8_t *compressed = malloc(compressed_size);
    assert_non_null(compressed);
    assert_int_equal(compress(compressed, &compressed_size, raw, (uLong)size), Z_OK);
    png_add_chunk(file, "IDAT", compressed, compressed_size);
    free(compressed);
}

void png_add_iend(struct png_file *file)
{
    png_add_chunk(file, "IEND", NULL, 0);
}

uint32_t png_n_channels(uint8_t color_type)
{
    switch (color_type) {
    case PNG_RGB:
        return 3;
    case PNG_GREY_ALPHA:
        return 2;
    case PNG_RGBA:
        return 4;
    default:
        return 1;
    }
}

struct pass {
    uint32_t x0, y0, dx, dy;
};

/* Adds one pass's scanlines at out (zeroed) and returns their size. */
static size_t add_pass(const struct png_pixels *pixels, struct pass pass, uint8_t *out)
{
    uint32_t n_channels = png_n_channels(pixels->color_type);
    uint32_t columns = pass.x0 < pixels->width ? (pixels->width - pass.x0 - 1) / pass.dx + 1 : 0;
    size_t row_size = ((size_t)columns * n_channels * pixels->bit_depth + 7) / 8;
    size_t size = 0;
    if (columns == 0)
        return 0;
    for (uint32_t y = pass.y0; y < pixels->height; y += pass.dy) {
        uint8_t *row = out + size + 1; /* after the filter type 0 */
        size_t bit = 0;
        for (uint32_t x = pass.x0; x < pixels->width; x += pass.dx) {
            for (uint32_t c = 0; c < n_channels; c++) {
                uint32_t value = pixels->samples[((size_t)y * pixels->width + x) * n_channels + c];
                for (int b = pixels->bit_depth - 1; b >= 0; b--, bit++)
                    row[bit / 8] |= (uint8_t)((value >> b & 1) << (7 - bit % 8));
            }
        }
        size += row_size + 1;
    }
    return size;
}

uint8_t *png_scanlines(const struct png_pixels *pixels, size_t *size)
{
    static const struct pass whole = {0, 0, 1, 1};
    static const struct pass adam7[7] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                         {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    /* Each pixel rounded up to whole bytes and each row's filter byte in each pass: enough. */
    size_t bound = (size_t)pixels->width * pixels->height * 9 + (size_t)pixels->height * 14 + 16;
    uint8_t *raw = calloc(bound, 1);
    assert_non_null(raw);
    *size = 0;
    if (!pixels->interlace)
        *size = add_pass(pixels, whole, raw);
    for (int i = 0; pixels->interlace && i < 7; i++)
        *size += add_pass(pixels, adam7[i], raw + *size);
    return raw;
}

void png_add_pixels(struct png_file *file, const struct png_pixels *pixels)
{
    size_t size;
    uint8_t *raw = png_scanlines(pixels, &size);
    if (pixels->palette != NULL)
        png_add_chunk(file, "PLTE", pixels->palette, pixels->palette_size);
    png_add_idat(file, raw, size);
    png_add_iend(file);
    free(raw);
}

struct png_file png_build(const struct png_pixels *pixels)
{
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, pixels->width, pixels->height, pixels->bit_depth, pixels->color_type,
                 pixels->interlace);
    png_add_pixels(&file, pixels);
    return file;
}
