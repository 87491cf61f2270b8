/* Drivers claim jobs and run them, one each; the heart (heart.c) keeps their leases, and what is
 * written at the end is decided in job_end.c. */
#include "server/worker/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "server/worker/heart.h"
#include "server/worker/job_end.h"
#include "server/worker/lease_owner.h"

enum {
    ATTEMPTS_MAX = 100, /* claims without a stored result, then the job fails: a job that brings the
                           server down each time must not do so for ever */
};

/* ---- drivers ---- */

static void set_running(struct driver *driver, const struct db_job *job,
                        const struct db_lease *lease)
{
    struct worker *worker = driver->worker;
    pthread_mutex_lock(&worker->mutex);
    driver->claiming = false;
    driver->running = true;
    driver->lease = *lease;
    driver->n_chips_total = job->n_chips_total;
    clock_gettime(CLOCK_MONOTONIC, &driver->started);
    driver->beat_ms = driver->renewed_ms = clock_now_ms();
    driver->beat_n_done = 0;
    driver->has_beaten = driver->beat_failed = false;
    atomic_store(&driver->control.stop, worker->halting ? JOB_STOP_SHUTDOWN : JOB_STOP_NONE);
    atomic_store(&driver->control.n_chips_done, 0);
    atomic_store(&driver->control.n_chips_encoded, 0);
    assert(worker_check(worker));
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
}

static void set_idle(struct driver *driver)
{
    struct worker *worker = driver->worker;
    pthread_mutex_lock(&worker->mutex);
    driver->running = false;
    driver->claiming = false;
    while (driver->beating)
        pthread_cond_wait(&worker->changed, &worker->mutex);
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
}

static void run_claimed(struct driver *driver, const struct db_job *job,
                        const struct db_lease *lease)
{
    struct worker *worker = driver->worker;
    struct job_outcome outcome = {0};
    worker_log_job(worker, LOG_LEVEL_INFO, "job_started", job->id, "owner", lease->owner);
    set_running(driver, job, lease);
    if (job->attempts > ATTEMPTS_MAX) {
        outcome.is_last = true;
        outcome.rc = error_set(&outcome.failure, ERROR_IO, "interrupted %d times without progress",
                               ATTEMPTS_MAX);
    } else {
        outcome.rc = job_run(&worker->engine, job, lease, &driver->control, &outcome.failure);
    }
    heart_settle(driver);
    job_end(driver, lease, &outcome);
    set_idle(driver);
    job_waits_publish(worker->waits, job->id);
}

/* Jobs that wait for room on the disk are claimed when there is as much as a server wants that is
 * to be ready. */
static enum db_room look_for_room(const struct worker *worker)
{
    return room_require(worker->engine.room, ROOM_NEW, 0, NULL) == ERROR_FULL ? DB_NO_ROOM
                                                                              : DB_ROOM;
}

/* Until somebody queues a job, one that was put off may be tried, or others may have done so. */
static void wait_for_job(struct worker *worker, uint64_t seen)
{
    uint32_t wait_ms = worker->look_ms;
    if (db_job_due_in(worker->engine.db, worker->look_ms, &wait_ms, NULL) != 0)
        wait_ms = worker->look_ms;
    wake_wait(worker->wake, seen, wait_ms);
}

/* Claims the next job, waiting for one; false when the worker stops. */
static bool claim_next(struct driver *driver, struct db_job *job, struct db_lease *lease)
{
    struct worker *worker = driver->worker;
    uint32_t pause_ms = WORKER_PAUSE_MS;
    for (;;) {
        uint64_t seen = wake_count(worker->wake);
        pthread_mutex_lock(&worker->mutex);
        bool stopping = worker->stopping;
        driver->claiming = !stopping;
        driver->asked = false;
        assert(worker_check(worker));
        pthread_mutex_unlock(&worker->mutex);
        if (stopping)
            return false;
        struct error err = {0};
        int rc = db_job_claim_with(worker->engine.db, worker->owner, worker->lease_ms,
                                   look_for_room(worker), job, lease, &err);
        if (rc == 0) {
            /* One wake may stand for several jobs. */
            wake_send(worker->wake);
            return true;
        }
        set_idle(driver);
        if (rc == ERROR_NOT_FOUND) {
            wait_for_job(worker, seen);
            pause_ms = WORKER_PAUSE_MS;
            continue;
        }
        worker_log_fault(worker, WORKER_FAULT_CLAIM, NULL, &err);
        worker_pause(worker, &pause_ms);
    }
}

static void *drive(void *argument)
{
    struct driver *driver = argument;
    struct db_job job = {0};
    struct db_lease lease;
    while (claim_next(driver, &job, &lease)) {
        run_claimed(driver, &job, &lease);
        db_job_clear(&job);
        job = (struct db_job){0};
    }
    return NULL;
}

/* ---- public ---- */

static int start_drivers(struct worker *worker, uint32_t n, struct error *err)
{
    int rc = 0;
    /* Under the mutex: the heart counts the drivers. */
    pthread_mutex_lock(&worker->mutex);
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        struct driver *driver = &worker->drivers[i];
        driver->worker = worker;
        rc = pthread_create(&driver->thread, NULL, drive, driver);
        if (rc == 0)
            worker->n_drivers++;
    }
    pthread_mutex_unlock(&worker->mutex);
    return rc == 0 ? 0 : error_set_errno(err, rc, "starting a job driver");
}

static int start_threads(struct worker *worker, uint32_t n, struct error *err)
{
    int rc = pthread_create(&worker->heart, NULL, heart_run, worker);
    if (rc != 0)
        return error_set_errno(err, rc, "starting the jobs' heart");
    worker->heart_runs = true;
    return start_drivers(worker, n, err);
}

