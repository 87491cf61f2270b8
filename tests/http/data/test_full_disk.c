/* A disk without room: what frees some works, what wants more is refused with the reason, and a
 * server starts. The data directory is a small file system where a test needs one that is full. */
#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum { MIB = 1 << 20, PATIENCE_MS = 60000 };

struct lab {
    struct server_process server;
    struct client *client;
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE];
};

static const struct server_options no_privileges = {.no_privileges = true};

static void start(struct lab *lab, const char *const *arguments)
{
    struct server_options options = no_privileges;
    options.arguments = arguments;
    server_start(&lab->server, &options);
    lab->client = client_create(lab->server.port);
}

static void stop(struct lab *lab)
{
    client_destroy(lab->client);
    lab->client = NULL;
    assert_int_equal(server_stop(&lab->server, SIGTERM), 0);
}

static void open_lab(struct lab *lab)
{
    memset(lab, 0, sizeof(*lab));
    server_init(&lab->server);
    start(lab, NULL);
}

/* Room for all that a server wants, and not much more. */
static void open_small_lab(struct lab *lab)
{
    memset(lab, 0, sizeof(*lab));
    if (!server_init_small(&lab->server, "112m"))
        skip();
    start(lab, NULL);
}

static void close_lab(struct lab *lab)
{
    client_destroy(lab->client);
    server_clear(&lab->server);
}

static void fill(struct lab *lab)
{
    workflow_scene(lab->client, lab->project, lab->image, lab->set);
}

/* Sends a request and returns its status; `detail` is the problem's. */
static long send_plain(struct lab *lab, const char *method, const char *path, const char *body,
                       char detail[512])
{
    struct client_reply reply;
    client_send(lab->client,
                &(struct client_request){.method = method,
                                         .path = path,
                                         .headers = {"Content-Type: application/json"},
                                         .body = body},
                &reply);
    json_t *json = json_loads(reply.body, 0, NULL);
    const char *text = json_string_value(json_object_get(json, "detail"));
    snprintf(detail, 512, "%s", text != NULL ? text : "");
    json_decref(json);
    long status = reply.status;
    client_reply_clear(&reply);
    return status;
}

static void expect_status(struct lab *lab, const char *method, const char *path, long status)
{
    char detail[512];
    long got = send_plain(lab, method, path, NULL, detail);
    if (got != status)
        fail_msg("%s %s: %ld and not %ld: %s", method, path, got, status, detail);
}

static void add_project(struct lab *lab, char path[128])
{
    char id[WORKFLOW_ID_SIZE];
    workflow_project(lab->client, id);
    snprintf(path, 128, "/v1/projects/%s", id);
}

/* Asks until it answers so: what it found holds for a second. */
static void expect_ready(struct lab *lab, long status, const char *text)
{
    struct client_reply reply;
    for (;;) {
        client_get(lab->server.port, "/readyz", &reply);
        const bool there = reply.status == status && strstr(reply.body, text) != NULL;
        client_reply_clear(&reply);
        if (there)
            return;
    }
}

static uint64_t size_of(const struct lab *lab, const char *name, blkcnt_t *n_blocks)
{
    char path[700];
    struct stat status = {0};
    snprintf(path, sizeof(path), "%s/%s", lab->server.data, name);
    if (stat(path, &status) != 0)
        return 0;
    if (n_blocks != NULL)
        *n_blocks = status.st_blocks;
    return (uint64_t)status.st_size;
}

/* A job that goes back to the queue again and again, since its image cannot be read. */
static void put_off_a_job(struct lab *lab, char cancel[128])
{
    char target[128], path[700], job[WORKFLOW_ID_SIZE];
    snprintf(target, sizeof(target), "/v1/images/%s", lab->image);
    json_t *image = workflow_json(lab->client, "GET", target, NULL, 0, 200);
    const char *sha256 = json_string_value(json_object_get(image, "sha256"));
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", lab->server.data, sha256, sha256);
    json_decref(image);
    assert_int_equal(chmod(path, 0), 0);
    workflow_submit(lab->client, lab->project, lab->set, lab->image, job);
    server_wait_log(&lab->server, "event=job_put_off");
    snprintf(cancel, 128, "/v1/jobs/%s/cancel", job);
}

