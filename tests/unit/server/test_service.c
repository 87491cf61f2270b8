/* What putting a server's parts together promises beside what the parts promise. */
#include "tests/unit/server/worker/rig.h"

/* The status of a GET; `find` NULL or a text that the body must hold. */
static int get(struct rig *rig, const char *target, const char *find)
{
    const struct api_request request = {.method = "GET", .target = target, .request_id = "test"};
    struct api_response response;
    struct api_plan plan;
    api_response_init(&response);
    if (api_begin(rig->service.api, &request, &plan, &response))
        api_handle(rig->service.api, &request, NULL, &response);
    const int status = response.status;
    if (find != NULL) {
        assert_non_null(response.body);
        assert_non_null(strstr(response.body, find));
    }
    api_response_clear(&response);
    return status;
}

static void add_job(struct rig *rig, char id[DB_ID_SIZE])
{
    char image[1][DB_ID_SIZE], set[DB_ID_SIZE];
    rig_add_image(rig, 1, RIG_WIDTH / 2, image[0]);
    rig_add_plain_set(rig, image[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])image, 1, RIG_CHIP, id);
}

static void a_job_queued_before_the_start_runs(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    add_job(rig, id);
    assert_null(rig->service.worker);
    assert_null(rig->service.api);
    assert_int_equal(service_wait_for_job(&rig->service, id, 0), JOB_WAIT_TIMEOUT);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    assert_int_equal(service_wait_for_job(&rig->service, "job_none", 0), JOB_WAIT_DONE);
}

static void the_api_knows_the_worker(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    add_job(rig, id);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    assert_int_equal(get(rig, "/metrics", "chipshot_cache_bytes "), 200);
    assert_int_equal(get(rig, "/metrics", "chipshot_queue_jobs{state=\"running\"} 0\n"), 200);
    assert_int_equal(get(rig, "/readyz", NULL), 200);
}

static void it_stops_and_starts_again(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    for (int i = 0; i < 2; i++) {
        add_job(rig, id);
        rig_start(rig, 1);
        rig_wait(rig, id, DB_JOB_SUCCEEDED);
        rig_stop(rig, 0);
        assert_null(rig->service.worker);
        assert_null(rig->service.api);
    }
}

static void ended_waits_say_that_the_end_is_near(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    add_job(rig, id);
    rig_start(rig, 1);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    add_job(rig, id); /* nobody tells the worker */
    service_end_waits(&rig->service);
    assert_int_equal(service_wait_for_job(&rig->service, id, RIG_PATIENCE_MS), JOB_WAIT_SHUTDOWN);
    assert_int_equal(get(rig, "/readyz", NULL), 503);
}

static void a_service_that_did_not_open_is_closed(void **state)
{
    struct rig *rig = *state;
    struct service service;
    const struct service_config same = {.directory = rig->directory,
                                        .n_threads = 1,
                                        .max_idle_encoders = 1,
                                        .limits = &rig->limits};
    /* The directory is locked by the rig's own. */
    assert_int_equal(service_open(&service, &same, &rig->err), ERROR_CONFLICT);
    service_end_waits(&service);
    service_stop(&service, 0);
    service_close(&service);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_job_queued_before_the_start_runs),
        with_rig(the_api_knows_the_worker),
        with_rig(it_stops_and_starts_again),
        with_rig(ended_waits_say_that_the_end_is_near),
        with_rig(a_service_that_did_not_open_is_closed),
    };
    return test_run(tests);
}
