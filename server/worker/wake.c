/* Wakes within a process: a counter under a mutex, and a condition variable. */
#include "server/worker/wake.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct wake {
    pthread_mutex_t mutex;
    pthread_cond_t sent; /* CLOCK_MONOTONIC */
    uint64_t n_sent;     /* under mutex */
};

int wake_create(struct wake **out, struct error *err)
{
    struct wake *wake = calloc(1, sizeof(*wake));
    if (wake == NULL)
        return error_set_nomem(err, "the worker's wake-ups");
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&wake->sent, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&wake->mutex, NULL);
    *out = wake;
    return 0;
}

void wake_destroy(struct wake *wake)
{
    if (wake == NULL)
        return;
    pthread_cond_destroy(&wake->sent);
    pthread_mutex_destroy(&wake->mutex);
    free(wake);
}

uint64_t wake_count(struct wake *wake)
{
    pthread_mutex_lock(&wake->mutex);
    uint64_t n_sent = wake->n_sent;
    pthread_mutex_unlock(&wake->mutex);
    return n_sent;
}

void wake_send(struct wake *wake)
{
    pthread_mutex_lock(&wake->mutex);
    wake->n_sent++;
    pthread_cond_broadcast(&wake->sent);
    pthread_mutex_unlock(&wake->mutex);
}

void wake_wait(struct wake *wake, uint64_t seen, uint32_t timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&wake->mutex);
    while (wake->n_sent <= seen &&
           pthread_cond_timedwait(&wake->sent, &wake->mutex, &deadline) == 0)
        continue;
    pthread_mutex_unlock(&wake->mutex);
}
