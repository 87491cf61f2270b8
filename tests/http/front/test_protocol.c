/* The protocol by bare sockets: requests no client should send, and what any client may. */
#include "tests/test.h"

#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

#include "tests/http/client.h"
#include "tests/http/server.h"

static struct server_process server;

static int start(void **state)
{
    (void)state;
    static const char *const arguments[] = {"--max-json-size", "4K", "--max-upload-size", "64K",
                                            NULL};
    server_init(&server);
    server_start(&server, &(struct server_options){.arguments = arguments});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    int status = server_stop(&server, SIGTERM);
    server_clear(&server);
    return status;
}

#define HOST "Host: localhost\r\n"
#define JSON "Content-Type: application/json\r\n"

/* Appended to a refused request: what an attacker would smuggle behind it. */
static const char smuggled[] = "GET /metrics HTTP/1.1\r\n" HOST "\r\n";

static void hostile_requests_are_refused_and_the_connection_closed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } trials[] = {
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON
         "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
         400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON
         "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
         400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON
         "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
         400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON
         "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
         400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON "Content-Length : 2\r\n\r\n{}", 400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON "Transfer-Encoding : chunked\r\n\r\n", 400},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: gzip, chunked\r\n\r\n",
         501},
        {"POST /v1/projects HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: identity\r\n\r\n", 501},
        {"POST /v1/projects HTTP/1.0\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\n", 400},
        {"GET /livez HTTP/1.1\r\n\r\n", 400},
        {"GET /livez HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET /livez HTTP/1.1\r\n" HOST "Expect: magic\r\n\r\n", 417},
        {"GET /live z HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\xff HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET livez HTTP/1.1\r\n" HOST "\r\n", 400},
        {"BREW /livez HTTP/1.1\r\n" HOST "\r\n", 501},
        {"TRACE /livez HTTP/1.1\r\n" HOST "\r\n", 501},
        {"CONNECT localhost:80 HTTP/1.1\r\n" HOST "\r\n", 501},
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        char text[1024], out[8192];
        snprintf(text, sizeof(text), "%s%s", trials[i].text, smuggled);
        int status = raw_exchange(server.port, text, out, sizeof(out));
        /* Later versions of the library find some of these first, as 400: in HTML or, once the head
         * is complete, in our words. */
        bool problem = strstr(out, "application/problem+json") != NULL;
        bool library = status == 400 && (problem || strstr(out, "<html>") != NULL);
        bool ours = problem && status == trials[i].status;
        if (raw_count_answers(out) != 1 || !(ours || library))
            fail_msg("trial %zu: %s", i, out);
        assert_non_null(strstr(out, "Connection: close"));
    }
}

/* Here the library may answer by itself, in HTML or not at all; what counts is that nothing is
 * taken, the connection is closed and the server lives on. tests/gate looks closer. */
