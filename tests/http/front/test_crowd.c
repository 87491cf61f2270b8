/* Many clients at once: who waits holds up nobody, and neither does who asks for much. Clients are
 * told apart by their addresses, all of them loopback. */
#include "tests/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/api/rig.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/unit/engine/image/png_builder.h"

#define HOST "Host: localhost\r\n"

enum { ROOM = 16384, PATIENCE = 100000 };

/* ---- clients ---- */

static int connect_from(const char *address, uint16_t port)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, address, &here.sin_addr), 1);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &there.sin_addr), 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof(here)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&there, sizeof(there)), 0);
    return fd;
}

static int status_of(const char *answer)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

/* Sends `text` with "Connection: close" in it and reads the whole answer. */
static int ask_from(const char *address, uint16_t port, const char *text, char *out)
{
    int fd = connect_from(address, port);
    raw_print(fd, text);
    raw_read_to_end(fd, out, ROOM);
    close(fd);
    return status_of(out);
}

static size_t count_answered(const int *fds, size_t n)
{
    size_t n_answered = 0;
    for (size_t i = 0; i < n; i++)
        n_answered += raw_wait(fds[i], 0) == 1;
    return n_answered;
}

static size_t count_threads(const struct server_process *server)
{
    char path[64];
    size_t n = 0;
    snprintf(path, sizeof(path), "/proc/%ld/task", (long)server->pid);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(folder);
    return n;
}

/* ---- waiting for a job ---- */

struct waiting {
    struct rig *rig;
    struct server_process server;
    char job[DB_ID_SIZE];
};

/* A server with a job that another one has claimed, for longer than the test takes. */
static void open_waiting(struct waiting *w)
{
    static const char *const arguments[] = {"--max-wait", "600", "--max-connections", "1024", NULL};
    struct db_job job;
    struct db_lease lease;
    void *state = NULL;
    assert_int_equal(rig_setup(&state), 0);
    w->rig = state;
    rig_fill(w->rig);
    rig_add_job(w->rig, w->job);
    assert_int_equal(
        db_job_claim(w->rig->db, "elsewhere", DB_LEASE_MAX_MS, &job, &lease, &w->rig->err), 0);
    db_job_clear(&job);
    data_close(w->rig->data);
    w->rig->data = NULL;
    server_init(&w->server);
    assert_int_equal(rmdir(w->server.data), 0);
    snprintf(w->server.data, sizeof(w->server.data), "%s", w->rig->directory);
    server_start(&w->server, &(struct server_options){.arguments = arguments});
}

static void close_waiting(struct waiting *w)
{
    void *state = w->rig;
    server_clear(&w->server);
    rig_teardown(&state);
}

/* Asks for the job, and to be answered when it has ended. */
static int begin_waiting(struct waiting *w)
{
    char text[256];
    int fd = raw_connect(w->server.port);
    snprintf(text, sizeof(text),
             "GET /v1/jobs/%s HTTP/1.1\r\n" HOST "Prefer: wait=600\r\nConnection: close\r\n\r\n",
             w->job);
    raw_print(fd, text);
    return fd;
}

static void who_waits_takes_no_thread(void **state)
{
    (void)state;
    enum { N_WAITING = 200, N_OTHERS = 20 };
    static const char get[] = "GET /v1/projects HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";
    struct waiting w;
    char out[ROOM];
    int fds[N_WAITING];
    open_waiting(&w);
    assert_int_equal(ask_from("127.0.0.2", w.server.port, get, out), 200);
    const size_t n_threads = count_threads(&w.server);
    for (size_t i = 0; i < N_WAITING; i++)
        fds[i] = begin_waiting(&w);
    for (size_t i = 0; i < N_OTHERS; i++)
        assert_int_equal(ask_from("127.0.0.2", w.server.port, get, out), 200);
    assert_int_equal(count_threads(&w.server), n_threads);
    assert_int_equal(count_answered(fds, N_WAITING), 0);
    /* The end of the server is the end of all waits. */
    assert_int_equal(kill(w.server.pid, SIGTERM), 0);
    for (size_t i = 0; i < N_WAITING; i++) {
        raw_read_to_end(fds[i], out, sizeof(out));
        assert_int_equal(status_of(out), 200);
        assert_non_null(strstr(out, "Preference-Applied: wait=600\r\n"));
        assert_non_null(strstr(out, "\"state\":\"running\""));
        close(fds[i]);
    }
    assert_int_equal(server_stop(&w.server, 0), 0);
    close_waiting(&w);
}

