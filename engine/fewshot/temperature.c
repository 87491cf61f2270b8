/* Automatic temperature: leave-one-out temperature scaling with smoothed targets.
 *
 * A chip at distances d_k from the prototypes gets p_k = exp(-d_k / T) / sum_j exp(-d_j / T). One
 * number T is fitted on held-out data (temperature scaling: Guo, Pleiss, Sun, Weinberger, On
 * Calibration of Modern Neural Networks, ICML 2017). The only labelled data are the examples, so
 * each example is held out in turn: its own class's prototype is the mean of the others,
 *
 *     m_-i = (n_c m_c - x_i) / (n_c - 1),
 *
 * and a class with one example competes without being asked. A support set that is separable would
 * drive T to 0 and every probability to 1; the remedy is Platt's (Probabilistic Outputs for Support
 * Vector Machines, 1999): a class seen n times without a miss is credited only with
 *
 *     t = (n + 1) / (n + 2),   the other K - 1 classes share 1 - t,
 *
 * n being the examples of the query's class. The cross-entropy over the queries
 *
 *     E(T) = mean_i [ sum_k t_ik d_ik / T + log sum_k exp(-d_ik / T) ]
 *
 * is convex in 1/T, hence has one minimum in log T, which golden-section search finds in a fixed
 * number of steps within LOW .. HIGH times S, the mean over queries of (mean of the other classes'
 * distances - own distance, in absolute value). Where all queries are equally far from everything
 * (S = 0), or nobody can be asked, T = mean distance between prototypes / PROTOTYPE_ODDS; where
 * that is 0 too, T = size of a vector, so that equal distances give equal probabilities. "0" means
 * below what rounding of float32 embeddings makes of equal ones: ROUNDING times the size of a
 * vector.
 */
#include "engine/fewshot/temperature.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double LOW = 1e-3;
static const double HIGH = 1e2;
/* A chip on its prototype is then exp(4) = 55 times as likely as a class at the mean distance. */
static const double PROTOTYPE_ODDS = 4.0;
static const double ROUNDING = 1e-14; /* (2^-24)^2, a few times over */
enum { GOLDEN_STEPS = 60 }; /* 0.618^60 of the interval: below double's resolution of log T */

/* Held-out queries: `distances` holds n_classes each, `own` their class, `target` Platt's t. */
struct queries {
    uint32_t n;
    uint32_t n_classes;
    double *distances;
    uint32_t *own;
    double *target;
};

static void queries_clear(struct queries *queries)
{
    free(queries->distances);
    free(queries->own);
    free(queries->target);
}

static void hold_out(const struct prototypes *prototypes, uint32_t class_index,
                     const double *example, double *mean)
{
    const double *sum = prototypes->sums + (size_t)class_index * prototypes->dimension;
    double weight = 1.0 / (prototypes->counts[class_index] - 1);
    for (uint32_t d = 0; d < prototypes->dimension; d++)
        mean[d] = (sum[d] - example[d]) * weight;
}

static void ask(enum classifier_distance distance, const struct support *support,
                const struct transform *transform, const struct prototypes *prototypes,
                struct queries *queries, double *example, double *held_out)
{
    uint32_t dimension = prototypes->dimension;
    for (uint32_t i = 0; i < support->n_examples; i++) {
        uint32_t own = support->class_of[i];
        uint32_t count = prototypes->counts[own];
        if (count < 2)
            continue;
        transform_apply(transform, support->embeddings + (size_t)i * dimension, example);
        hold_out(prototypes, own, example, held_out);
        double *row = queries->distances + (size_t)queries->n * prototypes->n_classes;
        for (uint32_t k = 0; k < prototypes->n_classes; k++) {
            const double *mean = k == own ? held_out : prototypes->means + (size_t)k * dimension;
            row[k] = prototypes_distance(distance, example, mean, dimension);
        }
        queries->own[queries->n] = own;
        queries->target[queries->n] = (count + 1.0) / (count + 2.0);
        queries->n++;
    }
}

