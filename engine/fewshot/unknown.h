/* How unlike all classes a chip is, and from where on it is called unknown.
 *
 *     r = min over classes k of  d_k / (v_k (1 + 1 / n_k))
 *
 * d_k is the squared distance to the mean of the n_k examples of class k, in the space of the
 * classifier, and v_k the variance within the class, half its own and half that of all classes: r
 * is about 1 for a chip of a class. A chip's novelty is half its own r and half the mean r of the
 * chips that are most like it, out of a sample of the image: what is new is rarely alone, and what
 * is merely noisy resembles what is not. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_UNKNOWN_H
#define CHIPSHOT_ENGINE_FEWSHOT_UNKNOWN_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/embeddings.h"
#include "engine/pool.h"

enum { UNKNOWN_EXAMPLES_MIN = 5 }; /* of each class: fewer do not say how far it reaches */

struct space; /* engine/fewshot/space.h */

struct novelty {
    float *values;    /* of each chip, at least 0; 0 for one that is not analysed; owned */
    double threshold; /* a chip with more is unknown: the mean of the examples' r, each left out of
                         its class, + 1.64 standard deviations */
};

/* Chips that are not analysed (embeddings.h) are like nobody. Deterministic, whoever helps; `lane`
 * as in pool_share. ERROR_INVALID: a class has fewer than UNKNOWN_EXAMPLES_MIN examples, or all
 * examples are the same as others of their class. ERROR_NOMEM, and what reading the chips gave. */
int novelty_compute(const struct space *space, const struct embeddings *chips,
                    struct pool_lane *lane, struct novelty *out, struct error *err);
void novelty_clear(struct novelty *novelty);

#endif
