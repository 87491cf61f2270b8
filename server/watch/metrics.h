/* Counters, gauges and histograms in the Prometheus text exposition format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Base units (seconds, bytes); a
 * request's route label is its template, so that the number of series is bounded.
 */
#ifndef CHIPSHOT_SERVER_METRICS_H
#define CHIPSHOT_SERVER_METRICS_H

#include "base/error.h"

struct metrics; /* any function may be called from any thread */

enum metric {
    /* Counters: metrics_add. */
    METRIC_JOBS_SUCCEEDED,
    METRIC_JOBS_FAILED,
    METRIC_JOBS_CANCELLED,
    METRIC_CHIPS_ENCODED,      /* chips that went through the encoder */
    METRIC_CACHE_HITS,         /* chips whose embedding came from the cache */
    METRIC_CACHE_MISSES,       /* chips whose embedding was not there */
    METRIC_PHASE_LOAD_SECONDS, /* the phases stand in the order of enum job_part */
    METRIC_PHASE_READ_SECONDS,
    METRIC_PHASE_DECODE_SECONDS,
    METRIC_PHASE_NORMALISE_SECONDS,
    METRIC_PHASE_CHIP_SECONDS,
    METRIC_PHASE_ENCODE_SECONDS,
    METRIC_PHASE_CACHE_SECONDS,
    METRIC_PHASE_CLASSIFY_SECONDS,
    METRIC_PHASE_STORE_SECONDS,
    METRIC_BLOBS_VERIFIED, /* set from a count that the store keeps */
    /* Gauges: metrics_set. */
    METRIC_JOBS_QUEUED,
    METRIC_JOBS_RUNNING,
    METRIC_POOL_WAITING_BATCHES,
    METRIC_CACHE_BYTES,
    METRIC_BLOBS_DAMAGED, /* stored files that are not what was stored */
    METRIC_HTTP_CONNECTIONS,
    METRIC_COUNT,
};

int metrics_create(struct metrics **out, struct error *err);
void metrics_destroy(struct metrics *metrics);

/* `metrics` NULL does nothing in the three below. */
void metrics_add(struct metrics *metrics, enum metric metric, double amount);
void metrics_set(struct metrics *metrics, enum metric metric, double value);
/* `method` and `route` static strings; status 0: the client went away before an answer. `seconds`:
 * from the request line's arrival until the answer was ready to send. */
void metrics_http_request(struct metrics *metrics, const char *method, const char *route,
                          int status, double seconds);

/* The exposition as malloc'd text, or NULL on allocation failure. */
char *metrics_render(struct metrics *metrics);

#endif
