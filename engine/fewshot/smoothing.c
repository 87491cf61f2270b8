/* Planes of float, a class at a time for each chip: chips x classes, rows of the grid one after the
 * other. Chips without a class are zeros throughout, so that sums over neighbours need not ask.
 * Threads share blocks of rows that are always the same ones; sums over the image are those of the
 * blocks, in their order.
 */
#include "engine/fewshot/smoothing.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/give_way.h"

enum {
    ESTIMATES = 3,
    STEPS = 6, /* with each estimate */
    PSEUDO_PAIRS = 20,
    PLANES = 4,         /* of a number a chip and class, as of `struct field` */
    BLOCK_CHIPS = 4096, /* that a thread takes at once, at least a row */
};

static const char *const names[] = {
    [SMOOTHING_OFF] = "off", [SMOOTHING_AUTO] = "auto", [SMOOTHING_ON] = "on"};

const char *smoothing_name(enum smoothing smoothing)
{
    return names[smoothing];
}

int smoothing_parse(const char *name, enum smoothing *out, struct error *err)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum smoothing)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "smoothing must be off, auto or on, but is '%.40s'", name);
}

uint64_t smoothing_chip_size(uint32_t n_classes)
{
    return (uint64_t)PLANES * n_classes * sizeof(float) + sizeof(uint32_t);
}

struct field {
    uint32_t rows, columns, n_classes;
    uint32_t reach_y, reach_x; /* from a chip to its neighbours, in chips */
    uint32_t block_rows, n_blocks;
    const struct classification *chips;
    uint32_t *fixed;   /* of each chip its class + 1, 0: none; owned */
    float *now, *next; /* rows x columns x n_classes: y; owned */
    float *above;      /* likewise: sums over three rows; owned */
    float *first;      /* likewise: u; owned */
    double *pairs;     /* n_blocks x n_classes x n_classes; owned */
    float affinity[CLASSIFIER_CLASSES_MAX * CLASSIFIER_CLASSES_MAX]; /* C */
};

static void field_clear(struct field *field)
{
    free(field->fixed);
    free(field->now);
    free(field->next);
    free(field->above);
    free(field->first);
    free(field->pairs);
    free(field);
}

/* Chips of the nearest that do not overlap. */
static uint32_t reach(uint32_t chip, uint32_t stride)
{
    return stride < chip ? (chip + stride - 1) / stride : 1;
}

static int field_create(const struct smoothing_input *input, const struct classification *chips,
                        struct field **out, struct error *err)
{
    const struct grid_params *grid = &input->grid->params;
    const uint32_t rows = input->grid->rows, columns = input->grid->columns;
    const size_t n_values = (size_t)chips->n_chips * chips->n_classes;
    struct field *field = calloc(1, sizeof(*field));
    if (field == NULL)
        return error_set_nomem(err, "the smoothing of labels");
    uint32_t *fixed = calloc(chips->n_chips, sizeof(*fixed));
    const uint32_t block_rows = columns < BLOCK_CHIPS ? BLOCK_CHIPS / columns : 1;
    const uint32_t n_blocks = (rows + block_rows - 1) / block_rows;
    *field = (struct field){
        .rows = rows,
        .columns = columns,
        .n_classes = chips->n_classes,
        .reach_y = reach(grid->chip_height, grid->stride_y),
        .reach_x = reach(grid->chip_width, grid->stride_x),
        .block_rows = block_rows,
        .n_blocks = n_blocks,
        .chips = chips,
        .fixed = fixed,
        .now = calloc(n_values, sizeof(float)),
        .next = calloc(n_values, sizeof(float)),
        .above = calloc(n_values, sizeof(float)),
        .first = calloc(n_values, sizeof(float)),
        .pairs = calloc((size_t)n_blocks * chips->n_classes * chips->n_classes, sizeof(double))};
    if (fixed == NULL || field->now == NULL || field->next == NULL || field->above == NULL ||
        field->first == NULL || field->pairs == NULL) {
        field_clear(field);
        return error_set_nomem(err, "the smoothing of labels");
    }
    for (uint32_t i = 0; i < input->n_examples; i++)
        fixed[input->examples[i].chip] = input->examples[i].class_index + 1;
    *out = field;
    return 0;
}

