#include "tests/test.h"

#include <math.h>

#include "api/results/objects_text.h"

/* The width of the histogram's bins, of one object of that diameter in nm. */
static double bin_width(double diameter)
{
    struct object object = {.shape = {.px = {.area = 4, .equivalent_diameter = 2},
                                      .nm = {.area = 1, .equivalent_diameter = diameter}}};
    const struct objects objects = {.items = &object, .n = 1};
    json_t *json = objects_json_summary(&objects);
    assert_non_null(json);
    const json_t *histogram = json_object_get(json, "histogram");
    const double width = json_real_value(json_object_get(histogram, "bin_width"));
    assert_true(json_array_size(json_object_get(histogram, "counts")) >= 1);
    assert_true(json_array_size(json_object_get(histogram, "counts")) <= 20);
    json_decref(json);
    return width;
}

/* The smallest of 1, 2, 5 x 10^n of which 20 reach beyond the diameter. */
static void bins_have_round_widths(void **state)
{
    (void)state;
    assert_true(fabs(bin_width(19.9) - 1) < 1e-12);
    assert_true(fabs(bin_width(20) - 2) < 1e-12);
    assert_true(fabs(bin_width(99) - 5) < 1e-12);
    assert_true(fabs(bin_width(100) - 10) < 1e-12);
    assert_true(fabs(bin_width(0.03) - 0.002) < 1e-15);
}

static void sizes_that_are_none_end(void **state)
{
    (void)state;
    assert_true(bin_width(0) == 1);
    assert_true(bin_width(INFINITY) == 1);
    assert_true(bin_width(1e-320) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_have_round_widths),
        cmocka_unit_test(sizes_that_are_none_end),
    };
    return test_run(tests);
}
