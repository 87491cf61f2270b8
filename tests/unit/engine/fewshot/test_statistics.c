#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/statistics.h"
#include "engine/random.h"

static double value(const struct statistics *s, uint32_t class_index, const char *name)
{
    const struct statistic *item = statistics_find(s, (int32_t)class_index, name);
    assert_non_null(item);
    assert_true(isnan(item->low) && isnan(item->high));
    return item->value;
}

static uint64_t count(const struct statistics *s, uint32_t class_index, const char *name)
{
    const double number = value(s, class_index, name);
    assert_true(number >= 0.0 && number == floor(number));
    return (uint64_t)number;
}

/* Chips of 4 x 4 pixels that touch: a map of rows x columns cells. */
static int compute(const uint16_t *labels, const float *probabilities, uint32_t rows,
                   uint32_t columns, uint32_t n_classes, struct statistics *out, struct error *err)
{
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    struct grid grid;
    assert_int_equal(grid_plan(&params, 4 * columns, 4 * rows, UINT64_MAX, &grid, NULL), 0);
    const struct fine_source source = {&grid, labels, probabilities, n_classes, NULL};
    return statistics_compute(&source, 0, out, err);
}

static void counts_match_a_drawn_map(void **state)
{
    (void)state;
    const uint16_t labels[] = {
        0, 0, 1, 1, 0, /**/
        0, 1, 0, 0, 1, /**/
        1, 0, 0, 2, 1, /**/
        1, 1, 2, 0, 0, /**/
    };
    float probabilities[20 * 4];
    for (int i = 0; i < 20; i++) {
        for (int k = 0; k < 4; k++)
            probabilities[i * 4 + k] = k == labels[i] ? 0.5f + 0.02f * (float)i : 0.0f;
    }
    struct statistics s;
    assert_int_equal(compute(labels, probabilities, 4, 5, 4, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_CHIPS), 10);
    assert_int_equal(count(&s, 1, STATISTIC_CHIPS), 8);
    assert_int_equal(count(&s, 2, STATISTIC_CHIPS), 2);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 0.5);
    /* Class 0: the corner, the top right chip, the middle block, the bottom right pair. */
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 4);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_8), 1); /* they touch by their corners */
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_4), 4);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_8), 1);
    assert_int_equal(count(&s, 2, STATISTIC_REGIONS_4), 2);
    assert_int_equal(count(&s, 2, STATISTIC_REGIONS_8), 1);
    assert_true(value(&s, 2, STATISTIC_MEAN_REGION_CHIPS) == 2.0);
    assert_true(value(&s, 0, STATISTIC_AREA_PIXELS) == 160.0);
    assert_true(value(&s, 2, STATISTIC_MEAN_REGION_PIXELS) == 32.0);
    assert_true(fabs(value(&s, 2, STATISTIC_MEAN_PROBABILITY) - (0.5 + 0.02 * 15)) <
                1e-6); /* chips 13 and 17 */
    /* A class without chips has zeros, not NaN. */
    assert_int_equal(count(&s, 3, STATISTIC_CHIPS), 0);
    assert_int_equal(count(&s, 3, STATISTIC_REGIONS_8), 0);
    assert_true(value(&s, 3, STATISTIC_MEAN_PROBABILITY) == 0.0 &&
                value(&s, 3, STATISTIC_MEAN_REGION_CHIPS) == 0.0);
    statistics_clear(&s);
}

static void rings_spirals_and_checkers_are_counted(void **state)
{
    (void)state;
    const uint16_t spiral[] = {
        1, 1, 1, 1, 1, 1, 1, /**/
        0, 0, 0, 0, 0, 0, 1, /**/
        1, 1, 1, 1, 1, 0, 1, /**/
        1, 0, 0, 0, 1, 0, 1, /**/
        1, 0, 1, 1, 1, 0, 1, /**/
        1, 0, 0, 0, 0, 0, 1, /**/
        1, 1, 1, 1, 1, 1, 1, /**/
    };
    float probabilities[2 * 64];
    for (int i = 0; i < 128; i++)
        probabilities[i] = 0.5f;
    struct statistics s;
    assert_int_equal(compute(spiral, probabilities, 7, 7, 2, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 1);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_4), 1);
    statistics_clear(&s);
    uint16_t checkers[64];
    for (int i = 0; i < 64; i++)
        checkers[i] = (uint16_t)((i / 8 + i) % 2);
    assert_int_equal(compute(checkers, probabilities, 8, 8, 2, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 32);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_8), 1);
    assert_true(value(&s, 1, STATISTIC_MEAN_REGION_CHIPS) == 32.0);
    statistics_clear(&s);
}

