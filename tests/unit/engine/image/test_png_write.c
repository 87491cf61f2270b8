/* Written files are read back with the engine's own decoder, and their headers byte by byte. */
#include "tests/test.h"

#include <math.h>

#include "engine/image/image.h"
#include "engine/image/png_write.h"

static struct image decode(const struct png_bytes *bytes)
{
    struct image image = {.pixels = NULL};
    struct error err = {0};
    if (image_decode(&(struct image_request){.data = bytes->data,
                                             .size = bytes->size,
                                             .limits = &image_limits_default},
                     &image, &err) != 0)
        fail_msg("%s", err.message);
    return image;
}

static const uint32_t sizes[][2] = {{1, 1}, {3, 2}, {1, 40}, {257, 1}, {131, 67}};
enum { N_SIZES = sizeof(sizes) / sizeof(sizes[0]), N_MAX = 131 * 67 };

static uint32_t noise(uint32_t i)
{
    return (i * 2654435761u) >> 7;
}

static void grey8_reads_back(void **state)
{
    (void)state;
    uint8_t pixels[N_MAX];
    for (uint32_t i = 0; i < N_MAX; i++)
        pixels[i] = (uint8_t)noise(i);
    for (size_t s = 0; s < N_SIZES; s++) {
        struct png_bytes bytes = {NULL, 0};
        assert_int_equal(png_write_grey8(pixels, sizes[s][0], sizes[s][1], &bytes, NULL), 0);
        struct image image = decode(&bytes);
        assert_int_equal(image.info.width, sizes[s][0]);
        assert_int_equal(image.info.height, sizes[s][1]);
        assert_int_equal(image.info.bit_depth, 8);
        assert_int_equal(image.info.n_channels, 1);
        for (uint32_t i = 0; i < sizes[s][0] * sizes[s][1]; i++)
            assert_true(image.pixels[i] == pixels[i]);
        image_clear(&image);
        png_bytes_clear(&bytes);
        png_bytes_clear(&bytes);
    }
}

static void grey16_reads_back_with_its_pixel_size(void **state)
{
    (void)state;
    static const double pixel_sizes[] = {0, 0.0123456789, 1, 250.5, 1e-4};
    uint16_t pixels[N_MAX];
    for (uint32_t i = 0; i < N_MAX; i++)
        pixels[i] = (uint16_t)noise(i);
    for (size_t s = 0; s < N_SIZES; s++) {
        struct png_bytes bytes = {NULL, 0};
        assert_int_equal(
            png_write_grey16(pixels, sizes[s][0], sizes[s][1], pixel_sizes[s], &bytes, NULL), 0);
        struct image image = decode(&bytes);
        assert_int_equal(image.info.bit_depth, 16);
        assert_true(fabs(image_calibration_square_nm(&image.info.calibration) - pixel_sizes[s]) <=
                    1e-12 * pixel_sizes[s]);
        for (uint32_t i = 0; i < sizes[s][0] * sizes[s][1]; i++)
            assert_true(image.pixels[i] == pixels[i]);
        image_clear(&image);
        png_bytes_clear(&bytes);
    }
    static const double odd_sizes[] = {NAN, INFINITY, -1, 1e-320};
    for (int i = 0; i < 4; i++) {
        struct png_bytes bytes = {NULL, 0};
        assert_int_equal(png_write_grey16(pixels, 3, 2, odd_sizes[i], &bytes, NULL), 0);
        struct image image = decode(&bytes);
        assert_true(image_calibration_square_nm(&image.info.calibration) == 0);
        image_clear(&image);
        png_bytes_clear(&bytes);
    }
}

static void rgb8_reads_back(void **state)
{
    (void)state;
    uint8_t pixels[3 * N_MAX];
    for (uint32_t i = 0; i < 3 * N_MAX; i++)
        pixels[i] = (uint8_t)noise(i);
    for (size_t s = 0; s < N_SIZES; s++) {
        struct png_bytes bytes = {NULL, 0};
        assert_int_equal(png_write_rgb8(pixels, sizes[s][0], sizes[s][1], &bytes, NULL), 0);
        struct image image = decode(&bytes);
        assert_int_equal(image.info.n_channels, 3);
        assert_int_equal(image.info.conversion, IMAGE_CONVERSION_LUMINANCE);
        for (uint32_t i = 0; i < sizes[s][0] * sizes[s][1]; i++) {
            const uint8_t *rgb = &pixels[3 * i];
            double expected = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
            assert_true(fabs(image.pixels[i] - expected) < 1e-4);
        }
        image_clear(&image);
        png_bytes_clear(&bytes);
    }
}

