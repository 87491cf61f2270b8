/* Threads: one driver a running job, and one heart for all of them. The heart renews leases, stores
 * progress and learns of cancellations, so that no thread that computes ever waits for the
 * database, and a lease lives on while an image decodes. It also takes back the jobs of processes
 * that died. A job is cancelled because its row says so, never because of a notification: the
 * driver may have claimed a job before the one who inserted it has told anyone.
 *
 * A process that was stopped or suspended for longer than its lease finds out at its next write,
 * whichever that is: the heart's, a result's or the end's. Then the job is another's, and is left
 * as if it had never been claimed here.
 */
#include "server/worker/worker.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "server/worker/lease_owner.h"
#include "server/worker/wake.h"

enum {
    WORKER_DRIVERS_MAX = 64,
    HEARTBEAT_MS = 500, /* between two looks at the progress of a job */
    RETRY_MS = 1000,    /* pause after the database could not be read or written */
    ATTEMPTS_MAX = 100, /* claims without a stored result, then the job fails: a job that brings the
                           server down each time must not do so for ever */
};

struct driver {
    struct worker *worker;
    pthread_t thread;
    /* Guarded by the worker's mutex: */
    bool claiming; /* asks the database for a job, whose id it does not know yet */
    bool running;
    struct db_lease lease;
    uint64_t n_chips_total;
    struct timespec started;
    bool asked;      /* a notification came: look at the row at once */
    bool beating;    /* the heart is writing to the row */
    bool has_beaten; /* the heart has written to this job's row */
    bool beat_failed;
    int64_t beat_ms;            /* when it last looked */
    int64_t renewed_ms;         /* when it last wrote */
    uint64_t beat_n_done;       /* the progress it wrote last */
    struct job_control control; /* its fields are atomic */
};

struct worker {
    struct job_engine engine;
    struct job_waits *waits;
    const struct log *log;
    char owner[DB_OWNER_SIZE];
    uint32_t lease_ms;
    uint32_t look_ms;  /* between two looks at what other processes did: jobs that they queued, and
                          leases that they let end */
    struct wake *wake; /* sent when there may be a job to claim */
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* any of what follows, or of what a driver says, changed */
    int64_t reap_ms;        /* when to look for the jobs of dead processes again */
    bool stopping;          /* no more jobs are claimed */
    bool halting;           /* jobs that run are given up, also one that was just being claimed */
    bool heart_stops;
    bool heart_runs;
    pthread_t heart;
    uint32_t n_drivers;
    struct driver drivers[];
};

static void add_ms(struct timespec *time, uint32_t ms)
{
    time->tv_sec += ms / 1000;
    time->tv_nsec += (long)(ms % 1000) * 1000000;
    if (time->tv_nsec >= 1000000000) {
        time->tv_sec++;
        time->tv_nsec -= 1000000000;
    }
}

/* Waits up to `ms` unless the worker stops. */
static void pause_ms(struct worker *worker, uint32_t ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    add_ms(&deadline, ms);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stopping &&
           pthread_cond_timedwait(&worker->changed, &worker->mutex, &deadline) == 0)
        ;
    pthread_mutex_unlock(&worker->mutex);
}

static bool is_stopping(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    bool stopping = worker->stopping;
    pthread_mutex_unlock(&worker->mutex);
    return stopping;
}

static void log_job(const struct worker *worker, enum log_level level, const char *event,
                    const char *job_id, const char *key, const char *value)
{
    log_write(worker->log, level, event,
              (struct log_field[]){log_string("job", job_id), log_string(key, value)}, 2);
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
        log_job(worker, LOG_LEVEL_ERROR, "job_end_not_stored", lease->job_id, "error", err.message);
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
        log_job(worker, LOG_LEVEL_WARN, "job_lease_lost", lease->job_id, "owner", lease->owner);
        return;
    }
    log_write(worker->log, state == DB_JOB_FAILED ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "job_ended",
              (struct log_field[]){
                  log_string("job", lease->job_id),
                  log_string("state", requeue ? "requeued" : db_job_state_name(state)),
                  log_string("error", state == DB_JOB_FAILED ? failure->message : NULL),
              },
              3);
    if (!requeue)
        count_end(worker, state);
}

/* ---- the heart ---- */

static void ask_to_stop(struct driver *driver, enum job_stop why)
{
    int none = JOB_STOP_NONE;
    atomic_compare_exchange_strong(&driver->control.stop, &none, why);
}

static bool must_beat(const struct driver *driver, int64_t now)
{
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
        log_job(worker, LOG_LEVEL_WARN, "job_heartbeat_failed", driver->lease.job_id, "error",
                err.message);
    pthread_mutex_lock(&worker->mutex);
    driver->beating = false;
    driver->beat_ms = clock_now_ms();
    driver->beat_failed = rc < 0; /* not the job's failure: it is tried again */
    if (rc == 0)
        driver->renewed_ms = driver->beat_ms;
    else if (is_lost)
        ask_to_stop(driver, JOB_STOP_LOST);
    if (cancel)
        ask_to_stop(driver, JOB_STOP_CANCEL);
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
        log_write(worker->log, LOG_LEVEL_WARN, "jobs_not_requeued",
                  (struct log_field[]){log_string("error", err.message)}, 1);
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
    struct timespec deadline;
    int64_t left_ms = worker->reap_ms - clock_now_ms();
    int64_t beat_ms =
        worker->lease_ms / 8 < HEARTBEAT_MS / 2 ? worker->lease_ms / 8 : HEARTBEAT_MS / 2;
    if (any_running && left_ms > beat_ms)
        left_ms = beat_ms;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    add_ms(&deadline, left_ms > 0 ? (uint32_t)left_ms : 0);
    pthread_cond_timedwait(&worker->changed, &worker->mutex, &deadline);
}

static void *keep_beating(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->mutex);
    while (!worker->heart_stops) {
        bool any_running;
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

/* Before a job's end is written: what the heart wrote last may be older than the last result. */
static void settle_progress(struct driver *driver)
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
    log_job(worker, LOG_LEVEL_INFO, "job_started", job->id, "owner", lease->owner);
    set_running(driver, job, lease);
    if (job->attempts > ATTEMPTS_MAX)
        rc = error_set(&err, ERROR_IO, "interrupted %d times without progress", ATTEMPTS_MAX);
    else
        rc = job_run(&worker->engine, job, lease, &driver->control, &err);
    settle_progress(driver);
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
        log_job(worker, LOG_LEVEL_ERROR, "job_claim_failed", NULL, "error", err.message);
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
    int rc = pthread_create(&worker->heart, NULL, keep_beating, worker);
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
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->changed, &attributes);
    pthread_condattr_destroy(&attributes);
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

void worker_stop(struct worker *worker, uint32_t drain_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    add_ms(&deadline, drain_ms);
    pthread_mutex_lock(&worker->mutex);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
    if (worker->wake != NULL)
        wake_send(worker->wake);
    pthread_mutex_lock(&worker->mutex);
    while (any_busy(worker) &&
           pthread_cond_timedwait(&worker->changed, &worker->mutex, &deadline) == 0)
        ;
    worker->halting = true;
    for (uint32_t i = 0; i < worker->n_drivers; i++)
        ask_to_stop(&worker->drivers[i], JOB_STOP_SHUTDOWN);
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