static void unparsable_requests_end_the_connection(void **state)
{
    (void)state;
    static const char *const trials[] = {
        "\r\n\r\n\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET /livez\r\n\r\n",
        "GET /livez HTTP/9.9\r\n" HOST "\r\n",
        "GET /livez HTTP/2.0\r\n" HOST "\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /livez HTTP/1.1\r\nno colon here\r\n\r\n",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON "Content-Length: abc\r\n\r\n{}",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON "Content-Length: -1\r\n\r\n{}",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON
        "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "POST /v1/projects HTTP/1.1\r\n" HOST JSON
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{no end of chunk",
    };
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        char out[8192];
        int fd = raw_connect(server.port);
        raw_print(fd, trials[i]);
        raw_read_to_end(fd, out, sizeof(out));
        close(fd);
        if (strstr(out, "HTTP/1.1 2") != NULL)
            fail_msg("trial %zu: %s", i, out);
    }
    struct client_reply reply;
    client_get(server.port, "/livez", &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
}

static void large_heads_are_refused(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    char *text = malloc(SIZE);
    char out[8192];
    assert_non_null(text);

    int n = snprintf(text, SIZE, "GET /%09000d HTTP/1.1\r\n" HOST "\r\n", 0);
    assert_int_equal(raw_exchange(server.port, text, out, sizeof(out)), 414);
    assert_non_null(strstr(out, "8192"));

    n = snprintf(text, SIZE, "GET /livez HTTP/1.1\r\n" HOST "X: %040000d\r\n\r\n", 0);
    assert_int_equal(raw_exchange(server.port, text, out, sizeof(out)), 431);

    n = snprintf(text, SIZE, "GET /livez HTTP/1.1\r\n" HOST);
    for (int i = 0; i < 100; i++)
        n += snprintf(text + n, (size_t)(SIZE - n), "X%d: y\r\n", i);
    snprintf(text + n, (size_t)(SIZE - n), "\r\n");
    assert_int_equal(raw_exchange(server.port, text, out, sizeof(out)), 431);
    assert_non_null(strstr(out, "application/problem+json"));

    /* More than the library takes: closed, whatever it says. */
    snprintf(text, SIZE, "GET /livez HTTP/1.1\r\n" HOST "X: %0250000d\r\n\r\n", 0);
    int fd = raw_connect(server.port);
    raw_print(fd, text);
    raw_read_to_end(fd, out, sizeof(out));
    assert_null(strstr(out, " 200 "));
    close(fd);
    free(text);
}

static void requests_in_one_piece_are_answered_in_order(void **state)
{
    (void)state;
    char out[16384];
    int fd = raw_connect(server.port);
    raw_print(fd,
              "GET /livez HTTP/1.1\r\n" HOST "X-Request-Id: first\r\n\r\n"
              "GET /v1/nothing HTTP/1.1\r\n" HOST "X-Request-Id: second\r\n\r\n"
              "POST /v1/projects HTTP/1.1\r\n" HOST JSON
              "X-Request-Id: third\r\nTransfer-Encoding: chunked\r\n\r\n"
              "5\r\n{\"nam\r\n7\r\ne\":\"p\"}\r\n0\r\nTrailer: x\r\n\r\n"
              "GET /livez HTTP/1.1\r\n" HOST "X-Request-Id: fourth\r\nConnection: close\r\n\r\n");
    raw_read_to_end(fd, out, sizeof(out));
    close(fd);
    assert_int_equal(raw_count_answers(out), 4);
    static const char *const order[] = {"200", "first", "404", "second",
                                        "201", "third", "200", "fourth"};
    const char *at = out;
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        at = strstr(at, order[i]);
        if (at == NULL)
            fail_msg("'%s' is missing or out of order in: %s", order[i], out);
    }
}

static void an_absolute_target_is_taken_apart(void **state)
{
    (void)state;
    char out[8192];
    assert_int_equal(raw_exchange(server.port,
                                  "GET http://localhost:1234/livez HTTP/1.1\r\nHost: evil.com\r\n"
                                  "Connection: close\r\n\r\n",
                                  out, sizeof(out)),
                     200);
    assert_int_equal(raw_exchange(server.port,
                                  "GET http://evil.com/livez HTTP/1.1\r\n" HOST
                                  "Connection: close\r\n\r\n",
                                  out, sizeof(out)),
                     421);
    assert_int_equal(raw_exchange(server.port,
                                  "OPTIONS * HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", out,
                                  sizeof(out)),
                     204);
}

