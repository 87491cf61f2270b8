#include "engine/fewshot/help/health.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/heads/temperature.h"

static float *row_of(const struct health *health, uint32_t example)
{
    return health->probabilities + (size_t)example * health->n_classes;
}

static void answer(const double *costs, uint32_t n_classes, double temperature, float *out)
{
    double least = costs[0], sum = 0.0, weights[CLASSIFIER_CLASSES_MAX];
    for (uint32_t k = 1; k < n_classes; k++)
        least = fmin(least, costs[k]);
    for (uint32_t k = 0; k < n_classes; k++) {
        weights[k] = exp((least - costs[k]) / temperature);
        sum += weights[k];
    }
    for (uint32_t k = 0; k < n_classes; k++)
        out[k] = (float)(weights[k] / sum);
}

int health_init(struct health *out, const uint32_t *class_of, uint32_t n_examples,
                uint32_t n_classes, struct error *err)
{
    const size_t n = (size_t)n_examples * n_classes;
    float *probabilities = calloc(n > 0 ? n : 1, sizeof(*probabilities));
    if (probabilities == NULL)
        return error_set_nomem(err, "the health of a support set");
    for (size_t i = 0; i < n; i++)
        probabilities[i] = NAN;
    *out = (struct health){n_examples, n_classes, class_of, probabilities};
    return 0;
}

/* `held_out` has the examples that were asked, in their order. */
static void take_answers(struct health *health, const struct examples *examples,
                         const struct held_out *held_out, double temperature)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < examples->n; i++) {
        if (examples->counts[examples->class_of[i]] < 2)
            continue;
        answer(held_out->costs + (size_t)n * held_out->n_classes, held_out->n_classes, temperature,
               row_of(health, i));
        n++;
    }
}

static int ask(struct health *health, const struct classifier_params *params,
               const struct examples *examples, const struct prototypes *prototypes,
               struct error *err)
{
    const double spread = prototypes_spread(prototypes, examples, params->distance);
    const double typical = temperature_typical(params->distance, examples, prototypes, spread);
    struct held_out held_out;
    if (typical == 0.0)
        return 0;
    int rc = held_out_init(&held_out, examples, err);
    if (rc < 0)
        return rc;
    rc = held_out_by_prototypes(&held_out, params->distance, examples, prototypes, spread, err);
    if (rc == 0)
        take_answers(health, examples, &held_out,
                     params->temperature > 0.0 ? params->temperature
                                               : temperature_search(&held_out, typical));
    held_out_clear(&held_out);
    return rc;
}

int health_measure(const struct classifier_params *params, const struct examples *examples,
                   struct health *out, struct error *err)
{
    struct health health = {0};
    struct prototypes prototypes = {0};
    int rc = health_init(&health, examples->class_of, examples->n, examples->n_classes, err);
    if (rc == 0)
        rc = prototypes_init(&prototypes, examples, err);
    if (rc == 0)
        rc = ask(&health, params, examples, &prototypes, err);
    prototypes_clear(&prototypes);
    if (rc == 0)
        *out = health;
    else
        health_clear(&health);
    return rc;
}

void health_clear(struct health *health)
{
    free(health->probabilities);
    *health = (struct health){0};
}

void health_take(struct health *health, const struct health *from, uint32_t example)
{
    memcpy(row_of(health, example), row_of(from, example),
           health->n_classes * sizeof(health->probabilities[0]));
}

bool health_was_asked(const struct health *health, uint32_t example)
{
    return !isnan(row_of(health, example)[0]);
}

double health_own(const struct health *health, uint32_t example)
{
    return (double)row_of(health, example)[health->class_of[example]];
}

uint32_t health_likely(const struct health *health, uint32_t example)
{
    const float *row = row_of(health, example);
    uint32_t likely = 0;
    for (uint32_t k = 1; k < health->n_classes; k++)
        likely = row[k] > row[likely] ? k : likely;
    return likely;
}

bool health_is_flagged(double own)
{
    return own < HEALTH_PROBABILITY_MIN; /* NaN is not */
}

/* Of the examples of a class that were asked; NaN: none was. */
static double mean_probability(const struct health *health, uint32_t of, uint32_t class_index)
{
    double sum = 0.0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < health->n_examples; i++) {
        if (health->class_of[i] != of || !health_was_asked(health, i))
            continue;
        sum += (double)row_of(health, i)[class_index];
        n++;
    }
    return n > 0 ? sum / n : NAN;
}

double health_confusion(const struct health *health, uint32_t a, uint32_t b)
{
    const double ab = mean_probability(health, a, b), ba = mean_probability(health, b, a);
    if (isnan(ab))
        return ba;
    return isnan(ba) ? ab : 0.5 * (ab + ba);
}
