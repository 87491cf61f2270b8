#include "engine/fewshot/population.h"

#include <math.h>
#include <stdlib.h>

#include "engine/random.h"

#define QUANTILE 1.959963984540054 /* of the normal distribution at 0.975 */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t n, double share)
{
    const double at = share * (double)(n - 1);
    const size_t below = (size_t)at;
    const size_t above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

/* ---- from image to image ---- */

/* `ratios`: room for n_images. */
static void describe(const struct population_series *series, size_t n_images, double *ratios,
                     struct population_summary *out)
{
    double total = 0.0, denominators = 0.0, sum = 0.0, squares = 0.0;
    size_t n = 0;
    for (size_t i = 0; i < n_images; i++) {
        if (!(series->denominators[i] > 0.0))
            continue;
        total += series->numerators[i];
        denominators += series->denominators[i];
        sum += ratios[n++] = series->numerators[i] / series->denominators[i];
    }
    *out = (struct population_summary){.n_images = n,
                                       .total = total,
                                       .value = NAN,
                                       .low = NAN,
                                       .high = NAN,
                                       .mean = NAN,
                                       .sd = NAN,
                                       .least = NAN,
                                       .median = NAN,
                                       .greatest = NAN};
    if (n == 0)
        return;
    out->value = total / denominators;
    out->mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (ratios[i] - out->mean) * (ratios[i] - out->mean);
    if (n > 1)
        out->sd = sqrt(squares / (double)(n - 1));
    qsort(ratios, n, sizeof(*ratios), compare);
    out->least = ratios[0];
    out->median = quantile(ratios, n, 0.5);
    out->greatest = ratios[n - 1];
}

/* ---- bootstrap ---- */

/* Sums of each series over each group of images. */
struct groups {
    size_t n;
    double *numerators, *denominators; /* n_series x n; owned */
    double *weights;                   /* n: how often a group was drawn; owned */
};

static void groups_clear(struct groups *groups)
{
    free(groups->numerators);
    free(groups->denominators);
    free(groups->weights);
}

/* Which group each image is in: its own, or one that it is dealt into. */
static size_t *deal(struct random *random, size_t n_images, size_t n_groups)
{
    size_t *group_of = calloc(n_images + 1, sizeof(*group_of));
    for (size_t i = 0; group_of != NULL && i < n_images; i++)
        group_of[i] = i % n_groups;
    for (size_t i = n_images; group_of != NULL && n_images > n_groups && i > 1; i--) {
        const size_t k = random_below_64(random, i);
        const size_t group = group_of[i - 1];
        group_of[i - 1] = group_of[k];
        group_of[k] = group;
    }
    return group_of;
}

static int groups_init(struct groups *groups, const struct population_series *series,
                       size_t n_series, size_t n_images, struct random *random, struct error *err)
{
    groups->n = n_images < POPULATION_GROUPS_MAX ? n_images : POPULATION_GROUPS_MAX;
    groups->numerators = calloc(n_series * groups->n + 1, sizeof(double));
    groups->denominators = calloc(n_series * groups->n + 1, sizeof(double));
    groups->weights = calloc(groups->n + 1, sizeof(double));
    size_t *group_of = deal(random, n_images, groups->n > 0 ? groups->n : 1);
    int rc = 0;
    if (groups->numerators == NULL || groups->denominators == NULL || groups->weights == NULL ||
        group_of == NULL)
        rc = error_set_nomem(err, "a population");
    for (size_t s = 0; rc == 0 && s < n_series; s++) {
        for (size_t i = 0; i < n_images; i++) {
            if (!(series[s].denominators[i] > 0.0))
                continue;
            groups->numerators[s * groups->n + group_of[i]] += series[s].numerators[i];
            groups->denominators[s * groups->n + group_of[i]] += series[s].denominators[i];
        }
    }
    free(group_of);
    return rc;
}

static void draw_weights(struct groups *groups, struct random *random)
{
    for (size_t i = 0; i < groups->n; i++)
        groups->weights[i] = 0.0;
    for (size_t i = 0; i < groups->n; i++)
        groups->weights[random_below(random, (uint32_t)groups->n)] += 1.0;
}

/* NaN: no image that was drawn says anything. */
static double resampled_ratio(const struct groups *groups, size_t s)
{
    const double *numerators = groups->numerators + s * groups->n;
    const double *denominators = groups->denominators + s * groups->n;
    double numerator = 0.0, denominator = 0.0;
    for (size_t i = 0; i < groups->n; i++) {
        numerator += groups->weights[i] * numerators[i];
        denominator += groups->weights[i] * denominators[i];
    }
    return denominator > 0.0 ? numerator / denominator : NAN;
}

/* Student's t at 0.975, by the expansion of Cornish and Fisher: within 0.01 from 4 degrees on. */
static double student_quantile(double degrees)
{
    const double z = QUANTILE, z3 = z * z * z, z5 = z3 * z * z, z7 = z5 * z * z;
    return z + (z3 + z) / (4.0 * degrees) +
           (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * degrees * degrees) +
           (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * degrees * degrees * degrees);
}

/* The percentile at which the interval ends. */
static double expanded_tail(double n)
{
    const double at = sqrt(n / (n - 1.0)) * student_quantile(n - 1.0);
    return 0.5 * erfc(at / sqrt(2.0));
}

static void fill_interval(double *ratios, size_t n_groups, struct population_summary *out)
{
    size_t n = 0;
    for (size_t i = 0; i < POPULATION_RESAMPLES; i++) {
        if (!isnan(ratios[i]))
            ratios[n++] = ratios[i];
    }
    if (out->n_images < POPULATION_IMAGES_MIN || n == 0)
        return;
    const double clusters = (double)(out->n_images < n_groups ? out->n_images : n_groups);
    const double tail = expanded_tail(clusters);
    qsort(ratios, n, sizeof(*ratios), compare);
    out->low = quantile(ratios, n, tail);
    out->high = quantile(ratios, n, 1.0 - tail);
}

/* ratios: n_series x POPULATION_RESAMPLES. */
static int bootstrap(struct groups *groups, size_t n_series, struct random *random,
                     const struct cancel *cancel, double *ratios, struct error *err)
{
    for (size_t r = 0; r < POPULATION_RESAMPLES; r++) {
        if (cancel_is_asked(cancel))
            return error_set(err, ERROR_CANCELLED, "a population was cancelled");
        draw_weights(groups, random);
        for (size_t s = 0; s < n_series; s++)
            ratios[s * POPULATION_RESAMPLES + r] = resampled_ratio(groups, s);
    }
    return 0;
}

int population_summarise(const struct population_series *series, size_t n_series, size_t n_images,
                         uint64_t seed, const struct cancel *cancel, struct population_summary *out,
                         struct error *err)
{
    struct groups groups = {0};
    struct random random;
    double *of_images = calloc(n_images + 1, sizeof(*of_images));
    double *ratios = calloc(n_series * POPULATION_RESAMPLES + 1, sizeof(*ratios));
    int rc = 0;
    random_seed(&random, seed, 0);
    if (of_images == NULL || ratios == NULL)
        rc = error_set_nomem(err, "a population");
    if (rc == 0)
        rc = groups_init(&groups, series, n_series, n_images, &random, err);
    if (rc == 0 && n_images > 0)
        rc = bootstrap(&groups, n_series, &random, cancel, ratios, err);
    for (size_t s = 0; rc == 0 && s < n_series; s++) {
        describe(&series[s], n_images, of_images, &out[s]);
        fill_interval(ratios + s * POPULATION_RESAMPLES, groups.n, &out[s]);
    }
    groups_clear(&groups);
    free(of_images);
    free(ratios);
    return rc;
}

double population_octave_quantile(const uint64_t *counts, size_t n_octaves, double share)
{
    uint64_t total = 0, before = 0;
    for (size_t i = 0; i < n_octaves; i++)
        total += counts[i];
    const double wanted = share * (double)total;
    for (size_t i = 0; i < n_octaves; i++) {
        const double after = (double)(before + counts[i]);
        if (counts[i] > 0 && after >= wanted)
            return exp2((double)i + (wanted - (double)before) / (double)counts[i]);
        before += counts[i];
    }
    return NAN;
}
