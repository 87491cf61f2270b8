#include "tests/test.h"

#include "api/job/analysis_text.h"

static void a_text_comes_back_as_the_object_it_was(void **state)
{
    (void)state;
    const struct analysis analysis = {0};
    json_t *json = analysis_text_json(&analysis);
    char *text = analysis_text_create(&analysis);
    json_t *back = analysis_text_stored_json(text);
    assert_string_equal(json_string_value(json_object_get(json, "program")), CHIPSHOT_VERSION);
    assert_true(json_equal(json, back));
    json_decref(json);
    json_decref(back);
    free(text);
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
        cmocka_unit_test(a_result_from_before_says_nothing),
        cmocka_unit_test(a_text_that_is_no_object_is_refused),
    };
    return test_run(tests);
}
