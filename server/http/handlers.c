/* A lane is a ring of the clients that have something queued and may have another thread. A thread
 * takes the first client, one task of it, and puts the client behind the others: round robin.
 *
 * Of the threads that sleep the last one is woken, whose caches are warm, and one at a time: before
 * it begins its task, it wakes the next where there is another. Most tasks are shorter than waking
 * takes, and so a few threads do them all.
 *
 * Invariants, under the mutex: a client is in a lane's ring exactly when it has tasks queued there
 * and fewer than n_threads - 1 running; n_queued of a lane is the sum over its clients; while the
 * ring is not empty, some thread of the lane is awake or being woken, or none sleeps.
 */
#include "server/http/handlers.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Nested JSON is read by recursion. Address space, not memory. */
enum { THREAD_STACK = 2 * 1024 * 1024 };

/* Cheap work waits for the disk more than for a processor. A dear task may hold gigabytes. */
const struct handlers_limits handlers_limits_default[HANDLERS_LANES] = {
    [HANDLERS_CHEAP] = {.n_threads = 12, .max_queued = 4096, .max_queued_per_client = 512},
    [HANDLERS_DEAR] = {.n_threads = 3, .max_queued = 512, .max_queued_per_client = 64},
};

struct queue {
    struct handlers_task *first;
    struct handlers_task **end;
    uint32_t n_queued;
    uint32_t n_running;
    struct handlers_client *next; /* in the lane's ring */
    bool in_ring;
};

struct handlers_client {
    struct client_name name; /* first: the tree compares it */
    uint32_t n_users;
    struct queue queues[HANDLERS_LANES];
};

struct thread {
    pthread_t id;
    struct lane *lane;
    pthread_cond_t wake;
    struct thread *next; /* that sleeps */
    bool awake;
};

struct lane {
    struct handlers *handlers; /* immutable, as the next two */
    struct handlers_limits limits;
    enum handlers_lane index;
    struct handlers_client *first; /* the ring */
    struct handlers_client **end;
    uint32_t n_queued;
    struct thread *threads;
    struct thread *sleeping; /* the last one first */
    bool waking;             /* one was woken and has not looked yet */
    uint32_t n_started;
};

struct handlers {
    pthread_mutex_t mutex; /* guards all but `stopping` and what is immutable */
    struct lane lanes[HANDLERS_LANES];
    void *clients; /* a tree by name */
    atomic_bool stopping;
};

/* ---- clients ---- */

int handlers_take_client(struct handlers *handlers, const struct client_name *name,
                         struct handlers_client **out, struct error *err)
{
    struct handlers_client *made = NULL;
    int rc = 0;
    pthread_mutex_lock(&handlers->mutex);
    struct handlers_client *const *found = tfind(name, &handlers->clients, client_name_compare);
    if (found == NULL && (made = calloc(1, sizeof(*made))) != NULL) {
        made->name = *name;
        for (int i = 0; i < HANDLERS_LANES; i++)
            made->queues[i].end = &made->queues[i].first;
        found = tsearch(made, &handlers->clients, client_name_compare);
    }
    if (found == NULL) {
        free(made);
        rc = error_set_nomem(err, "a client's queue");
    } else {
        (*found)->n_users++;
        *out = *found;
    }
    pthread_mutex_unlock(&handlers->mutex);
    return rc;
}

/* Under the mutex. A thread that runs a task of it uses it as well. */
static void give_client(struct handlers *handlers, struct handlers_client *client)
{
    if (--client->n_users > 0)
        return;
    tdelete(client, &handlers->clients, client_name_compare);
    free(client);
}

void handlers_give_client(struct handlers *handlers, struct handlers_client *client)
{
    if (client == NULL)
        return;
    pthread_mutex_lock(&handlers->mutex);
    give_client(handlers, client);
    pthread_mutex_unlock(&handlers->mutex);
}

/* ---- queues; under the mutex ---- */

static void enter_ring(struct lane *lane, struct handlers_client *client)
{
    struct queue *queue = &client->queues[lane->index];
    if (queue->in_ring || queue->n_queued == 0 || queue->n_running + 1 >= lane->limits.n_threads)
        return;
    queue->in_ring = true;
    queue->next = NULL;
    *lane->end = client;
    lane->end = &queue->next;
}

static struct handlers_client *leave_ring(struct lane *lane)
{
    struct handlers_client *client = lane->first;
    struct queue *queue = &client->queues[lane->index];
    lane->first = queue->next;
    if (lane->first == NULL)
        lane->end = &lane->first;
    queue->in_ring = false;
    return client;
}

