/* The temperature that turns distances into probabilities. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_TEMPERATURE_H
#define CHIPSHOT_ENGINE_FEWSHOT_TEMPERATURE_H

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/prototypes.h"
#include "engine/fewshot/transform.h"

/* Fits the temperature to the support set, by the examples left out one by one. Always > 0 and
 * finite. ERROR_NOMEM. */
int temperature_fit(enum classifier_distance distance, const struct support *support,
                    const struct transform *transform, const struct prototypes *prototypes,
                    double *out, struct error *err);

#endif
