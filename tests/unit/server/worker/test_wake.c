#include "tests/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/worker/wake.h"

static void a_wake_between_looking_and_waiting_is_not_lost(void **state)
{
    (void)state;
    struct wake *wake = NULL;
    assert_int_equal(wake_create(&wake, NULL), 0);
    uint64_t seen = wake_count(wake);
    wake_send(wake);
    wake_wait(wake, seen, UINT32_MAX);
    assert_int_equal(wake_count(wake), seen + 1);
    wake_destroy(wake);
}

static void waiting_ends_at_the_timeout(void **state)
{
    (void)state;
    struct wake *wake = NULL;
    assert_int_equal(wake_create(&wake, NULL), 0);
    wake_wait(wake, wake_count(wake), 0);
    wake_wait(wake, wake_count(wake), 5);
    assert_int_equal(wake_count(wake), 0);
    wake_destroy(wake);
}

enum { N_WAITERS = 4 };

struct waiters {
    struct wake *wake;
    atomic_int n_waiting;
};

static void *wait_for_two(void *argument)
{
    struct waiters *waiters = argument;
    for (uint64_t seen = 0; seen < 2; seen = wake_count(waiters->wake)) {
        atomic_fetch_add(&waiters->n_waiting, 1);
        wake_wait(waiters->wake, seen, UINT32_MAX);
    }
    return NULL;
}

static void *wait_for_one(void *argument)
{
    struct waiters *waiters = argument;
    atomic_fetch_add(&waiters->n_waiting, 1);
    wake_wait(waiters->wake, 0, UINT32_MAX);
    wake_send(waiters->wake);
    return NULL;
}

/* Each wakes one more at least. */
static void a_wake_is_passed_on(void **state)
{
    (void)state;
    struct waiters waiters = {.wake = NULL};
    pthread_t threads[N_WAITERS];
    assert_int_equal(wake_create(&waiters.wake, NULL), 0);
    for (int i = 0; i < N_WAITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_one, &waiters), 0);
    while (atomic_load(&waiters.n_waiting) < N_WAITERS)
        sched_yield();
    wake_send(waiters.wake);
    for (int i = 0; i < N_WAITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(wake_count(waiters.wake), 1 + N_WAITERS);
    wake_destroy(waiters.wake);
}

static void a_wake_of_all_reaches_all(void **state)
{
    (void)state;
    struct waiters waiters = {.wake = NULL};
    pthread_t threads[N_WAITERS];
    assert_int_equal(wake_create(&waiters.wake, NULL), 0);
    for (int i = 0; i < N_WAITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_two, &waiters), 0);
    while (atomic_load(&waiters.n_waiting) < N_WAITERS)
        sched_yield();
    wake_send_all(waiters.wake);
    wake_send_all(waiters.wake);
    for (int i = 0; i < N_WAITERS; i++)
        pthread_join(threads[i], NULL);
    wake_destroy(waiters.wake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wake_between_looking_and_waiting_is_not_lost),
        cmocka_unit_test(waiting_ends_at_the_timeout),
        cmocka_unit_test(a_wake_is_passed_on),
        cmocka_unit_test(a_wake_of_all_reaches_all),
    };
    return test_run(tests);
}
