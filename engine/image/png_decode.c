/* PNG (W3C PNG Specification, third edition) to one float32 plane, with libpng.
 *
 * Hostile input is kept small before libpng sees it: IHDR is read by hand and held against the
 * limits first; every ancillary chunk but sCAL is skipped unread; image data pass through one row
 * buffer. Adam7 passes are taken as the small images they are and scattered into the plane, so an
 * interlaced file needs no more memory than another.
 *
 * libpng leaves its calls by longjmp on an error. Everything that must survive that lives in
 * `struct reader`, outside the frame that calls setjmp: see `attempt`.
 */
#include "engine/image/png_decode.h"

#include <assert.h>
#include <math.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/image/png_rows.h"

enum {
    SIGNATURE_SIZE = 8,
    IHDR_END = SIGNATURE_SIZE + 8 + 13 + 4,
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
};

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
    struct ihdr ihdr;
    png_structp png;
    png_infop header;
    struct image_info info;
    uint32_t n_palette;
    float palette[256]; /* luminance of the palette's colours */
    uint8_t *row;       /* one row as libpng gives it: a byte or two a sample; owned */
    float *sink;        /* one row of floats when no plane is wanted; owned */
    float *pixels;      /* NULL unless the plane is wanted; owned until given to the caller */
    struct png_samples *samples; /* NULL: not asked for; borrowed */
    bool truncated;
    bool out_of_memory;
    bool stopped;      /* progress said so */
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

static void on_read(png_structp png, png_bytep out, size_t size)
{
    struct reader *reader = png_get_io_ptr(png);
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
    if (reader->out_of_memory)
        return error_set_nomem(err, "the PNG decoder");
    if (reader->stopped)
        return error_set(err, ERROR_CANCELLED, "stopped on request");
    if (reader->truncated)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is truncated: it ends after %zu bytes, before its "
                         "end chunk (IEND)",
                         reader->size);
    return error_set(err, ERROR_INVALID, "image: the PNG file is corrupt: %s", reader->message);
}

/* --- the header --- */

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int read_ihdr(const uint8_t *data, size_t size, struct ihdr *out, struct error *err)
{
    if (size < IHDR_END)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is truncated: it ends after %zu bytes, within its "
                         "header",
                         size);
    const uint8_t *chunk = data + SIGNATURE_SIZE;
    if (read_u32(chunk) != 13 || memcmp(chunk + 4, "IHDR", 4) != 0)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file is corrupt: its first chunk is not a header (IHDR)");
    *out = (struct ihdr){.width = read_u32(chunk + 8),
                         .height = read_u32(chunk + 12),
                         .bit_depth = chunk[16],
                         .color_type = chunk[17],
                         .interlace = chunk[20]};
    if (out->width == 0 || out->height == 0)
        return error_set(err, ERROR_INVALID,
                         "image: the PNG file has size zero (width %u, height %u)", out->width,
                         out->height);
    return 0;
}

static int check_side(const char *name, uint32_t side, uint32_t limit, struct error *err)
{
    if (side <= limit)
        return 0;
    return error_set(err, ERROR_INVALID, "image: %s %u is over the limit of %u pixels", name, side,
                     limit);
}

static int check_limits(const struct ihdr *ihdr, const struct image_limits *limits,
                        struct error *err)
{
    int rc;
    if ((rc = check_side("width", ihdr->width, limits->max_side, err)) != 0 ||
        (rc = check_side("height", ihdr->height, limits->max_side, err)) != 0)
        return rc;
    uint64_t n_pixels = (uint64_t)ihdr->width * ihdr->height;
    if (n_pixels > limits->max_pixels)
        return error_set(err, ERROR_INVALID,
                         "image: width x height = %u x %u = %llu is over the limit of %llu pixels",
                         ihdr->width, ihdr->height, (unsigned long long)n_pixels,
                         (unsigned long long)limits->max_pixels);
    /* At most 8 bytes a pixel in each of libpng's two rows and in ours; n_pixels < 2^62, so a sum
     * could only wrap beyond what the comparison by pixels admits. */
    uint64_t rows_size = UINT64_C(28) * ihdr->width + DECODER_SIZE;
    if (n_pixels > (UINT64_MAX - rows_size) / sizeof(float) ||
        n_pixels * sizeof(float) + rows_size > limits->max_decoded_size ||
        n_pixels * sizeof(float) > SIZE_MAX)
        return error_set(err, ERROR_INVALID,
                         "image: decoding %u x %u pixels takes over the limit of %llu bytes",
                         ihdr->width, ihdr->height, (unsigned long long)limits->max_decoded_size);
    return 0;
}

