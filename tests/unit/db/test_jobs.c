#include "tests/unit/db/fixture.h"

#include <pthread.h>

static struct db_lease claim_for(struct fixture *f, const char *owner, uint32_t lease_ms,
                                 const char *expected_id)
{
    struct db_job job;
    struct db_lease lease;
    if (db_job_claim(f->db, owner, lease_ms, &job, &lease, &f->err) != 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(job.id, expected_id);
    assert_int_equal(job.state, DB_JOB_RUNNING);
    assert_string_equal(lease.job_id, expected_id);
    assert_string_equal(lease.owner, owner);
    db_job_clear(&job);
    return lease;
}

static struct db_lease claim(struct fixture *f, const char *owner, const char *expected_id)
{
    return claim_for(f, owner, 60000, expected_id);
}

/* A lease of the same job and token that names another owner. */
static struct db_lease of_another(struct db_lease lease, const char *owner)
{
    snprintf(lease.owner, sizeof(lease.owner), "%s", owner);
    return lease;
}

static enum db_job_state state_of(struct fixture *f, const char *id)
{
    struct db_job job;
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    enum db_job_state state = job.state;
    db_job_clear(&job);
    return state;
}

static void state_names_are_read_back(void **state)
{
    (void)state;
    enum db_job_state parsed = DB_JOB_FAILED;
    for (int i = DB_JOB_QUEUED; i <= DB_JOB_CANCELLED; i++) {
        assert_true(db_job_state_parse(db_job_state_name((enum db_job_state)i), &parsed));
        assert_int_equal(parsed, i);
        assert_int_equal(db_job_state_is_final(parsed), i >= DB_JOB_SUCCEEDED);
    }
    assert_false(db_job_state_parse("Queued", &parsed));
    assert_false(db_job_state_parse("", &parsed));
}

static void a_job_comes_back_as_stored(void **state)
{
    struct fixture *f = *state;
    char ids[2][DB_ID_SIZE];
    struct db_job job = {.support_set_version = 1,
                         .params = (char *)"{\"stride\": 17}",
                         .priority = -5,
                         .image_ids = ids,
                         .n_images = 2,
                         .n_chips_total = 1234};
    struct db_job read;
    bool replayed = true;
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "another", ids[0]));
    memcpy(ids[1], f->image_id, DB_ID_SIZE);
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    assert_ok(db_job_insert(f->db, &job, 10, NULL, &replayed, &f->err));
    assert_false(replayed);
    fixture_reopen(f);
    assert_ok(db_job_get(f->db, job.id, &read, &f->err));
    assert_string_equal(read.params, "{\"stride\": 17}");
    assert_string_equal(read.encoder_id, f->encoder_id);
    assert_int_equal(read.priority, -5);
    assert_int_equal(read.state, DB_JOB_QUEUED);
    assert_int_equal(read.n_chips_total, 1234);
    assert_int_equal(read.n_chips_done, 0);
    assert_int_equal(read.n_images, 2);
    assert_string_equal(read.image_ids[0], ids[0]);
    assert_string_equal(read.image_ids[1], ids[1]);
    assert_string_equal(read.created_at, job.created_at);
    assert_string_equal(read.started_at, "");
    assert_null(read.error_code);
    db_job_clear(&read);
}

static void faulty_jobs_are_refused_and_leave_nothing(void **state)
{
    struct fixture *f = *state;
    char project[DB_ID_SIZE], ids[2][DB_ID_SIZE];
    struct db_job good = {.support_set_version = 1, .params = (char *)"{}", .n_images = 1};
    struct db_job_counts counts;
    fixture_fill(f);
    fixture_add_project(f, "other", project);
    memcpy(good.project_id, f->project_id, DB_ID_SIZE);
    memcpy(good.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(good.encoder_id, f->encoder_id, DB_ID_SIZE);
    memcpy(ids[0], f->image_id, DB_ID_SIZE);
    good.image_ids = ids;

    struct db_job job = good;
    assert_ok(fixture_add_image(f, project, "foreign", ids[1]));
    job.n_images = 2;
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "image_ids/1"));
    memcpy(ids[1], ids[0], DB_ID_SIZE);
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "given twice"));
    job.n_images = 0;
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    job = good;
    job.support_set_version = 2;
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "support_set_id"));
    job = good;
    memcpy(job.project_id, project, DB_ID_SIZE);
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    job = good;
    snprintf(job.encoder_id, sizeof(job.encoder_id), "enc_none");
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    job = good;
    job.priority = 101;
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_INVALID);
    job = good;
    snprintf(job.project_id, sizeof(job.project_id), "prj_none");
    assert_int_equal(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err), ERROR_NOT_FOUND);
    assert_ok(db_job_counts(f->db, &counts, &f->err));
    assert_int_equal(counts.n_queued, 0);
}

