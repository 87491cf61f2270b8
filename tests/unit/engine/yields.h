/* Stands in for sched_yield, whose calls it counts, and for the coarse clock, which stands still. A
 * test program that calls any of these gets them, in all its threads. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_YIELDS_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_YIELDS_H

#include <stdint.h>

/* Calls of sched_yield since the last call of this. */
uint64_t yields_take(void);
void yields_advance_clock(int64_t ms);

#endif
