/* Threads: one driver a running job, and one heart for all of them. The heart renews leases, stores
 * progress and learns of cancellations, so that no thread that computes ever waits for the
 * database, and a lease lives on while an image decodes. A job is cancelled because its row says
 * so, never because of a notification: the driver may have claimed a job before the one who
 * inserted it has told anyone.
 */
#include "server/worker/worker.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    WORKER_DRIVERS_MAX = 64,
    RETRY_MS = 1000,    /* pause after the database could not be read or written */
    ATTEMPTS_MAX = 100, /* claims without a stored result, then the job fails: a job that brings the
                           server down each time must not do so for ever */
    OWNER_SIZE = 64,
};

struct driver {
    struct worker *worker;
    pthread_t thread;
    /* Guarded by the worker's mutex: */
    bool claiming; /* asks the database for a job, whose id it does not know yet */
    bool running;
    char job_id[DB_ID_SIZE];
    char owner[OWNER_SIZE];
    uint64_t n_chips_total;
    struct timespec started;
    bool asked;      /* a notification came: look at the row at once */
    bool beating;    /* the heart is writing to the row */
    bool has_beaten; /* the heart has written to this job's row */
    bool beat_failed;
    int64_t beat_ms;            /* when it last looked */
    int64_t lease_ms;           /* when it last wrote */
    uint64_t beat_n_done;       /* the progress it wrote last */
    struct job_control control; /* its fields are atomic */
};

