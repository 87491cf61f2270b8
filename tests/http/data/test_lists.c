/* Lists in a project with a long history: an answer and its memory are as large as the page, and
 * what is not on the page is not read. The history is written into the database of a server that
 * was stopped, as copies of rows that it made itself. */
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

#include "tests/http/server.h"
#include "tests/http/workflow.h"
#include "tests/unit/db/fixture.h"

enum { N_IMAGES = 2000, N_JOBS = 300, DIGITS = 5 };

struct history {
    struct server_process server;
    struct client *client;
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE],
        job[WORKFLOW_ID_SIZE];
};

static void start(struct history *history)
{
    static const char *const text[] = {"--log-level", "warn", NULL};
    server_start(&history->server, &(struct server_options){.arguments = text});
    history->client = client_create(history->server.port);
}

static void stop(struct history *history)
{
    client_destroy(history->client);
    history->client = NULL;
    assert_int_equal(server_stop(&history->server, SIGTERM), 0);
}

/* While no server runs. */
static void edit(const struct history *history, const char *sql)
{
    struct fixture files = {0};
    snprintf(files.directory, sizeof(files.directory), "%s", history->server.data);
    fixture_edit(&files, sql);
}

/* A job that has ended, with its result. */
static int set_up(void **state)
{
    struct history *history = calloc(1, sizeof(*history));
    const char *root = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    char directory[512], path[600], support[600], text[1024];
    snprintf(directory, sizeof(directory), "%s/scene", root);
    snprintf(path, sizeof(path), "%s/image.png", directory);
    snprintf(support, sizeof(support), "%s/support.json", directory);
    const char *arguments[] = {"simulate", "--scene", "perovskite-on-diamond",
                               "--out",    directory, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    server_init(&history->server);
    start(history);
    workflow_project(history->client, history->project);
    workflow_upload(history->client, history->project, path, history->image);
    workflow_support(history->client, history->project, history->image, support, 0, history->set);
    workflow_submit(history->client, history->project, history->set, history->image, history->job);
    workflow_wait(history->client, history->job, "succeeded");
    *state = history;
    return 0;
}

static int tear_down(void **state)
{
    struct history *history = *state;
    server_clear(&history->server);
    free(history);
    return 0;
}

static json_t *get(struct history *history, const char *format, const char *id)
{
    char target[256];
    snprintf(target, sizeof(target), format, id);
    return workflow_json(history->client, "GET", target, NULL, 0, 200);
}

/* ---- what is not on the page is not read ---- */

/* The ids of a job's images and those of a support set's examples are damaged: no list has them. */
static void a_list_reads_no_more_than_it_shows(void **state)
{
    struct history *history = *state;
    stop(history);
    edit(history, "PRAGMA foreign_keys = OFF; UPDATE job_images SET image_id = 'damaged';"
                  "UPDATE examples SET image_id = 'damaged'");
    start(history);
    json_t *jobs = get(history, "/v1/projects/%s/jobs", history->project);
    assert_int_equal(json_array_size(json_object_get(jobs, "items")), 1);
    json_t *job = json_array_get(json_object_get(jobs, "items"), 0);
    assert_int_equal(json_integer_value(json_object_get(job, "n_images")), 1);
    assert_null(json_object_get(job, "image_ids"));
    json_decref(jobs);
    json_t *sets = get(history, "/v1/projects/%s/support-sets", history->project);
    assert_int_equal(json_array_size(json_object_get(sets, "items")), 1);
    json_decref(sets);
    stop(history);
}

/* The second of two results is damaged: the page with the first one is whole. */
static void a_page_of_results_reads_no_other(void **state)
{
    struct history *history = *state;
    char path[128];
    stop(history);
    edit(history, "PRAGMA foreign_keys = OFF;"
                  "CREATE TEMP TABLE image AS SELECT * FROM images;"
                  "UPDATE image SET id = 'img_00000000000000000000000001',"
                  " sha256 = printf('%064d', 1);"
                  "INSERT INTO images SELECT * FROM image;"
                  "CREATE TEMP TABLE result AS SELECT * FROM results;"
                  "UPDATE result SET image_id = 'img_00000000000000000000000001', stride_x = -1;"
                  "INSERT INTO results SELECT * FROM result;"
                  "INSERT INTO job_images (job_id, image_index, image_id)"
                  " SELECT id, 1, 'img_00000000000000000000000001' FROM jobs");
    start(history);
    snprintf(path, sizeof(path), "/v1/jobs/%s/results?limit=1", history->job);
    json_t *results = workflow_json(history->client, "GET", path, NULL, 0, 200);
    assert_int_equal(json_array_size(json_object_get(results, "items")), 1);
    assert_true(json_is_string(json_object_get(results, "next")));
    json_decref(results);
    stop(history);
}

/* ---- damaged rows stop nothing else ---- */

/* One job cannot be named and is said to run; another one cannot be read. The server starts, lists
 * what is whole, and takes new jobs. */
static void damaged_jobs_stop_nothing_else(void **state)
{
    struct history *history = *state;
    char job[WORKFLOW_ID_SIZE];
    stop(history);
    edit(history, "PRAGMA foreign_keys = OFF; CREATE TEMP TABLE job AS SELECT * FROM jobs;"
                  "UPDATE job SET id = X'00FF', state = 'running', lease_owner = 'w',"
                  " lease_expires_ms = 0; INSERT INTO jobs SELECT * FROM job;"
                  "UPDATE job SET id = 'job_00000000000000000000000001', state = 'failed',"
                  " params = X'FF'; INSERT INTO jobs SELECT * FROM job");
    start(history);
    json_t *jobs = get(history, "/v1/projects/%s/jobs", history->project);
    assert_int_equal(json_array_size(json_object_get(jobs, "items")), 1);
    assert_int_equal(json_integer_value(json_object_get(jobs, "n_damaged")), 2);
    json_decref(jobs);
    workflow_submit(history->client, history->project, history->set, history->image, job);
    workflow_wait(history->client, job, "succeeded");
    stop(history);
}

/* ---- memory ---- */

/* The most memory that the server has had, in KiB. */
static long peak_memory(const struct history *history)
{
    char path[64], line[256];
    long peak = -1;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)history->server.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "VmHWM: %ld", &peak) == 1)
            break;
    }
    fclose(file);
    assert_true(peak > 0);
    return peak;
}