static double cross_entropy(const struct queries *queries, double temperature)
{
    uint32_t n_classes = queries->n_classes;
    double total = 0.0;
    for (uint32_t i = 0; i < queries->n; i++) {
        const double *row = queries->distances + (size_t)i * n_classes;
        double nearest = row[0];
        for (uint32_t k = 1; k < n_classes; k++)
            nearest = fmin(nearest, row[k]);
        double other = (1.0 - queries->target[i]) / (n_classes - 1);
        double expected = 0.0, sum = 0.0;
        for (uint32_t k = 0; k < n_classes; k++) {
            double energy = (row[k] - nearest) / temperature;
            expected += (k == queries->own[i] ? queries->target[i] : other) * energy;
            sum += exp(-energy);
        }
        total += expected + log(sum);
    }
    return total / queries->n;
}

/* S of the comment above. */
static double scale_of(const struct queries *queries)
{
    double total = 0.0;
    for (uint32_t i = 0; i < queries->n; i++) {
        const double *row = queries->distances + (size_t)i * queries->n_classes;
        double others = 0.0;
        for (uint32_t k = 0; k < queries->n_classes; k++)
            others += k == queries->own[i] ? 0.0 : row[k];
        total += fabs(others / (queries->n_classes - 1) - row[queries->own[i]]);
    }
    return queries->n == 0 ? 0.0 : total / queries->n;
}

static double golden_section(const struct queries *queries, double low, double high)
{
    const double ratio = 0.6180339887498949;
    double left = high - ratio * (high - low);
    double right = low + ratio * (high - low);
    double at_left = cross_entropy(queries, exp(left));
    double at_right = cross_entropy(queries, exp(right));
    for (int step = 0; step < GOLDEN_STEPS; step++) {
        if (at_left <= at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - ratio * (high - low);
            at_left = cross_entropy(queries, exp(left));
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + ratio * (high - low);
            at_right = cross_entropy(queries, exp(right));
        }
    }
    return exp(0.5 * (low + high));
}

/* Mean squared length of the prototypes, what squared distances are measured against; 1 for angles
 * and for prototypes that are all zero. */
static double size_of(enum classifier_distance distance, const struct prototypes *prototypes)
{
    size_t n_values = (size_t)prototypes->n_classes * prototypes->dimension;
    double total = 0.0;
    for (size_t i = 0; i < n_values; i++)
        total += prototypes->means[i] * prototypes->means[i];
    if (distance == CLASSIFIER_COSINE || !(total > 0.0))
        return 1.0;
    return fmax(total / prototypes->n_classes, DBL_MIN / ROUNDING);
}

static double from_prototypes(enum classifier_distance distance,
                              const struct prototypes *prototypes, double size)
{
    uint32_t dimension = prototypes->dimension;
    double total = 0.0;
    uint32_t n_pairs = 0;
    for (uint32_t a = 0; a < prototypes->n_classes; a++) {
        for (uint32_t b = a + 1; b < prototypes->n_classes; b++) {
            total += prototypes_distance(distance, prototypes->means + (size_t)a * dimension,
                                         prototypes->means + (size_t)b * dimension, dimension);
            n_pairs++;
        }
    }
    double mean = total / n_pairs;
    return mean > ROUNDING * size ? mean / PROTOTYPE_ODDS : size;
}

int temperature_fit(enum classifier_distance distance, const struct support *support,
                    const struct transform *transform, const struct prototypes *prototypes,
                    double *out, struct error *err)
{
    uint32_t n_classes = prototypes->n_classes;
    struct queries queries = {.n_classes = n_classes};
    queries.distances = calloc((size_t)support->n_examples * n_classes, sizeof(*queries.distances));
    queries.own = calloc(support->n_examples, sizeof(*queries.own));
    queries.target = calloc(support->n_examples, sizeof(*queries.target));
    double *buffers = calloc((size_t)prototypes->dimension * 2, sizeof(*buffers));
    int rc = 0;
    if (queries.distances == NULL || queries.own == NULL || queries.target == NULL ||
        buffers == NULL) {
        rc = error_set_nomem(err, "the temperature's queries");
        goto out;
    }
    ask(distance, support, transform, prototypes, &queries, buffers,
        buffers + prototypes->dimension);
    double size = size_of(distance, prototypes);
    double scale = scale_of(&queries);
    *out = scale > ROUNDING * size ? golden_section(&queries, log(scale * LOW), log(scale * HIGH))
                                   : from_prototypes(distance, prototypes, size);
out:
    queries_clear(&queries);
    free(buffers);
    return rc;
}
