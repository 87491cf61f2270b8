/* Who gets a connection when there are many. */
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

#include "tests/http/client.h"
#include "tests/http/server.h"

#define HOST "Host: localhost\r\n"

static void start(struct server_process *server, const char *max)
{
    const char *const arguments[] = {"--max-connections", max, NULL};
    server_start(server, &(struct server_options){.arguments = arguments});
}

static void stop(struct server_process *server)
{
    assert_int_equal(server_stop(server, SIGTERM), 0);
    server_clear(server);
}

/* A connection that was answered and is left open. */
static int open_idle(const struct server_process *server)
{
    char out[4096];
    int fd = raw_connect(server->port);
    raw_print(fd, "GET /livez HTTP/1.1\r\n" HOST "\r\n");
    raw_read_until(fd, "alive", out, sizeof(out));
    return fd;
}

/* A request whose body is on its way, from an address, perhaps with a key; `out` has what the
 * server said to its head: 100, or a refusal and the end. */
static int open_running(const struct server_process *server, const char *address, const char *token,
                        char *out, size_t size)
{
    char text[512];
    int fd = raw_connect_from(address, server->port);
    snprintf(text, sizeof(text),
             "POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
             "%s%s%sContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
             token != NULL ? "Authorization: Bearer " : "", token != NULL ? token : "",
             token != NULL ? "\r\n" : "");
    raw_print(fd, text);
    raw_read_until(fd, "\r\n\r\n", out, size);
    return fd;
}

static void expect_running(int fd, const char *out)
{
    if (strncmp(out, "HTTP/1.1 100 ", 13) != 0)
        fail_msg("%d: %s", fd, out);
}

/* The rest of the answer, after `out`, says what is used up. */
static void expect_refusal(int fd, const char *out, const char *limit)
{
    char rest[4096], all[8192];
    raw_read_to_end(fd, rest, sizeof(rest));
    snprintf(all, sizeof(all), "%s%s", out, rest);
    if (strncmp(all, "HTTP/1.1 503 ", 13) != 0 || strstr(all, "Retry-After: 1\r\n") == NULL ||
        strstr(all, limit) == NULL)
        fail_msg("%s", all);
    close(fd);
}

