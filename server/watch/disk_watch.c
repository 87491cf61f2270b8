/* The log says once that room is short, or that the reserve was given up, and once that it is over.
 * While the database has something to give back, a step of it comes every SHRINK_PAUSE_MS: the
 * writer is the others' for most of the time. */
#include "server/watch/disk_watch.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "db/sql/shrink.h"

enum { TICK_MS = 1000, SHRINK_PAUSE_MS = 5 * DB_SHRINK_MS };

struct disk_watch {
    struct data *data;
    const struct log *log;
    pthread_t thread;
    bool is_short, is_unreserved; /* what the log knows; this one and the next are the thread's */
    bool is_shrinking;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
    bool stopping; /* guarded by mutex */
};

static void say(const struct disk_watch *watch, const struct room_state *room)
{
    const bool is_well = !watch->is_short && !watch->is_unreserved;
    log_write(watch->log, is_well ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
              is_well ? "disk_has_room" : "disk_short",
              (struct log_field[]){
                  log_integer("free_bytes", (int64_t)room->free_size),
                  log_integer("min_free_bytes", (int64_t)room->floor),
                  log_integer("reserve_bytes", (int64_t)room->reserve),
                  log_string("effect", watch->is_short ? "nothing new is taken" : NULL),
              },
              4);
}

static void look_at_room(struct disk_watch *watch)
{
    data_tend(watch->data);
    const struct room_state room = room_known(watch->data->room);
    const bool is_short = room_expect(watch->data->room, ROOM_NEW, 0, NULL) != 0;
    const bool is_unreserved = room.reserve == 0 && room.floor > 0;
    if (is_short == watch->is_short && is_unreserved == watch->is_unreserved)
        return;
    watch->is_short = is_short;
    watch->is_unreserved = is_unreserved;
    say(watch, &room);
}

/* Returns whether another step is due. */
static bool shrink_database(struct disk_watch *watch)
{
    struct error err = {0};
    bool more = false;
    int rc = db_shrink(watch->data->db, &more, &err);
    if (rc != 0 && rc != ERROR_FULL)
        log_write(watch->log, LOG_LEVEL_WARN, "database_not_shrunk",
                  (struct log_field[]){log_string("error", err.message)}, 1);
    if (rc == 0 && watch->is_shrinking && !more)
        log_write(watch->log, LOG_LEVEL_INFO, "database_shrunk", NULL, 0);
    watch->is_shrinking = rc == 0 && more;
    return watch->is_shrinking;
}

/* False when the thread is to end. */
static bool rest(struct disk_watch *watch, uint32_t ms)
{
    const int64_t deadline = clock_deadline_ms(ms);
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stopping && clock_cond_wait(&watch->stopped, &watch->mutex, deadline))
        continue;
    const bool go_on = !watch->stopping;
    pthread_mutex_unlock(&watch->mutex);
    return go_on;
}

static void *run(void *context)
{
    struct disk_watch *watch = context;
    bool more;
    do {
        look_at_room(watch);
        more = shrink_database(watch);
    } while (rest(watch, more ? SHRINK_PAUSE_MS : TICK_MS));
    return NULL;
}

int disk_watch_create(struct disk_watch **out, struct data *data, const struct log *log,
                      struct error *err)
{
    struct disk_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return error_set_nomem(err, "the watch of the disk");
    watch->data = data;
    watch->log = log;
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
    return error_set_errno(err, result, "the watch of the disk");
}

void disk_watch_destroy(struct disk_watch *watch)
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
