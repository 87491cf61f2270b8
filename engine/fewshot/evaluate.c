/* An episode moves the shots of each class to the front of the class and classifies all chips of
 * the group, or of another one; the shots themselves are not counted. Episodes draw from generators
 * of their own, so that one more does not change those before.
 */
#include "engine/fewshot/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/drift.h"
#include "engine/random.h"

enum { EPISODES_MAX = 100000 };

/* The chips of the classes that are large enough, class after class. */
struct members {
    uint32_t n_classes;
    uint32_t
        begin[CLASSIFIER_CLASSES_MAX + 1]; /* class k: chips[begin[k]] .. chips[begin[k+1]-1] */
    uint32_t *chips;                       /* owned */
};

static int check_params(const struct evaluate_params *params, struct error *err)
{
    if (params->n_shots == 0 || params->n_shots > EVALUATE_SHOTS_MAX)
        return error_set(err, ERROR_INVALID, "shots: %u numbers, from 1 to %d are allowed",
                         params->n_shots, EVALUATE_SHOTS_MAX);
    for (uint32_t i = 0; i < params->n_shots; i++) {
        if (params->shots[i] == 0 || params->shots[i] >= EVALUATE_MIN_CLASS_SIZE)
            return error_set(err, ERROR_INVALID, "shots: %u, from 1 to %d are allowed",
                             params->shots[i], EVALUATE_MIN_CLASS_SIZE - 1);
    }
    if (params->episodes == 0 || params->episodes > EPISODES_MAX)
        return error_set(err, ERROR_INVALID, "episodes: %u, from 1 to %d are allowed",
                         params->episodes, EPISODES_MAX);
    return 0;
}

/* How many chips each class has. */
static int count_classes(const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                         uint32_t *sizes, struct error *err)
{
    memset(sizes, 0, n_classes * sizeof(*sizes));
    for (uint32_t i = 0; i < n_chips; i++) {
        if (class_of[i] >= n_classes)
            return error_set(err, ERROR_INVALID, "chip %u: class %u of %u", i, class_of[i],
                             n_classes);
        sizes[class_of[i]]++;
    }
    return 0;
}

/* Of the classes whose size, here or where else they must be, is large enough. */
static int members_init(struct members *members, const uint32_t *class_of, uint32_t n_chips,
                        const uint32_t *sizes, uint32_t n_classes, struct error *err)
{
    members->chips = calloc((size_t)n_chips + 1, sizeof(*members->chips));
    if (members->chips == NULL)
        return error_set_nomem(err, "the chips of a group");
    uint32_t end = 0;
    for (uint32_t c = 0; c < n_classes; c++) {
        if (sizes[c] < EVALUATE_MIN_CLASS_SIZE)
            continue;
        if (members->n_classes == CLASSIFIER_CLASSES_MAX)
            return error_set(err, ERROR_INVALID, "classes of a group: at most %d are allowed",
                             CLASSIFIER_CLASSES_MAX);
        for (uint32_t i = 0; i < n_chips; i++) {
            if (class_of[i] == c)
                members->chips[end++] = i;
        }
        members->begin[++members->n_classes] = end;
    }
    return 0;
}

/* An episode's support set. */
struct episode {
    uint32_t shots[CLASSIFIER_CLASSES_MAX]; /* of each class */
    float *embeddings;
    uint32_t *class_of;
    uint32_t *truths; /* of each chip of the group, for who watches */
    uint32_t index;
    const struct reference **references;
};

/* Moves the episode's shots to the front of each class: a partial Fisher-Yates shuffle, so drawn
 * without replacement. */
static void draw_shots(struct members *members, const struct episode *episode,
                       struct random *random)
{
    for (uint32_t k = 0; k < members->n_classes; k++) {
        const uint32_t shots = episode->shots[k];
        uint32_t *chips = members->chips + members->begin[k];
        uint32_t size = members->begin[k + 1] - members->begin[k];
        for (uint32_t i = 0; i < shots; i++) {
            uint32_t j = i + random_below(random, size - i);
            uint32_t drawn = chips[j];
            chips[j] = chips[i];
            chips[i] = drawn;
        }
    }
}