/* The same counts from a flood fill written another way. */
static uint64_t flood_count(const uint16_t *labels, uint32_t rows, uint32_t columns, uint16_t label,
                            bool diagonal)
{
    uint32_t n = rows * columns;
    uint8_t *seen = calloc(n, 1);
    uint32_t *stack = calloc(n, sizeof(*stack));
    uint64_t count = 0;
    for (uint32_t start = 0; start < n; start++) {
        if (seen[start] || labels[start] != label)
            continue;
        count++;
        uint32_t depth = 0;
        stack[depth++] = start;
        seen[start] = 1;
        while (depth > 0) {
            uint32_t cell = stack[--depth];
            for (int dy = -1; dy <= 1; dy++) {
                for (int dx = -1; dx <= 1; dx++) {
                    int64_t y = (int64_t)(cell / columns) + dy, x = (int64_t)(cell % columns) + dx;
                    if ((dx != 0 && dy != 0 && !diagonal) || y < 0 || x < 0 || y >= rows ||
                        x >= columns)
                        continue;
                    uint32_t next = (uint32_t)(y * columns + x);
                    if (!seen[next] && labels[next] == label) {
                        seen[next] = 1;
                        stack[depth++] = next;
                    }
                }
            }
        }
    }
    free(seen);
    free(stack);
    return count;
}

static void random_maps_agree_with_a_flood_fill(void **state)
{
    (void)state;
    enum { CLASSES = 3, LARGEST = 40 };
    static uint16_t labels[LARGEST * LARGEST];
    static float probabilities[LARGEST * LARGEST * CLASSES];
    struct random random;
    random_seed(&random, 9, 0);
    for (int trial = 0; trial < 60; trial++) {
        uint32_t rows = 1 + random_below(&random, LARGEST);
        uint32_t columns = 1 + random_below(&random, LARGEST);
        for (uint32_t i = 0; i < rows * columns; i++)
            labels[i] = (uint16_t)random_below(&random, CLASSES);
        struct statistics s;
        assert_int_equal(compute(labels, probabilities, rows, columns, CLASSES, &s, NULL), 0);
        for (uint16_t k = 0; k < CLASSES; k++) {
            assert_int_equal(count(&s, k, STATISTIC_REGIONS_4),
                             flood_count(labels, rows, columns, k, false));
            assert_int_equal(count(&s, k, STATISTIC_REGIONS_8),
                             flood_count(labels, rows, columns, k, true));
        }
        statistics_clear(&s);
    }
}

/* A comb makes the deepest trees; recursion or quadratic work would show here. */
static void a_million_chips_take_no_stack_and_little_time(void **state)
{
    (void)state;
    enum { SIDE = 1200 };
    uint16_t *labels = calloc(SIDE * SIDE, sizeof(*labels));
    float *probabilities = calloc(SIDE * SIDE * 2, sizeof(*probabilities));
    assert_non_null(labels);
    assert_non_null(probabilities);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        labels[i] = i % SIDE % 2 == 1 && i / SIDE != SIDE - 1;
    struct statistics s;
    assert_int_equal(compute(labels, probabilities, SIDE, SIDE, 2, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 1);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_8), SIDE / 2);
    statistics_clear(&s);
    free(labels);
    free(probabilities);
}

