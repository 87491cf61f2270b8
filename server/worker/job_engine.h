/* What a job works with and how others see, stop and time it: for whoever runs jobs (worker.c, the
 * benchmarks) and for what runs one (job_run.h). */
#ifndef CHIPSHOT_SERVER_JOB_ENGINE_H
#define CHIPSHOT_SERVER_JOB_ENGINE_H

#include <stdatomic.h>
#include <stdint.h>

#include "api/limits.h"
#include "base/memory.h"
#include "db/db.h"
#include "db/store/cache.h"
#include "db/store/store.h"
#include "engine/pool.h"
#include "server/watch/metrics.h"
#include "server/worker/encoder_store.h"

/* What a job's time goes to. */
enum job_part {
    JOB_PART_LOAD, /* rows and, when it is not in memory, the encoder */
    JOB_PART_READ, /* the image's file, and checking its SHA-256 */
    JOB_PART_DECODE,
    JOB_PART_NORMALISE,
    JOB_PART_CHIP,   /* resampling: the worker threads' time divided by their number */
    JOB_PART_ENCODE, /* likewise */
    JOB_PART_CACHE,  /* reading and writing embeddings */
    JOB_PART_CLASSIFY,
    JOB_PART_STORE,
    JOB_PARTS,
};

/* "load", "read", ... */
const char *job_part_name(enum job_part part);

/* How long the parts of one job took. The times of several images may overlap. */
struct job_times {
    double began;       /* CLOCK_MONOTONIC in seconds */
    double first_batch; /* likewise, when the workers got their first batch; 0: none */
    double seconds[JOB_PARTS];
};

/* What every job needs; all borrowed, shared by all jobs. */
struct job_engine {
    struct db *db;
    struct store *store;
    struct cache *cache;
    struct room *room;
    struct pool *pool;
    struct encoder_store *encoders;
    struct metrics *metrics;
    struct memory_spare *spare; /* of embeddings, from job to job; NULL: none is kept */
    const struct api_limits *limits;
    uint64_t small_size; /* bytes of float32 pixels and embeddings up to which an image is held as a
                            whole; 0: 256 MiB */
    uint64_t max_maps_size;   /* bytes up to which an image's feature maps are held as a whole and
                                 kept in the cache; 0: EMBED_MAPS_SIZE */
    uint64_t max_result_size; /* bytes that the results of an image's chips may take in memory; 0:
                                 half of the machine's */
    struct job_times
        *times; /* NULL, or where a job says how long it took: with one job at a time */
};

enum job_stop {
    JOB_STOP_NONE,
    JOB_STOP_CANCEL,
    JOB_STOP_SHUTDOWN,
    JOB_STOP_LOST, /* another has the job */
};

/* How others see and stop a running job; any thread. */
struct job_control {
    atomic_int stop; /* enum job_stop, written by others; polled between batches */
    atomic_uint_fast64_t n_chips_done;
    atomic_uint_fast64_t n_chips_encoded; /* since the start, for the estimate of the time left */
};

#endif
