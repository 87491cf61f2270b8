/* The temperature that turns distances into probabilities. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_TEMPERATURE_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_TEMPERATURE_H

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/heads/examples.h"
#include "engine/fewshot/heads/prototypes.h"

/* Fits the temperature to the examples left out one by one. `spread`: prototypes_spread of them.
 * Finite; 0: they do not say, for each class has one, or all of a class are alike. ERROR_NOMEM. */
int temperature_fit(enum classifier_distance distance, const struct examples *examples,
                    const struct prototypes *prototypes, double spread, double *out,
                    struct error *err);

/* What is taken then: a share of the median of the chips' distances to their nearest class. Always
 * > 0 and finite. `nearest` (n of them) is sorted. */
double temperature_of_chips(double *nearest, uint32_t n);

#endif