static void add_large_projects(struct lab *lab, char (*paths)[128], int n)
{
    enum { LABELS = 64, VALUE = 1000 };
    json_t *labels = json_object();
    char value[VALUE + 1], key[16];
    memset(value, 'x', VALUE);
    value[VALUE] = '\0';
    for (int i = 0; i < LABELS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        json_object_set_new(labels, key, json_string(value));
    }
    json_t *project = json_pack("{s:s, s:o}", "name", "large", "labels", labels);
    char *body = json_dumps(project, 0);
    for (int i = 0; i < n; i++) {
        json_t *made = workflow_json(lab->client, "POST", "/v1/projects", body, 0, 201);
        snprintf(paths[i], 128, "/v1/projects/%s", json_string_value(json_object_get(made, "id")));
        json_decref(made);
    }
    free(body);
    json_decref(project);
}

/* ---- on a disk that is full ---- */

static void what_frees_room_works_on_a_full_disk(void **state)
{
    (void)state;
    struct lab lab;
    char detail[512], image[128], projects[3][128], job[WORKFLOW_ID_SIZE], path[600];
    open_small_lab(&lab);
    fill(&lab);
    snprintf(path, sizeof(path), "%s/scene/image.png",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    for (int i = 0; i < 3; i++)
        add_project(&lab, projects[i]);
    workflow_upload(lab.client, projects[0] + strlen("/v1/projects/"), path, job);
    snprintf(image, sizeof(image), "/v1/images/%s", job);
    server_fill_disk(&lab.server, 0);
    assert_int_equal(send_plain(&lab, "POST", "/v1/projects", "{\"name\": \"one more\"}", detail),
                     507);
    expect_status(&lab, "GET", image, 200);
    expect_status(&lab, "DELETE", image, 204);
    expect_status(&lab, "GET", image, 404);
    expect_status(&lab, "DELETE", projects[0], 204);
    /* As often as it takes: the reserve is made again of what is free. */
    server_wait_log(&lab.server, "event=disk_short");
    server_fill_disk(&lab.server, 8 * MIB);
    expect_status(&lab, "DELETE", projects[1], 204);
    expect_status(&lab, "DELETE", projects[2], 204);
    server_empty_disk(&lab.server);
    expect_ready(&lab, 200, "\"status\":\"ready\"");
    close_lab(&lab);
}

static void a_job_is_cancelled_on_a_full_disk(void **state)
{
    (void)state;
    struct lab lab;
    char cancel[128];
    open_small_lab(&lab);
    fill(&lab);
    put_off_a_job(&lab, cancel);
    server_fill_disk(&lab.server, 0);
    json_t *json = workflow_json(lab.client, "POST", cancel, NULL, 0, 200);
    json_decref(json);
    *strrchr(cancel, '/') = '\0';
    /* It may just have been running, and then ends by itself. */
    for (bool over = false; !over;) {
        json = workflow_json(lab.client, "GET", cancel, NULL, 0, 200);
        const char *text = json_string_value(json_object_get(json, "state"));
        over = strcmp(text, "cancelled") == 0;
        assert_true(over || strcmp(text, "running") == 0);
        json_decref(json);
    }
    close_lab(&lab);
}

static void a_server_starts_on_a_full_disk(void **state)
{
    (void)state;
    struct lab lab;
    char path[128], detail[512];
    open_small_lab(&lab);
    add_project(&lab, path);
    server_fill_disk(&lab.server, 0);
    stop(&lab);
    server_fill_disk(&lab.server, 0);
    start(&lab, NULL);
    expect_ready(&lab, 503, "disk: ");
    expect_status(&lab, "GET", path, 200);
    assert_int_equal(send_plain(&lab, "POST", "/v1/projects", "{\"name\": \"one more\"}", detail),
                     507);
    expect_status(&lab, "DELETE", path, 204);
    /* Again, after an end that was none. */
    client_destroy(lab.client);
    assert_int_equal(server_stop(&lab.server, SIGKILL), 128 + SIGKILL);
    start(&lab, NULL);
    expect_status(&lab, "GET", path, 404);
    server_empty_disk(&lab.server);
    expect_ready(&lab, 200, "\"status\":\"ready\"");
    close_lab(&lab);
}

/* No file may grow: the database's log is written back and begun anew. */
static void a_log_that_cannot_grow_is_begun_anew(void **state)
{
    (void)state;
    enum { N = 10 };
    struct lab lab = {.client = NULL};
    char paths[N][128];
    server_init(&lab.server);
    server_start(&lab.server, &(struct server_options){.max_file_size = 1 << 30});
    lab.client = client_create(lab.server.port);
    add_large_projects(&lab, paths, N);
    const rlim_t size = size_of(&lab, "chipshot.sqlite-wal", NULL);
    assert_in_range(size, 700000, 4 * MIB);
    const struct rlimit limit = {.rlim_cur = size, .rlim_max = 1 << 30};
    assert_int_equal(prlimit(lab.server.pid, RLIMIT_FSIZE, &limit, NULL), 0);
    for (int i = 0; i < N; i++)
        expect_status(&lab, "DELETE", paths[i], 204);
    close_lab(&lab);
}

/* Of real bytes, and whole again when there is room. */
static void the_reserve_is_given_up_and_made_again(void **state)
{
    (void)state;
    enum { WHOLE = 16 * MIB };
    struct lab lab;
    char path[128];
    blkcnt_t n_blocks = 0;
    open_small_lab(&lab);
    add_project(&lab, path);
    assert_int_equal(size_of(&lab, "reserve", &n_blocks), WHOLE);
    assert_true(n_blocks >= WHOLE / 512);
    server_fill_disk(&lab.server, 0);
    expect_status(&lab, "DELETE", path, 204);
    assert_true(size_of(&lab, "reserve", NULL) < WHOLE);
    server_wait_log(&lab.server, "event=disk_short");
    server_empty_disk(&lab.server);
    server_wait_log(&lab.server, "event=disk_has_room");
    assert_int_equal(size_of(&lab, "reserve", &n_blocks), WHOLE);
    assert_true(n_blocks >= WHOLE / 512);
    close_lab(&lab);
}

/* ---- below the floor ---- */

static void expect_no_room(struct lab *lab, const char *path, const char *type, const char *body)
{
    char header[128];
    struct client_reply reply;
    snprintf(header, sizeof(header), "Content-Type: %s", type);
    client_send(
        lab->client,
        &(struct client_request){.method = "POST", .path = path, .headers = {header}, .body = body},
        &reply);
    if (reply.status != 507)
        fail_msg("%s: %ld %s", path, reply.status, reply.body);
    assert_non_null(strstr(reply.body, "536870912000000 are to stay free (--min-free-space)"));
    client_reply_clear(&reply);
}

static void below_the_floor_nothing_new_is_taken(void **state)
{
    (void)state;
    static const char *const high[] = {"--min-free-space", "500000G", NULL};
    struct lab lab;
    char path[128], target[160], body[256];
    open_lab(&lab);
    fill(&lab);
    add_project(&lab, path);
    stop(&lab);
    start(&lab, high);
    expect_ready(&lab, 503, "536870912000000 are to stay free (--min-free-space)");
    snprintf(body, sizeof(body), "{\"support_set_id\": \"%s\", \"image_ids\": [\"%s\"]}", lab.set,
             lab.image);
    expect_no_room(&lab, "/v1/projects", "application/json", "{\"name\": \"one more\"}");
    expect_no_room(&lab, "/v1/encoders", "application/octet-stream", body);
    snprintf(target, sizeof(target), "/v1/projects/%s/images", lab.project);
    expect_no_room(&lab, target, "image/png", body);
    snprintf(target, sizeof(target), "/v1/projects/%s/support-sets", lab.project);
    expect_no_room(&lab, target, "application/json", body);
    snprintf(target, sizeof(target), "/v1/projects/%s/jobs", lab.project);
    expect_no_room(&lab, target, "application/json", body);
    expect_status(&lab, "GET", path, 200);
    expect_status(&lab, "DELETE", path, 204);
    snprintf(target, sizeof(target), "/v1/images/%s/content", lab.image);
    expect_status(&lab, "GET", target, 200);
    close_lab(&lab);
}

/* Its length would do: no byte of the body is waited for. */
static void an_upload_is_refused_before_its_body(void **state)
{
    (void)state;
    struct lab lab;
    char text[512], out[4096];
    open_small_lab(&lab);
    fill(&lab);
    server_fill_disk(&lab.server, 70 * MIB);
    stop(&lab);
    start(&lab, NULL);
    snprintf(text, sizeof(text),
             "POST /v1/projects/%s/images HTTP/1.1\r\nHost: localhost\r\n"
             "Content-Type: image/png\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
             lab.project, 40 * MIB);
    int fd = raw_connect(lab.server.port);
    raw_print(fd, text);
    raw_read_until(fd, "to stay free", out, sizeof(out));
    close(fd);
    assert_memory_equal(out, "HTTP/1.1 507 ", 13);
    assert_non_null(strstr(out, "of which this would take 41943040"));
    close_lab(&lab);
}

/* ---- without a server ---- */

static int run_data(const struct lab *lab, const char *action, const char *option, char *text,
                    size_t size)
{
    const char *const arguments[] = {"data", action, "--data", lab->server.data, option, NULL};
    return server_run_tool(arguments, text, size);
}

static void put_into_quarantine(const struct lab *lab)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/quarantine/01", lab->server.data);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/quarantine/01/01%062d", lab->server.data, 0);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("somebody's", file);
    assert_int_equal(fclose(file), 0);
}

