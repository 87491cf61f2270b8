/* Classification of embeddings from few examples. By default by prototypes (Snell, Swersky, Zemel:
 * Prototypical Networks for Few-shot Learning, NeurIPS 2017): each class is the mean of its
 * transformed examples and every chip takes the class of the nearest prototype.
 *
 * Transforms that look at chips (cl2n, standardise) measure each vector by a reference: by default
 * the chips of the image being classified, for the examples, too, or else what the parameters say.
 * standardise looks at the examples, too (transform.c).
 */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_CLASSIFIER_H
#define CHIPSHOT_ENGINE_FEWSHOT_CLASSIFIER_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/embeddings.h"
#include "engine/fewshot/reference.h"
#include "engine/pool.h"

enum { CLASSIFIER_CLASSES_MAX = 64, CLASSIFIER_EXAMPLES_MAX = 10000 };

enum classifier_distance { CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_COSINE };

enum classifier_transform {
    CLASSIFIER_TRANSFORM_NONE,
    CLASSIFIER_TRANSFORM_L2,
    CLASSIFIER_TRANSFORM_CL2N,        /* centre on the reference, then L2 (Wang et al. 2019) */
    CLASSIFIER_TRANSFORM_STANDARDISE, /* per dimension by the reference, then L2; default */
};

struct head;  /* engine/fewshot/heads/head.h */
struct space; /* engine/fewshot/space.h */

/* What the transforms that look at chips measure vectors by. All borrowed. */
struct references {
    const struct reference *chips;           /* NULL: their own statistics */
    const struct reference *const *examples; /* of each example; NULL: as the chips */
};

struct classifier_params {
    enum classifier_distance distance;
    enum classifier_transform transform;
    double temperature;      /* > 0, or 0 for `auto`: fitted by leave-one-out on the support set */
    const struct head *head; /* NULL: prototypes */
    const struct references *references; /* NULL: the chips' own, for the examples, too */
};

/* squared Euclidean, standardise, auto, prototypes */
extern const struct classifier_params classifier_params_default;

const char *classifier_distance_name(enum classifier_distance distance); /* "euclidean", "cosine" */
int classifier_distance_parse(const char *name, enum classifier_distance *out, struct error *err);
const char *classifier_transform_name(enum classifier_transform transform); /* "none", "l2", ... */
int classifier_transform_parse(const char *name, enum classifier_transform *out, struct error *err);

/* The embedded examples of a support set. All pointers are borrowed. */
struct support {
    const float *embeddings;  /* n_examples x dimension */
    const uint32_t *class_of; /* n_examples, each < n_classes; every class has at least one */
    uint32_t n_examples;
    uint32_t n_classes; /* 2 .. CLASSIFIER_CLASSES_MAX */
    uint32_t dimension;
};

/* The classification of one image's chips. Owned; classification_clear frees it. */
struct classification {
    uint64_t n_chips;
    uint32_t n_classes;
    double temperature;      /* the one used */
    uint16_t *labels;        /* n_chips (labels.h); classifier_run gives class indices, and
                                LABEL_NOT_ANALYSED */
    uint16_t *raw_labels;    /* n_chips: what the classifier gave, where later steps (analysis.h)
                                changed labels; NULL: these are it */
    float *probabilities;    /* n_chips x n_classes: softmax over -distance / temperature */
    float *distances;        /* n_chips: the label's cost (head.h), at least 0 */
    float *lengths;          /* n_chips: what transform_apply returned; not stored */
    const struct head *head; /* the one that learned; NULL: no chip is analysed */
};

void classification_clear(struct classification *classification);

/* Classifies chips, which need not be in memory: they are visited once for the transform and once
 * for the distances. The pool's workers help where `lane` is not NULL (as in pool_share). Sums run
 * in a fixed order, so the same input gives the same bytes whoever helps and whatever the bands.
 * Ties go to the class with the lower index. Chips that are not analysed (embeddings.h) enter
 * nothing; their label says so, and their probabilities and distances are 0.
 *
 * `auto` temperature: minimises the leave-one-out cross-entropy of the examples with a prior that
 * follows from their variance within a class, so that a separable support set does not saturate the
 * probabilities (temperature.c); classes with one example are competitors but not queries; where
 * all have one, a share of the chips' median distance to the nearest prototype.
 * ERROR_INVALID: fewer than two classes, a class without examples, chips whose dimension is not the
 * examples', values that are not finite, no chip that is analysed. ERROR_NOMEM, and what reading
 * the chips gave. */
int classifier_run(const struct classifier_params *params, const struct support *support,
                   const struct embeddings *chips, struct pool_lane *lane,
                   struct classification *out, struct error *err);
/* The same, and *space is what the chips were told apart in, for steps that come after. Released
 * with space_clear; the support is borrowed until then. */
int classifier_run_in(struct space *space, const struct classifier_params *params,
                      const struct support *support, const struct embeddings *chips,
                      struct pool_lane *lane, struct classification *out, struct error *err);

/* Probability of a chip's label, and its margin: that minus the runner-up's. Both are within 0..1,
 * and 0 where the label is no class. */
float classification_probability(const struct classification *classification, uint64_t chip);
float classification_margin(const struct classification *classification, uint64_t chip);

#endif
