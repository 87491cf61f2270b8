#include "engine/fewshot/coverage.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/class_prior.h"
#include "engine/fewshot/verification.h"
#include "engine/random.h"

#define QUANTILE 1.96 /* of 95 % */

/* Chips of an episode, with what they truly are. */
struct population {
    uint32_t n_classes;
    uint16_t labels[COVERAGE_CHIPS];
    uint16_t truths[COVERAGE_CHIPS];
    float *probabilities; /* COVERAGE_CHIPS x n_classes; owned */
    uint64_t n_of_label[CLASSIFIER_CLASSES_MAX + 1];
    double fractions[CLASSIFIER_CLASSES_MAX]; /* the truth */
};

const char *coverage_method_name(enum coverage_method method)
{
    static const char *const names[COVERAGE_METHODS] = {[COVERAGE_COUNTING] = "counting",
                                                        [COVERAGE_PRIOR] = "prior",
                                                        [COVERAGE_SIMPLE] = "simple",
                                                        [COVERAGE_VERIFIED] = "verified"};
    return names[method];
}

/* ---- drawing ---- */

/* A class by the fractions that are wanted. */
static uint32_t draw_class(struct random *random, uint32_t n_classes, uint32_t rare)
{
    if (random_uniform(random) < COVERAGE_RARE)
        return rare;
    const uint32_t other = random_below(random, n_classes - 1);
    return other < rare ? other : other + 1;
}

/* A chip of a class among those that were asked, of which there is one at least. */
static uint32_t draw_chip(struct random *random, const struct evaluate_episode *episode,
                          uint32_t class_index)
{
    uint32_t chip;
    do {
        chip = random_below(random, (uint32_t)episode->chips->n_chips);
    } while (episode->truths[chip] != class_index);
    return chip;
}

static void draw_population(const struct evaluate_episode *episode, struct random *random,
                            uint32_t rare, struct population *out)
{
    const struct classification *chips = episode->chips;
    const uint32_t n_classes = out->n_classes;
    memset(out->n_of_label, 0, sizeof(out->n_of_label));
    memset(out->fractions, 0, sizeof(out->fractions));
    for (uint32_t i = 0; i < COVERAGE_CHIPS; i++) {
        const uint32_t truth = draw_class(random, n_classes, rare);
        const uint32_t chip = draw_chip(random, episode, truth);
        out->truths[i] = (uint16_t)truth;
        out->labels[i] = chips->labels[chip];
        memcpy(out->probabilities + (size_t)i * n_classes,
               chips->probabilities + (size_t)chip * n_classes,
               n_classes * sizeof(*out->probabilities));
        out->n_of_label[out->labels[i] < n_classes ? out->labels[i] : n_classes]++;
        out->fractions[truth] += 1.0 / COVERAGE_CHIPS;
    }
}

/* ---- what is said of it ---- */

static void tell_counting(const struct population *population, struct verification_interval *out)
{
    for (uint32_t k = 0; k < population->n_classes; k++) {
        const double f = (double)population->n_of_label[k] / COVERAGE_CHIPS;
        const double deviation = QUANTILE * sqrt(f * (1.0 - f) / COVERAGE_CHIPS);
        out[k] = (struct verification_interval){f, f - deviation, f + deviation};
    }
}

static int tell_prior(const struct population *population, struct verification_interval *out,
                      struct error *err)
{
    struct class_prior prior;
    int rc = class_prior_estimate(population->labels, population->probabilities, COVERAGE_CHIPS,
                                  population->n_classes, NULL, &prior, err);
    for (uint32_t k = 0; k < population->n_classes && rc == 0; k++)
        out[k] = (struct verification_interval){prior.fractions[k], prior.low[k], prior.high[k]};
    return rc;
}

static void tell_simple(const struct population *population, struct random *random,
                        struct verification_interval *out)
{
    const double n = COVERAGE_ANSWERS, z2 = QUANTILE * QUANTILE;
    uint64_t drawn[COVERAGE_ANSWERS];
    uint32_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    verification_draw(random, COVERAGE_CHIPS, COVERAGE_ANSWERS, drawn);
    for (int i = 0; i < COVERAGE_ANSWERS; i++)
        counts[population->truths[drawn[i]]]++;
    for (uint32_t k = 0; k < population->n_classes; k++) {
        const double f = counts[k] / n, middle = (f + z2 / (2.0 * n)) / (1.0 + z2 / n);
        const double half =
            QUANTILE / (1.0 + z2 / n) * sqrt(f * (1.0 - f) / n + z2 / (4.0 * n * n));
        out[k] = (struct verification_interval){f, middle - half, middle + half};
    }
}

