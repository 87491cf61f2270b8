/* The inside of a worker: what its drivers (worker.c) and its heart (heart.c) share. */
#ifndef CHIPSHOT_SERVER_WORKER_STATE_H
#define CHIPSHOT_SERVER_WORKER_STATE_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "db/jobs.h"
#include "server/watch/log.h"
#include "server/worker/job_run.h"
#include "server/worker/job_waits.h"
#include "server/worker/wake.h"
#include "server/worker/worker.h"

enum {
    WORKER_DRIVERS_MAX = 64,
    /* Pauses while the database cannot be read or written: each is twice the one before. */
    WORKER_PAUSE_MS = 1000,
    WORKER_PAUSE_MAX_MS = 16000,
    WORKER_FAULT_LOG_MS = 10000, /* between two log lines about the same kind of fault */
};

/* What the worker does again and again until the database lets it. */
enum worker_fault {
    WORKER_FAULT_CLAIM,
    WORKER_FAULT_HEARTBEAT,
    WORKER_FAULT_END,
    WORKER_FAULT_REAP,
    WORKER_FAULTS,
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
    struct worker_retry retry;
    uint32_t look_ms;  /* between two looks at what other processes did: jobs that they queued, and
                          leases that they let end */
    struct wake *wake; /* sent when there may be a job to claim */
    pthread_mutex_t mutex;
    pthread_cond_t changed;          /* any of what follows, or of what a driver says, changed */
    int64_t quiet_ms[WORKER_FAULTS]; /* until then nothing more is logged about it */
    int64_t reap_ms;                 /* when to look for the jobs of dead processes again */
    bool stopping;                   /* no more jobs are claimed */
    bool halting; /* jobs that run are given up, also one that was just being claimed */
    bool heart_stops;
    bool heart_runs;
    pthread_t heart;
    uint32_t n_drivers;
    struct driver drivers[];
};

/* That the parts agree with each other, for asserts. The mutex is held. */
bool worker_check(const struct worker *worker);

/* Asks a running job to stop; of several reasons the first one counts. */
void worker_ask_to_stop(struct driver *driver, enum job_stop why);

/* Waits *pause_ms, unless the worker stops, and doubles it, up to WORKER_PAUSE_MAX_MS. */
void worker_pause(struct worker *worker, uint32_t *pause_ms);

/* Says that something failed that is tried again, at most once in WORKER_FAULT_LOG_MS: drivers try
 * it all at once. `job_id` NULL: of no job. Called without the mutex. */
void worker_log_fault(struct worker *worker, enum worker_fault fault, const char *job_id,
                      const struct error *err);

void worker_log_job(const struct worker *worker, enum log_level level, const char *event,
                    const char *job_id, const char *key, const char *value);

#endif
