/* The rows of a PNG, pulled, with libpng or, of plain grey files, with png_rows.c: there libpng
 * reads what comes before the image data, and takes over from the first row that png_rows.c does
 * not understand, having read those before it once more.
 *
 * Hostile input is kept small before libpng sees it: IHDR is read by hand and held against the
 * limits first; every ancillary chunk but sCAL, pHYs and, of a palette, tRNS is skipped unread;
 * image data pass through one row buffer, as many as the rows need and hardly more. Adam7 passes
 * are taken as the small images they are and scattered into the plane, so an interlaced file needs
 * no more memory than another.
 *
 * libpng leaves its calls by longjmp on an error. Everything that must survive that lives in
 * `struct reader`, outside the frame that calls setjmp: see `attempt`. A reader that failed is only
 * closed.
 */
#include "engine/image/png_decode.h"

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/decode_guard.h"
#include "engine/image/png_chunks.h"
#include "engine/image/png_floats.h"
#include "engine/image/png_rows.h"

enum {
    IHDR_END = PNG_SIGNATURE_SIZE + 8 + 13 + 4,
    ADAM7_PASSES = 7,
    CHUNK_CACHE_MAX = 16,
    /* As libpng takes it: some versions refuse a file with a longer chunk other than IDAT, others
     * only warn and then allocate what the chunk's length claims. */
    CHUNK_SIZE_MAX = 16 << 20,
    /* So what libpng may allocate at once, beside a row, is bounded here as well: enough for zlib's
     * window and state, for libpng's structs and for any sCAL chunk that means something. */
    ALLOCATION_MAX = 1 << 16,
    /* All of these together: a generous figure. */
    DECODER_SIZE = 1 << 18,
    /* What compressed rows may take at most, beside as much again as they have bytes: what does not
     * compress is stored as it is, and some ten bytes are added where an encoder flushes, be it
     * after each row. Longer are only streams of blocks that hold nothing. */
    DATA_SIZE_BASE = 1 << 16,
    DATA_SIZE_ROW = 64,
};

static const double PHYS_NM_MAX = 1000; /* at 25,400 dots an inch */

struct ihdr {
    uint32_t width;
    uint32_t height;
    uint8_t bit_depth;
    uint8_t color_type;
    uint8_t interlace;
};

struct reader {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t position;
    const struct image_limits *limits;
    struct decode_guard guard;
    size_t data_end; /* behind the image data; 0: not found yet */
    struct ihdr ihdr;
    png_structp png;
    png_infop header;
    struct image_info info;
    struct png_floats floats;
    struct png_rows *rows; /* NULL: libpng reads the rows; owned */
    uint32_t n_given;      /* rows that the caller has */
    bool has_begun;        /* libpng is at the image data */
    uint32_t n_read;       /* rows that libpng has read, when they are not interlaced */
    uint32_t n_left;       /* rows, of all passes, that libpng has not inflated yet */
    uint32_t n_wanted;     /* rows that a step is to give */
    uint8_t *out;          /* where to; NULL: nowhere; borrowed */
    uint8_t *row;          /* one row as libpng gives it: a byte or two a sample; owned */
    float *sink;           /* one row of floats that nobody wants; owned */
    bool truncated;
    bool out_of_memory;
    char message[128]; /* libpng's, when it failed */
    jmp_buf failed;
};

/* --- libpng's callbacks --- */

_Noreturn static void on_error(png_structp png, png_const_charp message)
{
    struct reader *reader = png_get_error_ptr(png);
    snprintf(reader->message, sizeof(reader->message), "%s", message);
    longjmp(reader->failed, 1);
}

/* Warnings are about things that do not matter here, but for one: libpng has all pixels when it
 * meets zlib's checksum and so only warns when the checksum says that they are wrong. */
static void on_warning(png_structp png, png_const_charp message)
{
    if (strstr(message, "incorrect data check") != NULL)
        png_error(png, message);
}

/* Before n bytes are read or made. What is wrong then is the guard's to say. */
static void pass_guard(struct reader *reader, size_t n)
{
    if (!decode_guard_pass(&reader->guard, n))
        png_error(reader->png, "stopped");
}

/* Called with each row that is inflated, of all passes. After the last one libpng inflates what is
 * left of the image data, however much that is, only to warn of it. A little more than the rows is
 * what some encoders write, and no fault. */