/* Answers with the truth the chips that were drawn of one label. */
static void answer_stratum(const struct population *population, struct random *random, uint32_t s,
                           uint32_t share, uint32_t *answers)
{
    uint64_t drawn[COVERAGE_ANSWERS], rank = 0;
    verification_draw(random, population->n_of_label[s], share, drawn);
    for (uint32_t i = 0; i < COVERAGE_CHIPS; i++) {
        const uint32_t label = population->labels[i];
        if ((label < population->n_classes ? label : population->n_classes) != s)
            continue;
        for (uint32_t k = 0; k < share; k++)
            answers[population->truths[i]] += drawn[k] == rank;
        rank++;
    }
}

static int tell_verified(const struct population *population, struct random *random,
                         struct verification_interval *out, struct error *err)
{
    const uint32_t n_classes = population->n_classes, side = n_classes + 1;
    const uint64_t n_known[CLASSIFIER_CLASSES_MAX] = {0};
    uint32_t shares[VERIFICATION_SIDE_MAX];
    uint32_t answers[VERIFICATION_SIDE_MAX * VERIFICATION_SIDE_MAX] = {0};
    struct verification_estimate estimate;
    verification_share(population->n_of_label, side, COVERAGE_ANSWERS, shares);
    for (uint32_t s = 0; s < side; s++)
        answer_stratum(population, random, s, shares[s], answers + (size_t)s * side);
    const struct verification_counts counts = {n_classes, population->n_of_label, n_known, answers,
                                               0};
    int rc = verification_estimate(&counts, random_next(random), &estimate, err);
    if (rc == 0)
        memcpy(out, estimate.fractions, n_classes * sizeof(*out));
    return rc;
}

/* ---- counting ---- */

static void add(struct coverage_sums *sums, const struct verification_interval *said, double truth)
{
    sums->n++;
    sums->n_covered += said->low <= truth && truth <= said->high;
    sums->width += said->high - said->low;
    sums->error += said->mean - truth;
    sums->absolute_error += fabs(said->mean - truth);
}

static int try_population(struct coverage *coverage, const struct population *population,
                          uint32_t rare, struct random *random, struct error *err)
{
    struct verification_interval said[COVERAGE_METHODS][CLASSIFIER_CLASSES_MAX];
    tell_counting(population, said[COVERAGE_COUNTING]);
    tell_simple(population, random, said[COVERAGE_SIMPLE]);
    int rc = tell_prior(population, said[COVERAGE_PRIOR], err);
    if (rc == 0)
        rc = tell_verified(population, random, said[COVERAGE_VERIFIED], err);
    for (int m = 0; m < COVERAGE_METHODS && rc == 0; m++) {
        for (uint32_t k = 0; k < population->n_classes; k++)
            add(&coverage->all[m], &said[m][k], population->fractions[k]);
        add(&coverage->rare[m], &said[m][rare], population->fractions[rare]);
    }
    return rc;
}

int coverage_watch(void *context, const struct evaluate_episode *episode, struct error *err)
{
    const uint32_t n_classes = episode->chips->n_classes;
    struct population *population = calloc(1, sizeof(*population));
    float *probabilities = calloc((size_t)COVERAGE_CHIPS * n_classes, sizeof(*probabilities));
    int rc = 0;
    if (population == NULL || probabilities == NULL) {
        rc = error_set_nomem(err, "a population");
        goto out;
    }
    population->n_classes = n_classes;
    population->probabilities = probabilities;
    for (uint32_t rare = 0; rare < n_classes && rc == 0; rare++) {
        struct random random;
        random_seed(&random, episode->seed, UINT64_C(1) << 32 | rare);
        draw_population(episode, &random, rare, population);
        rc = try_population(context, population, rare, &random, err);
    }
out:
    free(probabilities);
    free(population);
    return rc;
}
