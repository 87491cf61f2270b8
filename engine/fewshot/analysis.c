/* The steps of an analysis, in their order: classify the chips, let neighbours have a say, look
 * again at those that a border runs through and at those that are like no class, see what would
 * help, then count what came out. */
#include "engine/fewshot/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/class_prior.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/space.h"
#include "engine/fewshot/unknown.h"

static int check(const struct analysis_input *input, struct error *err)
{
    const uint64_t n_chips = grid_n_chips(input->grid);
    if (input->chips->n_chips != n_chips)
        return error_set(err, ERROR_INVALID, "chips: %llu, the grid has %llu",
                         (unsigned long long)input->chips->n_chips, (unsigned long long)n_chips);
    return 0;
}

/* Of an image all of whose chips are left out. */
static int leave_out_all(const struct analysis_input *input, struct classification *out,
                         struct error *err)
{
    const uint64_t n_chips = input->chips->n_chips;
    const uint32_t n_classes = input->support->n_classes;
    struct classification chips = {.n_chips = n_chips,
                                   .n_classes = n_classes,
                                   .temperature = 1.0,
                                   .labels = calloc(n_chips, sizeof(*chips.labels)),
                                   .probabilities =
                                       calloc(n_chips * n_classes, sizeof(*chips.probabilities)),
                                   .distances = calloc(n_chips, sizeof(*chips.distances))};
    if (chips.labels == NULL || chips.probabilities == NULL || chips.distances == NULL) {
        classification_clear(&chips);
        return error_set_nomem(err, "the classification of the chips");
    }
    for (uint64_t i = 0; i < n_chips; i++)
        chips.labels[i] = LABEL_NOT_ANALYSED;
    *out = chips;
    return 0;
}

static bool is_counted(const struct analysis_input *input, uint32_t k)
{
    return (input->uncounted >> k & 1) == 0;
}

/* What the classes that are counted have of all; exactly 1 when all are. */
static double counted_share(const struct analysis_input *input, const struct class_prior *prior,
                            uint32_t n_classes)
{
    double share = 1.0;
    for (uint32_t k = 0; k < n_classes; k++)
        share -= is_counted(input, k) ? 0.0 : prior->fractions[k];
    return share;
}

/* Of the classes that are counted, among each other. */
static int add_fractions(const struct analysis_input *input, const struct classification *chips,
                         struct statistics *statistics, struct error *err)
{
    struct class_prior prior;
    int rc = class_prior_estimate(chips->labels, chips->probabilities, chips->n_chips,
                                  chips->n_classes, input->chips->cancel, &prior, err);
    const double share =
        rc == 0 && prior.n_chips > 0 ? counted_share(input, &prior, chips->n_classes) : 0.0;
    for (uint32_t k = 0; rc == 0 && share > 0.0 && k < chips->n_classes; k++) {
        if (!is_counted(input, k))
            continue;
        const struct statistic item = {.class_index = (int32_t)k,
                                       .name = STATISTIC_FRACTION_ESTIMATE,
                                       .unit = "",
                                       .value = prior.fractions[k] / share,
                                       .low = prior.low[k] / share,
                                       .high = fmin(prior.high[k] / share, 1.0)};
        rc = statistics_add(statistics, &item, err);
    }
    return rc;
}

/* What the classifier said stays beside what becomes of it. */
static int keep_raw_labels(struct classification *chips, struct error *err)
{
    const size_t size = chips->n_chips * sizeof(*chips->labels);
    if (chips->raw_labels != NULL)
        return 0;
    chips->raw_labels = malloc(size);
    if (chips->raw_labels == NULL)
        return error_set_nomem(err, "the labels of the classifier");
    memcpy(chips->raw_labels, chips->labels, size);
    return 0;
}

/* The classes' probabilities stay. */
static int undecide(const struct analysis_input *input, struct classification *chips,
                    struct error *err)
{
    if (input->reference == NULL || input->reference->undecided == ANALYSIS_DECIDED)
        return 0;
    int rc = keep_raw_labels(chips, err);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < chips->n_chips; i++) {
        if (chips->labels[i] != LABEL_NOT_ANALYSED)
            chips->labels[i] = LABEL_UNDECIDED;
    }
    return 0;
}

static int add_distance(struct statistics *statistics, const char *name, double value,
                        struct error *err)
{
    const struct statistic item = {.class_index = STATISTIC_OF_IMAGE,
                                   .name = name,
                                   .unit = "",
                                   .value = value,
                                   .low = NAN,
                                   .high = NAN};
    return isnan(value) ? 0 : statistics_add(statistics, &item, err);
}

static int add_distances(const struct analysis_reference *reference, struct statistics *statistics,
                         struct error *err)
{
    if (reference == NULL)
        return 0;
    int rc = add_distance(statistics, STATISTIC_SUPPORT_DISTANCE_OWN, reference->own.distance, err);
    const char *shared = reference->used == REFERENCE_SERIES ? STATISTIC_SUPPORT_DISTANCE_SERIES
                                                             : STATISTIC_SUPPORT_DISTANCE_SUPPORT;
    return rc < 0 ? rc : add_distance(statistics, shared, reference->shared.distance, err);
}

