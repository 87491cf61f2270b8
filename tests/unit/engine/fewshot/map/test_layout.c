#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/layout.h"
#include "engine/random.h"

/* Chips of 4 x 4 pixels that touch. */
static void measure(const uint16_t *labels, uint32_t rows, uint32_t columns, uint32_t n_classes,
                    struct layout *out)
{
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    struct grid grid;
    struct fine_map map;
    assert_int_equal(grid_plan(&params, 4 * columns, 4 * rows, UINT64_MAX, &grid, NULL), 0);
    fine_map_plan(&grid, &map);
    assert_int_equal(layout_measure(labels, &map, n_classes, out, NULL), 0);
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-6))
        fail_msg("%.9g, not %.9g", value, expected);
}

static void two_regions_have_sizes_and_a_distance(void **state)
{
    (void)state;
    const uint16_t labels[] = {
        0, 0, 1, 1, 1, 1, /**/
        0, 0, 1, 1, 1, 1, /**/
        1, 1, 1, 1, 1, 1, /**/
        1, 1, 1, 1, 0, 1, /**/
        1, 1, 1, 1, 1, 1, /**/
    };
    struct layout found[3];
    measure(labels, 5, 6, 3, found);
    /* 64 and 16 pixels, with their middles at (4, 4) and (18, 14) of 24 x 20. */
    assert_int_equal(found[0].n_regions, 2);
    assert_int_equal(found[0].n_of_size[6], 1);
    assert_int_equal(found[0].n_of_size[4], 1);
    assert_int_equal(found[0].n_border, 1);
    assert_near(found[0].nn_distance_mean, 17.204650534);
    assert_near(found[0].nn_ratio, 1.524804121);
    assert_int_equal(found[1].n_regions, 1);
    assert_int_equal(found[1].n_of_size[8], 1); /* 400 pixels */
    assert_true(isnan(found[1].nn_distance_mean));
    assert_int_equal(found[2].n_regions, 0);
}

static void what_was_not_analysed_is_a_border(void **state)
{
    (void)state;
    uint16_t labels[25] = {0};
    struct layout found[2];
    labels[12] = 1;
    measure(labels, 5, 5, 2, found);
    assert_int_equal(found[1].n_border, 0);
    labels[13] = LABEL_NOT_ANALYSED;
    measure(labels, 5, 5, 2, found);
    assert_int_equal(found[1].n_border, 1);
    labels[13] = LABEL_UNKNOWN;
    measure(labels, 5, 5, 2, found);
    assert_int_equal(found[1].n_border, 0);
}

/* Single cells, one in about half of the blocks of 4 x 4, within its inner 3 x 3. */
static void nearest_neighbours_are_those_of_a_full_search(void **state)
{
    (void)state;
    enum { SIDE = 160, BLOCKS = SIDE / 4 };
    static uint16_t labels[SIDE * SIDE];
    double xs[BLOCKS * BLOCKS], ys[BLOCKS * BLOCKS], sum = 0;
    uint32_t n = 0;
    struct random random;
    random_seed(&random, 6, 0);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        labels[i] = 1;
    for (uint32_t block = 0; block < BLOCKS * BLOCKS; block++) {
        const uint32_t x = block % BLOCKS * 4 + random_below(&random, 3);
        const uint32_t y = block / BLOCKS * 4 + random_below(&random, 3);
        /* The last third of the map is empty but for a corner, so that rings grow. */
        if (random_below(&random, 2) == 0 || (y > 100 && x < 150))
            continue;
        labels[y * SIDE + x] = 0;
        xs[n] = 4 * x + 2;
        ys[n++] = 4 * y + 2;
    }
    for (uint32_t i = 0; i < n; i++) {
        double nearest = INFINITY;
        for (uint32_t k = 0; k < n; k++) {
            if (k != i)
                nearest = fmin(nearest, hypot(xs[i] - xs[k], ys[i] - ys[k]));
        }
        sum += nearest;
    }
    struct layout found[2];
    measure(labels, SIDE, SIDE, 2, found);
    assert_int_equal(found[0].n_regions, n);
    assert_near(found[0].nn_distance_mean, sum / n);
}

/* Points at random: the ratio is 1, as far as chance lets it be (Donnelly: 0.26 sqrt(A / n^2)). */
static void points_at_random_have_a_ratio_of_one(void **state)
{
    (void)state;
    enum { SIDE = 400, N = 300 };
    static uint16_t labels[SIDE * SIDE];
    struct random random;
    random_seed(&random, 7, 0);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        labels[i] = 1;
    for (uint32_t i = 0; i < N; i++)
        labels[random_below(&random, SIDE * SIDE)] = 0;
    struct layout found[2];
    measure(labels, SIDE, SIDE, 2, found);
    assert_true(found[0].n_regions > N - 15);
    assert_true(fabs(found[0].nn_ratio - 1) < 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_regions_have_sizes_and_a_distance),
        cmocka_unit_test(what_was_not_analysed_is_a_border),
        cmocka_unit_test(nearest_neighbours_are_those_of_a_full_search),
        cmocka_unit_test(points_at_random_have_a_ratio_of_one),
    };
    return test_run(tests);
}
