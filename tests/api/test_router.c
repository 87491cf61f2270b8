#include "tests/api/rig.h"

#include "api/routes.h"

static void every_path_answers_options(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_send(rig, "OPTIONS", NULL, "/v1/projects"), 204);
    assert_string_equal(rig_got(rig, "Allow"), "POST, GET, HEAD, OPTIONS");
    assert_int_equal(rig_send(rig, "OPTIONS", NULL, "/v1/projects/x"), 204);
    assert_string_equal(rig_got(rig, "Allow"), "GET, HEAD, PATCH, DELETE, OPTIONS");
    assert_int_equal(rig_send(rig, "OPTIONS", NULL, "/v1/jobs/x/cancel"), 204);
    assert_string_equal(rig_got(rig, "Allow"), "POST, OPTIONS");
    assert_int_equal(rig_send(rig, "OPTIONS", NULL, "*"), 204);
    assert_int_equal(rig_send(rig, "OPTIONS", NULL, "/nothing"), 404);
}

/* Each row of the table is reached by its own pattern: none hides behind another. */
static void every_route_is_reached(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < n_routes; i++) {
        char target[200];
        size_t length = 0;
        for (const char *c = routes[i].pattern; *c != '\0'; c++) {
            if (*c == '{') {
                target[length++] = '7';
                c = strchr(c, '}');
            } else {
                target[length++] = *c;
            }
        }
        target[length] = '\0';
        rig_send(rig, routes[i].method, NULL, "%s", target);
        assert_string_equal(rig->response.operation_id, routes[i].operation_id);
        assert_string_equal(rig->response.route, routes[i].pattern);
        if (strcmp(routes[i].method, "GET") == 0) {
            int status = rig->response.status;
            assert_int_equal(rig_send(rig, "HEAD", NULL, "%s", target), status);
        }
    }
}

static void unknown_paths_and_methods_are_problems(void **state)
{
    struct rig *rig = *state;
    static const char *const paths[] = {"/",
                                        "/v1",
                                        "/v1/project",
                                        "/v1/projects/",
                                        "//v1/projects",
                                        "/v1/projects/a/b/c/d/e/f/g/h/i/j",
                                        "/v1/images/a/chips/.png",
                                        "/v1/images/a/chips/1,.png",
                                        "/V1/projects"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        rig_send(rig, "GET", NULL, "%s", paths[i]);
        rig_assert_problem(rig, 404, "not-found");
        assert_string_equal(rig_text(rig, "/instance"), paths[i]);
        assert_false(rig->begun);
    }
    rig_send(rig, "DELETE", NULL, "/livez");
    rig_assert_problem(rig, 405, "method-not-allowed");
    assert_string_equal(rig_got(rig, "Allow"), "GET, HEAD, OPTIONS");
    rig_send(rig, "BREW", NULL, "/v1/projects");
    rig_assert_problem(rig, 405, "method-not-allowed");
    rig_send(rig, "get", NULL, "/livez");
    rig_assert_problem(rig, 405, "method-not-allowed");
    rig_send(rig, "HEAD", NULL, "/v1/jobs/x/cancel");
    rig_assert_problem(rig, 405, "method-not-allowed");
}

static void malformed_targets_are_problems(void **state)
{
    struct rig *rig = *state;
    static const char *const targets[] = {"/v1/projects/%00", "/v1/%zz", "/v1/projects?limit=%",
                                          "/\xff\xfe", "livez"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        rig_send(rig, "GET", NULL, "%s", targets[i]);
        rig_assert_problem(rig, 400, "malformed");
    }
    /* An encoded slash does not make two segments. */
    rig_send(rig, "GET", NULL, "/v1/projects%%2Fx");
    rig_assert_problem(rig, 404, "not-found");
    rig_send(rig, "GET", NULL, "/v1/projects/a%%2Fb");
    rig_assert_problem(rig, 404, "not-found");
    assert_string_equal(rig->response.operation_id, "getProject");
}

static void query_faults_are_all_named(void **state)
{
    struct rig *rig = *state;
    rig_send(rig, "GET", NULL, "/v1/projects?limit=0&colour=red&limit=3&cursor=!!&x");
    rig_assert_problem(rig, 422, "invalid");
    rig_assert_fault(rig, 5, "limit", "must be an integer from 1 to 1000, is '0'");
    rig_assert_fault(rig, 5, "limit", "more than once");
    rig_assert_fault(rig, 5, "colour", "not a known query parameter");
    rig_assert_fault(rig, 5, "cursor", "is no cursor");
    rig_assert_fault(rig, 5, "x", "not a known");
    static const char *const limits[] = {"", "-1", "1001", "1e2", "99999999999999999999999", "+5"};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        rig_send(rig, "GET", NULL, "/v1/projects?limit=%s", limits[i]);
        rig_assert_fault(rig, 1, "limit", "1 to 1000");
    }
    rig_send(rig, "POST", "{\"name\":\"a\"}", "/v1/projects?dry_run=1");
    rig_assert_fault(rig, 1, "dry_run", "not a known");
    assert_false(rig->begun);
}

