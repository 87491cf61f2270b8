/* Drivers claim jobs and run them, one each; the heart (heart.c) keeps their leases. The end of a
 * job is written by its driver, and only while its lease holds: who lost it leaves the job as if it
 * had never been claimed here. */
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
#include "server/worker/lease_owner.h"

enum {
    RETRY_MS = 1000,    /* pause after the database could not be read or written */
    ATTEMPTS_MAX = 100, /* claims without a stored result, then the job fails: a job that brings the
                           server down each time must not do so for ever */
};

/* Waits up to `ms` unless the worker stops. */
static void pause_ms(struct worker *worker, uint32_t ms)
{
    const int64_t deadline = clock_deadline_ms(ms);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stopping && clock_cond_wait(&worker->changed, &worker->mutex, deadline))
        continue;
    pthread_mutex_unlock(&worker->mutex);
}

static bool is_stopping(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    bool stopping = worker->stopping;
    pthread_mutex_unlock(&worker->mutex);
    return stopping;
}

/* ---- ending a job ---- */

static enum db_job_state final_state(int rc)
{
    if (rc == 0)
        return DB_JOB_SUCCEEDED;
    return rc == ERROR_CANCELLED ? DB_JOB_CANCELLED : DB_JOB_FAILED;
}

/* Writes the end of a job, DB_JOB_QUEUED: back into the queue. A database that cannot be written
 * now (disk full) is tried again until it can or the worker stops; then the row stays `running`
 * until its lease is over. ERROR_CONFLICT or ERROR_NOT_FOUND: the lease was lost. */
static int write_end(struct worker *worker, const struct db_lease *lease, enum db_job_state state,
                     const struct error *failure)
{
    for (;;) {
        struct error err = {0};
        int rc = state == DB_JOB_QUEUED
                     ? db_job_requeue(worker->engine.db, lease, &err)
                     : db_job_finish(worker->engine.db, lease, state,
                                     state == DB_JOB_FAILED ? error_code_name(failure->code) : NULL,
                                     state == DB_JOB_FAILED ? failure->message : NULL, &err);
        if (rc == 0 || rc == ERROR_CONFLICT || rc == ERROR_NOT_FOUND)
            return rc;
        worker_log_job(worker, LOG_LEVEL_ERROR, "job_end_not_stored", lease->job_id, "error",
                       err.message);
        if (is_stopping(worker))
            return rc;
        pause_ms(worker, RETRY_MS);
    }
}

static void count_end(struct worker *worker, enum db_job_state state)
{
    struct metrics *metrics = worker->engine.metrics;
    if (state == DB_JOB_SUCCEEDED)
        metrics_add(metrics, METRIC_JOBS_SUCCEEDED, 1);
    else if (state == DB_JOB_CANCELLED)
        metrics_add(metrics, METRIC_JOBS_CANCELLED, 1);
    else
        metrics_add(metrics, METRIC_JOBS_FAILED, 1);
}

static void end_job(struct driver *driver, const struct db_lease *lease, int rc,
                    const struct error *failure)
{
    struct worker *worker = driver->worker;
    int stop = atomic_load(&driver->control.stop);
    bool requeue = rc == ERROR_CANCELLED && stop == JOB_STOP_SHUTDOWN;
    enum db_job_state state = requeue ? DB_JOB_QUEUED : final_state(rc);
    int written = stop == JOB_STOP_LOST ? ERROR_CONFLICT : write_end(worker, lease, state, failure);
    if (written == ERROR_CONFLICT || written == ERROR_NOT_FOUND) {
        worker_log_job(worker, LOG_LEVEL_WARN, "job_lease_lost", lease->job_id, "owner",
                       lease->owner);
        return;
    }
    log_write(worker->log, state == DB_JOB_FAILED ? log_level_of_code(rc) : LOG_LEVEL_INFO,
              "job_ended",
              (struct log_field[]){
                  log_string("job", lease->job_id),
                  log_string("state", requeue ? "requeued" : db_job_state_name(state)),
                  log_string("error", state == DB_JOB_FAILED ? failure->message : NULL),
              },
              3);
    if (!requeue)
        count_end(worker, state);
}

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
    struct error err = {0};
    int rc;
    worker_log_job(worker, LOG_LEVEL_INFO, "job_started", job->id, "owner", lease->owner);
    set_running(driver, job, lease);
    if (job->attempts > ATTEMPTS_MAX)
        rc = error_set(&err, ERROR_IO, "interrupted %d times without progress", ATTEMPTS_MAX);
    else
        rc = job_run(&worker->engine, job, lease, &driver->control, &err);
    heart_settle(driver);
    end_job(driver, lease, rc, &err);
    set_idle(driver);
    job_waits_publish(worker->waits, job->id);
}

/* Claims the next job, waiting for one; false when the worker stops. */
static bool claim_next(struct driver *driver, struct db_job *job, struct db_lease *lease)
{
    struct worker *worker = driver->worker;
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
        int rc = db_job_claim(worker->engine.db, worker->owner, worker->lease_ms, job, lease, &err);
        if (rc == 0)
            return true;
        set_idle(driver);
        if (rc == ERROR_NOT_FOUND) {
            wake_wait(worker->wake, seen, worker->look_ms);
            continue;
        }
        worker_log_job(worker, LOG_LEVEL_ERROR, "job_claim_failed", NULL, "error", err.message);
        pause_ms(worker, RETRY_MS);
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

/* Requeues what dead processes left running. */
static int reap_at_start(const struct worker *worker, struct error *err)
{
    uint64_t n_requeued = 0;
    int rc = db_job_requeue_expired(worker->engine.db, worker->owner, lease_owner_is_gone,
                                    &n_requeued, err);
    if (rc == 0 && n_requeued > 0)
        log_write(worker->log, LOG_LEVEL_WARN, "jobs_requeued_at_start",
                  (struct log_field[]){log_integer("count", (int64_t)n_requeued)}, 1);
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
        wake_send(worker->wake);
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
