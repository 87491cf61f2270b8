#include "tests/api/rig.h"

static void a_project_is_created_read_changed_and_deleted(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    assert_int_equal(
        rig_send(rig, "POST",
                 "{\"name\":\"Gr\xc3\xbc\xc3\x9f"
                 "e\",\"description\":\"a\\nb\",\"labels\":{\"k/1\":\"v\",\"e\":\"\"}}",
                 "/v1/projects"),
        201);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_true(db_id_is(id, "prj_"));
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    assert_string_equal(rig_got(rig, "Location"), rig_text(rig, "/links/self"));
    assert_string_equal(rig_text(rig, "/labels/e"), "");
    assert_int_equal(rig_send(rig, "PATCH", "{\"name\":\"b\"}", "/v1/projects/%s", id), 200);
    assert_string_equal(rig_text(rig, "/name"), "b");
    assert_string_equal(rig_text(rig, "/description"), "a\nb");
    assert_int_equal((int)rig_number(rig, "/revision"), 2);
    assert_int_equal(rig_send(rig, "PATCH", "{\"labels\":{}}", "/v1/projects/%s", id), 200);
    assert_int_equal(json_object_size(rig_at(rig, "/labels")), 0);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s", id), 200);
    assert_string_equal(rig_text(rig, "/name"), "b");
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/projects/%s", id), 204);
    rig_send(rig, "GET", NULL, "/v1/projects/%s", id);
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "DELETE", NULL, "/v1/projects/%s", id);
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "PATCH", "{}", "/v1/projects/%s", id);
    rig_assert_problem(rig, 404, "not-found");
}

static void entity_tags_guard_changes(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    rig_send(rig, "POST", "{\"name\":\"a\"}", "/v1/projects");
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    rig_header(rig, "If-None-Match", "W/\"1\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s", id), 304);
    assert_null(rig->response.body);
    assert_string_equal(rig_got(rig, "ETag"), "\"1\"");
    rig_header(rig, "If-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "PATCH", "{\"name\":\"b\"}", "/v1/projects/%s", id), 200);
    assert_string_equal(rig_got(rig, "ETag"), "\"2\"");
    rig_header(rig, "If-Match", "\"1\"");
    rig_send(rig, "PATCH", "{\"name\":\"c\"}", "/v1/projects/%s", id);
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_header(rig, "If-Match", "\"1\"");
    rig_send(rig, "DELETE", NULL, "/v1/projects/%s", id);
    rig_assert_problem(rig, 412, "precondition-failed");
    rig_header(rig, "If-None-Match", "\"1\"");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects/%s", id), 200);
    assert_string_equal(rig_text(rig, "/name"), "b");
    rig_header(rig, "If-Match", "*");
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/projects/%s", id), 204);
}

static void every_faulty_field_is_named(void **state)
{
    struct rig *rig = *state;
    rig_send(rig, "POST",
             "{\"nam\":\"x\",\"description\":5,\"labels\":{\"a\":1,\"\":\"x\",\"k\":\"\\u0001\"}}",
             "/v1/projects");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 6, "/name", "is required");
    rig_assert_fault(rig, 6, "/nam", "is not a known key");
    rig_assert_fault(rig, 6, "/description", "must be a string, is a number");
    rig_assert_fault(rig, 6, "/labels/a", "must be a string, is a number");
    rig_assert_fault(rig, 6, "/labels/", "must have 1 to 100 characters, has 0");
    rig_assert_fault(rig, 6, "/labels/k", "control characters");
    rig_send(rig, "POST", "{\"name\":null}", "/v1/projects");
    rig_assert_fault(rig, 1, "/name", "must be a string, is null");
    rig_send(rig, "POST", "[]", "/v1/projects");
    rig_assert_fault(rig, 1, "", "must be an object, is an array");
    char body[1100];
    snprintf(body, sizeof(body), "{\"name\":\"%0201d\"}", 0);
    rig_send(rig, "POST", body, "/v1/projects");
    rig_assert_fault(rig, 1, "/name", "must have 1 to 200 characters, has 201");
    snprintf(body, sizeof(body), "{\"name\":\"%0200d\"}", 0);
    assert_int_equal(rig_send(rig, "POST", body, "/v1/projects"), 201);
    size_t length = (size_t)snprintf(body, sizeof(body), "{\"name\":\"a\",\"labels\":{");
    for (int i = 0; i < 65; i++)
        length += (size_t)snprintf(body + length, sizeof(body) - length, "%s\"%d\":\"\"",
                                   i == 0 ? "" : ",", i);
    snprintf(body + length, sizeof(body) - length, "}}");
    rig_send(rig, "POST", body, "/v1/projects");
    rig_assert_fault(rig, 1, "/labels", "may have 64 labels, has 65");
}