static void a_full_queue_is_busy(void **state)
{
    struct fixture *f = *state;
    char first[DB_ID_SIZE], second[DB_ID_SIZE];
    struct db_job job = {.support_set_version = 1, .params = (char *)"{}", .n_images = 1};
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, first));
    assert_ok(fixture_add_job(f, 0, second));
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    job.image_ids = &f->image_id;
    assert_int_equal(db_job_insert(f->db, &job, 2, NULL, NULL, &f->err), ERROR_BUSY);
    claim(f, "w", first);
    assert_ok(db_job_insert(f->db, &job, 2, NULL, NULL, &f->err));
    assert_int_equal(job.queue_position, 1);
}

static void claims_go_by_priority_then_age(void **state)
{
    struct fixture *f = *state;
    char low[DB_ID_SIZE], old[DB_ID_SIZE], young[DB_ID_SIZE], high[DB_ID_SIZE];
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, -1, low));
    assert_ok(fixture_add_job(f, 0, old));
    assert_ok(fixture_add_job(f, 0, young));
    assert_ok(fixture_add_job(f, 7, high));
    const char *const order[] = {high, old, young, low};
    for (uint64_t i = 0; i < 4; i++) {
        assert_ok(db_job_get(f->db, order[i], &job, &f->err));
        assert_int_equal(job.queue_position, i);
        db_job_clear(&job);
    }
    for (int i = 0; i < 4; i++)
        claim(f, "w", order[i]);
    assert_int_equal(db_job_claim(f->db, "w", 1, &job, &lease, &f->err), ERROR_NOT_FOUND);
    assert_string_equal(f->err.message, "no job can be claimed");
    assert_ok(db_job_get(f->db, low, &job, &f->err));
    assert_int_equal(job.queue_position, 0);
    assert_int_equal(job.attempts, 1);
    assert_string_not_equal(job.started_at, "");
    db_job_clear(&job);
}

static void only_the_owner_ends_a_job_and_only_once(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    bool cancel = true;
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    struct db_lease a = {.owner = "a"};
    memcpy(a.job_id, id, DB_ID_SIZE);
    assert_int_equal(db_job_finish(f->db, &a, DB_JOB_SUCCEEDED, NULL, NULL, &f->err),
                     ERROR_CONFLICT);
    a = claim(f, "a", id);
    const struct db_lease b = of_another(a, "b");
    assert_ok(db_job_heartbeat(f->db, &a, 1000, 42, &cancel, &f->err));
    assert_false(cancel);
    assert_int_equal(db_job_heartbeat(f->db, &b, 1000, 43, &cancel, &f->err), ERROR_CONFLICT);
    assert_int_equal(db_job_finish(f->db, &b, DB_JOB_SUCCEEDED, NULL, NULL, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_job_requeue(f->db, &b, &f->err), ERROR_CONFLICT);
    assert_int_equal(db_job_finish(f->db, &a, DB_JOB_RUNNING, NULL, NULL, &f->err), ERROR_INVALID);
    assert_ok(db_job_finish(f->db, &a, DB_JOB_FAILED, "corrupt", "the PNG ends", &f->err));
    assert_int_equal(db_job_finish(f->db, &a, DB_JOB_SUCCEEDED, NULL, NULL, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_job_requeue(f->db, &a, &f->err), ERROR_CONFLICT);
    snprintf(a.job_id, sizeof(a.job_id), "job_none");
    assert_int_equal(db_job_heartbeat(f->db, &a, 1, 1, &cancel, &f->err), ERROR_NOT_FOUND);
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_FAILED);
    assert_int_equal(job.n_chips_done, 42);
    assert_string_equal(job.error_code, "corrupt");
    assert_string_equal(job.error_message, "the PNG ends");
    assert_string_not_equal(job.finished_at, "");
    db_job_clear(&job);
}

static void a_message_that_is_not_utf8_ends_the_job_too(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    const struct db_lease lease = claim(f, "w", id);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_FAILED, "corrupt",
                            "scan \xff\xc3\xbc cut off \xe2\x82", &f->err));
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_string_equal(job.error_message, "scan ?\xc3\xbc cut off ??");
    db_job_clear(&job);
}