/* ---- dear requests ---- */

enum { SIDE = 16384 };

/* A picture that takes long to decode and little to send, but for its end. */
static struct png_file begin_slow_png(void)
{
    struct png_file file = {0};
    const size_t size = (size_t)(SIDE + 1) * SIDE;
    uint8_t *rows = calloc(size, 1);
    assert_non_null(rows);
    png_add_signature(&file);
    png_add_ihdr(&file, SIDE, SIDE, 8, PNG_GREY, 0);
    png_add_idat(&file, rows, size);
    free(rows);
    return file;
}

/* Each with bytes of its own. */
static struct png_file slow_png(const struct png_file *beginning, unsigned number)
{
    struct png_file file = {0};
    char text[32];
    int size = snprintf(text, sizeof(text), "Comment%c%u", '\0', number);
    png_add_bytes(&file, beginning->data, beginning->size);
    png_add_chunk(&file, "tEXt", text, (size_t)size);
    png_add_iend(&file);
    return file;
}

static struct png_file quick_png(void)
{
    static const uint16_t samples[16] = {0};
    return png_build(&(struct png_pixels){
        .width = 4, .height = 4, .bit_depth = 8, .color_type = PNG_GREY, .samples = samples});
}

struct uploads {
    struct server_process server;
    char path[128]; /* where images go */
    struct png_file slow, quick;
    FILE *log;
    size_t n_posts;
};

static void open_uploads(struct uploads *u, const struct server_options *options)
{
    static const char create[] = "POST /v1/projects HTTP/1.1\r\n" HOST "Connection: close\r\n"
                                 "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
                                 "{\"name\":\"p\"}";
    char out[ROOM];
    server_init(&u->server);
    server_start(&u->server, options);
    assert_int_equal(ask_from("127.0.0.2", u->server.port, create, out), 201);
    const char *id = strstr(out, "\"prj_");
    assert_non_null(id);
    snprintf(u->path, sizeof(u->path), "/v1/projects/%.30s/images", id + 1);
    u->log = fopen(u->server.log, "re");
    assert_non_null(u->log);
    u->n_posts = 0;
    u->slow = begin_slow_png();
    u->quick = quick_png();
}

/* What still runs is not waited for. */
static void close_uploads(struct uploads *u)
{
    fclose(u->log);
    png_file_clear(&u->slow);
    png_file_clear(&u->quick);
    server_clear(&u->server);
}

static int begin_upload(const struct uploads *u, const char *address, const struct png_file *file)
{
    char head[512];
    int fd = connect_from(address, u->server.port);
    snprintf(head, sizeof(head),
             "POST %s HTTP/1.1\r\n" HOST "Content-Type: image/png\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n",
             u->path, file->size);
    raw_print(fd, head);
    raw_write(fd, (const char *)file->data, file->size);
    return fd;
}

static int begin_slow_upload(const struct uploads *u, const char *address, unsigned number)
{
    struct png_file file = slow_png(&u->slow, number);
    int fd = begin_upload(u, address, &file);
    png_file_clear(&file);
    return fd;
}

static int end_upload(int fd)
{
    char out[ROOM];
    raw_read_to_end(fd, out, sizeof(out));
    close(fd);
    if (status_of(out) == 503)
        assert_non_null(strstr(out, "\r\nRetry-After: "));
    return status_of(out);
}

/* One client sends more than it may have waiting; the others are served meanwhile. */
static void a_crowd_of_uploads_holds_up_no_other_client(void **state)
{
    (void)state;
    enum { N = 100 };
    struct uploads u;
    char out[ROOM], get[256];
    int fds[N];
    size_t n_refused = 0, n_stored = 0;
    open_uploads(&u, NULL);
    snprintf(get, sizeof(get), "GET %s HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", u.path);
    for (unsigned i = 0; i < N; i++)
        fds[i] = begin_slow_upload(&u, "127.0.0.3", i);
    assert_int_equal(end_upload(begin_upload(&u, "127.0.0.4", &u.quick)), 201);
    assert_int_equal(ask_from("127.0.0.3", u.server.port, get, out), 200);
    for (size_t i = 0; i < N; i++) {
        if (raw_wait(fds[i], 0) == 0) {
            close(fds[i]);
            continue;
        }
        int status = end_upload(fds[i]);
        n_refused += status == 503;
        n_stored += status == 201;
    }
    assert_true(n_stored < N / 4);
    assert_true(n_refused > 0);
    assert_true(n_refused + n_stored < N / 2);
    close_uploads(&u);
}

