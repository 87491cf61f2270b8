#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/map/fine_map.h"
#include "engine/fewshot/labels.h"
#include "engine/random.h"

enum { WINDOWS_MAX = 4000, CELLS_MAX = 20000, CLASSES = 3 };

static uint16_t labels[WINDOWS_MAX];
static float probabilities[WINDOWS_MAX * CLASSES];

/* What the visits gave. */
struct kept {
    struct fine_map map;
    uint32_t n_rows;
    uint16_t labels[CELLS_MAX];
    float probabilities[CELLS_MAX];
};

static void keep_labels(void *context, uint32_t row, const uint16_t *row_labels)
{
    struct kept *kept = context;
    assert_int_equal(row, kept->n_rows++);
    memcpy(kept->labels + (size_t)row * kept->map.x.n_cells, row_labels,
           kept->map.x.n_cells * sizeof(*row_labels));
}

static void keep_probabilities(void *context, uint32_t row, const float *row_probabilities)
{
    struct kept *kept = context;
    assert_int_equal(row, kept->n_rows++);
    memcpy(kept->probabilities + (size_t)row * kept->map.x.n_cells, row_probabilities,
           kept->map.x.n_cells * sizeof(*row_probabilities));
}

static void visit(const struct fine_source *source, uint32_t class_index, struct kept *out)
{
    fine_map_plan(source->grid, &out->map);
    assert_true(fine_map_n_cells(&out->map) <= CELLS_MAX);
    out->n_rows = 0;
    assert_int_equal(fine_map_visit_labels(source, keep_labels, out, NULL), 0);
    assert_int_equal(out->n_rows, out->map.y.n_cells);
    out->n_rows = 0;
    assert_int_equal(fine_map_visit_probability(source, class_index, keep_probabilities, out, NULL),
                     0);
    assert_int_equal(out->n_rows, out->map.y.n_cells);
}

static struct grid plan(const struct grid_params *params, uint32_t width, uint32_t height)
{
    struct grid grid;
    assert_int_equal(grid_plan(params, width, height, WINDOWS_MAX, &grid, NULL), 0);
    return grid;
}

/* ---- geometry ---- */

static void assert_axis(const struct fine_axis *axis, const uint32_t (*cells)[2], uint32_t n)
{
    assert_int_equal(axis->n_cells, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(fine_axis_begin(axis, i), cells[i][0]);
        assert_int_equal(fine_axis_end(axis, i), cells[i][1]);
    }
}

/* Each axis for itself: columns overlap, rows have gaps. */
static void cells_are_strides_or_windows(void **state)
{
    (void)state;
    struct grid_params params = {.chip_width = 10,
                                 .chip_height = 6,
                                 .stride_x = 4,
                                 .stride_y = 9,
                                 .offset_x = 3,
                                 .offset_y = 2};
    struct fine_map map;
    struct grid grid = plan(&params, 24, 24);
    fine_map_plan(&grid, &map);
    /* Windows 3..13, 7..17, 11..21. */
    static const uint32_t columns[][2] = {{3, 7}, {7, 11}, {11, 15}, {15, 19}, {19, 21}};
    static const uint32_t rows[][2] = {{2, 8}, {11, 17}};
    assert_axis(&map.x, columns, 5);
    assert_axis(&map.y, rows, 2);
    assert_true(fine_axis_is_fine(&map.x) && !fine_axis_is_fine(&map.y));
    assert_int_equal(fine_axis_cell_size(&map.x), 4);
    assert_int_equal(fine_axis_cell_size(&map.y), 6);
    params.edge = GRID_EDGE_COVER; /* one more each: 14..24 and 18..24 */
    grid = plan(&params, 24, 24);
    fine_map_plan(&grid, &map);
    static const uint32_t more_columns[][2] = {{3, 7},   {7, 11},  {11, 15},
                                               {15, 19}, {19, 23}, {23, 24}};
    static const uint32_t more_rows[][2] = {{2, 8}, {11, 17}, {18, 24}};
    assert_axis(&map.x, more_columns, 6);
    assert_axis(&map.y, more_rows, 3);
}

/* The last of three windows, 14..24, was shifted into the second, 10..20: their centres are 19 and
 * 15, and pixel 16, whose centre is 16.5, is nearer to the first of these. */
