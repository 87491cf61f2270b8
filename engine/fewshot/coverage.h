/* Whether intervals of class fractions hold what they promise: populations with known truth are
 * drawn from evaluation episodes, each way of saying fractions is tried on them, and how often its
 * interval covers the truth is counted. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_COVERAGE_H
#define CHIPSHOT_ENGINE_FEWSHOT_COVERAGE_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/evaluate.h"

enum {
    COVERAGE_CHIPS = 2000, /* of a population, drawn with replacement from a group's */
    COVERAGE_ANSWERS = 50,
};

#define COVERAGE_RARE 0.1 /* the fraction of the rarest class; the others have equal parts */

enum coverage_method {
    COVERAGE_COUNTING, /* of labels; the interval of a bootstrap over chips, which is binomial */
    COVERAGE_PRIOR,    /* class_prior.h */
    COVERAGE_SIMPLE,   /* a simple random sample of COVERAGE_ANSWERS chips is answered; the interval
                          is   Wilson's (JASA 22, 1927) */
    COVERAGE_VERIFIED, /* verification.h with as many answers */
    COVERAGE_METHODS,
};

const char *coverage_method_name(enum coverage_method method); /* "counting", "prior", ... */

/* Sums over intervals; begins zeroed. */
struct coverage_sums {
    uint64_t n, n_covered;
    double width, error, absolute_error; /* error: what is said less the truth */
};

struct coverage {
    struct coverage_sums all[COVERAGE_METHODS];  /* of every class */
    struct coverage_sums rare[COVERAGE_METHODS]; /* of the class that is rarest */
};

/* An evaluate_watch whose context is a struct coverage: from the chips that were asked draws a
 * population for each class that may be the rarest. Deterministic by the episode's seed.
 * ERROR_NOMEM. */
int coverage_watch(void *context, const struct evaluate_episode *episode, struct error *err);

#endif