static size_t list_size(struct history *history, const char *project)
{
    char path[128];
    snprintf(path, sizeof(path), "/v1/projects/%s/jobs?limit=1000", project);
    const struct client_request request = {.path = path};
    struct client_reply reply = {0};
    client_send(history->client, &request, &reply);
    assert_int_equal(reply.status, 200);
    const size_t size = reply.body_size;
    client_reply_clear(&reply);
    return size;
}

/* Two projects with as many jobs: of one image each, and of very many. Listing those takes no more
 * memory than listing these, and an answer as long but for digits of counts. */
static void a_list_of_large_jobs_is_as_small(void **state)
{
    static const char small[] = "prj_00000000000000000000000001";
    static const char large[] = "prj_00000000000000000000000002";
    struct history *history = *state;
    char sql[4000];
    stop(history);
    snprintf(sql, sizeof(sql),
             "PRAGMA foreign_keys = OFF;"
             "CREATE TEMP TABLE numbers (i INTEGER PRIMARY KEY);"
             "WITH RECURSIVE c (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < %d)"
             " INSERT INTO numbers SELECT i FROM c;"
             "CREATE TEMP TABLE project AS SELECT * FROM projects;"
             "UPDATE project SET id = '%s'; INSERT INTO projects SELECT * FROM project;"
             "UPDATE project SET id = '%s'; INSERT INTO projects SELECT * FROM project;"
             "CREATE TEMP TABLE job AS SELECT jobs.*, i FROM jobs, numbers WHERE i < %d;"
             "UPDATE job SET id = printf('job_1%%025d', i), project_id = '%s';"
             "ALTER TABLE job DROP COLUMN i; INSERT INTO jobs SELECT * FROM job;"
             "UPDATE job SET id = 'job_2' || substr(id, 6), project_id = '%s';"
             "INSERT INTO jobs SELECT * FROM job;"
             "DROP INDEX job_images_by_image;"
             "INSERT INTO job_images (job_id, image_index, image_id)"
             " SELECT id, 0, printf('img_%%026d', 0) FROM jobs WHERE project_id = '%s';"
             "INSERT INTO job_images (job_id, image_index, image_id)"
             " SELECT id, i, printf('img_%%026d', i) FROM jobs, numbers WHERE project_id = '%s'",
             N_IMAGES, small, large, N_JOBS, small, large, small, large);
    edit(history, sql);
    start(history);
    const size_t small_size = list_size(history, small);
    for (int i = 0; i < 3; i++)
        list_size(history, small);
    const long before = peak_memory(history);
    assert_in_range(list_size(history, large), small_size, small_size + N_JOBS * DIGITS);
    const long grown = peak_memory(history) - before;
    const long ids = (long)N_JOBS * N_IMAGES * DB_ID_SIZE / 1024;
    print_message("note: %ld KiB more; the ids of all images are %ld KiB\n", grown, ids);
    assert_true(grown < ids / 2);
    stop(history);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_list_reads_no_more_than_it_shows),
        TEST(a_page_of_results_reads_no_other),
        TEST(damaged_jobs_stop_nothing_else),
        TEST(a_list_of_large_jobs_is_as_small),
    };
    /* A server that is sanitized keeps what it freed for a while, which is no memory of lists. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=0:thread_local_quarantine_size_kb=0", 0);
    return test_run(tests);
}
