/* What is in a data directory is never lost by a start: not what others put there, not what another
 * database knows. */
#include "base/clock.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/image/png_write.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

/* ---- files ---- */

static const char *path_in(const struct server_process *server, const char *name)
{
    static char paths[4][700];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", server->data, name);
    return path;
}

static void write_file(const struct server_process *server, const char *name)
{
    FILE *file = fopen(path_in(server, name), "wb");
    assert_non_null(file);
    fputs("something", file);
    fclose(file);
}

static bool exists(const struct server_process *server, const char *name)
{
    return access(path_in(server, name), F_OK) == 0;
}

/* Starts and ends a server, which leaves a directory that was used. */
static void use_directory(struct server_process *server)
{
    server_init(server);
    server_start(server, NULL);
    assert_int_equal(server_stop(server, SIGTERM), 0);
}

static void expect_log(const struct server_process *server, const char *mark)
{
    static char text[65536];
    server_read_log(server, text, sizeof(text));
    if (strstr(text, mark) == NULL)
        fail_msg("'%s' is not in the log: %s", mark, text);
}

/* ---- images ---- */

enum { SIDE = 40 };

/* Uploads an image of its own for each `seed`; the status. */
static long upload(const struct server_process *server, const char *project, unsigned seed,
                   char id[WORKFLOW_ID_SIZE])
{
    uint8_t pixels[SIDE * SIDE];
    struct png_bytes png = {0};
    char target[256];
    for (unsigned i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i * (seed + 7) + seed);
    assert_int_equal(png_write_grey8(pixels, SIDE, SIDE, &png, NULL), 0);
    snprintf(target, sizeof(target), "/v1/projects/%s/images", project);
    struct client *client = client_create(server->port);
    const struct client_request request = {.method = "POST",
                                           .path = target,
                                           .headers = {"Content-Type: image/png"},
                                           .body = (const char *)png.data,
                                           .body_size = png.size};
    struct client_reply reply;
    client_send(client, &request, &reply);
    json_t *json = json_loads(reply.body, 0, NULL);
    snprintf(id, WORKFLOW_ID_SIZE, "%s", json_string_value(json_object_get(json, "id")));
    const long status = reply.status;
    json_decref(json);
    client_reply_clear(&reply);
    client_destroy(client);
    png_bytes_clear(&png);
    return status;
}

static long content_status(const struct server_process *server, const char *id)
{
    char target[256];
    struct client_reply reply;
    snprintf(target, sizeof(target), "/v1/images/%s/content", id);
    client_get(server->port, target, &reply);
    const long status = reply.status;
    client_reply_clear(&reply);
    return status;
}

enum { N_IMAGES = 3 };

struct filled {
    struct server_process server;
    char project[WORKFLOW_ID_SIZE];
    char images[N_IMAGES][WORKFLOW_ID_SIZE];
    size_t n_blobs;
};

/* A directory with images, whose server has ended. */
static void fill(struct filled *filled)
{
    server_init(&filled->server);
    server_start(&filled->server, NULL);
    struct client *client = client_create(filled->server.port);
    workflow_project(client, filled->project);
    client_destroy(client);
    for (unsigned i = 0; i < N_IMAGES; i++)
        assert_int_equal(upload(&filled->server, filled->project, i, filled->images[i]), 201);
    assert_int_equal(server_stop(&filled->server, SIGTERM), 0);
    filled->n_blobs = server_count_files(&filled->server, "blobs");
    assert_in_range(filled->n_blobs, N_IMAGES + 1, N_IMAGES + 2); /* the encoder's and store.id */
}

static void expect_contents(const struct filled *filled)
{
    for (unsigned i = 0; i < N_IMAGES; i++)
        assert_int_equal(content_status(&filled->server, filled->images[i]), 200);
}