static void indexed_reads_back_with_its_palette(void **state)
{
    (void)state;
    uint8_t indices[N_MAX];
    struct rgb palette[256];
    for (uint32_t i = 0; i < 256; i++)
        palette[i] = (struct rgb){(uint8_t)(i * 3), (uint8_t)(i * 5), (uint8_t)(i * 7)};
    static const uint32_t counts[] = {1, 2, 5, 100, 256};
    for (size_t s = 0; s < N_SIZES; s++) {
        for (uint32_t i = 0; i < N_MAX; i++)
            indices[i] = (uint8_t)(noise(i) % counts[s]);
        struct png_bytes bytes = {NULL, 0};
        assert_int_equal(
            png_write_indexed(indices, sizes[s][0], sizes[s][1], palette, counts[s], &bytes, NULL),
            0);
        /* IHDR: 8 bits, colour type 3. The palette follows, whole and in order. */
        assert_int_equal(bytes.data[24], 8);
        assert_int_equal(bytes.data[25], 3);
        assert_memory_equal(bytes.data + 37, "PLTE", 4);
        assert_int_equal(bytes.data[35] << 8 | bytes.data[36], 3 * counts[s]);
        assert_memory_equal(bytes.data + 41, palette, 3 * counts[s]);
        struct image image = decode(&bytes);
        for (uint32_t i = 0; i < sizes[s][0] * sizes[s][1]; i++) {
            struct rgb rgb = palette[indices[i]];
            double expected = 0.2126 * rgb.r + 0.7152 * rgb.g + 0.0722 * rgb.b;
            assert_true(fabs(image.pixels[i] - expected) < 1e-4);
        }
        image_clear(&image);
        png_bytes_clear(&bytes);
    }
}

static void the_same_pixels_give_the_same_bytes(void **state)
{
    (void)state;
    uint8_t pixels[N_MAX];
    for (uint32_t i = 0; i < N_MAX; i++)
        pixels[i] = (uint8_t)noise(i);
    struct png_bytes first = {NULL, 0}, again = {NULL, 0};
    assert_int_equal(png_write_grey8(pixels, 131, 67, &first, NULL), 0);
    assert_int_equal(png_write_grey8(pixels, 131, 67, &again, NULL), 0);
    assert_int_equal(first.size, again.size);
    assert_memory_equal(first.data, again.data, first.size);
    png_bytes_clear(&first);
    png_bytes_clear(&again);
    png_bytes_clear(NULL);
}

static void impossible_pictures_are_refused(void **state)
{
    (void)state;
    static const uint8_t pixels[8] = {0, 1, 2, 3};
    static const struct rgb palette[256];
    struct error err = {0};
    struct png_bytes bytes = {NULL, 0};
    assert_int_equal(png_write_grey8(pixels, 0, 1, &bytes, &err), ERROR_INVALID);
    assert_string_equal(err.message, "PNG picture: width and height must be 1 to 2147483647 "
                                     "pixels, but are 0 and 1");
    assert_int_equal(png_write_rgb8(pixels, 1, 0x80000000u, &bytes, &err), ERROR_INVALID);
    assert_int_equal(png_write_indexed(pixels, 2, 2, palette, 0, &bytes, &err), ERROR_INVALID);
    assert_int_equal(png_write_indexed(pixels, 2, 2, palette, 257, &bytes, &err), ERROR_INVALID);
    assert_int_equal(png_write_indexed(pixels, 2, 2, palette, 3, &bytes, &err), ERROR_INVALID);
    assert_string_equal(err.message, "PNG picture: index 3 of pixel 3 is not below the 3 colours");
    assert_null(bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey8_reads_back),
        cmocka_unit_test(grey16_reads_back_with_its_pixel_size),
        cmocka_unit_test(rgb8_reads_back),
        cmocka_unit_test(indexed_reads_back_with_its_palette),
        cmocka_unit_test(the_same_pixels_give_the_same_bytes),
        cmocka_unit_test(impossible_pictures_are_refused),
    };
    return test_run(tests);
}
