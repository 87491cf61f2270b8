#include "tests/test.h"

#include <unistd.h>

#include "server/http/listen.h"

static void every_form_listens(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        const char *url;
        bool loopback;
    } trials[] = {
        {"127.0.0.1:0", "http://127.0.0.1:", true},
        {"127.9.8.7:0", "http://127.9.8.7:", true},
        {"localhost:0", "http://127.0.0.1:", true},
        {"0.0.0.0:0", "http://0.0.0.0:", false},
        {":0", "http://", false},
        {"[::1]:0", "http://[::1]:", true},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        struct listener listener;
        struct error err = {0};
        int code = listen_open(&listener, trials[i].address, &err);
        if (code != 0 && trials[i].address[0] == '[')
            continue; /* a machine without IPv6 */
        if (code != 0)
            fail_msg("%s: %s", trials[i].address, err.message);
        assert_memory_equal(listener.url, trials[i].url, strlen(trials[i].url));
        assert_int_not_equal(listener.port, 0);
        assert_int_equal(strtol(strrchr(listener.url, ':') + 1, NULL, 10), listener.port);
        assert_int_equal(listener.loopback, trials[i].loopback);
        close(listener.fd);
    }
}

static void other_forms_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.1:80",
        "example.com:80",
        "[::1]",
        "::1:80x",
        "127.0.0.1:8 0",
        "[127.0.0.1]:80",
        "[]:80",
        "127.0.0.1:-1",
        "127.0.0.1:000000",
        "[::1:80",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct listener listener;
        struct error err = {0};
        if (listen_open(&listener, wrong[i], &err) != ERROR_INVALID)
            fail_msg("taken: '%s' (%s)", wrong[i], err.message);
    }
}

static void a_taken_port_is_told(void **state)
{
    (void)state;
    struct listener first, second;
    struct error err = {0};
    assert_int_equal(listen_open(&first, "127.0.0.1:0", &err), 0);
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%u", first.port);
    assert_int_equal(listen_open(&second, address, &err), ERROR_IO);
    assert_non_null(strstr(err.message, address));
    assert_non_null(strstr(err.message, "in use"));
    close(first.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_listens),
        cmocka_unit_test(other_forms_are_refused),
        cmocka_unit_test(a_taken_port_is_told),
    };
    return test_run(tests);
}
