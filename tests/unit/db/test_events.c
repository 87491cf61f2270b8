#include "tests/unit/db/fixture.h"

#include <pthread.h>

#include "db/events.h"

static void read_all(struct fixture *f, uint64_t after, struct db_event_list *out)
{
    if (db_event_list(f->db, after, 1000, out, &f->err) != 0)
        fail_msg("%s", f->err.message);
}

static uint64_t last_sequence(struct fixture *f)
{
    struct db_event_list list;
    read_all(f, 0, &list);
    uint64_t last = list.n_items > 0 ? list.items[list.n_items - 1].sequence : 0;
    db_event_list_clear(&list);
    return last;
}

struct expected {
    enum db_event_type type;
    const char *subject;
    const char *project;
    const char *principal;
    const char *data; /* a part of it */
};

/* The events after `after` are these and no others. */
static void expect_events(struct fixture *f, uint64_t after, const struct expected *expected,
                          size_t n)
{
    struct db_event_list list;
    read_all(f, after, &list);
    for (size_t i = 0; i < list.n_items && i < n; i++) {
        const struct db_event *event = &list.items[i];
        if (event->type != expected[i].type)
            fail_msg("event %zu is %s and not %s", i, db_event_type_name(event->type),
                     db_event_type_name(expected[i].type));
        assert_int_equal(event->sequence, after + i + 1);
        assert_true(db_id_is(event->id, "evt_"));
        assert_string_equal(event->subject_id, expected[i].subject);
        assert_string_equal(event->project_id, expected[i].project);
        assert_string_equal(event->principal, expected[i].principal);
        if (strstr(event->data, expected[i].data) == NULL)
            fail_msg("event %zu: '%s' is not in %s", i, expected[i].data, event->data);
    }
    assert_int_equal(list.n_items, n);
    db_event_list_clear(&list);
}

static const char *const me = "key_fixture"; /* fixture_principal */

static void names_tell_types_apart(void **state)
{
    (void)state;
    for (int i = 0; i < DB_EVENT_TYPES; i++) {
        const char *name = db_event_type_name((enum db_event_type)i);
        assert_non_null(strchr(name, '.'));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(name, db_event_type_name((enum db_event_type)k));
    }
}

static void what_is_made_and_changed_is_told(void **state)
{
    struct fixture *f = *state;
    struct db_project project;
    struct db_support_set set;
    struct db_encoder encoder;
    char image[DB_ID_SIZE];
    bool existed = false;
    fixture_fill(f);
    const struct expected made[] = {
        {DB_EVENT_PROJECT_CREATED, f->project_id, f->project_id, "", "{}"},
        {DB_EVENT_IMAGE_CREATED, f->image_id, f->project_id, "", "{\"sha256\":\""},
        {DB_EVENT_ENCODER_CREATED, f->encoder_id, "", "", "\"is_default\":true}"},
        {DB_EVENT_SUPPORT_SET_CREATED, f->support_set_id, f->project_id, "", "{\"version\":1}"},
    };
    expect_events(f, 0, made, 4);

    assert_ok(db_project_get(f->db, f->project_id, &project, &f->err));
    assert_ok(db_project_update(f->db, &project, 1, &fixture_principal, &f->err));
    db_project_clear(&project);
    assert_ok(db_support_set_get(f->db, f->support_set_id, 0, &set, &f->err));
    snprintf(set.created_by, sizeof(set.created_by), "key_second");
    assert_ok(db_support_set_add_version(f->db, &set, 1, &f->err));
    db_support_set_clear(&set);
    /* The same encoder again changes nothing, and neither does the same image. */
    assert_ok(db_encoder_get(f->db, f->encoder_id, &encoder, &f->err));
    assert_ok(db_encoder_insert(f->db, f->store, &encoder, &existed, &f->err));
    assert_true(existed);
    db_encoder_clear(&encoder);
    assert_ok(fixture_add_image(f, f->project_id, "the first image", image));
    assert_string_equal(image, f->image_id);
    assert_ok(fixture_add_image(f, f->project_id, "another", image));
    assert_ok(db_image_delete(f->db, f->store, image, &fixture_principal, &f->err));
    const struct expected changed[] = {
        {DB_EVENT_PROJECT_UPDATED, f->project_id, f->project_id, me, "{\"revision\":2}"},
        {DB_EVENT_SUPPORT_SET_UPDATED, f->support_set_id, f->project_id, "key_second",
         "{\"version\":2}"},
        {DB_EVENT_IMAGE_CREATED, image, f->project_id, "", "sha256"},
        {DB_EVENT_IMAGE_DELETED, image, f->project_id, me, "sha256"},
    };
    expect_events(f, 4, changed, 4);
}

