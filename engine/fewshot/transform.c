/* none: x. l2: x / |x|. cl2n: (x - mean) / |x - mean| (Wang et al., SimpleShot, 2019).
 * standardise: z / |z| with z = (x - mean) / (std + STD_FLOOR), std being the population's over the
 * image's chips. A zero vector stays zero. Statistics are taken in one pass in double by Welford's
 * recurrence (Welford 1962), chip after chip: exact for a constant dimension, and the same bytes
 * whatever runs beside it.
 */
#include "engine/fewshot/transform.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/give_way.h"

enum { PARTS = 8 };

/* Components of the encoder's unit-length parts are about 0.05 in size. A dimension that varies by
 * rounding alone must not be blown up to the weight of the others; the training of the default
 * encoder uses the same number. */
static const double STD_FLOOR = 1e-6;

/* x * 0 is 0 for a finite x and NaN otherwise, and NaN survives the sums. */
static bool all_finite(const float *vector, uint32_t dimension)
{
    float sums[4 * PARTS] = {0};
    uint32_t d = 0;
    for (; d + 4 * PARTS <= dimension; d += 4 * PARTS) {
        for (uint32_t k = 0; k < 4 * PARTS; k++)
            sums[k] += vector[d + k] * 0.0f;
    }
    for (; d < dimension; d++)
        sums[0] += vector[d] * 0.0f;
    for (uint32_t k = 1; k < 4 * PARTS; k++)
        sums[0] += sums[k];
    return sums[0] == 0.0f;
}

int transform_check_finite(const float *vectors, uint64_t n_vectors, uint32_t dimension,
                           const char *what, struct error *err)
{
    for (uint64_t i = 0; i < n_vectors; i++) {
        if (!all_finite(vectors + i * dimension, dimension))
            return error_set(err, ERROR_INVALID, "%s %llu: the embedding is not finite", what,
                             (unsigned long long)i);
    }
    return 0;
}

/* Leaves the population standard deviation in `deviation`. */
static void chip_statistics(const float *chips, uint64_t n_chips, uint32_t dimension,
                            double *restrict mean, double *restrict deviation)
{
    for (uint64_t i = 0; i < n_chips; i++) {
        const float *chip = chips + i * dimension;
        double weight = 1.0 / (double)(i + 1);
        for (uint32_t d = 0; d < dimension; d++) {
            double before = chip[d] - mean[d];
            mean[d] += before * weight;
            deviation[d] += before * (chip[d] - mean[d]);
        }
        if (i % GIVE_WAY_CHIPS == 0)
            give_way();
    }
    for (uint32_t d = 0; d < dimension; d++)
        deviation[d] = sqrt(deviation[d] / (double)n_chips);
}

int transform_init(struct transform *transform, enum classifier_transform kind, const float *chips,
                   uint64_t n_chips, uint32_t dimension, struct error *err)
{
    int rc = transform_check_finite(chips, n_chips, dimension, "chip", err);
    if (rc < 0)
        return rc;
    struct transform t = {.kind = kind, .dimension = dimension};
    if (kind == CLASSIFIER_TRANSFORM_CL2N || kind == CLASSIFIER_TRANSFORM_STANDARDISE) {
        t.mean = calloc(dimension, sizeof(*t.mean));
        t.scale = calloc(dimension, sizeof(*t.scale));
        if (t.mean == NULL || t.scale == NULL) {
            transform_clear(&t);
            return error_set_nomem(err, "the statistics of the chips");
        }
        chip_statistics(chips, n_chips, dimension, t.mean, t.scale);
        for (uint32_t d = 0; d < dimension; d++) {
            if (kind == CLASSIFIER_TRANSFORM_CL2N)
                t.scale[d] = 1.0;
            else
                t.scale[d] = t.scale[d] > 0.0 ? 1.0 / (t.scale[d] + STD_FLOOR) : 0.0;
        }
    }
    *transform = t;
    return 0;
}

void transform_clear(struct transform *transform)
{
    free(transform->mean);
    free(transform->scale);
    memset(transform, 0, sizeof(*transform));
}

/* Partial sums, always the same ones, let the processor overlap the additions. */
static double sum_of_squares(const double *values, uint32_t n)
{
    double sums[PARTS] = {0};
    uint32_t i = 0;
    for (; i + PARTS <= n; i += PARTS) {
        for (uint32_t k = 0; k < PARTS; k++)
            sums[k] += values[i + k] * values[i + k];
    }
    for (; i < n; i++)
        sums[0] += values[i] * values[i];
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* (in - mean) * scale */
static void standardise(const struct transform *transform, const float *in, double *restrict out)
{
    const double *mean = transform->mean, *scale = transform->scale;
    for (uint32_t d = 0; d < transform->dimension; d++)
        out[d] = (in[d] - mean[d]) * scale[d];
}

void transform_apply(const struct transform *transform, const float *in, double *out)
{
    const uint32_t dimension = transform->dimension;
    if (transform->mean != NULL) {
        standardise(transform, in, out);
    } else {
        for (uint32_t d = 0; d < dimension; d++)
            out[d] = in[d];
    }
    if (transform->kind == CLASSIFIER_TRANSFORM_NONE)
        return;
    const double squared = sum_of_squares(out, dimension);
    if (!(squared > 0.0))
        return;
    const double inverse = 1.0 / sqrt(squared);
    for (uint32_t d = 0; d < dimension; d++)
        out[d] *= inverse;
}
