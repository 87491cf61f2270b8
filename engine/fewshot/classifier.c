/* Some chips at a time: transform into a buffer, costs from the head, softmax. Memory beside the
 * result does not grow with the number of chips, where these are read in bands. Threads share the
 * chips, which do not depend on each other once the transform is known. */
#include "engine/fewshot/classifier.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/heads/temperature.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/space.h"
#include "engine/give_way.h"

enum {
    PART_CHIPS = 64,     /* chips that a thread takes at once */
    SAMPLE_CHIPS = 1024, /* that say the temperature where the examples do not */
};

const struct classifier_params classifier_params_default = {
    .distance = CLASSIFIER_SQUARED_EUCLIDEAN,
    .transform = CLASSIFIER_TRANSFORM_STANDARDISE,
    .temperature = 0.0,
    .head = &head_prototypes,
};

static const char *const distance_names[] = {
    [CLASSIFIER_SQUARED_EUCLIDEAN] = "euclidean",
    [CLASSIFIER_COSINE] = "cosine",
};
static const char *const transform_names[] = {
    [CLASSIFIER_TRANSFORM_NONE] = "none",
    [CLASSIFIER_TRANSFORM_L2] = "l2",
    [CLASSIFIER_TRANSFORM_CL2N] = "cl2n",
    [CLASSIFIER_TRANSFORM_STANDARDISE] = "standardise",
};

const char *classifier_distance_name(enum classifier_distance distance)
{
    return distance_names[distance];
}

const char *classifier_transform_name(enum classifier_transform transform)
{
    return transform_names[transform];
}

/* Index of `name`, or -1. */
static int find_name(const char *const *names, size_t n_names, const char *name)
{
    for (size_t i = 0; i < n_names; i++) {
        if (strcmp(names[i], name) == 0)
            return (int)i;
    }
    return -1;
}

int classifier_distance_parse(const char *name, enum classifier_distance *out, struct error *err)
{
    int found = find_name(distance_names, sizeof(distance_names) / sizeof(*distance_names), name);
    if (found < 0)
        return error_set(err, ERROR_INVALID, "distance must be euclidean or cosine, but is '%.40s'",
                         name);
    *out = (enum classifier_distance)found;
    return 0;
}

int classifier_transform_parse(const char *name, enum classifier_transform *out, struct error *err)
{
    int found =
        find_name(transform_names, sizeof(transform_names) / sizeof(*transform_names), name);
    if (found < 0)
        return error_set(err, ERROR_INVALID,
                         "transform must be none, l2, cl2n or standardise, but is '%.40s'", name);
    *out = (enum classifier_transform)found;
    return 0;
}

void classification_clear(struct classification *classification)
{
    free(classification->labels);
    free(classification->raw_labels);
    free(classification->probabilities);
    free(classification->distances);
    free(classification->lengths);
    memset(classification, 0, sizeof(*classification));
}

static int check(const struct classifier_params *params, const struct support *support,
                 const struct embeddings *chips, struct error *err)
{
    const uint64_t n_chips = chips->n_chips;
    if ((unsigned)params->distance > CLASSIFIER_COSINE)
        return error_set(err, ERROR_INVALID, "distance: unknown value %d", (int)params->distance);
    if ((unsigned)params->transform > CLASSIFIER_TRANSFORM_STANDARDISE)
        return error_set(err, ERROR_INVALID, "transform: unknown value %d", (int)params->transform);
    if (!isfinite(params->temperature) || params->temperature < 0.0)
        return error_set(err, ERROR_INVALID, "temperature: %g is not a number of at least 0",
                         params->temperature);
    if (support->n_classes < 2 || support->n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 2 to %d are allowed",
                         support->n_classes, CLASSIFIER_CLASSES_MAX);
    if (support->n_examples > CLASSIFIER_EXAMPLES_MAX)
        return error_set(err, ERROR_INVALID, "examples: %u, at most %d are allowed",
                         support->n_examples, CLASSIFIER_EXAMPLES_MAX);
    if (support->dimension == 0)
        return error_set(err, ERROR_INVALID,
                         "dimension of the embeddings: 0, at least 1 is needed");
    if (chips->dimension != support->dimension)
        return error_set(err, ERROR_INVALID,
                         "dimension of the chips' embeddings: %u, the examples' have %u",
                         chips->dimension, support->dimension);
    if (embeddings_n_analysed(chips, 0, n_chips) == 0)
        return error_set(err, ERROR_INVALID, "chips: 0 of %llu are analysed, at least 1 is needed",
                         (unsigned long long)n_chips);
    uint64_t widest =
        support->dimension > support->n_classes ? support->dimension : support->n_classes;
    if (n_chips > PTRDIFF_MAX / sizeof(float) / widest)
        return error_set(err, ERROR_INVALID, "chips: %llu do not fit in memory",
                         (unsigned long long)n_chips);
    return embeddings_check_finite(support->embeddings, support->n_examples, support->dimension,
                                   "example", err);
}