static bool has_class(const struct field *field, uint64_t chip)
{
    return field->chips->labels[chip] < field->n_classes;
}

static void block_of(const struct field *field, uint32_t block, uint32_t *begin, uint32_t *end)
{
    const uint32_t left = field->rows - block * field->block_rows;
    *begin = block * field->block_rows;
    *end = *begin + (left < field->block_rows ? left : field->block_rows);
}

/* ---- sums over neighbours ---- */

static void add_row(float *sum, const float *row, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += row[i];
}

/* Of a block: each chip with those above and below it. */
static void sum_rows(void *context, uint32_t block, uint32_t slot)
{
    (void)slot;
    struct field *field = context;
    const size_t width = (size_t)field->columns * field->n_classes;
    uint32_t begin, end;
    block_of(field, block, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        float *sum = field->above + row * width;
        memcpy(sum, field->now + row * width, width * sizeof(*sum));
        if (row >= field->reach_y)
            add_row(sum, field->now + (row - field->reach_y) * width, width);
        if (row + field->reach_y < field->rows)
            add_row(sum, field->now + (row + field->reach_y) * width, width);
    }
    give_way();
}

/* N of one chip, from the sums over rows. */
static void sum_neighbours(const struct field *field, uint32_t row, uint32_t column, float *out)
{
    const uint32_t n = field->n_classes;
    const size_t at = ((size_t)row * field->columns + column) * n;
    for (uint32_t k = 0; k < n; k++)
        out[k] = field->above[at + k] - field->now[at + k];
    if (column >= field->reach_x)
        add_row(out, field->above + at - (size_t)field->reach_x * n, n);
    if (column + field->reach_x < field->columns)
        add_row(out, field->above + at + (size_t)field->reach_x * n, n);
}

/* ---- how classes lie beside each other ---- */

static void count_pairs(void *context, uint32_t block, uint32_t slot)
{
    (void)slot;
    struct field *field = context;
    const uint32_t n = field->n_classes;
    double *pairs = field->pairs + (size_t)block * n * n;
    uint32_t begin, end;
    block_of(field, block, &begin, &end);
    memset(pairs, 0, (size_t)n * n * sizeof(*pairs));
    for (uint32_t row = begin; row < end; row++) {
        for (uint32_t column = 0; column < field->columns; column++) {
            const float *y = field->now + ((size_t)row * field->columns + column) * n;
            float neighbours[CLASSIFIER_CLASSES_MAX];
            sum_neighbours(field, row, column, neighbours);
            for (uint32_t a = 0; a < n; a++) {
                for (uint32_t b = 0; b < n; b++)
                    pairs[a * n + b] += (double)(y[a] * neighbours[b]);
            }
        }
    }
}

/* The joint distribution of neighbours' classes, n_classes x n_classes, symmetric, and its
 * marginals; returns how many pairs there are, each once. */
static double learn_pairs(struct field *field, struct pool_lane *lane, double *joint,
                          double *marginals)
{
    const uint32_t n = field->n_classes;
    double total = 0.0;
    pool_share(lane, sum_rows, field, field->n_blocks);
    pool_share(lane, count_pairs, field, field->n_blocks);
    memset(joint, 0, (size_t)n * n * sizeof(*joint));
    for (uint32_t block = 0; block < field->n_blocks; block++) {
        for (size_t i = 0; i < (size_t)n * n; i++)
            joint[i] += fmax(field->pairs[(size_t)block * n * n + i], 0.0);
    }
    for (size_t i = 0; i < (size_t)n * n; i++)
        total += joint[i];
    for (uint32_t a = 0; a < n; a++) {
        marginals[a] = 0.0;
        for (uint32_t b = 0; b < n && total > 0.0; b++)
            marginals[a] += 0.5 * (joint[a * n + b] + joint[b * n + a]) / total;
    }
    for (size_t i = 0; i < (size_t)n * n && total > 0.0; i++)
        joint[i] /= total;
    return 0.5 * total;
}

