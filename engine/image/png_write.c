/* Chunks as in the W3C PNG Specification, 5. Datastream structure. Rows are filtered by "up", which
 * suits images and costs next to nothing; indices, of which a difference says nothing, are not.
 * They gather in a block, which is compressed when it is full; what comes of it is an IDAT chunk
 * when it has grown to a mebibyte.
 */
#include "engine/image/png_write.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/give_way.h"
#include "engine/image/png_chunks.h"
#include "engine/image/sample_type.h"

enum {
    SIDE_MAX = INT32_MAX,
    PALETTE_MAX = 256,
    BLOCK_SIZE = 1 << 16,
    DATA_SIZE = 1 << 20, /* of an IDAT chunk, when it ends */
    CHUNK_HEAD_SIZE = 8, /* length and type */
    LEVEL = 1,           /* ISA-L's: with tables of codes made for the data */
    FILTER_NONE = 0,
    FILTER_UP = 2,
};

struct png_writer {
    enum png_kind kind;
    size_t row_size;
    uint8_t *row;   /* in the file's byte order; owned */
    uint8_t *above; /* the row before, zeros before the first; owned */
    uint8_t *block; /* filtered rows; owned */
    size_t block_size, block_capacity;
    uint8_t *data; /* the file; owned until given to the caller */
    size_t size, capacity;
    size_t chunk; /* where the IDAT chunk begins that is being written */
    uint8_t *level_buffer;
    struct isal_zstream stream;
};

void png_bytes_clear(struct png_bytes *bytes)
{
    if (bytes == NULL)
        return;
    free(bytes->data);
    *bytes = (struct png_bytes){NULL, 0};
}

/* ---- chunks ---- */

static int reserve(struct png_writer *writer, size_t size, struct error *err)
{
    if (size <= writer->capacity - writer->size)
        return 0;
    const size_t capacity = writer->size + size + writer->capacity / 2;
    uint8_t *data = realloc(writer->data, capacity);
    if (data == NULL)
        return error_set_nomem(err, "a PNG picture");
    writer->data = data;
    writer->capacity = capacity;
    return 0;
}

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* There is room for the head. */
static void begin_chunk(struct png_writer *writer, const char *type)
{
    writer->chunk = writer->size;
    memcpy(writer->data + writer->size + 4, type, 4);
    writer->size += CHUNK_HEAD_SIZE;
}

/* There is room for the checksum. */
static void end_chunk(struct png_writer *writer)
{
    const size_t size = writer->size - writer->chunk - CHUNK_HEAD_SIZE;
    put_u32(writer->data + writer->chunk, (uint32_t)size);
    const uint32_t checksum = crc32_gzip_refl(0, writer->data + writer->chunk + 4, 4 + size);
    png_clear_upper_halves();
    put_u32(writer->data + writer->size, checksum);
    writer->size += 4;
}

static int add_chunk(struct png_writer *writer, const char *type, const void *bytes, size_t size,
                     struct error *err)
{
    int rc = reserve(writer, PNG_CHUNK_OVERHEAD + size, err);
    if (rc < 0)
        return rc;
    begin_chunk(writer, type);
    if (size > 0)
        memcpy(writer->data + writer->size, bytes, size);
    writer->size += size;
    end_chunk(writer);
    return 0;
}

static int add_header(struct png_writer *writer, const struct png_head *head, struct error *err)
{
    static const uint8_t color_types[] = {
        [PNG_KIND_GREY8] = 0, [PNG_KIND_GREY16] = 0, [PNG_KIND_RGB8] = 2, [PNG_KIND_INDEXED] = 3};
    static const uint8_t signature[PNG_SIGNATURE_SIZE] = "\x89PNG\r\n\x1a\n";
    uint8_t header[13] = {0};
    put_u32(header, head->width);
    put_u32(header + 4, head->height);
    header[8] = head->kind == PNG_KIND_GREY16 ? 16 : 8;
    header[9] = color_types[head->kind];
    int rc = reserve(writer, sizeof(signature), err);
    if (rc < 0)
        return rc;
    memcpy(writer->data, signature, sizeof(signature));
    writer->size = sizeof(signature);
    return add_chunk(writer, "IHDR", header, sizeof(header), err);
}

static int add_pixel_size(struct png_writer *writer, double pixel_size_nm, struct error *err)
{
    /* Two numbers as text, parted by a zero; the unit is the metre. */
    char metres[32], text[2 * sizeof(metres) + 1] = "\x01";
    const double size = pixel_size_nm * 1e-9;
    if (!isnormal(size) || size < 0)
        return 0;
    const int n = snprintf(metres, sizeof(metres), "%.15g", size);
    memcpy(text + 1, metres, (size_t)n + 1);
    memcpy(text + 2 + n, metres, (size_t)n);
    return add_chunk(writer, "sCAL", text, 2 * (size_t)n + 2, err);
}

