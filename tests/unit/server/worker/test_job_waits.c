#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/worker/job_waits.h"

/* A job's state as the database would tell it, and who changes it. */
struct job {
    struct job_waits *waits;
    atomic_int state;
    atomic_int n_reads;
    int final;
};

static bool is_final(void *context, const char *job_id)
{
    (void)job_id;
    struct job *job = context;
    atomic_fetch_add(&job->n_reads, 1);
    return atomic_load(&job->state) >= job->final;
}

static void a_finished_job_needs_no_wait(void **state)
{
    (void)state;
    struct job job = {.final = 0};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    assert_int_equal(job_waits_for(job.waits, "job_a", 60000, is_final, &job), JOB_WAIT_DONE);
    job_waits_destroy(job.waits);
}

static void waiting_ends_at_the_timeout(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    assert_int_equal(job_waits_for(job.waits, "job_a", 0, is_final, &job), JOB_WAIT_TIMEOUT);
    assert_int_equal(job_waits_for(job.waits, "job_a", 5, is_final, &job), JOB_WAIT_TIMEOUT);
    assert_int_equal(job.n_reads, 2);
    job_waits_destroy(job.waits);
}

/* The change comes between the predicate's reading and the wait: the lost wake-up. */
static bool change_after_reading(void *context, const char *job_id)
{
    struct job *job = context;
    bool final = is_final(context, job_id);
    if (!final) {
        atomic_store(&job->state, 1);
        job_waits_publish(job->waits, job_id);
    }
    return final;
}

static void a_change_right_after_reading_is_not_lost(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    assert_int_equal(job_waits_for(job.waits, "job_a", 60000, change_after_reading, &job),
                     JOB_WAIT_DONE);
    assert_int_equal(job.n_reads, 2);
    job_waits_destroy(job.waits);
}

static bool publish_other(void *context, const char *job_id)
{
    struct job *job = context;
    job_waits_publish(job->waits, "job_b");
    return is_final(context, job_id);
}

static void other_jobs_do_not_wake(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    assert_int_equal(job_waits_for(job.waits, "job_a", 5, publish_other, &job), JOB_WAIT_TIMEOUT);
    assert_int_equal(job.n_reads, 1);
    job_waits_destroy(job.waits);
}

static void *wait_for_final(void *argument)
{
    struct job *job = argument;
    return (void *)(intptr_t)job_waits_for(job->waits, "job_a", 60000, is_final, job);
}

static void many_threads_see_every_change(void **state)
{
    (void)state;
    enum { N_THREADS = 8, FINAL = 500 };
    struct job job = {.final = FINAL};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_final, &job), 0);
    for (int i = 0; i < FINAL; i++) {
        atomic_fetch_add(&job.state, 1);
        job_waits_publish(job.waits, "job_a");
    }
    for (int i = 0; i < N_THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, JOB_WAIT_DONE);
    }
    job_waits_destroy(job.waits);
}

static void shutdown_wakes_all(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(job_waits_create(&job.waits, NULL), 0);
    assert_false(job_waits_is_shutdown(job.waits));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_final, &job), 0);
    job_waits_shutdown(job.waits);
    for (int i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, JOB_WAIT_SHUTDOWN);
    }
    assert_true(job_waits_is_shutdown(job.waits));
    assert_int_equal(job_waits_for(job.waits, "job_a", 60000, is_final, &job), JOB_WAIT_SHUTDOWN);
    job_waits_destroy(job.waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finished_job_needs_no_wait),
        cmocka_unit_test(waiting_ends_at_the_timeout),
        cmocka_unit_test(a_change_right_after_reading_is_not_lost),
        cmocka_unit_test(other_jobs_do_not_wake),
        cmocka_unit_test(many_threads_see_every_change),
        cmocka_unit_test(shutdown_wakes_all),
    };
    return test_run(tests);
}
