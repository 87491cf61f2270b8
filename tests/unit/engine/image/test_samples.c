/* Samples are read by a decoder of their own: it must agree with image_decode on every file, right
 * or wrong. */
#include "tests/test.h"

#include "engine/image/image.h"
#include "engine/image/normalise.h"
#include "engine/image/samples.h"
#include "tests/unit/engine/image/png_builder.h"

enum {
    WIDTH = 67,
    HEIGHT = 77,
    MAX_WIDTH = 161,
    MAX_HEIGHT = 130,
    MAX_BYTES = 2 * MAX_WIDTH * MAX_HEIGHT,
    MIXED = 5,
    RUNS = 6,
    N_FILTERS = 7,
    ALL_ROWS = 1 << 20,
    TAKEN = 0xee,
};

static uint8_t paeth(int a, int b, int c)
{
    int p = a + b - c;
    if (abs(p - a) <= abs(p - b) && abs(p - a) <= abs(p - c))
        return (uint8_t)a;
    return (uint8_t)(abs(p - b) <= abs(p - c) ? b : c);
}

/* The specification's filters, as it writes them. */
static uint8_t predict(int filter, int a, int b, int c)
{
    switch (filter) {
    case 1:
        return (uint8_t)a;
    case 2:
        return (uint8_t)b;
    case 3:
        return (uint8_t)((a + b) / 2);
    case 4:
        return paeth(a, b, c);
    }
    return 0;
}

/* Smooth with some noise, so that all three neighbours get to predict. */
static void fill(uint8_t *bytes, size_t n)
{
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(i * 3 + i / WIDTH * 5 + (state >> 24) % 40);
    }
}

/* Of row y: 0..4, all of them in turn (MIXED), or runs of Paeth rows that are longer than sixteen
 * and no multiple of it (RUNS). */
static uint8_t filter_of(int filter, size_t y)
{
    if (filter == MIXED)
        return (uint8_t)(y % 5);
    if (filter == RUNS)
        return y % 23 == 0 ? 1 : 4;
    return (uint8_t)filter;
}

/* A file whose rows have such filters. */
static struct png_file build(uint32_t width, uint32_t height, uint8_t bit_depth, int filter,
                             size_t n_idat)
{
    const size_t bpp = bit_depth / 8, row_size = width * bpp;
    static uint8_t bytes[MAX_BYTES], raw[MAX_BYTES + MAX_HEIGHT];
    struct png_file file = {NULL, 0}, whole = {NULL, 0};
    fill(bytes, row_size * height);
    for (size_t y = 0; y < height; y++) {
        const uint8_t *row = bytes + y * row_size;
        uint8_t *out = raw + y * (row_size + 1);
        out[0] = filter_of(filter, y);
        for (size_t i = 0; i < row_size; i++) {
            int a = i >= bpp ? row[i - bpp] : 0, b = y > 0 ? row[i - row_size] : 0;
            int c = i >= bpp && y > 0 ? row[i - row_size - bpp] : 0;
            out[i + 1] = (uint8_t)(row[i] - predict(out[0], a, b, c));
        }
    }
    png_add_idat(&whole, raw, (row_size + 1) * height);
    png_add_signature(&file);
    png_add_ihdr(&file, width, height, bit_depth, PNG_GREY, 0);
    png_add_chunk(&file, "tEXt", "Comment\0none", 12);
    /* The chunk's data, cut into n_idat chunks. */
    const size_t size = whole.size - 12;
    for (size_t i = 0; i < n_idat; i++) {
        const size_t first = size * i / n_idat, end = size * (i + 1) / n_idat;
        png_add_chunk(&file, "IDAT", whole.data + 8 + first, end - first);
    }
    png_add_iend(&file);
    png_file_clear(&whole);
    return file;
}

static uint32_t level(const struct samples *samples, size_t i)
{
    const uint16_t *wide = (const uint16_t *)(const void *)samples->data;
    return samples->type == SAMPLE_U8 ? samples->data[i] : wide[i];
}

/* As a job reads it: checked before, and so not by libpng. */
static int open_checked(const struct png_file *file, struct image_source *source, struct error *err)
{
    return image_open(&(struct image_request){.data = file->data,
                                              .size = file->size,
                                              .limits = &image_limits_default,
                                              .trust = IMAGE_CHECKED},
                      source, err);
}