/* A job with one of everything: given up, taken up, stored, ended. */
static void a_jobs_way_is_told(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE], image[80];
    struct db_job job;
    struct db_lease lease;
    bool cancel;
    fixture_fill(f);
    uint64_t before = last_sequence(f);
    assert_ok(fixture_add_job(f, 0, id));
    assert_ok(db_job_claim(f->db, "w", 60000, &job, &lease, &f->err));
    db_job_clear(&job);
    assert_ok(db_job_heartbeat(f->db, &lease, 60000, 1, &cancel, &f->err));
    assert_ok(db_job_requeue(f->db, &lease, &f->err));
    assert_ok(db_job_claim(f->db, "w", 60000, &job, &lease, &f->err));
    db_job_clear(&job);
    struct fixture_result one;
    fixture_one_chip(f, id, &one);
    assert_ok(db_result_insert(f->db, &one.result, &lease, 1, &f->err));
    assert_ok(db_result_insert(f->db, &one.result, &lease, 1, &f->err)); /* kept, and no news */
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
    snprintf(image, sizeof(image), "{\"image_id\":\"%s\",\"token\":2}", f->image_id);
    const struct expected way[] = {
        {DB_EVENT_JOB_QUEUED, id, f->project_id, "", "{\"n_images\":1}"},
        {DB_EVENT_JOB_STARTED, id, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":1}"},
        {DB_EVENT_JOB_REQUEUED, id, f->project_id, PRINCIPAL_SYSTEM, "{\"reason\":\"released\"}"},
        {DB_EVENT_JOB_STARTED, id, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":2}"},
        {DB_EVENT_RESULT_STORED, id, f->project_id, PRINCIPAL_SYSTEM, image},
        {DB_EVENT_JOB_SUCCEEDED, id, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":2}"},
    };
    expect_events(f, before, way, sizeof(way) / sizeof(way[0]));
}

static void other_ends_of_jobs_are_told(void **state)
{
    struct fixture *f = *state;
    char failed[DB_ID_SIZE], queued[DB_ID_SIZE], running[DB_ID_SIZE], lost[DB_ID_SIZE];
    struct db_job job;
    struct db_lease lease;
    enum db_job_state after;
    uint64_t n = 0;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 3, failed));
    assert_ok(fixture_add_job(f, 2, running));
    assert_ok(fixture_add_job(f, 1, lost));
    assert_ok(fixture_add_job(f, 0, queued));
    uint64_t before = last_sequence(f);
    assert_ok(db_job_claim(f->db, "v", 60000, &job, &lease, &f->err));
    db_job_clear(&job);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_FAILED, "corrupt", "it says \"no\"", &f->err));
    assert_ok(db_job_cancel(f->db, queued, &fixture_principal, &after, &f->err));
    for (int i = 0; i < 2; i++) {
        assert_ok(db_job_claim(f->db, "w", 60000, &job, &lease, &f->err));
        db_job_clear(&job);
    }
    assert_ok(db_job_cancel(f->db, running, &fixture_principal, &after, &f->err));
    assert_ok(db_job_cancel(f->db, running, &fixture_principal, &after, &f->err)); /* no news */
    assert_ok(db_job_requeue_expired(f->db, "me", fixture_w_is_gone, &n, &f->err));
    assert_int_equal(n, 2);
    struct expected told[] = {
        {DB_EVENT_JOB_STARTED, failed, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":1}"},
        {DB_EVENT_JOB_FAILED, failed, f->project_id, PRINCIPAL_SYSTEM,
         "{\"token\":1,\"code\":\"corrupt\"}"},
        {DB_EVENT_JOB_CANCELLED, queued, f->project_id, me, "{}"},
        {DB_EVENT_JOB_STARTED, running, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":1}"},
        {DB_EVENT_JOB_STARTED, lost, f->project_id, PRINCIPAL_SYSTEM, "{\"token\":1}"},
        {DB_EVENT_JOB_CANCEL_REQUESTED, running, f->project_id, me, "{}"},
        {DB_EVENT_JOB_CANCELLED, running, f->project_id, PRINCIPAL_SYSTEM, "{}"},
        {DB_EVENT_JOB_REQUEUED, lost, f->project_id, PRINCIPAL_SYSTEM,
         "{\"reason\":\"owner_gone\"}"},
    };
    assert_ok(db_job_get(f->db, running, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_CANCELLED);
    db_job_clear(&job);
    expect_events(f, before, told, sizeof(told) / sizeof(told[0]));
}

