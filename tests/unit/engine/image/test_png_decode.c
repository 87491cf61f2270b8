/* What the decoder makes of files that are right: every colour type, depth and interlacing. */
#include "tests/test.h"

#include <math.h>

#include "engine/image/image.h"
#include "tests/unit/engine/image/png_builder.h"

enum { MAX_SAMPLES = 33 * 33 * 4 };

static uint16_t samples[MAX_SAMPLES];

/* Samples that differ between neighbours, channels and bytes. */
static void fill_samples(uint32_t n, uint32_t max)
{
    assert_true(n <= MAX_SAMPLES);
    for (uint32_t i = 0; i < n; i++)
        samples[i] = (uint16_t)((i * 40503u + (i >> 3) * 257u + 77u) & max);
}

static struct image decode(const struct png_file *file)
{
    struct image image = {.pixels = NULL};
    struct error err = {0};
    if (image_decode(&(struct image_request){.data = file->data,
                                             .size = file->size,
                                             .limits = &image_limits_default},
                     &image, &err) != 0)
        fail_msg("%s", err.message);
    struct image_info info[2];
    struct image_frames frames;
    assert_int_equal(image_probe(&(struct image_request){.data = file->data,
                                                         .size = file->size,
                                                         .limits = &image_limits_default},
                                 &frames, &err),
                     0);
    assert_int_equal(frames.n, 1);
    info[0] = frames.items[0];
    image_frames_clear(&frames);
    assert_int_equal(image_verify(&(struct image_request){.data = file->data,
                                                          .size = file->size,
                                                          .limits = &image_limits_default},
                                  &info[1], &err),
                     0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(info[i].width, image.info.width);
        assert_int_equal(info[i].height, image.info.height);
        assert_int_equal(info[i].bit_depth, image.info.bit_depth);
        assert_int_equal(info[i].n_channels, image.info.n_channels);
        assert_int_equal(info[i].conversion, image.info.conversion);
        assert_true(image_calibration_square_nm(&info[i].calibration) ==
                    image_calibration_square_nm(&image.info.calibration));
    }
    return image;
}

static double luminance(const uint16_t *rgb)
{
    return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
}

/* One colour type and depth at several sizes, plain and interlaced. */
static void check_layout(uint8_t color_type, uint8_t bit_depth)
{
    static const uint32_t sizes[][2] = {{1, 1}, {2, 3}, {5, 1}, {1, 9}, {9, 7}, {33, 17}};
    uint32_t n_channels = png_n_channels(color_type);
    for (size_t s = 0; s < 2 * sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct png_pixels pixels = {.width = sizes[s / 2][0],
                                    .height = sizes[s / 2][1],
                                    .bit_depth = bit_depth,
                                    .color_type = color_type,
                                    .interlace = s % 2,
                                    .samples = samples};
        uint32_t n = pixels.width * pixels.height;
        fill_samples(n * n_channels, (1u << bit_depth) - 1);
        const bool has_alpha = n_channels == 2 || n_channels == 4;
        for (uint32_t i = 0; has_alpha && i < n; i += 3)
            samples[(i + 1) * n_channels - 1] = 0;
        struct png_file file = png_build(&pixels);
        struct image image = decode(&file);
        assert_int_equal(image.info.width, pixels.width);
        assert_int_equal(image.info.height, pixels.height);
        assert_int_equal(image.info.bit_depth, bit_depth);
        assert_int_equal(image.info.n_channels, n_channels);
        assert_true(image_calibration_square_nm(&image.info.calibration) == 0);
        for (uint32_t i = 0; i < n; i++) {
            if (has_alpha && samples[(i + 1) * n_channels - 1] == 0) {
                assert_true(isnan(image.pixels[i]));
            } else if (n_channels < 3) {
                assert_int_equal(image.info.conversion, IMAGE_CONVERSION_NONE);
                assert_true(image.pixels[i] == samples[i * n_channels]);
            } else {
                assert_int_equal(image.info.conversion, IMAGE_CONVERSION_LUMINANCE);
                assert_true(fabs(image.pixels[i] - luminance(&samples[i * n_channels])) < 0.01);
            }
        }
        image_clear(&image);
        png_file_clear(&file);
    }
}

