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

static void values_are_means_over_areas(void **state)
{
    (void)state;
    static const uint32_t cases[][4] = {{12, 8, 4, 4}, {13, 9, 5, 4}, {7, 7, 7, 7},
                                        {7, 5, 1, 1},  {3, 2, 7, 5},  {10, 1, 3, 1}};
    enum { PLANE_WIDTH = 20, PLANE_HEIGHT = 12, LEFT = 4, TOP = 2 };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        uint32_t width = cases[c][0], height = cases[c][1];
        uint32_t out_width = cases[c][2], out_height = cases[c][3];
        float plane[PLANE_WIDTH * PLANE_HEIGHT];
        for (uint32_t i = 0; i < PLANE_WIDTH * PLANE_HEIGHT; i++)
            plane[i] = 1e6f; /* outside the window: would show as 255 */
        for (uint32_t i = 0; i < width * height; i++)
            plane[(TOP + i / width) * PLANE_WIDTH + LEFT + i % width] = pixel(i % width, i / width);
        uint8_t out[64];
        assert_int_equal(preview_grey8(plane, PLANE_WIDTH, LEFT, TOP, width, height, out_width,
                                       out_height, out, NULL),
                         0);
        double step_x = (double)width / out_width, step_y = (double)height / out_height;
        for (uint32_t i = 0; i < out_width * out_height; i++) {
            double x0 = i % out_width * step_x, y0 = i / out_width * step_y, sum = 0;
            for (uint32_t j = 0; j < width * height; j++) {
                uint32_t x = j % width, y = j / width;
                sum += pixel(x, y) * overlap(x0, x0 + step_x, x, x + 1) *
                       overlap(y0, y0 + step_y, y, y + 1);
            }
            double expected = sum / (step_x * step_y) * 255;
            assert_true(fabs(out[i] - expected) <= 0.5 + 1e-4);
        }
    }
}

static void values_are_rounded_and_clipped(void **state)
{
    (void)state;
    const float values[8] = {0, 1, 0.5f, -3, 7, NAN, 0.5f / 255 - 1e-5f, 0.5f / 255 + 1e-5f};
    static const uint8_t expected[8] = {0, 255, 128, 0, 255, 0, 0, 1};
    uint8_t out[8];
    assert_int_equal(preview_grey8(values, 8, 0, 0, 8, 1, 8, 1, out, NULL), 0);
    assert_memory_equal(out, expected, 8);
}

static void empty_sizes_are_refused(void **state)
{
    (void)state;
    const float value = 0;
    uint8_t out;
    struct error err = {0};
    assert_int_equal(preview_grey8(&value, 1, 0, 0, 1, 1, 0, 1, &out, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "preview: sizes must be at least 1 pixel, but are 1 x 1 to 0 x 1");
    assert_int_equal(preview_grey8(&value, 1, 0, 0, 0, 1, 1, 1, &out, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_keep_the_shape_and_never_grow),
        cmocka_unit_test(values_are_means_over_areas),
        cmocka_unit_test(values_are_rounded_and_clipped),
        cmocka_unit_test(empty_sizes_are_refused),
    };
    return test_run(tests);
}