static void what_did_not_happen_is_not_told(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    enum db_job_state after;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    uint64_t before = last_sequence(f);
    assert_int_equal(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_image_delete(f->db, f->store, f->image_id, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_job_cancel(f->db, "job_none", &fixture_principal, &after, &f->err),
                     ERROR_NOT_FOUND);
    struct db_lease nobodys = {.owner = "w", .token = 1};
    memcpy(nobodys.job_id, id, DB_ID_SIZE);
    assert_int_equal(db_job_finish(f->db, &nobodys, DB_JOB_SUCCEEDED, NULL, NULL, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_job_requeue(f->db, &nobodys, &f->err), ERROR_CONFLICT);
    assert_int_equal(last_sequence(f), before);
}

static void events_outlive_what_they_tell_of(void **state)
{
    struct fixture *f = *state;
    struct db_event_list list;
    fixture_fill(f);
    uint64_t before = last_sequence(f);
    assert_ok(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err));
    fixture_reopen(f);
    const struct expected gone[] = {
        {DB_EVENT_PROJECT_DELETED, f->project_id, f->project_id, me, "{\"n_images\":1}"}};
    expect_events(f, before, gone, 1);
    read_all(f, 0, &list);
    assert_string_equal(list.items[1].subject_id, f->image_id);
    db_event_list_clear(&list);
    /* The sequence goes on where it was. */
    fixture_add_project(f, "next", f->project_id);
    assert_int_equal(last_sequence(f), before + 2);
}

static void lists_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct db_event_list list;
    fixture_fill(f);
    assert_int_equal(db_event_list(f->db, 0, 0, &list, &f->err), ERROR_INVALID);
    assert_int_equal(db_event_list(f->db, 0, 1001, &list, &f->err), ERROR_INVALID);
    assert_ok(db_event_list(f->db, 1, 2, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    assert_int_equal(list.items[0].sequence, 2);
    db_event_list_clear(&list);
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_PROJECTS = 25 };

static void *add_projects(void *context)
{
    struct fixture *f = context;
    for (int i = 0; i < N_PROJECTS; i++) {
        struct db_project project = {.name = (char *)"p"};
        if (db_project_insert(f->db, &project, NULL) != 0)
            return f;
    }
    return NULL;
}

static void the_sequence_has_no_gaps(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[N_THREADS];
    struct db_event_list list;
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_projects, f), 0);
    for (int i = 0; i < N_THREADS; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    read_all(f, 0, &list);
    assert_int_equal(list.n_items, N_THREADS * N_PROJECTS);
    for (size_t i = 0; i < list.n_items; i++)
        assert_int_equal(list.items[i].sequence, i + 1);
    db_event_list_clear(&list);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_tell_types_apart),
        TEST(what_is_made_and_changed_is_told),
        TEST(a_jobs_way_is_told),
        TEST(other_ends_of_jobs_are_told),
        TEST(what_did_not_happen_is_not_told),
        TEST(events_outlive_what_they_tell_of),
        TEST(lists_are_bounded),
        TEST(the_sequence_has_no_gaps),
    };
    return test_run(tests);
}