/* All rows of a file that is right. */
static void read_all(const struct png_file *file, struct samples *samples)
{
    struct image_source source;
    assert_int_equal(open_checked(file, &source, NULL), 0);
    assert_int_equal(samples_create(&source.info, ALL_ROWS, samples, NULL), 0);
    while (source.n_rows < samples->height)
        assert_int_equal(samples_read(samples, &source, NULL), 0);
    image_source_close(&source);
}

/* Both decoders agree about the file. */
static void compare(const struct png_file *file)
{
    struct image image = {.pixels = NULL};
    struct image_source source = {.reader = NULL};
    struct samples samples = {.data = NULL};
    struct error errors[2] = {{0}};
    int expected = image_decode(&(struct image_request){.data = file->data,
                                                        .size = file->size,
                                                        .limits = &image_limits_default},
                                &image, &errors[0]);
    int rc = open_checked(file, &source, &errors[1]);
    if (rc == 0)
        rc = samples_create(&source.info, ALL_ROWS, &samples, &errors[1]);
    while (rc == 0 && source.n_rows < samples.height)
        rc = samples_read(&samples, &source, &errors[1]);
    assert_int_equal(rc, expected);
    assert_string_equal(errors[1].message, errors[0].message);
    if (rc == 0) {
        assert_int_equal(source.n_rows, image.info.height);
        for (size_t i = 0; i < (size_t)image.info.width * image.info.height; i++)
            assert_true((float)level(&samples, i) == image.pixels[i]);
    }
    image_source_close(&source);
    samples_clear(&samples);
    image_clear(&image);
}

static void every_filter_is_undone(void **state)
{
    (void)state;
    /* Around the sixteen and sixty-four rows that are undone at once, and the widths it takes. */
    static const uint32_t sizes[][2] = {
        {1, 1},    {1, 33},   {3, 16},   {7, 35},   {15, 48},          {16, 32},        {17, 17},
        {48, 64},  {49, 32},  {63, 65},  {64, 31},  {65, 49},          {WIDTH, HEIGHT}, {WIDTH, 7},
        {143, 64}, {144, 64}, {145, 65}, {159, 80}, {160, MAX_HEIGHT}, {MAX_WIDTH, 127}};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (int filter = 0; filter < N_FILTERS; filter++) {
            for (uint8_t bit_depth = 8; bit_depth <= 16; bit_depth += 8) {
                struct png_file file = build(sizes[s][0], sizes[s][1], bit_depth, filter, 1);
                compare(&file);
                png_file_clear(&file);
            }
        }
    }
}

static void image_data_may_lie_in_many_chunks(void **state)
{
    (void)state;
    for (size_t n = 2; n < 40; n += 5) {
        struct png_file file = build(WIDTH, HEIGHT, 8, 4, n);
        compare(&file);
        png_file_clear(&file);
    }
}

/* Each byte changed in turn, and each length: the same error, or the same pixels. */
static void damage_is_found_as_by_the_other_decoder(void **state)
{
    (void)state;
    struct png_file file = build(9, 20, 8, 4, 3);
    for (size_t i = 0; i < file.size; i++) {
        file.data[i] ^= 0x11;
        struct image_source source = {.reader = NULL};
        /* A header that says something else may be right: then there are no samples. */
        if (open_checked(&file, &source, NULL) != 0 || sample_type_n_levels(source.info.type) > 0)
            compare(&file);
        image_source_close(&source);
        file.data[i] ^= 0x11;
    }
    const size_t size = file.size;
    for (file.size = 0; file.size < size; file.size++)
        compare(&file);
    png_file_clear(&file);
}

/* Chunks between the image data and the end: to be skipped, to be understood, and no chunks. */
static void chunks_after_the_rows_are_judged_as_by_the_other_decoder(void **state)
{
    (void)state;
    static const char types[][5] = {"tEXt",          "abCd",  "ABCD", "IDAT",
                                    " \x84\x02\x04", "ab\0d", "{bCd"};
    const uint8_t raw[20] = {0};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct png_file file = {NULL, 0};
        png_add_signature(&file);
        png_add_ihdr(&file, 9, 2, 8, PNG_GREY, 0);
        png_add_idat(&file, raw, sizeof(raw));
        png_add_chunk(&file, types[i], "", 0);
        png_add_iend(&file);
        compare(&file);
        png_file_clear(&file);
    }
}

