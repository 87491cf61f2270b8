#include "engine/fewshot/heads/examples.h"

#include <stdlib.h>
#include <string.h>

static int count(const struct support *support, uint32_t *counts, struct error *err)
{
    for (uint32_t i = 0; i < support->n_examples; i++) {
        if (support->class_of[i] >= support->n_classes)
            return error_set(err, ERROR_INVALID, "example %u: class %u, the last one is %u", i,
                             support->class_of[i], support->n_classes - 1);
        counts[support->class_of[i]]++;
    }
    for (uint32_t c = 0; c < support->n_classes; c++) {
        if (counts[c] == 0)
            return error_set(err, ERROR_INVALID, "class %u has no example, at least 1 is needed",
                             c);
    }
    return 0;
}

int examples_init(struct examples *out, const struct support *support, struct error *err)
{
    struct examples e = {.n = support->n_examples,
                         .n_classes = support->n_classes,
                         .dimension = support->dimension,
                         .class_of = support->class_of};
    const size_t n_values = (size_t)e.n * e.dimension;
    e.vectors = calloc(n_values > 0 ? n_values : 1, sizeof(*e.vectors));
    e.counts = calloc(e.n_classes, sizeof(*e.counts));
    int rc = 0;
    if (e.vectors == NULL || e.counts == NULL)
        rc = error_set_nomem(err, "the examples");
    else
        rc = count(support, e.counts, err);
    if (rc < 0) {
        examples_clear(&e);
        return rc;
    }
    for (size_t i = 0; i < n_values; i++)
        e.vectors[i] = support->embeddings[i];
    *out = e;
    return 0;
}

void examples_clear(struct examples *examples)
{
    free(examples->vectors);
    free(examples->counts);
    memset(examples, 0, sizeof(*examples));
}
