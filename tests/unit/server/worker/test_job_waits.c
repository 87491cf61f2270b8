#include "tests/test.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
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

/* ---- waits that hold no thread ---- */

struct told {
    struct job_wait wait; /* first */
    sem_t ended;
    enum job_wait_result result;
};

static void note_end(struct job_wait *wait, enum job_wait_result result)
{
    struct told *told = (struct told *)wait;
    told->result = result;
    sem_post(&told->ended);
}

static void begin(struct job_waits *waits, struct told *told, const char *job_id, int64_t end_ms,
                  uint64_t mark)
{
    *told = (struct told){.wait = {.ended = note_end}};
    sem_init(&told->ended, 0, 0);
    job_waits_begin(waits, &told->wait, job_id, end_ms, mark);
}

static bool has_ended(struct told *told)
{
    return sem_trywait(&told->ended) == 0;
}

static void a_publication_ends_the_waits_for_its_job(void **state)
{
    (void)state;
    struct job_waits *waits = NULL;
    struct told one, other, second;
    assert_int_equal(job_waits_create(&waits, NULL), 0);
    const uint64_t mark = job_waits_mark(waits);
    begin(waits, &one, "job_a", INT64_MAX, mark);
    begin(waits, &second, "job_a", INT64_MAX, mark);
    begin(waits, &other, "job_b", INT64_MAX, mark);
    assert_false(has_ended(&one));
    job_waits_publish(waits, "job_a");
    assert_true(has_ended(&one));
    assert_true(has_ended(&second));
    assert_int_equal(one.result, JOB_WAIT_PUBLISHED);
    assert_false(has_ended(&other));
    /* Once told, nobody is told again. */
    job_waits_publish(waits, "job_a");
    assert_false(has_ended(&one));
    job_waits_shutdown(waits);
    assert_true(has_ended(&other));
    assert_int_equal(other.result, JOB_WAIT_SHUTDOWN);
    begin(waits, &one, "job_a", INT64_MAX, job_waits_mark(waits));
    assert_true(has_ended(&one));
    assert_int_equal(one.result, JOB_WAIT_SHUTDOWN);
    job_waits_destroy(waits);
}

/* Between taking the mark and waiting, the job was read. */
static void what_was_published_since_the_mark_ends_a_wait_at_once(void **state)
{
    (void)state;
    struct job_waits *waits = NULL;
    struct told one, other;
    assert_int_equal(job_waits_create(&waits, NULL), 0);
    const uint64_t mark = job_waits_mark(waits);
    job_waits_publish(waits, "job_a");
    begin(waits, &one, "job_a", INT64_MAX, mark);
    begin(waits, &other, "job_b", INT64_MAX, mark);
    assert_true(has_ended(&one));
    assert_int_equal(one.result, JOB_WAIT_PUBLISHED);
    assert_false(has_ended(&other));
    begin(waits, &one, "job_a", INT64_MAX, job_waits_mark(waits));
    assert_false(has_ended(&one));
    job_waits_shutdown(waits);
    job_waits_destroy(waits);
}

static void each_wait_has_its_own_end(void **state)
{
    (void)state;
    struct job_waits *waits = NULL;
    struct told late, soon, never;
    assert_int_equal(job_waits_create(&waits, NULL), 0);
    const int64_t now_ms = clock_now_ms();
    begin(waits, &never, "job_a", INT64_MAX, 0);
    begin(waits, &late, "job_a", now_ms + 20, 0);
    begin(waits, &soon, "job_b", now_ms + 10, 0);
    assert_int_equal(sem_wait(&soon.ended), 0);
    assert_int_equal(soon.result, JOB_WAIT_TIMEOUT);
    assert_int_equal(sem_wait(&late.ended), 0);
    assert_int_equal(late.result, JOB_WAIT_TIMEOUT);
    assert_true(clock_now_ms() >= now_ms + 20);
    assert_false(has_ended(&never));
    job_waits_shutdown(waits);
    job_waits_destroy(waits);
}

/* A wait whose end takes its time, and a thread that shuts down meanwhile. */
struct slow_wait {
    struct job_wait wait;
    struct job_waits *waits;
    sem_t begun;
    atomic_bool has_returned; /* the shutdown */
    bool returned_early;
};

static void end_slowly(struct job_wait *wait, enum job_wait_result result)
{
    struct slow_wait *slow = (struct slow_wait *)wait; /* its first member */
    (void)result;
    sem_post(&slow->begun);
    while (!job_waits_is_shutdown(slow->waits))
        sched_yield();
    for (int i = 0; i < 10000; i++)
        sched_yield();
    slow->returned_early = atomic_load(&slow->has_returned);
}

static void *publish_slow(void *context)
{
    job_waits_publish(((struct slow_wait *)context)->waits, "job_a");
    return NULL;
}

static void shutdown_waits_for_who_is_being_told(void **state)
{
    (void)state;
    struct slow_wait slow = {.wait = {.ended = end_slowly}};
    pthread_t thread;
    assert_int_equal(job_waits_create(&slow.waits, NULL), 0);
    sem_init(&slow.begun, 0, 0);
    job_waits_begin(slow.waits, &slow.wait, "job_a", clock_deadline_ms(60000),
                    job_waits_mark(slow.waits));
    assert_int_equal(pthread_create(&thread, NULL, publish_slow, &slow), 0);
    sem_wait(&slow.begun);
    job_waits_shutdown(slow.waits);
    atomic_store(&slow.has_returned, true);
    pthread_join(thread, NULL);
    assert_false(slow.returned_early);
    job_waits_destroy(slow.waits);
    sem_destroy(&slow.begun);
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
        cmocka_unit_test(shutdown_waits_for_who_is_being_told),
        cmocka_unit_test(a_publication_ends_the_waits_for_its_job),
        cmocka_unit_test(what_was_published_since_the_mark_ends_a_wait_at_once),
        cmocka_unit_test(each_wait_has_its_own_end),
    };
    return test_run(tests);
}
