#include "tests/test.h"

#include <math.h>

#include "engine/image/preview.h"

static void check_size(uint32_t width, uint32_t height, uint32_t max_side, uint32_t out_width,
                       uint32_t out_height)
{
    uint32_t size[2] = {0, 0};
    preview_size(width, height, max_side, &size[0], &size[1]);
    assert_int_equal(size[0], out_width);
    assert_int_equal(size[1], out_height);
}

static void sizes_keep_the_shape_and_never_grow(void **state)
{
    (void)state;
    check_size(3042, 3044, 1024, 1023, 1024);
    check_size(100, 50, 1024, 100, 50);
    check_size(100, 50, 100, 100, 50);
    check_size(100, 50, 10, 10, 5);
    check_size(32768, 1, 256, 256, 1);
    check_size(1, 32768, 256, 1, 256);
    check_size(4294967295u, 4294967295u, 4294967294u, 4294967294u, 4294967294u);
    check_size(5, 5, 0, 1, 1);
}

static float pixel(uint32_t x, uint32_t y)
{
    return (float)((x * 37 + y * 101 + x * y * 13) % 64) / 63;
}

/* Overlap of two intervals. */
static double overlap(double a0, double a1, double b0, double b1)
{
    return fmax(0, fmin(a1, b1) - fmax(a0, b0));
}

/* Level k of the plane in 8 bits. */
static double level_pixel(uint32_t width, uint32_t height, uint32_t k, uint32_t x, uint32_t y)
{
    double sum = 0, n = 0;
    for (uint32_t j = y << k; j < (y + 1) << k && j < height; j++) {
        for (uint32_t i = x << k; i < (x + 1) << k && i < width; i++, n++)
            sum += floor((double)pixel(i, j) * 255 + 0.5);
    }
    return floor(sum / n + 0.5);
}

static double share(double start, double end, uint32_t i, uint32_t k, uint32_t size)
{
    return overlap(start, end, (double)(i << k), fmin((double)((i + 1) << k), size));
}

static double mean_of_area(uint32_t width, uint32_t height, uint32_t k, double x0, double x1,
                           double y0, double y1)
{
    double sum = 0;
    for (uint32_t y = (uint32_t)y0 >> k; y << k < y1 && y << k < height; y++) {
        for (uint32_t x = (uint32_t)x0 >> k; x << k < x1 && x << k < width; x++)
            sum += level_pixel(width, height, k, x, y) * share(x0, x1, x, k, width) *
                   share(y0, y1, y, k, height);
    }
    return sum / ((x1 - x0) * (y1 - y0));
}

static void values_are_means_over_areas(void **state)
{
    (void)state;
    /* The last is the level that is read. */
    static const uint32_t cases[][5] = {
        {12, 8, 4, 4, 0},        {13, 9, 5, 4, 0},      {7, 7, 7, 7, 0},
        {7, 5, 1, 1, 0},         {3, 2, 7, 5, 0},       {10, 1, 3, 1, 0},
        {301, 200, 301, 200, 0}, {301, 200, 76, 50, 0}, {301, 200, 75, 50, 1},
        {301, 200, 39, 25, 1},   {301, 200, 38, 25, 2}, {301, 200, 1, 1, 2},
        {1000, 3, 300, 1, 0},    {1000, 3, 250, 1, 1},  {3, 700, 1, 64, 1},
        {129, 64, 128, 64, 0},
    };
    static float plane[301 * 200];
    static uint8_t out[301 * 200];
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        const uint32_t width = cases[c][0], height = cases[c][1], k = cases[c][4];
        const uint32_t out_width = cases[c][2], out_height = cases[c][3];
        for (uint32_t i = 0; i < width * height; i++)
            plane[i] = pixel(i % width, i / width);
        assert_int_equal(preview_of_plane(plane, width, height, out_width, out_height, out, NULL),
                         0);
        const double step_x = (double)width / out_width, step_y = (double)height / out_height;
        for (uint32_t i = 0; i < out_width * out_height; i++) {
            const double x0 = i % out_width * step_x, y0 = i / out_width * step_y;
            const double expected =
                mean_of_area(width, height, k, x0, x0 + step_x, y0, y0 + step_y);
            assert_true(fabs(out[i] - expected) <= 0.5 + 1e-9);
        }
    }
}

static void empty_sizes_are_refused(void **state)
{
    (void)state;
    const float value = 0;
    uint8_t out;
    struct error err = {0};
    assert_int_equal(preview_of_plane(&value, 1, 1, 0, 1, &out, &err), ERROR_INVALID);
    assert_string_equal(err.message, "preview: sizes must be at least 1 pixel, but are 0 x 1");
    assert_int_equal(preview_of_plane(&value, 1, 1, 1, 0, &out, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_keep_the_shape_and_never_grow),
        cmocka_unit_test(values_are_means_over_areas),
        cmocka_unit_test(empty_sizes_are_refused),
    };
    return test_run(tests);
}
