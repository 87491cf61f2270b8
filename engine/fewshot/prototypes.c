/* Sums are kept beside the means, so that an example can be taken out of its class again
 * (temperature.c). Sums run in the order of the examples, and distances in partial sums that are
 * always the same ones: the bytes do not depend on who computes them.
 */
#include "engine/fewshot/prototypes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"

static int count_examples(const struct support *support, uint32_t *counts, struct error *err)
{
    for (uint32_t i = 0; i < support->n_examples; i++) {
        if (support->class_of[i] >= support->n_classes)
            return error_set(err, ERROR_INVALID, "example %u: class %u, the last one is %u", i,
                             support->class_of[i], support->n_classes - 1);
        counts[support->class_of[i]]++;
    }
    for (uint32_t c = 0; c < support->n_classes; c++) {
        if (counts[c] == 0)
            return error_set(err, ERROR_INVALID, "class %u has no example, at least 1 is needed",
                             c);
    }
    return 0;
}

int prototypes_init(struct prototypes *prototypes, const struct support *support,
                    const struct transform *transform, struct error *err)
{
    size_t n_values = (size_t)support->n_classes * support->dimension;
    struct prototypes p = {.n_classes = support->n_classes, .dimension = support->dimension};
    p.sums = calloc(n_values, sizeof(*p.sums));
    p.means = calloc(n_values, sizeof(*p.means));
    p.counts = calloc(p.n_classes, sizeof(*p.counts));
    double *example = calloc(p.dimension, sizeof(*example));
    int rc = 0;
    if (p.sums == NULL || p.means == NULL || p.counts == NULL || example == NULL) {
        rc = error_set_nomem(err, "the prototypes");
        goto out;
    }
    rc = count_examples(support, p.counts, err);
    if (rc < 0)
        goto out;
    for (uint32_t i = 0; i < support->n_examples; i++) {
        transform_apply(transform, support->embeddings + (size_t)i * p.dimension, example);
        double *sum = p.sums + (size_t)support->class_of[i] * p.dimension;
        for (uint32_t d = 0; d < p.dimension; d++)
            sum[d] += example[d];
    }
    for (size_t i = 0; i < n_values; i++)
        p.means[i] = p.sums[i] / p.counts[i / p.dimension];
    *prototypes = p;
out:
    if (rc < 0)
        prototypes_clear(&p);
    free(example);
    return rc;
}

void prototypes_clear(struct prototypes *prototypes)
{
    free(prototypes->sums);
    free(prototypes->means);
    free(prototypes->counts);
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