static void push(struct lane *lane, struct handlers_task *task)
{
    struct queue *queue = &task->client->queues[lane->index];
    task->next = NULL;
    *queue->end = task;
    queue->end = &task->next;
    queue->n_queued++;
    lane->n_queued++;
    enter_ring(lane, task->client);
}

static struct handlers_task *pop(struct lane *lane, struct queue *queue)
{
    struct handlers_task *task = queue->first;
    queue->first = task->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->n_queued--;
    lane->n_queued--;
    return task;
}

static int check(const struct lane *lane, const struct handlers_client *client, struct error *err)
{
    static const char *const names[] = {
        [HANDLERS_CHEAP] = "requests", [HANDLERS_DEAR] = "requests that decode a file"};
    if (client->queues[lane->index].n_queued >= lane->limits.max_queued_per_client)
        return error_set(err, ERROR_BUSY, "%u %s of this client wait already",
                         lane->limits.max_queued_per_client, names[lane->index]);
    if (lane->n_queued >= lane->limits.max_queued)
        return error_set(err, ERROR_BUSY, "%u %s of all clients wait already",
                         lane->limits.max_queued, names[lane->index]);
    return 0;
}

/* ---- tasks ---- */

/* Returns false, with the mutex free, when the task is to be dropped instead. */
static bool lock_running(struct handlers *handlers)
{
    pthread_mutex_lock(&handlers->mutex);
    if (!atomic_load(&handlers->stopping))
        return true;
    pthread_mutex_unlock(&handlers->mutex);
    return false;
}

/* Frees the mutex; wakes a thread where one is wanted and none is on its way. It does so first: who
 * ends waits for jobs is none of the threads that handlers_stop joins, and once the mutex is free
 * the task may be done and the threads gone. */
static void unlock_and_wake(struct lane *lane)
{
    struct thread *thread = lane->first == NULL || lane->waking ? NULL : lane->sleeping;
    if (thread != NULL) {
        lane->sleeping = thread->next;
        lane->waking = true;
        thread->awake = true;
        pthread_cond_signal(&thread->wake);
    }
    pthread_mutex_unlock(&lane->handlers->mutex);
}

int handlers_submit(struct handlers *handlers, enum handlers_lane lane, struct handlers_task *task,
                    struct error *err)
{
    if (!lock_running(handlers)) {
        task->turn(task, HANDLERS_DROP);
        return 0;
    }
    int rc = check(&handlers->lanes[lane], task->client, err);
    if (rc == 0)
        push(&handlers->lanes[lane], task);
    unlock_and_wake(&handlers->lanes[lane]);
    return rc;
}

void handlers_continue(struct handlers *handlers, enum handlers_lane lane,
                       struct handlers_task *task)
{
    if (!lock_running(handlers)) {
        task->turn(task, HANDLERS_DROP);
        return;
    }
    push(&handlers->lanes[lane], task);
    unlock_and_wake(&handlers->lanes[lane]);
}

int handlers_check(struct handlers *handlers, enum handlers_lane lane,
                   const struct handlers_client *client, struct error *err)
{
    pthread_mutex_lock(&handlers->mutex);
    int rc = check(&handlers->lanes[lane], client, err);
    pthread_mutex_unlock(&handlers->mutex);
    return rc;
}

/* ---- threads ---- */

/* Under the mutex, which is free during the turn. */
static void run_one(struct lane *lane)
{
    struct handlers *handlers = lane->handlers;
    struct handlers_client *client = leave_ring(lane);
    struct queue *queue = &client->queues[lane->index];
    struct handlers_task *task = pop(lane, queue);
    queue->n_running++;
    client->n_users++;
    enter_ring(lane, client);
    unlock_and_wake(lane);
    task->turn(task, HANDLERS_RUN);
    pthread_mutex_lock(&handlers->mutex);
    queue->n_running--;
    enter_ring(lane, client);
    give_client(handlers, client);
}

/* Under the mutex, which is free meanwhile. */
static void sleep_until_woken(struct thread *thread)
{
    struct lane *lane = thread->lane;
    thread->awake = false;
    thread->next = lane->sleeping;
    lane->sleeping = thread;
    while (!thread->awake && !atomic_load(&lane->handlers->stopping))
        pthread_cond_wait(&thread->wake, &lane->handlers->mutex);
    lane->waking = false;
}

