/* chipshot classify, run as a user runs it: what it takes from the user instead of the file, and
 * what it says of the examples. */
#include "tests/test.h"

#include <jansson.h>

#include "tests/http/tool.h"

/* Pixels of 0.5 x 2 nm, whatever the file says. */
static void the_user_may_say_how_large_pixels_are(void **state)
{
    (void)state;
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("size"));
    tool_assert_done();
    tool_run("classify", "--image", tool_path("size/image.png"), "--support",
             tool_path("size/support.json"), "--out", tool_path("size/out"), "--pixel-size",
             "0.5,2");
    tool_assert_done();
    json_t *json = json_load_file(tool_path("size/out/statistics.json"), 0, NULL);
    json_t *covered = json_object_get(json, "covered");
    assert_float_equal(json_number_value(json_object_get(covered, "area_nm2")),
                       json_number_value(json_object_get(covered, "n_pixels")), 1e-3);
    json_decref(json);
    tool_run("classify", "--image", tool_path("size/image.png"), "--support",
             tool_path("size/support.json"), "--out", tool_path("size/out"), "--pixel-size", "0");
    tool_assert_refused(2, "--pixel-size must be one number of nm");
}

/* Two examples whose classes are exchanged are named, and no others. */
static void classify_names_examples_that_look_wrong(void **state)
{
    (void)state;
    char support[TOOL_PATH_SIZE];
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("wrong"));
    tool_assert_done();
    snprintf(support, sizeof(support), "%s", tool_path("wrong/support.json"));
    tool_run("classify", "--image", tool_path("wrong/image.png"), "--support", support, "--out",
             tool_path("wrong/out"));
    tool_assert_done();
    assert_null(strstr(tool_outcome.err, "looks like"));
    json_t *json = json_load_file(support, 0, NULL);
    json_t *classes = json_object_get(json, "classes");
    json_t *first = json_object_get(json_array_get(classes, 0), "examples");
    json_t *second = json_object_get(json_array_get(classes, 1), "examples");
    json_t *moved = json_incref(json_array_get(first, 0));
    assert_int_equal(json_array_set(first, 0, json_array_get(second, 0)), 0);
    assert_int_equal(json_array_set_new(second, 0, moved), 0);
    assert_int_equal(json_dump_file(json, support, 0), 0);
    json_decref(json);
    tool_run("classify", "--image", tool_path("wrong/image.png"), "--support", support, "--out",
             tool_path("wrong/out"));
    tool_assert_done();
    const char *warning = strstr(tool_outcome.err, "looks like");
    assert_non_null(warning);
    warning = strstr(warning + 1, "looks like");
    assert_non_null(warning);
    assert_null(strstr(warning + 1, "looks like"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_user_may_say_how_large_pixels_are),
        cmocka_unit_test(classify_names_examples_that_look_wrong),
    };
    return test_run(tests);
}