static void close_all(const int *fds, size_t n)
{
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

/* How many the server has closed. */
static size_t count_closed(const int *fds, size_t n)
{
    size_t n_closed = 0;
    for (size_t i = 0; i < n; i++)
        n_closed += raw_wait(fds[i], 0) == 1;
    return n_closed;
}

static void expect_service(const struct server_process *server)
{
    char out[4096];
    int status = raw_exchange(
        server->port, "GET /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", out, sizeof(out));
    assert_int_equal(status, 200);
}

static void idle_ones_shut_nobody_out(void **state)
{
    (void)state;
    enum { MAX = 16 };
    struct server_process server;
    server_init(&server);
    start(&server, "16");
    int idle[MAX];
    for (int i = 0; i < MAX; i++)
        idle[i] = open_idle(&server);
    expect_service(&server);
    assert_int_equal(count_closed(idle, MAX), 1); /* it made room */
    close_all(idle, MAX);
    stop(&server);
}

static void slow_beginners_shut_nobody_out(void **state)
{
    (void)state;
    enum { N = 64 };
    static const char *const beginnings[] = {"", "GET /liv", "GET /livez HTTP/1.1\r\n",
                                             "GET /livez HTTP/1.1\r\n" HOST "X-A: "};
    for (size_t k = 0; k < sizeof(beginnings) / sizeof(beginnings[0]); k++) {
        struct server_process server;
        server_init(&server);
        start(&server, "16");
        int slow[N];
        for (int i = 0; i < N; i++) {
            slow[i] = raw_connect(server.port);
            raw_print(slow[i], beginnings[k]);
        }
        expect_service(&server);
        close_all(slow, N);
        stop(&server);
    }
}

static void an_address_has_its_share(void **state)
{
    (void)state;
    enum { MAX = 8, SHARE = 4 };
    struct server_process server;
    server_init(&server);
    /* By the environment, of which a program that does not know the limit says nothing. */
    setenv("CHIPSHOT_MAX_CONNECTIONS_PER_CLIENT", "4", 1);
    start(&server, "8");
    unsetenv("CHIPSHOT_MAX_CONNECTIONS_PER_CLIENT");
    int greedy[MAX], refused = 0;
    char out[4096];
    for (int i = 0; i < MAX; i++) {
        greedy[i] = open_running(&server, "127.0.0.2", NULL, out, sizeof(out));
        if (strncmp(out, "HTTP/1.1 503 ", 13) == 0 && refused++ == 0) {
            assert_int_equal(i, SHARE);
            expect_refusal(greedy[i], out, "max-connections-per-client");
            greedy[i] = -1;
        }
    }
    int other = open_running(&server, "127.0.0.3", NULL, out, sizeof(out));
    expect_running(other, out);
    assert_int_equal(refused, MAX - SHARE);
    /* What is running goes on. */
    raw_print(greedy[0], "{\"name\":\"p\"}");
    raw_read_until(greedy[0], "201 Created", out, sizeof(out));
    close_all(greedy, MAX);
    close(other);
    stop(&server);
}

static void a_key_counts_for_itself_behind_a_proxy(void **state)
{
    (void)state;
    struct server_process server;
    char tokens[2][128], out[4096];
    server_init(&server);
    for (int i = 0; i < 2; i++)
        server_create_key(&server, tokens[i], sizeof(tokens[i]));
    setenv("CHIPSHOT_MAX_CONNECTIONS_PER_CLIENT", "4", 1);
    start(&server, "8");
    unsetenv("CHIPSHOT_MAX_CONNECTIONS_PER_CLIENT");
    int fds[8];
    for (int i = 0; i < 4; i++) {
        fds[i] = open_running(&server, "127.0.0.1", tokens[0], out, sizeof(out));
        expect_running(fds[i], out);
    }
    int fd = open_running(&server, "127.0.0.1", tokens[0], out, sizeof(out));
    expect_refusal(fd, out, "max-connections-per-client");
    for (int i = 4; i < 8; i++) {
        fds[i] = open_running(&server, "127.0.0.1", tokens[1], out, sizeof(out));
        expect_running(fds[i], out);
    }
    fd = open_running(&server, "127.0.0.3", NULL, out, sizeof(out));
    expect_refusal(fd, out, "max-connections allows");
    close_all(fds, 8);
    stop(&server);
}

static void some_connections_are_kept_for_keys(void **state)
{
    (void)state;
    enum { MAX = 16, OPEN = 14 };
    struct server_process server;
    char token[128], out[4096];
    server_init(&server);
    server_create_key(&server, token, sizeof(token));
    start(&server, "16");
    int idle[MAX], keyed[MAX - OPEN];
    for (int i = 0; i < MAX; i++)
        idle[i] = open_idle(&server);
    for (int i = 0; i < MAX - OPEN; i++) {
        keyed[i] = open_running(&server, "127.0.0.1", token, out, sizeof(out));
        expect_running(keyed[i], out);
    }
    /* Those without a key made room for each other before the last places were taken, and for the
     * first of these two, who came without one, too. */
    assert_int_equal(count_closed(idle, MAX), MAX - OPEN + 1);
    close_all(idle, MAX);
    close_all(keyed, MAX - OPEN);
    stop(&server);
}

static void too_few_files_for_the_connections_are_told(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096];
    server_init(&server);
    static const char *const many[] = {"--max-connections", "200", NULL};
    assert_int_not_equal(
        server_refusal(&server, &(struct server_options){.arguments = many, .max_open_files = 512},
                       said, sizeof(said)),
        0);
    assert_non_null(strstr(said, "max-connections: 200 "));
    assert_non_null(strstr(said, " allows 512 "));
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_ones_shut_nobody_out),
        cmocka_unit_test(slow_beginners_shut_nobody_out),
        cmocka_unit_test(an_address_has_its_share),
        cmocka_unit_test(a_key_counts_for_itself_behind_a_proxy),
        cmocka_unit_test(some_connections_are_kept_for_keys),
        cmocka_unit_test(too_few_files_for_the_connections_are_told),
    };
    return test_run(tests);
}
