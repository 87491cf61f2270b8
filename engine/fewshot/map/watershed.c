/* Cells are taken from the highest to the lowest, of equal ones in the order of the raster, and
 * joined to the trees of their neighbours (union-find). The root of a tree is its peak: the cell
 * that was taken first.
 */
#include "engine/fewshot/map/watershed.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { N_HEIGHTS = 65536, CANCEL_CELLS = 1 << 16, NEIGHBOURS = 8 };

static const uint32_t NOT_TAKEN = UINT32_MAX;

static int check_cancel(const struct cancel *cancel, struct error *err)
{
    return cancel_is_asked(cancel)
               ? error_set(err, ERROR_CANCELLED, "the regions were no longer wanted")
               : 0;
}

struct flood {
    const struct watershed_params *params;
    const uint16_t *heights;
    const uint32_t *parts; /* NULL: one */
    uint32_t n_x, n_y;
    uint32_t *order;   /* the cells that belong to regions; owned */
    uint32_t n_cells;  /* of them */
    uint32_t *parents; /* of the trees; owned */
};

/* Counting sort: stable, so that the raster decides among equal heights. */
static int sort_cells(struct flood *flood, struct error *err)
{
    const uint32_t n = flood->n_x * flood->n_y;
    uint32_t *begins = calloc(N_HEIGHTS + 1, sizeof(*begins));
    if (begins == NULL)
        return error_set_nomem(err, "the regions");
    for (uint32_t i = 0; i < n; i++)
        begins[flood->heights[i]]++;
    flood->n_cells = n - begins[0];
    uint32_t begin = 0;
    for (uint32_t height = N_HEIGHTS - 1; height > 0; height--) {
        const uint32_t count = begins[height];
        begins[height] = begin;
        begin += count;
    }
    flood->order = malloc(((size_t)flood->n_cells + 1) * sizeof(*flood->order));
    for (uint32_t i = 0; flood->order != NULL && i < n; i++) {
        if (flood->heights[i] > 0)
            flood->order[begins[flood->heights[i]]++] = i;
    }
    free(begins);
    return flood->order == NULL ? error_set_nomem(err, "the regions") : 0;
}

static uint32_t find_root(uint32_t *parents, uint32_t cell)
{
    while (parents[cell] != cell) {
        parents[cell] = parents[parents[cell]];
        cell = parents[cell];
    }
    return cell;
}

/* The neighbours that were taken before; returns how many. */
static uint32_t find_taken(const struct flood *flood, uint32_t cell, uint32_t out[NEIGHBOURS])
{
    const uint32_t x = cell % flood->n_x, y = cell / flood->n_x;
    const uint32_t first_x = x > 0 ? x - 1 : 0, last_x = x + 1 < flood->n_x ? x + 1 : x;
    const uint32_t first_y = y > 0 ? y - 1 : 0, last_y = y + 1 < flood->n_y ? y + 1 : y;
    uint32_t n = 0;
    for (uint32_t j = first_y; j <= last_y; j++) {
        for (uint32_t i = first_x; i <= last_x; i++) {
            const uint32_t other = j * flood->n_x + i;
            if (other != cell && flood->parents[other] != NOT_TAKEN &&
                (flood->parts == NULL || flood->parts[other] == flood->parts[cell]))
                out[n++] = other;
        }
    }
    return n;
}

static bool stay_apart(const struct watershed_params *params, double saddle, double lower_peak)
{
    return saddle < params->ratio * lower_peak && lower_peak - saddle >= params->depth;
}

/* The cell goes to the basin of its highest neighbour; then it is the saddle to the others'. */
static void take_cell(struct flood *flood, uint32_t cell)
{
    uint32_t taken[NEIGHBOURS], highest = 0;
    const uint32_t n = find_taken(flood, cell, taken);
    uint32_t *parents = flood->parents;
    parents[cell] = cell;
    if (n == 0)
        return;
    for (uint32_t i = 1; i < n; i++) {
        if (flood->heights[taken[i]] > flood->heights[taken[highest]])
            highest = i;
    }
    uint32_t root = find_root(parents, taken[highest]);
    parents[cell] = root;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t other = find_root(parents, taken[i]);
        if (other == root)
            continue;
        const uint16_t peak = flood->heights[root], other_peak = flood->heights[other];
        if (stay_apart(flood->params, flood->heights[cell], peak < other_peak ? peak : other_peak))
            continue;
        const bool wins = other_peak > peak || (other_peak == peak && other < root);
        parents[wins ? root : other] = wins ? other : root;
        root = wins ? other : root;
    }
}

static int take_cells(struct flood *flood, const struct cancel *cancel, struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < flood->n_cells && rc == 0; i++) {
        take_cell(flood, flood->order[i]);
        if (i % CANCEL_CELLS == 0)
            rc = check_cancel(cancel, err);
    }
    return rc;
}

/* A root's own label is the first of its region that is written, so that it is where the others
 * look it up. */
static uint32_t number_regions(struct flood *flood, uint32_t *labels)
{
    const uint32_t n = flood->n_x * flood->n_y;
    uint32_t n_regions = 0;
    memset(labels, 0, (size_t)n * sizeof(*labels));
    for (uint32_t i = 0; i < n; i++) {
        if (flood->parents[i] == NOT_TAKEN)
            continue;
        const uint32_t root = find_root(flood->parents, i);
        if (labels[root] == 0)
            labels[root] = ++n_regions;
        labels[i] = labels[root];
    }
    return n_regions;
}