/* A column that was not analysed parts two regions, an unknown chip parts none of the diagonals. */
static void chips_without_a_class_are_no_class(void **state)
{
    (void)state;
    const uint16_t none = LABEL_NOT_ANALYSED, unknown = LABEL_UNKNOWN;
    const uint16_t labels[] = {
        0, none, 0,       1, /**/
        0, none, unknown, 0, /**/
        0, none, 0,       1, /**/
    };
    float probabilities[2 * 12];
    for (int i = 0; i < 24; i++)
        probabilities[i] = i % 2 == 0 ? 0.75f : 0.25f;
    struct statistics s;
    assert_int_equal(compute(labels, probabilities, 3, 4, 2, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_CHIPS), 6);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 6.0 / 9.0);
    assert_true(value(&s, 1, STATISTIC_AREA_FRACTION) == 2.0 / 9.0);
    assert_true(value(&s, 0, STATISTIC_MEAN_PROBABILITY) == 0.75 &&
                value(&s, 1, STATISTIC_MEAN_PROBABILITY) == 0.25);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 4);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_8), 2);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_8), 2);
    assert_true(value(&s, 0, STATISTIC_MEAN_REGION_CHIPS) == 3.0);
    assert_int_equal(count(&s, STATISTIC_OF_IMAGE, STATISTIC_UNKNOWN_CHIPS), 1);
    assert_true(value(&s, STATISTIC_OF_IMAGE, STATISTIC_UNKNOWN_PIXELS) == 16.0);
    assert_int_equal(count(&s, STATISTIC_OF_IMAGE, STATISTIC_NOT_ANALYSED_CHIPS), 3);
    assert_true(value(&s, STATISTIC_OF_IMAGE, STATISTIC_NOT_ANALYSED_PIXELS) == 48.0);
    assert_null(statistics_find(&s, STATISTIC_OF_IMAGE, STATISTIC_UNDECIDED_CHIPS));
    statistics_clear(&s);

    const uint16_t nothing[] = {none, none};
    assert_int_equal(compute(nothing, probabilities, 1, 2, 2, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_CHIPS), 0);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 0.0 &&
                value(&s, 0, STATISTIC_MEAN_PROBABILITY) == 0.0);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_4), 0);
    assert_null(statistics_find(&s, STATISTIC_OF_IMAGE, STATISTIC_CHIPS));
    assert_null(statistics_find(&s, 2, STATISTIC_CHIPS));
    statistics_clear(&s);
}

/* Its chips are counted as such, and the fractions of the others are as if it were not there. */
static void a_class_that_is_not_counted_is_in_no_fraction(void **state)
{
    (void)state;
    enum { N = 12 };
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    const uint16_t labels[N] = {0, 0, 0, 1, 2, 2, 2, 2, 2, 2, LABEL_UNKNOWN, LABEL_NOT_ANALYSED};
    float probabilities[3 * N];
    struct grid grid;
    struct statistics s;
    for (size_t i = 0; i < 3 * N; i++)
        probabilities[i] = 0.5f;
    assert_int_equal(grid_plan(&params, 4 * N, 4, N, &grid, NULL), 0);
    const struct fine_source source = {&grid, labels, probabilities, 3, NULL};
    assert_int_equal(statistics_compute(&source, 1 << 2, &s, NULL), 0);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 3.0 / 5.0);
    assert_true(value(&s, 1, STATISTIC_AREA_FRACTION) == 1.0 / 5.0);
    assert_true(value(&s, 2, STATISTIC_AREA_FRACTION) == 0);
    assert_int_equal(count(&s, 2, STATISTIC_CHIPS), 6);
    assert_true(value(&s, 2, STATISTIC_AREA_PIXELS) == 6 * 16);
    statistics_clear(&s);
    /* All that there is: nothing to be a fraction of. */
    assert_int_equal(statistics_compute(&source, 7, &s, NULL), 0);
    for (uint32_t k = 0; k < 3; k++)
        assert_true(value(&s, k, STATISTIC_AREA_FRACTION) == 0);
    statistics_clear(&s);
}

/* Four windows of 8 at a stride of 4, in one row, and a fifth that was shifted inwards: the image
 * ends 3 pixels after the last but one. */
