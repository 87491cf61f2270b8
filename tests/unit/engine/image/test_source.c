/* A format that is not PNG: files of raw samples of any type, several frames of them, read through
 * the interface that every format has. */
#include "tests/test.h"

#include <math.h>

#include "engine/image/chip_grid.h"
#include "engine/image/image.h"
#include "engine/image/normalise.h"
#include "engine/image/pyramid.h"
#include "engine/image/samples.h"

enum { WIDTH = 23, HEIGHT = 150, N = WIDTH * HEIGHT, N_FRAMES = 3, CHIP = 8 };

/* What is behind the file: its frames, one behind the other. */
struct raw {
    enum sample_type type;
    bool is_unordered;
    uint32_t n_bad; /* rows before one that cannot be read; 0: all can */
    union {
        uint8_t u8[N_FRAMES * N];
        uint16_t u16[N_FRAMES * N];
        int16_t i16[N_FRAMES * N];
        uint32_t u32[N_FRAMES * N];
        int32_t i32[N_FRAMES * N];
        float f32[N_FRAMES * N];
        double f64[N_FRAMES * N];
    } samples;
};

struct raw_reader {
    const struct raw *raw;
    uint32_t frame;
    uint32_t n_rows;
};

static int n_open;

static bool raw_matches(const uint8_t *data, size_t size)
{
    (void)data;
    return size == sizeof(struct raw);
}

static struct image_info raw_info(const struct raw *raw)
{
    return (struct image_info){
        .width = WIDTH,
        .height = HEIGHT,
        .bit_depth = 8 * sample_type_size(raw->type),
        .n_channels = 1,
        .type = raw->type,
        .full_scale = sample_type_range(raw->type),
        .is_unordered = raw->is_unordered,
        .calibration = {CALIBRATION_PER_NM, 0.5, 0.25, "raw"},
    };
}

static int raw_probe(const struct image_request *request, struct image_frames *out,
                     struct error *err)
{
    struct image_frames frames = {calloc(N_FRAMES, sizeof(frames.items[0])), N_FRAMES};
    if (frames.items == NULL)
        return error_set_nomem(err, "frames");
    for (uint32_t i = 0; i < N_FRAMES; i++)
        frames.items[i] = raw_info((const struct raw *)(const void *)request->data);
    *out = frames;
    return 0;
}

static int raw_open(const struct image_request *request, void **reader, struct image_info *info,
                    struct error *err)
{
    int rc = image_frame_check("raw", request->frame, N_FRAMES, err);
    if (rc < 0)
        return rc;
    struct raw_reader *made = calloc(1, sizeof(*made));
    assert_non_null(made);
    made->raw = (const struct raw *)(const void *)request->data;
    made->frame = request->frame;
    *info = raw_info(made->raw);
    *reader = made;
    n_open++;
    return 0;
}

/* In pieces of seven rows, as a file's strips would be. */
static int raw_read(void *context, uint32_t n_max, void *rows, uint32_t *n_rows, struct error *err)
{
    struct raw_reader *reader = context;
    const struct raw *raw = reader->raw;
    const uint32_t n = raw->is_unordered || n_max < 7 ? n_max : 7;
    const size_t size = sample_type_size(raw->type);
    const size_t first = (size_t)reader->frame * N + (size_t)reader->n_rows * WIDTH;
    reader->n_rows += n;
    if (raw->n_bad > 0 && reader->n_rows > raw->n_bad)
        return error_set(err, ERROR_INVALID, "image: row %u is bad", raw->n_bad);
    if (rows != NULL)
        memcpy(rows, raw->samples.u8 + first * size, n * WIDTH * size);
    *n_rows = n;
    return 0;
}

static void raw_close(void *reader)
{
    n_open--;
    free(reader);
}

static const struct image_format raw_format = {
    .name = "raw",
    .label = "raw",
    .media_types = (const char *const[]){"application/x-raw", NULL},
    .extensions = (const char *const[]){"raw", NULL},
    .matches = raw_matches,
    .probe = raw_probe,
    .open = raw_open,
    .read = raw_read,
    .close = raw_close,
};