static void on_row(png_structp png, png_row_infop row, png_bytep samples)
{
    struct reader *reader = png_get_error_ptr(png);
    (void)row;
    (void)samples;
    if (--reader->n_left == 0 && reader->data_end > reader->position + PNG_TAIL_MAX)
        png_error(png, "image data goes on after the last row");
}

static void on_read(png_structp png, png_bytep out, size_t size)
{
    struct reader *reader = png_get_io_ptr(png);
    pass_guard(reader, size);
    if (size > reader->size - reader->position) {
        reader->truncated = true;
        png_error(png, "truncated");
    }
    memcpy(out, reader->data + reader->position, size);
    reader->position += size;
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    struct reader *reader = png_get_mem_ptr(png);
    if (size > (uint64_t)8 * reader->ihdr.width + ALLOCATION_MAX)
        return NULL;
    void *memory = malloc(size);
    if (memory == NULL)
        reader->out_of_memory = true;
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

/* Runs a step that calls libpng. This frame has no variable that changes after setjmp, so nothing
 * can be clobbered; what the step allocates hangs on the reader. */
static int attempt(struct reader *reader, void (*step)(struct reader *), struct error *err)
{
    if (setjmp(reader->failed) == 0) {
        step(reader);
        return 0;
    }
    const int stopped = decode_guard_result(&reader->guard, err);
    if (stopped < 0)
        return stopped;
    if (reader->out_of_memory)
        return error_set_nomem(err, "the PNG decoder");
    if (reader->truncated)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is truncated: it ends after %zu bytes, before its "
                         "end chunk (IEND)",
                         reader->size);
    return error_set(err, ERROR_INVALID, "image: the PNG file is corrupt: %s", reader->message);
}

/* --- the header --- */

static int read_ihdr(const uint8_t *data, size_t size, struct ihdr *out, struct error *err)
{
    if (size < IHDR_END)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is truncated: it ends after %zu bytes, within its "
                         "header",
                         size);
    const uint8_t *chunk = data + PNG_SIGNATURE_SIZE;
    if (png_get_uint_32(chunk) != 13 || memcmp(chunk + 4, "IHDR", 4) != 0)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is corrupt: its first chunk is not a header (IHDR)");
    *out = (struct ihdr){.width = png_get_uint_32(chunk + 8),
                         .height = png_get_uint_32(chunk + 12),
                         .bit_depth = chunk[16],
                         .color_type = chunk[17],
                         .interlace = chunk[20]};
    if (out->width == 0 || out->height == 0)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file has size zero (width %u, height %u)", out->width,
                         out->height);
    return 0;
}

static int check_limits(const struct ihdr *ihdr, const struct image_limits *limits,
                        struct error *err)
{
    /* At most 8 bytes a pixel in each of libpng's two rows and in ours, and 4 in the sink. */
    return image_limits_check(limits, ihdr->width, ihdr->height,
                              UINT64_C(28) * ihdr->width + DECODER_SIZE, err);
}

static struct png_floats floats_of(const struct ihdr *ihdr)
{
    return (struct png_floats){.is_palette = ihdr->color_type == PNG_COLOR_TYPE_PALETTE,
                               .is_color = (ihdr->color_type & PNG_COLOR_MASK_COLOR) != 0,
                               .has_alpha = (ihdr->color_type & PNG_COLOR_MASK_ALPHA) != 0,
                               .is_wide = ihdr->bit_depth == 16};
}

/* The rows that a file has, of all passes, and their bytes with those that name the filters. */
struct extent {
    uint32_t n_rows;
    uint64_t size;
};

static struct extent measure(const struct ihdr *ihdr)
{
    const struct png_floats floats = floats_of(ihdr);
    const uint64_t n_channels = png_floats_n_channels(&floats);
    const bool is_interlaced = ihdr->interlace != PNG_INTERLACE_NONE;
    struct extent extent = {0};
    for (int pass = 0; pass < (is_interlaced ? ADAM7_PASSES : 1); pass++) {
        const uint64_t columns = is_interlaced ? PNG_PASS_COLS(ihdr->width, pass) : ihdr->width;
        const uint32_t n_rows = columns == 0    ? 0
                                : is_interlaced ? PNG_PASS_ROWS(ihdr->height, pass)
                                                : ihdr->height;
        extent.n_rows += n_rows;
        extent.size += n_rows * (1 + (columns * n_channels * ihdr->bit_depth + 7) / 8);
    }
    return extent;
}