struct worker {
    struct job_engine engine;
    struct job_waits *waits;
    const struct log *log;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* any of what follows, or of what a driver says, changed */
    uint64_t generation;    /* counts notifications, so that none is lost before a wait */
    uint64_t n_claims;
    bool stopping; /* no more jobs are claimed */
    bool halting;  /* jobs that run are given up, also one that was just being claimed */
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

/* Writes the end of a job. A database that cannot be written now (disk full) is tried again until
 * it can or the worker stops; then the row stays `running` and the next start requeues it. */
static void write_end(struct worker *worker, const struct db_job *job, const char *owner,
                      bool requeue, enum db_job_state state, const struct error *failure)
{
    for (;;) {
        struct error err = {0};
        int rc = requeue
                     ? db_job_requeue(worker->engine.db, job->id, owner, &err)
                     : db_job_finish(worker->engine.db, job->id, owner, state,
                                     state == DB_JOB_FAILED ? error_code_name(failure->code) : NULL,
                                     state == DB_JOB_FAILED ? failure->message : NULL, &err);
        if (rc == 0 || rc == ERROR_CONFLICT || rc == ERROR_NOT_FOUND)
            return;
        log_job(worker, LOG_LEVEL_ERROR, "job_end_not_stored", job->id, "error", err.message);
        if (is_stopping(worker))
            return;
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

static void end_job(struct driver *driver, const struct db_job *job, const char *owner, int rc,
                    const struct error *failure)
{
    struct worker *worker = driver->worker;
    int stop = atomic_load(&driver->control.stop);
    bool requeue = rc == ERROR_CANCELLED && stop == JOB_STOP_SHUTDOWN;
    enum db_job_state state = final_state(rc);
    write_end(worker, job, owner, requeue, state, failure);
    log_write(worker->log, state == DB_JOB_FAILED ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "job_ended",
              (struct log_field[]){
                  log_string("job", job->id),
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
    if (now - driver->beat_ms < JOB_HEARTBEAT_MS)
        return false;
    /* A job that makes no progress (it decodes) writes only to keep its lease. */
    return driver->beat_failed || now - driver->lease_ms >= JOB_LEASE_MS / 4 ||
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
    int rc = db_job_heartbeat(worker->engine.db, driver->job_id, driver->owner, JOB_LEASE_MS,
                              n_done, &cancel, &err);
    if (rc < 0 && rc != ERROR_CONFLICT)
        log_job(worker, LOG_LEVEL_WARN, "job_heartbeat_failed", driver->job_id, "error",
                err.message);
    pthread_mutex_lock(&worker->mutex);
    driver->beating = false;
    driver->beat_ms = clock_now_ms();
    driver->beat_failed = rc < 0; /* not the job's failure: it is tried again */
    if (rc == 0)
        driver->lease_ms = driver->beat_ms;
    else if (rc == ERROR_CONFLICT) /* another has the job */
        ask_to_stop(driver, JOB_STOP_SHUTDOWN);
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

static void *keep_beating(void *argument)
{
    struct worker *worker = argument;
    pthread_mutex_lock(&worker->mutex);
    while (!worker->heart_stops) {
        bool any;
        if (beat_one(worker, &any))
            continue;
        struct timespec deadline;
        clock_gettime(CLOCK_MONOTONIC, &deadline);
        add_ms(&deadline, JOB_HEARTBEAT_MS / 2);
        if (any)
            pthread_cond_timedwait(&worker->changed, &worker->mutex, &deadline);
        else
            pthread_cond_wait(&worker->changed, &worker->mutex);
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
        db_job_heartbeat(worker->engine.db, driver->job_id, driver->owner, JOB_LEASE_MS, n_done,
                         &cancel, NULL);
}

/* ---- drivers ---- */

static void set_running(struct driver *driver, const struct db_job *job, const char *owner)
{
    struct worker *worker = driver->worker;
    pthread_mutex_lock(&worker->mutex);
    driver->claiming = false;
    driver->running = true;
    memcpy(driver->job_id, job->id, sizeof(driver->job_id));
    snprintf(driver->owner, sizeof(driver->owner), "%s", owner);
    driver->n_chips_total = job->n_chips_total;
    clock_gettime(CLOCK_MONOTONIC, &driver->started);
    driver->beat_ms = driver->lease_ms = clock_now_ms();
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

static void run_claimed(struct driver *driver, const struct db_job *job, const char *owner)
{
    struct worker *worker = driver->worker;
    struct error err = {0};
    int rc;
    log_job(worker, LOG_LEVEL_INFO, "job_started", job->id, "owner", owner);
    set_running(driver, job, owner);
    if (job->attempts > ATTEMPTS_MAX)
        rc = error_set(&err, ERROR_IO, "interrupted %d times without progress", ATTEMPTS_MAX);
    else
        rc = job_run(&worker->engine, job, owner, &driver->control, &err);
    settle_progress(driver);
    end_job(driver, job, owner, rc, &err);
    set_idle(driver);
    job_waits_publish(worker->waits, job->id);
}

/* Claims the next job, waiting for one; false when the worker stops. */
static bool claim_next(struct driver *driver, struct db_job *job, char *owner, size_t owner_size)
{
    struct worker *worker = driver->worker;
    for (;;) {
        pthread_mutex_lock(&worker->mutex);
        bool stopping = worker->stopping;
        uint64_t generation = worker->generation;
        uint64_t claim = worker->n_claims++;
        driver->claiming = !stopping;
        driver->asked = false;
        pthread_mutex_unlock(&worker->mutex);
        if (stopping)
            return false;
        /* One name a claim: a claim that was lost can never be mistaken for a later one. */
        snprintf(owner, owner_size, "%ld-%" PRIu64, (long)getpid(), claim);
        struct error err = {0};
        int rc = db_job_claim(worker->engine.db, owner, JOB_LEASE_MS, job, &err);
        if (rc == 0)
            return true;
        set_idle(driver);
        if (rc != ERROR_NOT_FOUND) {
            log_job(worker, LOG_LEVEL_ERROR, "job_claim_failed", NULL, "error", err.message);
            pause_ms(worker, RETRY_MS);
            continue;
        }
        pthread_mutex_lock(&worker->mutex);
        while (!worker->stopping && worker->generation == generation)
            pthread_cond_wait(&worker->changed, &worker->mutex);
        pthread_mutex_unlock(&worker->mutex);
    }
}

static void *drive(void *argument)
{
    struct driver *driver = argument;
    struct db_job job = {0};
    char owner[OWNER_SIZE];
    while (claim_next(driver, &job, owner, sizeof(owner))) {
        run_claimed(driver, &job, owner);
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

int worker_create(struct worker **out, const struct worker_config *config,
                  const struct job_engine *engine, struct job_waits *waits, const struct log *log,
                  struct error *err)
{
    uint32_t n = config->max_running_jobs;
    if (n < 1 || n > WORKER_DRIVERS_MAX)
        return error_set(err, ERROR_INVALID, "max running jobs: %u is not within 1..%d", n,
                         WORKER_DRIVERS_MAX);
    uint64_t n_requeued = 0;
    int rc = db_job_requeue_expired(engine->db, true, &n_requeued, err);
    if (rc < 0)
        return rc;
    if (n_requeued > 0)
        log_write(log, LOG_LEVEL_WARN, "jobs_requeued_at_start",
                  (struct log_field[]){log_integer("count", (int64_t)n_requeued)}, 1);
    struct worker *worker = calloc(1, sizeof(*worker) + n * sizeof(worker->drivers[0]));
    if (worker == NULL)
        return error_set_nomem(err, "the worker");
    worker->engine = *engine;
    worker->waits = waits;
    worker->log = log;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    rc = start_threads(worker, n, err);
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
    worker->generation++;
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        struct driver *driver = &worker->drivers[i];
        if (driver->claiming || (driver->running && strcmp(driver->job_id, job_id) == 0))
            driver->asked = true;
    }
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->mutex);
}

double worker_eta(struct worker *worker, const char *job_id)
{
    double eta = -1;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&worker->mutex);
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        struct driver *driver = &worker->drivers[i];
        if (!driver->running || strcmp(driver->job_id, job_id) != 0)
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
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}
