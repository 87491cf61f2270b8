/* Threads encode at the same time, each with a workspace of its own, as the pool's workers do. A
 * round lasts until its time is over and every thread has ended the batch it was at; each thread's
 * rate is taken over its own time, so that the last batches do not distort the sum. */
#include "server/cli/bench/bench_encode.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/encoder/random_weights.h"
#include "server/cli/session.h"

int bench_check_encoder(const char *path, const char *architecture, struct error *err)
{
    if (path != NULL && architecture != NULL)
        return error_set(err, ERROR_INVALID, "--encoder and --arch exclude each other");
    return 0;
}

int bench_load_encoder(const char *path, const char *architecture, struct encoder **out,
                       struct error *err)
{
    if (architecture == NULL)
        return session_load_encoder(path, out, err);
    void *data = NULL;
    size_t size = 0;
    int rc = random_weights_create(architecture, &data, &size, err);
    if (rc == 0)
        rc = encoder_create(out, data, size, err);
    free(data);
    return rc;
}

void *bench_encode(void *argument)
{
    struct bench_thread *thread = argument;
    const double start = clock_now_seconds();
    double elapsed;
    uint64_t n_calls = 0;
    do {
        if (thread->tile != NULL)
            bench_tile_encode(thread->tile, thread->encoder, thread->workspace);
        else
            encoder_embed(thread->encoder, thread->workspace, thread->chips, thread->batch,
                          thread->out);
        n_calls++;
        elapsed = clock_now_seconds() - start;
    } while (elapsed < thread->round_seconds);
    const double chips_a_call = thread->tile != NULL ? thread->tile->n_chips : thread->batch;
    thread->n_calls = n_calls;
    thread->chips_per_second = (double)n_calls * chips_a_call / elapsed;
    return NULL;
}

int bench_round(struct bench_thread *threads, uint32_t n, double *out, struct error *err)
{
    pthread_t ids[POOL_WORKERS_MAX];
    uint32_t n_started = 0;
    int rc = 0;
    while (n_started < n && rc == 0) {
        rc = pthread_create(&ids[n_started], NULL, bench_encode, &threads[n_started]);
        if (rc == 0)
            n_started++;
    }
    double rate = 0;
    for (uint32_t i = 0; i < n_started; i++) {
        pthread_join(ids[i], NULL);
        rate += threads[i].chips_per_second;
    }
    if (rc != 0)
        return error_set_errno(err, rc, "starting thread %" PRIu32, n_started + 1);
    *out = rate;
    return 0;
}

int bench_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
    qsort(values, n, sizeof(values[0]), bench_compare_doubles);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

int bench_print_json(json_t *root, struct error *err)
{
    char *text = root == NULL ? NULL : json_dumps(root, JSON_REAL_PRECISION(6));
    if (text != NULL)
        puts(text);
    int rc = text != NULL ? 0 : error_set_nomem(err, "the report");
    free(text);
    json_decref(root);
    return rc;
}