/* Bytes that the image data may have. */
static uint64_t data_size_max(const struct extent *extent)
{
    return 2 * extent->size + (uint64_t)DATA_SIZE_ROW * extent->n_rows + DATA_SIZE_BASE;
}

/* Before libpng reads the rows: the image data, found and held against what they may be. */
static int check_data(struct reader *reader, struct error *err)
{
    const struct extent extent = measure(&reader->ihdr);
    const uint64_t limit = data_size_max(&extent);
    struct png_image_data data;
    if (!png_image_data_find(reader->data, reader->size, &reader->guard, &data))
        return decode_guard_result(&reader->guard, err);
    if (data.size > limit)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is corrupt: its image data (IDAT) have %llu bytes, "
                         "over the limit of %llu for %llu bytes of rows",
                         (unsigned long long)data.size, (unsigned long long)limit,
                         (unsigned long long)extent.size);
    reader->data_end = data.end;
    reader->n_left = extent.n_rows;
    return 0;
}

static void read_palette(struct reader *reader)
{
    png_colorp colors = NULL;
    png_bytep alphas = NULL;
    int n_colors = 0, n_alphas = 0;
    if (png_get_PLTE(reader->png, reader->header, &colors, &n_colors) == 0 || n_colors > 256)
        png_error(reader->png, "no palette");
    png_get_tRNS(reader->png, reader->header, &alphas, &n_alphas, NULL);
    for (int i = 0; i < n_colors; i++)
        png_floats_add_color(&reader->floats, colors[i].red, colors[i].green, colors[i].blue,
                             alphas != NULL && i < n_alphas ? alphas[i] : UINT8_MAX);
}

/* sCAL, or else pHYs, with unit metre. pHYs was made for print and screens, whose pixels are larger
 * than PHYS_NM_MAX; what is smaller was written by someone who knows the microscope. */
static struct image_calibration read_calibration(png_structp png, png_infop header)
{
    struct image_calibration out = {.unit = CALIBRATION_NONE};
    double width = 0, height = 0;
    png_uint_32 x = 0, y = 0; /* pixels a metre */
    int unit = 0;
    if (png_get_sCAL(png, header, &unit, &width, &height) != 0 && unit == PNG_SCALE_METER)
        out = image_calibration_nm(width * 1e9, height * 1e9, CALIBRATION_NM_MAX, "sCAL");
    if (out.unit == CALIBRATION_NONE && png_get_pHYs(png, header, &x, &y, &unit) != 0 &&
        unit == PNG_RESOLUTION_METER)
        out = image_calibration_nm(1e9 / x, 1e9 / y, PHYS_NM_MAX, "pHYs");
    return out;
}

static void skip_ancillary_chunks(png_structp png, bool is_palette)
{
    /* A negative count: all that libpng knows but tRNS and a few that the list names. */
    static const png_byte skipped[] = "sBIT\0tRNS\0";
    static const png_byte wanted[] = "sCAL\0pHYs\0";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, is_palette ? 1 : 2);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, wanted, 2);
}

static bool is_interlaced(const struct reader *reader)
{
    return reader->ihdr.interlace != PNG_INTERLACE_NONE;
}

/* Grey that libpng gives as it is wanted; other rows are made floats. */
static enum sample_type type_of(const struct reader *reader)
{
    if (reader->ihdr.color_type != PNG_COLOR_TYPE_GRAY || is_interlaced(reader))
        return SAMPLE_F32;
    switch (reader->ihdr.bit_depth) {
    case 1:
        return SAMPLE_BIT;
    case 8:
        return SAMPLE_U8;
    case 16:
        return SAMPLE_U16;
    }
    return SAMPLE_F32;
}

static void describe(struct reader *reader)
{
    reader->floats = floats_of(&reader->ihdr);
    const bool is_palette = reader->floats.is_palette, is_color = reader->floats.is_color;
    if (is_palette)
        read_palette(reader);
    const uint32_t bit_depth = is_palette ? 8 : reader->ihdr.bit_depth;
    reader->info = (struct image_info){
        .conversion = is_color ? IMAGE_CONVERSION_LUMINANCE : IMAGE_CONVERSION_NONE,
        .width = reader->ihdr.width,
        .height = reader->ihdr.height,
        .bit_depth = bit_depth,
        .n_channels = is_palette ? 3 : png_get_channels(reader->png, reader->header),
        .type = type_of(reader),
        .full_scale = sample_range_of_bits(bit_depth),
        .is_unordered = is_interlaced(reader),
        .calibration = read_calibration(reader->png, reader->header),
    };
}

