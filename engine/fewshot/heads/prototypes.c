/* Sums are kept beside the means, so that an example can be taken out of its class again
 * (temperature.c). Sums run in the order of the examples, and distances in partial sums that are
 * always the same ones: the bytes do not depend on who computes them.
 */
#include "engine/fewshot/heads/prototypes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"

int prototypes_init(struct prototypes *prototypes, const struct examples *examples,
                    struct error *err)
{
    const uint32_t dimension = examples->dimension;
    const size_t n_values = (size_t)examples->n_classes * dimension;
    struct prototypes p = {.n_classes = examples->n_classes, .dimension = dimension};
    p.sums = calloc(n_values, sizeof(*p.sums));
    p.means = calloc(n_values, sizeof(*p.means));
    if (p.sums == NULL || p.means == NULL) {
        prototypes_clear(&p);
        return error_set_nomem(err, "the prototypes");
    }
    for (uint32_t i = 0; i < examples->n; i++) {
        const double *example = examples_vector(examples, i);
        double *sum = p.sums + (size_t)examples->class_of[i] * dimension;
        for (uint32_t d = 0; d < dimension; d++)
            sum[d] += example[d];
    }
    for (size_t i = 0; i < n_values; i++)
        p.means[i] = p.sums[i] / examples->counts[i / dimension];
    *prototypes = p;
    return 0;
}

void prototypes_clear(struct prototypes *prototypes)
{
    free(prototypes->sums);
    free(prototypes->means);
    memset(prototypes, 0, sizeof(*prototypes));
}

/* Partial sums, always the same ones, let the processor overlap the additions. */
VECTOR_CLONES static double squared_euclidean(const double *a, const double *b, size_t n)
{
    enum { PARTS = 32 };
    double sums[PARTS] = {0.0};
    for (; n >= PARTS; n -= PARTS, a += PARTS, b += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += (a[k] - b[k]) * (a[k] - b[k]);
    }
    for (size_t i = 0; i < n; i++)
        sums[i] += (a[i] - b[i]) * (a[i] - b[i]);
    for (size_t k = 1; k < PARTS; k++)
        sums[0] += sums[k];
    return sums[0];
}

static double cosine(const double *a, const double *b, uint32_t dimension)
{
    double dot = 0.0, aa = 0.0, bb = 0.0;
    for (uint32_t d = 0; d < dimension; d++) {
        dot += a[d] * b[d];
        aa += a[d] * a[d];
        bb += b[d] * b[d];
    }
    double norms = sqrt(aa) * sqrt(bb);
    if (!(norms > 0.0))
        return 1.0;
    return fmin(fmax(1.0 - dot / norms, 0.0), 2.0);
}

double prototypes_distance(enum classifier_distance distance, const double *a, const double *b,
                           uint32_t dimension)
{
    return distance == CLASSIFIER_COSINE ? cosine(a, b, dimension)
                                         : squared_euclidean(a, b, dimension);
}

double prototypes_spread(const struct prototypes *prototypes, const struct examples *examples,
                         enum classifier_distance distance)
{
    const uint32_t dimension = prototypes->dimension, n_free = examples->n - examples->n_classes;
    double sum = 0.0;
    for (uint32_t i = 0; i < examples->n; i++)
        sum += prototypes_distance(distance, examples_vector(examples, i),
                                   prototypes->means + (size_t)examples->class_of[i] * dimension,
                                   dimension);
    return n_free > 0 ? sum / n_free : 0.0;
}

double prototypes_excess(enum classifier_distance distance, double spread, uint32_t n)
{
    return distance == CLASSIFIER_SQUARED_EUCLIDEAN ? spread / n : 0.0;
}
