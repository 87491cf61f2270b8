/* What help with examples is worth, over random episodes of labelled embeddings: whether the health
 * of a support set (health.h) finds a wrong label, and whether suggested chips (suggestions.h)
 * teach more than any others. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HELP_EVALUATE_HELP_H
#define CHIPSHOT_ENGINE_FEWSHOT_HELP_EVALUATE_HELP_H

#include "engine/fewshot/evaluate.h"

/* The embeddings of one group; borrowed. The classes that take part are those of evaluate_group. */
struct evaluate_chips {
    const float *embeddings;  /* n_chips x dimension */
    const uint32_t *class_of; /* n_chips, each < n_classes */
    uint32_t n_chips, n_classes, dimension;
};

/* Begins zeroed; groups add up. */
struct evaluate_swapped {
    uint64_t n_swapped; /* examples with a wrong label: one an episode */
    uint64_t n_found;   /* of them flagged */
    uint64_t n_named;   /* of these, with their true class as the most likely */
    uint64_t n_right;   /* examples with a right label */
    uint64_t n_false;   /* of them flagged */
};

/* Of each episode params->shots[0] examples of each class, of which one is a chip of another class.
 * A group with fewer than two classes adds nothing. Errors as evaluate_group; ERROR_INVALID also
 * where there are fewer than two shots. */
int evaluate_swapped(const struct evaluate_params *params, const struct evaluate_chips *chips,
                     struct evaluate_swapped *out, struct error *err);

enum { EVALUATE_LABELS_END = 5 /* a class, on average, when chips were labelled */ };

/* Balanced accuracies, means over the episodes; 0 episodes: the group was skipped. */
struct evaluate_suggested {
    double before;    /* with the first examples */
    double random;    /* when chips drawn at random were labelled */
    double suggested; /* when suggested ones were */
    uint32_t n_episodes;
};

/* Half of each class is asked, of the other half examples come: params->shots[0] of each class, and
 * then chip after chip, labelled as what it is, until there are EVALUATE_LABELS_END a class.
 * Errors as evaluate_group; ERROR_INVALID also where there are not fewer shots than that. */
int evaluate_suggestions(const struct evaluate_params *params, const struct evaluate_chips *chips,
                         struct evaluate_suggested *out, struct error *err);

#endif
