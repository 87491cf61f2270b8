/* Cells come row by row. Picture rows between the centres of two rows of cells are made when the
 * second has come. Along a row the pixels between the centres of two columns are a run: they
 * share four cells, and if these have one label, which is the rule, all of them have it.
 */
#include "engine/fewshot/map/laid.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"

_Static_assert((uint8_t)LABEL_UNDECIDED == LAID_UNDECIDED &&
                   (uint8_t)LABEL_UNKNOWN == LAID_UNKNOWN &&
                   (uint8_t)LABEL_NOT_ANALYSED == LAID_NONE &&
                   (int)CLASSIFIER_CLASSES_MAX <= (int)LAID_UNDECIDED,
               "each label has a low byte of its own");

enum { CORNERS = 4 };

/* Of each pixel along one axis of the picture. */
struct places {
    uint32_t n;
    int64_t *own;    /* the cell that covers its centre; -1: none */
    uint32_t *first; /* the last cell whose centre is not behind it, or the first of all */
    float *weights;  /* of the cell behind `first`, 0 .. 1 */
};

/* Pixels begin .. end - 1 of a row of the picture that lie between the same two columns of cells.
 */
struct run {
    uint32_t begin, end;
    uint32_t first, next; /* the columns; the same before the first centre and behind the last */
    bool is_covered;      /* all of its pixels by cells */
};

/* A row of cells. */
struct cells {
    uint8_t *labels;
    float *probabilities; /* cells x n_used */
};

struct laying {
    const struct fine_source *source;
    struct fine_map map;
    struct places x, y;
    struct run *runs; /* of a row; owned */
    uint32_t n_runs;
    uint32_t first_class, n_used; /* the classes whose probabilities are kept */
    bool has_labels;              /* whether the pixels are labels, or probabilities */
    struct cells before, now;     /* two rows of cells, owned */
    uint32_t row;                 /* of `now` */
    uint32_t next;                /* row of the picture */
    uint8_t *pixels;              /* a row of the picture; owned */
    laid_take take;
    void *context;
    int rc;
    struct error *err;
};

/* ---- places ---- */

static void places_clear(struct places *places)
{
    free(places->own);
    free(places->first);
    free(places->weights);
}

/* Cells rise: one sweep finds them all. */
static void fill_places(const struct fine_axis *axis, uint32_t image_side, struct places *places)
{
    uint32_t own = 0, first = 0;
    for (uint32_t i = 0; i < places->n; i++) {
        const double at = (i + 0.5) * image_side / places->n;
        while (own + 1 < axis->n_cells && at >= fine_axis_begin(axis, own + 1))
            own++;
        while (first + 1 < axis->n_cells && at >= fine_axis_centre(axis, first + 1))
            first++;
        const bool covered = at >= fine_axis_begin(axis, own) && at < fine_axis_end(axis, own);
        const double centre = fine_axis_centre(axis, first);
        places->own[i] = covered ? (int64_t)own : -1;
        places->first[i] = first;
        if (at > centre && first + 1 < axis->n_cells)
            places->weights[i] =
                (float)((at - centre) / (fine_axis_centre(axis, first + 1) - centre));
    }
}

static int places_init(struct places *places, const struct fine_axis *axis, uint32_t image_side,
                       uint32_t n, struct error *err)
{
    places->n = n;
    places->own = calloc(n, sizeof(*places->own));
    places->first = calloc(n, sizeof(*places->first));
    places->weights = calloc(n, sizeof(*places->weights));
    if (places->own == NULL || places->first == NULL || places->weights == NULL)
        return error_set_nomem(err, "a map");
    fill_places(axis, image_side, places);
    return 0;
}

/* The cell behind `first`, if it weighs anything. */
static uint32_t second(const struct places *places, uint32_t pixel)
{
    const uint32_t first = places->first[pixel];
    return places->weights[pixel] > 0.0f ? first + 1 : first;
}

