#include "tests/test.h"

#include "server/http/request_check.h"

struct trial {
    const char *method;
    const char *target;
    const char *version;
    struct api_header headers[8];
    int status;
};

static size_t n_headers(const struct trial *trial)
{
    size_t n = 0;
    while (n < 8 && trial->headers[n].name != NULL)
        n++;
    return n;
}

static int check(const struct trial *trial, struct request_facts *facts)
{
    char detail[256] = "";
    const struct api_request request = {
        .method = trial->method,
        .target = trial->target,
        .headers = trial->headers,
        .n_headers = n_headers(trial),
    };
    int rc = request_check(&request, trial->version, 500, facts, detail, sizeof(detail));
    assert_true((rc == 0) == (detail[0] == '\0'));
    return rc;
}

#define HOST                                                                                       \
    {                                                                                              \
        "Host", "localhost"                                                                        \
    }
static const char v11[] = "HTTP/1.1", v10[] = "HTTP/1.0";

static const struct trial trials[] = {
    {"GET", "/", v11, {HOST}, 0},
    {"GET", "/", v10, {{0}}, 0},
    {"OPTIONS", "*", v11, {HOST}, 0},
    {"POST", "/x?a=%20", v11, {HOST, {"Content-Length", "0"}}, 0},
    {"POST", "/", v11, {HOST, {"Content-Length", "5"}, {"Expect", "100-Continue"}}, 0},
    {"POST", "/", v11, {HOST, {"transfer-encoding", "Chunked"}}, 0},
    {"GET", "/", v11, {HOST, {"Authorization", "Bearer a"}}, 0},
    {"GET", "/", v11, {HOST, {"Authorization", "Bearer a"}, {"authorization", "Bearer a"}}, 400},
    {"GET", "/", v10, {{"Authorization", "Bearer a"}, {"Authorization", "Basic b"}}, 400},
    /* Framing: everything two parsers could read in two ways. */
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", "chunked"}, {"Content-Length", "5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "5"}, {"Content-Length", "5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "5"}, {"content-length", "6"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "5, 5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "+5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "-5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "0x5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", ""}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "5 "}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length", "18446744073709551621"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length ", "5"}}, 400},
    {"POST", "/", v11, {HOST, {"Content-Length\t", "5"}}, 400},
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", "gzip, chunked"}}, 501},
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", "chunked, identity"}}, 501},
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", "xchunked"}}, 501},
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", "chunked "}}, 501},
    {"POST", "/", v11, {HOST, {"Transfer-Encoding", ""}}, 501},
    {"POST",
     "/",
     v11,
     {HOST, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
     400},
    {"POST", "/", v10, {HOST, {"Transfer-Encoding", "chunked"}}, 400},
    /* Host */
    {"GET", "/", v11, {{0}}, 400},
    {"GET", "/", v11, {HOST, HOST}, 400},
    {"GET", "/", v10, {HOST, {"HOST", "other"}}, 400},
    /* Names and values */
    {"GET", "/", v11, {HOST, {"", "x"}}, 400},
    {"GET", "/", v11, {HOST, {"a b", "x"}}, 400},
    {"GET", "/", v11, {HOST, {"a\x80", "x"}}, 400},
    {"GET", "/", v11, {HOST, {"a", "x\ry"}}, 400},
    {"GET", "/", v11, {HOST, {"a", "x\x7f"}}, 400},
    {"GET", "/", v11, {HOST, {"a", "tab\tand \xc3\xa9"}}, 0},
    /* Expectations, methods, versions */
    {"POST", "/", v11, {HOST, {"Expect", "200-ok"}}, 417},
    {"BREW", "/", v11, {HOST}, 501},
    {"get", "/", v11, {HOST}, 501},
    {"CONNECT", "/", v11, {HOST}, 501},
    {"GET", "/", "HTTP/1.2", {HOST}, 505},
    {"GET", "/", "", {HOST}, 505},
    /* Targets */
    {"GET", "", v11, {HOST}, 400},
    {"GET", "*", v11, {HOST}, 400},
    {"GET", "v1", v11, {HOST}, 400},
    {"GET", "/a b", v11, {HOST}, 400},
    {"GET", "/a\x01", v11, {HOST}, 400},
    {"GET", "/\xc3\xa9", v11, {HOST}, 400},
};

