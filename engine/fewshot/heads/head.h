/* Heads: what learns classes from the examples of a support set and scores chips by them. A head is
 * one file, which defines a `struct head`, and one line in the table of head.c. Internal to
 * engine/fewshot, but for the names.
 *
 * A head answers costs, which are what distances are: the class with the least cost is the chip's
 * label, and its probabilities are the softmax over -cost / temperature.
 */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HEADS_HEAD_H
#define CHIPSHOT_ENGINE_FEWSHOT_HEADS_HEAD_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/heads/examples.h"

enum { HEAD_CHIPS_MAX = 8 }; /* chips that are scored at once: few enough for a core's own cache */

/* What a head learned. */
struct head_fit {
    void *model;        /* the head's own; freed by its `free` */
    double temperature; /* 0: the examples do not say */
};

struct head {
    const char *name;
    /* Learns from the transformed examples, which are finite. The temperature is
     * params->temperature, or the head's own choice where that is 0. ERROR_INVALID: the examples do
     * not suffice. ERROR_NOMEM. */
    int (*fit)(const struct classifier_params *params, const struct examples *examples,
               struct head_fit *out, struct error *err);
    /* Scores n <= HEAD_CHIPS_MAX transformed embeddings (n x dimension); costs: n x n_classes. A
     * chip's costs depend on that chip alone. Called by several threads at once. */
    void (*score)(const void *model, const double *embeddings, uint32_t n, double *costs);
    /* NULL allowed. */
    void (*free)(void *model);
};

/* Nearest prototype, the default. */
extern const struct head head_prototypes;

/* NULL: there is none of that name. */
const struct head *head_find(const char *name);

#endif
