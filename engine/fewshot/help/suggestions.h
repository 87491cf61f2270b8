/* Which chips a user should label next: of each class those that are least like any example and yet
 * typical of the image, so that one label says something of many chips.
 *
 *     score = squared distance to the nearest example
 *             x mean cosine to the five nearest chips of a sample of the image,
 *
 * the cosine scaled to 0..1 over the candidates of the class. Candidates of a class are the chips
 * that were given its label and lie farthest from it. What is suggested counts as an example for
 * what comes after it, so that suggestions differ from one another. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HELP_SUGGESTIONS_H
#define CHIPSHOT_ENGINE_FEWSHOT_HELP_SUGGESTIONS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"

struct space; /* engine/fewshot/space.h */

enum { SUGGESTIONS_MAX = 64 }; /* of an image */

struct suggestion {
    uint64_t chip;
    uint32_t class_index; /* that the chip was given */
    float distance;       /* squared, to the nearest example */
    float cosine;         /* mean, to the nearest chips of the sample */
    float score;          /* at least 0; never more than that of one of the class before it */
};

struct suggestions {
    struct suggestion *items; /* class by class, the best first; owned */
    uint32_t n;
};

/* At most SUGGESTIONS_MAX chips, as many of each class as of another where it has them. The work
 * does not grow with the image but for one look at each label. Deterministic. ERROR_NOMEM, or what
 * reading the chips gave. */
int suggestions_make(const struct space *space, const struct classification *classification,
                     const struct embeddings *chips, struct suggestions *out, struct error *err);
void suggestions_clear(struct suggestions *suggestions);

/* Whose turn it is: the class with the fewest examples, suggested ones counted, that has a
 * suggestion left; the first of equal ones. n_classes: none has one. `n_left`: of each class. */
uint32_t suggestions_next_class(const uint32_t *n_examples, const uint32_t *n_left,
                                uint32_t n_classes);

#endif
