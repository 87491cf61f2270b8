/* none: x. l2: x / |x|. cl2n: (x - mean) / |x - mean| (Wang et al., SimpleShot, 2019).
 * standardise: z / |z| with z = (x - mean) / (std + STD_FLOOR), std being the population's over the
 * image's chips. A zero vector stays zero. Statistics are taken in one pass in double by Welford's
 * recurrence (Welford 1962), chip after chip: exact for a constant dimension, and the same bytes
 * whatever runs beside it.
 */
#include "engine/fewshot/transform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Components of the encoder's unit-length parts are about 0.05 in size. A dimension that varies by
 * rounding alone must not be blown up to the weight of the others; the training of the default
 * encoder uses the same number. */
static const double STD_FLOOR = 1e-6;

int transform_check_finite(const float *vectors, uint64_t n_vectors, uint32_t dimension,
                           const char *what, struct error *err)
{
    for (uint64_t i = 0; i < n_vectors; i++) {
        const float *vector = vectors + i * dimension;
        /* x * 0 is 0 for a finite x and NaN otherwise, and NaN survives the sum. */
        float sum = 0.0f;
        for (uint32_t d = 0; d < dimension; d++)
            sum += vector[d] * 0.0f;
        if (!(sum == 0.0f))
            return error_set(err, ERROR_INVALID, "%s %llu: the embedding is not finite", what,
                             (unsigned long long)i);
    }
    return 0;
}

/* Leaves the population standard deviation in `deviation`. */
static void chip_statistics(const float *chips, uint64_t n_chips, uint32_t dimension, double *mean,
                            double *deviation)
{
    for (uint64_t i = 0; i < n_chips; i++) {
        const float *chip = chips + i * dimension;
        double weight = 1.0 / (double)(i + 1);
        for (uint32_t d = 0; d < dimension; d++) {
            double before = chip[d] - mean[d];
            mean[d] += before * weight;
            deviation[d] += before * (chip[d] - mean[d]);
        }
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

void transform_apply(const struct transform *transform, const float *in, double *out)
{
    uint32_t dimension = transform->dimension;
    double squared = 0.0;
    for (uint32_t d = 0; d < dimension; d++) {
        double value = in[d];
        if (transform->mean != NULL)
            value = (value - transform->mean[d]) * transform->scale[d];
        out[d] = value;
        squared += value * value;
    }
    if (transform->kind == CLASSIFIER_TRANSFORM_NONE || !(squared > 0.0))
        return;
    double inverse = 1.0 / sqrt(squared);
    for (uint32_t d = 0; d < dimension; d++)
        out[d] *= inverse;
}