static void grey_of_every_depth_keeps_its_native_values(void **state)
{
    (void)state;
    check_layout(PNG_GREY, 1);
    check_layout(PNG_GREY, 2);
    check_layout(PNG_GREY, 4);
    check_layout(PNG_GREY, 8);
    check_layout(PNG_GREY, 16);
}

static void transparent_pixels_have_no_value(void **state)
{
    (void)state;
    check_layout(PNG_GREY_ALPHA, 8);
    check_layout(PNG_GREY_ALPHA, 16);
    check_layout(PNG_RGBA, 8);
    check_layout(PNG_RGBA, 16);
}

static void transparent_colours_of_a_palette_have_no_value(void **state)
{
    (void)state;
    static const uint8_t palette[] = {10, 10, 10, 20, 20, 20, 30, 30, 30};
    static const uint8_t alphas[] = {255, 0}; /* the third one's is 255 */
    static const uint16_t indices[] = {0, 1, 2, 1};
    const struct png_pixels pixels = {.width = 4,
                                      .height = 1,
                                      .bit_depth = 8,
                                      .color_type = PNG_PALETTE,
                                      .samples = indices,
                                      .palette = palette,
                                      .palette_size = sizeof(palette)};
    struct png_file file = {0};
    png_add_signature(&file);
    png_add_ihdr(&file, 4, 1, 8, PNG_PALETTE, 0);
    png_add_chunk(&file, "PLTE", palette, sizeof(palette));
    png_add_chunk(&file, "tRNS", alphas, sizeof(alphas));
    size_t size;
    uint8_t *rows = png_scanlines(&pixels, &size);
    png_add_idat(&file, rows, size);
    png_add_iend(&file);
    struct image image = decode(&file);
    assert_true(image.pixels[0] == 10 && image.pixels[2] == 30);
    assert_true(isnan(image.pixels[1]) && isnan(image.pixels[3]));
    image_clear(&image);
    png_file_clear(&file);
    free(rows);
}

static void colour_becomes_luminance(void **state)
{
    (void)state;
    check_layout(PNG_RGB, 8);
    check_layout(PNG_RGB, 16);
}

static void equal_channels_stay_exactly_grey(void **state)
{
    (void)state;
    uint16_t grey[256 * 3];
    for (int i = 0; i < 256 * 3; i++)
        grey[i] = (uint16_t)(i / 3 * 257);
    struct png_pixels pixels = {
        .width = 16, .height = 16, .bit_depth = 16, .color_type = PNG_RGB, .samples = grey};
    struct png_file file = png_build(&pixels);
    struct image image = decode(&file);
    for (int i = 0; i < 256; i++)
        assert_true(image.pixels[i] == i * 257);
    image_clear(&image);
    png_file_clear(&file);
}

static void palette_becomes_luminance_of_its_colours(void **state)
{
    (void)state;
    uint8_t palette[256 * 3];
    for (uint32_t i = 0; i < sizeof(palette); i++)
        palette[i] = (uint8_t)(i * 73 + 5);
    for (uint8_t bit_depth = 1; bit_depth <= 8; bit_depth *= 2) {
        for (uint8_t interlace = 0; interlace < 2; interlace++) {
            struct png_pixels pixels = {.width = 13,
                                        .height = 11,
                                        .bit_depth = bit_depth,
                                        .color_type = PNG_PALETTE,
                                        .interlace = interlace,
                                        .samples = samples,
                                        .palette = palette,
                                        .palette_size = 3u << bit_depth};
            fill_samples(13 * 11, (1u << bit_depth) - 1);
            struct png_file file = png_build(&pixels);
            struct image image = decode(&file);
            assert_int_equal(image.info.bit_depth, 8);
            assert_int_equal(image.info.n_channels, 3);
            assert_int_equal(image.info.conversion, IMAGE_CONVERSION_LUMINANCE);
            for (int i = 0; i < 13 * 11; i++) {
                const uint8_t *color = &palette[3 * samples[i]];
                const uint16_t rgb[3] = {color[0], color[1], color[2]};
                assert_true(fabs(image.pixels[i] - luminance(rgb)) < 1e-4);
            }
            image_clear(&image);
            png_file_clear(&file);
        }
    }
}

