#include "tests/test.h"

#include <stdbool.h>

#include "server/http/auth.h"

static void loopback_hosts_are_taken(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "localhost",      "localhost:8080", "LOCALHOST:80", "LocalHost",
        "localhost.",     "localhost.:80",  "127.0.0.1",    "127.0.0.1:1",
        "127.255.0.7:80", "[::1]",          "[::1]:65535",  "[0:0:0:0:0:0:0:1]:80",
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (!auth_host_is_loopback(hosts[i]))
            fail_msg("refused: '%s'", hosts[i]);
    }
}

static void other_hosts_are_refused(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "",
        "evil.com",
        "127.0.0.1.evil.com",
        "127.0.0.1.evil.com:8080",
        "localhost.evil.com",
        "evil.localhost",
        "127.1",
        "127.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.1.",
        "0.0.0.0",
        "0.0.0.0:8080",
        "128.0.0.1",
        "user@127.0.0.1",
        "user@localhost:8080",
        "localhost@evil.com",
        "localhost:80:80",
        "localhost:",
        "localhost:0",
        "localhost:65536",
        "localhost:99999999999",
        "localhost:80a",
        "localhost: 80",
        "localhost ",
        " localhost",
        "localhost/",
        "localhost#",
        "localhost,evil.com",
        "::1",
        "[::1",
        "[::1]x",
        "[::1].evil.com",
        "[::1]:",
        "[::2]",
        "[]",
        "[",
        "[127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%lo]",
        ":8080",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (auth_host_is_loopback(hosts[i]))
            fail_msg("taken: '%s'", hosts[i]);
    }
    assert_false(auth_host_is_loopback(NULL));
}

static void an_origin_is_own_only_with_our_port(void **state)
{
    (void)state;
    const char *host = "localhost:8080";
    assert_true(auth_origin_is_own(AUTH_LOOPBACK, "http://localhost:8080", host, 8080));
    assert_true(auth_origin_is_own(AUTH_LOOPBACK, "http://127.0.0.1:8080", host, 8080));
    assert_true(auth_origin_is_own(AUTH_LOOPBACK, "http://[::1]:8080", host, 8080));
    assert_true(auth_origin_is_own(AUTH_LOOPBACK, "http://localhost", "localhost", 80));
    static const char *const others[] = {
        "null",
        "",
        "http://",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8080",
        "http://evil.com:8080",
        "http://localhost:8080.evil.com",
        "http://localhost:8080/",
        "http://user@localhost:8080",
        "file://localhost:8080",
        "localhost:8080",
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (auth_origin_is_own(AUTH_LOOPBACK, others[i], host, 8080))
            fail_msg("own: '%s'", others[i]);
    }
}

static void an_open_server_compares_origin_and_host(void **state)
{
    (void)state;
    assert_true(auth_origin_is_own(AUTH_OPEN, "http://lab.example:8080", "lab.example:8080", 8080));
    assert_true(auth_origin_is_own(AUTH_OPEN, "https://LAB.example", "lab.example", 8080));
    assert_false(auth_origin_is_own(AUTH_OPEN, "http://lab.example", "lab.example:8080", 8080));
    assert_false(auth_origin_is_own(AUTH_OPEN, "http://evil.com", "lab.example", 8080));
    assert_false(auth_origin_is_own(AUTH_OPEN, "http://evil.com", NULL, 8080));
    assert_false(auth_origin_is_own(AUTH_OPEN, "http://", "", 8080));
}

static void the_mode_fails_closed(void **state)
{
    (void)state;
    static const enum db_keys_state states[] = {DB_KEYS_NEVER, DB_KEYS_THERE, DB_KEYS_GONE,
                                                DB_KEYS_UNREADABLE};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        const enum db_keys_state keys = states[i];
        /* Whatever became of the keys: only where there never was one may loopback do without. */
        assert_int_equal(auth_mode_of(AUTH_POLICY_ONCE_USED, true, keys),
                         keys == DB_KEYS_NEVER ? AUTH_LOOPBACK : AUTH_KEYS);
        assert_int_equal(auth_mode_of(AUTH_POLICY_ONCE_USED, false, keys), AUTH_KEYS);
        assert_int_equal(auth_mode_of(AUTH_POLICY_REQUIRE, true, keys), AUTH_KEYS);
        assert_int_equal(auth_mode_of(AUTH_POLICY_REQUIRE, false, keys), AUTH_KEYS);
        assert_int_equal(auth_mode_of(AUTH_POLICY_NO_AUTH, true, keys), AUTH_LOOPBACK);
        assert_int_equal(auth_mode_of(AUTH_POLICY_NO_AUTH, false, keys), AUTH_OPEN);
    }
}

static void requests_are_judged_by_mode(void **state)
{
    (void)state;
    struct auth_request request = {.target = "/v1/projects", .host = "localhost:8080"};
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_ALLOWED);
    assert_int_equal(auth_check(AUTH_KEYS, &request, 8080), AUTH_TOKEN_NEEDED);
    request.origin = "http://evil.com";
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_CROSS_ORIGIN);
    request.origin = NULL;
    request.sec_fetch_site = "Cross-Site";
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_CROSS_ORIGIN);
    assert_int_equal(auth_check(AUTH_OPEN, &request, 8080), AUTH_CROSS_ORIGIN);
    request.sec_fetch_site = "same-origin";
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_ALLOWED);
    request.host = "rebound.evil.com:8080";
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_MISDIRECTED);
    assert_int_equal(auth_check(AUTH_OPEN, &request, 8080), AUTH_ALLOWED);
    request.host = NULL;
    assert_int_equal(auth_check(AUTH_LOOPBACK, &request, 8080), AUTH_MISDIRECTED);
}

static void only_the_probes_need_no_token(void **state)
{
    (void)state;
    static const char *const probes[] = {"/livez", "/readyz", "/livez?x=1"};
    static const char *const others[] = {"/livez/",  "/LIVEZ",  "/livezz",      "/metrics", "/",
                                         "/%6civez", "//livez", "/v1/../livez", "*"};
    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        struct auth_request request = {.target = probes[i]};
        assert_int_equal(auth_check(AUTH_KEYS, &request, 80), AUTH_ALLOWED);
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct auth_request request = {.target = others[i]};
        assert_int_equal(auth_check(AUTH_KEYS, &request, 80), AUTH_TOKEN_NEEDED);
    }
}

static void bearer_tokens_are_taken_apart(void **state)
{
    (void)state;
    assert_string_equal(auth_bearer_token("Bearer chipshot_a-b_c"), "chipshot_a-b_c");
    assert_string_equal(auth_bearer_token("bEARER   x=="), "x==");
    static const char *const wrong[] = {"",          "Bearer",       "Bearer ",   "Bearerx",
                                        "Basic abc", "Bearer a b",   "Bearer a ", "Bearer\tabc",
                                        " Bearer a", "Bearer \"a\"", "Bearer a,b"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (auth_bearer_token(wrong[i]) != NULL)
            fail_msg("taken: '%s'", wrong[i]);
    }
    assert_null(auth_bearer_token(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loopback_hosts_are_taken),
        cmocka_unit_test(other_hosts_are_refused),
        cmocka_unit_test(an_origin_is_own_only_with_our_port),
        cmocka_unit_test(an_open_server_compares_origin_and_host),
        cmocka_unit_test(the_mode_fails_closed),
        cmocka_unit_test(requests_are_judged_by_mode),
        cmocka_unit_test(only_the_probes_need_no_token),
        cmocka_unit_test(bearer_tokens_are_taken_apart),
    };
    return test_run(tests);
}