static double mean_recall(const struct members *members, const struct episode *episode,
                          const uint16_t *labels)
{
    double total = 0.0;
    for (uint32_t k = 0; k < members->n_classes; k++) {
        uint32_t right = 0;
        uint32_t first = members->begin[k] + episode->shots[k];
        for (uint32_t i = first; i < members->begin[k + 1]; i++)
            right += labels[members->chips[i]] == k;
        total += (double)right / (members->begin[k + 1] - first);
    }
    return total / members->n_classes;
}

static void calibrate(const struct members *members, const struct episode *episode,
                      const struct classification *classification, struct evaluate_calibration *out)
{
    for (uint32_t k = 0; k < members->n_classes; k++) {
        for (uint32_t i = members->begin[k] + episode->shots[k]; i < members->begin[k + 1]; i++) {
            const uint32_t chip = members->chips[i];
            const double probability = (double)classification_probability(classification, chip);
            const int bin = (int)(probability * EVALUATE_BINS);
            const int within = bin < EVALUATE_BINS ? bin : EVALUATE_BINS - 1;
            out->n[within]++;
            out->n_right[within] += classification->labels[chip] == k;
            out->probability[within] += probability;
        }
    }
}

/* `drawn` says which chips are not asked. */
static int show(const struct evaluate_params *params, const struct members *members,
                const struct episode *drawn, const struct episode *episode,
                const struct classification *classification, struct error *err)
{
    for (uint64_t i = 0; i < classification->n_chips; i++)
        episode->truths[i] = EVALUATE_NOT_ASKED;
    for (uint32_t k = 0; k < members->n_classes; k++) {
        for (uint32_t i = members->begin[k] + drawn->shots[k]; i < members->begin[k + 1]; i++)
            episode->truths[members->chips[i]] = k;
    }
    const struct evaluate_episode shown = {
        .chips = classification, .truths = episode->truths, .seed = params->seed + episode->index};
    return params->watch(params->watch_context, &shown, err);
}

double evaluate_calibration_error(const struct evaluate_calibration *calibration)
{
    double total = 0.0;
    uint64_t n = 0;
    for (int bin = 0; bin < EVALUATE_BINS; bin++) {
        total += fabs((double)calibration->n_right[bin] - calibration->probability[bin]);
        n += calibration->n[bin];
    }
    return n > 0 ? total / (double)n : NAN;
}

/* The embeddings of the chips that examples are drawn from and of those that are asked, and what
 * both are measured by. */
struct asked {
    const struct evaluate_pair *pair;
    const struct members *from, *to;
    uint32_t n_second; /* episodes that were asked by the second view */
};

static void take_examples(const struct members *from, const float *embeddings, uint32_t dimension,
                          struct episode *episode, struct support *out)
{
    uint32_t n_examples = 0;
    for (uint32_t k = 0; k < from->n_classes; k++) {
        for (uint32_t i = 0; i < episode->shots[k]; i++) {
            uint32_t chip = from->chips[from->begin[k] + i];
            memcpy(episode->embeddings + (size_t)n_examples * dimension,
                   embeddings + (size_t)chip * dimension, dimension * sizeof(*embeddings));
            episode->class_of[n_examples] = k;
            episode->references[n_examples++] = NULL;
        }
    }
    *out = (struct support){episode->embeddings, episode->class_of, n_examples, from->n_classes,
                            dimension};
}

/* One view of a pair, ready to be classified by. */
struct looking {
    struct support support;
    struct embeddings chips;
    struct references references;
    struct classifier_params params;
};

