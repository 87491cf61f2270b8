/* What a few answers say about all chips of a classified population: a person says of chips drawn
 * at random, as many of each label as of any other, what they truly are. Drawing by label makes the
 * labels strata, so the estimate weighs each label's answers by how many chips carry it (Cochran,
 * Sampling Techniques, 3rd ed. 1977, chapter 5): the classifier's errors are measured and taken out
 * of the fractions, and rare classes are not left to chance.
 *
 * The true classes of a label's chips are drawn from a Dirichlet distribution: its counts of
 * answers, and before any of them VERIFICATION_OWN on the label's own class and VERIFICATION_EVEN
 * spread evenly over the classes. Chips that were answered count as what they are; the rest of the
 * label is a finite number of chips, whose composition varies more than the distribution itself. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_VERIFICATION_H
#define CHIPSHOT_ENGINE_FEWSHOT_VERIFICATION_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

enum {
    VERIFICATION_CHIPS_MAX = 1000, /* of one verification */
    /* Strata are the labels, true classes the classes; behind the last class both have one more:
     * chips that were given no class, chips that are of none of the classes. */
    VERIFICATION_SIDE_MAX = CLASSIFIER_CLASSES_MAX + 1,
};

#define VERIFICATION_OWN        0.3
#define VERIFICATION_EVEN       0.3
#define VERIFICATION_CONFIDENCE 0.95 /* of the intervals */

/* How many chips to draw of each stratum, of `sizes` chips: `n` in equal parts; what a small
 * stratum does not have goes to the others, what does not divide to the first of them. */
void verification_share(const uint64_t *sizes, uint32_t n_strata, uint32_t n, uint32_t *out);

/* Draws n of the numbers 0 .. size - 1 without replacement (Floyd; Bentley, Programming pearls,
 * CACM 30, 1987), in no order. n <= size, n <= VERIFICATION_CHIPS_MAX. */
struct random;
void verification_draw(struct random *random, uint64_t size, uint32_t n, uint64_t *out);

/* All borrowed. */
struct verification_counts {
    uint32_t n_classes;      /* 1 .. CLASSIFIER_CLASSES_MAX */
    const uint64_t *n_chips; /* n_classes + 1: of each stratum, without those that are known */
    const uint64_t *n_known; /* n_classes: chips whose class was known before, as of examples */
    /* (n_classes + 1) x (n_classes + 1): answers by stratum and true class. Of a stratum at most as
     * many as it has chips. As long as no chip is in the last stratum and none was answered to be
     * of none of the classes, the classes are taken to be all there is. */
    const uint32_t *answers;
    uint64_t uncounted; /* bit k: class k is no part of what is asked about, and in no fraction */
};

/* Posterior mean and VERIFICATION_CONFIDENCE interval; NaN: there is nothing to be said. */
struct verification_interval {
    double mean, low, high;
};

struct verification_estimate {
    uint32_t n_draws; /* Monte Carlo draws behind it */
    /* Of all chips, known ones too, those that truly are of a class; the last: of none. */
    struct verification_interval shares[VERIFICATION_SIDE_MAX];
    /* Of the chips that truly are of a class that is counted, or of none. NaN of those that are not
     * counted. */
    struct verification_interval fractions[VERIFICATION_SIDE_MAX];
    /* Of the chips with a label, those that are of its class; of the chips of a class, those with
     * its label. Chips that were known before are not asked about. */
    struct verification_interval precision[CLASSIFIER_CLASSES_MAX];
    struct verification_interval recall[CLASSIFIER_CLASSES_MAX];
    struct verification_interval accuracy; /* of all chips, those whose label is right */
};

/* Deterministic by seed. ERROR_INVALID: too many classes, more answers than chips, no chips at all.
 * ERROR_NOMEM. */
int verification_estimate(const struct verification_counts *counts, uint64_t seed,
                          struct verification_estimate *out, struct error *err);

#endif
