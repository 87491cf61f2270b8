/* What drivers and heart both do. Short, and without waiting. */
#include "server/worker/worker_state.h"

#include "base/clock.h"

#include <string.h>

static bool driver_check(const struct driver *driver)
{
    const struct worker *worker = driver->worker;
    if (driver->claiming && driver->running)
        return false;
    if (driver->running && (!db_id_is(driver->lease.job_id, "job_") || driver->lease.token == 0 ||
                            strcmp(driver->lease.owner, worker->owner) != 0))
        return false;
    /* The heart lets go of a job before its driver may take the next one. */
    return !driver->beating || !driver->claiming;
}

bool worker_check(const struct worker *worker)
{
    if (worker->n_drivers > WORKER_DRIVERS_MAX || worker->lease_ms == 0 ||
        (worker->halting && !worker->stopping) || (worker->heart_stops && !worker->halting))
        return false;
    for (uint32_t i = 0; i < worker->n_drivers; i++) {
        if (!driver_check(&worker->drivers[i]))
            return false;
    }
    return true;
}

void worker_ask_to_stop(struct driver *driver, enum job_stop why)
{
    int none = JOB_STOP_NONE;
    atomic_compare_exchange_strong(&driver->control.stop, &none, why);
}

void worker_pause(struct worker *worker, uint32_t *pause_ms)
{
    const int64_t deadline = clock_deadline_ms(*pause_ms);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->stopping && clock_cond_wait(&worker->changed, &worker->mutex, deadline))
        continue;
    pthread_mutex_unlock(&worker->mutex);
    *pause_ms = *pause_ms < WORKER_PAUSE_MAX_MS / 2 ? *pause_ms * 2 : WORKER_PAUSE_MAX_MS;
}

void worker_log_fault(struct worker *worker, enum worker_fault fault, const char *job_id,
                      const struct error *err)
{
    static const struct {
        const char *event;
        enum log_level level;
    } kinds[WORKER_FAULTS] = {
        [WORKER_FAULT_CLAIM] = {"job_claim_failed", LOG_LEVEL_ERROR},
        [WORKER_FAULT_HEARTBEAT] = {"job_heartbeat_failed", LOG_LEVEL_WARN},
        [WORKER_FAULT_END] = {"job_end_not_stored", LOG_LEVEL_ERROR},
        [WORKER_FAULT_REAP] = {"jobs_not_requeued", LOG_LEVEL_WARN},
    };
    const int64_t now = clock_now_ms();
    pthread_mutex_lock(&worker->mutex);
    const bool is_quiet = now < worker->quiet_ms[fault];
    if (!is_quiet)
        worker->quiet_ms[fault] = now + WORKER_FAULT_LOG_MS;
    pthread_mutex_unlock(&worker->mutex);
    if (!is_quiet)
        worker_log_job(worker, kinds[fault].level, kinds[fault].event, job_id, "error",
                       err->message);
}

void worker_log_job(const struct worker *worker, enum log_level level, const char *event,
                    const char *job_id, const char *key, const char *value)
{
    log_write(worker->log, level, event,
              (struct log_field[]){log_string("job", job_id), log_string(key, value)}, 2);
}
