#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/laid.h"
#include "engine/random.h"

enum { CLASSES = 3, CELLS_MAX = 500, PIXELS_MAX = 61 * 47 };

struct kept {
    uint32_t width;
    uint32_t n_rows;
    uint8_t pixels[PIXELS_MAX];
};

static int keep(void *context, uint32_t y, const uint8_t *pixels, struct error *err)
{
    struct kept *kept = context;
    (void)err;
    assert_int_equal(y, kept->n_rows++);
    memcpy(kept->pixels + (size_t)y * kept->width, pixels, kept->width);
    return 0;
}

/* The cells, as the visit gives them. */
struct cells {
    struct fine_map map;
    uint16_t labels[CELLS_MAX];
    float probabilities[CELLS_MAX * CLASSES];
};

static void keep_cells(void *context, uint32_t row, const uint16_t *labels,
                       const float *probabilities)
{
    struct cells *cells = context;
    const size_t n = cells->map.x.n_cells;
    memcpy(cells->labels + row * n, labels, n * sizeof(*labels));
    memcpy(cells->probabilities + row * n * CLASSES, probabilities,
           n * CLASSES * sizeof(*probabilities));
}

static int64_t find_own(const struct fine_axis *axis, double at)
{
    for (uint32_t i = 0; i < axis->n_cells; i++) {
        if (at >= fine_axis_begin(axis, i) && at < fine_axis_end(axis, i))
            return i;
    }
    return -1;
}

/* How much cell i weighs at a place between the centres of cells: a tent from the centre before it
 * to the one behind, level beyond the first and the last. */
static double tent(const struct fine_axis *axis, uint32_t i, double at)
{
    const double centre = fine_axis_centre(axis, i);
    if (at < centre)
        return i == 0 ? 1.0
                      : fmax(0.0, 1.0 - (centre - at) / (centre - fine_axis_centre(axis, i - 1)));
    return i + 1 == axis->n_cells
               ? 1.0
               : fmax(0.0, 1.0 - (at - centre) / (fine_axis_centre(axis, i + 1) - centre));
}

/* The rule as the header states it, of labels that are those of the highest probabilities. Returns
 * how far the first is before the second, so that near ties can be left out. */
static double expect(const struct cells *cells, double x, double y, uint8_t *out)
{
    const struct fine_map *map = &cells->map;
    const int64_t own_x = find_own(&map->x, x), own_y = find_own(&map->y, y);
    *out = LAID_NONE;
    if (own_x < 0 || own_y < 0)
        return 1.0;
    const uint16_t own = cells->labels[own_y * map->x.n_cells + own_x];
    *out = (uint8_t)own;
    if (own >= CLASSES)
        return 1.0;
    double sums[CLASSES] = {0};
    bool is_near[CLASSES] = {false};
    for (uint32_t i = 0; i < fine_map_n_cells(map); i++) {
        const double weight =
            tent(&map->x, i % map->x.n_cells, x) * tent(&map->y, i / map->x.n_cells, y);
        if (weight == 0.0 || cells->labels[i] >= CLASSES)
            continue;
        is_near[cells->labels[i]] = true;
        for (int k = 0; k < CLASSES; k++)
            sums[k] += weight * (double)cells->probabilities[i * CLASSES + (uint32_t)k];
    }
    double best = -1.0, runner_up = -1.0;
    for (int k = 0; k < CLASSES; k++) {
        if (!is_near[k])
            continue;
        runner_up = fmax(runner_up, fmin(sums[k], best));
        *out = sums[k] > best ? (uint8_t)k : *out;
        best = fmax(best, sums[k]);
    }
    return best - runner_up;
}

static struct grid plan(uint32_t width, uint32_t height, uint32_t chip, uint32_t stride,
                        enum grid_edge edge)
{
    const struct grid_params params = {.chip_width = chip,
                                       .chip_height = chip,
                                       .stride_x = stride,
                                       .stride_y = stride,
                                       .offset_x = 2,
                                       .edge = edge};
    struct grid grid;
    assert_int_equal(grid_plan(&params, width, height, CELLS_MAX, &grid, NULL), 0);
    return grid;
}

/* Random probabilities, and each seventh window without a class. */
static void draw(const struct grid *grid, uint16_t *labels, float *probabilities)
{
    struct random random;
    random_seed(&random, 4, 0);
    for (uint64_t i = 0; i < grid_n_chips(grid); i++) {
        float *row = probabilities + i * CLASSES;
        labels[i] = 0;
        for (uint16_t k = 0; k < CLASSES; k++) {
            row[k] = (float)random_below(&random, 1000) / 1000.0f;
            labels[i] = row[k] > row[labels[i]] ? k : labels[i];
        }
        if (random_below(&random, 7) == 0)
            labels[i] = (uint16_t)(LABEL_UNDECIDED + random_below(&random, 3));
    }
}

