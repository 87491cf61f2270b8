/* The worker's mutex is held but for the time of a write to the database, during which `beating`
 * says that a driver's lease is in use. */
#include "server/worker/heart.h"

#include <assert.h>

#include "base/clock.h"
#include "server/worker/lease_owner.h"

enum { HEARTBEAT_MS = 500 }; /* between two looks at the progress of a job */

static bool must_beat(const struct driver *driver, int64_t now)
{
    if (atomic_load(&driver->control.stop) == JOB_STOP_LOST)
        return false;
    if (driver->asked)
        return true;
    const int64_t renew_ms = driver->worker->lease_ms / 4;
    if (now - driver->beat_ms < HEARTBEAT_MS && now - driver->beat_ms < renew_ms)
        return false;
    /* A job that makes no progress (it decodes) writes only to keep its lease. */
    return driver->beat_failed || now - driver->renewed_ms >= renew_ms ||
           atomic_load(&driver->control.n_chips_done) != driver->beat_n_done;
}

/* Writes a job's lease and progress and reads whether it is to stop. Called with the mutex held,
 * which is given up meanwhile; the driver does not leave the job before `beating` is over. */
static void beat(struct driver *driver)
{
    struct worker *worker = driver->worker;
    struct error err = {0};
    bool cancel = false;
    uint64_t n_done = atomic_load(&driver->control.n_chips_done);
    driver->asked = false;
    driver->beating = true;
    driver->has_beaten = true;
    driver->beat_n_done = n_done;
    pthread_mutex_unlock(&worker->mutex);
    int rc = db_job_heartbeat(worker->engine.db, &driver->lease, worker->lease_ms, n_done, &cancel,
                              &err);
    bool is_lost = rc == ERROR_CONFLICT || rc == ERROR_NOT_FOUND;
    if (rc < 0 && !is_lost)
        worker_log_fault(worker, WORKER_FAULT_HEARTBEAT, driver->lease.job_id, &err);
    pthread_mutex_lock(&worker->mutex);
    driver->beating = false;
    driver->beat_ms = clock_now_ms();
    driver->beat_failed = rc < 0; /* not the job's failure: it is tried again */
    if (rc == 0)
        driver->renewed_ms = driver->beat_ms;
    else if (is_lost)
        worker_ask_to_stop(driver, JOB_STOP_LOST);
    if (cancel)
        worker_ask_to_stop(driver, JOB_STOP_CANCEL);
    pthread_cond_broadcast(&worker->changed);
}

/* Beats for one driver that needs it; false when none did. *any: a job runs. */
static bool beat_one(struct worker *worker, bool *any)
{
    int64_t now = clock_now_ms();
    *any = false;
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        struct driver *driver = &worker->drivers[i];
        if (!driver->running)
            continue;
        *any = true;
        if (must_beat(driver, now)) {
            beat(driver);
            return true;
        }
    }
    return false;
}

/* Takes back the jobs of processes that died or hang. Called with the mutex held, which is given up
 * meanwhile. */
static void reap(struct worker *worker)
{
    struct error err = {0};
    uint64_t n_requeued = 0;
    pthread_mutex_unlock(&worker->mutex);
    if (db_job_requeue_expired(worker->engine.db, worker->owner, lease_owner_is_gone, &n_requeued,
                               &err) < 0)
        worker_log_fault(worker, WORKER_FAULT_REAP, NULL, &err);
    if (n_requeued > 0) {
        log_write(worker->log, LOG_LEVEL_WARN, "jobs_requeued",
                  (struct log_field[]){log_integer("count", (int64_t)n_requeued)}, 1);
        wake_send(worker->wake);
    }
    pthread_mutex_lock(&worker->mutex);
    worker->reap_ms = clock_now_ms() + worker->look_ms;
}

/* Sleeps until something changes or there may be something to do. Called with the mutex held. */
static void rest(struct worker *worker, bool any_running)
{
    const int64_t reap_in_ms = worker->reap_ms - clock_now_ms();
    const int64_t beat_in_ms =
        (worker->lease_ms < 4 * HEARTBEAT_MS ? worker->lease_ms / 4 : HEARTBEAT_MS) / 2;
    int64_t left_ms = any_running ? beat_in_ms : worker->look_ms;
    if (!worker->stopping && reap_in_ms < left_ms)
        left_ms = reap_in_ms > 0 ? reap_in_ms : 0;
    clock_cond_wait(&worker->changed, &worker->mutex, clock_deadline_ms((uint32_t)left_ms));
}

void *heart_run(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->mutex);
    while (!worker->heart_stops) {
        bool any_running;
        assert(worker_check(worker));
        if (beat_one(worker, &any_running))
            continue;
        if (!worker->stopping && clock_now_ms() >= worker->reap_ms)
            reap(worker);
        else
            rest(worker, any_running);
    }
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

void heart_settle(struct driver *driver)
{
    struct worker *worker = driver->worker;
    bool cancel;
    pthread_mutex_lock(&worker->mutex);
    while (driver->beating)
        pthread_cond_wait(&worker->changed, &worker->mutex);
    uint64_t n_done = atomic_load(&driver->control.n_chips_done);
    bool stale = driver->has_beaten && driver->beat_n_done != n_done;
    pthread_mutex_unlock(&worker->mutex);
    if (stale)
        db_job_heartbeat(worker->engine.db, &driver->lease, worker->lease_ms, n_done, &cancel,
                         NULL);
}