static void areas_are_those_of_the_cells_where_chips_overlap(void **state)
{
    (void)state;
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 4, .stride_y = 8, .edge = GRID_EDGE_COVER};
    const uint16_t labels[] = {0, 0, 1, 0, 1};
    const float probabilities[] = {0.75f, 0.25f, 0.75f, 0.25f, 0.0f,
                                   1.0f,  0.75f, 0.25f, 0.0f,  1.0f};
    struct grid grid;
    struct statistics s;
    assert_int_equal(grid_plan(&params, 23, 8, 100, &grid, NULL), 0);
    assert_int_equal(grid.columns, 5);
    const struct fine_source source = {&grid, labels, probabilities, 2, NULL};
    assert_int_equal(statistics_compute(&source, 0, &s, NULL), 0);
    /* Cells end at 4, 8, 12, 16, 20 and 23; windows begin at 0, 4, 8, 12 and 15. The mean
     * probabilities of class 0 are 0.75, 0.75, 0.375, 0.375, 0.375 and 0. */
    assert_int_equal(count(&s, 0, STATISTIC_CHIPS), 3);
    assert_int_equal(count(&s, 1, STATISTIC_CHIPS), 2);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 8.0 / 23.0);
    assert_true(value(&s, 1, STATISTIC_AREA_FRACTION) == 15.0 / 23.0);
    assert_true(value(&s, 0, STATISTIC_AREA_PIXELS) == 64.0);
    assert_true(value(&s, 1, STATISTIC_AREA_PIXELS) == 120.0);
    assert_true(value(&s, 0, STATISTIC_MEAN_PROBABILITY) == 0.75);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_4), 1);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_8), 1);
    assert_true(value(&s, 0, STATISTIC_MEAN_REGION_CHIPS) == 3.0);
    assert_true(value(&s, 1, STATISTIC_MEAN_REGION_PIXELS) == 120.0);
    statistics_clear(&s);
}

/* Its one chip is outvoted by the two that overlap it. */
static void a_class_may_have_chips_and_no_area(void **state)
{
    (void)state;
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 4, .stride_y = 8};
    const uint16_t labels[] = {0, 1, 0};
    const float probabilities[] = {1.0f, 0.0f, 0.25f, 0.75f, 1.0f, 0.0f};
    struct grid grid;
    struct statistics s;
    assert_int_equal(grid_plan(&params, 16, 8, 100, &grid, NULL), 0);
    const struct fine_source source = {&grid, labels, probabilities, 2, NULL};
    assert_int_equal(statistics_compute(&source, 0, &s, NULL), 0);
    assert_int_equal(count(&s, 1, STATISTIC_CHIPS), 1);
    assert_true(value(&s, 1, STATISTIC_MEAN_PROBABILITY) == 0.75);
    assert_true(value(&s, 1, STATISTIC_AREA_FRACTION) == 0.0);
    assert_int_equal(count(&s, 1, STATISTIC_REGIONS_8), 0);
    assert_true(value(&s, 1, STATISTIC_MEAN_REGION_CHIPS) == 0.0);
    assert_true(value(&s, 0, STATISTIC_AREA_FRACTION) == 1.0);
    statistics_clear(&s);
}

/* Against counting the image's pixels one by one: strides below, at and above the chip's size, with
 * both edges and an offset, of which each leaves another rest. */
static void areas_add_up_to_what_the_windows_cover(void **state)
{
    (void)state;
    enum { WIDTH = 61, HEIGHT = 47, CHIPS_MAX = 400 };
    static uint16_t labels[CHIPS_MAX];
    static float probabilities[CHIPS_MAX * 3];
    const uint32_t strides[] = {3, 8, 11, 20}, offsets[] = {0, 7};
    for (int i = 0; i < 16; i++) {
        const uint32_t stride = strides[i / 4], offset = offsets[i % 2];
        const struct grid_params params = {.chip_width = 8,
                                           .chip_height = 6,
                                           .stride_x = stride,
                                           .stride_y = stride,
                                           .offset_x = offset,
                                           .offset_y = offset,
                                           .edge = i / 2 % 2 ? GRID_EDGE_COVER : GRID_EDGE_DROP};
        struct grid grid;
        struct fine_map map;
        struct statistics s;
        bool covered[HEIGHT][WIDTH] = {{false}};
        uint64_t n_pixels = 0;
        assert_int_equal(grid_plan(&params, WIDTH, HEIGHT, CHIPS_MAX, &grid, NULL), 0);
        for (uint64_t k = 0; k < grid_n_chips(&grid); k++) {
            const struct chip_rect chip = grid_chip(&grid, k);
            labels[k] = (uint16_t)(k * 7 % 11 % 3);
            for (int c = 0; c < 3; c++)
                probabilities[3 * k + (uint64_t)c] = c == labels[k] ? 1.0f : 0.0f;
            for (uint32_t p = 0; p < chip.width * chip.height; p++)
                covered[chip.y + p / chip.width][chip.x + p % chip.width] = true;
        }
        for (uint32_t p = 0; p < WIDTH * HEIGHT; p++)
            n_pixels += covered[p / WIDTH][p % WIDTH];
        fine_map_plan(&grid, &map);
        assert_int_equal(fine_map_n_pixels(&map), n_pixels);
        const struct fine_source source = {&grid, labels, probabilities, 3, NULL};
        assert_int_equal(statistics_compute(&source, 0, &s, NULL), 0);
        double sum = 0, fractions = 0;
        for (uint32_t k = 0; k < 3; k++) {
            sum += value(&s, k, STATISTIC_AREA_PIXELS);
            fractions += value(&s, k, STATISTIC_AREA_FRACTION);
        }
        assert_true(sum == (double)n_pixels);
        assert_true(fabs(fractions - 1.0) < 1e-12);
        statistics_clear(&s);
    }
}