static void surplus_rows_are_judged_as_by_the_other_decoder(void **state)
{
    (void)state;
    static const size_t raw_sizes[] = {19, 20, 21, 40}; /* 2 rows of 9 pixels need 20 */
    uint8_t raw[40] = {0};
    for (size_t i = 0; i < sizeof(raw_sizes) / sizeof(raw_sizes[0]); i++) {
        struct png_file file = {NULL, 0};
        png_add_signature(&file);
        png_add_ihdr(&file, 9, 2, 8, PNG_GREY, 0);
        png_add_idat(&file, raw, raw_sizes[i]);
        png_add_iend(&file);
        compare(&file);
        png_file_clear(&file);
    }
}

/* Rows as they are read, in memory that does not hold all of them. `stop_at`: 0, or how many are
 * enough. */
static int gather(const struct png_file *file, uint32_t n_held, uint32_t stop_at, uint8_t *rows)
{
    struct image_source source;
    struct samples samples;
    assert_int_equal(open_checked(file, &source, NULL), 0);
    assert_int_equal(samples_create(&source.info, n_held, &samples, NULL), 0);
    const uint32_t height = samples.height;
    assert_true(samples.n_held >= n_held || samples.n_held == height);
    assert_true(samples.n_held == height || samples.n_held % SOURCE_BLOCK_ROWS == 0);
    const size_t row_size = (size_t)samples.width * sample_type_size(samples.type);
    int rc = 0;
    while (rc == 0 && source.n_rows < (stop_at > 0 ? stop_at : height)) {
        const uint32_t first = source.n_rows, n_next = samples_next_rows(&samples, first);
        rc = samples_read(&samples, &source, NULL);
        assert_true(rc < 0 || (source.n_rows > first && source.n_rows <= first + n_next));
        for (uint32_t y = first; rc == 0 && y < source.n_rows; y++) {
            uint8_t *row = samples.data + y % samples.n_held * row_size;
            memcpy(rows + y * row_size, row, row_size);
            memset(row, TAKEN, row_size);
        }
    }
    /* Each was given once. */
    for (size_t i = 0; rc == 0 && stop_at == 0 && i < samples.n_held * row_size; i++)
        assert_int_equal(samples.data[i], TAKEN);
    assert_true(rc < 0 || stop_at > 0 || samples_next_rows(&samples, source.n_rows) == 0);
    image_source_close(&source);
    samples_clear(&samples);
    return rc;
}

static void a_band_of_rows_is_enough(void **state)
{
    (void)state;
    enum { TALL = 10 * SOURCE_BLOCK_ROWS + 5, NARROW = 3 };
    static uint8_t raw[TALL * (NARROW + 1)], rows[TALL * NARROW];
    for (uint32_t y = 0; y < TALL; y++) {
        for (uint32_t x = 0; x < NARROW; x++)
            raw[y * (NARROW + 1) + 1 + x] = (uint8_t)(7 * y + x);
    }
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, NARROW, TALL, 8, PNG_GREY, 0);
    png_add_idat(&file, raw, sizeof(raw));
    png_add_iend(&file);
    for (uint32_t n_held = 1; n_held < 400; n_held += 133) {
        memset(rows, 0, sizeof(rows));
        assert_int_equal(gather(&file, n_held, 0, rows), 0);
        for (uint32_t i = 0; i < TALL * NARROW; i++)
            assert_int_equal(rows[i], (uint8_t)(7 * (i / NARROW) + i % NARROW));
    }
    png_file_clear(&file);
}

/* What is wrong is found at the end, when the rows that lie before it were read: libpng goes on
 * from there, and a reader that wants no more of them closes the file. */
static void a_band_of_a_damaged_file_can_be_left(void **state)
{
    (void)state;
    enum { TALL = 10 * SOURCE_BLOCK_ROWS, NARROW = 3, N_ODD = 5 * SOURCE_BLOCK_ROWS };
    static uint8_t raw[TALL * (NARROW + 1)], rows[TALL * NARROW];
    struct png_file file = {NULL, 0};
    raw[N_ODD * (NARROW + 1)] = 4;
    raw[9 * SOURCE_BLOCK_ROWS * (NARROW + 1)] = 99; /* no filter */
    png_add_signature(&file);
    png_add_ihdr(&file, NARROW, TALL, 8, PNG_GREY, 0);
    png_add_idat(&file, raw, sizeof(raw));
    png_add_iend(&file);
    for (uint32_t stop_at = 0; stop_at < TALL; stop_at += 3 * SOURCE_BLOCK_ROWS)
        assert_int_equal(gather(&file, 1, stop_at, rows),
                         stop_at == 0 || stop_at > 9 * SOURCE_BLOCK_ROWS ? ERROR_INVALID : 0);
    png_file_clear(&file);
}