/* Requeues what dead processes left running, and tells of what nobody can take. */
static int reap_at_start(const struct worker *worker, struct error *err)
{
    uint64_t n_requeued = 0, n_damaged = 0;
    int rc = db_job_requeue_expired(worker->engine.db, worker->owner, lease_owner_is_gone,
                                    &n_requeued, err);
    if (rc == 0 && n_requeued > 0)
        log_write(worker->log, LOG_LEVEL_WARN, "jobs_requeued_at_start",
                  (struct log_field[]){log_integer("count", (int64_t)n_requeued)}, 1);
    if (rc == 0)
        rc = db_job_count_damaged(worker->engine.db, &n_damaged, err);
    if (rc == 0 && n_damaged > 0)
        log_write(worker->log, LOG_LEVEL_ERROR, "jobs_without_id",
                  (struct log_field[]){log_integer("count", (int64_t)n_damaged)}, 1);
    return rc;
}

static int start(struct worker *worker, uint32_t n_drivers, struct error *err)
{
    lease_owner_create(worker->owner);
    int rc = wake_create(&worker->wake, err);
    if (rc == 0)
        rc = reap_at_start(worker, err);
    worker->reap_ms = clock_now_ms() + worker->look_ms;
    return rc < 0 ? rc : start_threads(worker, n_drivers, err);
}

int worker_create(struct worker **out, const struct worker_config *config,
                  const struct job_engine *engine, struct job_waits *waits, const struct log *log,
                  struct error *err)
{
    uint32_t n = config->max_running_jobs;
    if (n < 1 || n > WORKER_DRIVERS_MAX)
        return error_set(err, ERROR_INVALID, "max running jobs: %u is not within 1..%d", n,
                         WORKER_DRIVERS_MAX);
    struct worker *worker = calloc(1, sizeof(*worker) + n * sizeof(worker->drivers[0]));
    if (worker == NULL)
        return error_set_nomem(err, "the worker");
    worker->engine = *engine;
    worker->waits = waits;
    worker->log = log;
    worker->lease_ms = config->lease_ms != 0 ? config->lease_ms : WORKER_LEASE_MS;
    worker->look_ms = worker->lease_ms / 3;
    worker->retry = config->retry;
    if (worker->retry.max_attempts == 0)
        worker->retry.max_attempts = WORKER_ATTEMPTS;
    if (worker->retry.first_delay_ms == 0)
        worker->retry.first_delay_ms = WORKER_RETRY_DELAY_MS;
    pthread_mutex_init(&worker->mutex, NULL);
    clock_cond_init(&worker->changed);
    int rc = start(worker, n, err);
    if (rc < 0) {
        worker_stop(worker, 0);
        worker_destroy(worker);
    } else {
        *out = worker;
    }
    return rc;
}

void worker_notify(struct worker *worker, const char *job_id)
{
    pthread_mutex_lock(&worker->mutex);
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        struct driver *driver = &worker->drivers[i];
        if (driver->claiming || (driver->running && strcmp(driver->lease.job_id, job_id) == 0))
            driver->asked = true;
    }
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    wake_send(worker->wake);
}

double worker_eta(struct worker *worker, const char *job_id)
{
    double eta = -1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&worker->mutex);
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        struct driver *driver = &worker->drivers[i];
        if (!driver->running || strcmp(driver->lease.job_id, job_id) != 0)
            continue;
        double encoded = (double)atomic_load(&driver->control.n_chips_encoded);
        double done = (double)atomic_load(&driver->control.n_chips_done);
        double seconds = (double)(now.tv_sec - driver->started.tv_sec) +
                         (double)(now.tv_nsec - driver->started.tv_nsec) / 1e9;
        double left = (double)driver->n_chips_total - done;
        if (encoded > 0 && left >= 0)
            eta = left * seconds / encoded;
    }
    pthread_mutex_unlock(&worker->mutex);
    return eta;
}

static bool any_busy(const struct worker *worker)
{
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        if (worker->drivers[i].running || worker->drivers[i].claiming)
            return true;
    }
    return false;
}

static void stop_heart(struct worker *worker)
{
    if (!worker->heart_runs)
        return;
    pthread_mutex_lock(&worker->mutex);
    worker->heart_stops = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->heart, NULL);
    worker->heart_runs = false;
}

bool worker_drain(struct worker *worker, uint32_t timeout_ms)
{
    const int64_t deadline = clock_deadline_ms(timeout_ms);
    pthread_mutex_lock(&worker->mutex);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    if (worker->wake != NULL)
        wake_send_all(worker->wake);
    pthread_mutex_lock(&worker->mutex);
    while (any_busy(worker) && clock_cond_wait(&worker->changed, &worker->mutex, deadline))
        continue;
    const bool idle = !any_busy(worker);
    pthread_mutex_unlock(&worker->mutex);
    return idle;
}

void worker_stop(struct worker *worker, uint32_t drain_ms)
{
    worker_drain(worker, drain_ms);
    pthread_mutex_lock(&worker->mutex);
    worker->halting = true;
    for (uint32_t i = 0; i < worker->n_drivers; i++)
        worker_ask_to_stop(&worker->drivers[i], JOB_STOP_SHUTDOWN);
    uint32_t n_drivers = worker->n_drivers;
    pthread_mutex_unlock(&worker->mutex);
    for (uint32_t i = 0; i < n_drivers; i++)
        pthread_join(worker->drivers[i].thread, NULL);
    stop_heart(worker);
    worker->n_drivers = 0;
}

void worker_destroy(struct worker *worker)
{
    if (worker == NULL)
        return;
    assert(worker->n_drivers == 0 && !worker->heart_runs);
    wake_destroy(worker->wake);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}
