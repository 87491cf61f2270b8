/* The clock for deadlines and durations inside the process; it never jumps. */
#ifndef CHIPSHOT_BASE_CLOCK_H
#define CHIPSHOT_BASE_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds of CLOCK_MONOTONIC. */
static inline int64_t clock_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The same, true to a tick of the kernel, for some nanoseconds: to be looked at again and again. */
static inline int64_t clock_coarse_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Seconds of CLOCK_MONOTONIC, to measure short times. */
static inline double clock_now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Nanoseconds of CLOCK_MONOTONIC, to add up many short times. */
static inline uint64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- deadlines: points of clock_now_ms ---- */

/* The deadline `after_ms` from now, rounded up: nothing ends before its time. */
int64_t clock_deadline_ms(uint32_t after_ms);

/* A condition variable that clock_cond_wait can wait for. Returns 0 or an errno value. */
int clock_cond_init(pthread_cond_t *cond);
/* Waits for `cond` under `mutex`; false when the deadline has passed. As with pthread_cond_wait,
 * true says nothing of what is waited for: look again. */
bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ms);

#endif
