/* The map of one class as objects are found on it: where it is, and its regions. Internal to
 * engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_CLASS_MAP_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_CLASS_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"

enum class_cell {
    CELL_NOT_ANALYSED,
    CELL_OTHER, /* of another class, or unknown */
    CELL_CLASS,
};

/* Cells: columns left .. right - 1, rows likewise. */
struct cell_box {
    uint32_t left, top, right, bottom;
};

/* Cells lie edge to edge: along an axis without overlap each reaches as far as the next one
 * begins, so that a gap belongs to the window before it, and what two windows share (the last one
 * shifted inwards) to the last. */
struct class_map {
    struct fine_map map;
    uint32_t n_x, n_y;           /* cells */
    uint32_t *x_edges, *y_edges; /* n_x + 1, n_y + 1: in pixels */
    uint8_t *cells;              /* n_y x n_x: enum class_cell */
    float *probabilities;        /* likewise: of the class */
    uint32_t *regions;           /* likewise: 0, or 1 .. n_regions: connected (8-neighbour) */
    uint32_t n_regions;
    struct cell_box *boxes; /* n_regions + 1: of each region */
};

/* To be cleared; errors as fine_map_visit_labels, and ERROR_INVALID for more than UINT32_MAX cells.
 */
int class_map_create(struct class_map *out, const struct fine_source *source, uint32_t class_index,
                     struct error *err);
void class_map_clear(struct class_map *map);

/* Cells that a length of pixels, at least 1, reaches into, besides the one that it begins in. */
uint32_t class_map_reach(const struct fine_axis *axis, uint32_t length);

/* Sets what is no more than reach_x columns and reach_y rows away from what is set, in place.
 * ERROR_NOMEM. */
int class_map_widen(uint8_t *flags, uint32_t n_x, uint32_t n_y, uint32_t reach_x, uint32_t reach_y,
                    struct error *err);

#endif