static void cancelling_is_immediate_only_in_the_queue(void **state)
{
    struct fixture *f = *state;
    char queued[DB_ID_SIZE], running[DB_ID_SIZE];
    enum db_job_state after;
    bool cancel = false;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, running));
    struct db_lease lease = claim(f, "w", running);
    assert_ok(fixture_add_job(f, 0, queued));
    assert_ok(db_job_cancel(f->db, queued, &fixture_principal, &after, &f->err));
    assert_int_equal(after, DB_JOB_CANCELLED);
    assert_ok(db_job_cancel(f->db, queued, &fixture_principal, &after, &f->err));
    assert_int_equal(after, DB_JOB_CANCELLED);
    assert_ok(db_job_cancel(f->db, running, &fixture_principal, &after, &f->err));
    assert_int_equal(after, DB_JOB_RUNNING);
    assert_ok(db_job_heartbeat(f->db, &lease, 1000, 0, &cancel, &f->err));
    assert_true(cancel);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_CANCELLED, NULL, NULL, &f->err));
    assert_ok(db_job_cancel(f->db, running, &fixture_principal, &after, &f->err));
    assert_int_equal(db_job_cancel(f->db, "job_none", &fixture_principal, &after, &f->err),
                     ERROR_NOT_FOUND);
    assert_ok(fixture_add_job(f, 0, running));
    lease = claim(f, "w", running);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
    assert_int_equal(db_job_cancel(f->db, running, &fixture_principal, &after, &f->err),
                     ERROR_CONFLICT);
}

static void expired_and_abandoned_jobs_are_queued_again(void **state)
{
    struct fixture *f = *state;
    char expired[DB_ID_SIZE], alive[DB_ID_SIZE], abandoned[DB_ID_SIZE], cancelled[DB_ID_SIZE];
    enum db_job_state after;
    struct db_job job;
    uint64_t n = 99;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 3, expired));
    assert_ok(fixture_add_job(f, 2, alive));
    assert_ok(fixture_add_job(f, 1, abandoned));
    assert_ok(fixture_add_job(f, 0, cancelled));
    claim_for(f, "slow", 0, expired);
    claim(f, "v", alive);
    claim(f, "w", abandoned);
    claim(f, "w", cancelled);
    assert_ok(db_job_cancel(f->db, cancelled, &fixture_principal, &after, &f->err));
    /* A lease of 0 ms is over with the next millisecond, but for its owner. */
    do {
        assert_ok(db_job_requeue_expired(f->db, "slow", NULL, &n, &f->err));
        assert_int_equal(n, 0);
        assert_ok(db_job_requeue_expired(f->db, "me", NULL, &n, &f->err));
    } while (n == 0);
    assert_int_equal(n, 1);
    assert_int_equal(state_of(f, expired), DB_JOB_QUEUED);
    assert_int_equal(state_of(f, alive), DB_JOB_RUNNING);
    assert_ok(db_job_requeue_expired(f->db, "w", fixture_w_is_gone, &n, &f->err));
    assert_int_equal(n, 0);
    assert_ok(db_job_requeue_expired(f->db, "me", fixture_w_is_gone, &n, &f->err));
    assert_int_equal(n, 2);
    assert_int_equal(state_of(f, alive), DB_JOB_RUNNING);
    assert_int_equal(state_of(f, abandoned), DB_JOB_QUEUED);
    assert_int_equal(state_of(f, cancelled), DB_JOB_CANCELLED);
    const struct db_lease lease = claim(f, "w2", expired);
    assert_int_equal(lease.token, 2);
    assert_ok(db_job_get(f->db, expired, &job, &f->err));
    assert_int_equal(job.attempts, 2);
    db_job_clear(&job);
    assert_ok(db_job_requeue(f->db, &lease, &f->err));
    assert_int_equal(state_of(f, expired), DB_JOB_QUEUED);
}