/* libpng understands what png_rows.c does not: the rows that were read are not given again, and
 * those that follow are right. A surplus byte of image data is found at the end. */
static void libpng_goes_on_where_the_other_decoder_stops(void **state)
{
    (void)state;
    enum { TALL = 10 * SOURCE_BLOCK_ROWS + 7, NARROW = 5 };
    static uint8_t raw[TALL * (NARROW + 1) + 1], rows[TALL * NARROW];
    for (uint32_t y = 0; y < TALL; y++) {
        for (uint32_t x = 0; x < NARROW; x++)
            raw[y * (NARROW + 1) + 1 + x] = (uint8_t)(11 * y + x);
    }
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, NARROW, TALL, 8, PNG_GREY, 0);
    png_add_idat(&file, raw, sizeof(raw));
    png_add_iend(&file);
    static const uint32_t n_held[] = {1, ALL_ROWS};
    for (size_t k = 0; k < sizeof(n_held) / sizeof(n_held[0]); k++) {
        memset(rows, 0, sizeof(rows));
        assert_int_equal(gather(&file, n_held[k], 0, rows), 0);
        for (uint32_t i = 0; i < TALL * NARROW; i++)
            assert_int_equal(rows[i], (uint8_t)(11 * (i / NARROW) + i % NARROW));
    }
    png_file_clear(&file);
}

static void other_kinds_have_no_samples(void **state)
{
    (void)state;
    static const uint16_t values[4 * 4 * 4] = {0};
    static const struct png_pixels kinds[] = {
        {.bit_depth = 4, .color_type = PNG_GREY},
        {.bit_depth = 8, .color_type = PNG_GREY, .interlace = 1},
        {.bit_depth = 8, .color_type = PNG_RGB},
        {.bit_depth = 8, .color_type = PNG_GREY_ALPHA},
        {.bit_depth = 16, .color_type = PNG_RGBA},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct png_pixels pixels = kinds[i];
        struct image_source source;
        struct image_info info;
        struct image_look look = {.counts = calloc(SAMPLE_LEVELS_MAX, sizeof(look.counts[0])),
                                  .n_levels = 7};
        assert_non_null(look.counts);
        pixels.width = pixels.height = 4;
        pixels.samples = values;
        struct png_file file = png_build(&pixels);
        assert_int_equal(open_checked(&file, &source, NULL), 0);
        assert_int_equal(sample_type_n_levels(source.info.type), 0);
        image_source_close(&source);
        assert_int_equal(image_scan(&(struct image_request){.data = file.data,
                                                            .size = file.size,
                                                            .limits = &image_limits_default},
                                    &info, &look, NULL),
                         0);
        assert_int_equal(look.n_levels, 0);
        free(look.counts);
        png_file_clear(&file);
    }
}

static void reading_can_stop(void **state)
{
    (void)state;
    static uint8_t rows[WIDTH * HEIGHT];
    struct png_file file = build(WIDTH, HEIGHT, 8, 4, 1);
    struct image_source source;
    struct samples samples;
    assert_int_equal(gather(&file, ALL_ROWS, 1, rows), 0);
    assert_int_equal(open_checked(&file, &source, NULL), 0);
    assert_int_equal(samples_create(&source.info, ALL_ROWS, &samples, NULL), 0);
    assert_int_equal(samples_read(&samples, &source, NULL), 0);
    assert_true(source.n_rows > 0 && source.n_rows < HEIGHT);
    image_source_close(&source);
    image_source_close(&source); /* twice is allowed */
    samples_clear(&samples);
    png_file_clear(&file);
}

