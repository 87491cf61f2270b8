/* Automatic temperature: leave-one-out temperature scaling with a prior.
 *
 * A chip at costs c_k gets p_k = exp(-c_k / T) / sum_j exp(-c_j / T). One number T is fitted on
 * held-out data (temperature scaling: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural
 * Networks, ICML 2017). The only labelled data are the examples, so each is held out in turn: its
 * own class's prototype is the mean of the others,
 *
 *     m_-i = (n_c m_c - x_i) / (n_c - 1),
 *
 * and a class with one example competes without being asked. Costs are those of the head, of n_c -
 * 1 examples for the own class. A few examples that are told apart would drive T to 0 and every
 * probability to 1. But T has a scale of its own, too: were the classes normal, with the variance v
 * spread evenly over D independent directions, then T = 2 v / D. Embeddings behave as if there were
 * five to six: T is near PRIOR_SHARE v. And prototypes of few examples lie too far apart: of the
 * squared distance d_ab between those of classes a and b, v (1 / n_a + 1 / n_b) is what the
 * examples happened to be, and only the rest tells new chips apart. Differences of costs are that
 * much too large, so T is divided by the share s of the rest, the mean over pairs of classes, each
 * at least SHARE_MIN: what is below is not known so well. With a normal prior for ln T around that,
 *
 *     E(ln T) = sum_i [ c_i,own / T + log sum_k exp(-c_ik / T) ]
 *               + (ln T - ln(PRIOR_SHARE v / s))^2 / (2 PRIOR_DEVIATION^2)
 *
 * is minimised by golden-section search in a fixed number of steps. The more examples there are,
 * the less the prior says. The constants were chosen on the dev tasks (docs/accuracy.md,
 * Calibration).
 */
#include "engine/fewshot/heads/temperature.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static const double PRIOR_SHARE = 0.36;
static const double PRIOR_DEVIATION = 0.5;
static const double SHARE_MIN = 0.7;
static const double SEARCH = 6.0; /* of ln T, on each side: twelve deviations */
static const double CHIPS_SHARE = 0.3;
/* Below what rounding of float32 embeddings makes of equal ones: (2^-24)^2, a few times over. */
static const double ROUNDING = 1e-14;
enum { GOLDEN_STEPS = 60 }; /* 0.618^60 of the interval: below double's resolution of log T */

int held_out_init(struct held_out *out, const struct examples *examples, struct error *err)
{
    struct held_out held_out = {.n_classes = examples->n_classes};
    held_out.costs = calloc((size_t)examples->n * held_out.n_classes, sizeof(*held_out.costs));
    held_out.own = calloc(examples->n, sizeof(*held_out.own));
    if (held_out.costs == NULL || held_out.own == NULL) {
        held_out_clear(&held_out);
        return error_set_nomem(err, "the temperature's examples");
    }
    for (uint32_t i = 0; i < examples->n; i++) {
        if (examples->counts[examples->class_of[i]] >= 2)
            held_out.own[held_out.n++] = examples->class_of[i];
    }
    *out = held_out;
    return 0;
}

void held_out_clear(struct held_out *held_out)
{
    free(held_out->costs);
    free(held_out->own);
    *held_out = (struct held_out){0};
}

static void hold_out(const struct prototypes *prototypes, const struct examples *examples,
                     uint32_t index, double *mean)
{
    const uint32_t own = examples->class_of[index], dimension = prototypes->dimension;
    const double *sum = prototypes->sums + (size_t)own * dimension;
    const double *example = examples_vector(examples, index);
    const double weight = 1.0 / (examples->counts[own] - 1);
    for (uint32_t d = 0; d < dimension; d++)
        mean[d] = (sum[d] - example[d]) * weight;
}

int held_out_by_prototypes(struct held_out *held_out, enum classifier_distance distance,
                           const struct examples *examples, const struct prototypes *prototypes,
                           double spread, struct error *err)
{
    const uint32_t dimension = prototypes->dimension, n_classes = prototypes->n_classes;
    double *mean_of_others = calloc(dimension, sizeof(*mean_of_others));
    double *row = held_out->costs;
    if (mean_of_others == NULL)
        return error_set_nomem(err, "the temperature's examples");
    for (uint32_t i = 0; i < examples->n; i++) {
        const uint32_t own = examples->class_of[i];
        if (examples->counts[own] < 2)
            continue;
        hold_out(prototypes, examples, i, mean_of_others);
        for (uint32_t k = 0; k < n_classes; k++) {
            const double *mean =
                k == own ? mean_of_others : prototypes->means + (size_t)k * dimension;
            row[k] = prototypes_distance(distance, examples_vector(examples, i), mean, dimension) -
                     prototypes_excess(distance, spread, examples->counts[k] - (k == own ? 1 : 0));
        }
        row += n_classes;
    }
    free(mean_of_others);
    return 0;
}

