/* Jobs that go back to the queue because an attempt failed. */
#include "tests/unit/db/fixture.h"

#include "db/events.h"

static const struct db_retry back_off = {.wait = DB_WAIT_BACK_OFF,
                                         .max_attempts = 3,
                                         .first_delay_ms = 1000,
                                         .max_delay_ms = 3000,
                                         .error_code = "io",
                                         .error_message = "the disk said no"};

static struct db_lease claim(struct fixture *f, const char *id)
{
    struct db_job job;
    struct db_lease lease;
    assert_ok(db_job_claim(f->db, "w", 1000, &job, &lease, &f->err));
    assert_string_equal(job.id, id);
    assert_int_equal(job.waiting_for, DB_WAIT_NONE);
    db_job_clear(&job);
    return lease;
}

static void assert_none_to_claim(struct fixture *f, enum db_room room)
{
    struct db_job job;
    struct db_lease lease;
    assert_int_equal(db_job_claim_with(f->db, "w", 1000, room, &job, &lease, &f->err),
                     ERROR_NOT_FOUND);
}

static enum db_job_state retry(struct fixture *f, const struct db_lease *lease,
                               const struct db_retry *how)
{
    enum db_job_state state;
    assert_ok(db_job_retry(f->db, lease, how, &state, &f->err));
    return state;
}

static void edit(struct fixture *f, const char *sql)
{
    fixture_close(f);
    fixture_edit(f, sql);
    assert_ok(fixture_open(f));
}

/* The wait is over. */
static void let_time_pass(struct fixture *f)
{
    edit(f, "UPDATE jobs SET not_before_ms = 1 WHERE not_before_ms > 0");
}

/* What the job waits for, in milliseconds from now, and why. */
static void assert_waits(struct fixture *f, const char *id, enum db_wait wait, uint32_t n_failures,
                         uint64_t delay_ms)
{
    struct db_job job;
    uint32_t due_ms = 0;
    const uint64_t now = db_time_ms();
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_QUEUED);
    assert_int_equal(job.waiting_for, wait);
    assert_int_equal(job.n_failures, n_failures);
    assert_int_equal(job.attempts, 0);
    assert_string_equal(job.error_message, "the disk said no");
    assert_in_range(job.not_before_ms, now - 60000 + delay_ms, now + delay_ms);
    db_job_clear(&job);
    assert_ok(db_job_due_in(f->db, 60000, &due_ms, &f->err));
    assert_in_range(due_ms, 0, delay_ms);
    assert_ok(db_job_due_in(f->db, 1, &due_ms, &f->err));
    assert_int_equal(due_ms, 1);
}

/* The count and the delay are in the row: a restart keeps them. */
static void a_failed_attempt_is_counted_and_put_off(void **state)
{
    struct fixture *f = *state;
    static const uint64_t delays_ms[] = {1000, 2000};
    char id[DB_ID_SIZE];
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    for (uint32_t i = 0; i < 2; i++) {
        const struct db_lease lease = claim(f, id);
        assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
        assert_none_to_claim(f, DB_ROOM);
        assert_waits(f, id, DB_WAIT_BACK_OFF, i + 1, delays_ms[i]);
        let_time_pass(f);
    }
    const struct db_lease lease = claim(f, id);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_FAILED);
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_FAILED);
    assert_string_equal(job.error_code, "io");
    assert_string_equal(job.error_message, "the disk said no (attempt 3 of 3)");
    db_job_clear(&job);
}