static int add_palette(struct png_writer *writer, const struct png_head *head, struct error *err)
{
    uint8_t bytes[3 * PALETTE_MAX];
    for (uint32_t i = 0; i < head->n_colors; i++) {
        bytes[3 * i] = head->palette[i].r;
        bytes[3 * i + 1] = head->palette[i].g;
        bytes[3 * i + 2] = head->palette[i].b;
    }
    return add_chunk(writer, "PLTE", bytes, 3 * (size_t)head->n_colors, err);
}

/* ---- the image data ---- */

static int begin_data(struct png_writer *writer, struct error *err)
{
    int rc = reserve(writer, DATA_SIZE / 16, err);
    if (rc == 0)
        begin_chunk(writer, "IDAT");
    return rc;
}

/* Compresses the block, to its end if more is to come or else to the stream's. */
static int compress(struct png_writer *writer, bool is_last, struct error *err)
{
    struct isal_zstream *stream = &writer->stream;
    stream->next_in = writer->block;
    stream->avail_in = (uint32_t)writer->block_size;
    stream->end_of_stream = is_last;
    do {
        int rc = reserve(writer, BLOCK_SIZE, err);
        if (rc < 0)
            return rc;
        const uint32_t room = BLOCK_SIZE - PNG_CHUNK_OVERHEAD - CHUNK_HEAD_SIZE;
        stream->next_out = writer->data + writer->size;
        stream->avail_out = room;
        if (isal_deflate(stream) != COMP_OK)
            return error_set(err, ERROR_INVALID, "a PNG picture cannot be compressed");
        png_clear_upper_halves();
        writer->size += room - stream->avail_out;
        if (writer->size - writer->chunk >= DATA_SIZE) {
            end_chunk(writer);
            begin_chunk(writer, "IDAT");
        }
    } while (stream->avail_out == 0 || (is_last && stream->internal_state.state != ZSTATE_END));
    writer->block_size = 0;
    give_way();
    return 0;
}

VECTOR_CLONES static void filter_up(const uint8_t *row, const uint8_t *above, size_t n,
                                    uint8_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(row[i] - above[i]);
}

/* The row in the file's byte order. */
static const uint8_t *in_order(struct png_writer *writer, const void *row)
{
    if (writer->kind != PNG_KIND_GREY16 || !SAMPLES_ARE_LITTLE_ENDIAN)
        return row;
    const uint8_t *bytes = row;
    for (size_t i = 0; i < writer->row_size; i += 2) {
        writer->row[i] = bytes[i + 1];
        writer->row[i + 1] = bytes[i];
    }
    return writer->row;
}

int png_writer_add(struct png_writer *writer, const void *row, struct error *err)
{
    const uint8_t *bytes = in_order(writer, row);
    if (writer->block_size + 1 + writer->row_size > writer->block_capacity) {
        int rc = compress(writer, false, err);
        if (rc < 0)
            return rc;
    }
    uint8_t *out = writer->block + writer->block_size;
    if (writer->kind == PNG_KIND_INDEXED) {
        out[0] = FILTER_NONE;
        memcpy(out + 1, bytes, writer->row_size);
    } else {
        out[0] = FILTER_UP;
        filter_up(bytes, writer->above, writer->row_size, out + 1);
        memcpy(writer->above, bytes, writer->row_size);
    }
    writer->block_size += 1 + writer->row_size;
    return 0;
}

int png_writer_finish(struct png_writer *writer, struct png_bytes *out, struct error *err)
{
    int rc = compress(writer, true, err);
    if (rc < 0)
        return rc;
    end_chunk(writer);
    rc = add_chunk(writer, "IEND", NULL, 0, err);
    if (rc < 0)
        return rc;
    *out = (struct png_bytes){.data = writer->data, .size = writer->size};
    writer->data = NULL;
    return 0;
}

/* ---- making ---- */

static int check_head(const struct png_head *head, struct error *err)
{
    if (head->width == 0 || head->height == 0 || head->width > SIDE_MAX || head->height > SIDE_MAX)
        return error_set(err, ERROR_INVALID,
                         "PNG picture: width and height must be 1 to %d pixels, but are %u and %u",
                         SIDE_MAX, head->width, head->height);
    if (head->kind == PNG_KIND_INDEXED && (head->n_colors < 1 || head->n_colors > PALETTE_MAX))
        return error_set(err, ERROR_INVALID,
                         "PNG picture: a palette has 1 to %d colours, but this one %u", PALETTE_MAX,
                         head->n_colors);
    return 0;
}