static void requests_are_judged_by_their_head(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        struct request_facts facts;
        int rc = check(&trials[i], &facts);
        if (rc != trials[i].status)
            fail_msg("trial %zu (%s %s): %d, not %d", i, trials[i].method, trials[i].target, rc,
                     trials[i].status);
    }
}

static void facts_tell_whether_a_body_comes(void **state)
{
    (void)state;
    struct request_facts facts;
    struct trial trial = {"POST", "/", v11, {HOST, {"Content-Length", "0012"}}, 0};
    assert_int_equal(check(&trial, &facts), 0);
    assert_true(facts.has_body && !facts.chunked && facts.content_length == 12);
    trial.headers[1].value = "0";
    assert_int_equal(check(&trial, &facts), 0);
    assert_false(facts.has_body);
    trial.headers[1] = (struct api_header){"Transfer-Encoding", "chunked"};
    assert_int_equal(check(&trial, &facts), 0);
    assert_true(facts.has_body && facts.chunked);
}

static void sizes_are_limited(void **state)
{
    (void)state;
    struct request_facts facts;
    char detail[256];
    char *target = malloc(REQUEST_MAX_TARGET_SIZE + 2);
    assert_non_null(target);
    memset(target, '/', REQUEST_MAX_TARGET_SIZE + 1);
    target[REQUEST_MAX_TARGET_SIZE + 1] = '\0';
    struct api_header headers[REQUEST_MAX_HEADERS + 1] = {HOST};
    for (size_t i = 1; i <= REQUEST_MAX_HEADERS; i++)
        headers[i] = (struct api_header){"a", "b"};
    struct api_request request = {
        .method = "GET", .target = target, .headers = headers, .n_headers = 1};
    assert_int_equal(request_check(&request, v11, 9000, &facts, detail, sizeof(detail)), 414);
    target[REQUEST_MAX_TARGET_SIZE] = '\0';
    assert_int_equal(request_check(&request, v11, 9000, &facts, detail, sizeof(detail)), 0);
    request.n_headers = REQUEST_MAX_HEADERS;
    assert_int_equal(request_check(&request, v11, 9000, &facts, detail, sizeof(detail)), 0);
    request.n_headers = REQUEST_MAX_HEADERS + 1;
    assert_int_equal(request_check(&request, v11, 9000, &facts, detail, sizeof(detail)), 431);
    request.n_headers = 1;
    assert_int_equal(
        request_check(&request, v11, REQUEST_MAX_HEADERS_SIZE + 1, &facts, detail, sizeof(detail)),
        431);
    assert_non_null(strstr(detail, "32769"));
    free(target);
}

static void absolute_targets_are_split(void **state)
{
    (void)state;
    size_t size = 9;
    assert_string_equal(request_target_path("/a?b", &size), "/a?b");
    assert_int_equal(size, 0);
    assert_string_equal(request_target_path("HTTP://host:80/a/b", &size), "/a/b");
    assert_int_equal(size, 7);
    assert_null(request_target_path("http://host", &size));
    assert_null(request_target_path("http:///a", &size));
    /* Other schemes stay as they are; request_check then refuses them. */
    assert_string_equal(request_target_path("ftp://host/a", &size), "ftp://host/a");
}

static void ids_and_trace_parents_are_checked(void **state)
{
    (void)state;
    char id[65];
    memset(id, 'a', 64);
    id[64] = '\0';
    assert_false(request_id_is_valid(id));
    assert_true(request_id_is_valid(id + 1));
    assert_true(request_id_is_valid("A-z.0_9"));
    assert_false(request_id_is_valid(""));
    assert_false(request_id_is_valid("a b"));
    assert_false(request_id_is_valid("a\nb"));
    const char *good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_true(request_traceparent_is_valid(good));
    static const char *const bad[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\n01",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(request_traceparent_is_valid(bad[i]));
    assert_string_equal(request_method_name("PATCH"), "PATCH");
    assert_string_equal(request_method_name("patch"), "other");
    assert_string_equal(request_method_name(NULL), "other");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_judged_by_their_head),
        cmocka_unit_test(facts_tell_whether_a_body_comes),
        cmocka_unit_test(sizes_are_limited),
        cmocka_unit_test(absolute_targets_are_split),
        cmocka_unit_test(ids_and_trace_parents_are_checked),
    };
    return test_run(tests);
}
