/* Few-shot evaluation: balanced accuracy of nearest prototypes over random episodes of labelled
 * embeddings. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_EVALUATE_H
#define CHIPSHOT_ENGINE_FEWSHOT_EVALUATE_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

enum { EVALUATE_MIN_CLASS_SIZE = 12 };

struct evaluate_params {
    uint32_t shots;    /* examples a class; default 5; less than EVALUATE_MIN_CLASS_SIZE */
    uint32_t episodes; /* default 20 */
    uint64_t seed;     /* default 0 */
    struct classifier_params classifier;
};

struct evaluate_group {
    double score;       /* mean over episodes of the mean recall over classes */
    double spread;      /* standard deviation of the episodes' scores */
    uint32_t n_classes; /* classes with at least EVALUATE_MIN_CLASS_SIZE chips; the group is skipped
                           (score NaN) when there are fewer than two */
    uint32_t n_chips;   /* chips of those classes */
};

/* Scores one group. embeddings: n_chips x dimension; class_of: n_chips class indices < n_classes.
 * Transforms that look at the image's chips use all n_chips of the group. Deterministic by seed. */
int evaluate_group(const struct evaluate_params *params, const float *embeddings,
                   const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                   uint32_t dimension, struct evaluate_group *out, struct error *err);

#endif
