/* The log says once that the directory is lost, and once that it is back: what is refused meanwhile
 * is seen at the requests, and readyz asks for itself. */
#include "server/watch/data_watch.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"

enum { TICK_MS = 1000 };

struct data_watch {
    struct data *data;
    struct data_watch_config config;
    pthread_t thread;
    bool is_lost; /* the thread's */
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stopping; /* guarded by mutex */
};

static void look_at_directory(struct data_watch *watch)
{
    struct error err = {0};
    const bool is_lost = data_check(watch->data, &err) != 0;
    if (is_lost == watch->is_lost)
        return;
    watch->is_lost = is_lost;
    log_write(watch->config.log, is_lost ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
              is_lost ? "data_lost" : "data_is_back",
              (struct log_field[]){log_string("data", watch->data->directory),
                                   log_string("error", is_lost ? err.message : NULL)},
              2);
}

/* False when the thread is to end. */
static bool rest(struct data_watch *watch)
{
    const int64_t deadline = clock_deadline_ms(TICK_MS);
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stopping && clock_cond_wait(&watch->stopped, &watch->mutex, deadline))
        continue;
    const bool go_on = !watch->stopping;
    pthread_mutex_unlock(&watch->mutex);
    return go_on;
}

static void *run(void *context)
{
    struct data_watch *watch = context;
    do {
        look_at_directory(watch);
    } while (rest(watch));
    return NULL;
}

int data_watch_create(struct data_watch **out, struct data *data,
                      const struct data_watch_config *config, struct error *err)
{
    struct data_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_set_nomem(err, "the watch of the data directory");
    watch->data = data;
    watch->config = *config;
    pthread_mutex_init(&watch->mutex, NULL);
    int result = clock_cond_init(&watch->stopped);
    if (result == 0) {
        result = pthread_create(&watch->thread, NULL, run, watch);
        if (result == 0) {
            *out = watch;
            return 0;
        }
        pthread_cond_destroy(&watch->stopped);
    }
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
    return error_set_errno(err, result, "the watch of the data directory");
}

void data_watch_destroy(struct data_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->stopping = true;
    pthread_cond_signal(&watch->stopped);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->stopped);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}
