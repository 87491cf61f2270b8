/* Neighbours across each axis are counted first: of a class only the one that follows it most often
 * can be the next layer. On each line the interface is where most cells of the two classes lie on
 * their side. */
#include "engine/fewshot/map/interface.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"

/* The map as lines across the layers. */
struct lines {
    const uint16_t *labels;
    enum interface_axis axis;
    uint32_t n_lines, n_cells;   /* of a line */
    size_t line_step, cell_step; /* in `labels` */
    const struct fine_axis *across, *along;
};

static struct lines lines_of(const uint16_t *labels, const struct fine_map *map,
                             enum interface_axis axis)
{
    const size_t columns = map->x.n_cells;
    if (axis == INTERFACE_ALONG_X)
        return (struct lines){labels, axis,    map->x.n_cells, map->y.n_cells,
                              1,      columns, &map->y,        &map->x};
    return (struct lines){labels,  axis, map->y.n_cells, map->x.n_cells,
                          columns, 1,    &map->x,        &map->y};
}

static uint16_t label_at(const struct lines *lines, uint32_t line, uint32_t cell)
{
    return lines->labels[line * lines->line_step + cell * lines->cell_step];
}

/* ---- candidates ---- */

/* followers: n_classes x n_classes counts of cells of a class with one of the other behind. Cells
 * that are unknown or undecided, as on an interface they may be, are passed over. */
static void count_followers(const struct lines *lines, uint32_t n_classes, uint32_t *followers)
{
    for (uint32_t line = 0; line < lines->n_lines; line++) {
        uint16_t before = LABEL_NOT_ANALYSED;
        for (uint32_t cell = 0; cell < lines->n_cells; cell++) {
            const uint16_t label = label_at(lines, line, cell);
            if (label == LABEL_UNKNOWN || label == LABEL_UNDECIDED)
                continue;
            if (before != label && before < n_classes && label < n_classes)
                followers[before * n_classes + label]++;
            before = label;
        }
    }
}

/* n_classes: none, or too few to be an interface. */
static uint32_t find_next(const struct lines *lines, uint32_t class_index, uint32_t n_classes,
                          const uint32_t *followers)
{
    uint32_t best = 0;
    const uint32_t *counts = followers + (size_t)class_index * n_classes;
    for (uint32_t k = 1; k < n_classes; k++) {
        if (counts[k] > counts[best])
            best = k;
    }
    return counts[best] > 0 && 2 * counts[best] >= lines->n_lines ? best : n_classes;
}

/* ---- one pair ---- */

struct profile {
    double *places;  /* n_lines: of the interface, NaN on lines that do not cross both; owned */
    double *centres; /* n_lines: of the lines, along; owned */
    uint32_t n_found;
    struct side {
        uint64_t n_cells, n_on_side;
    } first, second; /* of either class, on the lines that were found */
};

/* Where the first n cells of a line end, in pixels. */
static double edge_after(const struct lines *lines, uint32_t n)
{
    return n == 0 ? fine_axis_begin(lines->across, 0) : fine_axis_end(lines->across, n - 1);
}

static void find_place(const struct lines *lines, uint32_t line, uint32_t first, uint32_t second,
                       struct profile *profile)
{
    uint32_t n_first = 0, n_second = 0;
    for (uint32_t i = 0; i < lines->n_cells; i++) {
        const uint16_t label = label_at(lines, line, i);
        n_first += label == first;
        n_second += label == second;
    }
    if (n_first == 0 || n_second == 0)
        return;
    /* Cells on their side when the interface lies before cell i; the best places are a stretch
     * where cells of neither lie between. */
    uint32_t on_side = n_second, best = n_second, from = 0, to = 0;
    uint32_t n_before = 0, best_before = 0; /* of the first class */
    for (uint32_t i = 0; i < lines->n_cells; i++) {
        const uint16_t label = label_at(lines, line, i);
        n_before += label == first;
        on_side += label == first;
        on_side -= label == second;
        if (on_side > best) {
            best = on_side;
            best_before = n_before;
            from = to = i + 1;
        } else if (on_side == best && to == i) {
            to = i + 1;
        }
    }
    profile->places[line] = 0.5 * (edge_after(lines, from) + edge_after(lines, to));
    profile->n_found++;
    profile->first.n_cells += n_first;
    profile->first.n_on_side += best_before;
    profile->second.n_cells += n_second;
    profile->second.n_on_side += best - best_before;
}

/* Of each class: otherwise a few cells that are scattered anywhere would be a layer at the edge. */
static bool is_layer(const struct side *side)
{
    return (double)side->n_on_side >= INTERFACE_ON_ITS_SIDE * (double)side->n_cells;
}

