/* Sums over rectangles of windows, one axis after the other. `sums` holds, for each column of
 * windows, the sum over the rows that cover the present row of cells. From one row of cells to the
 * next it takes in rows of windows and gives up others, and along the row the sum over columns
 * slides likewise: each window is added and taken away once and each cell costs two columns,
 * however many windows cover it. In floating point a sum that slides would drift; in whole numbers
 * it is exact.
 *
 * A cell has at most (CHIP_SIDE_MAX + 1)^2 windows, with a stride of 1 and a last one that was
 * shifted: sums stay below 2^55.
 */
#include "engine/fewshot/map/fine_map.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/give_way.h"

enum { FIXED_ONE = 1 << 30 };

/* ---- geometry ---- */

bool fine_axis_is_fine(const struct fine_axis *axis)
{
    return axis->step < axis->chip;
}

uint32_t fine_axis_cell_size(const struct fine_axis *axis)
{
    return fine_axis_is_fine(axis) ? axis->step : axis->chip;
}

static uint32_t window_begin(const struct fine_axis *axis, uint32_t window)
{
    const uint64_t regular = axis->origin + (uint64_t)window * axis->step;
    const uint32_t last = axis->end - axis->chip;
    return regular < last ? (uint32_t)regular : last;
}

/* Where the pixels of window `window` begin that are not those of the one before it. The middle
 * between two centres is half of `twice`, the centre of pixel i is i + 1 / 2. */
static uint32_t own_begin(const struct fine_axis *axis, uint32_t window)
{
    const uint32_t begin = window_begin(axis, window);
    if (window == 0)
        return begin;
    const uint32_t before = window_begin(axis, window - 1);
    const uint64_t twice = (uint64_t)before + begin + axis->chip;
    return begin < before + axis->chip ? (uint32_t)((twice + 1) / 2) : begin;
}

uint32_t fine_axis_begin(const struct fine_axis *axis, uint32_t cell)
{
    assert(cell < axis->n_cells);
    return fine_axis_is_fine(axis) ? axis->origin + cell * axis->step : own_begin(axis, cell);
}

static uint32_t smaller(uint64_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

uint32_t fine_axis_end(const struct fine_axis *axis, uint32_t cell)
{
    assert(cell < axis->n_cells);
    if (fine_axis_is_fine(axis))
        return smaller((uint64_t)axis->origin + (cell + UINT64_C(1)) * axis->step, axis->end);
    const uint32_t end = window_begin(axis, cell) + axis->chip;
    return cell + 1 < axis->n_cells ? smaller(own_begin(axis, cell + 1), end) : end;
}

double fine_axis_centre(const struct fine_axis *axis, uint32_t cell)
{
    if (fine_axis_is_fine(axis))
        return 0.5 * ((double)fine_axis_begin(axis, cell) + fine_axis_end(axis, cell));
    return window_begin(axis, cell) + 0.5 * axis->chip;
}

static struct fine_axis plan_axis(uint32_t origin, uint32_t step, uint32_t chip, uint32_t n_windows,
                                  uint32_t last_begin)
{
    struct fine_axis axis = {.n_cells = n_windows,
                             .origin = origin,
                             .step = step,
                             .end = last_begin + chip,
                             .chip = chip,
                             .n_windows = n_windows};
    if (fine_axis_is_fine(&axis))
        axis.n_cells = (axis.end - origin - 1) / step + 1;
    return axis;
}

void fine_map_plan(const struct grid *grid, struct fine_map *out)
{
    const struct grid_params *params = &grid->params;
    const struct chip_rect last = grid_chip(grid, grid_n_chips(grid) - 1);
    out->x =
        plan_axis(params->offset_x, params->stride_x, params->chip_width, grid->columns, last.x);
    out->y = plan_axis(params->offset_y, params->stride_y, params->chip_height, grid->rows, last.y);
}

uint64_t fine_map_n_cells(const struct fine_map *map)
{
    return (uint64_t)map->y.n_cells * map->x.n_cells;
}

static uint64_t count_pixels(const struct fine_axis *axis)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < axis->n_cells; i++)
        n += fine_axis_end(axis, i) - fine_axis_begin(axis, i);
    return n;
}

