/* Answers that are made while they are sent, through the real binary: a result of 250,000 chips,
 * stored by hand. */
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/api/rig.h"
#include "tests/http/client.h"
#include "tests/http/server.h"

#define HOST "Host: localhost\r\n"

enum {
    SIDE = 507, /* 500 x 500 chips */
    ROOM = 40 << 20,
    PATIENCE_MS = 60000,
};

struct fixture {
    struct rig *rig;
    struct server_process server;
    char project[128], json[160], csv[160]; /* paths */
};

static void open_fixture(struct fixture *f, const struct server_options *options)
{
    char job[DB_ID_SIZE], image[DB_ID_SIZE];
    void *state = NULL;
    assert_int_equal(rig_setup(&state), 0);
    f->rig = state;
    rig_fill(f->rig);
    rig_add_large_result(f->rig, SIDE, SIDE, job, image);
    snprintf(f->project, sizeof(f->project), "/v1/projects/%s", f->rig->project);
    snprintf(f->json, sizeof(f->json), "/v1/jobs/%s/results/%s", job, image);
    snprintf(f->csv, sizeof(f->csv), "/v1/jobs/%s/results/%s.csv", job, image);
    data_close(f->rig->data);
    f->rig->data = NULL;
    server_init(&f->server);
    assert_int_equal(rmdir(f->server.data), 0);
    snprintf(f->server.data, sizeof(f->server.data), "%s", f->rig->directory);
    server_start(&f->server, options);
}

/* The sanitizers' findings come out as another status. */
static void close_fixture(struct fixture *f)
{
    void *state = f->rig;
    assert_int_equal(server_stop(&f->server, SIGTERM), 0);
    assert_int_equal(server_count_files(&f->server, "tmp"), 0);
    server_clear(&f->server);
    rig_teardown(&state);
}

static void get(struct fixture *f, const char *method, const char *path, const char *header,
                struct client_reply *reply)
{
    struct client *client = client_create(f->server.port);
    client_send(client,
                &(struct client_request){.method = method, .path = path, .headers = {header}},
                reply);
    client_destroy(client);
}

static void assert_header(const struct client_reply *reply, const char *name, const char *wanted)
{
    char value[200];
    const char *got = client_header(reply, name, value, sizeof(value));
    if (wanted == NULL)
        assert_null(got);
    else if (got == NULL)
        fail_msg("no %s", name);
    else
        assert_string_equal(got, wanted);
}

static void assert_unpacks(const struct client_reply *packed, const struct client_reply *plain)
{
    char *back = malloc(ROOM);
    z_stream stream = {.next_in = (Bytef *)packed->body,
                       .avail_in = (uInt)packed->body_size,
                       .next_out = (Bytef *)back,
                       .avail_out = ROOM};
    assert_non_null(back);
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.avail_in, 0);
    assert_int_equal(stream.total_out, plain->body_size);
    assert_memory_equal(back, plain->body, plain->body_size);
    inflateEnd(&stream);
    free(back);
}

