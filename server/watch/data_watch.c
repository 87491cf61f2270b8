/* The log says once that the directory is lost, and once that it is back: what is refused meanwhile
 * is seen at the requests, and readyz asks for itself. */
#include "server/watch/data_watch.h"

#include <linux/ioprio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/watch/scrub.h"

enum { TICK_MS = 1000, SCRUB_PART = 8 << 20, BUSY_SHARE = 4 };

struct data_watch {
    struct data *data;
    struct pool *pool;
    struct data_watch_config config;
    pthread_t thread;
    struct scrub *scrub; /* this one and the next two are the thread's */
    bool is_lost;
    int64_t pass_ms; /* when the next pass begins, or the present one began */
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    atomic_bool stopping; /* set under the mutex */
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

static void end_pass(struct data_watch *watch)
{
    const struct scrub_counts counts = scrub_counts(watch->scrub);
    const int64_t now = clock_now_ms();
    log_write(watch->config.log, counts.n_damaged > 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
              "data_scrubbed",
              (struct log_field[]){log_integer("files", (int64_t)counts.n_files),
                                   log_integer("bytes", (int64_t)counts.size),
                                   log_integer("damaged", (int64_t)counts.n_damaged),
                                   log_integer("unreadable", (int64_t)counts.n_unreadable),
                                   log_integer("seconds", (now - watch->pass_ms) / 1000)},
              5);
    watch->pass_ms = now + (int64_t)watch->config.scrub_interval_s * 1000;
}

/* A second's part of a pass, in parts between which the thread can be ended. */
static void scrub(struct data_watch *watch)
{
    uint64_t left = watch->config.scrub_rate;
    if (left == 0 || watch->is_lost || clock_now_ms() < watch->pass_ms)
        return;
    if (pool_n_waiting(watch->pool) > 0)
        left = left / BUSY_SHARE + 1;
    while (left > 0 && !atomic_load(&watch->stopping)) {
        const uint64_t part = left < SCRUB_PART ? left : SCRUB_PART;
        if (scrub_step(watch->scrub, part) == SCRUB_PASS_ENDED) {
            end_pass(watch);
            return;
        }
        left -= part;
    }
}

/* Whatever else wants the processor or the disk goes first, where the system can tell. */
static void give_way(void)
{
    const pid_t thread = gettid();
    setpriority(PRIO_PROCESS, (id_t)thread, 19);
    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, thread, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

/* False when the thread is to end. */
static bool rest(struct data_watch *watch)
{
    const int64_t deadline = clock_deadline_ms(TICK_MS);
    pthread_mutex_lock(&watch->mutex);
    while (!atomic_load(&watch->stopping) &&
           clock_cond_wait(&watch->stopped, &watch->mutex, deadline))
        continue;
    const bool go_on = !atomic_load(&watch->stopping);
    pthread_mutex_unlock(&watch->mutex);
    return go_on;
}

static void *run(void *context)
{
    struct data_watch *watch = context;
    give_way();
    do {
        look_at_directory(watch);
        scrub(watch);
    } while (rest(watch));
    return NULL;
}

static int start(struct data_watch *watch, struct error *err)
{
    int result = clock_cond_init(&watch->stopped);
    if (result != 0)
        return error_set_errno(err, result, "the watch of the data directory");
    result = pthread_create(&watch->thread, NULL, run, watch);
    if (result == 0)
        return 0;
    pthread_cond_destroy(&watch->stopped);
    return error_set_errno(err, result, "the watch of the data directory");
}

static void release(struct data_watch *watch)
{
    scrub_destroy(watch->scrub);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
}

int data_watch_create(struct data_watch **out, struct data *data, struct pool *pool,
                      const struct data_watch_config *config, struct error *err)
{
    struct data_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_set_nomem(err, "the watch of the data directory");
    watch->data = data;
    watch->pool = pool;
    watch->config = *config;
    watch->pass_ms = clock_now_ms();
    pthread_mutex_init(&watch->mutex, NULL);
    int rc = scrub_create(&watch->scrub, data->store, config->log, err);
    if (rc == 0)
        rc = start(watch, err);
    if (rc == 0)
        *out = watch;
    else
        release(watch);
    return rc;
}

void data_watch_destroy(struct data_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    atomic_store(&watch->stopping, true);
    pthread_cond_signal(&watch->stopped);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->stopped);
    release(watch);
}
