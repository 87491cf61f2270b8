/* One job, from claimed to done: for each image decode, normalise, embed (or read from the cache),
 * classify, count, store. */
#ifndef CHIPSHOT_SERVER_JOB_RUN_H
#define CHIPSHOT_SERVER_JOB_RUN_H

#include <stdatomic.h>
#include <stdint.h>

#include "api/api.h"
#include "db/jobs.h"
#include "server/encoder_store.h"
#include "server/metrics.h"

/* What every job needs; all borrowed, shared by all jobs. */
struct job_engine {
    struct db *db;
    struct pool *pool;
    struct encoder_store *encoders;
    struct metrics *metrics;
    const struct api_limits *limits;
};

enum job_stop { JOB_STOP_NONE, JOB_STOP_CANCEL, JOB_STOP_SHUTDOWN };

/* How others see and stop a running job; any thread. */
struct job_control {
    atomic_int stop; /* enum job_stop, written by others; polled between batches */
    atomic_uint_fast64_t n_chips_done;
    atomic_uint_fast64_t n_chips_encoded; /* since the start, for the estimate of the time left */
};

enum { JOB_LEASE_MS = 60000, JOB_HEARTBEAT_MS = 500 };

/* Runs a claimed job of `owner` until its last result is stored; images that have a result already
 * (an earlier attempt was interrupted) are not done again. ERROR_CANCELLED when control says stop;
 * anything else is the job's failure. ERROR_CORRUPT names the stored thing that is not what it was.
 * Writes neither heartbeats nor the job's end. */
int job_run(const struct job_engine *engine, const struct db_job *job, const char *owner,
            struct job_control *control, struct error *err);

#endif
