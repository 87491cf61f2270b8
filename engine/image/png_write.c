/* PNG encoding into memory, with libpng. A light compression: maps and previews are made on
 * request, and the default level costs several times as much for a tenth of the size.
 *
 * As in png_decode.c, what must survive libpng's longjmp lives outside the frame that calls setjmp.
 */
#include "engine/image/png_write.h"

#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPRESSION_LEVEL = 3, PALETTE_MAX = 256, INITIAL_CAPACITY = 4096 };

/* What is written; all pointers borrowed. */
struct picture {
    const void *pixels;
    uint32_t width;
    uint32_t height;
    int bit_depth;
    int color_type;
    size_t row_size; /* bytes */
    const struct rgb *palette;
    uint32_t n_colors;
    double pixel_size_nm; /* 0: not written */
};

struct writer {
    const struct picture *picture;
    png_structp png;
    png_infop header;
    uint8_t *data; /* owned until given to the caller */
    size_t size;
    size_t capacity;
    bool out_of_memory;
    char message[128];
    jmp_buf failed;
};

void png_bytes_clear(struct png_bytes *bytes)
{
    if (bytes == NULL)
        return;
    free(bytes->data);
    *bytes = (struct png_bytes){NULL, 0};
}

_Noreturn static void on_error(png_structp png, png_const_charp message)
{
    struct writer *writer = png_get_error_ptr(png);
    snprintf(writer->message, sizeof(writer->message), "%s", message);
    longjmp(writer->failed, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        struct writer *writer = png_get_mem_ptr(png);
        writer->out_of_memory = true;
    }
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_write(png_structp png, png_bytep bytes, size_t size)
{
    struct writer *writer = png_get_io_ptr(png);
    if (size > writer->capacity - writer->size) {
        size_t needed = writer->size + size;
        size_t capacity = writer->capacity + writer->capacity / 2 + INITIAL_CAPACITY;
        if (capacity < needed)
            capacity = needed;
        uint8_t *data = needed >= size ? realloc(writer->data, capacity) : NULL;
        if (data == NULL) {
            writer->out_of_memory = true;
            png_error(png, "out of memory");
        }
        writer->data = data;
        writer->capacity = capacity;
    }
    memcpy(writer->data + writer->size, bytes, size);
    writer->size += size;
}

static void on_flush(png_structp png)
{
    (void)png;
}

static void set_palette(struct writer *writer)
{
    png_color colors[PALETTE_MAX];
    for (uint32_t i = 0; i < writer->picture->n_colors; i++) {
        const struct rgb *color = &writer->picture->palette[i];
        colors[i] = (png_color){color->r, color->g, color->b};
    }
    png_set_PLTE(writer->png, writer->header, colors, (int)writer->picture->n_colors);
}

static void set_pixel_size(struct writer *writer)
{
    /* As text: libpng would keep five digits. */
    char metres[32];
    snprintf(metres, sizeof(metres), "%.15g", writer->picture->pixel_size_nm * 1e-9);
    png_set_sCAL_s(writer->png, writer->header, PNG_SCALE_METER, metres, metres);
}

static void write_picture(struct writer *writer)
{
    const struct picture *picture = writer->picture;
    writer->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, writer, on_error, on_warning,
                                            writer, on_malloc, on_free);
    if (writer->png == NULL || (writer->header = png_create_info_struct(writer->png)) == NULL) {
        writer->out_of_memory = true;
        longjmp(writer->failed, 1);
    }
    png_structp png = writer->png;
    png_set_write_fn(png, writer, on_write, on_flush);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_compression_level(png, COMPRESSION_LEVEL);
    png_set_filter(png, PNG_FILTER_TYPE_BASE,
                   picture->palette != NULL ? PNG_FILTER_NONE : PNG_FILTER_SUB | PNG_FILTER_UP);
    png_set_IHDR(png, writer->header, picture->width, picture->height, picture->bit_depth,
                 picture->color_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (picture->palette != NULL)
        set_palette(writer);
    if (picture->pixel_size_nm > 0)
        set_pixel_size(writer);
    png_write_info(png, writer->header);
    if (picture->bit_depth == 16 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        png_set_swap(png);
    for (size_t y = 0; y < picture->height; y++)
        png_write_row(png, (const uint8_t *)picture->pixels + y * picture->row_size);
    png_write_end(png, NULL);
}

static int attempt(struct writer *writer, struct error *err)
{
    if (setjmp(writer->failed) == 0) {
        write_picture(writer);
        return 0;
    }
    if (writer->out_of_memory)
        return error_set_nomem(err, "a PNG picture");
    return error_set(err, ERROR_INVALID, "PNG picture: %s", writer->message);
}

static int write_png(const struct picture *picture, struct png_bytes *out, struct error *err)
{
    if (picture->width == 0 || picture->height == 0 || picture->width > PNG_UINT_31_MAX ||
        picture->height > PNG_UINT_31_MAX)
        return error_set(err, ERROR_INVALID,
                         "PNG picture: width and height must be 1 to 2147483647 pixels, but are %u "
                         "and %u",
                         picture->width, picture->height);
    struct writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return error_set_nomem(err, "a PNG picture");
    writer->picture = picture;
    int rc = attempt(writer, err);
    if (rc == 0) {
        *out = (struct png_bytes){.data = writer->data, .size = writer->size};
        writer->data = NULL;
    }
    png_destroy_write_struct(&writer->png, &writer->header);
    free(writer->data);
    free(writer);
    return rc;
}

int png_write_grey8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                    struct error *err)
{
    const struct picture picture = {
        .pixels = pixels,
        .width = width,
        .height = height,
        .bit_depth = 8,
        .color_type = PNG_COLOR_TYPE_GRAY,
        .row_size = width,
    };
    return write_png(&picture, out, err);
}

int png_write_grey16(const uint16_t *pixels, uint32_t width, uint32_t height, double pixel_size_nm,
                     struct png_bytes *out, struct error *err)
{
    const struct picture picture = {
        .pixels = pixels,
        .width = width,
        .height = height,
        .bit_depth = 16,
        .color_type = PNG_COLOR_TYPE_GRAY,
        .row_size = (size_t)2 * width,
        .pixel_size_nm = isfinite(pixel_size_nm) ? pixel_size_nm : 0,
    };
    return write_png(&picture, out, err);
}

int png_write_rgb8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                   struct error *err)
{
    const struct picture picture = {
        .pixels = pixels,
        .width = width,
        .height = height,
        .bit_depth = 8,
        .color_type = PNG_COLOR_TYPE_RGB,
        .row_size = (size_t)3 * width,
    };
    return write_png(&picture, out, err);
}

int png_write_indexed(const uint8_t *indices, uint32_t width, uint32_t height,
                      const struct rgb *palette, uint32_t n_colors, struct png_bytes *out,
                      struct error *err)
{
    if (n_colors < 1 || n_colors > PALETTE_MAX)
        return error_set(err, ERROR_INVALID,
                         "PNG picture: a palette has 1 to %d colours, but this one %u", PALETTE_MAX,
                         n_colors);
    for (size_t i = 0; i < (size_t)width * height; i++) {
        if (indices[i] >= n_colors)
            return error_set(err, ERROR_INVALID,
                             "PNG picture: index %u of pixel %zu is not below the %u colours",
                             indices[i], i, n_colors);
    }
    const struct picture picture = {
        .pixels = indices,
        .width = width,
        .height = height,
        .bit_depth = 8,
        .color_type = PNG_COLOR_TYPE_PALETTE,
        .row_size = width,
        .palette = palette,
        .n_colors = n_colors,
    };
    return write_png(&picture, out, err);
}
