#include "tests/test.h"

#include "api/message/target.h"

static void path_and_query_are_split_before_decoding(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(target_parse(&target, "/v1/a%2Fb/%C3%A4?x=1%262&y&z=a+b%2B&&", NULL), 0);
    assert_int_equal(target.n_segments, 3);
    assert_string_equal(target.segments[0], "v1");
    assert_string_equal(target.segments[1], "a/b");
    assert_string_equal(target.segments[2], "\xc3\xa4");
    assert_int_equal(target.n_parameters, 3);
    assert_string_equal(target.parameters[0].value, "1&2");
    assert_string_equal(target.parameters[1].name, "y");
    assert_string_equal(target.parameters[1].value, "");
    assert_string_equal(target.parameters[2].value, "a b+");
    assert_string_equal(target.path, "/v1/a%2Fb/%C3%A4");
    target_clear(&target);
}

static void each_text_is_decoded_once(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(target_parse(&target, "/%2541", NULL), 0);
    assert_string_equal(target.segments[0], "%41");
    target_clear(&target);
}

static void the_absolute_form_is_accepted(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(target_parse(&target, "http://localhost:8080/livez?a=b", NULL), 0);
    assert_int_equal(target.n_segments, 1);
    assert_string_equal(target.segments[0], "livez");
    target_clear(&target);
    assert_int_equal(target_parse(&target, "HTTP://localhost", NULL), 0);
    assert_string_equal(target.path, "/");
    target_clear(&target);
}

static void hostile_targets_are_refused(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "",
        "v1",
        "/%",
        "/%4",
        "/%zz",
        "/a%00b",
        "/?a=%00",
        "/?%00=a",
        "/%ff",
        "/%c0%af",
        "/?a=%ed%a0%80",
        "/a#b",
        "/?a#b",
        "*",
        "/\xff",
        "/?\xc3=a",
        "/%f5%80%80%80",
        "/?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        struct target target = {0};
        struct error err = {0};
        if (target_parse(&target, targets[i], &err) != ERROR_INVALID)
            fail_msg("'%s' was accepted", targets[i]);
        assert_true(strlen(err.message) > 0);
        assert_null(target.storage);
    }
}

static void deep_paths_are_bounded(void **state)
{
    (void)state;
    struct target target;
    assert_int_equal(target_parse(&target, "/1/2/3/4/5/6/7/8/9/10/11", NULL), 0);
    assert_int_equal(target.n_segments, TARGET_SEGMENTS_MAX + 1);
    target_clear(&target);
}

static void encoding_comes_back(void **state)
{
    (void)state;
    char *encoded = target_encode("a/b, \"c\" \xc3\xa4~");
    assert_string_equal(encoded, "a%2Fb%2C%20%22c%22%20%C3%A4~");
    free(encoded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_and_query_are_split_before_decoding),
        cmocka_unit_test(each_text_is_decoded_once),
        cmocka_unit_test(the_absolute_form_is_accepted),
        cmocka_unit_test(hostile_targets_are_refused),
        cmocka_unit_test(deep_paths_are_bounded),
        cmocka_unit_test(encoding_comes_back),
    };
    return test_run(tests);
}
