/* Claims jobs from the database and runs them: a few driver threads, each with one job at a time,
 * feed chip batches to the shared pool. The database is the only queue; drivers sleep until they
 * are told of a job (wake.h), and look by themselves every few seconds: others may use the
 * database, too. */
#ifndef CHIPSHOT_SERVER_WORKER_H
#define CHIPSHOT_SERVER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "server/worker/job_waits.h"
#include "server/worker/job_run.h"
#include "server/watch/log.h"

struct worker;

enum {
    /* A process that lives renews its lease every quarter of it, and must fail to do so four times
     * before it is taken for dead: longer than a commit to a slow disk or a pause of a virtual
     * machine takes, and not much to wait for the jobs of a machine that is gone. (A dead process
     * of this machine is not waited for at all.) */
    WORKER_LEASE_MS = 15000,
    /* 5 attempts take 2 + 4 + 8 + 16 seconds and what they run for. */
    WORKER_ATTEMPTS = 5,
    WORKER_RETRY_DELAY_MS = 2000,
    WORKER_RETRY_DELAY_MAX_MS = 60000, /* also between two looks for room on the disk */
};

/* How often a job is tried that fails for a cause that may pass (error_is_transient). A full disk
 * does not count: the job is tried again as long as that lasts. */
struct worker_retry {
    uint32_t max_attempts;   /* without a stored result; 0: WORKER_ATTEMPTS */
    uint32_t first_delay_ms; /* the next one is twice that, and so on; 0: WORKER_RETRY_DELAY_MS */
};

struct worker_config {
    uint32_t max_running_jobs; /* drivers; 1..64 */
    uint32_t lease_ms;         /* 0: WORKER_LEASE_MS; tests want less */
    struct worker_retry retry;
};

/* `engine`, `waits` and `log` are borrowed until destroy. Requeues the running jobs whose lease is
 * over or whose process is gone, then starts the drivers. */
int worker_create(struct worker **out, const struct worker_config *config,
                  const struct job_engine *engine, struct job_waits *waits, const struct log *log,
                  struct error *err);

/* A job was queued or its cancellation was asked for. Any thread. */
void worker_notify(struct worker *worker, const char *job_id);

/* Estimated seconds until a running job ends, from its encoding rate; -1: unknown. Any thread. */
double worker_eta(struct worker *worker, const char *job_id);

/* Claims no more jobs and waits, at most `timeout_ms`, until none runs; returns whether none does.
 * May be called again. worker_stop follows. */
bool worker_drain(struct worker *worker, uint32_t timeout_ms);
/* Claims no more jobs, gives running ones `drain_ms` to end, then stops and requeues the rest. */
void worker_stop(struct worker *worker, uint32_t drain_ms);
/* After worker_stop. */
void worker_destroy(struct worker *worker);

#endif