/* The mutual information of neighbours as a share of the entropy of one; 0 where there is none. */
static double information_of(const double *joint, const double *marginals, uint32_t n)
{
    double information = 0.0, entropy = 0.0;
    for (uint32_t a = 0; a < n; a++) {
        if (marginals[a] > 0.0)
            entropy -= marginals[a] * log(marginals[a]);
        for (uint32_t b = 0; b < n; b++) {
            if (joint[a * n + b] > 0.0)
                information +=
                    joint[a * n + b] * log(joint[a * n + b] / (marginals[a] * marginals[b]));
        }
    }
    return entropy > 0.0 ? fmin(fmax(information / entropy, 0.0), 1.0) : 0.0;
}

/* C; 0 where one of two classes is nowhere. */
static void learn_affinity(struct field *field, struct pool_lane *lane)
{
    const uint32_t n = field->n_classes;
    double joint[CLASSIFIER_CLASSES_MAX * CLASSIFIER_CLASSES_MAX];
    double marginals[CLASSIFIER_CLASSES_MAX];
    const double n_pairs = learn_pairs(field, lane, joint, marginals);
    for (uint32_t a = 0; a < n; a++) {
        for (uint32_t b = 0; b < n; b++) {
            const double independent = marginals[a] * marginals[b];
            const double both = 0.5 * (joint[a * n + b] + joint[b * n + a]);
            const double found =
                (n_pairs * both + PSEUDO_PAIRS * independent) / (n_pairs + PSEUDO_PAIRS);
            field->affinity[a * n + b] =
                independent > 0.0 ? (float)(0.5 * log(found / independent)) : 0.0f;
        }
    }
}

/* ---- soft labels ---- */

/* Of a chip: its class if that is known, else the classifier's. */
static void set_hard(const struct field *field, uint64_t chip, float *y)
{
    memset(y, 0, field->n_classes * sizeof(*y));
    if (has_class(field, chip))
        y[field->fixed[chip] != 0 ? field->fixed[chip] - 1 : field->chips->labels[chip]] = 1.0f;
}

/* Labels of which the information is asked. */
static void set_hard_labels(struct field *field)
{
    for (uint64_t i = 0; i < field->chips->n_chips; i++)
        set_hard(field, i, field->now + i * field->n_classes);
}

/* softmax(u), and u itself but for what the classes have in common. */
static void set_soft_labels(struct field *field)
{
    const uint32_t n = field->n_classes;
    for (uint64_t i = 0; i < field->chips->n_chips; i++) {
        const float *given = field->chips->probabilities + i * n;
        float *y = field->now + i * n, *first = field->first + i * n;
        set_hard(field, i, y);
        if (!has_class(field, i) || field->fixed[i] != 0)
            continue;
        for (uint32_t k = 0; k < n; k++) {
            y[k] = given[k];
            first[k] = logf(fmaxf(given[k], FLT_MIN));
        }
    }
}

/* softmax(u + C N) */
static void expect(const struct field *field, const float *first, const float *neighbours,
                   float *out)
{
    const uint32_t n = field->n_classes;
    float largest = -INFINITY, sum = 0.0f;
    for (uint32_t a = 0; a < n; a++) {
        out[a] = first[a];
        for (uint32_t b = 0; b < n; b++)
            out[a] += field->affinity[a * n + b] * neighbours[b];
        largest = fmaxf(largest, out[a]);
    }
    for (uint32_t a = 0; a < n; a++)
        sum += out[a] = expf(out[a] - largest);
    for (uint32_t a = 0; a < n; a++)
        out[a] /= sum;
}