static uint32_t cheapest_class(const double *costs, uint32_t n_classes)
{
    uint32_t cheapest = 0;
    for (uint32_t k = 1; k < n_classes; k++) {
        if (costs[k] < costs[cheapest])
            cheapest = k;
    }
    return cheapest;
}

static void softmax(const double *costs, uint32_t n_classes, double least, double temperature,
                    float *probabilities)
{
    double weights[CLASSIFIER_CLASSES_MAX];
    double sum = 0.0;
    for (uint32_t k = 0; k < n_classes; k++) {
        weights[k] = exp((least - costs[k]) / temperature);
        sum += weights[k];
    }
    for (uint32_t k = 0; k < n_classes; k++)
        probabilities[k] = (float)(weights[k] / sum);
}

/* What is known before the first chip is classified. */
struct plan {
    const struct head *head;
    struct head_fit fit;
    struct pool_lane *lane;
    struct space space;
    double *buffers; /* slots x HEAD_CHIPS_MAX x dimension */
    struct classification result;
    const uint8_t *skip; /* as of embeddings */
    const float *band;   /* the chips that are classified now: */
    uint64_t first, end;
};

static void decide(const struct plan *plan, uint64_t chip, const double *costs)
{
    const struct classification *result = &plan->result;
    const uint32_t n_classes = result->n_classes, label = cheapest_class(costs, n_classes);
    if (plan->skip != NULL && plan->skip[chip] != 0) {
        result->labels[chip] = LABEL_NOT_ANALYSED;
        return;
    }
    result->labels[chip] = (uint16_t)label;
    result->distances[chip] = (float)fmin(fmax(costs[label], 0.0), FLT_MAX);
    softmax(costs, n_classes, costs[label], plan->fit.temperature,
            result->probabilities + chip * n_classes);
}

/* Chips first .. first + n - 1, at most HEAD_CHIPS_MAX. */
static void classify_chips(const struct plan *plan, uint64_t first, uint32_t n, double *buffer)
{
    double costs[HEAD_CHIPS_MAX * CLASSIFIER_CLASSES_MAX];
    const size_t dimension = plan->space.transform.dimension;
    for (uint32_t i = 0; i < n; i++)
        plan->result.lengths[first + i] = (float)transform_apply(
            &plan->space.transform, plan->band + (first - plan->first + i) * dimension,
            buffer + i * dimension);
    plan->fit.head->score(plan->fit.model, buffer, n, costs);
    for (uint32_t i = 0; i < n; i++)
        decide(plan, first + i, costs + (size_t)i * plan->result.n_classes);
}

static void classify_part(void *context, uint32_t part, uint32_t slot)
{
    const struct plan *plan = context;
    const uint64_t first = plan->first + (uint64_t)part * PART_CHIPS, left = plan->end - first;
    const uint64_t end = first + (left < PART_CHIPS ? left : PART_CHIPS);
    double *buffer =
        plan->buffers + (size_t)slot * HEAD_CHIPS_MAX * plan->space.transform.dimension;
    for (uint64_t chip = first; chip < end; chip += HEAD_CHIPS_MAX) {
        const uint64_t rest = end - chip;
        classify_chips(plan, chip, rest < HEAD_CHIPS_MAX ? (uint32_t)rest : HEAD_CHIPS_MAX, buffer);
        if (chip % GIVE_WAY_CHIPS == 0)
            give_way();
    }
}

static int classify_band(void *context, const float *band, uint64_t first, uint64_t n,
                         struct error *err)
{
    (void)err;
    struct plan *plan = context;
    plan->band = band;
    plan->first = first;
    plan->end = first + n;
    pool_share(plan->lane, classify_part, plan, (uint32_t)((n - 1) / PART_CHIPS + 1));
    return 0;
}

