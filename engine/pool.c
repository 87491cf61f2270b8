/* One mutex guards everything: tasks are batches of chips that take milliseconds, so the lock is
 * never contended enough to matter, and one lock is easy to reason about. A worker takes the first
 * task of the lane at the cursor, then moves the cursor to the next lane: that is the round-robin
 * the contract promises.
 */
#include "engine/pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

struct task {
    pool_task function;
    void *argument;
};

struct pool_lane {
    struct pool *pool;
    struct task *tasks; /* ring buffer of lane_limit tasks */
    uint32_t first;     /* index of the oldest waiting task */
    uint32_t n_waiting;
    uint32_t n_running;
    bool cancelled;
    pthread_cond_t drained; /* n_waiting + n_running went down */
    struct pool_lane *next; /* ring of ready lanes; NULL when not in it */
    struct pool_lane *previous;
};

struct worker {
    struct pool *pool;
    uint32_t index;
    pthread_t thread;
    void *argument; /* of the task that runs; NULL: none */
};

/* Invariant, whenever the mutex is free (pool_check): a lane stands in the ring of ready lanes
 * exactly when it has waiting tasks, of which it has at most lane_limit and, once cancelled, none;
 * n_waiting is their sum over all lanes; the cursor is a lane of the ring, NULL when the ring is
 * empty. */
struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t ready; /* a task waits, or the pool stops */
    struct pool_lane *cursor;
    uint64_t n_waiting;
    uint32_t lane_limit;
    uint32_t n_workers;
    uint32_t n_lanes;
    bool stopping;
    struct worker workers[];
};

static bool lane_check(const struct pool_lane *lane)
{
    const bool in_ring = lane->next != NULL;
    return in_ring == (lane->n_waiting > 0) && in_ring == (lane->previous != NULL) &&
           lane->first < lane->pool->lane_limit && lane->n_waiting <= lane->pool->lane_limit &&
           (!lane->cancelled || lane->n_waiting == 0);
}

static bool pool_check(const struct pool *pool)
{
    uint64_t n_waiting = 0;
    uint32_t n_ready = 0;
    const struct pool_lane *lane = pool->cursor;
    /* Bounded, so that a ring that does not close ends the walk too. */
    for (; lane != NULL && (n_ready == 0 || lane != pool->cursor); lane = lane->next) {
        if (++n_ready > pool->n_lanes || lane->pool != pool || lane->n_waiting == 0 ||
            !lane_check(lane) || lane->next->previous != lane)
            return false;
        n_waiting += lane->n_waiting;
    }
    return lane == pool->cursor && n_waiting == pool->n_waiting;
}

static void ring_add(struct pool *pool, struct pool_lane *lane)
{
    if (pool->cursor == NULL) {
        lane->next = lane->previous = lane;
        pool->cursor = lane;
        return;
    }
    /* Behind the cursor: a lane that becomes ready waits for one round of the others. */
    lane->next = pool->cursor;
    lane->previous = pool->cursor->previous;
    lane->previous->next = lane;
    lane->next->previous = lane;
}

static void ring_remove(struct pool *pool, struct pool_lane *lane)
{
    if (lane->next == lane) {
        pool->cursor = NULL;
    } else {
        lane->previous->next = lane->next;
        lane->next->previous = lane->previous;
        if (pool->cursor == lane)
            pool->cursor = lane->next;
    }
    lane->next = lane->previous = NULL;
}

/* Takes the next task of the lane at the cursor and moves the cursor on. */
static struct task take_task(struct pool *pool, struct pool_lane **lane_out)
{
    struct pool_lane *lane = pool->cursor;
    assert(lane != NULL && pool_check(pool));
    struct task task = lane->tasks[lane->first];
    lane->first = (lane->first + 1) % pool->lane_limit;
    lane->n_waiting--;
    lane->n_running++;
    pool->n_waiting--;
    pool->cursor = lane->next;
    if (lane->n_waiting == 0)
        ring_remove(pool, lane);
    assert(lane_check(lane));
    *lane_out = lane;
    return task;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->cursor == NULL && !pool->stopping)
            pthread_cond_wait(&pool->ready, &pool->mutex);
        if (pool->stopping)
            break;
        struct pool_lane *lane;
        struct task task = take_task(pool, &lane);
        worker->argument = task.argument;
        pthread_mutex_unlock(&pool->mutex);
        task.function(task.argument, worker->index);
        pthread_mutex_lock(&pool->mutex);
        worker->argument = NULL;
        lane->n_running--;
        pthread_cond_broadcast(&lane->drained);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Stops and joins the first `n` workers. */
