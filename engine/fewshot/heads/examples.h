/* The examples of a support set in double, as they are or transformed. Internal to engine/fewshot.
 */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_EXAMPLES_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_EXAMPLES_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

struct examples {
    uint32_t n;
    uint32_t n_classes;
    uint32_t dimension;
    double *vectors;          /* n x dimension; owned */
    const uint32_t *class_of; /* n, each < n_classes; the support's */
    uint32_t *counts;         /* n_classes: examples of each, at least 1; owned */
};

/* The embeddings as they are. `support` is borrowed until examples_clear. ERROR_INVALID: a class
 * index out of range, a class without examples. ERROR_NOMEM. */
int examples_init(struct examples *out, const struct support *support, struct error *err);
void examples_clear(struct examples *examples);

static inline const double *examples_vector(const struct examples *examples, uint32_t index)
{
    return examples->vectors + (size_t)index * examples->dimension;
}

#endif
