#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/worker/events.h"

/* A job's state as the database would tell it, and who changes it. */
struct job {
    struct events *events;
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
    assert_int_equal(events_create(&job.events, NULL), 0);
    assert_int_equal(events_wait(job.events, "job_a", 60000, is_final, &job), EVENTS_DONE);
    events_destroy(job.events);
}

static void waiting_ends_at_the_timeout(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(events_create(&job.events, NULL), 0);
    assert_int_equal(events_wait(job.events, "job_a", 0, is_final, &job), EVENTS_TIMEOUT);
    assert_int_equal(events_wait(job.events, "job_a", 5, is_final, &job), EVENTS_TIMEOUT);
    assert_int_equal(job.n_reads, 2);
    events_destroy(job.events);
}

/* The change comes between the predicate's reading and the wait: the lost wake-up. */
static bool change_after_reading(void *context, const char *job_id)
{
    struct job *job = context;
    bool final = is_final(context, job_id);
    if (!final) {
        atomic_store(&job->state, 1);
        events_publish(job->events, job_id);
    }
    return final;
}

static void a_change_right_after_reading_is_not_lost(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(events_create(&job.events, NULL), 0);
    assert_int_equal(events_wait(job.events, "job_a", 60000, change_after_reading, &job),
                     EVENTS_DONE);
    assert_int_equal(job.n_reads, 2);
    events_destroy(job.events);
}

static bool publish_other(void *context, const char *job_id)
{
    struct job *job = context;
    events_publish(job->events, "job_b");
    return is_final(context, job_id);
}

static void other_jobs_do_not_wake(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(events_create(&job.events, NULL), 0);
    assert_int_equal(events_wait(job.events, "job_a", 5, publish_other, &job), EVENTS_TIMEOUT);
    assert_int_equal(job.n_reads, 1);
    events_destroy(job.events);
}

static void *wait_for_final(void *argument)
{
    struct job *job = argument;
    return (void *)(intptr_t)events_wait(job->events, "job_a", 60000, is_final, job);
}

static void many_threads_see_every_change(void **state)
{
    (void)state;
    enum { N_THREADS = 8, FINAL = 500 };
    struct job job = {.final = FINAL};
    assert_int_equal(events_create(&job.events, NULL), 0);
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_final, &job), 0);
    for (int i = 0; i < FINAL; i++) {
        atomic_fetch_add(&job.state, 1);
        events_publish(job.events, "job_a");
    }
    for (int i = 0; i < N_THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, EVENTS_DONE);
    }
    events_destroy(job.events);
}

static void shutdown_wakes_all(void **state)
{
    (void)state;
    struct job job = {.final = 1};
    assert_int_equal(events_create(&job.events, NULL), 0);
    assert_false(events_is_shutdown(job.events));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_final, &job), 0);
    events_shutdown(job.events);
    for (int i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_int_equal((intptr_t)result, EVENTS_SHUTDOWN);
    }
    assert_true(events_is_shutdown(job.events));
    assert_int_equal(events_wait(job.events, "job_a", 60000, is_final, &job), EVENTS_SHUTDOWN);
    events_destroy(job.events);
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
