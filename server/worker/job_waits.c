#include "server/worker/job_waits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* Lives on the stack of the waiting thread; linked in while it waits. */
struct waiter {
    struct waiter *next;
    const char *job_id;
    bool published; /* since the predicate was last called; under waits.mutex */
};

struct job_waits {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct waiter *waiters; /* under mutex */
    bool shutdown;          /* under mutex */
};

int job_waits_create(struct job_waits **out, struct error *err)
{
    struct job_waits *waits = calloc(1, sizeof(*waits));
    if (waits == NULL)
        return error_set_nomem(err, "job waits");
    clock_cond_init(&waits->changed);
    pthread_mutex_init(&waits->mutex, NULL);
    *out = waits;
    return 0;
}

void job_waits_destroy(struct job_waits *waits)
{
    if (waits == NULL)
        return;
    pthread_cond_destroy(&waits->changed);
    pthread_mutex_destroy(&waits->mutex);
    free(waits);
}

void job_waits_publish(struct job_waits *waits, const char *job_id)
{
    bool any = false;
    pthread_mutex_lock(&waits->mutex);
    for (struct waiter *waiter = waits->waiters; waiter != NULL; waiter = waiter->next) {
        if (strcmp(waiter->job_id, job_id) == 0) {
            waiter->published = true;
            any = true;
        }
    }
    if (any)
        pthread_cond_broadcast(&waits->changed);
    pthread_mutex_unlock(&waits->mutex);
}

static void unlink_waiter(struct job_waits *waits, struct waiter *waiter)
{
    struct waiter **link = &waits->waiters;
    while (*link != waiter)
        link = &(*link)->next;
    *link = waiter->next;
}

enum job_wait_result job_waits_for(struct job_waits *waits, const char *job_id, uint32_t timeout_ms,
                                   job_wait_predicate done, void *context)
{
    const int64_t deadline = clock_deadline_ms(timeout_ms);
    struct waiter waiter = {.job_id = job_id};
    enum job_wait_result result = JOB_WAIT_TIMEOUT;

    pthread_mutex_lock(&waits->mutex);
    waiter.next = waits->waiters;
    waits->waiters = &waiter;
    for (bool in_time = true;;) {
        waiter.published = false;
        pthread_mutex_unlock(&waits->mutex);
        bool is_done = done(context, job_id);
        pthread_mutex_lock(&waits->mutex);
        if (is_done) {
            result = JOB_WAIT_DONE;
            break;
        }
        while (!waiter.published && !waits->shutdown && in_time)
            in_time = clock_cond_wait(&waits->changed, &waits->mutex, deadline);
        if (waits->shutdown)
            result = JOB_WAIT_SHUTDOWN;
        if (waits->shutdown || !waiter.published)
            break;
    }
    unlink_waiter(waits, &waiter);
    pthread_mutex_unlock(&waits->mutex);
    return result;
}

void job_waits_shutdown(struct job_waits *waits)
{
    pthread_mutex_lock(&waits->mutex);
    waits->shutdown = true;
    pthread_cond_broadcast(&waits->changed);
    pthread_mutex_unlock(&waits->mutex);
}

bool job_waits_is_shutdown(struct job_waits *waits)
{
    pthread_mutex_lock(&waits->mutex);
    bool shutdown = waits->shutdown;
    pthread_mutex_unlock(&waits->mutex);
    return shutdown;
}
