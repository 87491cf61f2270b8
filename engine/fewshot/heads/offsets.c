/* Newton's method by the diagonal of the Hessian, a fixed number of steps: with p the mean
 * probabilities, the Hessian diag(p) - p p^T is at most twice its own diagonal, so half a step
 * never goes too far where it does not change much. */
#include "engine/fewshot/heads/offsets.h"

#include <math.h>

static const double OFFSETS_DEVIATION = 1.0; /* chosen on the dev tasks (docs/accuracy.md) */
enum { STEPS = 80 };

struct slopes {
    double first[CLASSIFIER_CLASSES_MAX], second[CLASSIFIER_CLASSES_MAX];
};

/* Of the cross-entropy of one example of class `own`. */
static void add_example(const double *costs, uint32_t n_classes, uint32_t own, double weight,
                        double temperature, const double *offsets, struct slopes *slopes)
{
    double p[CLASSIFIER_CLASSES_MAX], least = INFINITY, sum = 0.0;
    for (uint32_t k = 0; k < n_classes; k++) {
        p[k] = costs[k] / temperature + offsets[k];
        least = fmin(least, p[k]);
    }
    for (uint32_t k = 0; k < n_classes; k++)
        sum += p[k] = exp(least - p[k]);
    for (uint32_t k = 0; k < n_classes; k++) {
        p[k] /= sum;
        slopes->first[k] += weight * ((k == own ? 1.0 : 0.0) - p[k]);
        slopes->second[k] += weight * p[k] * (1.0 - p[k]);
    }
}

void offsets_fit(const struct held_out *held_out, const struct examples *examples,
                 double temperature, double *offsets)
{
    const uint32_t n_classes = held_out->n_classes;
    const double prior = 1.0 / (OFFSETS_DEVIATION * OFFSETS_DEVIATION);
    for (uint32_t k = 0; k < n_classes; k++)
        offsets[k] = 0.0;
    for (int step = 0; step < STEPS; step++) {
        struct slopes slopes = {0};
        for (uint32_t i = 0; i < held_out->n; i++) {
            const uint32_t own = held_out->own[i];
            const double weight = (double)examples->n / ((double)n_classes * examples->counts[own]);
            add_example(held_out->costs + (size_t)i * n_classes, n_classes, own, weight,
                        temperature, offsets, &slopes);
        }
        double mean = 0.0;
        for (uint32_t k = 0; k < n_classes; k++) {
            offsets[k] -= 0.5 * (slopes.first[k] + prior * offsets[k]) / (slopes.second[k] + prior);
            mean += offsets[k] / n_classes;
        }
        for (uint32_t k = 0; k < n_classes; k++)
            offsets[k] -= mean;
    }
}