uint64_t fine_map_n_pixels(const struct fine_map *map)
{
    return count_pixels(&map->x) * count_pixels(&map->y);
}

/* Windows first .. end - 1. */
struct span {
    uint32_t first, end;
};

/* The windows that cover cell `cell`, from those of the cell before it ({0, 0} for the first). */
static struct span next_windows(const struct fine_axis *axis, uint32_t cell, struct span span)
{
    if (!fine_axis_is_fine(axis))
        return (struct span){cell, cell + 1};
    const uint64_t twice_centre = (uint64_t)fine_axis_begin(axis, cell) + fine_axis_end(axis, cell);
    while (2 * ((uint64_t)window_begin(axis, span.first) + axis->chip) <= twice_centre)
        span.first++;
    while (span.end < axis->n_windows && 2 * (uint64_t)window_begin(axis, span.end) <= twice_centre)
        span.end++;
    assert(span.first < span.end);
    return span;
}

/* ---- sums ---- */

/* Of windows: how many were analysed, how many of those have no class. */
struct tally {
    uint32_t n_analysed, n_unknown, n_undecided;
};

struct scan {
    const struct fine_source *source;
    struct fine_map map;
    uint32_t first_class, n_used;         /* the classes that are summed up */
    struct span rows;                     /* of windows that are in the sums */
    int64_t *sums;                        /* grid columns x n_used; owned */
    struct tally *tallies;                /* grid columns; owned */
    int64_t cell[CLASSIFIER_CLASSES_MAX]; /* n_used: the sums over a cell */
    struct tally cell_tally;
};

static void scan_clear(struct scan *scan)
{
    free(scan->sums);
    free(scan->tallies);
}

static int scan_init(struct scan *scan, const struct fine_source *source, uint32_t first_class,
                     uint32_t n_used, struct error *err)
{
    const size_t columns = source->grid->columns;
    *scan = (struct scan){.source = source, .first_class = first_class, .n_used = n_used};
    fine_map_plan(source->grid, &scan->map);
    scan->sums = calloc(columns * n_used, sizeof(*scan->sums));
    scan->tallies = calloc(columns, sizeof(*scan->tallies));
    if (scan->sums != NULL && scan->tallies != NULL)
        return 0;
    scan_clear(scan);
    return error_set_nomem(err, "a map");
}

/* Whatever was stored: NaN is 0 too. */
static int64_t to_fixed(float probability)
{
    if (!(probability > 0.0f))
        return 0;
    return probability < 1.0f ? (int64_t)(int32_t)(probability * (float)FIXED_ONE) : FIXED_ONE;
}

/* Adds a row of windows to the sums, or takes it away: `sign` is 1 or -1. */
static void scan_row(struct scan *scan, uint32_t row, int sign)
{
    const struct fine_source *source = scan->source;
    const uint32_t columns = source->grid->columns, n_used = scan->n_used;
    const uint64_t first = (uint64_t)row * columns;
    for (uint32_t column = 0; column < columns; column++) {
        const uint16_t label = source->labels[first + column];
        if (label == LABEL_NOT_ANALYSED)
            continue;
        const float *probabilities =
            source->probabilities + (first + column) * source->n_classes + scan->first_class;
        int64_t *sums = scan->sums + (size_t)column * n_used;
        for (uint32_t k = 0; k < n_used; k++)
            sums[k] += sign * to_fixed(probabilities[k]);
        scan->tallies[column].n_analysed += (uint32_t)sign;
        scan->tallies[column].n_unknown += label == LABEL_UNKNOWN ? (uint32_t)sign : 0;
        scan->tallies[column].n_undecided += label == LABEL_UNDECIDED ? (uint32_t)sign : 0;
    }
}

