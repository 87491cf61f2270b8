#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/interface.h"

enum { COLUMNS = 8, ROWS = 10, CLASSES = 3 };

/* Chips of 4 x 4 pixels that touch. */
static void measure(const uint16_t *labels, uint32_t rows, uint32_t columns, struct interface *out)
{
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    struct grid grid;
    struct fine_map map;
    assert_int_equal(grid_plan(&params, 4 * columns, 4 * rows, UINT64_MAX, &grid, NULL), 0);
    fine_map_plan(&grid, &map);
    assert_int_equal(interfaces_measure(labels, &map, CLASSES, out, NULL), 0);
}

/* Class 0 above class 1, so many cells deep. */
static const uint32_t depths[COLUMNS] = {5, 5, 6, 6, 5, 5, 4, 4};

static void draw(uint16_t *labels)
{
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        labels[i] = i / COLUMNS >= depths[i % COLUMNS];
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-9))
        fail_msg("%.12g, not %.12g", value, expected);
}

/* Mean, least squares and autocorrelation of 20, 20, 24, 24, 20, 20, 16, 16 at 2, 6, .. 30. */
static void assert_drawn(const struct interface *interface, enum interface_axis axis)
{
    assert_int_equal(interface->next, 1);
    assert_int_equal(interface->axis, axis);
    assert_int_equal(interface->n_lines, 8);
    assert_near(interface->position, 20);
    assert_near(interface->tilt, -4.0 / 21);
    assert_near(interface->roughness, 2.2253945610567474);
    assert_near(interface->correlation_length, 3.8998624307388985);
}

static void layers_above_one_another_have_an_interface(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS];
    struct interface found[CLASSES];
    draw(labels);
    measure(labels, ROWS, COLUMNS, found);
    assert_drawn(&found[0], INTERFACE_ALONG_X);
    assert_int_equal(found[1].next, CLASSES);
    assert_int_equal(found[2].next, CLASSES);
}

static void layers_side_by_side_have_one_too(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS], turned[ROWS * COLUMNS];
    struct interface found[CLASSES];
    draw(labels);
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        turned[i % COLUMNS * ROWS + i / COLUMNS] = labels[i];
    measure(turned, COLUMNS, ROWS, found);
    assert_drawn(&found[0], INTERFACE_ALONG_Y);
}

/* One column is of class 0 alone, a row of unknown cells lies between, and a few cells are wrong.
 */
static void what_disturbs_a_little_changes_little(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS];
    struct interface found[CLASSES];
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        labels[i] = i / COLUMNS > 4;
    for (uint32_t y = 0; y < ROWS; y++)
        labels[y * COLUMNS + 3] = 0;
    measure(labels, ROWS, COLUMNS, found);
    assert_int_equal(found[0].n_lines, 7);
    assert_near(found[0].position, 20);
    assert_near(found[0].roughness, 0);
    assert_true(isnan(found[0].correlation_length));
    labels[0] = 1;
    labels[9 * COLUMNS + 1] = 0;
    labels[5 * COLUMNS + 5] = LABEL_UNKNOWN; /* the interface there is anywhere in 20 .. 24 */
    measure(labels, ROWS, COLUMNS, found);
    assert_int_equal(found[0].next, 1);
    assert_near(found[0].position, (6 * 20 + 22) / 7.0);
}

/* Chips on the interface are like neither class, and it is half way between. */
static void unknown_cells_between_are_passed_over(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS];
    struct interface found[CLASSES];
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        labels[i] = i / COLUMNS == 5 ? LABEL_UNKNOWN : i / COLUMNS > 5;
    measure(labels, ROWS, COLUMNS, found);
    assert_int_equal(found[0].next, 1);
    assert_near(found[0].position, 22);
    for (uint32_t i = 5 * COLUMNS; i < 6 * COLUMNS; i++)
        labels[i] = LABEL_NOT_ANALYSED;
    measure(labels, ROWS, COLUMNS, found);
    assert_int_equal(found[0].next, CLASSES);
}

static void a_particle_is_no_layer(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS] = {0};
    struct interface found[CLASSES];
    for (uint32_t y = 3; y < 7; y++) {
        for (uint32_t x = 1; x < 7; x++)
            labels[y * COLUMNS + x] = 1;
    }
    measure(labels, ROWS, COLUMNS, found);
    for (int k = 0; k < CLASSES; k++)
        assert_int_equal(found[k].next, CLASSES);
}

/* Few as they are, all other cells lie on their side of a line along the map's edge. */
static void scattered_cells_are_no_layer(void **state)
{
    (void)state;
    enum { DEEP = 24 };
    uint16_t labels[DEEP * COLUMNS] = {0};
    struct interface found[CLASSES];
    for (uint32_t x = 0; x < COLUMNS; x++)
        labels[(3 + 5 * x % 19) * COLUMNS + x] = 1;
    measure(labels, DEEP, COLUMNS, found);
    for (int k = 0; k < CLASSES; k++)
        assert_int_equal(found[k].next, CLASSES);
}

static void three_layers_have_two_interfaces(void **state)
{
    (void)state;
    uint16_t labels[ROWS * COLUMNS];
    struct interface found[CLASSES];
    for (uint32_t i = 0; i < ROWS * COLUMNS; i++)
        labels[i] = i / COLUMNS < 2 ? 2 : i / COLUMNS < 7 ? 0 : 1;
    measure(labels, ROWS, COLUMNS, found);
    assert_int_equal(found[2].next, 0);
    assert_near(found[2].position, 8);
    assert_int_equal(found[0].next, 1);
    assert_near(found[0].position, 28);
    assert_int_equal(found[1].next, CLASSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_above_one_another_have_an_interface),
        cmocka_unit_test(layers_side_by_side_have_one_too),
        cmocka_unit_test(what_disturbs_a_little_changes_little),
        cmocka_unit_test(unknown_cells_between_are_passed_over),
        cmocka_unit_test(a_particle_is_no_layer),
        cmocka_unit_test(scattered_cells_are_no_layer),
        cmocka_unit_test(three_layers_have_two_interfaces),
    };
    return test_run(tests);
}