static int find_runs(struct laying *laying, struct error *err)
{
    const struct places *x = &laying->x;
    laying->runs = calloc(x->n, sizeof(*laying->runs));
    if (laying->runs == NULL)
        return error_set_nomem(err, "a map");
    for (uint32_t at = 0, end; at < x->n; at = end) {
        struct run run = {at, at, x->first[at], second(x, at), true};
        for (end = at; end < x->n && x->first[end] == run.first && second(x, end) == run.next;
             end++)
            run.is_covered = run.is_covered && x->own[end] >= 0;
        run.end = end;
        laying->runs[laying->n_runs++] = run;
    }
    return 0;
}

/* ---- a stretch of pixels ---- */

/* A run in a row of the picture, with the four cells around it: upper left, upper right, lower
 * left, lower right. */
struct stretch {
    uint32_t begin, end;
    uint8_t labels[CORNERS];
    const float *probabilities[CORNERS];
    float down;                /* weight of the lower cells */
    const uint8_t *own_labels; /* of the row of cells that covers the row of pixels */
};

static bool is_class(uint8_t label)
{
    return label < CLASSIFIER_CLASSES_MAX;
}

/* The classes of the corners, rising. */
static uint32_t find_candidates(const struct stretch *stretch, uint8_t candidates[CORNERS])
{
    uint32_t n = 0;
    for (int i = 0; i < CORNERS; i++) {
        const uint8_t label = stretch->labels[i];
        uint32_t at = n;
        bool is_known = !is_class(label);
        for (uint32_t k = 0; k < n; k++)
            is_known = is_known || candidates[k] == label;
        if (is_known)
            continue;
        for (; at > 0 && candidates[at - 1] > label; at--)
            candidates[at] = candidates[at - 1];
        candidates[at] = label;
        n++;
    }
    return n;
}

/* What a corner says for a candidate: its probability; but where something else gave the corner its
 * label, that one and the most probable candidate change places. */
static float vote(const struct stretch *stretch, int corner, const uint8_t *candidates, uint32_t n,
                  uint8_t candidate)
{
    const uint8_t own = stretch->labels[corner];
    if (!is_class(own))
        return 0.0f;
    const float *probabilities = stretch->probabilities[corner];
    uint8_t highest = own;
    for (uint32_t k = 0; k < n; k++) {
        if (probabilities[candidates[k]] > probabilities[highest])
            highest = candidates[k];
    }
    return probabilities[candidate == own ? highest : candidate == highest ? own : candidate];
}

static void choose_classes(const struct laying *laying, const struct stretch *stretch)
{
    uint8_t candidates[CORNERS];
    float left[CORNERS], right[CORNERS];
    const uint32_t n = find_candidates(stretch, candidates);
    for (uint32_t k = 0; k < n; k++) {
        float votes[CORNERS];
        for (int i = 0; i < CORNERS; i++)
            votes[i] = vote(stretch, i, candidates, n, candidates[k]);
        left[k] = votes[0] + (votes[2] - votes[0]) * stretch->down;
        right[k] = votes[1] + (votes[3] - votes[1]) * stretch->down;
    }
    for (uint32_t x = stretch->begin; x < stretch->end; x++) {
        const float weight = laying->x.weights[x];
        float best = -1.0f;
        uint8_t label = LAID_NONE;
        for (uint32_t k = 0; k < n; k++) {
            const float value = left[k] + (right[k] - left[k]) * weight;
            label = value > best ? candidates[k] : label;
            best = value > best ? value : best;
        }
        laying->pixels[x] = label;
    }
}

/* Pixels whose own cell has no class have its label. */
static void keep_own(const struct laying *laying, const struct stretch *stretch)
{
    for (uint32_t x = stretch->begin; x < stretch->end; x++) {
        const int64_t own = laying->x.own[x];
        if (own >= 0 && !is_class(stretch->own_labels[own]))
            laying->pixels[x] = stretch->own_labels[own];
    }
}