static float luminance(double red, double green, double blue)
{
    /* ITU-R BT.709: 0.2126 R + 0.7152 G + 0.0722 B, in the form that leaves grey exactly as it is.
     */
    return (float)(green + 0.2126 * (red - green) + 0.0722 * (blue - green));
}

static void read_palette(struct reader *reader)
{
    png_colorp colors = NULL;
    int n_colors = 0;
    if (png_get_PLTE(reader->png, reader->header, &colors, &n_colors) == 0 || n_colors > 256)
        png_error(reader->png, "no palette");
    reader->n_palette = (uint32_t)n_colors;
    for (int i = 0; i < n_colors; i++)
        reader->palette[i] = luminance(colors[i].red, colors[i].green, colors[i].blue);
}

/* 0 unless the file gives one plausible size for both axes. */
static double read_pixel_size_nm(png_structp png, png_infop header)
{
    int unit = 0;
    double width = 0;
    double height = 0;
    if (png_get_sCAL(png, header, &unit, &width, &height) == 0 || unit != PNG_SCALE_METER)
        return 0;
    /* From a hundredth of a picometre to a centimetre: wider than any microscope. NaN fails too. */
    double nm = width * 1e9;
    if (!(nm >= 1e-5 && nm <= 1e7) || !(fabs(height - width) <= 1e-3 * width))
        return 0;
    return nm;
}

static void skip_ancillary_chunks(png_structp png)
{
    /* A negative count: all that libpng knows but tRNS and a few that the list names. */
    static const png_byte skipped[] = "tRNS\0pHYs\0sBIT\0";
    static const png_byte wanted[] = "sCAL\0";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, 3);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, wanted, 1);
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
    skip_ancillary_chunks(png);
    png_set_read_fn(png, reader, on_read);
    png_read_info(png, reader->header);

    bool is_palette = reader->ihdr.color_type == PNG_COLOR_TYPE_PALETTE;
    bool is_color = (reader->ihdr.color_type & PNG_COLOR_MASK_COLOR) != 0;
    if (is_palette)
        read_palette(reader);
    reader->info = (struct image_info){
        .format = IMAGE_FORMAT_PNG,
        .conversion = is_color ? IMAGE_CONVERSION_LUMINANCE : IMAGE_CONVERSION_NONE,
        .width = reader->ihdr.width,
        .height = reader->ihdr.height,
        .bit_depth = is_palette ? 8 : reader->ihdr.bit_depth,
        .n_channels = is_palette ? 3 : png_get_channels(png, reader->header),
        .pixel_size_nm = read_pixel_size_nm(png, reader->header),
    };
}

/* --- the pixels --- */

static float sample(const uint8_t *row, size_t index, bool wide)
{
    return wide ? (float)(row[2 * index] << 8 | row[2 * index + 1]) : (float)row[index];
}

static void convert_palette_row(struct reader *reader, uint32_t n, float *out, size_t step)
{
    for (uint32_t i = 0; i < n; i++) {
        if (reader->row[i] >= reader->n_palette)
            png_error(reader->png, "a pixel's palette index is beyond the palette");
        out[i * step] = reader->palette[reader->row[i]];
    }
}