static void look(const struct evaluate_params *params, const struct asked *asked, uint32_t view,
                 struct episode *episode, struct looking *out)
{
    const struct evaluate_pair *pair = asked->pair;
    const struct evaluate_view *seen = &pair->views[view];
    take_examples(asked->from, seen->from, pair->dimension, episode, &out->support);
    for (uint32_t i = 0; i < out->support.n_examples; i++)
        episode->references[i] = seen->from_reference;
    out->chips = (struct embeddings){
        .n_chips = pair->n_to, .dimension = pair->dimension, .values = seen->to};
    out->references =
        (struct references){.chips = seen->to_reference,
                            .examples = seen->from_reference != NULL ? episode->references : NULL};
    out->params = params->classifier;
    out->params.references = &out->references;
}

/* The view of an episode, as a job chooses it. */
static int choose_view(const struct evaluate_params *params, struct asked *asked,
                       struct episode *episode, struct looking *out, struct error *err)
{
    struct drift drifts[2];
    look(params, asked, 0, episode, out);
    if (asked->pair->n_views < 2)
        return 0;
    int rc = drift_measure(&out->params, &out->support, &out->chips, NULL, &drifts[0], err);
    if (rc < 0 || drift_is_near(&drifts[0]))
        return rc;
    look(params, asked, 1, episode, out);
    rc = drift_measure(&out->params, &out->support, &out->chips, NULL, &drifts[1], err);
    if (rc == 0 && drift_prefers_support(&drifts[0], &drifts[1]))
        asked->n_second++;
    else
        look(params, asked, 0, episode, out);
    return rc;
}

static int score_episode(const struct evaluate_params *params, struct asked *asked,
                         struct episode *episode, double *out,
                         struct evaluate_calibration *calibration, struct error *err)
{
    struct looking looking;
    struct classification classification;
    static const struct episode nothing_drawn;
    int rc = choose_view(params, asked, episode, &looking, err);
    if (rc == 0)
        rc = classifier_run(&looking.params, &looking.support, &looking.chips, NULL,
                            &classification, err);
    if (rc < 0)
        return rc;
    const struct episode *drawn = asked->from == asked->to ? episode : &nothing_drawn;
    *out = mean_recall(asked->to, drawn, classification.labels);
    if (calibration != NULL)
        calibrate(asked->to, drawn, &classification, calibration);
    if (params->watch != NULL)
        rc = show(params, asked->to, drawn, episode, &classification, err);
    classification_clear(&classification);
    return rc;
}

/* Mean and sample standard deviation of the scores. */
static void summarise(const double *scores, uint32_t n_scores, struct evaluate_group *out)
{
    double total = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < n_scores; i++)
        total += scores[i];
    out->score = total / n_scores;
    for (uint32_t i = 0; i < n_scores; i++)
        squares += (scores[i] - out->score) * (scores[i] - out->score);
    out->spread = n_scores > 1 ? sqrt(squares / (n_scores - 1)) : 0.0;
}

static int score_episodes(const struct evaluate_params *params, struct members *from,
                          struct asked *asked, struct evaluate_group *out,
                          struct evaluate_calibration *calibration, struct error *err)
{
    const size_t n_examples = (size_t)from->n_classes * EVALUATE_MIN_CLASS_SIZE;
    const struct evaluate_pair *pair = asked->pair;
    struct episode episode = {.embeddings = calloc(n_examples * pair->dimension, sizeof(float)),
                              .class_of = calloc(n_examples, sizeof(uint32_t)),
                              .references = calloc(n_examples, sizeof(struct reference *)),
                              .truths = calloc((size_t)pair->n_to + 1, sizeof(uint32_t))};
    double *scores = calloc(params->episodes, sizeof(*scores));
    int rc = 0;
    if (episode.embeddings == NULL || episode.class_of == NULL || episode.references == NULL ||
        episode.truths == NULL || scores == NULL) {
        rc = error_set_nomem(err, "an episode's support set");
        goto out;
    }
    for (uint32_t e = 0; e < params->episodes && rc == 0; e++) {
        struct random random;
        episode.index = e;
        random_seed(&random, params->seed, e);
        for (uint32_t k = 0; k < from->n_classes; k++)
            episode.shots[k] = params->shots[(k + e) % params->n_shots];
        draw_shots(from, &episode, &random);
        rc = score_episode(params, asked, &episode, &scores[e], calibration, err);
    }
    if (rc == 0)
        summarise(scores, params->episodes, out);
out:
    free(episode.embeddings);
    free(episode.class_of);
    free(episode.truths);
    free(episode.references);
    free(scores);
    return rc;
}

