#include "tests/api/rig.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "db/events.h"

/* A small network from the encoder's fixtures. */
static char *read_fixture(const char *name, size_t *size)
{
    char path[200];
    snprintf(path, sizeof(path), "tests/fixtures/encoder/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size);
    assert_int_equal(fread(data, 1, *size, file), *size);
    fclose(file);
    return data;
}

static void an_encoder_is_uploaded_once(void **state)
{
    struct rig *rig = *state;
    size_t size;
    char id[DB_ID_SIZE];
    char *file = read_fixture("basic_grey.safetensors", &size);
    assert_int_equal(rig_upload(rig, "application/vnd.safetensors", file, size, "/v1/encoders"),
                     201);
    snprintf(id, sizeof(id), "%s", rig_text(rig, "/id"));
    assert_int_equal((int)rig_number(rig, "/in_channels"), 1);
    assert_true(rig_number(rig, "/dimension") > 0);
    assert_true(rig_number(rig, "/n_parameters") > 0);
    assert_false(json_is_true(rig_at(rig, "/is_default")));
    assert_int_equal(rig_upload(rig, "application/octet-stream", file, size, "/v1/encoders"), 200);
    assert_string_equal(rig_text(rig, "/id"), id);
    struct db_encoder encoder;
    assert_int_equal(db_encoder_get(rig->db, id, &encoder, &rig->err), 0);
    assert_string_equal(encoder.created_by, RIG_PRINCIPAL);
    db_encoder_clear(&encoder);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/encoders/%s", id), 200);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/v1/encoders/%s", id), 304);
    free(etag);
    rig_send(rig, "GET", NULL, "/v1/encoders");
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    /* Damaged weights are refused and leave nothing. */
    rig_upload(rig, "application/octet-stream", file, size - 1, "/v1/encoders");
    rig_assert_problem(rig, 422, "invalid");
    rig_upload(rig, "application/octet-stream", "x", 1, "/v1/encoders");
    rig_assert_problem(rig, 422, "invalid");
    rig_upload(rig, "application/octet-stream", "", 0, "/v1/encoders");
    rig_assert_problem(rig, 422, "invalid");
    rig_send(rig, "GET", NULL, "/v1/encoders");
    assert_int_equal(json_array_size(rig_at(rig, "/items")), 1);
    rig_send(rig, "GET", NULL, "/v1/encoders/enc_01JABCDEFGHJKMNPQRSTVWXYZ0");
    rig_assert_problem(rig, 404, "not-found");
    free(file);
}

static void readiness_says_what_failed(void **state)
{
    struct rig *rig = *state;
    assert_int_equal(rig_send(rig, "GET", NULL, "/livez"), 200);
    assert_string_equal(rig_text(rig, "/status"), "alive");
    rig_send(rig, "GET", NULL, "/readyz");
    rig_assert_problem(rig, 503, "not-ready");
    assert_string_equal(rig_text(rig, "/detail"), "encoder: there is no default encoder");
    rig_fill(rig);
    rig_restart_api(rig); /* what was found before holds for a second */
    assert_int_equal(rig_send(rig, "GET", NULL, "/readyz"), 200);
    assert_string_equal(rig_text(rig, "/checks/database"), "ok");
    rig->shutting_down = true;
    rig_send(rig, "GET", NULL, "/readyz");
    rig_assert_problem(rig, 503, "not-ready");
    assert_string_equal(rig_text(rig, "/detail"), "server: it is shutting down");
    assert_string_equal(rig_got(rig, "Retry-After"), "5");
    assert_int_equal(rig_send(rig, "GET", NULL, "/livez"), 200);
}

/* Looks of readyz, which ask for the keys each time. */
struct looks {
    atomic_uint n;
    atomic_bool fail;
    unsigned held; /* the look with this number goes on until `go`; 0: none */
    sem_t begun, go;
};

static int count_look(void *context, struct error *err)
{
    struct looks *looks = context;
    if (atomic_fetch_add(&looks->n, 1) + 1 == looks->held) {
        sem_post(&looks->begun);
        sem_wait(&looks->go);
    }
    return atomic_load(&looks->fail) ? error_set(err, ERROR_CORRUPT, "/secret/path") : 0;
}

