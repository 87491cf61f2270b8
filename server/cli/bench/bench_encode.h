/* What the benchmarks share: the encoder they are asked for, threads that encode it for a round,
 * and the median of what was measured. */
#ifndef CHIPSHOT_SERVER_BENCH_ENCODE_H
#define CHIPSHOT_SERVER_BENCH_ENCODE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "server/cli/bench/bench_tile.h"
#include "server/cli/common_options.h"

/* ERROR_INVALID: both were given. */
int bench_check_encoder(const char *path, const char *architecture, struct error *err);
/* Random weights of `architecture`, else the file at `path`, else (both NULL) the built-in one. */
int bench_load_encoder(const char *path, const char *architecture, struct encoder **out,
                       struct error *err);

/* One of the threads of a round. */
struct bench_thread {
    const struct encoder *encoder;
    struct encoder_workspace *workspace;
    struct bench_tile *tile; /* encoded in place of chips; NULL: none */
    const float *chips;      /* batch x size x size; borrowed, may be shared by all */
    float *out;              /* batch x dimension */
    uint32_t batch;
    double round_seconds;
    uint64_t n_calls;        /* of the last round: batches, or tiles */
    double chips_per_second; /* of the last round */
};

/* Encodes the batch or the tile again and again until round_seconds are over; for pthread_create,
 * too. Returns NULL. */
void *bench_encode(void *thread);

/* One round of up to POOL_WORKERS_MAX threads at the same time; `out` is the sum of their rates.
 */
int bench_round(struct bench_thread *threads, uint32_t n, double *out, struct error *err);

/* For qsort. */
int bench_compare_doubles(const void *a, const void *b);
/* Sorts the n > 0 values. */
double bench_median(double *values, size_t n);

/* Prints the report on one line and releases it; NULL: it could not be made (ERROR_NOMEM). */
int bench_print_json(json_t *root, struct error *err);

#endif