static void large_answers_are_chunked_and_compressed(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL);
    const char *const paths[] = {f.json, f.csv};
    for (int i = 0; i < 2; i++) {
        struct client_reply plain, packed, again, head;
        char tag[200], condition[240];
        get(&f, NULL, paths[i], NULL, &plain);
        assert_int_equal(plain.status, 200);
        assert_true(plain.body_size > 12 << 20);
        assert_header(&plain, "Content-Length", NULL);
        assert_header(&plain, "Transfer-Encoding", "chunked");
        assert_header(&plain, "Content-Encoding", NULL);
        assert_non_null(strstr(plain.headers, "Vary: Accept-Encoding"));

        get(&f, NULL, paths[i], "Accept-Encoding: gzip", &packed);
        assert_header(&packed, "Content-Encoding", "gzip");
        assert_non_null(strstr(packed.headers, "Vary: Accept-Encoding"));
        assert_true(packed.body_size < plain.body_size / 5);
        assert_unpacks(&packed, &plain);
        get(&f, NULL, paths[i], "Accept-Encoding: gzip", &again);
        assert_int_equal(again.body_size, packed.body_size);
        assert_memory_equal(again.body, packed.body, packed.body_size);

        get(&f, "HEAD", paths[i], "Accept-Encoding: gzip", &head);
        assert_int_equal(head.status, 200);
        assert_int_equal(head.body_size, 0);
        assert_header(&head, "Content-Encoding", "gzip");
        assert_header(&head, "Content-Length", NULL);
        const struct client_reply *const replies[] = {&plain, &packed, &head};
        for (int k = 0; k < 3; k++) {
            struct client_reply unchanged;
            assert_non_null(client_header(replies[k], "ETag", tag, sizeof(tag)));
            assert_int_equal(strstr(tag, "-gzip\"") != NULL, k > 0);
            snprintf(condition, sizeof(condition), "If-None-Match: %s", tag);
            get(&f, NULL, paths[i], condition, &unchanged);
            assert_int_equal(unchanged.status, 304);
            assert_int_equal(unchanged.body_size, 0);
            assert_header(&unchanged, "ETag", tag);
            client_reply_clear(&unchanged);
        }
        client_reply_clear(&plain);
        client_reply_clear(&packed);
        client_reply_clear(&again);
        client_reply_clear(&head);
    }
    close_fixture(&f);
}

static void a_connection_goes_on_after_a_stream(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL);
    struct client *client = client_create(f.server.port);
    const struct client_request requests[] = {{.path = f.csv}, {.path = "/livez"}, {.path = f.csv}};
    for (int i = 0; i < 3; i++) {
        struct client_reply reply;
        client_send(client, &requests[i], &reply);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.n_connects, i == 0 ? 1 : 0);
        client_reply_clear(&reply);
    }
    client_destroy(client);
    close_fixture(&f);
}

/* Sends GET of `path`; `version` as in "1.0". */
static int ask(struct fixture *f, const char *path, const char *version)
{
    char text[512];
    int fd = raw_connect(f->server.port);
    snprintf(text, sizeof(text), "GET %s HTTP/%s\r\n" HOST "\r\n", path, version);
    raw_print(fd, text);
    assert_int_equal(raw_wait(fd, PATIENCE_MS), 1);
    return fd;
}

/* Reads what comes; returns 0 when the server ends orderly, else errno. The answer is in `out`. */
static int read_to_end(int fd, char *out, size_t *size)
{
    *size = 0;
    for (;;) {
        assert_int_equal(raw_wait(fd, PATIENCE_MS), 1);
        ssize_t n = recv(fd, out + *size, ROOM - *size, 0);
        if (n <= 0)
            return n == 0 ? 0 : errno;
        *size += (size_t)n;
    }
}

/* Not even the end of a body that has no length. */
static void a_head_has_no_body(void **state)
{
    (void)state;
    struct fixture f;
    char text[512], out[4096];
    open_fixture(&f, NULL);
    snprintf(text, sizeof(text), "HEAD %s HTTP/1.1\r\n" HOST "\r\n", f.json);
    assert_int_equal(raw_exchange(f.server.port, text, out, sizeof(out)), 200);
    assert_string_equal(strstr(out, "\r\n\r\n"), "\r\n\r\n");
    close_fixture(&f);
}

/* An old client takes its time; others are served meanwhile. */
static void a_slow_reader_holds_up_nobody(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL);
    enum { N_SLOW = 20 }; /* more than there are database readers */
    int fds[N_SLOW];
    for (int i = 0; i < N_SLOW; i++)
        fds[i] = ask(&f, f.json, "1.0");
    struct client_reply plain, reply;
    get(&f, NULL, f.json, NULL, &plain);
    assert_int_equal(plain.status, 200);
    get(&f, NULL, f.project, NULL, &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    char *answer = malloc(ROOM);
    assert_non_null(answer);
    for (int i = 0; i < N_SLOW; i++) {
        size_t size = 0;
        assert_int_equal(read_to_end(fds[i], answer, &size), 0);
        close(fds[i]);
        assert_memory_equal(answer, "HTTP/1.", 7);
        const char *body = strstr(answer, "\r\n\r\n") + 4;
        assert_int_equal(size - (size_t)(body - answer), plain.body_size);
        assert_memory_equal(body, plain.body, plain.body_size);
    }
    free(answer);
    client_reply_clear(&plain);
    close_fixture(&f);
}