int watershed_label(const struct watershed_params *params, const uint16_t *heights,
                    const uint32_t *parts, uint32_t n_x, uint32_t n_y, const struct cancel *cancel,
                    uint32_t *labels, uint32_t *n_regions, struct error *err)
{
    const size_t n = (size_t)n_x * n_y;
    struct flood flood = {
        .params = params, .heights = heights, .parts = parts, .n_x = n_x, .n_y = n_y};
    flood.parents = malloc((n + 1) * sizeof(*flood.parents));
    int rc = flood.parents == NULL ? error_set_nomem(err, "the regions") : sort_cells(&flood, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        flood.parents[i] = NOT_TAKEN;
    if (rc == 0)
        rc = take_cells(&flood, cancel, err);
    if (rc == 0)
        *n_regions = number_regions(&flood, labels);
    free(flood.order);
    free(flood.parents);
    return rc;
}

/* ---- distances ---- */

/* A row of the transform: the lower envelope of a parabola a column. */
struct envelope {
    const uint32_t *columns; /* n: each column's distance to the outside, along the column */
    uint32_t *places;        /* of the parabolas that are part of it; owned */
    uint32_t *begins;        /* where each is the lowest; owned */
    uint32_t n;
};

static uint64_t parabola(const struct envelope *envelope, uint32_t x, uint32_t place)
{
    const int64_t dx = (int64_t)x - place;
    const uint64_t dy = envelope->columns[place];
    return (uint64_t)(dx * dx) + dy * dy;
}

/* The last x at which the parabola of `a` is not above that of `b`; a < b. */
static int64_t last_below(const struct envelope *envelope, uint32_t a, uint32_t b)
{
    const int64_t column_a = envelope->columns[a], column_b = envelope->columns[b];
    const int64_t above =
        (int64_t)b * b - (int64_t)a * a + column_b * column_b - column_a * column_a;
    const int64_t below = 2 * ((int64_t)b - a);
    return above >= 0 ? above / below : -((-above + below - 1) / below);
}

static void write_heights(const struct envelope *envelope, uint32_t n_lowest, uint16_t *heights)
{
    uint32_t lowest = n_lowest - 1;
    for (uint32_t x = envelope->n; x-- > 0;) {
        const double distance = sqrt((double)parabola(envelope, x, envelope->places[lowest]));
        const double steps = floor(distance * WATERSHED_PIXEL + 0.5);
        heights[x] = steps < UINT16_MAX ? (uint16_t)steps : UINT16_MAX;
        if (x == envelope->begins[lowest] && lowest > 0)
            lowest--;
    }
}

static void transform_row(struct envelope *envelope, uint16_t *heights)
{
    uint32_t n_lowest = 1;
    envelope->places[0] = envelope->begins[0] = 0;
    for (uint32_t place = 1; place < envelope->n; place++) {
        while (n_lowest > 0) {
            const uint32_t begin = envelope->begins[n_lowest - 1];
            if (parabola(envelope, begin, envelope->places[n_lowest - 1]) <=
                parabola(envelope, begin, place))
                break;
            n_lowest--;
        }
        int64_t begin = 0;
        if (n_lowest > 0)
            begin = last_below(envelope, envelope->places[n_lowest - 1], place) + 1;
        if (begin >= envelope->n)
            continue;
        envelope->places[n_lowest] = place;
        envelope->begins[n_lowest++] = (uint32_t)begin;
    }
    write_heights(envelope, n_lowest, heights);
}

/* Distances along the columns, into `columns` (n_y x n_x): downwards, then upwards. */
static void transform_columns(const uint32_t *labels, uint32_t n_x, uint32_t n_y, uint32_t *columns)
{
    const uint32_t far = n_x + n_y;
    for (size_t i = 0; i < (size_t)n_x * n_y; i++) {
        const uint32_t above = i >= n_x ? columns[i - n_x] : far;
        columns[i] = labels[i] == 0 ? 0 : above < far ? above + 1 : far;
    }
    for (size_t i = (size_t)n_x * n_y - n_x; i-- > 0;) {
        if (columns[i + n_x] + 1 < columns[i])
            columns[i] = columns[i + n_x] + 1;
    }
}

int watershed_distances(const uint32_t *labels, uint32_t n_x, uint32_t n_y,
                        const struct cancel *cancel, uint16_t *heights, struct error *err)
{
    struct envelope envelope = {.n = n_x};
    uint32_t *columns = malloc(((size_t)n_x * n_y + 1) * sizeof(*columns));
    int rc = 0;
    envelope.places = malloc(((size_t)n_x + 1) * sizeof(*envelope.places));
    envelope.begins = malloc(((size_t)n_x + 1) * sizeof(*envelope.begins));
    if (columns == NULL || envelope.places == NULL || envelope.begins == NULL) {
        rc = error_set_nomem(err, "the regions");
        goto out;
    }
    if (n_x > 0 && n_y > 0)
        transform_columns(labels, n_x, n_y, columns);
    for (uint32_t y = 0; rc == 0 && y < n_y; y++) {
        envelope.columns = columns + (size_t)y * n_x;
        transform_row(&envelope, heights + (size_t)y * n_x);
        rc = check_cancel(cancel, err);
    }
out:
    free(envelope.places);
    free(envelope.begins);
    free(columns);
    return rc;
}
