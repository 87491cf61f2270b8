/* What the examples of a support set say of each other: which of them another class would take, and
 * which classes are hardly told apart. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HELP_HEALTH_H
#define CHIPSHOT_ENGINE_FEWSHOT_HELP_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

struct examples; /* engine/fewshot/heads/examples.h */

/* An example is flagged below this probability of its own class (docs/accuracy.md says what that
 * finds), a pair of classes above that confusion. */
#define HEALTH_PROBABILITY_MIN 0.40
#define HEALTH_CONFUSION_MAX   0.2

/* Each example is asked as if it were a chip, its class being the mean of its other examples; costs
 * and temperature are those of the prototypes. */
struct health {
    uint32_t n_examples, n_classes;
    const uint32_t *class_of; /* n_examples; the support's, borrowed */
    float *probabilities;     /* n_examples x n_classes; NaN: the example was not asked; owned */
};

/* Of no example yet. ERROR_NOMEM. */
int health_init(struct health *out, const uint32_t *class_of, uint32_t n_examples,
                uint32_t n_classes, struct error *err);
/* Asks all examples, transformed (heads/examples.h), but for those that are alone in their class;
 * none where no class says how far its examples lie apart. ERROR_NOMEM. */
int health_measure(const struct classifier_params *params, const struct examples *examples,
                   struct health *out, struct error *err);
void health_clear(struct health *health);

/* Takes one example's answer from another measurement of the same support set. */
void health_take(struct health *health, const struct health *from, uint32_t example);

bool health_was_asked(const struct health *health, uint32_t example);
/* Probability of the own class; NaN: the example was not asked. */
double health_own(const struct health *health, uint32_t example);
/* The most likely class of one that was asked; the first of equal ones. */
uint32_t health_likely(const struct health *health, uint32_t example);
bool health_is_flagged(double own);

/* How much of each other's examples two classes would take, on average: the mean over both of the
 * mean probability of the other, or that of the one of which examples were asked; NaN: none was. */
double health_confusion(const struct health *health, uint32_t a, uint32_t b);

#endif
