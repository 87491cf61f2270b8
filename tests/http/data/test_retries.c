/* Faults that pass: files that cannot be opened for a while, a disk that is full for a while. The
 * job is done when they have passed; one that does not pass ends it, with the cause. */
#include "tests/test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum {
    NO_LIMIT_SIZE = 1 << 30,
    SMALL_SIZE = 64 << 10, /* more than the log, less than the database, has */
};

struct lab {
    struct server_process server;
    struct client *client;
    char project[WORKFLOW_ID_SIZE], image[WORKFLOW_ID_SIZE], set[WORKFLOW_ID_SIZE];
};

static void start(struct lab *lab, const char *const *arguments)
{
    const struct server_options options = {
        .arguments = arguments, .max_file_size = NO_LIMIT_SIZE, .no_privileges = true};
    server_start(&lab->server, &options);
    lab->client = client_create(lab->server.port);
}

static int set_up(void **state)
{
    struct lab *lab = calloc(1, sizeof(*lab));
    server_init(&lab->server);
    *state = lab;
    return 0;
}

static int tear_down(void **state)
{
    struct lab *lab = *state;
    client_destroy(lab->client);
    server_clear(&lab->server);
    free(lab);
    return 0;
}

static void fill(struct lab *lab)
{
    workflow_scene(lab->client, lab->project, lab->image, lab->set);
}

/* The mode of the image's file. */
static void set_image_mode(struct lab *lab, mode_t mode)
{
    char target[128], path[700];
    snprintf(target, sizeof(target), "/v1/images/%s", lab->image);
    json_t *image = workflow_json(lab->client, "GET", target, NULL, 0, 200);
    const char *sha256 = json_string_value(json_object_get(image, "sha256"));
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", lab->server.data, sha256, sha256);
    json_decref(image);
    assert_int_equal(chmod(path, mode), 0);
}

/* The job as soon as `reached` holds of it, asked again and again: there is nothing to wait for,
 * since a job that goes back to the queue has not ended. The caller releases it. */
static json_t *poll_job(struct lab *lab, const char *job, bool (*reached)(const json_t *job))
{
    char target[128];
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    for (;;) {
        json_t *json = workflow_json(lab->client, "GET", target, NULL, 0, 200);
        if (reached(json))
            return json;
        const char *text = json_string_value(json_object_get(json, "state"));
        if (strcmp(text, "queued") != 0 && strcmp(text, "running") != 0)
            fail_msg("the job has %s", text);
        json_decref(json);
    }
}

static bool is_put_off(const json_t *job)
{
    return json_is_string(json_object_get(json_object_get(job, "retry"), "waiting_for"));
}

static const char *retry_text(const json_t *job, const char *member)
{
    return json_string_value(json_object_get(json_object_get(job, "retry"), member));
}

static json_int_t n_attempts(const json_t *job)
{
    return json_integer_value(json_object_get(json_object_get(job, "retry"), "attempts"));
}

static bool has_succeeded(const json_t *job)
{
    return strcmp(json_string_value(json_object_get(job, "state")), "succeeded") == 0;
}

/* The image cannot be opened; then it can. The count outlives the server. */
static void a_job_goes_on_when_its_files_can_be_read(void **state)
{
    struct lab *lab = *state;
    char job[WORKFLOW_ID_SIZE];
    start(lab, NULL);
    fill(lab);
    set_image_mode(lab, 0);
    workflow_submit(lab->client, lab->project, lab->set, lab->image, job);
    json_t *json = poll_job(lab, job, is_put_off);
    const json_t *cause = json_object_get(json_object_get(json, "retry"), "error");
    assert_string_equal(json_string_value(json_object_get(cause, "code")), "io");
    assert_string_equal(json_string_value(json_object_get(json, "state")), "queued");
    assert_string_equal(retry_text(json, "waiting_for"), "back-off");
    assert_non_null(retry_text(json, "next_at"));
    assert_true(json_is_null(json_object_get(json, "error")));
    const json_int_t n_before = n_attempts(json);
    assert_true(n_before >= 1);
    json_decref(json);
    client_destroy(lab->client);
    assert_int_equal(server_stop(&lab->server, SIGKILL), 128 + SIGKILL);
    start(lab, NULL);
    json = poll_job(lab, job, is_put_off);
    assert_true(n_attempts(json) >= n_before);
    json_decref(json);
    set_image_mode(lab, 0600);
    json = poll_job(lab, job, has_succeeded);
    assert_true(json_is_null(json_object_get(json, "retry")));
    assert_true(json_is_null(json_object_get(json, "error")));
    json_decref(json);
}

/* It never can: the job ends, with the cause and the number of attempts. */
static void a_job_ends_after_its_attempts(void **state)
{
    struct lab *lab = *state;
    static const char *const twice[] = {"--job-attempts", "2", "--job-retry-delay", "1", NULL};
    char job[WORKFLOW_ID_SIZE], target[128];
    start(lab, twice);
    fill(lab);
    set_image_mode(lab, 0);
    workflow_submit(lab->client, lab->project, lab->set, lab->image, job);
    workflow_wait(lab->client, job, "failed");
    snprintf(target, sizeof(target), "/v1/jobs/%s", job);
    json_t *json = workflow_json(lab->client, "GET", target, NULL, 0, 200);
    const json_t *error = json_object_get(json, "error");
    assert_string_equal(json_string_value(json_object_get(error, "code")), "io");
    const char *message = json_string_value(json_object_get(error, "message"));
    assert_non_null(strstr(message, "Permission denied (attempt 2 of 2)"));
    assert_true(json_is_null(json_object_get(json, "retry")));
    json_decref(json);
}

static void set_file_size(const struct lab *lab, rlim_t size)
{
    const struct rlimit limit = {.rlim_cur = size, .rlim_max = NO_LIMIT_SIZE};
    assert_int_equal(prlimit(lab->server.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* While a job runs the disk is full for its result, and for writing that down. */
static void a_job_waits_until_the_disk_has_room(void **state)
{
    struct lab *lab = *state;
    char target[128], body[512], job[WORKFLOW_ID_SIZE];
    start(lab, NULL);
    fill(lab);
    snprintf(target, sizeof(target), "/v1/projects/%s/jobs", lab->project);
    snprintf(body, sizeof(body),
             "{\"support_set_id\": \"%s\", \"image_ids\": [\"%s\"], \"stride\": {\"x\": 8,"
             " \"y\": 8}}",
             lab->set, lab->image);
    json_t *json = workflow_json(lab->client, "POST", target, body, 0, 202);
    snprintf(job, sizeof(job), "%s", json_string_value(json_object_get(json, "id")));
    json_decref(json);
    server_wait_log(&lab->server, "event=job_started");
    set_file_size(lab, SMALL_SIZE);
    server_wait_log(&lab->server, "event=job_end_not_stored");
    set_file_size(lab, NO_LIMIT_SIZE);
    json = poll_job(lab, job, is_put_off);
    assert_string_equal(retry_text(json, "waiting_for"), "disk space");
    assert_int_equal(n_attempts(json), 0);
    json_decref(json);
    json_decref(poll_job(lab, job, has_succeeded));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_job_goes_on_when_its_files_can_be_read),
        TEST(a_job_ends_after_its_attempts),
        TEST(a_job_waits_until_the_disk_has_room),
    };
    return test_run(tests);
}