static void step_header(struct reader *reader)
{
    reader->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning,
                                           reader, on_malloc, on_free);
    if (reader->png == NULL || (reader->header = png_create_info_struct(reader->png)) == NULL) {
        reader->out_of_memory = true;
        longjmp(reader->failed, 1);
    }
    png_structp png = reader->png;
    png_set_user_limits(png, reader->limits->max_side, reader->limits->max_side);
    png_set_chunk_cache_max(png, CHUNK_CACHE_MAX);
    png_set_chunk_malloc_max(png, CHUNK_SIZE_MAX);
    png_set_benign_errors(png, 1);
    skip_ancillary_chunks(png, reader->ihdr.color_type == PNG_COLOR_TYPE_PALETTE);
    png_set_read_fn(png, reader, on_read);
    png_read_info(png, reader->header);

    describe(reader);
}

/* --- the pixels --- */

/* The first n pixels of the row buffer into out[0], out[step], ... */
static void convert_row(struct reader *reader, uint32_t n, float *out, size_t step)
{
    if (!png_floats_convert(&reader->floats, reader->row, n, out, step))
        png_error(reader->png, "a pixel's palette index is beyond the palette");
}

static void step_begin(struct reader *reader)
{
    png_set_packing(reader->png); /* a byte for each sample below 8 bits, not scaled */
    if (reader->ihdr.bit_depth == 16 && SAMPLES_ARE_LITTLE_ENDIAN)
        png_set_swap(reader->png); /* PNG has the most significant byte first */
    png_set_read_user_transform_fn(reader->png, on_row);
    png_read_update_info(reader->png, reader->header);
    /* The same as ours by construction; it guards the buffers that libpng writes to. */
    const size_t row_size = png_get_rowbytes(reader->png, reader->header);
    if (row_size > (size_t)8 * reader->ihdr.width ||
        (reader->info.type != SAMPLE_F32 &&
         row_size != (size_t)reader->ihdr.width * sample_type_size(reader->info.type)))
        png_error(reader->png, "unexpected row size");
    reader->has_begun = true;
}

/* Before a row of n pixels, as libpng gives it. */
static void pass_row(struct reader *reader, size_t n)
{
    pass_guard(reader, n * reader->info.n_channels * (reader->ihdr.bit_depth == 16 ? 2 : 1));
}

static void read_plain(struct reader *reader)
{
    const size_t width = reader->ihdr.width;
    const size_t row_size = width * sample_type_size(reader->info.type);
    const bool is_direct = reader->info.type != SAMPLE_F32;
    /* Others may be reading the rows that were given: they are not written again. */
    for (; reader->n_read < reader->n_given; reader->n_read++) {
        pass_row(reader, width);
        png_read_row(reader->png, reader->row, NULL);
    }
    for (size_t i = 0; i < reader->n_wanted; i++, reader->n_read++) {
        pass_row(reader, width);
        uint8_t *out = reader->out != NULL ? reader->out + i * row_size : NULL;
        png_read_row(reader->png, is_direct && out != NULL ? out : reader->row, NULL);
        if (!is_direct)
            convert_row(reader, (uint32_t)width, out != NULL ? (float *)(void *)out : reader->sink,
                        1);
    }
}

/* libpng, not told to undo the interlacing, gives the rows of each pass that is not empty. */
static void read_pass(struct reader *reader, int pass)
{
    float *pixels = (float *)(void *)reader->out;
    size_t width = reader->ihdr.width;
    uint32_t columns = PNG_PASS_COLS(reader->ihdr.width, pass);
    uint32_t rows = PNG_PASS_ROWS(reader->ihdr.height, pass);
    size_t step = (size_t)1 << PNG_PASS_COL_SHIFT(pass);
    for (uint32_t row = 0; columns > 0 && row < rows; row++) {
        size_t y = PNG_ROW_FROM_PASS_ROW(row, pass);
        pass_row(reader, columns);
        png_read_row(reader->png, reader->row, NULL);
        if (pixels != NULL)
            convert_row(reader, columns, pixels + y * width + PNG_PASS_START_COL(pass), step);
        else
            convert_row(reader, columns, reader->sink, 1);
    }
}