static void copy_file(const struct server_process *server, const char *from, const char *to)
{
    size_t size = 0;
    char *bytes = workflow_read_file(path_in(server, from), &size);
    FILE *file = fopen(path_in(server, to), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
}

/* ---- databases older than the files ---- */

static void free_quarantine(const struct filled *f, const char *expected)
{
    char text[1024];
    const char *const arguments[] = {"data",         "free",         "--data",
                                     f->server.data, "--quarantine", NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    assert_string_equal(text, expected);
}

static void what_an_older_database_does_not_know_comes_back(void **state)
{
    (void)state;
    struct filled f;
    char later[WORKFLOW_ID_SIZE];
    fill(&f);
    copy_file(&f.server, "chipshot.sqlite", "backup");
    server_start(&f.server, NULL);
    assert_int_equal(upload(&f.server, f.project, 100, later), 201);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    copy_file(&f.server, "chipshot.sqlite", "newer");

    /* As a crash leaves it: the start looks for files without rows. */
    copy_file(&f.server, "backup", "chipshot.sqlite");
    server_start(&f.server, NULL);
    assert_int_equal(server_stop(&f.server, SIGKILL), 128 + 9);
    server_start(&f.server, NULL);
    expect_contents(&f);
    assert_int_equal(content_status(&f.server, later), 404);
    assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs);
    assert_int_equal(server_count_files(&f.server, "quarantine"), 1);
    expect_log(&f.server, "event=data_set_aside sha256=");
    expect_log(&f.server, "event=data_set_aside_total count=1");
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_start(&f.server, NULL);
    expect_log(&f.server, "event=data_in_quarantine_total count=1");
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);

    copy_file(&f.server, "newer", "chipshot.sqlite");
    free_quarantine(&f, "quarantine: 0 files removed, 0 bytes\n"
                        "quarantine: 1 files stay: the database knows them, and a start brings "
                        "them back\n");
    server_start(&f.server, NULL);
    expect_contents(&f);
    assert_int_equal(content_status(&f.server, later), 200);
    expect_log(&f.server, "event=data_brought_back sha256=");
    assert_int_equal(server_count_files(&f.server, "quarantine"), 0);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_clear(&f.server);
}

/* ---- looking at it ---- */

static int check(const struct filled *f, char *text, size_t size)
{
    const char *const arguments[] = {"data", "check", "--data", f->server.data, NULL};
    return server_run_tool(arguments, text, size);
}

/* The files of blobs/ alone, without the name of the store. */
static char (*list_blobs(const struct filled *f))[65]
{
    static char names[16][65];
    size_t n = 0;
    for (unsigned i = 0; i < 256; i++) {
        char folder[16];
        snprintf(folder, sizeof(folder), "blobs/%02x", i);
        DIR *directory = opendir(path_in(&f->server, folder));
        for (struct dirent *e; directory != NULL && (e = readdir(directory)) != NULL;)
            if (strlen(e->d_name) == 64 && n + 1 < 16)
                snprintf(names[n++], 65, "%.64s", e->d_name);
        if (directory != NULL)
            closedir(directory);
    }
    names[n][0] = '\0';
    return names;
}

static void a_check_of_a_wrong_directory_makes_nothing(void **state)
{
    (void)state;
    struct server_process server;
    char text[4096];
    server_init(&server);
    const char *const arguments[] = {"data", "check", "--data", server.data, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 1);
    assert_int_equal(rmdir(server.data), 0); /* nothing is in it */
    server_clear(&server);
}

static void a_check_names_what_is_wrong(void **state)
{
    (void)state;
    struct filled f;
    static char text[8192];
    char name[100], expected[128];
    fill(&f);
    assert_int_equal(check(&f, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "database: ok\n"));
    assert_non_null(strstr(text, "files: 4 whole, 0 damaged, 0 missing, 0 unreadable, 0 unknown, "
                                 "0 in quarantine\n"));
    char(*blobs)[65] = list_blobs(&f);
    /* One is damaged, one gone, one is nobody's, one set aside. */
    snprintf(name, sizeof(name), "blobs/%.2s/%.64s", blobs[0], blobs[0]);
    write_file(&f.server, name);
    snprintf(name, sizeof(name), "blobs/%.2s/%.64s", blobs[1], blobs[1]);
    assert_int_equal(rename(path_in(&f.server, name), path_in(&f.server, "aside")), 0);
    snprintf(name, sizeof(name), "blobs/%.2s/%.63s%c", blobs[2], blobs[2],
             blobs[2][63] == '0' ? '1' : '0');
    write_file(&f.server, name);
    assert_int_equal(mkdir(path_in(&f.server, "quarantine/00"), 0700), 0);
    snprintf(name, sizeof(name), "quarantine/00/00%062d", 0);
    write_file(&f.server, name);
    assert_int_equal(check(&f, text, sizeof(text)), 1);
    snprintf(expected, sizeof(expected), "damaged %.64s\n", blobs[0]);
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof(expected), "missing %.64s\n", blobs[1]);
    assert_non_null(strstr(text, expected));
    snprintf(expected, sizeof(expected), "unknown %.63s", blobs[2]);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "quarantined 0000"));
    assert_non_null(strstr(text, "files: 2 whole, 1 damaged, 1 missing, 0 unreadable, 1 unknown, "
                                 "1 in quarantine\n"));
    /* It is a look, and a server has the directory to itself. */
    server_start(&f.server, NULL);
    assert_int_equal(check(&f, text, sizeof(text)), 1);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_clear(&f.server);
}