/* The owner is the same, and the job is running again: only the token tells. */
static void who_lost_the_lease_writes_nothing(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    bool cancel, exists = true;
    uint64_t n = 0;
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    const struct db_lease old = claim_for(f, "w", 0, id);
    while (n == 0)
        assert_ok(db_job_requeue_expired(f->db, "me", NULL, &n, &f->err));
    const struct db_lease new = claim(f, "w", id);
    assert_int_equal(new.token, old.token + 1);

    struct fixture_result one;
    fixture_one_chip(f, id, &one);
    assert_int_equal(db_job_heartbeat(f->db, &old, 1000, 77, &cancel, &f->err), ERROR_CONFLICT);
    assert_int_equal(db_result_insert(f->db, &one.result, &old, 77, &f->err), ERROR_CONFLICT);
    assert_int_equal(db_job_requeue(f->db, &old, &f->err), ERROR_CONFLICT);
    assert_int_equal(db_job_finish(f->db, &old, DB_JOB_SUCCEEDED, NULL, NULL, &f->err),
                     ERROR_CONFLICT);
    assert_ok(db_result_exists(f->db, id, f->image_id, &exists, &f->err));
    assert_false(exists);
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_RUNNING);
    assert_int_equal(job.n_chips_done, 0);
    assert_int_equal(job.attempts, 2);
    db_job_clear(&job);
    assert_ok(db_result_insert(f->db, &one.result, &new, 1, &f->err));
    assert_ok(db_job_finish(f->db, &new, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
}

static void a_lease_far_in_the_future_is_over(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    uint64_t n = 0;
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    assert_int_equal(db_job_claim(f->db, "w", DB_LEASE_MAX_MS + 1, &job, &lease, &f->err),
                     ERROR_INVALID);
    claim_for(f, "w", DB_LEASE_MAX_MS, id);
    fixture_close(f);
    fixture_edit(f, "UPDATE jobs SET lease_expires_ms = lease_expires_ms + 60000");
    assert_ok(fixture_open(f));
    assert_ok(db_job_requeue_expired(f->db, "me", NULL, &n, &f->err));
    assert_int_equal(n, 1);
}

static struct db_job *new_job(struct fixture *f)
{
    struct db_job *job = calloc(1, sizeof(*job));
    job->support_set_version = 1;
    job->params = strdup("{}");
    job->image_ids = calloc(1, sizeof(*job->image_ids));
    job->n_images = 1;
    memcpy(job->image_ids[0], f->image_id, DB_ID_SIZE);
    memcpy(job->project_id, f->project_id, DB_ID_SIZE);
    memcpy(job->support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job->encoder_id, f->encoder_id, DB_ID_SIZE);
    return job;
}

static void free_job(struct db_job *job)
{
    db_job_clear(job);
    free(job);
}

static void an_idempotency_key_is_answered_with_its_job(void **state)
{
    struct fixture *f = *state;
    char body[DB_SHA256_SIZE], other[DB_SHA256_SIZE];
    bool replayed = true;
    fixture_fill(f);
    fixture_sha256("body", body);
    fixture_sha256("other", other);
    struct db_idempotency key = {.key = "k", .scope = "jobs", .body_sha256 = body};
    struct db_job *first = new_job(f), *again = new_job(f), *conflict = new_job(f);
    assert_ok(db_job_insert(f->db, first, 1, &key, &replayed, &f->err));
    assert_false(replayed);
    /* A replay needs no room in the queue and shows the job's present state. */
    claim(f, "w", first->id);
    assert_ok(db_job_insert(f->db, again, 0, &key, &replayed, &f->err));
    assert_true(replayed);
    assert_string_equal(again->id, first->id);
    assert_int_equal(again->state, DB_JOB_RUNNING);
    key.body_sha256 = other;
    assert_int_equal(db_job_insert(f->db, conflict, 10, &key, &replayed, &f->err), ERROR_CONFLICT);
    key.scope = "elsewhere";
    assert_ok(db_job_insert(f->db, conflict, 10, &key, &replayed, &f->err));
    assert_false(replayed);
    free_job(first);
    free_job(again);
    free_job(conflict);
}

static void keys_are_dropped_after_a_day(void **state)
{
    struct fixture *f = *state;
    char body[DB_SHA256_SIZE];
    bool replayed = true;
    fixture_fill(f);
    fixture_sha256("body", body);
    const struct db_idempotency key = {.key = "k", .scope = "jobs", .body_sha256 = body};
    struct db_job *first = new_job(f), *later = new_job(f);
    assert_ok(db_job_insert(f->db, first, 10, &key, &replayed, &f->err));
    fixture_close(f);
    fixture_edit(f, "UPDATE idempotency_keys SET created_ms = created_ms - 86400001");
    assert_ok(fixture_open(f));
    assert_ok(db_job_insert(f->db, later, 10, &key, &replayed, &f->err));
    assert_false(replayed);
    assert_string_not_equal(later->id, first->id);
    free_job(first);
    free_job(later);
}

static void lists_are_paged_and_filtered_by_state(void **state)
{
    struct fixture *f = *state;
    char ids[5][DB_ID_SIZE];
    struct db_job_list list;
    struct db_job_counts counts;
    const enum db_job_state queued = DB_JOB_QUEUED, running = DB_JOB_RUNNING;
    fixture_fill(f);
    for (int i = 0; i < 5; i++)
        assert_ok(fixture_add_job(f, 0, ids[i]));
    claim(f, "w", ids[0]);
    struct db_page page = {.limit = 3};
    assert_ok(db_job_list(f->db, f->project_id, &queued, &page, &list, &f->err));
    assert_int_equal(list.n_items, 3);
    assert_true(list.more);
    assert_string_equal(list.items[0].id, ids[1]);
    assert_int_equal(list.items[2].queue_position, 2);
    assert_int_equal(list.items[2].n_images, 1);
    assert_null(list.items[2].image_ids);
    db_job_list_clear(&list);
    page.after_id = ids[3];
    assert_ok(db_job_list(f->db, f->project_id, NULL, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    assert_false(list.more);
    db_job_list_clear(&list);
    page.after_id = NULL;
    assert_ok(db_job_list(f->db, f->project_id, &running, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    db_job_list_clear(&list);
    assert_ok(db_job_counts(f->db, &counts, &f->err));
    assert_int_equal(counts.n_queued, 4);
    assert_int_equal(counts.n_running, 1);
}

/* ---- threads ---- */

enum { N_THREADS = 4, N_JOBS = 20 };

struct worker {
    struct fixture *f;
    char name[16];
    char claimed[N_THREADS * N_JOBS][DB_ID_SIZE];
    int n_claimed, n_failed;
};

static void *insert_and_claim(void *context)
{
    struct worker *worker = context;
    struct db *db = worker->f->db;
    for (int i = 0; i < N_JOBS; i++) {
        struct db_job *job = new_job(worker->f);
        worker->n_failed += db_job_insert(db, job, 1000, NULL, NULL, NULL) != 0;
        free_job(job);
    }
    for (;;) {
        struct db_job job;
        struct db_lease lease;
        bool cancel = false;
        int rc = db_job_claim(db, worker->name, 60000, &job, &lease, NULL);
        if (rc == ERROR_NOT_FOUND)
            return NULL;
        if (rc != 0) {
            worker->n_failed++;
            return NULL;
        }
        memcpy(worker->claimed[worker->n_claimed++], job.id, DB_ID_SIZE);
        worker->n_failed += db_job_heartbeat(db, &lease, 1, 1, &cancel, NULL) != 0;
        worker->n_failed += db_job_finish(db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, NULL) != 0;
        db_job_clear(&job);
    }
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void each_job_is_claimed_by_one_thread(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[N_THREADS];
    static struct worker workers[N_THREADS];
    static char all[N_THREADS * N_JOBS][DB_ID_SIZE];
    size_t n = 0;
    fixture_fill(f);
    for (int i = 0; i < N_THREADS; i++) {
        workers[i].f = f;
        snprintf(workers[i].name, sizeof(workers[i].name), "w%d", i);
        assert_int_equal(pthread_create(&threads[i], NULL, insert_and_claim, &workers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].n_failed, 0);
        for (int k = 0; k < workers[i].n_claimed; k++)
            memcpy(all[n++], workers[i].claimed[k], DB_ID_SIZE);
    }
    assert_int_equal(n, N_THREADS * N_JOBS);
    qsort(all, n, DB_ID_SIZE, compare_ids);
    for (size_t i = 1; i < n; i++)
        assert_string_not_equal(all[i - 1], all[i]);
    assert_int_equal(fixture_count_jobs(f, DB_JOB_SUCCEEDED), N_THREADS * N_JOBS);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_names_are_read_back),
        TEST(a_job_comes_back_as_stored),
        TEST(faulty_jobs_are_refused_and_leave_nothing),
        TEST(a_full_queue_is_busy),
        TEST(claims_go_by_priority_then_age),
        TEST(only_the_owner_ends_a_job_and_only_once),
        TEST(a_message_that_is_not_utf8_ends_the_job_too),
        TEST(cancelling_is_immediate_only_in_the_queue),
        TEST(expired_and_abandoned_jobs_are_queued_again),
        TEST(who_lost_the_lease_writes_nothing),
        TEST(a_lease_far_in_the_future_is_over),
        TEST(an_idempotency_key_is_answered_with_its_job),
        TEST(keys_are_dropped_after_a_day),
        TEST(lists_are_paged_and_filtered_by_state),
        TEST(each_job_is_claimed_by_one_thread),
    };
    return test_run(tests);
}