static const enum sample_type all_types[] = {SAMPLE_BIT, SAMPLE_U8,  SAMPLE_U16, SAMPLE_I16,
                                             SAMPLE_U32, SAMPLE_I32, SAMPLE_F32, SAMPLE_F64};
enum { N_TYPES = sizeof(all_types) / sizeof(all_types[0]) };

static struct raw raw;

/* Sample i of all frames as a number that the type holds exactly, also as a float. */
static double value_of(enum sample_type type, size_t i)
{
    const uint32_t noise = (uint32_t)i * 2654435761u;
    switch (type) {
    case SAMPLE_BIT:
        return noise >> 31;
    case SAMPLE_U8:
        return noise >> 24;
    case SAMPLE_U16:
        return noise >> 16;
    case SAMPLE_I16:
        return (double)(noise >> 16) - 32768;
    case SAMPLE_U32:
        return (double)(noise & 0xffffff00u);
    case SAMPLE_I32:
        return (double)(noise & 0xffffff00u) - 2147483648.0;
    case SAMPLE_F32:
    case SAMPLE_F64:
        break;
    }
    return ((double)(noise >> 16) - 32768) * 0x1p-20;
}

static void put(enum sample_type type, size_t i, double value)
{
    switch (type) {
    case SAMPLE_BIT:
    case SAMPLE_U8:
        raw.samples.u8[i] = (uint8_t)value;
        return;
    case SAMPLE_U16:
        raw.samples.u16[i] = (uint16_t)value;
        return;
    case SAMPLE_I16:
        raw.samples.i16[i] = (int16_t)value;
        return;
    case SAMPLE_U32:
        raw.samples.u32[i] = (uint32_t)value;
        return;
    case SAMPLE_I32:
        raw.samples.i32[i] = (int32_t)value;
        return;
    case SAMPLE_F32:
        raw.samples.f32[i] = (float)value;
        return;
    case SAMPLE_F64:
        raw.samples.f64[i] = value;
        return;
    }
}

static void fill(enum sample_type type)
{
    memset(&raw, 0, sizeof(raw));
    raw.type = type;
    for (size_t i = 0; i < N_FRAMES * N; i++)
        put(type, i, value_of(type, i));
}

static struct image_source open_frame(uint32_t frame)
{
    const struct image_request request = {.data = (const uint8_t *)&raw,
                                          .size = sizeof(raw),
                                          .limits = &image_limits_default,
                                          .frame = frame};
    struct image_source source;
    assert_int_equal(image_source_open(&source, &raw_format, &request, NULL), 0);
    assert_ptr_equal(source.info.format, &raw_format);
    return source;
}

static struct image decode(uint32_t frame)
{
    struct image_source source = open_frame(frame);
    struct image image;
    assert_int_equal(image_source_decode(&source, &image, NULL), 0);
    image_source_close(&source);
    return image;
}

static void every_type_of_every_frame_becomes_floats(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        fill(all_types[t]);
        for (uint32_t frame = 0; frame < N_FRAMES; frame++) {
            struct image image = decode(frame);
            assert_int_equal(image.info.type, all_types[t]);
            for (size_t i = 0; i < N; i++)
                assert_true(image.pixels[i] == value_of(all_types[t], (size_t)frame * N + i));
            image_clear(&image);
        }
    }
    assert_int_equal(n_open, 0);
}