static size_t count_images(const struct uploads *u)
{
    char get[256];
    size_t n = 0;
    char *out = calloc(1, 1 << 20);
    assert_non_null(out);
    snprintf(get, sizeof(get), "GET %s HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", u->path);
    int fd = connect_from("127.0.0.2", u->server.port);
    raw_print(fd, get);
    raw_read_to_end(fd, out, 1 << 20);
    close(fd);
    for (const char *at = out; (at = strstr(at, "\"id\":\"img_")) != NULL; at++)
        n++;
    free(out);
    return n;
}

/* POST requests that are over, from what the log has got since the last call. */
static size_t count_posts(struct uploads *u)
{
    char *line = NULL;
    size_t capacity = 0;
    clearerr(u->log);
    for (ssize_t n; (n = getline(&line, &capacity, u->log)) > 0;) {
        if (line[n - 1] != '\n') {
            fseek(u->log, -n, SEEK_CUR);
            break;
        }
        u->n_posts += strstr(line, " method=POST ") != NULL;
    }
    free(line);
    return u->n_posts;
}

/* Uploads that have come and are not over. */
static size_t count_uploads(const struct uploads *u)
{
    char path[600];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/tmp", u->server.data);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat status;
        n += fstatat(dirfd(folder), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode) &&
             (size_t)status.st_size > u->slow.size;
    }
    closedir(folder);
    return n;
}

/* Begins `n` of them, and waits until all of their bodies are there. The requests in between give
 * the server its time. */
static void begin_slow_uploads(struct uploads *u, int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        fds[i] = begin_slow_upload(u, "127.0.0.3", i);
    for (int i = 0; count_posts(u) + count_uploads(u) < 1 + n; i++) {
        assert_true(i < PATIENCE);
        count_images(u);
    }
}

static void work_of_clients_that_are_gone_is_dropped(void **state)
{
    (void)state;
    enum { N = 24 };
    static const struct linger reset = {.l_onoff = 1};
    struct uploads u;
    int fds[N];
    open_uploads(&u, NULL);
    begin_slow_uploads(&u, fds, N);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        close(fds[i]);
    }
    for (int i = 0; count_posts(&u) < 1 + N; i++) {
        assert_true(i < PATIENCE);
        count_images(&u);
    }
    assert_true(count_images(&u) < N / 2);
    close_uploads(&u);
}

/* When the time to drain is over, what waits is not begun. */
static void the_end_of_the_server_drops_what_waits(void **state)
{
    (void)state;
    enum { N = 24 };
    static const char *const no_drain[] = {"--drain-timeout", "0", NULL};
    struct uploads u;
    int fds[N];
    open_uploads(&u, &(struct server_options){.arguments = no_drain});
    const size_t n_before = server_count_files(&u.server, "blobs");
    begin_slow_uploads(&u, fds, N);
    assert_int_equal(server_stop(&u.server, SIGTERM), 0);
    for (size_t i = 0; i < N; i++)
        close(fds[i]);
    assert_int_equal(server_count_files(&u.server, "tmp"), 0);
    assert_true(server_count_files(&u.server, "blobs") - n_before < N / 2);
    close_uploads(&u);
}

/* ---- half-closed connections ---- */

/* The answer is made while the connection is looked at no more, and the end of what the client
 * sends must not be taken for its end. */
static void a_client_that_sends_no_more_is_answered(void **state)
{
    (void)state;
    struct uploads u;
    char out[ROOM], get[256];
    open_uploads(&u, NULL);
    snprintf(get, sizeof(get), "GET %s HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", u.path);
    for (int i = 0; i < 3; i++) {
        int fd = i == 0   ? connect_from("127.0.0.3", u.server.port)
                 : i == 1 ? begin_upload(&u, "127.0.0.3", &u.quick)
                          : begin_slow_upload(&u, "127.0.0.3", 0);
        if (i == 0)
            raw_print(fd, get);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        raw_read_to_end(fd, out, sizeof(out));
        close(fd);
        assert_int_equal(status_of(out), i == 0 ? 200 : 201);
    }
    assert_int_equal(server_stop(&u.server, SIGTERM), 0);
    close_uploads(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_waits_takes_no_thread),
        cmocka_unit_test(a_crowd_of_uploads_holds_up_no_other_client),
        cmocka_unit_test(work_of_clients_that_are_gone_is_dropped),
        cmocka_unit_test(the_end_of_the_server_drops_what_waits),
        cmocka_unit_test(a_client_that_sends_no_more_is_answered),
    };
    return test_run(tests);
}
