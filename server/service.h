/* A server without its front: database, pool, encoders, worker and API, put together and taken
 * apart in order. `chipshot serve` puts HTTP before it; `chipshot bench job` and tests use it as it
 * is. */
#ifndef CHIPSHOT_SERVER_SERVICE_H
#define CHIPSHOT_SERVER_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "db/data.h"
#include "db/keys.h"
#include "server/watch/data_log.h"
#include "server/watch/data_watch.h"
#include "server/watch/disk_watch.h"
#include "server/watch/log.h"
#include "server/worker/job_waits.h"
#include "server/worker/worker.h"

struct service_config {
    const char *directory;   /* of the data; borrowed until service_open returns */
    uint64_t cache_max_size; /* this one and the next as in struct data_config */
    uint64_t min_free_size;
    uint32_t n_threads; /* of the pool */
    bool background;    /* pool_make_background */
    size_t max_idle_encoders;
    const struct api_limits *limits; /* borrowed until service_close */
    const struct log *log;           /* borrowed until service_close; NULL: nothing is logged */
};

/* What service_start needs beside. All is borrowed until service_stop. */
struct service_work {
    uint32_t max_running_jobs;
    uint32_t lease_ms;         /* as in struct worker_config */
    struct worker_retry retry; /* likewise */
    const struct log *log;     /* NULL: nothing is logged */
    struct db_keys *keys; /* readyz tells when they cannot be used; NULL: there are none to use */
    uint64_t small_size;  /* this one and the next three as in struct job_engine */
    uint64_t max_maps_size;
    uint64_t max_result_size;
    struct job_times *times;
    uint64_t scrub_rate; /* this one and the next as in struct data_watch_config */
    uint32_t scrub_interval_s;
    const char *openapi; /* this one and the next as in struct api_hooks */
    size_t openapi_size;
};

/* The parts are there to be used. Between service_open and service_start jobs can be queued, and
 * none runs: `worker` and `api` are NULL. */
struct service {
    struct data_log data_log; /* hears of `data` */
    struct data *data;
    struct db *db; /* of `data` */
    struct metrics *metrics;
    struct job_waits *waits;
    struct pool *pool;
    struct encoder_store *encoders;
    struct memory_spare spare; /* of embeddings */
    struct data_watch *watch;
    struct disk_watch *disk_watch;
    struct worker *worker;
    struct api *api;
    struct db_keys *keys; /* borrowed while `api` is there; NULL: none */
    const struct api_limits *limits;
};

/* `service` stays where it is until service_close, which is due after a failure too. */
int service_open(struct service *service, const struct service_config *config, struct error *err);
/* Runs queued jobs and offers the API. service_stop is due after a failure too. */
int service_start(struct service *service, const struct service_work *work, struct error *err);

/* Answers the requests that wait for a job, these and later ones; readyz tells that the end is
 * near. Any thread; once opened. */
void service_end_waits(struct service *service);
/* Starts no more jobs and waits, at most `timeout_ms`, until none runs; returns whether none does.
 * May be called again; service_stop follows. */
bool service_drain(struct service *service, uint32_t timeout_ms);
/* Ends worker and API: running jobs have `drain_ms`, then they go back to the queue. No request may
 * be in the API. service_start may follow, unless the waits were ended. */
void service_stop(struct service *service, uint32_t drain_ms);
/* After service_stop, if it was started. */
void service_close(struct service *service);

/* Tells worker and waiting requests that a job was queued or is to be cancelled. Any thread, while
 * the worker runs. */
void service_job_changed(struct service *service, const char *job_id);
/* Blocks until the job is final (or gone), as job_waits_for does. Any thread. */
enum job_wait_result service_wait_for_job(struct service *service, const char *job_id,
                                          uint32_t timeout_ms);

#endif