static void every_answer_carries_an_id_and_is_not_sniffed(void **state)
{
    (void)state;
    struct client *client = client_create(server.port);
    static const char *const paths[] = {"/livez", "/v1/nothing", "/metrics"};
    char value[128];
    for (size_t i = 0; i < 3; i++) {
        struct client_reply reply;
        client_send(client, &(struct client_request){.path = paths[i]}, &reply);
        assert_non_null(client_header(&reply, "X-Request-Id", value, sizeof(value)));
        assert_memory_equal(value, "req_", 4);
        assert_string_equal(client_header(&reply, "X-Content-Type-Options", value, sizeof(value)),
                            "nosniff");
        assert_null(client_header(&reply, "Access-Control-Allow-Origin", value, sizeof(value)));
        if (reply.status >= 400)
            assert_string_equal(client_header(&reply, "Cache-Control", value, sizeof(value)),
                                "no-store");
        client_reply_clear(&reply);
    }
    struct client_reply reply;
    client_send(
        client,
        &(struct client_request){.path = "/v1/nothing", .headers = {"X-Request-Id: my.id-7"}},
        &reply);
    assert_string_equal(client_header(&reply, "X-Request-Id", value, sizeof(value)), "my.id-7");
    assert_non_null(strstr(reply.body, "\"my.id-7\""));
    client_reply_clear(&reply);
    client_send(client,
                &(struct client_request){.path = "/livez", .headers = {"X-Request-Id: <script>"}},
                &reply);
    assert_memory_equal(client_header(&reply, "X-Request-Id", value, sizeof(value)), "req_", 4);
    client_reply_clear(&reply);
    client_destroy(client);
}

static void head_is_get_without_a_body(void **state)
{
    (void)state;
    char got[8192], head[8192], length[64];
    raw_exchange(server.port, "GET /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", got,
                 sizeof(got));
    raw_exchange(server.port, "HEAD /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", head,
                 sizeof(head));
    const char *body = strstr(got, "\r\n\r\n") + 4;
    assert_true(strlen(body) > 0);
    snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
    assert_non_null(strstr(head, length));
    assert_string_equal(strstr(head, "\r\n\r\n"), "\r\n\r\n");
}

static void methods_are_told(void **state)
{
    (void)state;
    struct client *client = client_create(server.port);
    struct client_reply reply;
    char allow[128];
    client_send(client, &(struct client_request){.method = "DELETE", .path = "/livez"}, &reply);
    assert_int_equal(reply.status, 405);
    assert_non_null(strstr(client_header(&reply, "Allow", allow, sizeof(allow)), "GET"));
    client_reply_clear(&reply);
    client_send(client, &(struct client_request){.method = "OPTIONS", .path = "/v1/projects"},
                &reply);
    assert_int_equal(reply.status, 204);
    assert_non_null(strstr(client_header(&reply, "Allow", allow, sizeof(allow)), "POST"));
    client_reply_clear(&reply);
    client_destroy(client);
}

static void texts_are_compressed_when_asked(void **state)
{
    (void)state;
    struct client *client = client_create(server.port);
    struct client_reply plain, packed;
    char value[64];
    client_send(client, &(struct client_request){.path = "/metrics"}, &plain);
    client_send(
        client,
        &(struct client_request){.path = "/metrics", .headers = {"Accept-Encoding: br, gzip"}},
        &packed);
    assert_int_equal(packed.status, 200);
    assert_null(client_header(&plain, "Content-Encoding", value, sizeof(value)));
    assert_string_equal(client_header(&packed, "Content-Encoding", value, sizeof(value)), "gzip");
    assert_string_equal(client_header(&plain, "Vary", value, sizeof(value)), "Accept-Encoding");
    assert_true(plain.body_size > 1024 && packed.body_size < plain.body_size);
    assert_memory_equal(packed.body, "\x1f\x8b", 2);
    client_reply_clear(&plain);
    client_reply_clear(&packed);
    client_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_requests_are_refused_and_the_connection_closed),
        cmocka_unit_test(unparsable_requests_end_the_connection),
        cmocka_unit_test(large_heads_are_refused),
        cmocka_unit_test(requests_in_one_piece_are_answered_in_order),
        cmocka_unit_test(an_absolute_target_is_taken_apart),
        cmocka_unit_test(every_answer_carries_an_id_and_is_not_sniffed),
        cmocka_unit_test(head_is_get_without_a_body),
        cmocka_unit_test(methods_are_told),
        cmocka_unit_test(texts_are_compressed_when_asked),
    };
    return test_run_with(tests, start, stop);
}
