/* Chips of large images are read one by one, so candidates and sample are bounded: the farthest
 * chips of each class are kept in a heap while labels are looked through, and the sample has one
 * chip of each of equal stretches. Vectors that many are compared with are columns of a table: one
 * component of all of them lies together, and their sums run side by side.
 */
#include "engine/fewshot/help/suggestions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/space.h"

enum {
    COLUMNS = 128, /* candidates of an image; chips of the sample; examples that are looked at */
    TILE = 64,     /* of columns, whose sums a processor holds at once */
    NEIGHBOURS = 5,
};

/* Squared distances below this share of a vector's squared length are what rounding leaves. */
static const float ROUNDING = 1e-5f;

struct candidate {
    uint64_t chip;
    float cost;    /* distance to the class */
    float nearest; /* squared distance to an example */
    float cosine;
    bool is_taken;
};

/* ---- vectors side by side ---- */

struct columns {
    float *values; /* dimension x COLUMNS; owned */
    size_t dimension;
    float squares[COLUMNS]; /* of their lengths */
    uint32_t n;
};

static int columns_init(struct columns *out, size_t dimension, struct error *err)
{
    *out = (struct columns){.values = calloc(dimension * COLUMNS, sizeof(float)),
                            .dimension = dimension};
    return out->values == NULL ? error_set_nomem(err, "the suggestions") : 0;
}

/* Components are float here, which changes a score by no more than rounding. */
static void columns_add(struct columns *columns, const double *vector)
{
    double square = 0.0;
    for (size_t d = 0; d < columns->dimension; d++) {
        columns->values[d * COLUMNS + columns->n] = (float)vector[d];
        square += vector[d] * vector[d];
    }
    columns->squares[columns->n++] = (float)square;
}

static void columns_get(const struct columns *columns, uint32_t column, double *vector)
{
    for (size_t d = 0; d < columns->dimension; d++)
        vector[d] = (double)columns->values[d * COLUMNS + column];
}

/* Products of a vector with the columns, and with what fills the last tile. */
VECTOR_CLONES static void columns_multiply(const struct columns *columns, const double *vector,
                                           float *restrict out)
{
    for (size_t first = 0; first < columns->n; first += TILE) {
        const float *values = columns->values + first;
        float sums[TILE] = {0};
        for (size_t d = 0; d < columns->dimension; d++, values += COLUMNS) {
            const float factor = (float)vector[d];
            for (size_t k = 0; k < TILE; k++)
                sums[k] += factor * values[k];
        }
        memcpy(out + first, sums, sizeof(sums));
    }
}

/* ---- what candidates are compared with ---- */

struct making {
    const struct space *space;
    const struct embeddings *chips;
    float *embedding; /* of one chip */
    double *vector;   /* the same, transformed */
    struct columns sample;
    uint64_t sampled[COLUMNS]; /* which chips these are */
    struct columns examples;
    struct columns candidates; /* of one class */
};

static void making_clear(struct making *making)
{
    free(making->embedding);
    free(making->vector);
    free(making->sample.values);
    free(making->examples.values);
    free(making->candidates.values);
}

/* The chip's transformed vector, in making->vector. */
static int take_chip(struct making *making, uint64_t chip, struct error *err)
{
    int rc = embeddings_get(making->chips, chip, making->embedding, err);
    if (rc == 0)
        transform_apply(&making->space->transform, making->embedding, making->vector);
    return rc;
}

/* The first chip of each of COLUMNS stretches that are as long, or all, if it is analysed. */
static int take_sample(struct making *making, struct error *err)
{
    const uint64_t n_chips = making->chips->n_chips;
    const uint64_t n = n_chips < COLUMNS ? n_chips : COLUMNS;
    int rc = 0;
    for (uint64_t i = 0; i < n && rc == 0; i++) {
        const uint64_t chip = n_chips * i / n;
        if (making->chips->skip != NULL && making->chips->skip[chip] != 0)
            continue;
        rc = take_chip(making, chip, err);
        making->sampled[making->sample.n] = chip;
        columns_add(&making->sample, making->vector);
    }
    return rc;
}

/* All, or COLUMNS of them from all classes. */
static void take_examples(struct making *making)
{
    const struct examples *examples = &making->space->examples;
    const uint32_t n = examples->n < COLUMNS ? examples->n : COLUMNS;
    for (uint32_t i = 0; i < n; i++)
        columns_add(&making->examples,
                    examples_vector(examples, (uint32_t)((uint64_t)examples->n * i / n)));
}