static void delays_have_a_limit(void **state)
{
    struct fixture *f = *state;
    struct db_retry patient = back_off;
    char id[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    patient.max_attempts = 100;
    for (uint32_t i = 0; i < 6; i++) {
        const struct db_lease lease = claim(f, id);
        assert_int_equal(retry(f, &lease, &patient), DB_JOB_QUEUED);
        assert_waits(f, id, DB_WAIT_BACK_OFF, i + 1, i == 0 ? 1000 : i == 1 ? 2000 : 3000);
        let_time_pass(f);
    }
    patient.max_delay_ms = DB_RETRY_DELAY_MAX_MS + 1;
    const struct db_lease lease = claim(f, id);
    enum db_job_state after;
    assert_int_equal(db_job_retry(f->db, &lease, &patient, &after, &f->err), ERROR_INVALID);
}

static void a_full_disk_does_not_count(void **state)
{
    struct fixture *f = *state;
    struct db_retry full = back_off;
    char id[DB_ID_SIZE];
    full.wait = DB_WAIT_DISK_SPACE;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    for (int i = 0; i < 10; i++) {
        const struct db_lease lease = claim(f, id);
        assert_int_equal(retry(f, &lease, &full), DB_JOB_QUEUED);
        assert_none_to_claim(f, DB_ROOM);
        assert_waits(f, id, DB_WAIT_DISK_SPACE, 0, 3000);
        let_time_pass(f);
        assert_none_to_claim(f, DB_NO_ROOM);
    }
    /* What does not wait for room is claimed all the same. */
    char other[DB_ID_SIZE];
    struct db_job job;
    struct db_lease lease;
    assert_ok(fixture_add_job(f, 0, other));
    assert_ok(db_job_claim_with(f->db, "w", 1000, DB_NO_ROOM, &job, &lease, &f->err));
    assert_string_equal(job.id, other);
    db_job_clear(&job);
}

static void a_stored_result_gives_all_attempts_again(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_job job;
    struct fixture_result one;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    for (int i = 0; i < 2; i++) {
        const struct db_lease lease = claim(f, id);
        assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
        let_time_pass(f);
    }
    const struct db_lease lease = claim(f, id);
    fixture_one_chip(f, id, &one);
    assert_ok(db_result_insert(f->db, &one.result, &lease, 1, &f->err));
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.n_failures, 0);
    assert_null(job.error_code);
    db_job_clear(&job);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
    assert_waits(f, id, DB_WAIT_BACK_OFF, 1, 1000);
    assert_ok(db_job_get(f->db, id, &job, &f->err));
    assert_int_equal(job.n_chips_done, 1);
    db_job_clear(&job);
}

static void a_cancelled_job_is_not_tried_again(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE], waiting[DB_ID_SIZE];
    enum db_job_state after;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    struct db_lease lease = claim(f, id);
    assert_ok(db_job_cancel(f->db, id, &fixture_principal, &after, &f->err));
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_CANCELLED);
    assert_ok(fixture_add_job(f, 0, waiting));
    lease = claim(f, waiting);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
    assert_ok(db_job_cancel(f->db, waiting, &fixture_principal, &after, &f->err));
    assert_int_equal(after, DB_JOB_CANCELLED);
    assert_int_equal(db_job_retry(f->db, &lease, &back_off, &after, &f->err), ERROR_CONFLICT);
}

static void an_event_says_why(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_event_list list;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    const struct db_lease lease = claim(f, id);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
    assert_ok(db_event_list(f->db, 0, 100, &list, &f->err));
    const struct db_event *last = &list.items[list.n_items - 1];
    assert_int_equal(last->type, DB_EVENT_JOB_REQUEUED);
    assert_string_equal(last->data, "{\"reason\":\"failed\",\"code\":\"io\",\"attempts\":1,"
                                    "\"delay_ms\":1000}");
    db_event_list_clear(&list);
}

/* A clock that was a year ahead must not hold a job up for a year, nor must an edited row. */
static void a_time_far_ahead_is_over(void **state)
{
    struct fixture *f = *state;
    static const char *const edits[] = {
        "UPDATE jobs SET not_before_ms = not_before_ms + 31536000000",
        "UPDATE jobs SET n_failures = -5, retry_delay_ms = 'long', not_before_ms = 0",
    };
    char id[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    struct db_lease lease = claim(f, id);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
    edit(f, edits[0]);
    lease = claim(f, id);
    edit(f, edits[1]);
    assert_int_equal(retry(f, &lease, &back_off), DB_JOB_QUEUED);
    assert_waits(f, id, DB_WAIT_BACK_OFF, 1, 1000);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_attempt_is_counted_and_put_off),
        TEST(delays_have_a_limit),
        TEST(a_full_disk_does_not_count),
        TEST(a_stored_result_gives_all_attempts_again),
        TEST(a_cancelled_job_is_not_tried_again),
        TEST(an_event_says_why),
        TEST(a_time_far_ahead_is_over),
    };
    return test_run(tests);
}
