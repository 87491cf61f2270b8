/* Threads that compute for long give way to those that answer requests.
 *
 * Why the scheduler alone does not see to it: Linux (EEVDF, from 6.6 on) lets a thread that has had
 * processor time in advance of others wait until they have caught up, workers among them, whatever
 * their policy (SCHED_IDLE too). A worker would have caught up within microseconds, but the kernel
 * looks again only at its next tick, up to 4 ms later. If the worker yields, it looks at once.
 *
 * Yielding costs a system call, and beside other programs that compute a part of the worker's
 * share. Workers therefore yield only while there are requests: for GIVE_WAY_MS after each. This is
 * state of the process, as processor time is: who computes need not know who answers. Thread-safe,
 * no locks.
 */
#ifndef CHIPSHOT_ENGINE_GIVE_WAY_H
#define CHIPSHOT_ENGINE_GIVE_WAY_H

#include <stdbool.h>
#include <stdint.h>

enum { GIVE_WAY_MS = 100 };

/* Called when a request comes. */
void give_way_ask(void);
/* Called by threads that compute, at best every 10 to 100 microseconds: yields the processor if a
 * request came lately. Costs some nanoseconds if none did. */
void give_way(void);

/* Whether give_way would yield at a moment of clock_coarse_ms. */
bool give_way_is_asked(int64_t now_ms);

#endif
