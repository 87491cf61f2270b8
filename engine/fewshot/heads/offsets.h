/* What is added to the cost of each class, so that examples left out are answered best. Internal to
 * engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_OFFSETS_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_OFFSETS_H

#include <stdint.h>

#include "engine/fewshot/heads/examples.h"
#include "engine/fewshot/heads/temperature.h"

/* Fits offsets o_k, as many as classes, of sum 0, in units of `temperature` T: a cost c_k becomes
 * c_k + T o_k. The sum of the cross-entropies of the examples left out, each weighed so that all
 * classes weigh alike, and of o_k^2 / (2 OFFSETS_DEVIATION^2) is least. `held_out`: of all
 * examples. */
void offsets_fit(const struct held_out *held_out, const struct examples *examples,
                 double temperature, double *offsets);

#endif
