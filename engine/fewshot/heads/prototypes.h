/* Class means of examples, and distances to them. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_PROTOTYPES_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_PROTOTYPES_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/heads/examples.h"

struct prototypes {
    uint32_t n_classes;
    uint32_t dimension;
    double *sums;  /* n_classes x dimension: sums of the examples; owned */
    double *means; /* n_classes x dimension: sums / counts; owned */
};

/* ERROR_NOMEM. */
int prototypes_init(struct prototypes *prototypes, const struct examples *examples,
                    struct error *err);
void prototypes_clear(struct prototypes *prototypes);

/* Distance between two vectors; both hold `dimension` values. Euclidean is squared; cosine is
 * 1 - cos, 0..2, and 1 where one of the two has no direction. */
double prototypes_distance(enum classifier_distance distance, const double *a, const double *b,
                           uint32_t dimension);

/* How far examples lie from their class's mean: the sum of their distances over N - K, N examples
 * of K classes. With squared Euclidean distances that is the variance within a class, of all
 * dimensions together, without bias. 0: each class has one example. */
double prototypes_spread(const struct prototypes *prototypes, const struct examples *examples,
                         enum classifier_distance distance);

/* What a mean of n examples adds to the distances from it on average, `spread` being theirs: with
 * squared Euclidean distances spread / n, the mean's own variance; with angles nothing is taken. */
double prototypes_excess(enum classifier_distance distance, double spread, uint32_t n);

#endif
