/* The temperature that turns distances into probabilities. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_TEMPERATURE_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_TEMPERATURE_H

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/heads/examples.h"
#include "engine/fewshot/heads/prototypes.h"

/* Examples as a head sees them that learned from all others. */
struct held_out {
    uint32_t n; /* those whose class has two at least, in their order */
    uint32_t n_classes;
    double *costs; /* n x n_classes; owned */
    uint32_t *own; /* n: their classes; owned */
};

/* Costs are zero. ERROR_NOMEM. */
int held_out_init(struct held_out *out, const struct examples *examples, struct error *err);
void held_out_clear(struct held_out *held_out);

/* The costs of nearest prototypes, each example taken out of its own; `spread`: prototypes_spread
 * of the examples. ERROR_NOMEM. */
int held_out_by_prototypes(struct held_out *held_out, enum classifier_distance distance,
                           const struct examples *examples, const struct prototypes *prototypes,
                           double spread, struct error *err);

/* Where a temperature is looked for: PRIOR_SHARE v / s of temperature.c. 0: the examples do not
 * say, for each class has one, or all of a class are alike. */
double temperature_typical(enum classifier_distance distance, const struct examples *examples,
                           const struct prototypes *prototypes, double spread);

/* Fits the temperature to the examples left out one by one, near a typical one (> 0). */
double temperature_search(const struct held_out *held_out, double typical);

/* Both steps of nearest prototypes. `spread`: prototypes_spread of the examples. Finite; 0: they do
 * not say. ERROR_NOMEM. */
int temperature_fit(enum classifier_distance distance, const struct examples *examples,
                    const struct prototypes *prototypes, double spread, double *out,
                    struct error *err);

/* What is taken then: a share of the median of the chips' distances to their nearest class. Always
 * > 0 and finite. `nearest` (n of them) is sorted. */
double temperature_of_chips(double *nearest, uint32_t n);

#endif