static void *serve_lane(void *argument)
{
    struct thread *thread = argument;
    struct lane *lane = thread->lane;
    pthread_mutex_lock(&lane->handlers->mutex);
    while (!atomic_load(&lane->handlers->stopping)) {
        if (lane->first != NULL)
            run_one(lane);
        else
            sleep_until_woken(thread);
    }
    pthread_mutex_unlock(&lane->handlers->mutex);
    return NULL;
}

static int start_threads(struct lane *lane, struct error *err)
{
    pthread_attr_t attributes;
    lane->threads = calloc(lane->limits.n_threads, sizeof(lane->threads[0]));
    if (lane->threads == NULL)
        return error_set_nomem(err, "the handlers");
    int status = pthread_attr_init(&attributes);
    if (status != 0)
        return error_set_errno(err, status, "cannot start a thread");
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    while (status == 0 && lane->n_started < lane->limits.n_threads) {
        struct thread *thread = &lane->threads[lane->n_started];
        *thread = (struct thread){.lane = lane, .wake = PTHREAD_COND_INITIALIZER};
        status = pthread_create(&thread->id, &attributes, serve_lane, thread);
        lane->n_started += status == 0;
    }
    pthread_attr_destroy(&attributes);
    return status == 0 ? 0 : error_set_errno(err, status, "cannot start a thread");
}

int handlers_create(struct handlers **out, const struct handlers_limits limits[HANDLERS_LANES],
                    struct error *err)
{
    struct handlers *handlers = calloc(1, sizeof(*handlers));
    if (handlers == NULL)
        return error_set_nomem(err, "the handlers");
    pthread_mutex_init(&handlers->mutex, NULL);
    for (int i = 0; i < HANDLERS_LANES; i++) {
        struct lane *lane = &handlers->lanes[i];
        assert(limits[i].n_threads >= 2);
        *lane = (struct lane){.handlers = handlers, .limits = limits[i], .index = i};
        lane->end = &lane->first;
    }
    int rc = 0;
    for (int i = 0; rc == 0 && i < HANDLERS_LANES; i++)
        rc = start_threads(&handlers->lanes[i], err);
    if (rc != 0) {
        handlers_stop(handlers);
        handlers_destroy(handlers);
        return rc;
    }
    *out = handlers;
    return 0;
}

/* Under the mutex. Takes what is queued, as a list. */
static struct handlers_task *take_all(struct lane *lane)
{
    struct handlers_task *list = NULL, **end = &list;
    while (lane->first != NULL) {
        struct handlers_client *client = leave_ring(lane);
        struct queue *queue = &client->queues[lane->index];
        while (queue->n_queued > 0) {
            struct handlers_task *task = pop(lane, queue);
            *end = task;
            end = &task->next;
        }
    }
    *end = NULL;
    return list;
}

static void drop_all(struct handlers *handlers, struct lane *lane)
{
    pthread_mutex_lock(&handlers->mutex);
    struct handlers_task *list = take_all(lane);
    pthread_mutex_unlock(&handlers->mutex);
    while (list != NULL) {
        struct handlers_task *task = list;
        list = task->next;
        task->turn(task, HANDLERS_DROP);
    }
}

void handlers_stop(struct handlers *handlers)
{
    pthread_mutex_lock(&handlers->mutex);
    atomic_store(&handlers->stopping, true);
    for (int i = 0; i < HANDLERS_LANES; i++) {
        for (uint32_t j = 0; j < handlers->lanes[i].n_started; j++)
            pthread_cond_signal(&handlers->lanes[i].threads[j].wake);
    }
    pthread_mutex_unlock(&handlers->mutex);
    for (int i = 0; i < HANDLERS_LANES; i++) {
        for (uint32_t j = 0; j < handlers->lanes[i].n_started; j++)
            pthread_join(handlers->lanes[i].threads[j].id, NULL);
    }
    /* A client with all the threads it may have is in no ring until one of them has ended. */
    for (int i = 0; i < HANDLERS_LANES; i++)
        drop_all(handlers, &handlers->lanes[i]);
}

bool handlers_is_stopping(const struct handlers *handlers)
{
    return atomic_load(&handlers->stopping);
}

void handlers_destroy(struct handlers *handlers)
{
    if (handlers == NULL)
        return;
    assert(handlers->clients == NULL);
    for (int i = 0; i < HANDLERS_LANES; i++) {
        for (uint32_t j = 0; j < handlers->lanes[i].n_started; j++)
            pthread_cond_destroy(&handlers->lanes[i].threads[j].wake);
        free(handlers->lanes[i].threads);
    }
    pthread_mutex_destroy(&handlers->mutex);
    free(handlers);
}