/* Adds a column to the cell, or takes it away. */
static void scan_column(struct scan *scan, uint32_t column, int sign)
{
    const int64_t *sums = scan->sums + (size_t)column * scan->n_used;
    const struct tally *tally = &scan->tallies[column];
    for (uint32_t k = 0; k < scan->n_used; k++)
        scan->cell[k] += sign * sums[k];
    scan->cell_tally.n_analysed += (uint32_t)sign * tally->n_analysed;
    scan->cell_tally.n_unknown += (uint32_t)sign * tally->n_unknown;
    scan->cell_tally.n_undecided += (uint32_t)sign * tally->n_undecided;
}

static uint16_t cell_label(const struct scan *scan)
{
    const struct tally *tally = &scan->cell_tally;
    uint32_t best = 0;
    if (tally->n_analysed == 0)
        return LABEL_NOT_ANALYSED;
    if (tally->n_unknown > tally->n_analysed / 2)
        return LABEL_UNKNOWN;
    if (tally->n_undecided > tally->n_analysed / 2)
        return LABEL_UNDECIDED;
    for (uint32_t k = 1; k < scan->n_used; k++) {
        if (scan->cell[k] > scan->cell[best])
            best = k;
    }
    return (uint16_t)(scan->first_class + best);
}

/* Of the classes that are summed up. */
static void cell_probabilities(const struct scan *scan, float *out)
{
    const double whole = (double)scan->cell_tally.n_analysed * FIXED_ONE;
    for (uint32_t k = 0; k < scan->n_used; k++)
        out[k] = whole > 0 ? (float)((double)scan->cell[k] / whole) : 0.0f;
}

/* The columns of windows leave and enter the cell as it moves along a row. */
static struct span scan_move(struct scan *scan, uint32_t cell, struct span columns)
{
    const struct span next = next_windows(&scan->map.x, cell, columns);
    for (uint32_t column = columns.end; column < next.end; column++)
        scan_column(scan, column, 1);
    for (uint32_t column = columns.first; column < next.first; column++)
        scan_column(scan, column, -1);
    return next;
}

/* One of the two may be NULL; each has room for a row of cells. */
static void scan_cells(struct scan *scan, uint16_t *labels, float *probabilities)
{
    struct span columns = {0, 0};
    for (uint32_t k = 0; k < scan->n_used; k++)
        scan->cell[k] = 0;
    scan->cell_tally = (struct tally){0};
    for (uint32_t i = 0; i < scan->map.x.n_cells; i++) {
        columns = scan_move(scan, i, columns);
        if (labels != NULL)
            labels[i] = cell_label(scan);
        if (probabilities != NULL)
            cell_probabilities(scan, probabilities + (size_t)i * scan->n_used);
    }
}

/* The sums of the next row of cells. */
static int scan_next(struct scan *scan, uint32_t row, struct error *err)
{
    if (cancel_is_asked(scan->source->cancel))
        return error_set(err, ERROR_CANCELLED, "a map was no longer wanted");
    const struct span next = next_windows(&scan->map.y, row, scan->rows);
    for (uint32_t i = scan->rows.end; i < next.end; i++)
        scan_row(scan, i, 1);
    for (uint32_t i = scan->rows.first; i < next.first; i++)
        scan_row(scan, i, -1);
    scan->rows = next;
    give_way();
    return 0;
}

/* ---- visits ---- */

static bool is_fine(const struct grid *grid)
{
    struct fine_map map;
    fine_map_plan(grid, &map);
    return fine_axis_is_fine(&map.x) || fine_axis_is_fine(&map.y);
}

static int check(const struct fine_source *source, struct error *err)
{
    if (source->n_classes == 0 || source->n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 1 to %d are allowed",
                         source->n_classes, CLASSIFIER_CLASSES_MAX);
    return labels_check(source->labels, 0, grid_n_chips(source->grid), source->n_classes, err);
}

