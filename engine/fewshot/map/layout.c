/* Regions are the trees of a union-find over the cells (Galler and Fischer 1964; path halving), in
 * which the cell that comes first is the root. Nearest neighbours are looked for in a raster of
 * about as many boxes as there are regions, ring by ring. */
#include "engine/fewshot/map/layout.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engine/fewshot/labels.h"

/* One region. */
struct region {
    double x, y; /* sums over its pixels; then its centroid */
    uint32_t n_pixels;
    uint16_t label;
    bool touches_border;
};

struct regions {
    struct region *items; /* owned */
    size_t n;
};

/* ---- labelling ---- */

static uint32_t find_root(uint32_t *parents, uint32_t cell)
{
    while (parents[cell] != cell) {
        parents[cell] = parents[parents[cell]];
        cell = parents[cell];
    }
    return cell;
}

static void join(uint32_t *parents, uint32_t a, uint32_t b)
{
    const uint32_t root_a = find_root(parents, a), root_b = find_root(parents, b);
    if (root_a < root_b)
        parents[root_b] = root_a;
    else
        parents[root_a] = root_b;
}

/* Joins a cell with those of its label that come before it. */
static void join_cell(const uint16_t *labels, uint32_t columns, uint32_t y, uint32_t x,
                      uint32_t *parents)
{
    const uint32_t i = y * columns + x;
    if (x > 0 && labels[i - 1] == labels[i])
        join(parents, i, i - 1);
    if (y == 0)
        return;
    const uint32_t above = i - columns;
    if (labels[above] == labels[i])
        join(parents, i, above);
    if (x > 0 && labels[above - 1] == labels[i])
        join(parents, i, above - 1);
    if (x + 1 < columns && labels[above + 1] == labels[i])
        join(parents, i, above + 1);
}

/* Replaces each cell's parent by the number of its region. */
static size_t number_regions(const uint16_t *labels, uint32_t n_cells, uint32_t n_classes,
                             uint32_t *parents)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_cells; i++) {
        if (labels[i] >= n_classes)
            continue;
        parents[i] = parents[i] == i ? n++ : parents[parents[i]];
    }
    return n;
}

/* Whether a cell ends at the map's edge or at one that was not analysed. */
static bool is_at_border(const uint16_t *labels, uint32_t rows, uint32_t columns, uint32_t y,
                         uint32_t x)
{
    const uint32_t i = y * columns + x;
    return x == 0 || y == 0 || x + 1 == columns || y + 1 == rows ||
           labels[i - 1] == LABEL_NOT_ANALYSED || labels[i + 1] == LABEL_NOT_ANALYSED ||
           labels[i - columns] == LABEL_NOT_ANALYSED || labels[i + columns] == LABEL_NOT_ANALYSED;
}

static void add_cells(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                      const uint32_t *numbers, struct region *regions)
{
    const uint32_t rows = map->y.n_cells, columns = map->x.n_cells;
    for (uint32_t y = 0; y < rows; y++) {
        const uint32_t top = fine_axis_begin(&map->y, y), bottom = fine_axis_end(&map->y, y);
        for (uint32_t x = 0; x < columns; x++) {
            const uint32_t i = y * columns + x;
            if (labels[i] >= n_classes)
                continue;
            const uint32_t left = fine_axis_begin(&map->x, x), right = fine_axis_end(&map->x, x);
            const uint32_t n_pixels = (bottom - top) * (right - left);
            struct region *region = &regions[numbers[i]];
            region->label = labels[i];
            region->n_pixels += n_pixels;
            region->x += n_pixels * (left + right) * 0.5;
            region->y += n_pixels * (top + bottom) * 0.5;
            region->touches_border |= is_at_border(labels, rows, columns, y, x);
        }
    }
}

static int find_regions(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                        struct regions *out, struct error *err)
{
    const uint32_t rows = map->y.n_cells, columns = map->x.n_cells, n_cells = rows * columns;
    uint32_t *parents = calloc((size_t)n_cells + 1, sizeof(*parents));
    if (parents == NULL)
        return error_set_nomem(err, "the regions of the label map");
    for (uint32_t i = 0; i < n_cells; i++)
        parents[i] = i;
    for (uint32_t y = 0; y < rows; y++) {
        for (uint32_t x = 0; x < columns; x++) {
            if (labels[y * columns + x] < n_classes)
                join_cell(labels, columns, y, x, parents);
        }
    }
    out->n = number_regions(labels, n_cells, n_classes, parents);
    out->items = calloc(out->n + 1, sizeof(*out->items));
    if (out->items != NULL)
        add_cells(labels, map, n_classes, parents, out->items);
    free(parents);
    if (out->items == NULL)
        return error_set_nomem(err, "the regions of the label map");
    for (size_t i = 0; i < out->n; i++) {
        out->items[i].x /= out->items[i].n_pixels;
        out->items[i].y /= out->items[i].n_pixels;
    }
    return 0;
}

/* ---- neighbours ---- */

/* Points in boxes, as lists: first[box], then next[point]; UINT32_MAX ends. */
struct boxes {
    const struct region *regions;
    uint32_t n_x, n_y;
    double left, top, side;
    uint32_t *first, *next; /* owned */
};

/* Where a coordinate falls. */
static uint32_t box_of(double at, double begin, double side, uint32_t n)
{
    const uint32_t box = (uint32_t)((at - begin) / side);
    return box < n ? box : n - 1;
}

