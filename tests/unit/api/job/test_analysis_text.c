#include "tests/test.h"

#include <math.h>

#include "api/job/analysis_text.h"

static void a_text_comes_back_as_the_object_it_was(void **state)
{
    (void)state;
    const struct analysis analysis = {.unknown_threshold = NAN};
    json_t *json = analysis_text_json(&analysis);
    char *text = analysis_text_create(&analysis);
    json_t *back = analysis_text_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(json, "program")), CHIPSHOT_VERSION);
    assert_true(json_equal(json, back));
    json_decref(json);
    json_decref(back);
    free(text);
}

static void later_steps_say_what_they_did(void **state)
{
    (void)state;
    const struct analysis neither = {.unknown_threshold = NAN};
    json_t *json = analysis_text_json(&neither);
    assert_null(json_object_get(json, "borders"));
    assert_null(json_object_get(json, "unknown"));
    json_decref(json);
    const struct analysis both = {
        .borders = BORDERS_ASSIGN, .n_assigned = 7, .unknown_threshold = 1.25};
    json = analysis_text_json(&both);
    const json_t *borders = json_object_get(json, "borders");
    const json_t *unknown = json_object_get(json, "unknown");
    assert_int_equal(json_integer_value(json_object_get(borders, "n_assigned")), 7);
    assert_true(json_real_value(json_object_get(unknown, "threshold")) == 1.25);
    json_decref(json);
}

static void a_result_from_before_says_nothing(void **state)
{
    (void)state;
    json_t *json = analysis_text_stored_json(NULL);
    assert_int_equal(json_object_size(json), 0);
    assert_true(json_is_object(json));
    json_decref(json);
}

static void a_text_that_is_no_object_is_refused(void **state)
{
    (void)state;
    assert_null(analysis_text_stored_json("[1]"));
    assert_null(analysis_text_stored_json("{\"program\":"));
    assert_null(analysis_text_stored_json(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_comes_back_as_the_object_it_was),
        cmocka_unit_test(later_steps_say_what_they_did),
        cmocka_unit_test(a_result_from_before_says_nothing),
        cmocka_unit_test(a_text_that_is_no_object_is_refused),
    };
    return test_run(tests);
}
