/* Claims jobs from the database and runs them: a few driver threads, each with one job at a time,
 * feed chip batches to the shared pool. The database is the only queue; drivers sleep on a
 * condition variable until a job is queued. */
#ifndef CHIPSHOT_SERVER_WORKER_H
#define CHIPSHOT_SERVER_WORKER_H

#include <stdint.h>

#include "base/error.h"
#include "server/worker/job_waits.h"
#include "server/worker/job_run.h"
#include "server/watch/log.h"

struct worker;

struct worker_config {
    uint32_t max_running_jobs; /* drivers; 1..64 */
};

/* `engine`, `waits` and `log` are borrowed until destroy. Requeues what a dead server left running
 * (the data directory's lock proves that it is dead), then starts the drivers. */
int worker_create(struct worker **out, const struct worker_config *config,
                  const struct job_engine *engine, struct job_waits *waits, const struct log *log,
                  struct error *err);

/* A job was queued or its cancellation was asked for. Any thread. */
void worker_notify(struct worker *worker, const char *job_id);

/* Estimated seconds until a running job ends, from its encoding rate; -1: unknown. Any thread. */
double worker_eta(struct worker *worker, const char *job_id);

/* Claims no more jobs, gives running ones `drain_ms` to end, then stops and requeues the rest. */
void worker_stop(struct worker *worker, uint32_t drain_ms);
/* After worker_stop. */
void worker_destroy(struct worker *worker);

#endif