/* Not even a reserve is there. */
static void room_is_freed_without_a_server(void **state)
{
    (void)state;
    struct lab lab;
    char text[4096], path[700], job[WORKFLOW_ID_SIZE], target[160];
    open_small_lab(&lab);
    fill(&lab);
    workflow_submit(lab.client, lab.project, lab.set, lab.image, job);
    workflow_wait(lab.client, job, "succeeded");
    snprintf(target, sizeof(target), "/v1/images/%s/preview.png", lab.image);
    expect_status(&lab, "GET", target, 200);
    put_into_quarantine(&lab);
    assert_int_equal(run_data(&lab, "free", "--cache", text, sizeof(text)), 1);
    assert_string_equal(text, "");
    assert_int_equal(run_data(&lab, "usage", NULL, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "  quarantine, 1 files\n"));
    assert_non_null(strstr(text, lab.project));
    stop(&lab);
    snprintf(path, sizeof(path), "%s/reserve", lab.server.data);
    assert_int_equal(unlink(path), 0);
    server_fill_disk(&lab.server, 0);

    assert_int_equal(run_data(&lab, "usage", NULL, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "  cache, "));
    assert_int_equal(run_data(&lab, "free", "--cache", text, sizeof(text)), 0);
    assert_int_equal(strncmp(text, "cache: ", 7), 0);
    assert_int_equal(server_count_files(&lab.server, "cache"), 0);
    assert_int_equal(server_count_files(&lab.server, "quarantine"), 1);
    assert_int_equal(run_data(&lab, "free", "--quarantine", text, sizeof(text)), 0);
    assert_string_equal(text, "quarantine: 1 files removed, 4096 bytes\n");
    assert_int_equal(server_count_files(&lab.server, "quarantine"), 0);
    assert_int_equal(run_data(&lab, "free", "--database", text, sizeof(text)), 0);
    assert_int_equal(strncmp(text, "database: of ", 13), 0);
    start(&lab, NULL);
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    expect_status(&lab, "GET", target, 200);
    close_lab(&lab);
}

