/* Few-shot evaluation over random episodes of labelled embeddings: balanced accuracy, and whether
 * probabilities are what they say. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_EVALUATE_H
#define CHIPSHOT_ENGINE_FEWSHOT_EVALUATE_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

enum {
    EVALUATE_MIN_CLASS_SIZE = 12,
    EVALUATE_SHOTS_MAX = 8,
    EVALUATE_BINS = 15, /* of probabilities */
};

/* An episode, for who watches it; borrowed for the call. */
struct evaluate_episode {
    const struct classification *chips; /* of all chips of the group */
    const uint32_t *truths;             /* of each chip: its class, counted among those of the group
                                           that take part; EVALUATE_NOT_ASKED: shots and others */
    uint64_t seed;                      /* of its own */
};
#define EVALUATE_NOT_ASKED UINT32_MAX

/* Not 0 ends the evaluation and is its result. */
typedef int (*evaluate_watch)(void *context, const struct evaluate_episode *episode,
                              struct error *err);

struct evaluate_params {
    uint32_t shots[EVALUATE_SHOTS_MAX]; /* examples a class, each less than EVALUATE_MIN_CLASS_SIZE:
                                           class k of a group has shots[(k + episode) % n_shots] */
    uint32_t n_shots;                   /* 1 to EVALUATE_SHOTS_MAX */
    uint32_t episodes;                  /* default 20 */
    uint64_t seed;                      /* default 0 */
    struct classifier_params classifier;
    evaluate_watch watch; /* called after each episode; NULL: nobody */
    void *watch_context;
};

struct evaluate_group {
    double score;       /* mean over episodes of the mean recall over classes */
    double spread;      /* standard deviation of the episodes' scores */
    uint32_t n_classes; /* classes with at least EVALUATE_MIN_CLASS_SIZE chips; the group is skipped
                           (score NaN) when there are fewer than two */
    uint32_t n_chips;   /* chips of those classes, of those that are asked */
    double second;      /* share of the episodes that were asked by the second view */
};

/* The chips that were asked, by the probability of their label: bin b has those of at least
 * b / EVALUATE_BINS. Begins zeroed. */
struct evaluate_calibration {
    uint64_t n[EVALUATE_BINS];
    uint64_t n_right[EVALUATE_BINS];
    double probability[EVALUATE_BINS]; /* sum */
};

/* A group with one class after the other as the one of which there are no examples. Means over the
 * classes left out, and over the episodes of each. */
struct evaluate_unknown {
    uint32_t n_classes;     /* fewer than two: the group is skipped, and all below NaN */
    double novelty;         /* area under the ROC curve of novelty (unknown.h) */
    double probability;     /* of 1 - the greatest probability; NaN: one class was left */
    double known_unknown;   /* share of the chips of other classes above the threshold */
    double unknown_unknown; /* share of those of the class left out */
};

/* Expected calibration error (Guo, Pleiss, Sun, Weinberger 2017): the mean over chips of the
 * difference, within their bin, of the share that is right and the mean probability. NaN: no chip
 * was asked. */
double evaluate_calibration_error(const struct evaluate_calibration *calibration);

/* Scores one group, and adds what was asked to `calibration`, unless it is NULL. embeddings:
 * n_chips x dimension; class_of: n_chips class indices < n_classes. Transforms that look at the
 * image's chips use all n_chips of the group. Deterministic by seed. */
int evaluate_group(const struct evaluate_params *params, const float *embeddings,
                   const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                   uint32_t dimension, struct evaluate_group *out,
                   struct evaluate_calibration *calibration, struct error *err);

/* The embeddings of two groups, and what they are measured by; all borrowed. */
struct evaluate_view {
    const float *from;                      /* n_from x dimension */
    const float *to;                        /* n_to x dimension */
    const struct reference *from_reference; /* NULL: as the chips that are asked */
    const struct reference *to_reference;   /* NULL: their own statistics */
};

/* Two groups: examples come from one, chips of the other are asked. */
struct evaluate_pair {
    const uint32_t *from_classes, *to_classes; /* of each chip; borrowed */
    uint32_t n_from, n_to;
    uint32_t n_classes;
    uint32_t dimension;
    struct evaluate_view views[2]; /* of two, each episode chooses as a job does (drift.h): the
                                      first measures each group by itself, the second both by the
                                      one that examples come from */
    uint32_t n_views;
};

/* The same from one group to another, with the classes that are large enough in both. */
int evaluate_across(const struct evaluate_params *params, const struct evaluate_pair *pair,
                    struct evaluate_group *out, struct evaluate_calibration *calibration,
                    struct error *err);

/* The same draws of shots, of which one class's are not used. params->shots: at least
 * UNKNOWN_EXAMPLES_MIN each (ERROR_INVALID). */
int evaluate_unknown(const struct evaluate_params *params, const float *embeddings,
                     const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                     uint32_t dimension, struct evaluate_unknown *out, struct error *err);

/* Area under the ROC curve: how often a positive is above a negative, equal ones counted half. Both
 * are sorted. NaN: one of the two is empty. */
double evaluate_auroc(double *positives, uint32_t n_positives, double *negatives,
                      uint32_t n_negatives);

#endif