static void shared_pixels_have_one_cell(void **state)
{
    (void)state;
    const struct grid_params params = {
        .chip_width = 10, .chip_height = 12, .edge = GRID_EDGE_COVER};
    const struct grid grid = plan(&params, 24, 24);
    static const uint32_t columns[][2] = {{0, 10}, {10, 17}, {17, 24}};
    static const uint32_t rows[][2] = {{0, 12}, {12, 24}};
    struct fine_map map;
    fine_map_plan(&grid, &map);
    assert_axis(&map.x, columns, 3);
    assert_axis(&map.y, rows, 2);
    assert_true(fine_axis_centre(&map.x, 1) == 15.0 && fine_axis_centre(&map.x, 2) == 19.0);
    assert_int_equal(fine_map_n_pixels(&map), 24 * 24);
}

/* ---- means ---- */

static void fill(struct random *random, uint64_t n_windows, uint32_t share_without_class)
{
    for (uint64_t i = 0; i < n_windows; i++) {
        float sum = 0.0f;
        for (uint32_t k = 0; k < CLASSES; k++)
            sum += probabilities[i * CLASSES + k] = (float)(1 + random_below(random, 1000));
        uint32_t best = 0;
        for (uint32_t k = 0; k < CLASSES; k++) {
            probabilities[i * CLASSES + k] /= sum;
            if (probabilities[i * CLASSES + k] > probabilities[i * CLASSES + best])
                best = k;
        }
        labels[i] = (uint16_t)best;
        if (random_below(random, 100) < share_without_class)
            labels[i] = (uint16_t)(LABEL_UNDECIDED + random_below(random, 3));
    }
}

/* The rule as the header states it, window by window. */
static void check_cell(const struct fine_source *source, const struct kept *kept, uint32_t row,
                       uint32_t column, uint32_t class_index)
{
    const struct fine_map *map = &kept->map;
    const double x = 0.5 * (fine_axis_begin(&map->x, column) + fine_axis_end(&map->x, column));
    const double y = 0.5 * (fine_axis_begin(&map->y, row) + fine_axis_end(&map->y, row));
    double sums[CLASSES] = {0};
    uint32_t n = 0, n_unknown = 0, n_undecided = 0, best = 0;
    for (uint64_t i = 0; i < grid_n_chips(source->grid); i++) {
        const struct chip_rect r = grid_chip(source->grid, i);
        if (x < r.x || x >= r.x + r.width || y < r.y || y >= r.y + r.height ||
            source->labels[i] == LABEL_NOT_ANALYSED)
            continue;
        n++;
        n_unknown += source->labels[i] == LABEL_UNKNOWN;
        n_undecided += source->labels[i] == LABEL_UNDECIDED;
        for (uint32_t k = 0; k < CLASSES; k++)
            sums[k] += source->probabilities[i * CLASSES + k];
    }
    const uint64_t at = (uint64_t)row * map->x.n_cells + column;
    for (uint32_t k = 1; k < CLASSES; k++)
        best = sums[k] > sums[best] ? k : best;
    if (n == 0) {
        assert_int_equal(kept->labels[at], LABEL_NOT_ANALYSED);
        assert_true(kept->probabilities[at] == 0.0f);
        return;
    }
    assert_int_equal(kept->labels[at], 2 * n_unknown > n     ? LABEL_UNKNOWN
                                       : 2 * n_undecided > n ? LABEL_UNDECIDED
                                                             : best);
    assert_float_equal(kept->probabilities[at], sums[class_index] / n, 1e-7);
}

static void check_map(const struct grid_params *params, struct random *random,
                      uint32_t share_without_class)
{
    static struct kept kept;
    const struct grid grid = plan(params, 57, 41);
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    fill(random, grid_n_chips(&grid), share_without_class);
    visit(&source, 1, &kept);
    for (uint32_t row = 0; row < kept.map.y.n_cells; row++) {
        for (uint32_t column = 0; column < kept.map.x.n_cells; column++)
            check_cell(&source, &kept, row, column, 1);
    }
}

static void cells_average_the_windows_over_their_centre(void **state)
{
    (void)state;
    static const struct grid_params grids[] = {
        {.chip_width = 8, .chip_height = 8, .stride_x = 2, .stride_y = 2},
        {.chip_width = 8, .chip_height = 8, .stride_x = 1, .stride_y = 1},
        {.chip_width = 13, .chip_height = 7, .stride_x = 5, .stride_y = 3, .offset_x = 4},
        {.chip_width = 6, .chip_height = 15, .stride_x = 5, .stride_y = 14, .offset_y = 9},
        {.chip_width = 5, .chip_height = 9, .stride_x = 7, .stride_y = 4},    /* gaps along x */
        {.chip_width = 40, .chip_height = 41, .stride_x = 3, .stride_y = 40}, /* one row */
    };
    struct random random;
    random_seed(&random, 3, 0);
    for (size_t i = 0; i < sizeof(grids) / sizeof(grids[0]); i++) {
        struct grid_params params = grids[i];
        for (int edge = GRID_EDGE_DROP; edge <= GRID_EDGE_COVER; edge++) {
            params.edge = (enum grid_edge)edge;
            check_map(&params, &random, 0);
            check_map(&params, &random, 40);
            check_map(&params, &random, 100);
        }
    }
}