static void start_counting(struct rig *rig, struct looks *looks)
{
    rig_fill(rig);
    rig->hooks = (struct api_hooks){.context = looks, .check_keys = count_look};
    rig_restart_api(rig);
}

static void readiness_looks_once_a_second_at_any_rate(void **state)
{
    struct rig *rig = *state;
    struct looks looks = {0};
    start_counting(rig, &looks);
    const int64_t start = clock_now_ms();
    for (int i = 0; i < 500; i++)
        assert_int_equal(rig_send(rig, "GET", NULL, "/readyz"), 200);
    assert_in_range(atomic_load(&looks.n), 1, 1 + (clock_now_ms() - start) / 1000);
    /* The next look sees a fault, and comes of itself. */
    const unsigned n = atomic_load(&looks.n);
    atomic_store(&looks.fail, true);
    while (rig_send(rig, "GET", NULL, "/readyz") == 200)
        assert_int_equal(atomic_load(&looks.n), n);
    assert_int_equal(atomic_load(&looks.n), n + 1);
    rig_assert_problem(rig, 503, "not-ready");
    assert_string_equal(rig_text(rig, "/detail"),
                        "keys: the API keys cannot be used; the log says why");
}

struct asker {
    struct api *api;
    struct looks *looks;
    unsigned until; /* asks until so many looks were made */
    int status;
};

static void *ask_ready(void *context)
{
    struct asker *asker = context;
    const struct api_request request = {.method = "GET", .target = "/readyz"};
    do {
        struct api_response response;
        api_response_init(&response);
        api_handle(asker->api, &request, NULL, &response);
        asker->status = response.status;
        api_response_clear(&response);
    } while (atomic_load(&asker->looks->n) < asker->until);
    return NULL;
}

static void one_caller_looks_for_all(void **state)
{
    struct rig *rig = *state;
    struct looks looks = {.held = 2};
    pthread_t thread;
    sem_init(&looks.begun, 0, 0);
    sem_init(&looks.go, 0, 0);
    start_counting(rig, &looks);
    struct asker asker = {.api = rig->api, .looks = &looks, .until = 2};
    assert_int_equal(pthread_create(&thread, NULL, ask_ready, &asker), 0);
    sem_wait(&looks.begun);
    /* While the second look goes on, what the first one found is told at once. */
    for (int i = 0; i < 10; i++)
        assert_int_equal(rig_send(rig, "GET", NULL, "/readyz"), 200);
    assert_int_equal(atomic_load(&looks.n), 2);
    sem_post(&looks.go);
    pthread_join(thread, NULL);
    assert_int_equal(asker.status, 200);
    sem_destroy(&looks.begun);
    sem_destroy(&looks.go);
}

static void the_first_look_is_waited_for(void **state)
{
    struct rig *rig = *state;
    struct looks looks = {.held = 1};
    struct asker askers[4];
    pthread_t threads[4];
    sem_init(&looks.begun, 0, 0);
    sem_init(&looks.go, 0, 0);
    start_counting(rig, &looks);
    for (int i = 0; i < 4; i++) {
        askers[i] = (struct asker){.api = rig->api, .looks = &looks};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_ready, &askers[i]), 0);
        if (i == 0)
            sem_wait(&looks.begun);
    }
    sem_post(&looks.go);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].status, 200);
    }
    assert_int_equal(atomic_load(&looks.n), 1);
    sem_destroy(&looks.begun);
    sem_destroy(&looks.go);
}