static void a_frame_that_there_is_not_is_refused(void **state)
{
    (void)state;
    const struct image_request request = {.data = (const uint8_t *)&raw,
                                          .size = sizeof(raw),
                                          .limits = &image_limits_default,
                                          .frame = N_FRAMES};
    struct image_source source;
    struct error err = {0};
    fill(SAMPLE_U8);
    assert_int_equal(image_source_open(&source, &raw_format, &request, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "image: there is no frame 3: the raw file has 3, numbered from 0");
    assert_int_equal(n_open, 0);
}

/* All rows at once, as of an interlaced file. */
static void unordered_rows_are_read_at_once(void **state)
{
    (void)state;
    fill(SAMPLE_F32);
    raw.is_unordered = true;
    struct image image = decode(1);
    for (size_t i = 0; i < N; i++)
        assert_true(image.pixels[i] == value_of(SAMPLE_F32, N + i));
    image_clear(&image);
    struct image_source source = open_frame(1);
    assert_int_equal(image_source_verify(&source, NULL), 0);
    assert_int_equal(source.n_rows, HEIGHT);
    image_source_close(&source);
}

static void a_fault_is_passed_on_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        struct error errors[2] = {{0}};
        struct image image = {.pixels = NULL};
        fill(all_types[t]);
        raw.n_bad = 100;
        struct image_source source = open_frame(0);
        assert_int_equal(image_source_decode(&source, &image, &errors[0]), ERROR_INVALID);
        assert_null(image.pixels);
        image_source_close(&source);
        source = open_frame(0);
        assert_int_equal(image_source_verify(&source, &errors[1]), ERROR_INVALID);
        image_source_close(&source);
        assert_string_equal(errors[0].message, "image: row 100 is bad");
        assert_string_equal(errors[1].message, "image: row 100 is bad");
    }
    assert_int_equal(n_open, 0);
}

/* The definition, by sorting: whatever the type, without wrapping. */
static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void every_type_is_normalised(void **state)
{
    (void)state;
    static float sorted[N];
    for (size_t t = 0; t < N_TYPES; t++) {
        const struct sample_range range = sample_type_range(all_types[t]);
        const struct normalise_params trials[] = {{.method = NORMALISE_PERCENTILE, .high = 100},
                                                  {.method = NORMALISE_MINMAX},
                                                  {.method = NORMALISE_NONE}};
        fill(all_types[t]);
        for (size_t k = 0; k < sizeof(trials) / sizeof(trials[0]); k++) {
            struct image image = decode(0);
            memcpy(sorted, image.pixels, sizeof(sorted));
            qsort(sorted, N, sizeof(float), compare_floats);
            const bool is_none = trials[k].method == NORMALISE_NONE;
            const double low = is_none ? range.low : sorted[0];
            const double high = is_none ? range.high : sorted[N - 1];
            assert_int_equal(normalise_apply(&trials[k], image.pixels, WIDTH, HEIGHT,
                                             &image.info.full_scale, NULL, NULL),
                             0);
            for (size_t i = 0; i < N; i++) {
                const double expected = (value_of(all_types[t], i) - low) / (high - low);
                assert_true(fabs(image.pixels[i] - fmin(fmax(expected, 0), 1)) < 1e-6);
            }
            image_clear(&image);
        }
    }
}

static void a_double_beyond_floats_is_refused_by_name(void **state)
{
    (void)state;
    struct error err = {0};
    fill(SAMPLE_F64);
    raw.samples.f64[5] = 1e300;
    struct image image = decode(0);
    assert_int_equal(normalise_apply(&normalise_params_default, image.pixels, WIDTH, HEIGHT,
                                     &image.info.full_scale, NULL, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message, "image: pixel 5 has the value inf");
    image_clear(&image);
}

/* ---- types that have levels: counted, looked up, never a plane of floats ---- */

static void take_samples(struct samples *out, uint32_t n_held, uint32_t *counts)
{
    struct image_source source = open_frame(0);
    assert_int_equal(samples_create(&source.info, n_held, out, NULL), 0);
    while (source.n_rows < HEIGHT) {
        const uint32_t first = source.n_rows;
        assert_int_equal(samples_read(out, &source, NULL), 0);
        samples_count(out, NULL, first, source.n_rows, counts);
    }
    image_source_close(&source);
}

/* Every chip of the frame from its samples has the bytes that it has from the normalised plane. */
static void compare_chips(const struct samples *samples, const float *levels, const float *plane)
{
    struct chip_resampler *resampler = NULL;
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP, .stride_y = 5};
    struct grid grid;
    float found[5 * 5], expected[5 * 5];
    assert_int_equal(grid_plan(&params, WIDTH, HEIGHT, N, &grid, NULL), 0);
    assert_int_equal(chip_resampler_create(&resampler, CHIP, CHIP, 5, 5, NULL), 0);
    float *scratch = calloc(chip_resampler_scratch(resampler), sizeof(float));
    assert_non_null(scratch);
    const struct chip_source source = {
        .samples = samples->data, .type = samples->type, .levels = levels, .image_width = WIDTH};
    for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
        const struct chip_rect rect = grid_chip(&grid, i);
        chip_resample_source(resampler, &source, rect.x, rect.y, scratch, found);
        chip_resample(resampler, plane, WIDTH, rect.x, rect.y, scratch, expected);
        assert_memory_equal(found, expected, sizeof(found));
    }
    free(scratch);
    chip_resampler_destroy(resampler);
}

