/* PNG output for previews, chips and maps, row by row or of a whole picture. ISA-L compresses:
 * pictures are made on request, and zlib takes five times as long for a tenth of the size. Its
 * bytes are the same each time, but not on each kind of processor; the pixels are. */
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

enum png_kind {
    PNG_KIND_GREY8,
    PNG_KIND_GREY16, /* in host byte order */
    PNG_KIND_RGB8,
    PNG_KIND_INDEXED, /* a byte a pixel */
};

struct png_head {
    enum png_kind kind;
    uint32_t width, height;
    const struct rgb *palette; /* borrowed until the writer is created; PNG_KIND_INDEXED alone */
    uint32_t n_colors;         /* at most 256 */
    double pixel_size_nm;      /* above 0: written as an sCAL chunk (metres) */
};

/* A picture whose rows are written one after the other; in memory are its compressed bytes. */
struct png_writer;

/* ERROR_INVALID: a size out of PNG's range, an impossible palette. ERROR_NOMEM. */
int png_writer_create(struct png_writer **out, const struct png_head *head, struct error *err);
/* The next row, of which there are `height`; indices below n_colors. ERROR_NOMEM. */
int png_writer_add(struct png_writer *writer, const void *row, struct error *err);
/* After the last row: the file, which is the caller's; the writer is then to be destroyed. */
int png_writer_finish(struct png_writer *writer, struct png_bytes *out, struct error *err);
/* NULL allowed. */
void png_writer_destroy(struct png_writer *writer);

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