/* ---- the wrong database, or the wrong files ---- */

static void expect_refusal(struct filled *f, const char *reason)
{
    char said[4096];
    assert_int_equal(server_refusal(&f->server, NULL, said, sizeof(said)), 1);
    if (strstr(said, reason) == NULL)
        fail_msg("'%s' is not in '%s'", reason, said);
    assert_non_null(strstr(said, "chipshot data adopt"));
    assert_int_equal(server_count_files(&f->server, "blobs"), f->n_blobs);
}

static void adopt(struct filled *f, char *text, size_t size)
{
    const char *const arguments[] = {"data", "adopt", "--data", f->server.data, NULL};
    assert_int_equal(server_run_tool(arguments, text, size), 0);
}

/* After a clean end, after a crash, and once it is put back nothing is missing. */
static void a_database_that_is_moved_aside_costs_nothing(void **state)
{
    (void)state;
    struct filled f;
    fill(&f);
    for (int crashed = 0; crashed < 2; crashed++) {
        if (crashed) {
            server_start(&f.server, NULL);
            assert_int_equal(server_stop(&f.server, SIGKILL), 128 + 9);
            /* What SQLite left beside it goes with it. */
            server_start(&f.server, NULL);
            assert_int_equal(server_stop(&f.server, SIGTERM), 0);
            write_file(&f.server, "lock");
        }
        assert_int_equal(rename(path_in(&f.server, "chipshot.sqlite"), path_in(&f.server, "aside")),
                         0);
        expect_refusal(&f, "the database chipshot.sqlite is missing");
        assert_false(exists(&f.server, "chipshot.sqlite"));
        assert_int_equal(rename(path_in(&f.server, "aside"), path_in(&f.server, "chipshot.sqlite")),
                         0);
        server_start(&f.server, NULL);
        expect_contents(&f);
        assert_int_equal(server_stop(&f.server, SIGTERM), 0);
        assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs);
    }
    server_clear(&f.server);
}

static void a_new_database_is_adopted_when_that_is_said(void **state)
{
    (void)state;
    struct filled f;
    char text[4096];
    fill(&f);
    assert_int_equal(rename(path_in(&f.server, "chipshot.sqlite"), path_in(&f.server, "aside")), 0);
    adopt(&f, text, sizeof(text));
    assert_non_null(strstr(text, "belong to the store sto_"));
    server_start(&f.server, NULL);
    assert_int_equal(content_status(&f.server, f.images[0]), 404);
    assert_int_equal(server_stop(&f.server, SIGKILL), 128 + 9);
    server_start(&f.server, NULL);
    assert_int_equal(server_count_files(&f.server, "quarantine"), N_IMAGES);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    assert_int_equal(rename(path_in(&f.server, "aside"), path_in(&f.server, "chipshot.sqlite")), 0);
    server_start(&f.server, NULL);
    expect_contents(&f);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_clear(&f.server);
}