static void check(const struct fine_source *source, uint32_t width, uint32_t height)
{
    static struct cells cells;
    static struct kept kept;
    const struct grid *grid = source->grid;
    fine_map_plan(grid, &cells.map);
    assert_true(fine_map_n_cells(&cells.map) <= CELLS_MAX);
    assert_int_equal(fine_map_visit_cells(source, keep_cells, &cells, NULL), 0);
    kept.width = width;
    kept.n_rows = 0;
    assert_int_equal(laid_visit_labels(source, width, height, keep, &kept, NULL), 0);
    assert_int_equal(kept.n_rows, height);
    for (uint32_t i = 0; i < width * height; i++) {
        uint8_t label;
        const double lead = expect(&cells, (i % width + 0.5) * grid->image_width / width,
                                   (i / width + 0.5) * grid->image_height / height, &label);
        if (lead > 1e-5)
            assert_int_equal(kept.pixels[i], label);
    }
}

static void pixels_take_the_most_probable_class_around_them(void **state)
{
    (void)state;
    static uint16_t labels[CELLS_MAX];
    static float probabilities[CELLS_MAX * CLASSES];
    const uint32_t strides[] = {3, 5, 8, 11}; /* overlapping, touching, with gaps */
    for (int i = 0; i < 8; i++) {
        const struct grid grid =
            plan(61, 47, 8, strides[i / 2], i % 2 ? GRID_EDGE_COVER : GRID_EDGE_DROP);
        const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
        draw(&grid, labels, probabilities);
        check(&source, 61, 47);
        check(&source, 23, 18);
        check(&source, 1, 1);
    }
}

/* A label that does not follow from probabilities holds at the cell's centre all the same. */
static void a_cell_keeps_its_centre(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid grid = plan(22, 10, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {1, 0};
    const float probabilities[] = {0.9f, 0.1f, 0.0f, 0.8f, 0.2f, 0.0f};
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    kept.width = 22;
    kept.n_rows = 0;
    assert_int_equal(laid_visit_labels(&source, 22, 10, keep, &kept, NULL), 0);
    assert_int_equal(kept.pixels[22 * 5 + 7], 1);
    assert_int_equal(kept.pixels[22 * 5 + 16], 0);
    assert_int_equal(kept.pixels[22 * 5 + 1], LAID_NONE);
}

/* What was not analysed lends nothing to its neighbours. */
static void probabilities_are_those_of_analysed_cells(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid grid = plan(32, 10, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {0, LABEL_NOT_ANALYSED, LABEL_UNKNOWN};
    const float probabilities[] = {0.6f, 0.4f, 0.0f, 0.0f, 0.0f, 0.0f, 0.2f, 0.8f, 0.0f};
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    kept.width = 32;
    kept.n_rows = 0;
    assert_int_equal(laid_visit_probability(&source, 0, 32, 10, keep, &kept, NULL), 0);
    for (uint32_t x = 0; x < 32; x++)
        assert_int_equal(kept.pixels[x], x < 2 ? 0 : x < 12 ? 153 : x < 22 ? 0 : 51);
}

static bool is_asked(void *context)
{
    uint32_t *n_left = context;
    return (*n_left)-- == 0;
}

static int fail_at_row_3(void *context, uint32_t y, const uint8_t *pixels, struct error *err)
{
    (void)context;
    (void)pixels;
    return y == 3 ? error_set(err, ERROR_IO, "row 3") : 0;
}

static void a_visit_ends_when_it_is_told_to(void **state)
{
    (void)state;
    static struct kept kept;
    const struct grid grid = plan(22, 10, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {1, 0};
    const float probabilities[] = {0.1f, 0.9f, 0.0f, 0.8f, 0.2f, 0.0f};
    uint32_t n_left = 4;
    const struct cancel cancel = {is_asked, &n_left};
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, &cancel};
    struct error err;
    kept.width = 22;
    kept.n_rows = 0;
    assert_int_equal(laid_visit_labels(&source, 22, 10, keep, &kept, &err), ERROR_CANCELLED);
    assert_int_equal(kept.n_rows, 4);
    n_left = 100;
    assert_int_equal(laid_visit_labels(&source, 22, 10, fail_at_row_3, NULL, &err), ERROR_IO);
    assert_string_equal(err.message, "row 3");
    assert_int_equal(laid_visit_labels(&source, 0, 10, fail_at_row_3, NULL, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_take_the_most_probable_class_around_them),
        cmocka_unit_test(a_cell_keeps_its_centre),
        cmocka_unit_test(probabilities_are_those_of_analysed_cells),
        cmocka_unit_test(a_visit_ends_when_it_is_told_to),
    };
    return test_run(tests);
}
