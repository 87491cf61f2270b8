#include "engine/give_way.h"

#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"

/* Read by every worker, written by every request; nothing else depends on its order. Before the
 * first request it lies in the past of any clock. */
static atomic_int_fast64_t asked_until_ms;

void give_way_ask(void)
{
    atomic_store_explicit(&asked_until_ms, clock_coarse_ms() + GIVE_WAY_MS, memory_order_relaxed);
}

bool give_way_is_asked(int64_t now_ms)
{
    return now_ms < atomic_load_explicit(&asked_until_ms, memory_order_relaxed);
}

void give_way(void)
{
    if (give_way_is_asked(clock_coarse_ms()))
        sched_yield();
}