/* ---- the database's file ---- */

static void wait_until_smaller(const struct lab *lab, uint64_t size)
{
    char path[700], event[4096];
    int watch = inotify_init1(IN_CLOEXEC);
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", lab->server.data);
    assert_true(inotify_add_watch(watch, path, IN_MODIFY) >= 0);
    while (size_of(lab, "chipshot.sqlite", NULL) >= size) {
        struct pollfd waiting = {.fd = watch, .events = POLLIN};
        if (poll(&waiting, 1, PATIENCE_MS) != 1)
            fail_msg("the database's file keeps its %llu bytes",
                     (unsigned long long)size_of(lab, "chipshot.sqlite", NULL));
        assert_true(read(watch, event, sizeof(event)) > 0);
    }
    close(watch);
}

static void the_database_shrinks_after_a_deletion(void **state)
{
    (void)state;
    enum { N = 200 };
    static char paths[N][128];
    struct lab lab;
    char kept[128];
    open_lab(&lab);
    add_large_projects(&lab, paths, N);
    add_project(&lab, kept);
    stop(&lab); /* the log is in the file now */
    start(&lab, NULL);
    assert_true(size_of(&lab, "chipshot.sqlite", NULL) > 10 * MIB);
    for (int i = 0; i < N; i++)
        expect_status(&lab, "DELETE", paths[i], 204);
    wait_until_smaller(&lab, 3 * MIB);
    expect_status(&lab, "GET", kept, 200);
    stop(&lab);
    assert_true(size_of(&lab, "chipshot.sqlite", NULL) < 3 * MIB);
    start(&lab, NULL);
    expect_status(&lab, "GET", kept, 200);
    close_lab(&lab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_frees_room_works_on_a_full_disk),
        cmocka_unit_test(a_job_is_cancelled_on_a_full_disk),
        cmocka_unit_test(a_server_starts_on_a_full_disk),
        cmocka_unit_test(a_log_that_cannot_grow_is_begun_anew),
        cmocka_unit_test(the_reserve_is_given_up_and_made_again),
        cmocka_unit_test(below_the_floor_nothing_new_is_taken),
        cmocka_unit_test(an_upload_is_refused_before_its_body),
        cmocka_unit_test(room_is_freed_without_a_server),
        cmocka_unit_test(the_database_shrinks_after_a_deletion),
    };
    return test_run(tests);
}
