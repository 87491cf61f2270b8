/* Start, connections, stop. */
#include "tests/test.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

#define HOST "Host: localhost\r\n"

static void connections_are_used_again(void **state)
{
    (void)state;
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    static const struct {
        const char *method, *path;
        long status;
    } steps[] = {
        {"GET", "/livez", 200},    {"HEAD", "/livez", 200},          {"GET", "/v1/none", 404},
        {"DELETE", "/livez", 405}, {"OPTIONS", "/v1/projects", 204}, {"GET", "/metrics", 200},
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        struct client_reply reply;
        client_send(client,
                    &(struct client_request){.method = steps[i].method, .path = steps[i].path},
                    &reply);
        assert_int_equal(reply.status, steps[i].status);
        assert_int_equal(reply.n_connects, i == 0 ? 1 : 0);
        client_reply_clear(&reply);
    }
    client_destroy(client);
    assert_int_equal(server_stop(&server, SIGINT), 0);
    server_clear(&server);
}

static void more_clients_than_connections_are_told_to_wait(void **state)
{
    (void)state;
    struct server_process server;
    static const char *const few[] = {"--max-connections", "2", NULL};
    server_init(&server);
    server_start(&server, &(struct server_options){.arguments = few});
    int held[2];
    char out[4096];
    for (int i = 0; i < 2; i++) {
        held[i] = raw_connect(server.port);
        raw_print(held[i],
                  "POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                  "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
        raw_read_until(held[i], "100 Continue\r\n\r\n", out, sizeof(out));
    }
    static const char request[] = "GET /livez HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
    assert_int_equal(raw_exchange(server.port, request, out, sizeof(out)), 503);
    assert_non_null(strstr(out, "Retry-After: 1\r\n"));
    close(held[0]);
    /* The server hears of it in its own time. */
    int status = 503;
    for (int i = 0; i < 10000 && status != 200; i++)
        status = raw_exchange(server.port, request, out, sizeof(out));
    assert_int_equal(status, 200);
    close(held[1]);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

/* The end comes in one packet with the last bytes: there is no more to be told of afterwards. No
 * timeout is what closes the connection. */
static void a_client_that_sends_no_more_is_let_go(void **state)
{
    (void)state;
    static const char *const patience[] = {
        "--idle-timeout", "3600", "--header-timeout", "3600", "--body-timeout", "3600", NULL};
    static const struct {
        const char *sent;
        size_t n_answers;
    } trials[] = {
        {"GET /livez HTTP/1.1\r\n" HOST "\r\n", 1},
        {"GET /v1/projects HTTP/1.1\r\n" HOST "\r\nGET /livez HTTP/1.1\r\n" HOST "\r\n", 2},
        {"GET /livez HTTP/1.1\r\n" HOST "\r\nGET /v1/pro", 1},
        {"GET /livez HTTP/1.1\r\nHo", 0},
        {"POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
         "Content-Length: 12\r\n\r\n{",
         0},
        {"POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
         "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
         0},
    };
    struct server_process server;
    char out[8192];
    server_init(&server);
    server_start(&server, &(struct server_options){.arguments = patience});
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++) {
        const size_t size = strlen(trials[i].sent);
        int fd = raw_connect(server.port);
        assert_int_equal(send(fd, trials[i].sent, size, MSG_MORE), size);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        raw_read_to_end(fd, out, sizeof(out));
        assert_int_equal(raw_count_answers(out), trials[i].n_answers);
        close(fd);
    }
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

static void running_requests_end_at_shutdown(void **state)
{
    (void)state;
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    char out[8192];
    int idle = raw_connect(server.port);
    raw_print(idle, "GET /livez HTTP/1.1\r\n" HOST "\r\n");
    raw_read_until(idle, "alive", out, sizeof(out));
    int silent = raw_connect(server.port);
    /* A request whose body is on its way: "100 Continue" shows that the server is at it. */
    int busy = raw_connect(server.port);
    raw_print(busy, "POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                    "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
    raw_read_until(busy, "100 Continue\r\n\r\n", out, sizeof(out));
    /* Sent twice at once, as timeout(1) does, it is one signal, whichever thread takes it. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(kill(server.pid, SIGTERM), 0);
    /* The idle one is closed: the shutdown has begun. */
    assert_int_equal(raw_read_to_end(idle, out, sizeof(out)), 0);
    raw_print(busy, "{\"name\":\"p\"}");
    raw_read_to_end(busy, out, sizeof(out));
    assert_memory_equal(out, "HTTP/1.1 201 ", 13);
    assert_non_null(strstr(out, "Connection: close"));
    close(idle);
    close(silent);
    close(busy);
    assert_int_equal(server_stop(&server, 0), 0);
    server_clear(&server);
}

static void wait_for_state(struct client *client, const char *job, const char *state)
{
    char target[256], seen[32] = "";
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    while (strcmp(seen, state) != 0) {
        json_t *json = workflow_json(client, "GET", target, NULL, 0, 200);
        snprintf(seen, sizeof(seen), "%s", json_string_value(json_object_get(json, "state")));
        json_decref(json);
        if (strcmp(seen, "queued") != 0 && strcmp(seen, state) != 0)
            fail_msg("job %s is %s, not %s", job, seen, state);
    }
}

/* Starts a job of several 100,000 chips on one thread, and returns when it runs. */
static void start_long_job(struct client *client)
{
    const char *root = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char directory[512], path[600], text[1024], body[512];
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE];
    snprintf(directory, sizeof(directory), "%s/scene", root);
    const char *const arguments[] = {"simulate", "--scene", "perovskite-on-diamond",
                                     "--out",    directory, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    workflow_project(client, project);
    snprintf(path, sizeof(path), "%s/image.png", directory);
    workflow_upload(client, project, path, image);
    snprintf(path, sizeof(path), "%s/support.json", directory);
    workflow_support(client, project, image, path, 0, set);
    snprintf(text, sizeof(text), "/v1/projects/%s/jobs", project);
    snprintf(
        body, sizeof(body),
        "{\"support_set_id\":\"%s\",\"image_ids\":[\"%s\"],\"encoding\":\"chips\",\"stride\":2}",
        set, image);
    json_t *job = workflow_json(client, "POST", text, body, 0, 202);
    wait_for_state(client, json_string_value(json_object_get(job, "id")), "running");
    json_decref(job);
}

static void a_second_signal_ends_the_wait(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    static const char *const patient[] = {"--drain-timeout", "3600", NULL};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct server_process server;
        char out[65536];
        server_init(&server);
        server_start(&server, &(struct server_options){.arguments = patient});
        struct client *client = client_create(server.port);
        start_long_job(client);
        client_destroy(client);
        /* A request whose body never comes. */
        int busy = raw_connect(server.port);
        raw_print(busy, "POST /v1/projects HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                        "Content-Length: 12\r\nExpect: 100-continue\r\n\r\n");
        raw_read_until(busy, "100 Continue\r\n\r\n", out, sizeof(out));
        assert_int_equal(kill(server.pid, SIGTERM), 0);
        server_wait_log(&server, "event=stopping");
        /* Signals that come together are one; later ones are not waited for with a clock. */
        do {
            assert_int_equal(kill(server.pid, signals[i]), 0);
        } while (!raw_wait(busy, 200));
        server_wait_log(&server, "event=stopping_at_once");
        assert_int_equal(server_stop(&server, 0), 0);
        server_read_log(&server, out, sizeof(out));
        assert_non_null(strstr(out, "state=requeued"));
        close(busy);
        server_clear(&server);
    }
}

static uint64_t log_size(const struct server_process *server)
{
    char path[600];
    struct stat status;
    snprintf(path, sizeof(path), "%s/chipshot.sqlite-wal", server->data);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void asking_for_readiness_is_not_writing(void **state)
{
    (void)state;
    enum { REQUESTS = 300, PAGES_OF_A_LOOK = 2, FRAME = 4096 + 24 };
    struct server_process server;
    struct client_reply reply;
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    const struct client_request request = {.path = "/readyz"};
    const uint64_t before = log_size(&server);
    const int64_t start = clock_now_ms();
    for (int i = 0; i < REQUESTS; i++) {
        client_send(client, &request, &reply);
        assert_int_equal(reply.status, 200);
        client_reply_clear(&reply);
    }
    /* Each look adds the changed page to the write-ahead log; it makes one a second. */
    const uint64_t n_looks = 1 + (uint64_t)(clock_now_ms() - start) / 1000;
    assert_in_range(log_size(&server) - before, 0, n_looks * PAGES_OF_A_LOOK * FRAME);
    client_destroy(client);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

static void a_directory_has_one_server(void **state)
{
    (void)state;
    struct server_process server;
    server_init(&server);
    server_start(&server, NULL);
    struct server_process second = server;
    char said[4096];
    assert_int_not_equal(server_refusal(&second, NULL, said, sizeof(said)), 0);
    assert_non_null(strstr(said, server.data));
    assert_non_null(strstr(said, "another chipshot server is using"));
    struct client_reply reply;
    client_get(server.port, "/livez", &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    /* And after its end another one. */
    server_start(&server, NULL);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

static void a_read_only_directory_is_refused(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096];
    server_init(&server);
    assert_int_equal(chmod(server.data, 0555), 0);
    int status = server_refusal(&server, &(struct server_options){.no_privileges = true}, said,
                                sizeof(said));
    assert_int_not_equal(status, 0);
    assert_true(status < 128);
    assert_non_null(strstr(said, server.data));
    assert_non_null(strstr(said, "denied"));
    server_clear(&server);
}

/* As if a later version had been here: its schema version stands in the file's header, a big-endian
 * number at byte 60 (https://www.sqlite.org/fileformat.html). */
static void a_newer_database_is_refused(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096], path[600];
    server_init(&server);
    server_start(&server, NULL);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", server.data);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 60, SEEK_SET), 0);
    assert_int_equal(fwrite("\0\0\3\xe7", 1, 4, file), 4);
    assert_int_equal(fclose(file), 0);
    int status = server_refusal(&server, NULL, said, sizeof(said));
    assert_true(status > 0 && status < 128);
    assert_non_null(strstr(said, "schema version 999"));
    assert_non_null(strstr(said, "newer chipshot"));
    server_clear(&server);
}

static void wrong_options_are_told(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096];
    server_init(&server);
    static const char *const wrong[][3] = {
        {"--max-json-size", "12Q"}, {"--nonsense"}, {"--listen", "example.com:80"}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_not_equal(server_refusal(&server,
                                            &(struct server_options){.arguments = wrong[i]}, said,
                                            sizeof(said)),
                             0);
        assert_non_null(strstr(said, i == 1 ? "--nonsense" : wrong[i][1]));
        /* One line, the last: a server that got as far as its address may have logged before. */
        const char *refusal = strstr(said, "chipshot: ");
        assert_non_null(refusal);
        assert_ptr_equal(strchr(refusal, '\n'), said + strlen(said) - 1);
    }
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_are_used_again),
        cmocka_unit_test(more_clients_than_connections_are_told_to_wait),
        cmocka_unit_test(a_client_that_sends_no_more_is_let_go),
        cmocka_unit_test(running_requests_end_at_shutdown),
        cmocka_unit_test(a_second_signal_ends_the_wait),
        cmocka_unit_test(asking_for_readiness_is_not_writing),
        cmocka_unit_test(a_directory_has_one_server),
        cmocka_unit_test(a_read_only_directory_is_refused),
        cmocka_unit_test(a_newer_database_is_refused),
        cmocka_unit_test(wrong_options_are_told),
    };
    return test_run(tests);
}