static void accept_is_honoured(void **state)
{
    struct rig *rig = *state;
    rig_header(rig, "Accept", "text/html;q=0.9, image/*");
    rig_send(rig, "GET", NULL, "/v1/projects");
    rig_assert_problem(rig, 406, "not-acceptable");
    rig_header(rig, "ACCEPT", "text/html, */*;q=0.1");
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/projects"), 200);
}

static void bodies_are_refused_before_they_are_read(void **state)
{
    struct rig *rig = *state;
    rig_header(rig, "Content-Length", "1048577");
    rig_header(rig, "Content-Type", "application/json");
    rig_send(rig, "POST", NULL, "/v1/projects");
    rig_assert_problem(rig, 413, "too-large");
    assert_false(rig->begun);
    assert_non_null(strstr(rig_text(rig, "/detail"), "1048576"));
    rig_header(rig, "Content-Length", "12x");
    rig_header(rig, "Content-Type", "application/json");
    rig_send(rig, "POST", NULL, "/v1/projects");
    rig_assert_problem(rig, 400, "malformed");
    rig_header(rig, "Content-Length", "5");
    rig_send(rig, "GET", NULL, "/v1/projects");
    rig_assert_problem(rig, 413, "too-large");
    static const char *const types[] = {"application/x-www-form-urlencoded", "text/json", ""};
    for (int i = 0; i < 3; i++) {
        rig_header(rig, "Content-Length", "2");
        rig_header(rig, "Content-Type", types[i]);
        rig_send(rig, "POST", NULL, "/v1/projects");
        rig_assert_problem(rig, 415, "unsupported-media-type");
        assert_false(rig->begun);
    }
    rig_header(rig, "Transfer-Encoding", "chunked");
    rig_send(rig, "POST", NULL, "/v1/projects");
    rig_assert_problem(rig, 415, "unsupported-media-type");
    rig_header(rig, "Content-Length", "2");
    rig_header(rig, "Content-Type", "application/json");
    rig_header(rig, "Content-Encoding", "gzip");
    rig_send(rig, "POST", NULL, "/v1/projects");
    rig_assert_problem(rig, 415, "unsupported-media-type");
    assert_int_equal(rig_upload(rig, "image/tiff", "x", 1, "/v1/projects/x/images"), 415);
}

static void a_body_over_the_limit_is_refused_without_a_length_too(void **state)
{
    struct rig *rig = *state;
    char *body = malloc(1048578);
    memset(body, ' ', 1048577);
    body[1048577] = '\0';
    struct api_header headers[] = {{"Content-Type", "application/json"}};
    struct api_request request = {.method = "POST",
                                  .target = "/v1/projects",
                                  .headers = headers,
                                  .n_headers = 1,
                                  .body = body,
                                  .body_size = 1048577};
    api_response_clear(&rig->response);
    api_handle(rig->api, &request, NULL, &rig->response);
    assert_int_equal(rig->response.status, 413);
    free(body);
}

static void problems_of_the_http_layer_look_the_same(void **state)
{
    struct rig *rig = *state;
    struct api_request request = {.method = "GET", .target = "/x?secret=1", .request_id = "r"};
    api_response_clear(&rig->response);
    api_problem(&request, 431, NULL, "the header has 70000 bytes, 65536 are allowed",
                &rig->response);
    json_decref(rig->json);
    rig->json = json_loadb(rig->response.body, rig->response.body_size, 0, NULL);
    assert_int_equal(rig->response.status, 431);
    assert_string_equal(rig_text(rig, "/title"), "Request Header Fields Too Large");
    assert_string_equal(rig_text(rig, "/type"), "about:blank");
    assert_string_equal(rig_text(rig, "/instance"), "/x");
    /* A target that never became text. */
    request = (struct api_request){.method = "", .target = NULL};
    api_problem(&request, 400, "Odd", "bad \xff byte", &rig->response);
    json_decref(rig->json);
    rig->json = json_loadb(rig->response.body, rig->response.body_size, 0, NULL);
    assert_string_equal(rig_text(rig, "/detail"), "bad ? byte");
    assert_null(json_object_get(rig->json, "instance"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_path_answers_options, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(every_route_is_reached, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(unknown_paths_and_methods_are_problems, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(malformed_targets_are_problems, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(query_faults_are_all_named, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(accept_is_honoured, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(bodies_are_refused_before_they_are_read, rig_setup,
                                        rig_teardown),
        cmocka_unit_test_setup_teardown(a_body_over_the_limit_is_refused_without_a_length_too,
                                        rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(problems_of_the_http_layer_look_the_same, rig_setup,
                                        rig_teardown),
    };
    return test_run(tests);
}