static void stop_workers(struct pool *pool, uint32_t n)
{
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->ready);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < n; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

int pool_create(struct pool **out, uint32_t n_workers, uint32_t lane_limit, struct error *err)
{
    if (n_workers < 1 || n_workers > POOL_WORKERS_MAX)
        return error_set(err, ERROR_INVALID, "threads: %u is not within 1..%d", n_workers,
                         POOL_WORKERS_MAX);
    if (lane_limit < 1)
        return error_set(err, ERROR_INVALID, "lane limit: 0 is not allowed");
    struct pool *pool = calloc(1, sizeof(*pool) + n_workers * sizeof(pool->workers[0]));
    if (pool == NULL)
        return error_set_nomem(err, "the thread pool");
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->ready, NULL);
    pool->lane_limit = lane_limit;
    pool->n_workers = n_workers;
    for (uint32_t i = 0; i < n_workers; i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->index = i;
        int rc = pthread_create(&worker->thread, NULL, work, worker);
        if (rc != 0) {
            stop_workers(pool, i);
            pthread_cond_destroy(&pool->ready);
            pthread_mutex_destroy(&pool->mutex);
            free(pool);
            return error_set_errno(err, rc, "starting worker thread %u", i);
        }
    }
    *out = pool;
    return 0;
}

void pool_destroy(struct pool *pool)
{
    if (pool == NULL)
        return;
    stop_workers(pool, pool->n_workers);
    assert(pool_check(pool) && pool->n_lanes == 0);
    pthread_cond_destroy(&pool->ready);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int pool_make_background(struct pool *pool, struct error *err)
{
    const struct sched_param parameters = {.sched_priority = 0};
    for (uint32_t i = 0; i < pool->n_workers; i++) {
        int rc = pthread_setschedparam(pool->workers[i].thread, SCHED_IDLE, &parameters);
        if (rc != 0)
            return error_set_errno(err, rc, "putting worker thread %u into the background", i);
    }
    return 0;
}

uint32_t pool_n_workers(const struct pool *pool)
{
    return pool->n_workers;
}

uint32_t pool_n_workers_default(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) < 1)
        return 1;
    return CPU_COUNT(&set) > POOL_WORKERS_MAX ? POOL_WORKERS_MAX : (uint32_t)CPU_COUNT(&set);
}

uint64_t pool_n_waiting(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    uint64_t n = pool->n_waiting;
    pthread_mutex_unlock(&pool->mutex);
    return n;
}

int pool_lane_create(struct pool_lane **out, struct pool *pool, struct error *err)
{
    struct pool_lane *lane = calloc(1, sizeof(*lane));
    if (lane == NULL)
        return error_set_nomem(err, "a job's lane");
    lane->tasks = calloc(pool->lane_limit, sizeof(lane->tasks[0]));
    if (lane->tasks == NULL) {
        free(lane);
        return error_set_nomem(err, "a job's lane");
    }
    lane->pool = pool;
    pthread_cond_init(&lane->drained, NULL);
    pthread_mutex_lock(&pool->mutex);
    pool->n_lanes++;
    pthread_mutex_unlock(&pool->mutex);
    *out = lane;
    return 0;
}

void pool_lane_destroy(struct pool_lane *lane)
{
    if (lane == NULL)
        return;
    struct pool *pool = lane->pool;
    pool_lane_wait(lane);
    pthread_mutex_lock(&pool->mutex);
    assert(lane_check(lane) && lane->n_waiting == 0);
    pool->n_lanes--;
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_destroy(&lane->drained);
    free(lane->tasks);
    free(lane);
}

int pool_submit(struct pool_lane *lane, pool_task task, void *argument, struct error *err)
{
    struct pool *pool = lane->pool;
    pthread_mutex_lock(&pool->mutex);
    int rc = 0;
    if (lane->cancelled || pool->stopping) {
        rc = error_set(err, ERROR_CANCELLED, "cancelled");
    } else if (lane->n_waiting == pool->lane_limit) {
        rc = error_set(err, ERROR_BUSY, "the lane holds its limit of %u waiting batches",
                       pool->lane_limit);
    } else {
        lane->tasks[(lane->first + lane->n_waiting) % pool->lane_limit] =
            (struct task){.function = task, .argument = argument};
        if (lane->n_waiting == 0)
            ring_add(pool, lane);
        lane->n_waiting++;
        pool->n_waiting++;
        pthread_cond_signal(&pool->ready);
    }
    assert(lane_check(lane) && pool_check(pool));
    pthread_mutex_unlock(&pool->mutex);
    return rc;
}