/* A 2x2 grey file with one extra chunk before its pixels. */
static struct image decode_with_chunk(const char *type, const void *bytes, size_t size)
{
    static const uint16_t four[4] = {0, 100, 200, 255};
    struct png_pixels pixels = {
        .width = 2, .height = 2, .bit_depth = 8, .color_type = PNG_GREY, .samples = four};
    struct png_file file = {NULL, 0};
    png_add_signature(&file);
    png_add_ihdr(&file, 2, 2, 8, PNG_GREY, 0);
    png_add_chunk(&file, type, bytes, size);
    png_add_pixels(&file, &pixels);
    struct image image = decode(&file);
    for (int i = 0; i < 4; i++)
        assert_true(image.pixels[i] == four[i]);
    png_file_clear(&file);
    return image;
}

static void scal_gives_the_pixel_size(void **state)
{
    (void)state;
    static const struct {
        char unit;         /* 1: metre, 2: radian */
        const char *sizes; /* width, '|' for the zero byte, height */
        double nm;
    } cases[] = {
        {1, "2.5e-11|2.5e-11", 0.025},
        {1, "0.000001|1e-6", 1000},
        {1, "1e-9|1.0005e-9", 1}, /* square within 0.1 % */
        {1, "1e-9|1.002e-9", 0},  /* not square */
        {2, "1e-9|1e-9", 0},
        {1, "1e-20|1e-20", 0}, /* absurd */
        {1, "1e300|1e300", 0},
        {1, "1e999|1e999", 0},
        {1, "-1e-9|-1e-9", 0},
        {1, "nan|nan", 0},
        {1, "1e-9|", 0},
        {1, "1e-9", 0},
        {1, "", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char chunk[64];
        int size = snprintf(chunk, sizeof(chunk), "%c%s", cases[i].unit, cases[i].sizes);
        char *separator = strchr(chunk, '|');
        if (separator != NULL)
            *separator = '\0';
        struct image image = decode_with_chunk("sCAL", chunk, (size_t)size);
        assert_true(fabs(image_calibration_square_nm(&image.info.calibration) - cases[i].nm) <=
                    1e-12 * cases[i].nm);
        image_clear(&image);
    }
}

/* Both sides of a pixel are kept, also where they are not one size. */
static void scal_has_two_sides(void **state)
{
    (void)state;
    struct image image = decode_with_chunk("sCAL",
                                           "\1"
                                           "2e-11\0"
                                           "3e-11",
                                           12);
    const struct image_calibration *calibration = &image.info.calibration;
    assert_int_equal(calibration->unit, CALIBRATION_NM);
    assert_true(fabs(calibration->x - 0.02) < 1e-15 && fabs(calibration->y - 0.03) < 1e-15);
    assert_string_equal(calibration->source, "sCAL");
    image_clear(&image);
    image = decode_with_chunk("sCAL",
                              "\2"
                              "2e-11\0"
                              "2e-11",
                              12);
    assert_int_equal(image.info.calibration.unit, CALIBRATION_NONE);
    assert_null(image.info.calibration.source);
    image_clear(&image);
}

/* A chunk pHYs: pixels a metre, big-endian, and a unit. */
static struct image decode_with_phys(uint32_t x, uint32_t y, uint8_t unit)
{
    const uint8_t chunk[9] = {(uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8),
                              (uint8_t)x,         (uint8_t)(y >> 24), (uint8_t)(y >> 16),
                              (uint8_t)(y >> 8),  (uint8_t)y,         unit};
    return decode_with_chunk("pHYs", chunk, sizeof(chunk));
}

static void phys_is_taken_where_it_can_be_a_microscopes(void **state)
{
    (void)state;
    static const struct {
        uint32_t x, y;
        uint8_t unit; /* 1: metre */
        double nm_x, nm_y;
    } cases[] = {
        {500000000, 500000000, 1, 2, 2},
        {500000000, 400000000, 1, 2, 2.5},
        {1000000, 1000000, 1, 1000, 1000},
        {999999, 1000000, 1, 0, 0},
        {2835, 2835, 1, 0, 0}, /* 72 dots an inch */
        {500000000, 500000000, 0, 0, 0},
        {0, 0, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image image = decode_with_phys(cases[i].x, cases[i].y, cases[i].unit);
        const struct image_calibration *calibration = &image.info.calibration;
        assert_int_equal(calibration->unit, cases[i].nm_x > 0 ? CALIBRATION_NM : CALIBRATION_NONE);
        assert_true(fabs(calibration->x - cases[i].nm_x) < 1e-12 * 1000);
        assert_true(fabs(calibration->y - cases[i].nm_y) < 1e-12 * 1000);
        if (cases[i].nm_x > 0)
            assert_string_equal(calibration->source, "pHYs");
        image_clear(&image);
    }
}

/* Plain grey comes as it is in the file, everything else as floats. */
static void rows_have_the_types_of_the_file(void **state)
{
    (void)state;
    static const struct {
        uint8_t bit_depth, color_type, interlace;
        enum sample_type type;
    } cases[] = {
        {1, PNG_GREY, 0, SAMPLE_BIT},       {2, PNG_GREY, 0, SAMPLE_F32},
        {8, PNG_GREY, 0, SAMPLE_U8},        {16, PNG_GREY, 0, SAMPLE_U16},
        {8, PNG_GREY_ALPHA, 0, SAMPLE_F32}, {16, PNG_RGB, 0, SAMPLE_F32},
        {1, PNG_GREY, 1, SAMPLE_F32},       {16, PNG_GREY, 1, SAMPLE_F32},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct png_pixels pixels = {.width = 5,
                                    .height = 3,
                                    .bit_depth = cases[i].bit_depth,
                                    .color_type = cases[i].color_type,
                                    .interlace = cases[i].interlace,
                                    .samples = samples};
        fill_samples(5 * 3 * png_n_channels(pixels.color_type), (1u << pixels.bit_depth) - 1);
        struct png_file file = png_build(&pixels);
        struct image image = decode(&file);
        assert_int_equal(image.info.type, cases[i].type);
        assert_int_equal(image.info.is_unordered, cases[i].interlace);
        assert_true(image.info.full_scale.low == 0 &&
                    image.info.full_scale.high == (1u << pixels.bit_depth) - 1);
        image_clear(&image);
        png_file_clear(&file);
    }
}

static void there_is_one_frame(void **state)
{
    (void)state;
    struct png_pixels pixels = {
        .width = 7, .height = 5, .bit_depth = 8, .color_type = PNG_GREY, .samples = samples};
    struct png_file file = png_build(&pixels);
    struct image image = {.pixels = NULL};
    struct image_info info;
    struct error err = {0};
    assert_int_equal(image_decode(&(struct image_request){.data = file.data,
                                                          .size = file.size,
                                                          .limits = &image_limits_default,
                                                          .frame = 1},
                                  &image, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message,
                        "image: there is no frame 1: the PNG file has 1, numbered from 0");
    assert_null(image.pixels);
    assert_int_equal(image_verify(&(struct image_request){.data = file.data,
                                                          .size = file.size,
                                                          .limits = &image_limits_default,
                                                          .frame = UINT32_MAX},
                                  &info, &err),
                     ERROR_INVALID);
    png_file_clear(&file);
}

static void other_chunks_change_nothing(void **state)
{
    (void)state;
    static const uint8_t phys[9] = {0, 0, 11, 19, 0, 0, 11, 19, 1};
    static const uint8_t gamma[4] = {0, 1, 0, 0};
    static const uint8_t transparent[2] = {0, 100};
    static const struct {
        const char *type;
        const void *bytes;
        size_t size;
    } cases[] = {
        {"pHYs", phys, sizeof(phys)},
        {"gAMA", gamma, sizeof(gamma)},
        {"tRNS", transparent, sizeof(transparent)},
        {"tRNS", transparent, 1}, /* malformed, and still only ancillary */
        {"sBIT", "\3", 1},
        {"bKGD", transparent, 2},
        {"iCCP", "broken", 6},
        {"tEXt", "Comment\0hello", 13},
        {"vpAg", "private", 7},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image image = decode_with_chunk(cases[i].type, cases[i].bytes, cases[i].size);
        assert_true(image_calibration_square_nm(&image.info.calibration) == 0);
        assert_int_equal(image.info.n_channels, 1);
        image_clear(&image);
    }
    /* Megabytes of a vendor's metadata are no reason to refuse an image. */
    uint8_t *large = calloc(4 << 20, 1);
    assert_non_null(large);
    struct image image = decode_with_chunk("tEXt", large, 4 << 20);
    image_clear(&image);
    free(large);
}

static void image_data_may_be_split_and_the_file_followed_by_anything(void **state)
{
    (void)state;
    struct png_pixels pixels = {
        .width = 7, .height = 5, .bit_depth = 8, .color_type = PNG_GREY, .samples = samples};
    fill_samples(35, 255);
    struct png_file whole = png_build(&pixels);
    struct png_file split = {NULL, 0};
    const size_t idat = 33; /* after the signature and IHDR */
    size_t idat_size = whole.data[idat + 3];
    assert_memory_equal(whole.data + idat + 4, "IDAT", 4);
    png_add_bytes(&split, whole.data, idat);
    for (size_t i = 0; i < idat_size; i++) {
        png_add_chunk(&split, "IDAT", whole.data + idat + 8 + i, 1);
        if (i % 3 == 0)
            png_add_chunk(&split, "IDAT", NULL, 0);
    }
    png_add_iend(&split);
    png_add_bytes(&split, "trailing bytes", 14);
    struct image image = decode(&split);
    for (int i = 0; i < 35; i++)
        assert_true(image.pixels[i] == samples[i]);
    image_clear(&image);
    image_clear(&image); /* twice is allowed */
    png_file_clear(&split);
    png_file_clear(&whole);
}

static void a_real_micrograph_decodes(void **state)
{
    (void)state;
    const char *path = test_shared_path("data/sto-ge/sto-ge-haadf.png");
    if (path == NULL)
        skip();
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    assert_int_equal(fseek(stream, 0, SEEK_END), 0);
    struct png_file file = {.size = (size_t)ftell(stream)};
    rewind(stream);
    file.data = malloc(file.size);
    assert_non_null(file.data);
    assert_int_equal(fread(file.data, 1, file.size, stream), file.size);
    fclose(stream);
    struct image image = decode(&file);
    assert_int_equal(image.info.width, 3042);
    assert_int_equal(image.info.height, 3044);
    assert_int_equal(image.info.bit_depth, 8);
    size_t n_odd = 0;
    for (size_t i = 0; i < (size_t)3042 * 3044; i++)
        n_odd += !(image.pixels[i] >= 0 && image.pixels[i] <= 255);
    assert_int_equal(n_odd, 0);
    image_clear(&image);
    png_file_clear(&file);
}

static void names_are_stable(void **state)
{
    (void)state;
    const struct image_format *png = image_format_find("png");
    size_t n = 0;
    assert_non_null(png);
    assert_string_equal(png->name, "png");
    assert_string_equal(png->media_types[0], "image/png");
    assert_string_equal(png->extensions[0], "png");
    assert_null(image_format_find("PNG"));
    assert_ptr_equal(image_formats(&n)[0], png);
    assert_int_equal(n, 1);
    assert_string_equal(image_conversion_name(IMAGE_CONVERSION_NONE), "none");
    assert_string_equal(image_conversion_name(IMAGE_CONVERSION_LUMINANCE), "luminance");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_of_every_depth_keeps_its_native_values),
        cmocka_unit_test(transparent_pixels_have_no_value),
        cmocka_unit_test(transparent_colours_of_a_palette_have_no_value),
        cmocka_unit_test(colour_becomes_luminance),
        cmocka_unit_test(equal_channels_stay_exactly_grey),
        cmocka_unit_test(palette_becomes_luminance_of_its_colours),
        cmocka_unit_test(scal_gives_the_pixel_size),
        cmocka_unit_test(phys_is_taken_where_it_can_be_a_microscopes),
        cmocka_unit_test(scal_has_two_sides),
        cmocka_unit_test(rows_have_the_types_of_the_file),
        cmocka_unit_test(there_is_one_frame),
        cmocka_unit_test(other_chunks_change_nothing),
        cmocka_unit_test(image_data_may_be_split_and_the_file_followed_by_anything),
        cmocka_unit_test(a_real_micrograph_decodes),
        cmocka_unit_test(names_are_stable),
    };
    return test_run(tests);
}
