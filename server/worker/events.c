#include "server/worker/events.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Lives on the stack of the waiting thread; linked in while it waits. */
struct waiter {
    struct waiter *next;
    const char *job_id;
    bool published; /* since the predicate was last called; under events.mutex */
};

struct events {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct waiter *waiters; /* under mutex */
    bool shutdown;          /* under mutex */
};

int events_create(struct events **out, struct error *err)
{
    struct events *events = calloc(1, sizeof(*events));
    if (events == NULL)
        return error_set_nomem(err, "job events");
    clock_cond_init(&events->changed);
    pthread_mutex_init(&events->mutex, NULL);
    *out = events;
    return 0;
}

void events_destroy(struct events *events)
{
    if (events == NULL)
        return;
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->mutex);
    free(events);
}

void events_publish(struct events *events, const char *job_id)
{
    bool any = false;
    pthread_mutex_lock(&events->mutex);
    for (struct waiter *waiter = events->waiters; waiter != NULL; waiter = waiter->next) {
        if (strcmp(waiter->job_id, job_id) == 0) {
            waiter->published = true;
            any = true;
        }
    }
    if (any)
        pthread_cond_broadcast(&events->changed);
    pthread_mutex_unlock(&events->mutex);
}

static void unlink_waiter(struct events *events, struct waiter *waiter)
{
    struct waiter **link = &events->waiters;
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
}

enum events_result events_wait(struct events *events, const char *job_id, uint32_t timeout_ms,
                               events_predicate done, void *context)
{
    const int64_t deadline = clock_deadline_ms(timeout_ms);
    struct waiter waiter = {.job_id = job_id};
    enum events_result result = EVENTS_TIMEOUT;

    pthread_mutex_lock(&events->mutex);
    waiter.next = events->waiters;
    events->waiters = &waiter;
    for (bool in_time = true;;) {
        waiter.published = false;
        pthread_mutex_unlock(&events->mutex);
        bool is_done = done(context, job_id);
        pthread_mutex_lock(&events->mutex);
        if (is_done) {
            result = EVENTS_DONE;
            break;
        }
        while (!waiter.published && !events->shutdown && in_time)
            in_time = clock_cond_wait(&events->changed, &events->mutex, deadline);
        if (events->shutdown)
            result = EVENTS_SHUTDOWN;
        if (events->shutdown || !waiter.published)
            break;
    }
    unlink_waiter(events, &waiter);
    pthread_mutex_unlock(&events->mutex);
    return result;
}

void events_shutdown(struct events *events)
{
    pthread_mutex_lock(&events->mutex);
    events->shutdown = true;
    pthread_cond_broadcast(&events->changed);
    pthread_mutex_unlock(&events->mutex);
}

bool events_is_shutdown(struct events *events)
{
    pthread_mutex_lock(&events->mutex);
    bool shutdown = events->shutdown;
    pthread_mutex_unlock(&events->mutex);
    return shutdown;
}
