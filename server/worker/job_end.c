/* The end of a job is written by its driver, and only while its lease holds: who lost it leaves the
 * job as if it had never been claimed here.
 *
 *     it ran to its end, or was cancelled    succeeded, cancelled
 *     the server stops                       back in the queue
 *     a cause that may pass                  back in the queue, for some attempts; then failed
 *     no space on the disk                   back in the queue, as long as that lasts
 *     anything else                          failed
 */
#include "server/worker/job_end.h"

/* What is to be written. */
struct ending {
    enum db_job_state state; /* queued: back into the queue */
    bool is_retried;
    struct db_retry retry; /* when it is */
};

static struct db_retry plan_retry(const struct worker *worker, const struct error *failure,
                                  enum db_wait wait)
{
    const uint32_t first_ms = worker->retry.first_delay_ms;
    return (struct db_retry){
        .wait = wait,
        .max_attempts = worker->retry.max_attempts,
        .first_delay_ms = first_ms,
        .max_delay_ms = first_ms > WORKER_RETRY_DELAY_MAX_MS ? first_ms : WORKER_RETRY_DELAY_MAX_MS,
        .error_code = error_code_name(failure->code),
        .error_message = failure->message,
    };
}

static struct ending decide(const struct worker *worker, const struct job_outcome *outcome,
                            int stop)
{
    struct ending ending = {.state = DB_JOB_FAILED};
    if (outcome->rc == 0) {
        ending.state = DB_JOB_SUCCEEDED;
    } else if (outcome->rc == ERROR_CANCELLED) {
        ending.state = stop == JOB_STOP_SHUTDOWN ? DB_JOB_QUEUED : DB_JOB_CANCELLED;
    } else if (outcome->rc == ERROR_FULL) {
        ending.is_retried = true;
        ending.retry = plan_retry(worker, &outcome->failure, DB_WAIT_DISK_SPACE);
    } else if (!outcome->is_last && error_is_transient(outcome->rc)) {
        ending.is_retried = true;
        ending.retry = plan_retry(worker, &outcome->failure, DB_WAIT_BACK_OFF);
    }
    return ending;
}

static int write_once(struct worker *worker, const struct db_lease *lease, struct ending *ending,
                      const struct error *failure, struct error *err)
{
    struct db *db = worker->engine.db;
    const bool failed = ending->state == DB_JOB_FAILED;
    if (ending->is_retried)
        return db_job_retry(db, lease, &ending->retry, &ending->state, err);
    if (ending->state == DB_JOB_QUEUED)
        return db_job_requeue(db, lease, err);
    return db_job_finish(db, lease, ending->state, failed ? error_code_name(failure->code) : NULL,
                         failed ? failure->message : NULL, err);
}

static bool is_stopping(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    bool stopping = worker->stopping;
    pthread_mutex_unlock(&worker->mutex);
    return stopping;
}

/* A database that cannot be written now (disk full) is tried again until it can or the worker
 * stops; then the row stays `running` until its lease is over. ERROR_CONFLICT or ERROR_NOT_FOUND:
 * the lease was lost. */
static int write_end(struct worker *worker, const struct db_lease *lease, struct ending *ending,
                     const struct error *failure)
{
    uint32_t pause_ms = WORKER_PAUSE_MS;
    for (;;) {
        struct error err = {0};
        int rc = write_once(worker, lease, ending, failure, &err);
        if (rc == 0 || rc == ERROR_CONFLICT || rc == ERROR_NOT_FOUND)
            return rc;
        worker_log_fault(worker, WORKER_FAULT_END, lease->job_id, &err);
        if (is_stopping(worker))
            return rc;
        worker_pause(worker, &pause_ms);
    }
}

static void count_end(struct worker *worker, enum db_job_state state)
{
    struct metrics *metrics = worker->engine.metrics;
    if (state == DB_JOB_SUCCEEDED)
        metrics_add(metrics, METRIC_JOBS_SUCCEEDED, 1);
    else if (state == DB_JOB_CANCELLED)
        metrics_add(metrics, METRIC_JOBS_CANCELLED, 1);
    else if (state == DB_JOB_FAILED)
        metrics_add(metrics, METRIC_JOBS_FAILED, 1);
}

static void log_end(const struct worker *worker, const struct db_lease *lease,
                    const struct ending *ending, const struct error *failure)
{
    const bool is_put_off = ending->is_retried && ending->state == DB_JOB_QUEUED;
    const bool is_failed = ending->state == DB_JOB_FAILED;
    enum log_level level = is_failed ? log_level_of_code(failure->code) : LOG_LEVEL_INFO;
    log_write(
        worker->log, is_put_off ? LOG_LEVEL_WARN : level, is_put_off ? "job_put_off" : "job_ended",
        (struct log_field[]){
            log_string("job", lease->job_id),
            log_string("state", ending->state == DB_JOB_QUEUED ? "requeued"
                                                               : db_job_state_name(ending->state)),
            log_string("error", is_put_off || is_failed ? failure->message : NULL),
            log_string("waiting_for", is_put_off ? db_wait_name(ending->retry.wait) : NULL),
        },
        4);
}

void job_end(struct driver *driver, const struct db_lease *lease, const struct job_outcome *outcome)
{
    struct worker *worker = driver->worker;
    const int stop = atomic_load(&driver->control.stop);
    struct ending ending = decide(worker, outcome, stop);
    int written = stop == JOB_STOP_LOST ? ERROR_CONFLICT
                                        : write_end(worker, lease, &ending, &outcome->failure);
    if (written == ERROR_CONFLICT || written == ERROR_NOT_FOUND) {
        worker_log_job(worker, LOG_LEVEL_WARN, "job_lease_lost", lease->job_id, "owner",
                       lease->owner);
        return;
    }
    log_end(worker, lease, &ending, &outcome->failure);
    count_end(worker, ending.state);
}
