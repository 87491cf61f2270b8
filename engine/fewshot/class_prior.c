/* The interval of a class, held against the rest: with q the probability of a chip under the prior
 * f, J = sum q (1 - q) / (n f (1 - f)) is the share of the information that the classification lost
 * (Louis, Finding the observed information matrix when using the EM algorithm, JRSS B 44, 1982).
 * Its chips then vary by f (1 - f) J / n for themselves and by as much times J / (1 - J) for the
 * prior. Where the classifier's probabilities of a rare class are low, the prior takes its chips
 * away one and all; what was counted errs to the other side. So the interval reaches to that.
 */
#include "engine/fewshot/class_prior.h"

#include <math.h>

enum { STEPS_MAX = 40 };

#define CLOSE_ENOUGH 1e-5 /* of a fraction, from step to step */
#define QUANTILE     1.96

/* What one pass over the chips sums up. */
struct pass {
    double sums[CLASSIFIER_CLASSES_MAX];    /* of q */
    double squares[CLASSIFIER_CLASSES_MAX]; /* of q^2 */
};

/* One chip. The classes are few, and of most chips all but one have next to no probability. */
static void add_chip(const float *probabilities, const double *prior, uint32_t n_classes,
                     struct pass *pass)
{
    double shares[CLASSIFIER_CLASSES_MAX], total = 0.0;
    for (uint32_t k = 0; k < n_classes; k++)
        total += shares[k] = prior[k] * (double)probabilities[k];
    if (!(total > 0.0))
        return;
    const double scale = 1.0 / total;
    for (uint32_t k = 0; k < n_classes; k++) {
        const double q = shares[k] * scale;
        pass->sums[k] += q;
        pass->squares[k] += q * q;
    }
}

static struct pass run_pass(const uint16_t *labels, const float *probabilities, uint64_t n_chips,
                            const double *prior, uint32_t n_classes)
{
    struct pass pass = {0};
    for (uint64_t i = 0; i < n_chips; i++) {
        if (labels[i] < n_classes)
            add_chip(probabilities + i * n_classes, prior, n_classes, &pass);
    }
    return pass;
}

/* The next prior; returns how far it moved. */
static double step(const struct pass *pass, double n, double *prior, uint32_t n_classes)
{
    double moved = 0.0;
    for (uint32_t k = 0; k < n_classes; k++) {
        const double next =
            (pass->sums[k] + CLASS_PRIOR_PSEUDO_CHIPS / n_classes) / (n + CLASS_PRIOR_PSEUDO_CHIPS);
        moved = fmax(moved, fabs(next - prior[k]));
        prior[k] = next;
    }
    return moved;
}

/* `counted`: the share of the labels. */
static void fill_interval(const struct pass *pass, double n, uint32_t k, double counted,
                          struct class_prior *out)
{
    const double f = out->fractions[k], variance = f * (1.0 - f);
    const double lost = fmin((pass->sums[k] - pass->squares[k]) / (n * variance), 1.0 - 1e-6);
    const double deviation = QUANTILE * sqrt(variance * lost / (1.0 - lost) / n);
    out->low[k] = fmin(fmax(f - deviation, 0.0), counted);
    out->high[k] = fmax(fmin(f + deviation, 1.0), counted);
}

int class_prior_estimate(const uint16_t *labels, const float *probabilities, uint64_t n_chips,
                         uint32_t n_classes, const struct cancel *cancel, struct class_prior *out,
                         struct error *err)
{
    struct class_prior prior = {0};
    uint64_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    for (uint64_t i = 0; i < n_chips; i++) {
        if (labels[i] >= n_classes)
            continue;
        prior.n_chips++;
        counts[labels[i]]++;
    }
    if (prior.n_chips == 0) {
        *out = prior;
        return 0;
    }
    const double n = (double)prior.n_chips;
    struct pass pass;
    double moved = INFINITY;
    for (uint32_t k = 0; k < n_classes; k++)
        prior.fractions[k] = 1.0 / n_classes;
    for (int i = 0; i < STEPS_MAX && moved > CLOSE_ENOUGH; i++) {
        if (cancel_is_asked(cancel))
            return error_set(err, ERROR_CANCELLED, "the statistics were cancelled");
        pass = run_pass(labels, probabilities, n_chips, prior.fractions, n_classes);
        moved = step(&pass, n, prior.fractions, n_classes);
    }
    for (uint32_t k = 0; k < n_classes; k++)
        fill_interval(&pass, n, k, (double)counts[k] / n, &prior);
    *out = prior;
    return 0;
}
