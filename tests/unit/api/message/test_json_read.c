#include "tests/test.h"

#include "api/message/json_read.h"

static json_t *parsed;

static int parse(const char *text, struct error *err)
{
    json_decref(parsed);
    parsed = NULL;
    return json_parse(text, strlen(text), &parsed, err);
}

static void assert_malformed(const char *text, const char *detail)
{
    struct error err = {0};
    assert_int_equal(parse(text, &err), ERROR_INVALID);
    if (strstr(err.message, detail) == NULL)
        fail_msg("'%s' does not say '%s'", err.message, detail);
}

static void malformed_json_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_malformed("", "empty");
    assert_malformed("{\"a\":\n 1", "line 2, column 2");
    assert_malformed("{\"a\":1} x", "end of file expected");
    assert_malformed("{\"a\":1,\"a\":2}", "duplicate");
    assert_malformed("{\"a\":NaN}", "JSON has no NaN");
    assert_malformed("{\"a\":-Infinity}", "no infinity");
    assert_malformed("{\"a\":1e400}", "must fit a double");
    assert_malformed("{\"a\":99999999999999999999}", "64 bit");
    assert_malformed("{\"a\":\"\xff\"}", "UTF-8");
    assert_malformed("{\"a\":\"\xed\xa0\x80\"}", "UTF-8");
    assert_malformed("{\"a\":\"\\u0000\"}", "\\u0000");
    assert_malformed("{'a':1}", "valid JSON");
    assert_malformed("\"text\"", "valid JSON");
}

static void nesting_is_limited(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 3];
    struct error err = {0};
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    assert_int_equal(parse(text, &err), 0);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    assert_malformed(text, "deeper than 32 levels (byte 32)");
    /* Brackets in strings are text. */
    assert_int_equal(parse("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[\"]", &err),
                     0);
    char *huge = malloc(1 << 20);
    memset(huge, '[', (1 << 20) - 1);
    huge[(1 << 20) - 1] = '\0';
    assert_malformed(huge, "deeper");
    free(huge);
}

struct values {
    const char *name, *text;
    uint32_t count;
    int32_t priority;
    double ratio;
    int sum;
};

static void add(json_t *value, const struct json_at *at, void *context)
{
    uint32_t n;
    if (json_read_uint(value, at, 0, 9, &n))
        ((struct values *)context)->sum += (int)n;
}

static void read_values(struct values *out, struct field_errors *errors)
{
    const struct json_field fields[] = {
        json_string_field("name", JSON_REQUIRED, 1, 5, &out->name),
        json_text_field("text", JSON_OPTIONAL, 0, 100, &out->text),
        json_uint_field("count", JSON_NULLABLE, 1, 4294967295u, &out->count),
        json_int_field("priority", JSON_OPTIONAL, -100, 100, &out->priority),
        json_number_field("ratio", JSON_OPTIONAL, 0, 1, &out->ratio),
        json_array_field("list", JSON_OPTIONAL, 1, 3, add, out),
    };
    struct json_at at = {.errors = errors};
    json_read_object(parsed, &at, fields, 6);
}

static void right_values_are_read(void **state)
{
    (void)state;
    struct values out = {0};
    struct field_errors errors = {0};
    assert_int_equal(parse("{\"name\":\"\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\","
                           "\"text\":\"a\\n\\tb\",\"count\":4294967295,\"priority\":-100,"
                           "\"ratio\":0.5,\"list\":[1,2.0,3]}",
                           NULL),
                     0);
    read_values(&out, &errors);
    assert_false(field_errors_any(&errors));
    assert_int_equal(strlen(out.name), 13);
    assert_string_equal(out.text, "a\n\tb");
    assert_int_equal(out.count, 4294967295u);
    assert_int_equal(out.priority, -100);
    assert_true(out.ratio == 0.5);
    assert_int_equal(out.sum, 6);
    assert_int_equal(parse("{\"name\":\"a\",\"count\":null}", NULL), 0);
    out.count = 7;
    read_values(&out, &errors);
    assert_false(field_errors_any(&errors));
    assert_int_equal(out.count, 7);
}