static void take_step(void *context, uint32_t block, uint32_t slot)
{
    (void)slot;
    struct field *field = context;
    const uint32_t n = field->n_classes;
    uint32_t begin, end;
    block_of(field, block, &begin, &end);
    for (uint32_t row = begin; row < end; row++) {
        for (uint32_t column = 0; column < field->columns; column++) {
            const uint64_t chip = (uint64_t)row * field->columns + column;
            const float *y = field->now + chip * n;
            float *next = field->next + chip * n;
            float neighbours[CLASSIFIER_CLASSES_MAX], expected[CLASSIFIER_CLASSES_MAX];
            if (!has_class(field, chip) || field->fixed[chip] != 0) {
                memcpy(next, y, n * sizeof(*next));
                continue;
            }
            sum_neighbours(field, row, column, neighbours);
            expect(field, field->first + chip * n, neighbours, expected);
            for (uint32_t k = 0; k < n; k++)
                next[k] = 0.5f * (y[k] + expected[k]);
        }
        give_way();
    }
}

static int iterate(struct field *field, const struct cancel *cancel, struct pool_lane *lane,
                   struct error *err)
{
    set_soft_labels(field);
    for (int estimate = 0; estimate < ESTIMATES; estimate++) {
        learn_affinity(field, lane);
        for (int step = 0; step < STEPS; step++) {
            if (cancel_is_asked(cancel))
                return error_set(err, ERROR_CANCELLED, "the smoothing of labels was called off");
            pool_share(lane, sum_rows, field, field->n_blocks);
            pool_share(lane, take_step, field, field->n_blocks);
            float *last = field->now;
            field->now = field->next;
            field->next = last;
        }
    }
    return 0;
}

/* ---- what becomes of them ---- */

static uint32_t most_probable(const float *y, uint32_t n)
{
    uint32_t label = 0;
    for (uint32_t k = 1; k < n; k++) {
        if (y[k] > y[label])
            label = k;
    }
    return label;
}

/* Of -cost / T the probabilities say the differences. */
static float cost_of(const struct classification *chips, uint64_t chip, uint32_t label)
{
    const float *given = chips->probabilities + chip * chips->n_classes;
    const float more =
        logf(fmaxf(given[chips->labels[chip]], FLT_MIN)) - logf(fmaxf(given[label], FLT_MIN));
    return fmaxf(chips->distances[chip] + (float)chips->temperature * more, 0.0f);
}

static uint64_t take_labels(const struct field *field, struct classification *chips)
{
    const uint32_t n = field->n_classes;
    uint64_t n_changed = 0;
    for (uint64_t i = 0; i < chips->n_chips; i++) {
        if (!has_class(field, i))
            continue;
        const float *y = field->now + i * n;
        const uint32_t label = most_probable(y, n);
        if (label != chips->labels[i]) {
            chips->distances[i] = cost_of(chips, i, label);
            chips->labels[i] = (uint16_t)label;
            n_changed++;
        }
        memcpy(chips->probabilities + i * n, y, n * sizeof(*y));
    }
    return n_changed;
}

int smoothing_apply(const struct smoothing_input *input, struct pool_lane *lane,
                    struct classification *classification, struct smoothing_outcome *out,
                    struct error *err)
{
    struct smoothing_outcome outcome = {.asked = input->smoothing != SMOOTHING_OFF};
    struct field *field = NULL;
    double joint[CLASSIFIER_CLASSES_MAX * CLASSIFIER_CLASSES_MAX];
    double marginals[CLASSIFIER_CLASSES_MAX];
    if (!outcome.asked) {
        *out = outcome;
        return 0;
    }
    int rc = field_create(input, classification, &field, err);
    if (rc < 0)
        return rc;
    set_hard_labels(field);
    learn_pairs(field, lane, joint, marginals);
    outcome.information = information_of(joint, marginals, field->n_classes);
    outcome.done =
        input->smoothing == SMOOTHING_ON || outcome.information > SMOOTHING_INFORMATION_MIN;
    if (outcome.done)
        rc = iterate(field, input->cancel, lane, err);
    if (rc == 0 && outcome.done)
        outcome.n_changed = take_labels(field, classification);
    field_clear(field);
    if (rc == 0)
        *out = outcome;
    return rc;
}