/* E of the comment above. */
static double loss(const struct held_out *held_out, double prior, double log_temperature)
{
    const uint32_t n_classes = held_out->n_classes;
    const double temperature = exp(log_temperature);
    const double deviations = (log_temperature - prior) / PRIOR_DEVIATION;
    double total = 0.5 * deviations * deviations;
    for (uint32_t i = 0; i < held_out->n; i++) {
        const double *row = held_out->costs + (size_t)i * n_classes;
        double least = row[0], sum = 0.0;
        for (uint32_t k = 1; k < n_classes; k++)
            least = fmin(least, row[k]);
        for (uint32_t k = 0; k < n_classes; k++)
            sum += exp((least - row[k]) / temperature);
        total += (row[held_out->own[i]] - least) / temperature + log(sum);
    }
    return total;
}

double temperature_search(const struct held_out *held_out, double typical)
{
    const double ratio = 0.6180339887498949, prior = log(typical);
    double low = prior - SEARCH, high = prior + SEARCH;
    double left = high - ratio * (high - low), right = low + ratio * (high - low);
    double at_left = loss(held_out, prior, left), at_right = loss(held_out, prior, right);
    for (int step = 0; step < GOLDEN_STEPS; step++) {
        if (at_left <= at_right) {
            high = right;
            right = left;
            at_right = at_left;
            left = high - ratio * (high - low);
            at_left = loss(held_out, prior, left);
        } else {
            low = left;
            left = right;
            at_left = at_right;
            right = low + ratio * (high - low);
            at_right = loss(held_out, prior, right);
        }
    }
    return exp(0.5 * (low + high));
}

/* Mean squared length of the prototypes, what squared distances are measured against; 1 for angles
 * and for prototypes that are all zero. */
static double size_of(enum classifier_distance distance, const struct prototypes *prototypes)
{
    const size_t n_values = (size_t)prototypes->n_classes * prototypes->dimension;
    double total = 0.0;
    for (size_t i = 0; i < n_values; i++)
        total += prototypes->means[i] * prototypes->means[i];
    if (distance == CLASSIFIER_COSINE || !(total > 0.0))
        return 1.0;
    return fmax(total / prototypes->n_classes, DBL_MIN / ROUNDING);
}

/* s of the comment above. */
static double share_of_distance(enum classifier_distance distance, const struct examples *examples,
                                const struct prototypes *prototypes, double spread)
{
    const uint32_t n = prototypes->n_classes, dimension = prototypes->dimension;
    double sum = 0.0;
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = a + 1; b < n; b++) {
            const double apart =
                prototypes_distance(distance, prototypes->means + (size_t)a * dimension,
                                    prototypes->means + (size_t)b * dimension, dimension);
            const double by_chance = prototypes_excess(distance, spread, examples->counts[a]) +
                                     prototypes_excess(distance, spread, examples->counts[b]);
            sum += apart > 0.0 ? fmax(1.0 - by_chance / apart, SHARE_MIN) : SHARE_MIN;
        }
    }
    return sum / (0.5 * n * (n - 1.0));
}

double temperature_typical(enum classifier_distance distance, const struct examples *examples,
                           const struct prototypes *prototypes, double spread)
{
    if (!(spread > ROUNDING * size_of(distance, prototypes)))
        return 0.0;
    return PRIOR_SHARE * spread / share_of_distance(distance, examples, prototypes, spread);
}

int temperature_fit(enum classifier_distance distance, const struct examples *examples,
                    const struct prototypes *prototypes, double spread, double *out,
                    struct error *err)
{
    struct held_out held_out;
    const double typical = temperature_typical(distance, examples, prototypes, spread);
    *out = 0.0;
    if (typical == 0.0)
        return 0;
    int rc = held_out_init(&held_out, examples, err);
    if (rc < 0)
        return rc;
    rc = held_out_by_prototypes(&held_out, distance, examples, prototypes, spread, err);
    if (rc == 0)
        *out = temperature_search(&held_out, typical);
    held_out_clear(&held_out);
    return rc;
}

static int compare(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

double temperature_of_chips(double *nearest, uint32_t n)
{
    qsort(nearest, n, sizeof(*nearest), compare);
    const double median = n > 0 ? nearest[n / 2] : 0.0;
    /* Where the middle chip lies on a prototype, equal distances still give equal probabilities. */
    return median > DBL_MIN / ROUNDING ? CHIPS_SHARE * median : 1.0;
}