/* In 8 bits of grey, too. */
static void compare_greys(const struct samples *samples, const float *levels, const float *plane)
{
    static uint8_t table[SAMPLE_LEVELS_MAX], found[N], expected[N];
    pyramid_quantise(levels, sample_type_n_levels(samples->type), table);
    samples_look_up(samples->type, samples->data, N, table, found);
    pyramid_quantise(plane, N, expected);
    assert_memory_equal(found, expected, N);
}

static void levels_give_the_bytes_of_the_plane(void **state)
{
    (void)state;
    static uint32_t counts[SAMPLE_LEVELS_MAX], verified[SAMPLE_LEVELS_MAX];
    static float levels[SAMPLE_LEVELS_MAX];
    static const struct normalise_params trials[] = {
        {.method = NORMALISE_PERCENTILE, .low = 0.5, .high = 99.5},
        {.method = NORMALISE_PERCENTILE, .low = 33.3, .high = 33.4},
        {.method = NORMALISE_MINMAX},
        {.method = NORMALISE_NONE},
    };
    size_t n_tried = 0;
    for (size_t t = 0; t < N_TYPES; t++) {
        const enum sample_type type = all_types[t];
        if (sample_type_n_levels(type) == 0)
            continue;
        struct samples samples;
        fill(type);
        memset(counts, 0, sizeof(counts));
        memset(verified, 0, sizeof(verified));
        take_samples(&samples, HEIGHT, counts);
        struct image_source source = open_frame(0);
        struct bars_scan *scan = NULL;
        assert_int_equal(bars_scan_create(&scan, source.info.width, source.info.height, NULL), 0);
        assert_int_equal(image_source_scan(&source, verified, scan, NULL), 0);
        bars_scan_destroy(scan);
        image_source_close(&source);
        assert_memory_equal(counts, verified, sizeof(counts));
        for (size_t k = 0; k < sizeof(trials) / sizeof(trials[0]); k++) {
            struct image image = decode(0);
            assert_int_equal(normalise_apply(&trials[k], image.pixels, WIDTH, HEIGHT,
                                             &image.info.full_scale, NULL, NULL),
                             0);
            assert_int_equal(
                normalise_levels(&trials[k], counts, type, &image.info.full_scale, levels, NULL),
                0);
            compare_chips(&samples, levels, image.pixels);
            compare_greys(&samples, levels, image.pixels);
            image_clear(&image);
            n_tried++;
        }
        samples_clear(&samples);
    }
    assert_int_equal(n_tried, 3 * sizeof(trials) / sizeof(trials[0]));
}

