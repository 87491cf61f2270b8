/* Episodes draw from generators of their own, so that one more does not change those before. */
#include "engine/fewshot/help/evaluate_help.h"

#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/help/health.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/space.h"
#include "engine/fewshot/help/suggestions.h"
#include "engine/random.h"

/* The chips of the classes that are large enough, class after class, and what is an example. */
struct table {
    const struct evaluate_chips *chips;
    uint32_t n_classes;
    uint32_t begin[CLASSIFIER_CLASSES_MAX + 1]; /* class k: order[begin[k]] .. [begin[k + 1] - 1] */
    uint32_t *order;                            /* chips; owned */
    uint32_t *class_of;                         /* of each chip, < n_classes, or none; owned */
    float *embeddings;                          /* of the examples; owned */
    uint32_t *labels;                           /* of the examples; owned */
    uint32_t n_examples;
};

static const uint32_t NO_CLASS = UINT32_MAX;

static void table_clear(struct table *table)
{
    free(table->order);
    free(table->class_of);
    free(table->embeddings);
    free(table->labels);
}

static int take_class(struct table *table, uint32_t of, struct error *err)
{
    const struct evaluate_chips *chips = table->chips;
    const uint32_t first = table->begin[table->n_classes];
    uint32_t end = first;
    for (uint32_t i = 0; i < chips->n_chips; i++) {
        if (chips->class_of[i] == of)
            table->order[end++] = i;
    }
    if (end - first < EVALUATE_MIN_CLASS_SIZE)
        return 0;
    if (table->n_classes == CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes of a group: at most %d are allowed",
                         CLASSIFIER_CLASSES_MAX);
    for (uint32_t i = first; i < end; i++)
        table->class_of[table->order[i]] = table->n_classes;
    table->begin[++table->n_classes] = end;
    return 0;
}

static int table_init(struct table *table, const struct evaluate_chips *chips, struct error *err)
{
    const size_t n = (size_t)chips->n_chips + 1;
    int rc = 0;
    table->chips = chips;
    table->order = calloc(n, sizeof(*table->order));
    table->class_of = calloc(n, sizeof(*table->class_of));
    table->embeddings = calloc(n * chips->dimension, sizeof(*table->embeddings));
    table->labels = calloc(n, sizeof(*table->labels));
    if (table->order == NULL || table->class_of == NULL || table->embeddings == NULL ||
        table->labels == NULL)
        return error_set_nomem(err, "the chips of a group");
    for (uint32_t i = 0; i < chips->n_chips; i++)
        table->class_of[i] = NO_CLASS;
    for (uint32_t c = 0; c < chips->n_classes && rc == 0; c++)
        rc = take_class(table, c, err);
    return rc;
}

static void shuffle(struct table *table, struct random *random)
{
    for (uint32_t k = 0; k < table->n_classes; k++) {
        uint32_t *order = table->order + table->begin[k];
        for (uint32_t n = table->begin[k + 1] - table->begin[k]; n > 1; n--) {
            const uint32_t j = random_below(random, n), drawn = order[j];
            order[j] = order[n - 1];
            order[n - 1] = drawn;
        }
    }
}

static void add_example(struct table *table, uint32_t chip, uint32_t label)
{
    const size_t dimension = table->chips->dimension;
    memcpy(table->embeddings + table->n_examples * dimension,
           table->chips->embeddings + chip * dimension, dimension * sizeof(float));
    table->labels[table->n_examples++] = label;
}

static struct support support_of(const struct table *table)
{
    return (struct support){table->embeddings, table->labels, table->n_examples, table->n_classes,
                            table->chips->dimension};
}

static struct embeddings embeddings_of(const struct table *table)
{
    return (struct embeddings){.n_chips = table->chips->n_chips,
                               .dimension = table->chips->dimension,
                               .values = table->chips->embeddings};
}

static int check(const struct evaluate_params *params, const struct evaluate_chips *chips,
                 uint32_t min, uint32_t max, struct error *err)
{
    if (params->n_shots == 0 || params->shots[0] < min || params->shots[0] > max)
        return error_set(err, ERROR_INVALID, "shots: %u, from %u to %u are allowed",
                         params->n_shots > 0 ? params->shots[0] : 0, min, max);
    for (uint32_t i = 0; i < chips->n_chips; i++) {
        if (chips->class_of[i] >= chips->n_classes)
            return error_set(err, ERROR_INVALID, "chip %u: class %u of %u", i, chips->class_of[i],
                             chips->n_classes);
    }
    return 0;
}

/* ---- a wrong label ---- */

