/* What fractions of an image's chips the classes have, by the probabilities alone: expectation
 * maximisation of the prior under which they are most likely (Saerens, Latinne, Decaestecker:
 * Adjusting the outputs of a classifier to new a priori probabilities, Neural Computation 14,
 * 2002). Probabilities of a classifier that takes all classes for equally frequent give rare ones
 * too many chips; this takes most of that back. It rests on the probabilities, which nobody has
 * verified: the interval holds as far as they are right and chips err independently, and is too
 * narrow where they are not. It holds the share of the labels, too, from which the estimate may be
 * far away. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_CLASS_PRIOR_H
#define CHIPSHOT_ENGINE_FEWSHOT_CLASS_PRIOR_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/fewshot/classifier.h"

/* Chips that the prior is worth before any is seen, spread evenly over the classes (Dirichlet). */
#define CLASS_PRIOR_PSEUDO_CHIPS 10.0

struct class_prior {
    uint64_t n_chips; /* with a class; 0: nothing else is set */
    double fractions[CLASSIFIER_CLASSES_MAX];
    double low[CLASSIFIER_CLASSES_MAX], high[CLASSIFIER_CLASSES_MAX]; /* 95 % */
};

/* Of the chips whose label is a class. labels: n_chips; probabilities: n_chips x n_classes; both
 * borrowed. n_classes: 1 .. CLASSIFIER_CLASSES_MAX. `cancel` NULL: never. ERROR_CANCELLED. */
int class_prior_estimate(const uint16_t *labels, const float *probabilities, uint64_t n_chips,
                         uint32_t n_classes, const struct cancel *cancel, struct class_prior *out,
                         struct error *err);

#endif