static void malformed_json_is_a_syntax_problem(void **state)
{
    struct rig *rig = *state;
    static const char *const bodies[] = {"{",
                                         "{\"name\":NaN}",
                                         "{\"name\":\"a\",\"name\":\"b\"}",
                                         "{\"name\":\"\xff\"}",
                                         "{\"x\":1e400}",
                                         "{} {}",
                                         "name=a"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        rig_send(rig, "POST", bodies[i], "/v1/projects");
        rig_assert_problem(rig, 400, "malformed");
        assert_non_null(strstr(rig_text(rig, "/detail"), "line 1, column"));
    }
    rig_send(rig, "POST", NULL, "/v1/projects");
    rig_assert_problem(rig, 400, "malformed");
}

static void lists_are_paged_by_cursor(void **state)
{
    struct rig *rig = *state;
    char next[200] = "", names[8] = "";
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects"), 200);
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 0);
    assert_true(json_is_null(rig_at(rig, "/next")));
    for (char c = 'a'; c < 'h'; c++) {
        char body[30];
        snprintf(body, sizeof(body), "{\"name\":\"%c\"}", c);
        rig_send(rig, "POST", body, "/v1/projects");
    }
    for (int page = 0; page < 3; page++) {
        assert_int_equal(
            rig_send(rig, "GET", NULL, "/v1/projects?limit=3%s%s", page ? "&cursor=" : "", next),
            200);
        json_t *items = rig_at(rig, "/items");
        for (size_t i = 0; i < json_array_size(items); i++) {
            size_t length = strlen(names);
            names[length] = json_string_value(json_object_get(json_array_get(items, i), "name"))[0];
        }
        if (page == 2)
            break;
        snprintf(next, sizeof(next), "%s", rig_text(rig, "/next"));
        char link[300];
        snprintf(link, sizeof(link), "</v1/projects?limit=3&cursor=%s>; rel=\"next\"", next);
        assert_string_equal(rig_got(rig, "Link"), link);
    }
    assert_string_equal(names, "abcdefg");
    assert_true(json_is_null(rig_at(rig, "/next")));
    assert_string_equal(rig_got(rig, "Link"), "");
    /* A cursor of another list. */
    rig_send(rig, "GET", NULL, "/v1/encoders?cursor=%s", next);
    rig_assert_fault(rig, 1, "cursor", "is no cursor of this list");
}

/* As a script that deletes page by page does. */
static void a_cursor_outlives_its_item(void **state)
{
    struct rig *rig = *state;
    char next[200];
    for (char c = 'a'; c < 'f'; c++) {
        char body[30];
        snprintf(body, sizeof(body), "{\"name\":\"%c\"}", c);
        rig_send(rig, "POST", body, "/v1/projects");
    }
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects?limit=2"), 200);
    snprintf(next, sizeof(next), "%s", rig_text(rig, "/next"));
    char *ids[2] = {strdup(rig_text(rig, "/items/0/id")), strdup(rig_text(rig, "/items/1/id"))};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/projects/%s", ids[i]), 204);
        free(ids[i]);
    }
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects?limit=2&cursor=%s", next), 200);
    assert_string_equal(rig_text(rig, "/items/0/name"), "c");
    assert_string_equal(rig_text(rig, "/items/1/name"), "d");
    assert_false(json_is_null(rig_at(rig, "/next")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_project_is_created_read_changed_and_deleted, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(entity_tags_guard_changes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(every_faulty_field_is_named, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(malformed_json_is_a_syntax_problem, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(lists_are_paged_by_cursor, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_cursor_outlives_its_item, rig_setup, rig_teardown),
    };
    return test_run(tests);
}
