/* The table of heads, and the one that chooses another. */
#include "engine/fewshot/heads/head.h"

#include <string.h>

static int fit_auto(const struct classifier_params *params, const struct examples *examples,
                    struct head_fit *out, struct error *err)
{
    const struct head *head =
        params->distance == CLASSIFIER_SQUARED_EUCLIDEAN ? &head_ridge : &head_prototypes;
    for (uint32_t k = 0; k < examples->n_classes; k++) {
        if (examples->counts[k] < HEAD_RIDGE_EXAMPLES)
            head = &head_prototypes;
    }
    return head->fit(params, examples, out, err);
}

const struct head head_auto = {
    .name = "auto",
    .fit = fit_auto,
};

static const struct head *const heads[] = {
    &head_auto,
    &head_prototypes,
    &head_ridge,
};

const char *head_name(const struct head *head)
{
    return head != NULL ? head->name : head_prototypes.name;
}

int head_check_examples(const struct classifier_params *params, const uint32_t *counts,
                        uint32_t n_classes, const char *const *names, struct error *err)
{
    const struct head *head = params->head;
    return head == NULL || head->check == NULL
               ? 0
               : head->check(params->distance, counts, n_classes, names, err);
}

int head_parse(const char *name, const struct head **out, struct error *err)
{
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        if (strcmp(heads[i]->name, name) == 0) {
            *out = heads[i];
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "head must be auto, prototypes or ridge, but is '%.40s'",
                     name);
}
