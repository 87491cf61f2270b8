/* An episode moves the shots of each class to the front of the class and classifies all chips of
 * the group; the shots themselves are not counted. Episodes draw from generators of their own, so
 * that one more does not change those before.
 */
#include "engine/fewshot/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/random.h"

enum { EPISODES_MAX = 100000 };

/* The chips of the classes that are large enough, class after class. */
struct members {
    uint32_t n_classes;
    uint32_t
        begin[CLASSIFIER_CLASSES_MAX + 1]; /* class k: chips[begin[k]] .. chips[begin[k+1]-1] */
    uint32_t *chips;                       /* owned */
};

static int check(const struct evaluate_params *params, const uint32_t *class_of, uint32_t n_chips,
                 uint32_t n_classes, struct error *err)
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
    for (uint32_t i = 0; i < n_chips; i++) {
        if (class_of[i] >= n_classes)
            return error_set(err, ERROR_INVALID, "chip %u: class %u of %u", i, class_of[i],
                             n_classes);
    }
    return 0;
}

static int members_init(struct members *members, const uint32_t *class_of, uint32_t n_chips,
                        uint32_t n_classes, struct error *err)
{
    uint32_t *sizes = calloc((size_t)n_classes + 1, sizeof(*sizes));
    members->chips = calloc((size_t)n_chips + 1, sizeof(*members->chips));
    int rc = 0;
    if (sizes == NULL || members->chips == NULL) {
        rc = error_set_nomem(err, "the chips of a group");
        goto out;
    }
    for (uint32_t i = 0; i < n_chips; i++)
        sizes[class_of[i]]++;
    uint32_t end = 0;
    for (uint32_t c = 0; c < n_classes; c++) {
        if (sizes[c] < EVALUATE_MIN_CLASS_SIZE)
            continue;
        if (members->n_classes == CLASSIFIER_CLASSES_MAX) {
            rc = error_set(err, ERROR_INVALID, "classes of a group: at most %d are allowed",
                           CLASSIFIER_CLASSES_MAX);
            goto out;
        }
        for (uint32_t i = 0; i < n_chips; i++) {
            if (class_of[i] == c)
                members->chips[end++] = i;
        }
        members->begin[++members->n_classes] = end;
    }
out:
    free(sizes);
    return rc;
}

/* An episode's support set. */
struct episode {
    uint32_t shots[CLASSIFIER_CLASSES_MAX]; /* of each class */
    float *embeddings;
    uint32_t *class_of;
    uint32_t *truths; /* of each chip of the group, for who watches */
    uint32_t index;
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

static int show(const struct evaluate_params *params, const struct members *members,
                const struct episode *episode, const struct classification *classification,
                struct error *err)
{
    for (uint64_t i = 0; i < classification->n_chips; i++)
        episode->truths[i] = EVALUATE_NOT_ASKED;
    for (uint32_t k = 0; k < members->n_classes; k++) {
        for (uint32_t i = members->begin[k] + episode->shots[k]; i < members->begin[k + 1]; i++)
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

static int score_episode(const struct evaluate_params *params, const struct members *members,
                         const float *embeddings, uint32_t n_chips, uint32_t dimension,
                         struct episode *episode, double *out,
                         struct evaluate_calibration *calibration, struct error *err)
{
    uint32_t n_examples = 0;
    for (uint32_t k = 0; k < members->n_classes; k++) {
        for (uint32_t i = 0; i < episode->shots[k]; i++) {
            uint32_t chip = members->chips[members->begin[k] + i];
            memcpy(episode->embeddings + (size_t)n_examples * dimension,
                   embeddings + (size_t)chip * dimension, dimension * sizeof(*embeddings));
            episode->class_of[n_examples++] = k;
        }
    }
    struct support support = {episode->embeddings, episode->class_of, n_examples,
                              members->n_classes, dimension};
    const struct embeddings chips = {
        .n_chips = n_chips, .dimension = dimension, .values = embeddings};
    struct classification classification;
    int rc = classifier_run(&params->classifier, &support, &chips, NULL, &classification, err);
    if (rc < 0)
        return rc;
    *out = mean_recall(members, episode, classification.labels);
    if (calibration != NULL)
        calibrate(members, episode, &classification, calibration);
    if (params->watch != NULL)
        rc = show(params, members, episode, &classification, err);
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

static int score_episodes(const struct evaluate_params *params, struct members *members,
                          const float *embeddings, uint32_t n_chips, uint32_t dimension,
                          struct evaluate_group *out, struct evaluate_calibration *calibration,
                          struct error *err)
{
    const size_t n_examples = (size_t)members->n_classes * EVALUATE_MIN_CLASS_SIZE;
    struct episode episode = {.embeddings = calloc(n_examples * dimension, sizeof(float)),
                              .class_of = calloc(n_examples, sizeof(uint32_t)),
                              .truths = calloc((size_t)n_chips + 1, sizeof(uint32_t))};
    double *scores = calloc(params->episodes, sizeof(*scores));
    int rc = 0;
    if (episode.embeddings == NULL || episode.class_of == NULL || episode.truths == NULL ||
        scores == NULL) {
        rc = error_set_nomem(err, "an episode's support set");
        goto out;
    }
    for (uint32_t e = 0; e < params->episodes && rc == 0; e++) {
        struct random random;
        episode.index = e;
        random_seed(&random, params->seed, e);
        for (uint32_t k = 0; k < members->n_classes; k++)
            episode.shots[k] = params->shots[(k + e) % params->n_shots];
        draw_shots(members, &episode, &random);
        rc = score_episode(params, members, embeddings, n_chips, dimension, &episode, &scores[e],
                           calibration, err);
    }
    if (rc == 0)
        summarise(scores, params->episodes, out);
out:
    free(episode.embeddings);
    free(episode.class_of);
    free(episode.truths);
    free(scores);
    return rc;
}

int evaluate_group(const struct evaluate_params *params, const float *embeddings,
                   const uint32_t *class_of, uint32_t n_chips, uint32_t n_classes,
                   uint32_t dimension, struct evaluate_group *out,
                   struct evaluate_calibration *calibration, struct error *err)
{
    int rc = check(params, class_of, n_chips, n_classes, err);
    if (rc < 0)
        return rc;
    struct members members = {0};
    rc = members_init(&members, class_of, n_chips, n_classes, err);
    if (rc < 0)
        goto out;
    struct evaluate_group group = {.score = NAN,
                                   .spread = NAN,
                                   .n_classes = members.n_classes,
                                   .n_chips = members.begin[members.n_classes]};
    if (members.n_classes >= 2)
        rc = score_episodes(params, &members, embeddings, n_chips, dimension, &group, calibration,
                            err);
    if (rc == 0)
        *out = group;
out:
    free(members.chips);
    return rc;
}
