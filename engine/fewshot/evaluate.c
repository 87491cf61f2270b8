/* An episode moves the shots of each class to the front of the class and classifies all chips of
 * the group, or of another one; the shots themselves are not counted. Episodes draw from generators
 * of their own, so that one more does not change those before.
 */
#include "engine/fewshot/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/drift.h"
#include "engine/fewshot/space.h"
#include "engine/fewshot/unknown.h"
#include "engine/random.h"

enum { EPISODES_MAX = 100000 };

static const uint32_t NO_CLASS = UINT32_MAX;

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

/* The shots of all classes but `left_out`, those after which move up. */
static struct support take_examples(const struct members *from, const float *embeddings,
                                    uint32_t dimension, uint32_t left_out, struct episode *episode)
{
    struct support support = {
        .embeddings = episode->embeddings, .class_of = episode->class_of, .dimension = dimension};
    for (uint32_t k = 0; k < from->n_classes; k++) {
        if (k == left_out)
            continue;
        for (uint32_t i = 0; i < episode->shots[k]; i++) {
            uint32_t chip = from->chips[from->begin[k] + i];
            memcpy(episode->embeddings + (size_t)support.n_examples * dimension,
                   embeddings + (size_t)chip * dimension, dimension * sizeof(*embeddings));
            episode->class_of[support.n_examples++] = support.n_classes;
        }
        support.n_classes++;
    }
    return support;
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
    out->support = take_examples(asked->from, seen->from, pair->dimension, NO_CLASS, episode);
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

static int episode_init(struct episode *episode, uint32_t n_classes, uint32_t n_asked,
                        uint32_t dimension, struct error *err)
{
    const size_t n_examples = (size_t)n_classes * EVALUATE_MIN_CLASS_SIZE;
    episode->embeddings = calloc(n_examples * dimension, sizeof(float));
    episode->class_of = calloc(n_examples, sizeof(uint32_t));
    episode->references = calloc(n_examples, sizeof(struct reference *));
    episode->truths = calloc((size_t)n_asked + 1, sizeof(uint32_t));
    return episode->embeddings == NULL || episode->class_of == NULL ||
                   episode->references == NULL || episode->truths == NULL
               ? error_set_nomem(err, "an episode's support set")
               : 0;
}

static void episode_clear(struct episode *episode)
{
    free(episode->embeddings);
    free(episode->class_of);
    free(episode->references);
    free(episode->truths);
}

static void episode_draw(struct episode *episode, const struct evaluate_params *params,
                         uint32_t index, struct members *from)
{
    struct random random;
    episode->index = index;
    random_seed(&random, params->seed, index);
    for (uint32_t k = 0; k < from->n_classes; k++)
        episode->shots[k] = params->shots[(k + index) % params->n_shots];
    draw_shots(from, episode, &random);
}

static int score_episodes(const struct evaluate_params *params, struct members *from,
                          struct asked *asked, struct evaluate_group *out,
                          struct evaluate_calibration *calibration, struct error *err)
{
    const struct evaluate_pair *pair = asked->pair;
    struct episode episode = {.embeddings = NULL};
    double *scores = calloc(params->episodes, sizeof(*scores));
    int rc = scores == NULL
                 ? error_set_nomem(err, "the scores of a group")
                 : episode_init(&episode, from->n_classes, pair->n_to, pair->dimension, err);
    for (uint32_t e = 0; e < params->episodes && rc == 0; e++) {
        episode_draw(&episode, params, e, from);
        rc = score_episode(params, asked, &episode, &scores[e], calibration, err);
    }
    if (rc == 0)
        summarise(scores, params->episodes, out);
    episode_clear(&episode);
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

/* ---- unknown classes ---- */

static int compare_numbers(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

double evaluate_auroc(double *positives, uint32_t n_positives, double *negatives,
                      uint32_t n_negatives)
{
    uint32_t below = 0, not_above = 0;
    double pairs = 0.0;
    qsort(positives, n_positives, sizeof(*positives), compare_numbers);
    qsort(negatives, n_negatives, sizeof(*negatives), compare_numbers);
    for (uint32_t i = 0; i < n_positives; i++) {
        while (below < n_negatives && negatives[below] < positives[i])
            below++;
        while (not_above < n_negatives && negatives[not_above] <= positives[i])
            not_above++;
        pairs += 0.5 * below + 0.5 * not_above;
    }
    return n_positives > 0 && n_negatives > 0 ? pairs / n_positives / n_negatives : NAN;
}

/* What is known of the chips of a group, in an episode with a class left out. */
struct answers {
    struct novelty novelty;
    struct classification chips; /* none where one class is left, which leaves nothing to tell */
};

static int ask(const struct evaluate_params *params, const struct support *support,
               const struct embeddings *chips, struct answers *out, struct error *err)
{
    struct space space = {0};
    int rc = support->n_classes < 2
                 ? space_init(&space, &params->classifier, support, chips, NULL, err)
                 : classifier_run_in(&space, &params->classifier, support, chips, NULL, &out->chips,
                                     err);
    if (rc == 0)
        rc = novelty_compute(&space, chips, NULL, &out->novelty, err);
    space_clear(&space);
    return rc;
}

/* Chips that were not shown, of a class left out and of the others. */
struct sides {
    double *values[2]; /* [1]: of the class left out */
    uint32_t n[2];
};

static void split(const struct members *members, const struct episode *episode, uint32_t left_out,
                  const struct answers *answers, bool by_novelty, struct sides *sides)
{
    sides->n[0] = sides->n[1] = 0;
    for (uint32_t k = 0; k < members->n_classes; k++) {
        const int side = k == left_out;
        for (uint32_t i = members->begin[k] + episode->shots[k]; i < members->begin[k + 1]; i++) {
            const uint32_t chip = members->chips[i];
            sides->values[side][sides->n[side]++] =
                by_novelty ? (double)answers->novelty.values[chip]
                           : 1.0 - (double)classification_probability(&answers->chips, chip);
        }
    }
}

static double share_above(const double *values, uint32_t n, double threshold)
{
    uint32_t above = 0;
    for (uint32_t i = 0; i < n; i++)
        above += values[i] > threshold;
    return (double)above / n;
}

/* Adds one episode with one class left out. */
static void add_answers(const struct members *members, const struct episode *episode,
                        uint32_t left_out, const struct answers *answers, struct sides *sides,
                        struct evaluate_unknown *sums)
{
    const double threshold = answers->novelty.threshold;
    split(members, episode, left_out, answers, true, sides);
    sums->novelty += evaluate_auroc(sides->values[1], sides->n[1], sides->values[0], sides->n[0]);
    sums->known_unknown += share_above(sides->values[0], sides->n[0], threshold);
    sums->unknown_unknown += share_above(sides->values[1], sides->n[1], threshold);
    if (answers->chips.labels == NULL) {
        sums->probability = NAN;
        return;
    }
    split(members, episode, left_out, answers, false, sides);
    sums->probability +=
        evaluate_auroc(sides->values[1], sides->n[1], sides->values[0], sides->n[0]);
}

static int leave_out(const struct evaluate_params *params, struct members *members,
                     const struct embeddings *chips, struct episode *episode, struct sides *sides,
                     struct evaluate_unknown *sums, struct error *err)
{
    int rc = 0;
    for (uint32_t e = 0; e < params->episodes && rc == 0; e++) {
        episode_draw(episode, params, e, members);
        for (uint32_t k = 0; k < members->n_classes && rc == 0; k++) {
            const struct support support =
                take_examples(members, chips->values, chips->dimension, k, episode);
            struct answers answers = {0};
            rc = ask(params, &support, chips, &answers, err);
            if (rc == 0)
                add_answers(members, episode, k, &answers, sides, sums);
            novelty_clear(&answers.novelty);
            classification_clear(&answers.chips);
        }
    }
    return rc;
}

static int score_unknown(const struct evaluate_params *params, struct members *members,
                         const struct embeddings *chips, struct evaluate_unknown *out,
                         struct error *err)
{
    const uint32_t n_chips = (uint32_t)chips->n_chips;
    const double n = (double)params->episodes * members->n_classes;
    struct episode episode = {.embeddings = NULL};
    struct evaluate_unknown sums = {.n_classes = members->n_classes};
    double *values = calloc(n_chips, 2 * sizeof(*values));
    struct sides sides = {.values = {values, values + n_chips}};
    int rc = values == NULL
                 ? error_set_nomem(err, "the chips of a group")
                 : episode_init(&episode, members->n_classes, n_chips, chips->dimension, err);
    if (rc == 0)
        rc = leave_out(params, members, chips, &episode, &sides, &sums, err);
    if (rc == 0)
        *out = (struct evaluate_unknown){.n_classes = sums.n_classes,
                                         .novelty = sums.novelty / n,
                                         .probability = sums.probability / n,
                                         .known_unknown = sums.known_unknown / n,
                                         .unknown_unknown = sums.unknown_unknown / n};
    episode_clear(&episode);
    free(values);
    return rc;
}

int evaluate_unknown(const struct evaluate_params *params, const float *embeddings,
                     const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                     uint32_t dimension, struct evaluate_unknown *out, struct error *err)
{
    const struct embeddings chips = {
        .n_chips = n_chips, .dimension = dimension, .values = embeddings};
    struct members members = {0};
    uint32_t *sizes = calloc((size_t)n_classes + 1, sizeof(*sizes));
    int rc = sizes == NULL ? error_set_nomem(err, "the chips of a group") : 0;
    if (rc == 0)
        rc = check_params(params, err);
    if (rc == 0)
        rc = count_classes(class_of, n_chips, n_classes, sizes, err);
    if (rc == 0)
        rc = members_init(&members, class_of, n_chips, sizes, n_classes, err);
    struct evaluate_unknown result = {.n_classes = members.n_classes,
                                      .novelty = NAN,
                                      .probability = NAN,
                                      .known_unknown = NAN,
                                      .unknown_unknown = NAN};
    if (rc == 0 && members.n_classes >= 2)
        rc = score_unknown(params, &members, &chips, &result, err);
    if (rc == 0)
        *out = result;
    free(members.chips);
    free(sizes);
    return rc;
}
