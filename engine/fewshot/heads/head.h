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

enum {
    HEAD_RIDGE_EXAMPLES_MIN = 2, /* of a class, that `ridge` needs */
    HEAD_RIDGE_EXAMPLES = 5,     /* of the class with fewest, from which `auto` takes it */
};

enum { HEAD_CHIPS_MAX = 8 }; /* chips that are scored at once: few enough for a core's own cache */

/* What a head learned. */
struct head_fit {
    const struct head *head; /* the one that learned: another than was asked for may */
    void *model;             /* the head's own; freed by its `free` */
    double temperature;      /* 0: the examples do not say */
};

struct head {
    const char *name;
    /* Whether it can learn by this distance from so many examples of each class; NULL: it always
     * can. As head_check_examples, and asked by `fit` as well. */
    int (*check)(enum classifier_distance distance, const uint32_t *counts, uint32_t n_classes,
                 const char *const *names, struct error *err);
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

/* Nearest prototype. */
extern const struct head head_prototypes;
/* Its average with a ridge regression (head_ridge.c); squared Euclidean distances only. */
extern const struct head head_ridge;
/* `ridge` from HEAD_RIDGE_EXAMPLES examples of each class on, where distances are squared
 * Euclidean, else `prototypes`. It only learns: what it learned is that head's. */
extern const struct head head_auto;

/* Whether params->head can learn from so many examples of each class. ERROR_INVALID says why not,
 * and names the class: by `names`, n_classes of them, or by its index where that is NULL. */
int head_check_examples(const struct classifier_params *params, const uint32_t *counts,
                        uint32_t n_classes, const char *const *names, struct error *err);

/* NULL is `prototypes`. */
const char *head_name(const struct head *head);

/* By its name. ERROR_INVALID names the field and lists the names that there are. */
int head_parse(const char *name, const struct head **out, struct error *err);

#endif
