#include "tests/test.h"

#include "api/message/digest.h"
#include "api/message/negotiate.h"

static const char *const offered[] = {"application/json", "text/csv", NULL};

static void accept_chooses_by_weight_then_order(void **state)
{
    (void)state;
    assert_int_equal(negotiate_accept(NULL, offered), 0);
    assert_int_equal(negotiate_accept("", offered), 0);
    assert_int_equal(negotiate_accept("*/*", offered), 0);
    assert_int_equal(negotiate_accept("text/csv", offered), 1);
    assert_int_equal(negotiate_accept("TEXT/*", offered), 1);
    assert_int_equal(negotiate_accept("application/json;q=0.5, text/csv;q=0.501", offered), 1);
    assert_int_equal(negotiate_accept("text/csv;q=0.5, */*;q=0.1", offered), 1);
    assert_int_equal(
        negotiate_accept("text/csv ; header=present ; q=0.2,application/json;q=0.1", offered), 1);
    /* The more specific range decides, wherever it stands. */
    assert_int_equal(negotiate_accept("application/json;q=0, */*", offered), 1);
    assert_int_equal(negotiate_accept("text/html, image/png;q=1", offered), -1);
    assert_int_equal(negotiate_accept("*/*;q=0", offered), -1);
    assert_int_equal(negotiate_accept(",,;q=1,\"a,b\",/", offered), -1);
    assert_int_equal(negotiate_accept("text/html,application/xhtml+xml,application/xml;q=0.9,"
                                      "image/avif,*/*;q=0.8",
                                      offered),
                     0);
}

static void content_type_is_compared_without_parameters(void **state)
{
    (void)state;
    assert_true(negotiate_content_type("Application/JSON; charset=utf-8", offered));
    assert_true(negotiate_content_type(" text/csv", offered));
    assert_false(negotiate_content_type("application/json5", offered));
    assert_false(negotiate_content_type("application", offered));
    assert_false(negotiate_content_type("", offered));
}

static void entity_tags_are_lists(void **state)
{
    (void)state;
    assert_true(negotiate_etag("\"a\"", "\"a\"", ETAG_STRONG));
    assert_true(negotiate_etag("\"x\", \"a\" , \"y\"", "\"a\"", ETAG_STRONG));
    assert_true(negotiate_etag("\"x,y\", \"a\"", "\"a\"", ETAG_STRONG));
    assert_true(negotiate_etag("*", "\"a\"", ETAG_STRONG));
    assert_true(negotiate_etag("W/\"a\"", "\"a\"", ETAG_WEAK));
    assert_false(negotiate_etag("W/\"a\"", "\"a\"", ETAG_STRONG));
    assert_false(negotiate_etag("\"ab\"", "\"a\"", ETAG_WEAK));
    assert_false(negotiate_etag("a", "\"a\"", ETAG_WEAK));
    assert_false(negotiate_etag("", "\"a\"", ETAG_WEAK));
}

static void prefer_is_read_leniently(void **state)
{
    (void)state;
    uint32_t seconds = 0;
    assert_true(negotiate_wait("wait=10", &seconds));
    assert_int_equal(seconds, 10);
    assert_true(negotiate_wait("respond-async, Wait = \"7\"", &seconds));
    assert_int_equal(seconds, 7);
    assert_true(negotiate_wait("wait=99999999999999999999999", &seconds));
    assert_int_equal(seconds, UINT32_MAX);
    assert_false(negotiate_wait("wait=-1", &seconds));
    assert_false(negotiate_wait("wait", &seconds));
    assert_false(negotiate_wait("waiting=3", &seconds));
    assert_false(negotiate_wait("", &seconds));
}

static void a_content_digest_is_checked(void **state)
{
    (void)state;
    /* SHA-256 of "hello" */
    const char *hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const char *right = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
    struct error err;
    assert_int_equal(digest_check(NULL, hex, &err), 0);
    assert_int_equal(digest_check(right, hex, &err), 0);
    assert_int_equal(digest_check("sha-512=:AAAA:, SHA-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQ"
                                  "zYpOLmCQ=:",
                                  hex, &err),
                     0);
    assert_int_equal(digest_check("md5=:AAAA:", hex, &err), 0);
    assert_int_equal(
        digest_check("sha-256=:MPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:", hex, &err),
        ERROR_INVALID);
    assert_non_null(strstr(err.message, hex));
    static const char *const malformed[] = {
        "sha-256",        "sha-256=",       "sha-256=abc", "sha-256=:abc",
        "sha-256=:AAAA:", "sha-256=:!!!!:", "x,y=1"};
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        assert_int_equal(digest_check(malformed[i], hex, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_chooses_by_weight_then_order),
        cmocka_unit_test(content_type_is_compared_without_parameters),
        cmocka_unit_test(entity_tags_are_lists),
        cmocka_unit_test(prefer_is_read_leniently),
        cmocka_unit_test(a_content_digest_is_checked),
    };
    return test_run(tests);
}