/* The first examples are those of class `wrong`, and the very first is a chip of class `from`. */
static void draw_swapped(struct table *table, uint32_t shots, uint32_t from, uint32_t wrong)
{
    table->n_examples = 0;
    add_example(table, table->order[table->begin[from] + shots], wrong);
    for (uint32_t k = 0; k < table->n_classes; k++) {
        for (uint32_t i = k == wrong ? 1 : 0; i < shots; i++)
            add_example(table, table->order[table->begin[k] + i], k);
    }
}

static int ask_health(const struct evaluate_params *params, const struct table *table,
                      struct health *out, struct error *err)
{
    const struct support support = support_of(table);
    const struct embeddings chips = embeddings_of(table);
    struct space space = {0};
    int rc = space_init(&space, &params->classifier, &support, &chips, NULL, err);
    if (rc == 0)
        rc = health_measure(&params->classifier, &space.examples, out, err);
    space_clear(&space);
    return rc;
}

static void count_flags(const struct health *health, uint32_t from, struct evaluate_swapped *out)
{
    const bool is_found = health_is_flagged(health_own(health, 0));
    out->n_swapped++;
    out->n_found += is_found;
    out->n_named += is_found && health_likely(health, 0) == from;
    for (uint32_t i = 1; i < health->n_examples; i++) {
        out->n_right++;
        out->n_false += health_is_flagged(health_own(health, i));
    }
}

int evaluate_swapped(const struct evaluate_params *params, const struct evaluate_chips *chips,
                     struct evaluate_swapped *out, struct error *err)
{
    struct table table = {0};
    int rc = check(params, chips, 2, EVALUATE_MIN_CLASS_SIZE - 1, err);
    if (rc == 0)
        rc = table_init(&table, chips, err);
    for (uint32_t e = 0; e < params->episodes && rc == 0 && table.n_classes >= 2; e++) {
        struct random random;
        struct health health = {0};
        random_seed(&random, params->seed, e);
        shuffle(&table, &random);
        const uint32_t from = random_below(&random, table.n_classes);
        const uint32_t step = 1 + random_below(&random, table.n_classes - 1);
        draw_swapped(&table, params->shots[0], from, (from + step) % table.n_classes);
        rc = ask_health(params, &table, &health, err);
        if (rc == 0)
            count_flags(&health, from, out);
        health_clear(&health);
    }
    table_clear(&table);
    return rc;
}

/* ---- suggestions ---- */

enum choice { CHOICE_RANDOM, CHOICE_SUGGESTED };

/* The first half of each class is asked; is_open: of each chip, whether it may still be labelled.
 */
struct labelling {
    struct table table;
    bool *is_open; /* owned */
    uint32_t n_open;
    uint32_t counts[CLASSIFIER_CLASSES_MAX]; /* examples of each class */
};

static uint32_t half_of(const struct table *table, uint32_t k)
{
    return (table->begin[k + 1] - table->begin[k]) / 2;
}

static void label_chip(struct labelling *labelling, uint32_t chip)
{
    const uint32_t k = labelling->table.class_of[chip];
    labelling->is_open[chip] = false;
    labelling->n_open--;
    labelling->counts[k]++;
    add_example(&labelling->table, chip, k);
}

static void begin_labelling(struct labelling *labelling, uint32_t shots)
{
    struct table *table = &labelling->table;
    memset(labelling->is_open, 0, table->chips->n_chips * sizeof(labelling->is_open[0]));
    memset(labelling->counts, 0, sizeof(labelling->counts));
    labelling->n_open = 0;
    table->n_examples = 0;
    for (uint32_t k = 0; k < table->n_classes; k++) {
        for (uint32_t i = table->begin[k] + half_of(table, k); i < table->begin[k + 1]; i++) {
            labelling->is_open[table->order[i]] = true;
            labelling->n_open++;
        }
    }
    for (uint32_t k = 0; k < table->n_classes; k++) {
        for (uint32_t i = 0; i < shots; i++)
            label_chip(labelling, table->order[table->begin[k] + half_of(table, k) + i]);
    }
}

/* `classification`: whose chips that cannot be labelled have no class. */
static int suggest(const struct labelling *labelling, const struct space *space,
                   const struct classification *classification, uint32_t *chip, struct error *err)
{
    const struct embeddings chips = embeddings_of(&labelling->table);
    uint32_t n_left[CLASSIFIER_CLASSES_MAX] = {0};
    struct suggestions suggestions = {0};
    int rc = suggestions_make(space, classification, &chips, &suggestions, err);
    for (uint32_t i = 0; i < suggestions.n; i++)
        n_left[suggestions.items[i].class_index]++;
    const uint32_t k =
        suggestions_next_class(labelling->counts, n_left, labelling->table.n_classes);
    for (uint32_t i = suggestions.n; rc == 0 && i-- > 0;) {
        if (suggestions.items[i].class_index == k)
            *chip = (uint32_t)suggestions.items[i].chip;
    }
    suggestions_clear(&suggestions);
    return rc;
}

