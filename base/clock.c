#include "base/clock.h"

#include <errno.h>

int clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    int status = pthread_condattr_init(&attributes);
    if (status != 0)
        return status;
    status = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (status == 0)
        status = pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return status;
}

int64_t clock_deadline_ms(uint32_t after_ms)
{
    return (int64_t)(clock_now_ns() / 1000000) + 1 + after_ms;
}

bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t deadline_ms)
{
    const struct timespec until = {.tv_sec = deadline_ms / 1000,
                                   .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(cond, mutex, &until) != ETIMEDOUT;
}