/* Another file than the one that memory was taken for must not be written there. */
static void samples_of_another_file_are_refused(void **state)
{
    (void)state;
    struct png_file small = build(8, 8, 8, 0, 1), large = build(WIDTH, HEIGHT, 16, 0, 1);
    struct image_source source;
    struct samples samples;
    assert_int_equal(open_checked(&small, &source, NULL), 0);
    assert_int_equal(samples_create(&source.info, ALL_ROWS, &samples, NULL), 0);
    image_source_close(&source);
    assert_int_equal(open_checked(&large, &source, NULL), 0);
    assert_int_equal(samples_read(&samples, &source, NULL), ERROR_INVALID);
    image_source_close(&source);
    samples_clear(&samples);
    png_file_clear(&small);
    png_file_clear(&large);
}

/* What normalise_apply makes of the pixels, from the counts alone and to the bit. */
static void levels_are_those_of_the_pixels(void **state)
{
    (void)state;
    static const struct normalise_params trials[] = {
        {.method = NORMALISE_PERCENTILE, .low = 0.5, .high = 99.5},
        {.method = NORMALISE_PERCENTILE, .low = 0, .high = 100},
        {.method = NORMALISE_PERCENTILE, .low = 33.3, .high = 33.4},
        {.method = NORMALISE_MINMAX},
        {.method = NORMALISE_NONE},
    };
    uint32_t *counts = calloc(SAMPLE_LEVELS_MAX, sizeof(counts[0]));
    uint32_t *verified = calloc(SAMPLE_LEVELS_MAX, sizeof(counts[0]));
    float *levels = calloc(SAMPLE_LEVELS_MAX, sizeof(levels[0]));
    assert_true(counts != NULL && verified != NULL && levels != NULL);
    for (uint8_t bit_depth = 8; bit_depth <= 16; bit_depth += 8) {
        struct png_file file = build(WIDTH, HEIGHT, bit_depth, MIXED, 1);
        struct samples samples;
        struct image_info info;
        struct image_look look = {.counts = verified};
        const size_t counts_size = (sizeof(counts[0])) << bit_depth;
        read_all(&file, &samples);
        assert_int_equal(samples.type, bit_depth == 8 ? SAMPLE_U8 : SAMPLE_U16);
        memset(counts, 0, counts_size);
        memset(verified, 0, counts_size);
        samples_count(&samples, NULL, 0, HEIGHT / 2, counts);
        samples_count(&samples, NULL, HEIGHT / 2, HEIGHT, counts);
        assert_int_equal(image_scan(&(struct image_request){.data = file.data,
                                                            .size = file.size,
                                                            .limits = &image_limits_default},
                                    &info, &look, NULL),
                         0);
        assert_int_equal(look.n_levels, 1 << bit_depth);
        assert_memory_equal(counts, verified, counts_size);
        for (size_t t = 0; t < sizeof(trials) / sizeof(trials[0]); t++) {
            struct image image;
            assert_int_equal(image_decode(&(struct image_request){.data = file.data,
                                                                  .size = file.size,
                                                                  .limits = &image_limits_default},
                                          &image, NULL),
                             0);
            assert_int_equal(normalise_apply(&trials[t], image.pixels, WIDTH, HEIGHT,
                                             &image.info.full_scale, NULL, NULL),
                             0);
            assert_int_equal(
                normalise_levels(&trials[t], counts, samples.type, &info.full_scale, levels, NULL),
                0);
            for (size_t i = 0; i < (size_t)WIDTH * HEIGHT; i++)
                assert_memory_equal(&levels[level(&samples, i)], &image.pixels[i], sizeof(float));
            image_clear(&image);
        }
        samples_clear(&samples);
        png_file_clear(&file);
    }
    free(levels);
    free(verified);
    free(counts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_filter_is_undone),
        cmocka_unit_test(image_data_may_lie_in_many_chunks),
        cmocka_unit_test(damage_is_found_as_by_the_other_decoder),
        cmocka_unit_test(chunks_after_the_rows_are_judged_as_by_the_other_decoder),
        cmocka_unit_test(surplus_rows_are_judged_as_by_the_other_decoder),
        cmocka_unit_test(a_band_of_rows_is_enough),
        cmocka_unit_test(a_band_of_a_damaged_file_can_be_left),
        cmocka_unit_test(libpng_goes_on_where_the_other_decoder_stops),
        cmocka_unit_test(other_kinds_have_no_samples),
        cmocka_unit_test(reading_can_stop),
        cmocka_unit_test(samples_of_another_file_are_refused),
        cmocka_unit_test(levels_are_those_of_the_pixels),
    };
    return test_run(tests);
}
