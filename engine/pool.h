/* The engine's thread pool: the one owner of parallelism.
 *
 * Contract. A lane is one job's queue of tasks. Workers take tasks round-robin over lanes, so one
 * click on a small image never waits behind ten thousand images. Submitting never blocks: a full
 * lane answers ERROR_BUSY. A cancelled lane drops its waiting tasks and refuses new ones
 * (ERROR_CANCELLED); the tasks already running end normally. Every task that was accepted either
 * runs once or is dropped by a cancel or by the pool's end, and pool_lane_wait returns when none is
 * left. Callbacks run without any lock of the pool held.
 */
#ifndef CHIPSHOT_ENGINE_POOL_H
#define CHIPSHOT_ENGINE_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    POOL_WORKERS_MAX = 256,
    POOL_LANE_LIMIT = 1024, /* what lanes hold where nothing speaks for another number */
};

struct pool;
struct pool_lane;

/* `worker` is 0 .. n_workers-1: the index of a per-worker workspace. */
typedef void (*pool_task)(void *argument, uint32_t worker);

/* n_workers threads (1..POOL_WORKERS_MAX). `lane_limit`: waiting tasks a lane holds at most. */
int pool_create(struct pool **out, uint32_t n_workers, uint32_t lane_limit, struct error *err);
/* Joins the threads. Every lane must have been destroyed before. */
void pool_destroy(struct pool *pool);
/* From now on the workers take only the processor time that nothing else wants (SCHED_IDLE), but
 * for what engine/give_way.h says. ERROR_IO: the system does not allow it. */
int pool_make_background(struct pool *pool, struct error *err);
uint32_t pool_n_workers(const struct pool *pool);
/* As many workers as there are processors that this process may run on, or as a pool can have. */
uint32_t pool_n_workers_default(void);
/* Tasks waiting in all lanes, for metrics. */
uint64_t pool_n_waiting(struct pool *pool);

int pool_lane_create(struct pool_lane **out, struct pool *pool, struct error *err);
/* Waits for the lane's tasks, then frees it. */
void pool_lane_destroy(struct pool_lane *lane);

/* ERROR_BUSY: the lane is full. ERROR_CANCELLED: the lane was cancelled. */
int pool_submit(struct pool_lane *lane, pool_task task, void *argument, struct error *err);
/* Blocks until the lane has fewer than `limit` tasks waiting or running (0: none left is `limit`
 * 1). */
void pool_lane_wait_below(struct pool_lane *lane, uint32_t limit);
/* Blocks until no task of the lane is waiting or running. */
void pool_lane_wait(struct pool_lane *lane);
void pool_lane_cancel(struct pool_lane *lane);

/* One part of a piece of work. `slot` is 0 .. n_workers: the index of a worker, or n_workers on the
 * thread that asked; two parts with one slot never run at once. */
typedef void (*pool_part)(void *context, uint32_t part, uint32_t slot);

/* Calls `function` once for each part below n_parts and returns when all have ended. Workers that
 * are free help the calling thread, which does all that they leave: it never waits behind other
 * jobs' tasks, and there is no failure. `lane` NULL: no help, and the only slot is 0. Not to be
 * called by a task. */
void pool_share(struct pool_lane *lane, pool_part function, void *context, uint32_t n_parts);
/* How many slots there are. */
uint32_t pool_n_slots(const struct pool_lane *lane);

/* Something that is to be done by the time of pool_errand_finish, by a worker if one is free. All
 * fields but the last are the caller's; the errand stays where it is until finished. */
struct pool_errand {
    struct pool_lane *lane;
    void (*function)(void *context);
    void *context;
    bool done;
};

void pool_errand_send(struct pool_errand *errand);
/* Returns when the errand is done; where no worker has begun it, this thread does it. */
void pool_errand_finish(struct pool_errand *errand);

#endif
