/* Class means of transformed examples, and distances to them. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_PROTOTYPES_H
#define CHIPSHOT_ENGINE_FEWSHOT_PROTOTYPES_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/transform.h"

struct prototypes {
    uint32_t n_classes;
    uint32_t dimension;
    double *sums;     /* n_classes x dimension: sums of transformed examples; owned */
    double *means;    /* n_classes x dimension: sums / counts; owned */
    uint32_t *counts; /* n_classes: examples of the class, at least 1; owned */
};

/* ERROR_INVALID: a class index out of range, a class without examples. ERROR_NOMEM. */
int prototypes_init(struct prototypes *prototypes, const struct support *support,
                    const struct transform *transform, struct error *err);
void prototypes_clear(struct prototypes *prototypes);

/* Distance between two vectors; both hold `dimension` values. Euclidean is squared; cosine is
 * 1 - cos, 0..2, and 1 where one of the two has no direction. */
double prototypes_distance(enum classifier_distance distance, const double *a, const double *b,
                           uint32_t dimension);

#endif