static void bad_labels_are_refused(void **state)
{
    (void)state;
    const uint16_t labels[] = {0, 2};
    const float probabilities[4] = {0};
    struct statistics s;
    struct error err;
    assert_int_equal(compute(labels, probabilities, 1, 2, 2, &s, &err), ERROR_INVALID);
    assert_string_equal(err.message, "chip 1: label 2, the last class is 1");
    const uint16_t below_the_reserved[] = {0, 65532};
    assert_int_equal(compute(below_the_reserved, probabilities, 1, 2, 2, &s, &err), ERROR_INVALID);
}

/* Two layers, the upper one with a cell of another class in it. */
static void places_are_told_where_there_are_any(void **state)
{
    (void)state;
    uint16_t labels[48];
    float probabilities[48 * 3] = {0};
    for (int i = 0; i < 48; i++)
        labels[i] = i / 8 >= 3;
    labels[9] = 2;
    struct statistics s;
    assert_int_equal(compute(labels, probabilities, 6, 8, 3, &s, NULL), 0);
    assert_int_equal(count(&s, 0, STATISTIC_REGIONS_BORDER), 1);
    assert_int_equal(count(&s, 2, STATISTIC_REGIONS_BORDER), 0);
    assert_int_equal(count(&s, 0, "n_regions_2^08_pixels"), 1); /* 23 x 16 pixels */
    assert_int_equal(count(&s, 2, "n_regions_2^04_pixels"), 1);
    assert_null(statistics_find(&s, 2, "n_regions_2^05_pixels"));
    assert_null(statistics_find(&s, 2, STATISTIC_NN_DISTANCE));
    assert_int_equal(count(&s, 0, STATISTIC_INTERFACE_NEXT), 1);
    assert_int_equal(count(&s, 0, STATISTIC_INTERFACE_AXIS), 0);
    assert_true(value(&s, 0, STATISTIC_INTERFACE_POSITION) == 12);
    assert_true(value(&s, 0, STATISTIC_INTERFACE_ROUGHNESS) == 0);
    assert_null(statistics_find(&s, 0, STATISTIC_INTERFACE_CORRELATION));
    assert_null(statistics_find(&s, 1, STATISTIC_INTERFACE_NEXT));
    labels[20] = labels[40] = 2;
    statistics_clear(&s);
    assert_int_equal(compute(labels, probabilities, 6, 8, 3, &s, NULL), 0);
    assert_true(value(&s, 2, STATISTIC_NN_DISTANCE) > 0);
    assert_true(value(&s, 2, STATISTIC_NN_RATIO) > 0);
    statistics_clear(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_match_a_drawn_map),
        cmocka_unit_test(rings_spirals_and_checkers_are_counted),
        cmocka_unit_test(random_maps_agree_with_a_flood_fill),
        cmocka_unit_test(a_million_chips_take_no_stack_and_little_time),
        cmocka_unit_test(chips_without_a_class_are_no_class),
        cmocka_unit_test(a_class_that_is_not_counted_is_in_no_fraction),
        cmocka_unit_test(areas_are_those_of_the_cells_where_chips_overlap),
        cmocka_unit_test(a_class_may_have_chips_and_no_area),
        cmocka_unit_test(areas_add_up_to_what_the_windows_cover),
        cmocka_unit_test(bad_labels_are_refused),
        cmocka_unit_test(places_are_told_where_there_are_any),
    };
    return test_run(tests);
}