/* Least squares through the places; what is left replaces them. */
static void fit_line(const struct lines *lines, struct profile *profile, struct interface *out)
{
    double sum_x = 0.0, sum_y = 0.0, sum_xx = 0.0, sum_xy = 0.0, squares = 0.0;
    const double n = profile->n_found;
    for (uint32_t i = 0; i < lines->n_lines; i++) {
        if (isnan(profile->places[i]))
            continue;
        sum_x += profile->centres[i];
        sum_y += profile->places[i];
    }
    const double mean_x = sum_x / n, mean_y = sum_y / n;
    for (uint32_t i = 0; i < lines->n_lines; i++) {
        if (isnan(profile->places[i]))
            continue;
        const double x = profile->centres[i] - mean_x;
        sum_xx += x * x;
        sum_xy += x * (profile->places[i] - mean_y);
    }
    out->tilt = sum_xx > 0.0 ? sum_xy / sum_xx : 0.0;
    for (uint32_t i = 0; i < lines->n_lines; i++) {
        if (isnan(profile->places[i]))
            continue;
        profile->places[i] -= mean_y + out->tilt * (profile->centres[i] - mean_x);
        squares += profile->places[i] * profile->places[i];
    }
    out->position = mean_y;
    out->roughness = sqrt(squares / n);
}

/* At a lag of so many lines, over that at 0. */
static double autocorrelation(const struct lines *lines, const double *heights, uint32_t lag,
                              double variance)
{
    double sum = 0.0;
    uint32_t n = 0;
    for (uint32_t i = 0; i + lag < lines->n_lines; i++) {
        if (isnan(heights[i]) || isnan(heights[i + lag]))
            continue;
        sum += heights[i] * heights[i + lag];
        n++;
    }
    return n > 0 ? sum / n / variance : NAN;
}

static double correlation_length(const struct lines *lines, const double *heights, double roughness)
{
    const double variance = roughness * roughness, target = exp(-1.0);
    double before = 1.0;
    for (uint32_t lag = 1; roughness > 1e-9 && lag <= lines->n_lines / 4; lag++) {
        const double now = autocorrelation(lines, heights, lag, variance);
        if (isnan(now))
            return NAN;
        if (now <= target)
            return (lag - 1 + (before - target) / (before - now)) * lines->along->step;
        before = now;
    }
    return NAN;
}

static int measure_pair(const struct lines *lines, uint32_t first, uint32_t second,
                        struct interface *out, struct error *err)
{
    struct profile profile = {.places = calloc(lines->n_lines, sizeof(double)),
                              .centres = calloc(lines->n_lines, sizeof(double))};
    int rc = 0;
    if (profile.places == NULL || profile.centres == NULL) {
        rc = error_set_nomem(err, "an interface");
        goto out;
    }
    for (uint32_t line = 0; line < lines->n_lines; line++) {
        profile.places[line] = NAN;
        profile.centres[line] = fine_axis_centre(lines->along, line);
        find_place(lines, line, first, second, &profile);
    }
    if (profile.n_found < INTERFACE_CROSSED * lines->n_lines || !is_layer(&profile.first) ||
        !is_layer(&profile.second))
        goto out;
    out->next = second;
    out->axis = lines->axis;
    out->n_lines = profile.n_found;
    fit_line(lines, &profile, out);
    out->correlation_length = correlation_length(lines, profile.places, out->roughness);
out:
    free(profile.places);
    free(profile.centres);
    return rc;
}

int interfaces_measure(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                       struct interface *out, struct error *err)
{
    uint32_t *followers = malloc((size_t)n_classes * n_classes * sizeof(*followers));
    int rc = 0;
    if (followers == NULL)
        return error_set_nomem(err, "the interfaces of the label map");
    for (uint32_t k = 0; k < n_classes; k++)
        out[k] = (struct interface){.next = n_classes};
    for (int axis = INTERFACE_ALONG_X; axis <= INTERFACE_ALONG_Y && rc == 0; axis++) {
        const struct lines lines = lines_of(labels, map, (enum interface_axis)axis);
        for (size_t i = 0; i < (size_t)n_classes * n_classes; i++)
            followers[i] = 0;
        count_followers(&lines, n_classes, followers);
        for (uint32_t k = 0; k < n_classes && rc == 0; k++) {
            const uint32_t next = find_next(&lines, k, n_classes, followers);
            if (next < n_classes && out[k].next == n_classes)
                rc = measure_pair(&lines, k, next, &out[k], err);
        }
    }
    free(followers);
    return rc;
}