static void assert_fault(const struct field_errors *errors, const char *pointer, const char *detail)
{
    for (size_t i = 0; i < errors->n_items; i++) {
        if (strcmp(errors->items[i].name, pointer) == 0 &&
            strcmp(errors->items[i].detail, detail) == 0)
            return;
    }
    for (size_t i = 0; i < errors->n_items; i++)
        print_message("%s: %s\n", errors->items[i].name, errors->items[i].detail);
    fail_msg("no fault %s: %s", pointer, detail);
}

static void every_fault_is_collected(void **state)
{
    (void)state;
    struct values out = {0};
    struct field_errors errors = {0};
    assert_int_equal(parse("{\"text\":7,\"count\":0,\"priority\":1.5,\"ratio\":-0.1,"
                           "\"list\":[1,\"x\",3,4],\"nam\":1,\"a/b~c\":2}",
                           NULL),
                     0);
    read_values(&out, &errors);
    assert_fault(&errors, "/name", "is required");
    assert_fault(&errors, "/text", "must be a string, is a number");
    assert_fault(&errors, "/count", "must be an integer from 1 to 4294967295, is 0");
    assert_fault(&errors, "/priority", "must be an integer from -100 to 100, is 1.5");
    assert_fault(&errors, "/ratio", "must be a number from 0 to 1, is -0.1");
    assert_fault(&errors, "/list", "must have 1 to 3 elements, has 4");
    assert_fault(&errors, "/nam", "is not a known key");
    assert_fault(&errors, "/a~1b~0c", "is not a known key");
    assert_int_equal(errors.n_items, 8);
    field_errors_clear(&errors);
    assert_int_equal(
        parse("{\"name\":\"\",\"text\":\"\\u0007\",\"list\":[1,\"x\",12],\"ratio\":null}", NULL),
        0);
    read_values(&out, &errors);
    assert_fault(&errors, "/name", "must have 1 to 5 characters, has 0");
    assert_fault(&errors, "/text", "must not hold control characters, has U+0007");
    assert_fault(&errors, "/list/1", "must be an integer from 0 to 9, is a string");
    assert_fault(&errors, "/list/2", "must be an integer from 0 to 9, is 12");
    assert_fault(&errors, "/ratio", "must be a number from 0 to 1, is null");
    field_errors_clear(&errors);
    assert_int_equal(parse("[1]", NULL), 0);
    read_values(&out, &errors);
    assert_fault(&errors, "", "must be an object, is an array");
    field_errors_clear(&errors);
    assert_int_equal(parse("{\"name\":\"a\\nb\"}", NULL), 0);
    read_values(&out, &errors);
    assert_fault(&errors, "/name", "must not hold control characters, has U+000A");
    field_errors_clear(&errors);
}

static void faults_beyond_the_limit_are_counted(void **state)
{
    (void)state;
    struct field_errors errors = {0};
    for (int i = 0; i < FIELD_ERRORS_MAX + 5; i++)
        field_errors_add(&errors, FIELD_POINTER, "/x", "%d \xff", i);
    assert_int_equal(errors.n_items, FIELD_ERRORS_MAX);
    assert_int_equal(errors.n_dropped, 5);
    assert_string_equal(errors.items[0].detail, "0 ?");
    field_errors_clear(&errors);
    assert_false(field_errors_any(&errors));
}

static void a_key_of_any_length_gives_a_bounded_pointer(void **state)
{
    (void)state;
    struct values out = {0};
    struct field_errors errors = {0};
    char *text = malloc(100000);
    memset(text, '~', 100000);
    memcpy(text, "{\"name\":\"a\",\"", 13);
    memcpy(text + 99990, "\":1}", 5);
    assert_int_equal(parse(text, NULL), 0);
    read_values(&out, &errors);
    assert_int_equal(errors.n_items, 1);
    assert_true(strlen(errors.items[0].name) < 1100);
    field_errors_clear(&errors);
    free(text);
}

static int release(void **state)
{
    (void)state;
    json_decref(parsed);
    parsed = NULL;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(malformed_json_is_refused_with_its_place, release),
        cmocka_unit_test_teardown(nesting_is_limited, release),
        cmocka_unit_test_teardown(right_values_are_read, release),
        cmocka_unit_test_teardown(every_fault_is_collected, release),
        cmocka_unit_test_teardown(faults_beyond_the_limit_are_counted, release),
        cmocka_unit_test_teardown(a_key_of_any_length_gives_a_bounded_pointer, release),
    };
    return test_run(tests);
}
