#include "tests/test.h"

#include <math.h>

#include "api/results/statistics_json.h"

enum { N = 7 };

/* Of two classes, the second one whole, as results were stored before there were cells; what nobody
 * asks for does not disturb. */
static struct statistic items[N] = {
    {0, STATISTIC_CHIPS, "", 3, NAN, NAN},
    {1, "a statistic that came later", "nm", 0.5, 0.25, 0.75},
    {1, STATISTIC_AREA_FRACTION, "", 0.25, NAN, NAN},
    {1, STATISTIC_MEAN_PROBABILITY, "", 0.75, NAN, NAN},
    {1, STATISTIC_MEAN_REGION_CHIPS, "", 1.5, NAN, NAN},
    {1, STATISTIC_REGIONS_4, "", 4, NAN, NAN},
    {1, STATISTIC_REGIONS_8, "", 2, NAN, NAN},
};
static struct statistic with_chips[N + 3];
static struct statistics statistics = {with_chips, N + 1};

static int set_up(void **state)
{
    (void)state;
    memcpy(with_chips, items, sizeof(items));
    with_chips[N] = (struct statistic){1, STATISTIC_CHIPS, "", 3, NAN, NAN};
    statistics.n_items = N + 1;
    return 0;
}

static void assert_text(double pixel_area_nm2, const char *expected)
{
    const struct statistics_scale scale = {pixel_area_nm2, 16}; /* a stride of 4 */
    json_t *object = json_pack("{s:s}", "name", "film");
    assert_int_equal(statistics_json_add(object, &statistics, 1, &scale, NULL), 0);
    char *text = json_dumps(object, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(object);
}

static void a_class_is_told_in_one_order(void **state)
{
    (void)state;
    assert_text(0.125,
                "{\"name\":\"film\",\"n_chips\":3,\"area_fraction\":0.25,\"area_pixels\":48,"
                "\"area_nm2\":6.0,\"mean_probability\":0.75,\"n_regions_4\":4,\"n_regions_8\":2,"
                "\"mean_region_chips\":1.5,\"mean_region_area_nm2\":3.0,"
                "\"fraction_estimate\":null}");
    assert_text(NAN,
                "{\"name\":\"film\",\"n_chips\":3,\"area_fraction\":0.25,\"area_pixels\":48,"
                "\"area_nm2\":null,\"mean_probability\":0.75,\"n_regions_4\":4,\"n_regions_8\":2,"
                "\"mean_region_chips\":1.5,\"mean_region_area_nm2\":null,"
                "\"fraction_estimate\":null}");
}

/* Where chips overlap, they have no area of their own: cells of stride x stride pixels had it
 * first, then pixels. */
static void areas_are_those_of_the_map(void **state)
{
    (void)state;
    const char *const names[2][2] = {{"area_cells", "mean_region_cells"},
                                     {STATISTIC_AREA_PIXELS, STATISTIC_MEAN_REGION_PIXELS}};
    for (int i = 0; i < 2; i++) {
        const double unit = i == 0 ? 1 : 16;
        with_chips[N + 1] = (struct statistic){1, names[i][0], "", 2.5 * unit, NAN, NAN};
        with_chips[N + 2] = (struct statistic){1, names[i][1], "", 1.25 * unit, NAN, NAN};
        statistics.n_items = N + 3;
        assert_text(0.125,
                    "{\"name\":\"film\",\"n_chips\":3,\"area_fraction\":0.25,\"area_pixels\":40,"
                    "\"area_nm2\":5.0,\"mean_probability\":0.75,\"n_regions_4\":4,"
                    "\"n_regions_8\":2,\"mean_region_chips\":1.5,\"mean_region_area_nm2\":2.5,"
                    "\"fraction_estimate\":null}");
    }
}

static void assert_corrupt(uint32_t class_index, const char *message)
{
    const struct statistics_scale scale = {1.0, 1};
    struct error err;
    json_t *object = json_object();
    assert_int_equal(statistics_json_add(object, &statistics, class_index, &scale, &err),
                     ERROR_CORRUPT);
    assert_string_equal(err.message, message);
    json_decref(object);
}

static void what_is_missing_or_no_count_is_corrupt(void **state)
{
    (void)state;
    assert_corrupt(0, "class 0 has no area_fraction");
    assert_corrupt(2, "class 2 has no n_chips");
    const double impossible[] = {-1.0, 1e300};
    for (int i = 0; i < 2; i++) {
        with_chips[N].value = impossible[i];
        assert_corrupt(1, "class 1 has no n_chips");
    }
}

static void chips_without_a_class_are_told_apart(void **state)
{
    (void)state;
    struct statistic of_image[] = {
        {STATISTIC_OF_IMAGE, STATISTIC_UNKNOWN_CHIPS, "", 3, NAN, NAN},
        {STATISTIC_OF_IMAGE, STATISTIC_UNKNOWN_PIXELS, "", 40, NAN, NAN},
    };
    const struct statistics some = {of_image, 2};
    struct error err;
    json_t *object = json_object();
    assert_int_equal(statistics_json_add_no_classes(object, &some, 0.25, NULL), 0);
    char *text = json_dumps(object, JSON_COMPACT);
    assert_string_equal(text,
                        "{\"undecided\":{\"n_chips\":0,\"area_pixels\":0,\"area_nm2\":0.0},"
                        "\"unknown\":{\"n_chips\":3,\"area_pixels\":40,\"area_nm2\":10.0},"
                        "\"not_analysed\":{\"n_chips\":0,\"area_pixels\":0,\"area_nm2\":0.0}}");
    free(text);
    of_image[0].value = -1.0;
    assert_int_equal(statistics_json_add_no_classes(object, &some, NAN, &err), ERROR_CORRUPT);
    assert_string_equal(err.message, "unknown_chips is no number of chips");
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_class_is_told_in_one_order, set_up),
        cmocka_unit_test_setup(areas_are_those_of_the_map, set_up),
        cmocka_unit_test(chips_without_a_class_are_told_apart),
        cmocka_unit_test_setup(what_is_missing_or_no_count_is_corrupt, set_up),
    };
    return test_run(tests);
}
