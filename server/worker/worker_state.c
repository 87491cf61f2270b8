/* What drivers and heart both do. Short, and without waiting. */
#include "server/worker/worker_state.h"

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

void worker_log_job(const struct worker *worker, enum log_level level, const char *event,
                    const char *job_id, const char *key, const char *value)
{
    log_write(worker->log, level, event,
              (struct log_field[]){log_string("job", job_id), log_string(key, value)}, 2);
}
