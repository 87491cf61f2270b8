/* Wakes within a process: a counter under a mutex, and a condition variable. */
#include "server/worker/wake.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

struct wake {
    pthread_mutex_t mutex;
    pthread_cond_t sent;
    uint64_t n_sent; /* under mutex */
};

int wake_create(struct wake **out, struct error *err)
{
    struct wake *wake = calloc(1, sizeof(*wake));
    if (wake == NULL)
        return error_set_nomem(err, "the worker's wake-ups");
    clock_cond_init(&wake->sent);
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
    pthread_cond_signal(&wake->sent);
    pthread_mutex_unlock(&wake->mutex);
}

void wake_send_all(struct wake *wake)
{
    pthread_mutex_lock(&wake->mutex);
    wake->n_sent++;
    pthread_cond_broadcast(&wake->sent);
    pthread_mutex_unlock(&wake->mutex);
}

void wake_wait(struct wake *wake, uint64_t seen, uint32_t timeout_ms)
{
    const int64_t deadline = clock_deadline_ms(timeout_ms);
    pthread_mutex_lock(&wake->mutex);
    while (wake->n_sent <= seen && clock_cond_wait(&wake->sent, &wake->mutex, deadline))
        continue;
    pthread_mutex_unlock(&wake->mutex);
}
