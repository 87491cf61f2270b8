#include "server/worker/job_waits.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum {
    IDLE_MS = 3600 * 1000, /* the longest sleep of the thread that keeps the time */
    LAST_SIZE = 256,
};

struct job_waits {
    pthread_t keeper;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t wake;   /* the keeper: a deadline earlier than its plan, or the end */
    pthread_cond_t told;   /* job_waits_shutdown: n_telling is 0 */
    uint32_t n_telling;    /* threads that call who waited, outside the mutex */
    struct job_wait *list;
    uint64_t n_published;
    /* How far the publications were at the last one for a job. Jobs share entries, by a hash of
     * their ids: then one looks at its job once more than it has to. */
    uint64_t last[LAST_SIZE];
    int64_t planned_ms; /* when the keeper looks next */
    bool shutdown;
    bool stopping;
};

static uint64_t *last_of(struct job_waits *waits, const char *job_id)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (const char *c = job_id; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619U;
    return &waits->last[hash % LAST_SIZE];
}

/* Takes the waits for a job out of the list (NULL: all), or those that are overdue at `now_ms`;
 * returns them as a list. Under the mutex. */
static struct job_wait *take(struct job_waits *waits, const char *job_id, int64_t now_ms,
                             enum job_wait_result result)
{
    struct job_wait *taken = NULL;
    for (struct job_wait **link = &waits->list; *link != NULL;) {
        struct job_wait *wait = *link;
        if (job_id != NULL ? strcmp(wait->job_id, job_id) != 0 : wait->deadline_ms > now_ms) {
            link = &wait->next;
            continue;
        }
        *link = wait->next;
        wait->result = result;
        wait->next = taken;
        taken = wait;
    }
    return taken;
}

/* Tells who waited, without the mutex, which is held before and after. */
static void tell(struct job_waits *waits, struct job_wait *list)
{
    if (list == NULL)
        return;
    waits->n_telling++;
    pthread_mutex_unlock(&waits->mutex);
    while (list != NULL) {
        struct job_wait *wait = list;
        list = wait->next;
        wait->ended(wait, wait->result);
    }
    pthread_mutex_lock(&waits->mutex);
    if (--waits->n_telling == 0)
        pthread_cond_broadcast(&waits->told);
}

static int64_t earliest(const struct job_waits *waits)
{
    int64_t deadline_ms = clock_now_ms() + IDLE_MS;
    for (const struct job_wait *wait = waits->list; wait != NULL; wait = wait->next)
        deadline_ms = wait->deadline_ms < deadline_ms ? wait->deadline_ms : deadline_ms;
    return deadline_ms;
}

static void *keep_time(void *argument)
{
    struct job_waits *waits = argument;
    pthread_mutex_lock(&waits->mutex);
    while (!waits->stopping) {
        struct job_wait *overdue = take(waits, NULL, clock_now_ms(), JOB_WAIT_TIMEOUT);
        if (overdue != NULL) {
            tell(waits, overdue);
            continue;
        }
        waits->planned_ms = earliest(waits);
        clock_cond_wait(&waits->wake, &waits->mutex, waits->planned_ms);
    }
    pthread_mutex_unlock(&waits->mutex);
    return NULL;
}

int job_waits_create(struct job_waits **out, struct error *err)
{
    struct job_waits *waits = calloc(1, sizeof(*waits));
    if (waits == NULL)
        return error_set_nomem(err, "job waits");
    clock_cond_init(&waits->wake);
    pthread_cond_init(&waits->told, NULL);
    pthread_mutex_init(&waits->mutex, NULL);
    int status = pthread_create(&waits->keeper, NULL, keep_time, waits);
    if (status != 0) {
        pthread_cond_destroy(&waits->wake);
        pthread_cond_destroy(&waits->told);
        pthread_mutex_destroy(&waits->mutex);
        free(waits);
        return error_set_errno(err, status, "cannot start a thread");
    }
    *out = waits;
    return 0;
}

void job_waits_destroy(struct job_waits *waits)
{
    if (waits == NULL)
        return;
    pthread_mutex_lock(&waits->mutex);
    waits->stopping = true;
    pthread_cond_signal(&waits->wake);
    pthread_mutex_unlock(&waits->mutex);
    pthread_join(waits->keeper, NULL);
    pthread_cond_destroy(&waits->wake);
    pthread_cond_destroy(&waits->told);
    pthread_mutex_destroy(&waits->mutex);
    free(waits);
}

