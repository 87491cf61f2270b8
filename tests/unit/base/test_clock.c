/* Deadlines of base/clock.h. */
#include "tests/test.h"

#include "base/clock.h"

static void a_deadline_is_never_early(void **state)
{
    (void)state;
    for (uint32_t after_ms = 0; after_ms < 3; after_ms++) {
        uint64_t before_ns = clock_now_ns();
        int64_t deadline = clock_deadline_ms(after_ms);
        assert_true((uint64_t)deadline * 1000000 >= before_ns + (uint64_t)after_ms * 1000000);
        assert_true(deadline <= clock_now_ms() + 1 + after_ms);
    }
    assert_true(clock_deadline_ms(UINT32_MAX) > (int64_t)UINT32_MAX);
}

static void a_wait_ends_with_its_deadline(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    assert_int_equal(clock_cond_init(&cond), 0);
    pthread_mutex_lock(&mutex);
    assert_false(clock_cond_wait(&cond, &mutex, clock_now_ms() - 1));
    const int64_t deadline = clock_deadline_ms(5);
    while (clock_cond_wait(&cond, &mutex, deadline))
        continue;
    assert_true(clock_now_ms() >= deadline);
    pthread_mutex_unlock(&mutex);
    pthread_cond_destroy(&cond);
}

struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool there;
};

static void *arrive(void *argument)
{
    struct meeting *meeting = argument;
    pthread_mutex_lock(&meeting->mutex);
    meeting->there = true;
    pthread_cond_signal(&meeting->cond);
    pthread_mutex_unlock(&meeting->mutex);
    return NULL;
}

static void a_signal_ends_the_wait_before(void **state)
{
    (void)state;
    struct meeting meeting = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    assert_int_equal(clock_cond_init(&meeting.cond), 0);
    const int64_t deadline = clock_deadline_ms(60 * 1000);
    pthread_mutex_lock(&meeting.mutex);
    assert_int_equal(pthread_create(&thread, NULL, arrive, &meeting), 0);
    while (!meeting.there)
        assert_true(clock_cond_wait(&meeting.cond, &meeting.mutex, deadline));
    pthread_mutex_unlock(&meeting.mutex);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&meeting.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_is_never_early),
        cmocka_unit_test(a_wait_ends_with_its_deadline),
        cmocka_unit_test(a_signal_ends_the_wait_before),
    };
    return test_run(tests);
}