static void lay_labels(const struct laying *laying, const struct stretch *stretch)
{
    const uint8_t *labels = stretch->labels;
    if (labels[0] == labels[1] && labels[0] == labels[2] && labels[0] == labels[3]) {
        memset(laying->pixels + stretch->begin, labels[0], stretch->end - stretch->begin);
        return;
    }
    choose_classes(laying, stretch);
    keep_own(laying, stretch);
}

static void lay_probabilities(const struct laying *laying, const struct stretch *stretch)
{
    const float down = stretch->down;
    float values[CORNERS], shares[CORNERS];
    for (int i = 0; i < CORNERS; i++) {
        shares[i] = stretch->labels[i] == LAID_NONE ? 0.0f : 1.0f;
        values[i] = shares[i] * fminf(fmaxf(stretch->probabilities[i][0], 0.0f), 1.0f);
    }
    const float left = values[0] + (values[2] - values[0]) * down;
    const float right = values[1] + (values[3] - values[1]) * down;
    const float left_share = shares[0] + (shares[2] - shares[0]) * down;
    const float right_share = shares[1] + (shares[3] - shares[1]) * down;
    const bool is_whole = left_share == 1.0f && right_share == 1.0f;
    for (uint32_t x = stretch->begin; x < stretch->end; x++) {
        const float weight = laying->x.weights[x];
        float value = left + (right - left) * weight;
        if (!is_whole) {
            const int64_t own = laying->x.own[x];
            const float share = left_share + (right_share - left_share) * weight;
            const bool has_value = own >= 0 && stretch->own_labels[own] != LAID_NONE && share > 0;
            value = has_value ? value / share : 0.0f;
        }
        laying->pixels[x] = (uint8_t)(value * 255.0f + 0.5f);
    }
}

/* ---- rows ---- */

static const struct cells *cells_of(const struct laying *laying, uint32_t row)
{
    return row == laying->row ? &laying->now : &laying->before;
}

/* Pixels of a row that is covered, of which no cell covers the column. */
static void lay_uncovered(const struct laying *laying, const struct run *run)
{
    for (uint32_t x = run->begin; x < run->end; x++) {
        if (laying->x.own[x] < 0)
            laying->pixels[x] = laying->has_labels ? LAID_NONE : 0;
    }
}

static void lay_runs(const struct laying *laying, uint32_t y)
{
    const struct cells *upper = cells_of(laying, laying->y.first[y]);
    const struct cells *lower = cells_of(laying, second(&laying->y, y));
    const uint8_t *own_labels = cells_of(laying, (uint32_t)laying->y.own[y])->labels;
    for (uint32_t i = 0; i < laying->n_runs; i++) {
        const struct run *run = &laying->runs[i];
        const uint32_t first = run->first, next = run->next, n_used = laying->n_used;
        const struct stretch stretch = {
            .begin = run->begin,
            .end = run->end,
            .labels = {upper->labels[first], upper->labels[next], lower->labels[first],
                       lower->labels[next]},
            .probabilities = {upper->probabilities + (size_t)first * n_used,
                              upper->probabilities + (size_t)next * n_used,
                              lower->probabilities + (size_t)first * n_used,
                              lower->probabilities + (size_t)next * n_used},
            .down = laying->y.weights[y],
            .own_labels = own_labels,
        };
        if (laying->has_labels)
            lay_labels(laying, &stretch);
        else
            lay_probabilities(laying, &stretch);
        if (!run->is_covered)
            lay_uncovered(laying, run);
    }
}

static void lay_row(const struct laying *laying, uint32_t y)
{
    if (laying->y.own[y] < 0)
        memset(laying->pixels, laying->has_labels ? LAID_NONE : 0, laying->x.n);
    else
        lay_runs(laying, y);
}

/* Whether the rows of cells that a row of the picture lies between have come. */
static bool is_due(const struct laying *laying)
{
    return laying->next < laying->y.n && second(&laying->y, laying->next) <= laying->row;
}