static int describe(const struct analysis_input *input, const struct classification *chips,
                    struct statistics *out, struct error *err)
{
    const struct fine_source source = {.grid = input->grid,
                                       .labels = chips->labels,
                                       .probabilities = chips->probabilities,
                                       .n_classes = chips->n_classes,
                                       .cancel = input->chips->cancel};
    int rc = statistics_compute(&source, input->uncounted, out, err);
    if (rc == 0)
        rc = add_distances(input->reference, out, err);
    return rc != 0 ? rc : add_fractions(input, chips, out, err);
}

/* Chips whose novelty is above the threshold are unknown; but a mixture is like neither of its
 * classes, and known all the same. */
static int mark_unknown(const struct analysis_input *input, const struct space *space,
                        const bool *is_mixture, struct pool_lane *lane, struct analysis *analysis,
                        struct error *err)
{
    struct classification *chips = &analysis->chips;
    struct novelty novelty = {0};
    int rc = novelty_compute(space, input->chips, lane, &novelty, err);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < chips->n_chips; i++) {
        if (chips->labels[i] < chips->n_classes && !is_mixture[i] &&
            (double)novelty.values[i] > novelty.threshold)
            chips->labels[i] = LABEL_UNKNOWN;
    }
    analysis->unknown_threshold = novelty.threshold;
    novelty_clear(&novelty);
    return 0;
}

static int smooth(const struct analysis_input *input, struct pool_lane *lane,
                  struct analysis *analysis, struct error *err)
{
    const struct smoothing_input smoothing = {.smoothing = input->smoothing,
                                              .grid = input->grid,
                                              .examples = input->example_chips,
                                              .n_examples = input->n_example_chips,
                                              .cancel = input->chips->cancel};
    return smoothing_apply(&smoothing, lane, &analysis->chips, &analysis->smoothing, err);
}

static int look_again(const struct analysis_input *input, const struct space *space,
                      struct pool_lane *lane, struct analysis *analysis, struct error *err)
{
    struct classification *chips = &analysis->chips;
    const size_t size = chips->n_chips * sizeof(*chips->labels);
    bool *is_mixture = input->unknown ? calloc(chips->n_chips, sizeof(*is_mixture)) : NULL;
    int rc = input->unknown && is_mixture == NULL ? error_set_nomem(err, "the chips' mixtures")
                                                  : keep_raw_labels(chips, err);
    if (rc == 0)
        rc = smooth(input, lane, analysis, err);
    if (rc == 0 && input->borders == BORDERS_ASSIGN)
        rc = borders_assign(space, input->grid, input->chips, lane, chips, is_mixture,
                            &analysis->n_assigned, err);
    if (rc == 0 && input->unknown)
        rc = mark_unknown(input, space, is_mixture, lane, analysis, err);
    if (rc == 0 && memcmp(chips->raw_labels, chips->labels, size) == 0) {
        free(chips->raw_labels);
        chips->raw_labels = NULL;
    }
    free(is_mixture);
    return rc;
}

static int tell_apart(const struct analysis_input *input, struct pool_lane *lane,
                      struct analysis *analysis, struct error *err)
{
    struct space space = {0};
    int rc = classifier_run_in(&space, input->classifier, input->support, input->chips, lane,
                               &analysis->chips, err);
    if (rc == 0 &&
        (input->borders != BORDERS_OFF || input->unknown || input->smoothing != SMOOTHING_OFF))
        rc = look_again(input, &space, lane, analysis, err);
    if (rc == 0 && input->ask_examples)
        rc = health_measure(input->classifier, &space.examples, &analysis->health, err);
    if (rc == 0 && input->suggest)
        rc = suggestions_make(&space, &analysis->chips, input->chips, &analysis->suggestions, err);
    space_clear(&space);
    return rc;
}

int analysis_run(const struct analysis_input *input, struct pool_lane *lane, struct analysis *out,
                 struct error *err)
{
    struct analysis analysis = {.mask = input->mask,
                                .reference = input->reference,
                                .borders = input->borders,
                                .unknown_threshold = NAN};
    struct classification *chips = &analysis.chips;
    int rc = check(input, err);
    if (rc == 0)
        rc = embeddings_n_analysed(input->chips, 0, input->chips->n_chips) == 0
                 ? leave_out_all(input, chips, err)
                 : tell_apart(input, lane, &analysis, err);
    if (rc == 0)
        rc = undecide(input, chips, err);
    if (rc == 0)
        rc = describe(input, chips, &analysis.statistics, err);
    if (rc == 0)
        *out = analysis;
    else
        analysis_clear(&analysis);
    return rc;
}

void analysis_clear(struct analysis *analysis)
{
    classification_clear(&analysis->chips);
    statistics_clear(&analysis->statistics);
    health_clear(&analysis->health);
    suggestions_clear(&analysis->suggestions);
}