/* points: which of the regions. */
static int boxes_init(struct boxes *boxes, const struct fine_map *map, const struct region *regions,
                      const uint32_t *points, uint32_t n_points, uint32_t n_regions,
                      struct error *err)
{
    const double width = (double)map->x.end - map->x.origin;
    const double height = (double)map->y.end - map->y.origin;
    boxes->regions = regions;
    boxes->left = map->x.origin;
    boxes->top = map->y.origin;
    boxes->side = fmax(sqrt(width * height / n_points), 1.0);
    boxes->n_x = (uint32_t)ceil(width / boxes->side);
    boxes->n_y = (uint32_t)ceil(height / boxes->side);
    const size_t n = (size_t)boxes->n_x * boxes->n_y;
    boxes->first = malloc(n * sizeof(*boxes->first));
    boxes->next = malloc(n_regions * sizeof(*boxes->next));
    if (boxes->first == NULL || boxes->next == NULL)
        return error_set_nomem(err, "the neighbours of regions");
    for (size_t i = 0; i < n; i++)
        boxes->first[i] = UINT32_MAX;
    for (uint32_t i = 0; i < n_points; i++) {
        const struct region *region = &regions[points[i]];
        const uint32_t x = box_of(region->x, boxes->left, boxes->side, boxes->n_x);
        const uint32_t y = box_of(region->y, boxes->top, boxes->side, boxes->n_y);
        uint32_t *first = &boxes->first[(size_t)y * boxes->n_x + x];
        boxes->next[points[i]] = *first;
        *first = points[i];
    }
    return 0;
}

/* The least squared distance of a point to those of a box. */
static double nearest_in(const struct boxes *boxes, uint32_t point, int64_t x, int64_t y,
                         double nearest)
{
    if (x < 0 || y < 0 || x >= boxes->n_x || y >= boxes->n_y)
        return nearest;
    const struct region *from = &boxes->regions[point];
    for (uint32_t i = boxes->first[(size_t)y * boxes->n_x + (size_t)x]; i != UINT32_MAX;
         i = boxes->next[i]) {
        const double dx = boxes->regions[i].x - from->x, dy = boxes->regions[i].y - from->y;
        if (i != point)
            nearest = fmin(nearest, dx * dx + dy * dy);
    }
    return nearest;
}

/* There is another point. */
static double nearest_distance(const struct boxes *boxes, uint32_t point)
{
    const struct region *from = &boxes->regions[point];
    const int64_t x = box_of(from->x, boxes->left, boxes->side, boxes->n_x);
    const int64_t y = box_of(from->y, boxes->top, boxes->side, boxes->n_y);
    double nearest = nearest_in(boxes, point, x, y, INFINITY);
    for (int64_t ring = 1;
         nearest > (double)(ring - 1) * (double)(ring - 1) * boxes->side * boxes->side; ring++) {
        for (int64_t i = -ring; i < ring; i++) {
            nearest = nearest_in(boxes, point, x + i, y - ring, nearest);
            nearest = nearest_in(boxes, point, x + ring, y + i, nearest);
            nearest = nearest_in(boxes, point, x - i, y + ring, nearest);
            nearest = nearest_in(boxes, point, x - ring, y - i, nearest);
        }
    }
    return sqrt(nearest);
}

/* Of points at random. */
static double expected_distance(const struct fine_map *map, double n)
{
    const double width = (double)map->x.end - map->x.origin;
    const double height = (double)map->y.end - map->y.origin;
    return 0.5 * sqrt(width * height / n) + (0.0514 + 0.041 / sqrt(n)) * 2.0 * (width + height) / n;
}

static int measure_distances(const struct regions *regions, const uint32_t *points,
                             uint32_t n_points, const struct fine_map *map, struct layout *out,
                             struct error *err)
{
    struct boxes boxes = {0};
    int rc = boxes_init(&boxes, map, regions->items, points, n_points, (uint32_t)regions->n, err);
    if (rc == 0) {
        double sum = 0.0;
        for (uint32_t i = 0; i < n_points; i++)
            sum += nearest_distance(&boxes, points[i]);
        out->nn_distance_mean = sum / n_points;
        out->nn_ratio = out->nn_distance_mean / expected_distance(map, n_points);
    }
    free(boxes.first);
    free(boxes.next);
    return rc;
}

/* ---- class by class ---- */

static void count_region(const struct region *region, struct layout *out)
{
    int octave = 0;
    while (octave + 1 < LAYOUT_SIZES && region->n_pixels >> (octave + 1) > 0)
        octave++;
    out->n_regions++;
    out->n_of_size[octave]++;
    out->n_border += region->touches_border;
}

static int describe(const struct regions *regions, const struct fine_map *map, uint32_t n_classes,
                    struct layout *out, struct error *err)
{
    uint32_t *points = malloc((regions->n + 1) * sizeof(*points));
    int rc = 0;
    if (points == NULL)
        return error_set_nomem(err, "the regions of the label map");
    for (uint32_t k = 0; k < n_classes && rc == 0; k++) {
        uint32_t n_points = 0;
        out[k] = (struct layout){.nn_distance_mean = NAN, .nn_ratio = NAN};
        for (uint32_t i = 0; i < regions->n; i++) {
            if (regions->items[i].label != k)
                continue;
            count_region(&regions->items[i], &out[k]);
            points[n_points++] = i;
        }
        if (n_points > 1)
            rc = measure_distances(regions, points, n_points, map, &out[k], err);
    }
    free(points);
    return rc;
}

int layout_measure(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                   struct layout *out, struct error *err)
{
    struct regions regions = {0};
    int rc = find_regions(labels, map, n_classes, &regions, err);
    if (rc == 0)
        rc = describe(&regions, map, n_classes, out, err);
    free(regions.items);
    return rc;
}
