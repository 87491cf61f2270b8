#include "tests/unit/engine/yields.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static atomic_uint_fast64_t n_yields;
static atomic_int_fast64_t clock_ms = 5000;

uint64_t yields_take(void)
{
    return atomic_exchange(&n_yields, 0);
}

void yields_advance_clock(int64_t ms)
{
    atomic_fetch_add(&clock_ms, ms);
}

/* The linker prefers these to the C library's. */
int sched_yield(void)
{
    atomic_fetch_add(&n_yields, 1);
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    if (id != CLOCK_MONOTONIC_COARSE)
        return (int)syscall(SYS_clock_gettime, id, out);
    const int64_t now = atomic_load(&clock_ms);
    *out = (struct timespec){.tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000};
    return 0;
}