/* The first n pixels of the row buffer into out[0], out[step], ... */
static void convert_row(struct reader *reader, uint32_t n, float *out, size_t step)
{
    if (reader->ihdr.color_type == PNG_COLOR_TYPE_PALETTE) {
        convert_palette_row(reader, n, out, step);
        return;
    }
    const uint8_t *row = reader->row;
    size_t n_channels = reader->info.n_channels;
    bool wide = reader->ihdr.bit_depth == 16;
    if (reader->info.conversion == IMAGE_CONVERSION_NONE) {
        for (size_t i = 0; i < n; i++)
            out[i * step] = sample(row, i * n_channels, wide);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        size_t first = i * n_channels;
        out[i * step] = luminance(sample(row, first, wide), sample(row, first + 1, wide),
                                  sample(row, first + 2, wide));
    }
}

static bool has_samples(const struct ihdr *ihdr)
{
    return ihdr->color_type == PNG_COLOR_TYPE_GRAY && ihdr->bit_depth >= 8 &&
           ihdr->interlace == PNG_INTERLACE_NONE;
}

/* What png_rows.c did not take: the rows that were told of are not written again, because others
 * may be reading them. */
static void read_samples(struct reader *reader)
{
    struct png_samples *samples = reader->samples;
    const uint32_t height = reader->ihdr.height;
    const size_t row_size = (size_t)reader->ihdr.width * (reader->ihdr.bit_depth / 8);
    if (png_get_rowbytes(reader->png, reader->header) != row_size)
        png_error(reader->png, "unexpected row size");
    for (uint32_t y = 0; y < height; y++) {
        const bool told = y < samples->n_rows_told;
        uint8_t *row = samples->data + y % samples->n_held * row_size;
        png_read_row(reader->png, told ? reader->row : row, NULL);
        /* Of the last rows the caller tells, when the file has ended well. */
        if (!told && (y + 1) % SAMPLES_BLOCK_ROWS == 0 && y + 1 < height &&
            samples->progress != NULL && !samples->progress(samples->context, y + 1)) {
            reader->stopped = true;
            png_error(reader->png, "stopped");
        }
    }
}

static void count_row(struct reader *reader)
{
    const uint8_t *row = reader->row;
    uint32_t *counts = reader->samples->counts;
    for (size_t i = 0; reader->ihdr.bit_depth == 8 && i < reader->ihdr.width; i++)
        counts[row[i]]++;
    for (size_t i = 0; reader->ihdr.bit_depth == 16 && i < reader->ihdr.width; i++)
        counts[row[2 * i] << 8 | row[2 * i + 1]]++;
}

static void read_plain(struct reader *reader)
{
    const bool count =
        reader->samples != NULL && reader->samples->present && reader->samples->counts != NULL;
    for (size_t y = 0; y < reader->ihdr.height; y++) {
        float *out =
            reader->pixels != NULL ? reader->pixels + y * reader->ihdr.width : reader->sink;
        png_read_row(reader->png, reader->row, NULL);
        if (count)
            count_row(reader);
        convert_row(reader, reader->ihdr.width, out, 1);
    }
}