static void metrics_version_and_contract_are_served(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    rig_header(rig, "Accept",
               "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;"
               "q=0.5,*/*;q=0.1");
    assert_int_equal(rig_send(rig, "GET", NULL, "/metrics"), 200);
    assert_string_equal(rig->response.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_memory_equal(rig->response.body, "# TYPE x", 8);
    assert_int_equal(rig_send(rig, "GET", NULL, "/version"), 200);
    assert_string_equal(rig_text(rig, "/version"), CHIPSHOT_VERSION);
    assert_string_equal(rig_text(rig, "/encoder/id"), rig->encoder);
    assert_true(strlen(rig_text(rig, "/kernels")) > 0);
    assert_int_equal(rig_send(rig, "GET", NULL, "/openapi.yaml"), 200);
    assert_string_equal(rig->response.content_type, "application/yaml");
    assert_int_equal(rig->response.body_size, 15);
    char *etag = strdup(rig_got(rig, "ETag"));
    rig_header(rig, "If-None-Match", etag);
    assert_int_equal(rig_send(rig, "GET", NULL, "/openapi.yaml"), 304);
    free(etag);
}

static void rows_say_who_asked(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE];
    struct db_project project;
    struct db_image image;
    struct db_support_set set;
    struct db_job job;
    rig_fill(rig);
    rig_add_job(rig, id);
    assert_int_equal(db_project_get(rig->db, rig->project, &project, &rig->err), 0);
    assert_int_equal(db_image_get(rig->db, rig->image, &image, &rig->err), 0);
    assert_int_equal(db_support_set_get(rig->db, rig->set, 0, &set, &rig->err), 0);
    assert_int_equal(db_job_get(rig->db, id, &job, &rig->err), 0);
    assert_string_equal(project.created_by, RIG_PRINCIPAL);
    assert_string_equal(image.created_by, RIG_PRINCIPAL);
    assert_string_equal(set.created_by, RIG_PRINCIPAL);
    assert_string_equal(job.created_by, RIG_PRINCIPAL);
    db_project_clear(&project);
    db_image_clear(&image);
    db_support_set_clear(&set);
    db_job_clear(&job);
}

static void events_say_who_changed_what(void **state)
{
    struct rig *rig = *state;
    char id[DB_ID_SIZE], image[DB_ID_SIZE];
    size_t size;
    struct db_event_list list;
    rig_fill(rig);
    rig_add_job(rig, id);
    void *png = rig_png(8, 8, 5, &size);
    assert_int_equal(
        rig_upload(rig, "image/png", png, size, "/v1/projects/%s/images", rig->project), 201);
    free(png);
    snprintf(image, sizeof(image), "%s", rig_text(rig, "/id"));
    assert_int_equal(db_event_list(rig->db, 0, 100, &list, &rig->err), 0);
    const uint64_t before = list.n_items;
    db_event_list_clear(&list);
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/images/%s", image), 204);
    assert_int_equal(rig_send(rig, "POST", NULL, "/v1/jobs/%s/cancel", id), 200);
    assert_int_equal(rig_send(rig, "DELETE", NULL, "/v1/projects/%s", rig->project), 204);
    const enum db_event_type types[] = {DB_EVENT_IMAGE_DELETED, DB_EVENT_JOB_CANCELLED,
                                        DB_EVENT_PROJECT_DELETED};
    assert_int_equal(db_event_list(rig->db, before, 100, &list, &rig->err), 0);
    assert_int_equal(list.n_items, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(list.items[i].type, types[i]);
        assert_string_equal(list.items[i].principal, RIG_PRINCIPAL);
        assert_string_equal(list.items[i].project_id, rig->project);
    }
    db_event_list_clear(&list);
}

static void a_server_without_hooks_answers_too(void **state)
{
    struct rig *rig = *state;
    rig_fill(rig);
    rig->hooks = (struct api_hooks){0};
    rig_restart_api(rig);
    char id[DB_ID_SIZE];
    rig_header(rig, "Prefer", "wait=3");
    rig_add_job(rig, id);
    assert_string_equal(rig_got(rig, "Preference-Applied"), "");
    assert_true(json_is_null(rig_at(rig, "/eta_seconds")));
    assert_int_equal(rig_send(rig, "GET", NULL, "/readyz"), 200);
    assert_int_equal(rig_send(rig, "GET", NULL, "/metrics"), 200);
    assert_int_equal(rig_send(rig, "GET", NULL, "/openapi.yaml"), 404);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_encoder_is_uploaded_once),
        TEST(readiness_says_what_failed),
        TEST(readiness_looks_once_a_second_at_any_rate),
        TEST(one_caller_looks_for_all),
        TEST(the_first_look_is_waited_for),
        TEST(metrics_version_and_contract_are_served),
        TEST(rows_say_who_asked),
        TEST(events_say_who_changed_what),
        TEST(a_server_without_hooks_answers_too),
    };
    return test_run(tests);
}