void job_waits_publish(struct job_waits *waits, const char *job_id)
{
    pthread_mutex_lock(&waits->mutex);
    *last_of(waits, job_id) = ++waits->n_published;
    tell(waits, take(waits, job_id, 0, JOB_WAIT_PUBLISHED));
    pthread_mutex_unlock(&waits->mutex);
}

uint64_t job_waits_mark(struct job_waits *waits)
{
    pthread_mutex_lock(&waits->mutex);
    uint64_t mark = waits->n_published;
    pthread_mutex_unlock(&waits->mutex);
    return mark;
}

void job_waits_begin(struct job_waits *waits, struct job_wait *wait, const char *job_id,
                     int64_t deadline_ms, uint64_t mark)
{
    snprintf(wait->job_id, sizeof(wait->job_id), "%s", job_id);
    wait->deadline_ms = deadline_ms;
    pthread_mutex_lock(&waits->mutex);
    bool goes_on = !waits->shutdown && *last_of(waits, job_id) <= mark;
    enum job_wait_result result = waits->shutdown ? JOB_WAIT_SHUTDOWN : JOB_WAIT_PUBLISHED;
    if (goes_on) {
        wait->next = waits->list;
        waits->list = wait;
        if (deadline_ms < waits->planned_ms)
            pthread_cond_signal(&waits->wake);
    }
    pthread_mutex_unlock(&waits->mutex);
    if (!goes_on)
        wait->ended(wait, result);
}

/* ---- waiting that blocks ---- */

struct blocked {
    struct job_wait wait;
    pthread_mutex_t mutex; /* guards the next two */
    pthread_cond_t cond;
    bool over;
    enum job_wait_result result;
};

static void wake_blocked(struct job_wait *wait, enum job_wait_result result)
{
    struct blocked *blocked = (struct blocked *)wait; /* its first member */
    pthread_mutex_lock(&blocked->mutex);
    blocked->over = true;
    blocked->result = result;
    pthread_cond_signal(&blocked->cond);
    pthread_mutex_unlock(&blocked->mutex);
}

static enum job_wait_result block(struct job_waits *waits, struct blocked *blocked,
                                  const char *job_id, int64_t deadline_ms, uint64_t mark)
{
    blocked->over = false;
    job_waits_begin(waits, &blocked->wait, job_id, deadline_ms, mark);
    pthread_mutex_lock(&blocked->mutex);
    while (!blocked->over)
        pthread_cond_wait(&blocked->cond, &blocked->mutex);
    pthread_mutex_unlock(&blocked->mutex);
    return blocked->result;
}

enum job_wait_result job_waits_for(struct job_waits *waits, const char *job_id, uint32_t timeout_ms,
                                   job_wait_predicate done, void *context)
{
    const int64_t deadline_ms = clock_deadline_ms(timeout_ms);
    struct blocked blocked = {.wait = {.ended = wake_blocked},
                              .mutex = PTHREAD_MUTEX_INITIALIZER,
                              .cond = PTHREAD_COND_INITIALIZER};
    enum job_wait_result result = JOB_WAIT_PUBLISHED;
    while (result == JOB_WAIT_PUBLISHED) {
        uint64_t mark = job_waits_mark(waits);
        result = done(context, job_id) ? JOB_WAIT_DONE
                                       : block(waits, &blocked, job_id, deadline_ms, mark);
    }
    pthread_cond_destroy(&blocked.cond);
    pthread_mutex_destroy(&blocked.mutex);
    return result;
}

void job_waits_shutdown(struct job_waits *waits)
{
    pthread_mutex_lock(&waits->mutex);
    waits->shutdown = true;
    tell(waits, take(waits, NULL, INT64_MAX, JOB_WAIT_SHUTDOWN));
    /* Whoever is called may use what goes after this. */
    while (waits->n_telling > 0)
        pthread_cond_wait(&waits->told, &waits->mutex);
    pthread_mutex_unlock(&waits->mutex);
}

bool job_waits_is_shutdown(struct job_waits *waits)
{
    pthread_mutex_lock(&waits->mutex);
    bool shutdown = waits->shutdown;
    pthread_mutex_unlock(&waits->mutex);
    return shutdown;
}