/* Pieces of seven rows fill blocks of 64 in a ring of two. */
static void a_band_holds_the_last_rows(void **state)
{
    (void)state;
    static uint32_t counts[SAMPLE_LEVELS_MAX];
    struct samples samples;
    fill(SAMPLE_I16);
    memset(counts, 0, sizeof(counts));
    take_samples(&samples, 1, counts);
    assert_int_equal(samples.n_held, 2 * SOURCE_BLOCK_ROWS);
    const int16_t *data = (const int16_t *)(const void *)samples.data;
    for (size_t y = HEIGHT - samples.n_held; y < HEIGHT; y++) {
        for (size_t x = 0; x < WIDTH; x++)
            assert_true(data[y % samples.n_held * WIDTH + x] ==
                        value_of(SAMPLE_I16, y * WIDTH + x));
    }
    uint64_t n = 0;
    for (size_t i = 0; i < SAMPLE_LEVELS_MAX; i++)
        n += counts[i];
    assert_int_equal(n, N);
    samples_clear(&samples);
}

static void the_types_are_told(void **state)
{
    (void)state;
    static const char *const names[] = {"bit", "u8", "u16", "i16", "u32", "i32", "f32", "f64"};
    static const uint32_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 8};
    for (size_t t = 0; t < N_TYPES; t++) {
        assert_string_equal(sample_type_name(all_types[t]), names[t]);
        assert_int_equal(sample_type_size(all_types[t]), sizes[t]);
    }
    assert_true(sample_range_of_bits(0).high == 0 && sample_range_of_bits(1).high == 1);
    assert_true(sample_range_of_bits(16).high == 65535 &&
                sample_range_of_bits(32).high == 0xffffffff);
}

/* Only a length, the same on both sides, is a pixel size. */
static void a_user_gives_one_side_or_two(void **state)
{
    (void)state;
    static const char *const faults[] = {"",    "0",      "-1",   "1,", ",1",  "1,2,3",
                                         "1 2", "nan",    "0x10", " 1", "1nm", "inf",
                                         "1e8", "1,1e-6", "1, 2", "1;2"};
    struct image_calibration calibration = {.unit = CALIBRATION_NONE};
    struct error err = {0};
    assert_int_equal(image_calibration_parse("0.25", &calibration, &err), 0);
    assert_int_equal(calibration.unit, CALIBRATION_NM);
    assert_true(calibration.x == 0.25 && calibration.y == 0.25);
    assert_int_equal(image_calibration_parse("2e-1,3", &calibration, &err), 0);
    assert_true(calibration.x == 0.2 && calibration.y == 3);
    assert_string_equal(calibration.source, "user");
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (image_calibration_parse(faults[i], &calibration, &err) != ERROR_INVALID)
            fail_msg("'%s' was taken", faults[i]);
    }
    assert_true(calibration.x == 0.2 && calibration.y == 3);
}

static void calibration_has_two_sides_and_a_unit(void **state)
{
    (void)state;
    const struct image_calibration square = {CALIBRATION_NM, 0.5, 0.5004, "test"};
    const struct image_calibration oblong = {CALIBRATION_NM, 0.5, 0.51, "test"};
    const struct image_calibration reciprocal = {CALIBRATION_PER_NM, 0.5, 0.5, "test"};
    const struct image_calibration none = {.unit = CALIBRATION_NONE};
    assert_true(image_calibration_square_nm(&square) == 0.5);
    assert_true(image_calibration_square_nm(&oblong) == 0);
    assert_true(image_calibration_square_nm(&reciprocal) == 0);
    assert_true(image_calibration_square_nm(&none) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_of_every_frame_becomes_floats),
        cmocka_unit_test(a_frame_that_there_is_not_is_refused),
        cmocka_unit_test(unordered_rows_are_read_at_once),
        cmocka_unit_test(a_fault_is_passed_on_and_leaves_nothing),
        cmocka_unit_test(every_type_is_normalised),
        cmocka_unit_test(a_double_beyond_floats_is_refused_by_name),
        cmocka_unit_test(levels_give_the_bytes_of_the_plane),
        cmocka_unit_test(a_band_holds_the_last_rows),
        cmocka_unit_test(the_types_are_told),
        cmocka_unit_test(a_user_gives_one_side_or_two),
        cmocka_unit_test(calibration_has_two_sides_and_a_unit),
    };
    return test_run(tests);
}