void pool_lane_wait_below(struct pool_lane *lane, uint32_t limit)
{
    struct pool *pool = lane->pool;
    pthread_mutex_lock(&pool->mutex);
    while (lane->n_waiting + lane->n_running >= limit && lane->n_waiting + lane->n_running > 0)
        pthread_cond_wait(&lane->drained, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void pool_lane_wait(struct pool_lane *lane)
{
    pool_lane_wait_below(lane, 1);
}

void pool_lane_cancel(struct pool_lane *lane)
{
    struct pool *pool = lane->pool;
    pthread_mutex_lock(&pool->mutex);
    lane->cancelled = true;
    if (lane->n_waiting > 0) {
        ring_remove(pool, lane);
        pool->n_waiting -= lane->n_waiting;
        lane->n_waiting = 0;
        pthread_cond_broadcast(&lane->drained);
    }
    assert(lane_check(lane) && pool_check(pool));
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- work that the thread which asked waits for ---- */

/* Such tasks point to what lives on that thread's stack: it leaves when no task does any more. */

/* Takes back the tasks with this argument that no worker has begun. Called with the mutex held. */
static void withdraw(struct pool_lane *lane, const void *argument)
{
    struct pool *pool = lane->pool;
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < lane->n_waiting; i++) {
        const struct task task = lane->tasks[(lane->first + i) % pool->lane_limit];
        if (task.argument != argument)
            lane->tasks[(lane->first + n_kept++) % pool->lane_limit] = task;
    }
    if (n_kept == 0 && lane->n_waiting > 0)
        ring_remove(pool, lane);
    pool->n_waiting -= lane->n_waiting - n_kept;
    lane->n_waiting = n_kept;
    assert(lane_check(lane) && pool_check(pool));
    pthread_cond_broadcast(&lane->drained);
}

static bool is_running(const struct pool *pool, const void *argument)
{
    for (uint32_t i = 0; i < pool->n_workers; i++) {
        if (pool->workers[i].argument == argument)
            return true;
    }
    return false;
}

static void settle(struct pool_lane *lane, const void *argument)
{
    struct pool *pool = lane->pool;
    pthread_mutex_lock(&pool->mutex);
    withdraw(lane, argument);
    while (is_running(pool, argument))
        pthread_cond_wait(&lane->drained, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

struct share {
    pool_part function;
    void *context;
    uint32_t n_parts;
    atomic_uint_fast64_t next;
};

static void run_parts(struct share *share, uint32_t slot)
{
    for (;;) {
        const uint64_t part = atomic_fetch_add(&share->next, 1);
        if (part >= share->n_parts)
            return;
        share->function(share->context, (uint32_t)part, slot);
    }
}

static void help(void *argument, uint32_t worker)
{
    run_parts(argument, worker);
}

uint32_t pool_n_slots(const struct pool_lane *lane)
{
    return lane == NULL ? 1 : lane->pool->n_workers + 1;
}

void pool_share(struct pool_lane *lane, pool_part function, void *context, uint32_t n_parts)
{
    struct share share = {.function = function, .context = context, .n_parts = n_parts};
    if (lane == NULL) {
        run_parts(&share, 0);
        return;
    }
    /* As many helpers as there are parts besides the first; a full lane gives none. */
    const uint32_t n_workers = lane->pool->n_workers;
    for (uint32_t i = 1; i < n_parts && i <= n_workers; i++) {
        if (pool_submit(lane, help, &share, NULL) < 0)
            break;
    }
    run_parts(&share, n_workers);
    settle(lane, &share);
}

static void run_errand(void *argument, uint32_t worker)
{
    (void)worker;
    struct pool_errand *errand = argument;
    errand->function(errand->context);
    errand->done = true;
}

void pool_errand_send(struct pool_errand *errand)
{
    errand->done = false;
    pool_submit(errand->lane, run_errand, errand, NULL); /* refused: done when finished */
}

void pool_errand_finish(struct pool_errand *errand)
{
    settle(errand->lane, errand);
    if (!errand->done)
        run_errand(errand, 0);
}