static size_t row_size(const struct png_head *head)
{
    switch (head->kind) {
    case PNG_KIND_GREY8:
    case PNG_KIND_INDEXED:
        return head->width;
    case PNG_KIND_GREY16:
        return (size_t)2 * head->width;
    case PNG_KIND_RGB8:
        return (size_t)3 * head->width;
    }
    return 0;
}

static int begin(struct png_writer *writer, const struct png_head *head, struct error *err)
{
    isal_deflate_init(&writer->stream);
    writer->stream.level = LEVEL;
    writer->stream.level_buf = writer->level_buffer;
    writer->stream.level_buf_size = ISAL_DEF_LVL1_DEFAULT;
    writer->stream.gzip_flag = IGZIP_ZLIB;
    writer->stream.flush = NO_FLUSH;
    int rc = add_header(writer, head, err);
    if (rc == 0)
        rc = add_pixel_size(writer, head->pixel_size_nm, err);
    if (rc == 0 && head->kind == PNG_KIND_INDEXED)
        rc = add_palette(writer, head, err);
    return rc == 0 ? begin_data(writer, err) : rc;
}

int png_writer_create(struct png_writer **out, const struct png_head *head, struct error *err)
{
    int rc = check_head(head, err);
    if (rc < 0)
        return rc;
    struct png_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return error_set_nomem(err, "a PNG picture");
    writer->kind = head->kind;
    writer->row_size = row_size(head);
    writer->block_capacity = writer->row_size < BLOCK_SIZE ? BLOCK_SIZE : writer->row_size + 1;
    writer->row = malloc(writer->row_size);
    writer->above = calloc(1, writer->row_size);
    writer->block = malloc(writer->block_capacity);
    writer->level_buffer = calloc(1, ISAL_DEF_LVL1_DEFAULT);
    const bool has_all = writer->row != NULL && writer->above != NULL && writer->block != NULL &&
                         writer->level_buffer != NULL;
    rc = has_all ? begin(writer, head, err) : error_set_nomem(err, "a PNG picture");
    if (rc < 0) {
        png_writer_destroy(writer);
        return rc;
    }
    *out = writer;
    return 0;
}

void png_writer_destroy(struct png_writer *writer)
{
    if (writer == NULL)
        return;
    free(writer->row);
    free(writer->above);
    free(writer->block);
    free(writer->level_buffer);
    free(writer->data);
    free(writer);
}

/* ---- whole pictures ---- */

static int write_whole(const struct png_head *head, const void *pixels, struct png_bytes *out,
                       struct error *err)
{
    struct png_writer *writer = NULL;
    int rc = png_writer_create(&writer, head, err);
    for (uint32_t y = 0; rc == 0 && y < head->height; y++)
        rc = png_writer_add(writer, (const uint8_t *)pixels + y * writer->row_size, err);
    if (rc == 0)
        rc = png_writer_finish(writer, out, err);
    png_writer_destroy(writer);
    return rc;
}

int png_write_grey8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                    struct error *err)
{
    return write_whole(&(struct png_head){.kind = PNG_KIND_GREY8, .width = width, .height = height},
                       pixels, out, err);
}

int png_write_grey16(const uint16_t *pixels, uint32_t width, uint32_t height, double pixel_size_nm,
                     struct png_bytes *out, struct error *err)
{
    return write_whole(&(struct png_head){.kind = PNG_KIND_GREY16,
                                          .width = width,
                                          .height = height,
                                          .pixel_size_nm = pixel_size_nm},
                       pixels, out, err);
}

int png_write_rgb8(const uint8_t *pixels, uint32_t width, uint32_t height, struct png_bytes *out,
                   struct error *err)
{
    return write_whole(&(struct png_head){.kind = PNG_KIND_RGB8, .width = width, .height = height},
                       pixels, out, err);
}

int png_write_indexed(const uint8_t *indices, uint32_t width, uint32_t height,
                      const struct rgb *palette, uint32_t n_colors, struct png_bytes *out,
                      struct error *err)
{
    const struct png_head head = {.kind = PNG_KIND_INDEXED,
                                  .width = width,
                                  .height = height,
                                  .palette = palette,
                                  .n_colors = n_colors};
    int rc = check_head(&head, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < (size_t)width * height; i++) {
        if (indices[i] >= n_colors)
            return error_set(err, ERROR_INVALID,
                             "PNG picture: index %u of pixel %zu is not below the %u colours",
                             indices[i], i, n_colors);
    }
    return write_whole(&head, indices, out, err);
}