static int score(const struct evaluate_params *params, const struct evaluate_pair *pair,
                 const uint32_t *sizes, bool is_one, struct evaluate_group *out,
                 struct evaluate_calibration *calibration, struct error *err)
{
    struct members from = {0}, to = {0};
    struct asked asked = {.pair = pair, .from = &from, .to = is_one ? &from : &to};
    int rc = members_init(&from, pair->from_classes, pair->n_from, sizes, pair->n_classes, err);
    if (rc == 0 && !is_one)
        rc = members_init(&to, pair->to_classes, pair->n_to, sizes, pair->n_classes, err);
    struct evaluate_group group = {.score = NAN,
                                   .spread = NAN,
                                   .n_classes = from.n_classes,
                                   .n_chips = asked.to->begin[from.n_classes]};
    if (rc == 0 && from.n_classes >= 2)
        rc = score_episodes(params, &from, &asked, &group, calibration, err);
    group.second = (double)asked.n_second / params->episodes;
    if (rc == 0)
        *out = group;
    free(from.chips);
    free(to.chips);
    return rc;
}

int evaluate_group(const struct evaluate_params *params, const float *embeddings,
                   const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                   uint32_t dimension, struct evaluate_group *out,
                   struct evaluate_calibration *calibration, struct error *err)
{
    const struct evaluate_pair pair = {.from_classes = class_of,
                                       .to_classes = class_of,
                                       .n_from = n_chips,
                                       .n_to = n_chips,
                                       .n_classes = n_classes,
                                       .dimension = dimension,
                                       .views = {{.from = embeddings, .to = embeddings}},
                                       .n_views = 1};
    uint32_t *sizes = calloc((size_t)n_classes + 1, sizeof(*sizes));
    int rc = sizes == NULL ? error_set_nomem(err, "the chips of a group") : 0;
    if (rc == 0)
        rc = check_params(params, err);
    if (rc == 0)
        rc = count_classes(class_of, n_chips, n_classes, sizes, err);
    if (rc == 0)
        rc = score(params, &pair, sizes, true, out, calibration, err);
    free(sizes);
    return rc;
}

int evaluate_across(const struct evaluate_params *params, const struct evaluate_pair *pair,
                    struct evaluate_group *out, struct evaluate_calibration *calibration,
                    struct error *err)
{
    const uint32_t n_classes = pair->n_classes;
    uint32_t *sizes = calloc(2 * (size_t)n_classes + 2, sizeof(*sizes));
    int rc = sizes == NULL ? error_set_nomem(err, "the chips of two groups") : 0;
    if (rc < 0)
        return rc;
    uint32_t *others = sizes + n_classes + 1;
    rc = check_params(params, err);
    if (rc == 0)
        rc = count_classes(pair->from_classes, pair->n_from, n_classes, sizes, err);
    if (rc == 0)
        rc = count_classes(pair->to_classes, pair->n_to, n_classes, others, err);
    for (uint32_t c = 0; c < n_classes && rc == 0; c++)
        sizes[c] = others[c] < sizes[c] ? others[c] : sizes[c];
    if (rc == 0)
        rc = score(params, pair, sizes, false, out, calibration, err);
    free(sizes);
    return rc;
}