static int making_init(struct making *making, const struct space *space,
                       const struct embeddings *chips, struct error *err)
{
    const size_t dimension = chips->dimension;
    making->space = space;
    making->chips = chips;
    making->embedding = calloc(dimension, sizeof(float));
    making->vector = calloc(dimension, sizeof(double));
    int rc = making->embedding == NULL || making->vector == NULL
                 ? error_set_nomem(err, "the suggestions")
                 : 0;
    if (rc == 0)
        rc = columns_init(&making->sample, dimension, err);
    if (rc == 0)
        rc = columns_init(&making->examples, dimension, err);
    if (rc == 0)
        rc = columns_init(&making->candidates, dimension, err);
    if (rc == 0)
        rc = take_sample(making, err);
    if (rc == 0)
        take_examples(making);
    return rc;
}

/* ---- candidates ---- */

/* Whether `a` is dropped before `b`: the nearer one, and the later of equal ones. */
static bool is_worse(const struct candidate *a, const struct candidate *b)
{
    return a->cost < b->cost || (a->cost == b->cost && a->chip > b->chip);
}

static void swap(struct candidate *a, struct candidate *b)
{
    const struct candidate moved = *a;
    *a = *b;
    *b = moved;
}

static void sift_down(struct candidate *heap, uint32_t n)
{
    for (uint32_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_worse(&heap[child + 1], &heap[child]))
            child++;
        if (!is_worse(&heap[child], &heap[i]))
            return;
        swap(&heap[child], &heap[i]);
    }
}

static void sift_up(struct candidate *heap, uint32_t i)
{
    for (; i > 0 && is_worse(&heap[i], &heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&heap[i], &heap[(i - 1) / 2]);
}

/* The `n_max` farthest chips of each class: heaps one after the other, the worst first in each. */
static void find_candidates(const struct classification *classification, uint32_t n_max,
                            struct candidate *heaps, uint32_t *counts)
{
    for (uint64_t i = 0; i < classification->n_chips; i++) {
        const uint16_t label = classification->labels[i];
        if (label >= classification->n_classes)
            continue;
        struct candidate *heap = heaps + (size_t)label * n_max;
        const struct candidate candidate = {.chip = i, .cost = classification->distances[i]};
        if (counts[label] < n_max) {
            heap[counts[label]] = candidate;
            sift_up(heap, counts[label]++);
        } else if (is_worse(&heap[0], &candidate)) {
            heap[0] = candidate;
            sift_down(heap, n_max);
        }
    }
}

/* ---- scores ---- */

static float squared_distance(float product, float square_a, float square_b)
{
    return fmaxf(square_a + square_b - 2.0f * product, 0.0f);
}

static float distance_to_examples(const struct making *making, float square)
{
    const struct columns *examples = &making->examples;
    float dots[COLUMNS], nearest = INFINITY;
    columns_multiply(examples, making->vector, dots);
    for (uint32_t i = 0; i < examples->n; i++)
        nearest = fminf(nearest, squared_distance(dots[i], square, examples->squares[i]));
    return nearest;
}

/* Puts a number among the NEIGHBOURS largest, of which there are `n`. */
static uint32_t add_largest(float *largest, uint32_t n, float value)
{
    uint32_t at = n < NEIGHBOURS ? n : NEIGHBOURS;
    for (; at > 0 && value > largest[at - 1]; at--) {
        if (at < NEIGHBOURS)
            largest[at] = largest[at - 1];
    }
    if (at < NEIGHBOURS)
        largest[at] = value;
    return n < NEIGHBOURS ? n + 1 : n;
}

/* 0 where the sample has no other chip. */
static float cosine_to_neighbours(const struct making *making, uint64_t chip, float square)
{
    const struct columns *sample = &making->sample;
    float dots[COLUMNS], largest[NEIGHBOURS], sum = 0.0f;
    uint32_t n = 0;
    columns_multiply(sample, making->vector, dots);
    for (uint32_t i = 0; i < sample->n; i++) {
        const float lengths = sqrtf(square * sample->squares[i]);
        if (making->sampled[i] != chip)
            n = add_largest(largest, n, lengths > 0.0f ? dots[i] / lengths : 0.0f);
    }
    for (uint32_t i = 0; i < n; i++)
        sum += largest[i];
    return n > 0 ? sum / (float)n : 0.0f;
}

static int measure(struct making *making, struct candidate *candidates, uint32_t n,
                   struct error *err)
{
    int rc = 0;
    making->candidates.n = 0;
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        rc = take_chip(making, candidates[i].chip, err);
        if (rc < 0)
            break;
        columns_add(&making->candidates, making->vector);
        const float square = making->candidates.squares[i];
        candidates[i].nearest = distance_to_examples(making, square);
        candidates[i].cosine = cosine_to_neighbours(making, candidates[i].chip, square);
    }
    return rc;
}

