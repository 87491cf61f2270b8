#include "engine/fewshot/map/class_map.h"

#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/watershed.h"

static const struct watershed_params connected = {0}; /* nothing is split */

struct filling {
    struct class_map *map;
    uint32_t class_index;
};

static void take_labels(void *context, uint32_t row, const uint16_t *labels)
{
    const struct filling *filling = context;
    uint8_t *cells = filling->map->cells + (size_t)row * filling->map->n_x;
    for (uint32_t x = 0; x < filling->map->n_x; x++) {
        if (labels[x] == filling->class_index)
            cells[x] = CELL_CLASS;
        else
            cells[x] = labels[x] == LABEL_NOT_ANALYSED ? CELL_NOT_ANALYSED : CELL_OTHER;
    }
}

static void take_probabilities(void *context, uint32_t row, const float *probabilities)
{
    const struct filling *filling = context;
    const uint32_t n_x = filling->map->n_x;
    memcpy(filling->map->probabilities + (size_t)row * n_x, probabilities,
           n_x * sizeof(*probabilities));
}

static uint32_t *make_edges(const struct fine_axis *axis)
{
    uint32_t *edges = calloc((size_t)axis->n_cells + 1, sizeof(*edges));
    for (uint32_t i = 0; edges != NULL && i < axis->n_cells; i++)
        edges[i] = fine_axis_begin(axis, i);
    if (edges != NULL)
        edges[axis->n_cells] = axis->end;
    return edges;
}

static int allocate(struct class_map *map, struct error *err)
{
    const uint64_t n = fine_map_n_cells(&map->map);
    if (n > UINT32_MAX)
        return error_set(err, ERROR_INVALID, "cells of the map: %llu, at most %u are allowed",
                         (unsigned long long)n, UINT32_MAX);
    map->x_edges = make_edges(&map->map.x);
    map->y_edges = make_edges(&map->map.y);
    map->cells = calloc(n, sizeof(*map->cells));
    map->probabilities = calloc(n, sizeof(*map->probabilities));
    map->regions = calloc(n, sizeof(*map->regions));
    if (map->x_edges == NULL || map->y_edges == NULL || map->cells == NULL ||
        map->probabilities == NULL || map->regions == NULL)
        return error_set_nomem(err, "the map of a class");
    return 0;
}

uint32_t class_map_reach(const struct fine_axis *axis, uint32_t length)
{
    return (length - 1) / axis->step + 1;
}

/* Along a line of n flags, `stride` apart. `before` has room for n. */
static void widen_line(uint8_t *flags, uint32_t n, size_t stride, uint32_t reach, uint32_t *since)
{
    uint32_t last = UINT32_MAX; /* cells since the last one that was set; UINT32_MAX: none was */
    for (uint32_t i = 0; i < n; i++) {
        if (flags[i * stride] != 0)
            last = 0;
        else if (last != UINT32_MAX)
            last++;
        since[i] = last;
    }
    last = UINT32_MAX;
    for (uint32_t i = n; i-- > 0;) {
        if (since[i] == 0)
            last = 0;
        else if (last != UINT32_MAX)
            last++;
        flags[i * stride] = since[i] <= reach || last <= reach;
    }
}

int class_map_widen(uint8_t *flags, uint32_t n_x, uint32_t n_y, uint32_t reach_x, uint32_t reach_y,
                    struct error *err)
{
    uint32_t *since = calloc((size_t)(n_x > n_y ? n_x : n_y) + 1, sizeof(*since));
    if (since == NULL)
        return error_set_nomem(err, "the map of a class");
    for (uint32_t y = 0; y < n_y; y++)
        widen_line(flags + (size_t)y * n_x, n_x, 1, reach_x, since);
    for (uint32_t x = 0; x < n_x; x++)
        widen_line(flags + x, n_y, n_x, reach_y, since);
    free(since);
    return 0;
}

static int find_regions(struct class_map *map, const struct cancel *cancel, uint16_t *heights,
                        struct error *err)
{
    for (size_t i = 0; i < (size_t)map->n_x * map->n_y; i++)
        heights[i] = map->cells[i] == CELL_CLASS;
    return watershed_label(&connected, heights, NULL, map->n_x, map->n_y, cancel, map->regions,
                           &map->n_regions, err);
}

static int find_boxes(struct class_map *map, struct error *err)
{
    map->boxes = calloc((size_t)map->n_regions + 1, sizeof(*map->boxes));
    if (map->boxes == NULL)
        return error_set_nomem(err, "the map of a class");
    for (uint32_t y = 0; y < map->n_y; y++) {
        for (uint32_t x = 0; x < map->n_x; x++) {
            struct cell_box *box = &map->boxes[map->regions[(size_t)y * map->n_x + x]];
            if (box->right == 0)
                *box = (struct cell_box){x, y, x + 1, y + 1};
            box->left = x < box->left ? x : box->left;
            box->right = x + 1 > box->right ? x + 1 : box->right;
            box->bottom = y + 1;
        }
    }
    return 0;
}

int class_map_create(struct class_map *out, const struct fine_source *source, uint32_t class_index,
                     struct error *err)
{
    struct class_map map = {0};
    struct filling filling = {&map, class_index};
    uint16_t *heights = NULL;
    fine_map_plan(source->grid, &map.map);
    map.n_x = map.map.x.n_cells;
    map.n_y = map.map.y.n_cells;
    int rc = allocate(&map, err);
    if (rc == 0)
        rc = fine_map_visit_labels(source, take_labels, &filling, err);
    if (rc == 0)
        rc = fine_map_visit_probability(source, class_index, take_probabilities, &filling, err);
    if (rc == 0) {
        heights = calloc(fine_map_n_cells(&map.map), sizeof(*heights));
        if (heights == NULL)
            rc = error_set_nomem(err, "the map of a class");
    }
    if (rc == 0)
        rc = find_regions(&map, source->cancel, heights, err);
    if (rc == 0)
        rc = find_boxes(&map, err);
    free(heights);
    if (rc == 0)
        *out = map;
    else
        class_map_clear(&map);
    return rc;
}

void class_map_clear(struct class_map *map)
{
    free(map->x_edges);
    free(map->y_edges);
    free(map->cells);
    free(map->probabilities);
    free(map->regions);
    free(map->boxes);
    *map = (struct class_map){0};
}