/* Labels that the probabilities do not explain, and whatever was stored as a probability. */
static void chips_that_do_not_overlap_are_left_as_they_are(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid_params params = {.chip_width = 10, .chip_height = 10, .stride_x = 12};
    const struct grid grid = plan(&params, 32, 20);
    static const uint16_t own[] = {2, LABEL_UNKNOWN, LABEL_NOT_ANALYSED, 0};
    static const float values[4 * CLASSES] = {[1] = 0.3f, [4] = 1e-30f, [7] = 0.7f, [10] = 1.5f};
    const struct fine_source source = {&grid, own, values, CLASSES, NULL};
    visit(&source, 1, &kept);
    assert_int_equal(fine_map_n_cells(&kept.map), 4);
    assert_memory_equal(kept.labels, own, sizeof(own));
    for (int i = 0; i < 4; i++)
        assert_true(kept.probabilities[i] == values[i * CLASSES + 1]);
}

static void equal_means_go_to_the_lower_class(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 4, .stride_y = 8};
    const struct grid grid = plan(&params, 16, 8);
    /* 0.1 + 0.2 + ... in another order is another double. */
    static const uint16_t own[] = {2, 1, 2};
    static const float values[3 * CLASSES] = {0.0f, 0.3f, 0.7f, 0.0f, 0.7f, 0.3f, 0.0f, 0.3f, 0.7f};
    const struct fine_source source = {&grid, own, values, CLASSES, NULL};
    visit(&source, 2, &kept);
    static const uint16_t expected[] = {2, 1, 1, 2};
    assert_memory_equal(kept.labels, expected, sizeof(expected));
    assert_true(kept.probabilities[0] == 0.7f);
    assert_float_equal(kept.probabilities[1], 0.5, 1e-7);
}

static void what_is_no_probability_is_held_to_the_range(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 4, .stride_y = 8};
    const struct grid grid = plan(&params, 8, 8);
    static const uint16_t own[] = {0};
    static const float wrong[] = {NAN, -INFINITY, INFINITY, -1.0f, 1e30f};
    static const float expected[] = {0.0f, 0.0f, 1.0f, 0.0f, 1.0f};
    for (int i = 0; i < 5; i++) {
        const float values[CLASSES] = {0.25f, wrong[i], 0.25f};
        const struct fine_source source = {&grid, own, values, CLASSES, NULL};
        visit(&source, 1, &kept);
        assert_int_equal(fine_map_n_cells(&kept.map), 2);
        assert_true(kept.probabilities[0] == expected[i] && kept.probabilities[1] == expected[i]);
        assert_int_equal(kept.labels[0], expected[i] > 0.0f ? 1 : 0);
    }
}

/* Sums that slide over thousands of windows drift in floating point; the last cell, which one
 * window covers, would tell. */
static void the_last_cell_is_exact_after_many(void **state)
{
    (void)state;
    static struct kept kept;
    enum { N = 3990 };
    const struct grid_params params = {
        .chip_width = 40, .chip_height = 4, .stride_x = 1, .stride_y = 4};
    const struct grid grid = plan(&params, N + 39, 4);
    struct random random;
    random_seed(&random, 4, 0);
    assert_int_equal(grid_n_chips(&grid), N);
    fill(&random, N, 0);
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    visit(&source, 0, &kept);
    const float own = probabilities[(N - 1) * CLASSES];
    assert_true(kept.probabilities[N + 38] == own || own < 0x1p-6f);
    assert_float_equal(kept.probabilities[N + 38], own, 0x1p-30);
}

/* ---- near a border ---- */

/* Two halves that part at `border`: a window's probability of the right one is the share of it that
 * lies there, as it is for any mean over a window. Pixels of the map on their own side of it. */