/* libpng, not told to undo the interlacing, gives the rows of each pass that is not empty. */
static void read_pass(struct reader *reader, int pass)
{
    size_t width = reader->ihdr.width;
    uint32_t columns = PNG_PASS_COLS(reader->ihdr.width, pass);
    uint32_t rows = PNG_PASS_ROWS(reader->ihdr.height, pass);
    size_t step = (size_t)1 << PNG_PASS_COL_SHIFT(pass);
    for (uint32_t row = 0; columns > 0 && row < rows; row++) {
        size_t y = PNG_ROW_FROM_PASS_ROW(row, pass);
        png_read_row(reader->png, reader->row, NULL);
        if (reader->pixels != NULL)
            convert_row(reader, columns, reader->pixels + y * width + PNG_PASS_START_COL(pass),
                        step);
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

static void step_pixels(struct reader *reader)
{
    png_set_packing(reader->png); /* a byte for each sample below 8 bits, not scaled */
    png_read_update_info(reader->png, reader->header);
    /* The same as ours by construction; it guards the buffer that libpng writes to. */
    if (png_get_rowbytes(reader->png, reader->header) > (size_t)8 * reader->ihdr.width)
        png_error(reader->png, "unexpected row size");
    if (reader->samples != NULL && reader->samples->data != NULL)
        read_samples(reader);
    else if (reader->ihdr.interlace == PNG_INTERLACE_NONE)
        read_plain(reader);
    else
        for (int pass = 0; pass < ADAM7_PASSES; pass++)
            read_pass(reader, pass);
    png_read_end(reader->png, NULL);
    check_end(reader);
}

static int allocate_pixels(struct reader *reader, enum png_decode_goal goal, struct error *err)
{
    size_t width = reader->ihdr.width;
    reader->row = malloc(8 * width);
    if (goal == PNG_DECODE_PIXELS)
        reader->pixels = malloc(width * reader->ihdr.height * sizeof(float));
    else if (goal != PNG_DECODE_SAMPLES)
        reader->sink = malloc(width * sizeof(float));
    if (reader->row == NULL ||
        (reader->pixels == NULL && reader->sink == NULL && goal != PNG_DECODE_SAMPLES))
        return error_set_nomem(err, "the image's pixels");
    return 0;
}

int png_decode_samples(const void *data, size_t size, const struct image_limits *limits,
                       struct png_samples *samples, struct error *err)
{
    struct ihdr ihdr = {0};
    struct image image;
    uint32_t n_rows = 0;
    int rc = read_ihdr(data, size, &ihdr, err);
    if (rc == 0)
        rc = check_limits(&ihdr, limits, err);
    if (rc != 0)
        return rc;
    const uint32_t bytes = ihdr.bit_depth / 8;
    const struct png_rows rows = {.row_size = (size_t)ihdr.width * bytes,
                                  .bytes_per_pixel = bytes,
                                  .height = ihdr.height,
                                  .n_held = samples->n_held,
                                  .out = samples->data,
                                  .progress = samples->progress,
                                  .context = samples->context};
    switch (png_rows_read(data, size, &rows, &n_rows)) {
    case PNG_ROWS_DONE:
        return 0;
    case PNG_ROWS_STOPPED:
        return error_set(err, ERROR_CANCELLED, "stopped on request");
    case PNG_ROWS_IRREGULAR:
        break;
    }
    samples->n_rows_told = n_rows;
    rc = png_decode(data, size, limits, PNG_DECODE_SAMPLES, samples, &image, err);
    if (rc == 0 && samples->progress != NULL && !samples->progress(samples->context, ihdr.height))
        rc = error_set(err, ERROR_CANCELLED, "stopped on request");
    return rc;
}

int png_decode(const void *data, size_t size, const struct image_limits *limits,
               enum png_decode_goal goal, struct png_samples *samples, struct image *out,
               struct error *err)
{
    struct ihdr ihdr = {0};
    int rc;
    if ((rc = read_ihdr(data, size, &ihdr, err)) != 0 ||
        (rc = check_limits(&ihdr, limits, err)) != 0)
        return rc;
    struct reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return error_set_nomem(err, "the PNG decoder");
    reader->data = data;
    reader->size = size;
    reader->limits = limits;
    reader->ihdr = ihdr;
    reader->samples = samples;
    if (samples != NULL)
        samples->present = has_samples(&ihdr);
    assert(goal != PNG_DECODE_SAMPLES || (samples->present && samples->data != NULL));

    rc = attempt(reader, step_header, err);
    if (rc != 0 || goal == PNG_DECODE_HEADER)
        goto out;
    rc = allocate_pixels(reader, goal, err);
    if (rc == 0)
        rc = attempt(reader, step_pixels, err);
out:
    if (rc == 0) {
        *out = (struct image){.info = reader->info, .pixels = reader->pixels};
        reader->pixels = NULL;
    }
    png_destroy_read_struct(&reader->png, &reader->header, NULL);
    free(reader->row);
    free(reader->sink);
    free(reader->pixels);
    free(reader);
    return rc;
}