/* The cosines' range; where they are all alike they weigh the same. */
static void find_range(const struct candidate *candidates, uint32_t n, float *low, float *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        *low = fminf(*low, candidates[i].cosine);
        *high = fmaxf(*high, candidates[i].cosine);
    }
}

static float score_of(const struct candidate *candidate, float low, float high)
{
    return candidate->nearest * (high > low ? (candidate->cosine - low) / (high - low) : 1.0f);
}

/* Moves the distances to what was just suggested. */
static void count_as_example(struct making *making, struct candidate *candidates, uint32_t taken)
{
    const struct columns *columns = &making->candidates;
    float dots[COLUMNS];
    columns_get(columns, taken, making->vector);
    columns_multiply(columns, making->vector, dots);
    candidates[taken].is_taken = true;
    for (uint32_t i = 0; i < columns->n; i++)
        candidates[i].nearest =
            fminf(candidates[i].nearest,
                  squared_distance(dots[i], columns->squares[taken], columns->squares[i]));
}

/* The best of one class, at most `n_max`; a chip that is an example, or just like one, is none. */
static void choose(struct making *making, struct candidate *candidates, uint32_t class_index,
                   uint32_t n_max, struct suggestions *out)
{
    const uint32_t n = making->candidates.n;
    float low, high, limit = INFINITY;
    find_range(candidates, n, &low, &high);
    for (uint32_t chosen = 0; chosen < n_max; chosen++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++) {
            const float score = score_of(&candidates[i], low, high);
            if (!candidates[i].is_taken &&
                candidates[i].nearest > ROUNDING * making->candidates.squares[i] &&
                (best == n || score > score_of(&candidates[best], low, high)))
                best = i;
        }
        if (best == n)
            return;
        limit = fminf(limit, score_of(&candidates[best], low, high));
        out->items[out->n++] = (struct suggestion){.chip = candidates[best].chip,
                                                   .class_index = class_index,
                                                   .distance = candidates[best].nearest,
                                                   .cosine = candidates[best].cosine,
                                                   .score = limit};
        count_as_example(making, candidates, best);
    }
}

static int compare_chips(const void *a, const void *b)
{
    const struct candidate *p = a, *q = b;
    return (p->chip > q->chip) - (p->chip < q->chip);
}

int suggestions_make(const struct space *space, const struct classification *classification,
                     const struct embeddings *chips, struct suggestions *out, struct error *err)
{
    const uint32_t n_classes = classification->n_classes;
    const uint32_t n_candidates = COLUMNS / n_classes, n_max = SUGGESTIONS_MAX / n_classes;
    uint32_t counts[CLASSIFIER_CLASSES_MAX] = {0};
    struct candidate heaps[COLUMNS];
    struct suggestions suggestions = {.items = calloc(SUGGESTIONS_MAX, sizeof(struct suggestion))};
    struct making making = {0};
    int rc = suggestions.items == NULL ? error_set_nomem(err, "the suggestions")
                                       : making_init(&making, space, chips, err);
    if (rc == 0)
        find_candidates(classification, n_candidates, heaps, counts);
    for (uint32_t k = 0; k < n_classes && rc == 0; k++) {
        struct candidate *candidates = heaps + (size_t)k * n_candidates;
        /* Of equal ones the first chip is taken. */
        qsort(candidates, counts[k], sizeof(candidates[0]), compare_chips);
        rc = measure(&making, candidates, counts[k], err);
        if (rc == 0)
            choose(&making, candidates, k, n_max, &suggestions);
    }
    making_clear(&making);
    if (rc < 0)
        suggestions_clear(&suggestions);
    else
        *out = suggestions;
    return rc;
}

void suggestions_clear(struct suggestions *suggestions)
{
    free(suggestions->items);
    *suggestions = (struct suggestions){0};
}

uint32_t suggestions_next_class(const uint32_t *n_examples, const uint32_t *n_left,
                                uint32_t n_classes)
{
    uint32_t next = n_classes;
    for (uint32_t k = 0; k < n_classes; k++) {
        if (n_left[k] > 0 && (next == n_classes || n_examples[k] < n_examples[next]))
            next = k;
    }
    return next;
}