static uint32_t draw_open(const struct labelling *labelling, struct random *random)
{
    uint32_t left = random_below(random, labelling->n_open), chip = 0;
    while (!labelling->is_open[chip] || left-- > 0)
        chip++;
    return chip;
}

static double recall(const struct table *table, const uint16_t *labels)
{
    double total = 0.0;
    for (uint32_t k = 0; k < table->n_classes; k++) {
        const uint32_t n = half_of(table, k);
        uint32_t n_right = 0;
        for (uint32_t i = 0; i < n; i++)
            n_right += labels[table->order[table->begin[k] + i]] == k;
        total += (double)n_right / n;
    }
    return total / table->n_classes;
}

/* Classifies by the examples that there are; *accuracy, and the chip to label next. */
static int look(const struct evaluate_params *params, const struct labelling *labelling,
                enum choice choice, double *accuracy, uint32_t *chip, struct random *random,
                struct error *err)
{
    const struct support support = support_of(&labelling->table);
    const struct embeddings chips = embeddings_of(&labelling->table);
    struct classification classification;
    struct space space = {0};
    int rc = classifier_run(&params->classifier, &support, &chips, NULL, &classification, err);
    if (rc < 0)
        return rc;
    *accuracy = recall(&labelling->table, classification.labels);
    *chip = draw_open(labelling, random); /* also where nothing is suggested */
    if (choice == CHOICE_SUGGESTED) {
        for (uint32_t i = 0; i < labelling->table.chips->n_chips; i++) {
            if (!labelling->is_open[i])
                classification.labels[i] = LABEL_NOT_ANALYSED;
        }
        rc = space_init(&space, &params->classifier, &support, &chips, NULL, err);
        if (rc == 0)
            rc = suggest(labelling, &space, &classification, chip, err);
        space_clear(&space);
    }
    classification_clear(&classification);
    return rc;
}

static int label_all(const struct evaluate_params *params, struct labelling *labelling,
                     enum choice choice, struct random random, double *before, double *after,
                     struct error *err)
{
    const uint32_t n_end = EVALUATE_LABELS_END * labelling->table.n_classes;
    uint32_t chip;
    begin_labelling(labelling, params->shots[0]);
    int rc = look(params, labelling, choice, before, &chip, &random, err);
    while (rc == 0 && labelling->table.n_examples < n_end) {
        label_chip(labelling, chip);
        rc = look(params, labelling, choice, after, &chip, &random, err);
    }
    return rc;
}

int evaluate_suggestions(const struct evaluate_params *params, const struct evaluate_chips *chips,
                         struct evaluate_suggested *out, struct error *err)
{
    struct labelling labelling = {.is_open = calloc((size_t)chips->n_chips + 1, sizeof(bool))};
    struct evaluate_suggested sum = {0};
    int rc = labelling.is_open == NULL ? error_set_nomem(err, "the chips of a group") : 0;
    if (rc == 0)
        rc = check(params, chips, 1, EVALUATE_LABELS_END - 1, err);
    if (rc == 0)
        rc = table_init(&labelling.table, chips, err);
    for (uint32_t e = 0; e < params->episodes && rc == 0 && labelling.table.n_classes >= 2; e++) {
        double before, random_after, suggested_after;
        struct random random;
        random_seed(&random, params->seed, e);
        shuffle(&labelling.table, &random);
        rc = label_all(params, &labelling, CHOICE_RANDOM, random, &before, &random_after, err);
        if (rc == 0)
            rc = label_all(params, &labelling, CHOICE_SUGGESTED, random, &before, &suggested_after,
                           err);
        if (rc < 0)
            break;
        sum.before += before;
        sum.random += random_after;
        sum.suggested += suggested_after;
        sum.n_episodes++;
    }
    table_clear(&labelling.table);
    free(labelling.is_open);
    if (rc < 0)
        return rc;
    const double n = sum.n_episodes > 0 ? sum.n_episodes : 1;
    *out = (struct evaluate_suggested){sum.before / n, sum.random / n, sum.suggested / n,
                                       sum.n_episodes};
    return 0;
}