static void lay_due_rows(struct laying *laying)
{
    for (; laying->rc == 0 && is_due(laying); laying->next++) {
        if (cancel_is_asked(laying->source->cancel)) {
            laying->rc = error_set(laying->err, ERROR_CANCELLED, "a map was no longer wanted");
            return;
        }
        lay_row(laying, laying->next);
        laying->rc = laying->take(laying->context, laying->next, laying->pixels, laying->err);
    }
}

static void take_cells(void *context, uint32_t row, const uint16_t *labels,
                       const float *probabilities)
{
    struct laying *laying = context;
    const struct cells before = laying->before;
    const uint32_t n_classes = laying->source->n_classes;
    if (laying->rc != 0)
        return;
    laying->before = laying->now;
    laying->now = before;
    laying->row = row;
    for (uint32_t i = 0; i < laying->map.x.n_cells; i++) {
        laying->now.labels[i] = (uint8_t)labels[i];
        memcpy(laying->now.probabilities + (size_t)i * laying->n_used,
               probabilities + (size_t)i * n_classes + laying->first_class,
               laying->n_used * sizeof(*probabilities));
    }
    lay_due_rows(laying);
}

/* ---- visits ---- */

static int cells_init(struct cells *cells, size_t n, uint32_t n_used, struct error *err)
{
    cells->labels = calloc(n, 1);
    cells->probabilities = calloc(n * n_used, sizeof(*cells->probabilities));
    return cells->labels != NULL && cells->probabilities != NULL ? 0
                                                                 : error_set_nomem(err, "a map");
}

static void cells_clear(struct cells *cells)
{
    free(cells->labels);
    free(cells->probabilities);
}

static int prepare(struct laying *laying, uint32_t width, uint32_t height, struct error *err)
{
    const struct grid *grid = laying->source->grid;
    const struct fine_map *map = &laying->map;
    int rc = places_init(&laying->x, &map->x, grid->image_width, width, err);
    if (rc == 0)
        rc = places_init(&laying->y, &map->y, grid->image_height, height, err);
    if (rc == 0)
        rc = find_runs(laying, err);
    if (rc == 0)
        rc = cells_init(&laying->before, map->x.n_cells, laying->n_used, err);
    if (rc == 0)
        rc = cells_init(&laying->now, map->x.n_cells, laying->n_used, err);
    laying->pixels = malloc(width);
    return rc == 0 && laying->pixels == NULL ? error_set_nomem(err, "a map") : rc;
}

static int visit(struct laying *laying, uint32_t width, uint32_t height, struct error *err)
{
    if (width == 0 || height == 0)
        return error_set(err, ERROR_INVALID, "a map of %u x %u pixels: each is at least 1", width,
                         height);
    fine_map_plan(laying->source->grid, &laying->map);
    laying->err = err;
    int rc = prepare(laying, width, height, err);
    if (rc == 0)
        rc = fine_map_visit_cells(laying->source, take_cells, laying, err);
    places_clear(&laying->x);
    places_clear(&laying->y);
    cells_clear(&laying->before);
    cells_clear(&laying->now);
    free(laying->runs);
    free(laying->pixels);
    return rc == 0 ? laying->rc : rc;
}

int laid_visit_labels(const struct fine_source *source, uint32_t width, uint32_t height,
                      laid_take take, void *context, struct error *err)
{
    struct laying laying = {.source = source,
                            .n_used = source->n_classes,
                            .has_labels = true,
                            .take = take,
                            .context = context};
    return visit(&laying, width, height, err);
}

int laid_visit_probability(const struct fine_source *source, uint32_t class_index, uint32_t width,
                           uint32_t height, laid_take take, void *context, struct error *err)
{
    if (class_index >= source->n_classes)
        return error_set(err, ERROR_INVALID, "class: %u, the last one is %u", class_index,
                         source->n_classes - 1);
    struct laying laying = {.source = source,
                            .first_class = class_index,
                            .n_used = 1,
                            .take = take,
                            .context = context};
    return visit(&laying, width, height, err);
}
