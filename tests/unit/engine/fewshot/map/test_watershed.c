#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/map/watershed.h"

static const struct watershed_params connected = {0}, split = {.ratio = 0.75};

static uint32_t label(const struct watershed_params *params, const uint16_t *heights, uint32_t n_x,
                      uint32_t n_y, uint32_t *labels)
{
    uint32_t n = 0;
    assert_int_equal(watershed_label(params, heights, NULL, n_x, n_y, NULL, labels, &n, NULL), 0);
    return n;
}

static void regions_are_joined_over_corners_too(void **state)
{
    (void)state;
    const uint16_t heights[] = {
        1, 0, 0, 1, 1, /**/
        0, 1, 0, 0, 1, /**/
        0, 0, 0, 1, 0, /**/
        1, 0, 0, 0, 0, /**/
    };
    const uint32_t expected[] = {
        1, 0, 0, 2, 2, /**/
        0, 1, 0, 0, 2, /**/
        0, 0, 0, 2, 0, /**/
        3, 0, 0, 0, 0, /**/
    };
    uint32_t labels[20];
    assert_int_equal(label(&connected, heights, 5, 4, labels), 3);
    assert_memory_equal(labels, expected, sizeof(expected));
}

static void a_low_saddle_splits_and_a_high_one_does_not(void **state)
{
    (void)state;
    uint32_t labels[7];
    const uint16_t low[] = {5, 90, 100, 70, 95, 5, 0};
    assert_int_equal(label(&split, low, 7, 1, labels), 2); /* 70 < 0.75 x 95 */
    const uint32_t expected[] = {1, 1, 1, 1, 2, 2, 0};
    assert_memory_equal(labels, expected, sizeof(expected));
    const uint16_t high[] = {5, 90, 100, 72, 95, 5, 0}; /* 72 > 71.25 */
    assert_int_equal(label(&split, high, 7, 1, labels), 1);
    assert_int_equal(label(&connected, low, 7, 1, labels), 1);
    const struct watershed_params deep = {.ratio = 0.75, .depth = 26};
    assert_int_equal(label(&deep, low, 7, 1, labels), 1); /* 95 - 70 is less */
}

/* A plateau has as many peaks as cells, and is one basin. */
static void plateaus_are_one_basin(void **state)
{
    (void)state;
    uint16_t heights[30 * 20];
    uint32_t labels[30 * 20];
    for (int i = 0; i < 30 * 20; i++)
        heights[i] = i % 30 == 14 && i / 30 != 10 ? 0 : 1000;
    assert_int_equal(label(&split, heights, 30, 20, labels), 1);
    heights[10 * 30 + 14] = 700; /* the only way from the left to the right */
    assert_int_equal(label(&split, heights, 30, 20, labels), 2);
}

static void parts_are_never_joined(void **state)
{
    (void)state;
    const uint16_t heights[] = {7, 7, 7, 7};
    uint32_t labels[] = {4, 4, 9, 9}, n = 0;
    assert_int_equal(watershed_label(&connected, heights, labels, 4, 1, NULL, labels, &n, NULL), 0);
    assert_int_equal(n, 2);
    const uint32_t expected[] = {1, 1, 2, 2};
    assert_memory_equal(labels, expected, sizeof(expected));
}

/* Against the definition, over a mask without order. */
static void distances_are_exact(void **state)
{
    (void)state;
    enum { WIDTH = 37, HEIGHT = 23 };
    uint32_t mask[WIDTH * HEIGHT];
    uint16_t heights[WIDTH * HEIGHT];
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        mask[i] = i * i % 31 != 5;
    assert_int_equal(watershed_distances(mask, WIDTH, HEIGHT, NULL, heights, NULL), 0);
    for (int i = 0; i < WIDTH * HEIGHT; i++) {
        double nearest = INFINITY;
        for (int j = 0; j < WIDTH * HEIGHT; j++) {
            if (mask[j] == 0)
                nearest = fmin(nearest, hypot(i % WIDTH - j % WIDTH, i / WIDTH - j / WIDTH));
        }
        assert_int_equal(heights[i], (int)floor(nearest * WATERSHED_PIXEL + 0.5));
    }
}

static void the_edge_of_the_raster_is_no_outside(void **state)
{
    (void)state;
    uint32_t mask[40];
    uint16_t heights[40];
    for (int i = 0; i < 40; i++)
        mask[i] = 1;
    mask[39] = 0;
    assert_int_equal(watershed_distances(mask, 40, 1, NULL, heights, NULL), 0);
    for (int i = 0; i < 40; i++)
        assert_int_equal(heights[i], (39 - i) * WATERSHED_PIXEL);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

static void it_can_be_called_off(void **state)
{
    (void)state;
    const struct cancel cancel = {.is_asked = always};
    const uint16_t heights[] = {1, 2, 3};
    const uint32_t mask[] = {1, 1, 0};
    uint16_t distances[3];
    uint32_t labels[3], n;
    struct error err;
    assert_int_equal(watershed_label(&split, heights, NULL, 3, 1, &cancel, labels, &n, &err),
                     ERROR_CANCELLED);
    assert_int_equal(watershed_distances(mask, 3, 1, &cancel, distances, &err), ERROR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions_are_joined_over_corners_too),
        cmocka_unit_test(a_low_saddle_splits_and_a_high_one_does_not),
        cmocka_unit_test(plateaus_are_one_basin),
        cmocka_unit_test(parts_are_never_joined),
        cmocka_unit_test(distances_are_exact),
        cmocka_unit_test(the_edge_of_the_raster_is_no_outside),
        cmocka_unit_test(it_can_be_called_off),
    };
    return test_run(tests);
}