int fine_map_visit_labels(const struct fine_source *source, fine_take_labels take, void *context,
                          struct error *err)
{
    const struct grid *grid = source->grid;
    struct scan scan;
    int rc = check(source, err);
    if (rc < 0)
        return rc;
    if (!is_fine(grid)) {
        for (uint32_t row = 0; row < grid->rows; row++)
            take(context, row, source->labels + (uint64_t)row * grid->columns);
        return 0;
    }
    rc = scan_init(&scan, source, 0, source->n_classes, err);
    if (rc < 0)
        return rc;
    uint16_t *labels = calloc(scan.map.x.n_cells, sizeof(*labels));
    if (labels == NULL)
        rc = error_set_nomem(err, "a map");
    for (uint32_t row = 0; rc == 0 && row < scan.map.y.n_cells; row++) {
        rc = scan_next(&scan, row, err);
        if (rc < 0)
            break;
        scan_cells(&scan, labels, NULL);
        take(context, row, labels);
    }
    free(labels);
    scan_clear(&scan);
    return rc;
}

/* The windows' own. */
static void copy_probabilities(const struct fine_source *source, uint32_t class_index, uint32_t row,
                               float *out)
{
    const uint32_t columns = source->grid->columns;
    const float *probabilities =
        source->probabilities + (uint64_t)row * columns * source->n_classes + class_index;
    for (uint32_t column = 0; column < columns; column++)
        out[column] = probabilities[(size_t)column * source->n_classes];
}

int fine_map_visit_probability(const struct fine_source *source, uint32_t class_index,
                               fine_take_probabilities take, void *context, struct error *err)
{
    struct scan scan;
    int rc = check(source, err);
    if (rc < 0)
        return rc;
    if (class_index >= source->n_classes)
        return error_set(err, ERROR_INVALID, "class: %u, the last one is %u", class_index,
                         source->n_classes - 1);
    rc = scan_init(&scan, source, class_index, 1, err);
    if (rc < 0)
        return rc;
    const bool fine = is_fine(source->grid);
    float *probabilities = calloc(scan.map.x.n_cells, sizeof(*probabilities));
    if (probabilities == NULL)
        rc = error_set_nomem(err, "a map");
    for (uint32_t row = 0; rc == 0 && row < scan.map.y.n_cells; row++) {
        rc = fine ? scan_next(&scan, row, err) : 0;
        if (rc < 0)
            break;
        if (fine)
            scan_cells(&scan, NULL, probabilities);
        else
            copy_probabilities(source, class_index, row, probabilities);
        take(context, row, probabilities);
    }
    free(probabilities);
    scan_clear(&scan);
    return rc;
}

static void take_windows(const struct fine_source *source, fine_take_cells take, void *context)
{
    const struct grid *grid = source->grid;
    for (uint32_t row = 0; row < grid->rows; row++) {
        const uint64_t first = (uint64_t)row * grid->columns;
        take(context, row, source->labels + first,
             source->probabilities + first * source->n_classes);
    }
}

int fine_map_visit_cells(const struct fine_source *source, fine_take_cells take, void *context,
                         struct error *err)
{
    struct scan scan;
    int rc = check(source, err);
    if (rc < 0)
        return rc;
    if (!is_fine(source->grid)) {
        take_windows(source, take, context);
        return 0;
    }
    rc = scan_init(&scan, source, 0, source->n_classes, err);
    if (rc < 0)
        return rc;
    const size_t n_cells = scan.map.x.n_cells;
    uint16_t *labels = calloc(n_cells, sizeof(*labels));
    float *probabilities = calloc(n_cells * source->n_classes, sizeof(*probabilities));
    if (labels == NULL || probabilities == NULL)
        rc = error_set_nomem(err, "a map");
    for (uint32_t row = 0; rc == 0 && row < scan.map.y.n_cells; row++) {
        rc = scan_next(&scan, row, err);
        if (rc < 0)
            break;
        scan_cells(&scan, labels, probabilities);
        take(context, row, labels, probabilities);
    }
    free(probabilities);
    free(labels);
    scan_clear(&scan);
    return rc;
}