static uint32_t count_right(uint32_t stride, uint32_t border, uint32_t width, uint32_t height)
{
    static struct kept kept;
    const struct grid_params params = {.chip_width = 16,
                                       .chip_height = 16,
                                       .stride_x = stride,
                                       .stride_y = stride,
                                       .edge = GRID_EDGE_COVER};
    const struct grid grid = plan(&params, width, height);
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    uint32_t n_right = 0;
    memset(probabilities, 0, sizeof(probabilities));
    for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
        const double right = grid_chip(&grid, i).x + 16.0 - border;
        const float share = (float)fmin(fmax(right / 16.0, 0.0), 1.0);
        probabilities[i * CLASSES] = 1.0f - share;
        probabilities[i * CLASSES + 1] = share;
        labels[i] = share > 0.5f;
    }
    visit(&source, 0, &kept);
    for (uint32_t row = 0; row < kept.map.y.n_cells; row++) {
        for (uint32_t column = 0; column < kept.map.x.n_cells; column++) {
            const uint16_t label = kept.labels[(size_t)row * kept.map.x.n_cells + column];
            const uint32_t height_of_cell =
                fine_axis_end(&kept.map.y, row) - fine_axis_begin(&kept.map.y, row);
            for (uint32_t x = fine_axis_begin(&kept.map.x, column);
                 x < fine_axis_end(&kept.map.x, column); x++)
                n_right += label == (x >= border) ? height_of_cell : 0;
        }
    }
    return n_right;
}

static void a_fine_map_is_nearer_to_a_border(void **state)
{
    (void)state;
    uint32_t n_coarse = 0, n_fine = 0;
    for (uint32_t border = 64; border < 80; border++) {
        const uint32_t coarse = count_right(16, border, 160, 48);
        const uint32_t fine = count_right(4, border, 160, 48);
        assert_true(fine >= coarse);
        assert_true(160 * 48 - fine <= 2 * 48); /* at most half a cell off */
        n_coarse += coarse;
        n_fine += fine;
    }
    assert_true(n_fine > n_coarse);
}

/* ---- what stops it ---- */

struct counted {
    uint32_t n_asked, limit, n_rows;
};

static bool is_asked(void *context)
{
    struct counted *counted = context;
    return ++counted->n_asked > counted->limit;
}

static void count_row(void *context, uint32_t row, const uint16_t *row_labels)
{
    (void)row;
    (void)row_labels;
    struct counted *counted = context;
    counted->n_rows++;
}

static void nobody_waits_for_a_map_that_is_called_off(void **state)
{
    (void)state;
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 2, .stride_y = 2};
    const struct grid grid = plan(&params, 57, 41);
    struct counted counted = {.limit = 3};
    const struct cancel cancel = {is_asked, &counted};
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, &cancel};
    struct error err;
    memset(labels, 0, sizeof(labels));
    assert_int_equal(fine_map_visit_labels(&source, count_row, &counted, &err), ERROR_CANCELLED);
    assert_int_equal(counted.n_rows, 3);
}

static void what_is_no_class_is_refused(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid_params params = {.chip_width = 8, .chip_height = 8};
    const struct grid grid = plan(&params, 16, 8);
    static const uint16_t beyond[] = {0, CLASSES};
    struct fine_source source = {&grid, beyond, probabilities, CLASSES, NULL};
    struct error err;
    assert_int_equal(fine_map_visit_labels(&source, keep_labels, &kept, &err), ERROR_INVALID);
    source.n_classes = CLASSES + 1;
    assert_int_equal(
        fine_map_visit_probability(&source, CLASSES + 1, keep_probabilities, &kept, &err),
        ERROR_INVALID);
    assert_string_equal(err.message, "class: 4, the last one is 3");
    source.n_classes = 65;
    assert_int_equal(fine_map_visit_labels(&source, keep_labels, &kept, &err), ERROR_INVALID);
    assert_string_equal(err.message, "classes: 65, from 1 to 64 are allowed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_strides_or_windows),
        cmocka_unit_test(shared_pixels_have_one_cell),
        cmocka_unit_test(cells_average_the_windows_over_their_centre),
        cmocka_unit_test(chips_that_do_not_overlap_are_left_as_they_are),
        cmocka_unit_test(equal_means_go_to_the_lower_class),
        cmocka_unit_test(what_is_no_probability_is_held_to_the_range),
        cmocka_unit_test(the_last_cell_is_exact_after_many),
        cmocka_unit_test(a_fine_map_is_nearer_to_a_border),
        cmocka_unit_test(nobody_waits_for_a_map_that_is_called_off),
        cmocka_unit_test(what_is_no_class_is_refused),
    };
    return test_run(tests);
}