static int allocate(struct plan *plan, const struct support *support, uint32_t n_slots,
                    struct error *err)
{
    struct classification *result = &plan->result;
    plan->buffers =
        calloc((size_t)n_slots * HEAD_CHIPS_MAX * support->dimension, sizeof(*plan->buffers));
    result->labels = calloc(result->n_chips, sizeof(*result->labels));
    result->probabilities =
        calloc(result->n_chips * result->n_classes, sizeof(*result->probabilities));
    result->distances = calloc(result->n_chips, sizeof(*result->distances));
    result->lengths = calloc(result->n_chips, sizeof(*result->lengths));
    if (plan->buffers == NULL || result->labels == NULL || result->probabilities == NULL ||
        result->distances == NULL || result->lengths == NULL)
        return error_set_nomem(err, "the classification of the chips");
    return 0;
}

/* The temperature where the examples do not say it: chips spread evenly over the image do. */
static int ask_chips(struct plan *plan, const struct embeddings *chips, struct error *err)
{
    uint64_t sample[SAMPLE_CHIPS];
    const uint32_t n = embeddings_spread(chips, SAMPLE_CHIPS, sample);
    const uint32_t n_classes = plan->result.n_classes;
    double nearest[SAMPLE_CHIPS], costs[CLASSIFIER_CLASSES_MAX];
    float *embedding = calloc(chips->dimension, sizeof(*embedding));
    int rc = embedding == NULL ? error_set_nomem(err, "the temperature's chips") : 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = embeddings_get(chips, sample[i], embedding, err);
        if (rc < 0)
            break;
        transform_apply(&plan->space.transform, embedding, plan->buffers);
        plan->fit.head->score(plan->fit.model, plan->buffers, 1, costs);
        nearest[i] = fmax(costs[cheapest_class(costs, n_classes)], 0.0);
    }
    free(embedding);
    if (rc == 0)
        plan->fit.temperature = temperature_of_chips(nearest, n);
    return rc;
}

/* What is known before the first chip: from the image's chips and the examples. */
static int prepare(struct plan *plan, const struct classifier_params *params,
                   const struct support *support, const struct embeddings *chips, struct error *err)
{
    int rc = space_init(&plan->space, params, support, chips, plan->lane, err);
    if (rc == 0 && !plan->space.transform.has_seen)
        rc = embeddings_check_chips(chips, plan->lane, err);
    if (rc == 0)
        rc = plan->head->fit(params, &plan->space.examples, &plan->fit, err);
    if (rc == 0 && plan->fit.temperature == 0.0)
        rc = ask_chips(plan, chips, err);
    return rc;
}

int classifier_run_in(struct space *space, const struct classifier_params *params,
                      const struct support *support, const struct embeddings *chips,
                      struct pool_lane *lane, struct classification *out, struct error *err)
{
    int rc = check(params, support, chips, err);
    if (rc < 0)
        return rc;
    struct plan plan = {.head = params->head != NULL ? params->head : &head_prototypes,
                        .lane = lane,
                        .skip = chips->skip,
                        .result = {.n_chips = chips->n_chips, .n_classes = support->n_classes}};
    rc = allocate(&plan, support, pool_n_slots(lane), err);
    if (rc == 0)
        rc = prepare(&plan, params, support, chips, err);
    if (rc == 0)
        rc = embeddings_visit(chips, lane, classify_band, &plan, err);
    if (rc == 0) {
        *out = plan.result;
        out->temperature = plan.fit.temperature;
        out->head = plan.fit.head;
        plan.result = (struct classification){0};
    }
    if (rc == 0) {
        *space = plan.space;
        plan.space = (struct space){0};
    }
    free(plan.buffers);
    space_clear(&plan.space);
    if (plan.fit.head != NULL)
        plan.fit.head->free(plan.fit.model);
    classification_clear(&plan.result);
    return rc;
}

int classifier_run(const struct classifier_params *params, const struct support *support,
                   const struct embeddings *chips, struct pool_lane *lane,
                   struct classification *out, struct error *err)
{
    struct space space = {0};
    int rc = classifier_run_in(&space, params, support, chips, lane, out, err);
    space_clear(&space);
    return rc;
}

float classification_probability(const struct classification *classification, uint64_t chip)
{
    const uint32_t n_classes = classification->n_classes, label = classification->labels[chip];
    return label < n_classes ? classification->probabilities[chip * n_classes + label] : 0.0f;
}

float classification_margin(const struct classification *classification, uint64_t chip)
{
    const float *row = classification->probabilities + chip * classification->n_classes;
    uint32_t label = classification->labels[chip];
    if (label >= classification->n_classes)
        return 0.0f;
    float runner_up = 0.0f;
    for (uint32_t k = 0; k < classification->n_classes; k++) {
        if (k != label && row[k] > runner_up)
            runner_up = row[k];
    }
    return row[label] - runner_up;
}
