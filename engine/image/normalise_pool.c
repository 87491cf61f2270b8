/* As in normalise.c, the upper halves of the values' keys are counted first, and then the lower
 * halves in the few buckets in which the percentiles lie. Counts are sums of whole numbers, which
 * do not depend on their order. */
#include "engine/image/normalise_pool.h"

#include <math.h>
#include <stdlib.h>

/* A percentile lies between two order statistics at most; two percentiles are asked for. */
enum { N_BUCKETS = 1 << 16, WANTED_MAX = 4 };

struct normalise_pool {
    struct normalise_params params;
    uint64_t n; /* pixels */
    double smallest, largest;
    bool is_second;  /* they are shown for the second time */
    uint64_t *upper; /* N_BUCKETS: counts of the keys' upper halves */
    uint8_t *place;  /* N_BUCKETS: 1 + where in `lower` an upper half's keys count; 0: nowhere */
    uint64_t *lower; /* WANTED_MAX x N_BUCKETS: counts of lower halves */
    uint8_t n_wanted;
};

int normalise_pool_create(struct normalise_pool **out, const struct normalise_params *params,
                          struct error *err)
{
    struct normalise_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return error_set_nomem(err, "the percentiles");
    *pool = (struct normalise_pool){
        .params = *params,
        .smallest = INFINITY,
        .largest = -INFINITY,
        .upper = calloc(N_BUCKETS, sizeof(*pool->upper)),
        .place = calloc(N_BUCKETS, sizeof(*pool->place)),
        .lower = calloc((size_t)WANTED_MAX * N_BUCKETS, sizeof(*pool->lower)),
    };
    if (pool->upper == NULL || pool->place == NULL || pool->lower == NULL) {
        normalise_pool_destroy(pool);
        return error_set_nomem(err, "the percentiles");
    }
    *out = pool;
    return 0;
}

void normalise_pool_destroy(struct normalise_pool *pool)
{
    if (pool == NULL)
        return;
    free(pool->upper);
    free(pool->place);
    free(pool->lower);
    free(pool);
}

static void add(struct normalise_pool *pool, const struct normalise_range *own, float value,
                uint64_t n)
{
    if (isnan(value))
        return;
    if (own->n_outliers > 0 && (value < own->least || value > own->most))
        value = (float)own->median;
    const uint32_t key = sample_float_key(value), upper = key >> 16;
    if (pool->is_second) {
        if (pool->place[upper] > 0)
            pool->lower[(pool->place[upper] - 1u) * (size_t)N_BUCKETS + (key & 0xffff)] += n;
        return;
    }
    pool->upper[upper] += n;
    pool->n += n;
    pool->smallest = value < pool->smallest ? value : pool->smallest;
    pool->largest = value > pool->largest ? value : pool->largest;
}

void normalise_pool_add(struct normalise_pool *pool, const struct normalise_range *own,
                        const float *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(pool, own, pixels[i], 1);
}

void normalise_pool_add_levels(struct normalise_pool *pool, const struct normalise_range *own,
                               const uint32_t *counts, enum sample_type type)
{
    const double lowest = sample_type_range(type).low;
    for (uint32_t i = 0; i < sample_type_n_levels(type); i++) {
        if (counts[i] > 0)
            add(pool, own, (float)(lowest + i), counts[i]);
    }
}

/* The bucket in which the running sum passes *rank; *rank becomes the rank within it. */
static uint32_t find_bucket(const uint64_t *counts, uint64_t *rank)
{
    uint32_t bucket = 0;
    while (bucket < N_BUCKETS - 1 && *rank >= counts[bucket])
        *rank -= counts[bucket++];
    return bucket;
}

/* Hyndman and Fan's definition 7, as in normalise.c: the value lies `part` of the way from rank
 * *rank to the next. */
static double find_rank(const struct normalise_pool *pool, double percent, uint64_t *rank)
{
    const double position = percent / 100 * (double)(pool->n - 1);
    *rank = (uint64_t)position;
    return position - (double)*rank;
}

static void want(struct normalise_pool *pool, uint64_t rank)
{
    const uint32_t upper = find_bucket(pool->upper, &rank);
    if (pool->place[upper] == 0)
        pool->place[upper] = ++pool->n_wanted;
}

bool normalise_pool_again(struct normalise_pool *pool)
{
    const double percents[] = {pool->params.low, pool->params.high};
    if (pool->is_second || pool->n == 0 || pool->params.method != NORMALISE_PERCENTILE)
        return false;
    for (int i = 0; i < 2; i++) {
        uint64_t rank;
        const double part = find_rank(pool, percents[i], &rank);
        want(pool, rank);
        if (part > 0)
            want(pool, rank + 1);
    }
    return pool->is_second = true;
}

/* The value that would stand at `rank` (0-based, below n) if the pixels were sorted. */
static double select_rank(const struct normalise_pool *pool, uint64_t rank)
{
    const uint32_t upper = find_bucket(pool->upper, &rank);
    const uint64_t *lower = pool->lower + (pool->place[upper] - 1u) * (size_t)N_BUCKETS;
    return sample_key_float(upper << 16 | find_bucket(lower, &rank));
}

static double select_percentile(const struct normalise_pool *pool, double percent)
{
    uint64_t rank;
    const double part = find_rank(pool, percent, &rank);
    const double low = select_rank(pool, rank);
    return part > 0 ? low + part * (select_rank(pool, rank + 1) - low) : low;
}

void normalise_pool_range(const struct normalise_pool *pool, struct sample_range *out)
{
    *out = (struct sample_range){0, 0};
    if (pool->n > 0 && pool->is_second)
        *out = (struct sample_range){select_percentile(pool, pool->params.low),
                                     select_percentile(pool, pool->params.high)};
    else if (pool->n > 0)
        *out = (struct sample_range){pool->smallest, pool->largest};
}