/* Whatever the version, what came is not taken for the whole. */
static void a_stream_that_cannot_go_on_is_cut(void **state)
{
    (void)state;
    static const char *const versions[] = {"1.0", "1.1"};
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        open_fixture(&f, NULL);
        int fd = ask(&f, f.json, versions[i]);
        struct client_reply reply;
        get(&f, "DELETE", f.project, NULL, &reply);
        assert_int_equal(reply.status, 204);
        client_reply_clear(&reply);
        char *answer = malloc(ROOM);
        size_t size = 0;
        assert_non_null(answer);
        assert_int_equal(read_to_end(fd, answer, &size), ECONNRESET);
        close(fd);
        free(answer);
        server_wait_log(&f.server, "outcome=aborted");
        server_wait_log(&f.server, "error=not_found");
        close_fixture(&f);
    }
}

static size_t count_descriptors(const struct fixture *f)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)f->server.pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    size_t n = 0;
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

static void vanished_clients_leave_nothing(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, NULL);
    struct client_reply reply;
    get(&f, NULL, f.csv, NULL, &reply);
    client_reply_clear(&reply);
    const size_t before = count_descriptors(&f);
    for (int i = 0; i < 20; i++)
        close(ask(&f, i % 2 == 0 ? f.json : f.csv, i % 4 < 2 ? "1.0" : "1.1"));
    server_wait_log(&f.server, "outcome=aborted");
    /* The last ones may still be noticed; the requests give the server its time. */
    for (int i = 0; count_descriptors(&f) > before + 5; i++) {
        assert_true(i < 100000);
        get(&f, NULL, "/livez", NULL, &reply);
        client_reply_clear(&reply);
    }
    get(&f, NULL, f.csv, NULL, &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    close_fixture(&f);
}

/* The client sees that what it got is not the whole. */
static void assert_cut(int fd)
{
    char *answer = malloc(ROOM);
    size_t size = 0;
    assert_non_null(answer);
    assert_int_equal(read_to_end(fd, answer, &size), ECONNRESET);
    close(fd);
    free(answer);
}

static void a_client_that_does_not_read_is_cut(void **state)
{
    (void)state;
    static const char *const hasty[] = {"--body-timeout", "1", NULL};
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = hasty});
    int fd = ask(&f, f.json, "1.0");
    server_wait_log(&f.server, "outcome=timeout");
    assert_cut(fd);
    close_fixture(&f);
}

/* The end of the server is not the end of an answer. */
static void answers_are_cut_when_the_server_ends(void **state)
{
    (void)state;
    static const char *const short_drain[] = {"--drain-timeout", "1", NULL};
    struct fixture f;
    open_fixture(&f, &(struct server_options){.arguments = short_drain});
    int fd = ask(&f, f.json, "1.0");
    server_stop(&f.server, SIGTERM);
    assert_cut(fd);
    server_clear(&f.server);
    void *rig = f.rig;
    rig_teardown(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_answers_are_chunked_and_compressed),
        cmocka_unit_test(a_connection_goes_on_after_a_stream),
        cmocka_unit_test(a_head_has_no_body),
        cmocka_unit_test(a_slow_reader_holds_up_nobody),
        cmocka_unit_test(a_stream_that_cannot_go_on_is_cut),
        cmocka_unit_test(vanished_clients_leave_nothing),
        cmocka_unit_test(a_client_that_does_not_read_is_cut),
        cmocka_unit_test(answers_are_cut_when_the_server_ends),
    };
    return test_run(tests);
}