static void anothers_database_is_refused(void **state)
{
    (void)state;
    struct filled f, other;
    fill(&f);
    fill(&other);
    copy_file(&f.server, "chipshot.sqlite", "aside");
    char *bytes;
    size_t size = 0;
    bytes = workflow_read_file(path_in(&other.server, "chipshot.sqlite"), &size);
    FILE *file = fopen(path_in(&f.server, "chipshot.sqlite"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(bytes);
    expect_refusal(&f, "the database belongs to the files of the store sto_");
    write_file(&f.server, "lock"); /* as after a crash */
    expect_refusal(&f, "the database belongs to the files of the store sto_");
    copy_file(&f.server, "aside", "chipshot.sqlite");
    server_start(&f.server, NULL);
    expect_contents(&f);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_clear(&f.server);
    server_clear(&other.server);
}

/* ---- tmp ---- */

static void only_its_own_files_of_tmp_are_removed(void **state)
{
    (void)state;
    struct server_process server;
    use_directory(&server);
    write_file(&server, "tmp/chipshot-aB3dE6");
    write_file(&server, "tmp/notes.txt");
    write_file(&server, "tmp/README");
    assert_int_equal(symlink(server.log, path_in(&server, "tmp/chipshot-aaaaaa")), 0);
    assert_int_equal(mkdir(path_in(&server, "tmp/chipshot-bbbbbb"), 0700), 0);
    server_start(&server, NULL);
    assert_true(exists(&server, "tmp/notes.txt"));
    assert_true(exists(&server, "tmp/README"));
    assert_true(exists(&server, "tmp/chipshot-aaaaaa"));
    assert_true(exists(&server, "tmp/chipshot-bbbbbb"));
    assert_false(exists(&server, "tmp/chipshot-aB3dE6"));
    expect_log(&server, "event=data_left_in_tmp name=notes.txt");
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

/* Whatever the link names stays as it is. */
static void nothing_is_removed_through_a_link(void **state)
{
    (void)state;
    static const char *const names[] = {"tmp", "blobs", "cache", "blobs/00"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct server_process server;
        char said[4096], aside[700];
        use_directory(&server);
        rmdir(path_in(&server, names[i]));
        snprintf(aside, sizeof(aside), "%s/elsewhere", server.data);
        if (exists(&server, names[i]))
            assert_int_equal(rename(path_in(&server, names[i]), aside), 0);
        else
            assert_int_equal(mkdir(aside, 0700), 0);
        write_file(&server, "elsewhere/chipshot-aB3dE6");
        write_file(&server, "elsewhere/photos");
        assert_int_equal(symlink(aside, path_in(&server, names[i])), 0);
        assert_int_equal(server_refusal(&server, NULL, said, sizeof(said)), 1);
        assert_non_null(strstr(said, path_in(&server, names[i])));
        assert_non_null(strstr(said, "is a symbolic link"));
        assert_true(exists(&server, "elsewhere/chipshot-aB3dE6"));
        assert_true(exists(&server, "elsewhere/photos"));
        server_clear(&server);
    }
}

static void the_directory_itself_may_be_a_link(void **state)
{
    (void)state;
    struct server_process server, linked;
    use_directory(&server);
    server_init(&linked);
    assert_int_equal(rmdir(linked.data), 0);
    assert_int_equal(symlink(server.data, linked.data), 0);
    server_start(&linked, NULL);
    assert_int_equal(server_stop(&linked, SIGTERM), 0);
    assert_int_equal(unlink(linked.data), 0);
    remove(linked.log);
    server_clear(&server);
}

/* ---- what is gone while a server runs ---- */

static long create_project(const struct server_process *server)
{
    struct client *client = client_create(server->port);
    const struct client_request request = {.method = "POST",
                                           .path = "/v1/projects",
                                           .headers = {"Content-Type: application/json"},
                                           .body = "{\"name\":\"p\"}"};
    struct client_reply reply;
    client_send(client, &request, &reply);
    const long status = reply.status;
    client_reply_clear(&reply);
    client_destroy(client);
    return status;
}

/* Answers 503 with this reason, and takes no work. */
static void expect_lost(const struct server_process *server, const char *reason)
{
    struct client_reply reply;
    client_get(server->port, "/readyz", &reply);
    assert_int_equal(reply.status, 503);
    if (strstr(reply.body, reason) == NULL)
        fail_msg("'%s' is not in %s", reason, reply.body);
    client_reply_clear(&reply);
    assert_int_equal(create_project(server), 503);
    server_wait_log(server, "level=error event=data_lost");
}

/* What readiness has found holds for a second. */
static void wait_until_ready(const struct server_process *server)
{
    const int64_t deadline = clock_now_ms() + 60000;
    struct client_reply reply;
    int status = 0;
    while (status != 200 && clock_now_ms() < deadline) {
        client_get(server->port, "/readyz", &reply);
        status = reply.status;
        client_reply_clear(&reply);
    }
    assert_int_equal(status, 200);
}

static void a_missing_lock_or_database_is_noticed(void **state)
{
    (void)state;
    static const char *const names[] = {"lock", "chipshot.sqlite", "blobs"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct server_process server;
        char aside[700], reason[128];
        server_init(&server);
        server_start(&server, NULL);
        snprintf(aside, sizeof(aside), "%s/aside", server.data);
        assert_int_equal(rename(path_in(&server, names[i]), aside), 0);
        snprintf(reason, sizeof(reason), "data: in the data directory, %s was removed or replaced",
                 names[i]);
        expect_lost(&server, reason);
        /* Another one in its place is not it. */
        write_file(&server, names[i]);
        expect_lost(&server, reason);
        assert_int_equal(unlink(path_in(&server, names[i])), 0);
        assert_int_equal(rename(aside, path_in(&server, names[i])), 0);
        server_wait_log(&server, "event=data_is_back");
        assert_int_equal(create_project(&server), 201);
        wait_until_ready(&server);
        assert_int_equal(server_stop(&server, SIGTERM), 0);
        server_clear(&server);
    }
}

static void a_moved_directory_is_noticed(void **state)
{
    (void)state;
    struct server_process server;
    char aside[600];
    server_init(&server);
    server_start(&server, NULL);
    snprintf(aside, sizeof(aside), "%s.moved", server.data);
    assert_int_equal(rename(server.data, aside), 0);
    expect_lost(&server, "data: the data directory was removed or replaced");
    assert_int_equal(mkdir(server.data, 0700), 0);
    expect_lost(&server, "data: the data directory was removed or replaced");
    assert_int_equal(rmdir(server.data), 0);
    assert_int_equal(rename(aside, server.data), 0);
    server_wait_log(&server, "event=data_is_back");
    assert_int_equal(create_project(&server), 201);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

static void removing_the_lock_lets_no_second_server_in(void **state)
{
    (void)state;
    struct server_process server;
    char said[4096];
    server_init(&server);
    server_start(&server, NULL);
    assert_int_equal(unlink(path_in(&server, "lock")), 0);
    struct server_process second = server;
    assert_int_equal(server_refusal(&second, NULL, said, sizeof(said)), 1);
    assert_non_null(strstr(said, "another chipshot server is using"));
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_start(&server, NULL);
    assert_int_equal(create_project(&server), 201);
    assert_int_equal(server_stop(&server, SIGTERM), 0);
    server_clear(&server);
}

/* What was set aside under an older database, and uploaded again: neither is left over, and the
 * whole one is kept. */
static void what_is_in_quarantine_takes_the_place_of_what_is_damaged(void **state)
{
    (void)state;
    struct filled f;
    char place[80], aside[100];
    fill(&f);
    char(*names)[65] = list_blobs(&f);
    for (size_t i = 0; names[i][0] != '\0'; i++) {
        snprintf(place, sizeof(place), "quarantine/%.2s", names[i]);
        assert_true(mkdir(path_in(&f.server, place), 0700) == 0 || errno == EEXIST);
        snprintf(place, sizeof(place), "blobs/%.2s/%s", names[i], names[i]);
        snprintf(aside, sizeof(aside), "quarantine/%.2s/%s", names[i], names[i]);
        copy_file(&f.server, place, aside);
        if (i % 2 == 0)
            write_file(&f.server, place);
    }
    server_start(&f.server, NULL);
    expect_contents(&f);
    assert_int_equal(server_count_files(&f.server, "quarantine"), 0);
    assert_int_equal(server_count_files(&f.server, "blobs"), f.n_blobs);
    assert_int_equal(server_stop(&f.server, SIGTERM), 0);
    server_clear(&f.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_check_names_what_is_wrong),
        cmocka_unit_test(a_check_of_a_wrong_directory_makes_nothing),
        cmocka_unit_test(a_database_that_is_moved_aside_costs_nothing),
        cmocka_unit_test(a_new_database_is_adopted_when_that_is_said),
        cmocka_unit_test(anothers_database_is_refused),
        cmocka_unit_test(what_an_older_database_does_not_know_comes_back),
        cmocka_unit_test(what_is_in_quarantine_takes_the_place_of_what_is_damaged),
        cmocka_unit_test(only_its_own_files_of_tmp_are_removed),
        cmocka_unit_test(nothing_is_removed_through_a_link),
        cmocka_unit_test(the_directory_itself_may_be_a_link),
        cmocka_unit_test(a_missing_lock_or_database_is_noticed),
        cmocka_unit_test(a_moved_directory_is_noticed),
        cmocka_unit_test(removing_the_lock_lets_no_second_server_in),
    };
    return test_run(tests);
}
