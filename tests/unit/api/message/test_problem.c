#include "tests/test.h"

#include <jansson.h>

#include "api/message/problem.h"

static const struct {
    int code;
    int status;
    const char *type;
    int shown; /* the message reaches the client */
    int retry;
} expected[] = {
    {ERROR_INVALID, 422, "invalid", 1, 0},   {ERROR_NOT_FOUND, 404, "not-found", 1, 0},
    {ERROR_CONFLICT, 409, "conflict", 1, 0}, {ERROR_BUSY, 503, "busy", 1, 1},
    {ERROR_CANCELLED, 503, "busy", 1, 1},    {ERROR_NOMEM, 503, "busy", 1, 1},
    {ERROR_IO, 500, "internal", 0, 0},       {ERROR_FULL, 507, "full", 0, 0},
    {ERROR_CORRUPT, 500, "internal", 0, 0},
};

static void every_error_code_has_one_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct api_request request = {.method = "GET", .target = "/v1/x?y", .request_id = "r-1"};
        struct api_response response;
        struct error err = {.code = expected[i].code, .message = "cannot open /srv/secret \"x\""};
        char type[64];
        api_response_init(&response);
        /* What a handler left behind is dropped. */
        api_response_header(&response, "ETag", "\"1\"");
        response.body = strdup("half");
        problem_respond(&request, problem_of_code(err.code), &err, NULL, &response);
        assert_int_equal(response.status, expected[i].status);
        assert_int_equal(response.error_code, expected[i].code);
        assert_string_equal(response.error_message, err.message);
        json_t *json = json_loadb(response.body, response.body_size, 0, NULL);
        snprintf(type, sizeof(type), "urn:chipshot:problem:%s", expected[i].type);
        assert_string_equal(json_string_value(json_object_get(json, "type")), type);
        assert_string_equal(json_string_value(json_object_get(json, "instance")), "/v1/x");
        assert_int_equal(strstr(response.body, "secret") != NULL, expected[i].shown);
        int retry = 0;
        for (size_t k = 0; k < response.n_headers; k++) {
            assert_string_not_equal(response.headers[k].name, "ETag");
            retry |= strcmp(response.headers[k].name, "Retry-After") == 0;
        }
        assert_int_equal(retry, expected[i].retry);
        json_decref(json);
        api_response_clear(&response);
    }
}

static void a_header_value_cannot_end_its_line(void **state)
{
    (void)state;
    struct api_response response;
    api_response_init(&response);
    api_response_header(&response, "X", "a\r\nSet-Cookie: b");
    assert_string_equal(response.headers[0].value, "a  Set-Cookie: b");
    api_response_clear(&response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_code_has_one_status),
        cmocka_unit_test(a_header_value_cannot_end_its_line),
    };
    return test_run(tests);
}