/* libpng 1.6.39 checks the end chunk's checksum, 1.6.48 does not; both read it last. */
static void check_end(struct reader *reader)
{
    static const uint8_t iend_checksum[4] = {0xae, 0x42, 0x60, 0x82};
    const uint8_t *checksum = reader->data + reader->position - sizeof(iend_checksum);
    if (memcmp(checksum, iend_checksum, sizeof(iend_checksum)) != 0)
        png_error(reader->png, "IEND: CRC error");
}

static void step_rows(struct reader *reader)
{
    if (!reader->has_begun)
        step_begin(reader);
    if (!is_interlaced(reader))
        read_plain(reader);
    else
        for (int pass = 0; pass < ADAM7_PASSES; pass++)
            read_pass(reader, pass);
    if (reader->n_given + reader->n_wanted == reader->ihdr.height) {
        png_read_end(reader->png, NULL);
        check_end(reader);
    }
}

static int allocate_rows(struct reader *reader, struct error *err)
{
    const size_t width = reader->ihdr.width;
    if (reader->row == NULL)
        reader->row = malloc(8 * width);
    if (reader->sink == NULL)
        reader->sink = malloc(width * sizeof(float));
    if (reader->row == NULL || reader->sink == NULL)
        return error_set_nomem(err, "the image's pixels");
    return 0;
}

int png_decode_read(void *context, uint32_t n_max, void *rows, uint32_t *n_rows, struct error *err)
{
    struct reader *reader = context;
    uint32_t n = n_max;
    if (reader->rows != NULL && (rows == NULL || !png_rows_read(reader->rows, n_max, rows, &n))) {
        png_rows_destroy(reader->rows);
        reader->rows = NULL;
    }
    if (reader->rows == NULL) {
        n = n_max;
        reader->n_wanted = n;
        reader->out = rows;
        int rc = decode_guard_result(&reader->guard, err);
        if (rc == 0 && reader->data_end == 0)
            rc = check_data(reader, err);
        if (rc == 0)
            rc = allocate_rows(reader, err);
        if (rc == 0)
            rc = attempt(reader, step_rows, err);
        if (rc < 0)
            return rc;
    }
    reader->n_given += n;
    *n_rows = n;
    return 0;
}

/* --- the file --- */

static int open_header(const struct image_request *request, struct reader **out, struct error *err)
{
    struct ihdr ihdr = {0};
    int rc = read_ihdr(request->data, request->size, &ihdr, err);
    if (rc == 0)
        rc = check_limits(&ihdr, request->limits, err);
    if (rc < 0)
        return rc;
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return error_set_nomem(err, "the PNG decoder");
    reader->data = request->data;
    reader->size = request->size;
    reader->limits = request->limits;
    reader->ihdr = ihdr;
    decode_guard_init(&reader->guard, request, measure(&ihdr).size + request->size);
    rc = attempt(reader, step_header, err);
    if (rc < 0)
        png_decode_close(reader);
    else
        *out = reader;
    return rc;
}

int png_decode_probe(const struct image_request *request, struct image_info *out, struct error *err)
{
    struct reader *reader = NULL;
    int rc = open_header(request, &reader, err);
    if (rc < 0)
        return rc;
    *out = reader->info;
    png_decode_close(reader);
    return 0;
}

int png_decode_open(const struct image_request *request, void **out, struct image_info *info,
                    struct error *err)
{
    struct reader *reader = NULL;
    int rc = open_header(request, &reader, err);
    if (rc < 0)
        return rc;
    /* Without the memory for it libpng reads the rows, too. Only for libpng are the image data
     * found before: that looks at a place in each of the file's pages, which is then in memory. */
    const struct extent extent = measure(&reader->ihdr);
    if (request->trust == IMAGE_CHECKED && sample_type_n_levels(reader->info.type) > 0)
        reader->rows = png_rows_create(request->data, request->size, data_size_max(&extent),
                                       reader->ihdr.width, reader->ihdr.height,
                                       reader->ihdr.bit_depth / 8, &reader->guard);
    if (reader->rows == NULL && (rc = check_data(reader, err)) < 0) {
        png_decode_close(reader);
        return rc;
    }
    *info = reader->info;
    *out = reader;
    return 0;
}

void png_decode_close(void *context)
{
    struct reader *reader = context;
    png_destroy_read_struct(&reader->png, &reader->header, NULL);
    png_rows_destroy(reader->rows);
    free(reader->row);
    free(reader->sink);
    free(reader);
}
