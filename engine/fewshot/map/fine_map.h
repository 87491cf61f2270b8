/* The map of a classified image: what labels.png, the overlay, the probability maps and the areas
 * are made of.
 *
 * Along an axis whose stride is at least the chip's size, the cells of the map are the windows.
 * Where windows overlap, the cells are finer than they are: from the offset on, each as long as the
 * stride, up to where the last window ends, which cuts the last cell short. A cell's probabilities
 * are the mean of those of the windows that cover its centre (a window covers its first edge, not
 * its last); windows that were not analysed are left out. Its label is the class with the highest
 * mean, of equal ones the lower index; LABEL_UNDECIDED or LABEL_UNKNOWN where more than half of the
 * windows are that; LABEL_NOT_ANALYSED where there is none. Without overlap along both axes the map
 * holds what the windows have, unchanged.
 *
 * Sums are exact: probabilities are counted in whole steps of 2^-30. So a cell has the same bytes
 * whichever others are asked for, and in whatever order its windows come. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_FINE_MAP_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_FINE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/chip_grid.h"

/* One axis of a map, in pixels. */
struct fine_axis {
    uint32_t n_cells;
    uint32_t origin; /* where the first cell begins */
    uint32_t step;   /* from cell to cell: the stride */
    uint32_t end;    /* where the last window ends, and with it the map */
    uint32_t chip;   /* a window's length */
    uint32_t n_windows;
};

struct fine_map {
    struct fine_axis x, y; /* columns, rows */
};

void fine_map_plan(const struct grid *grid, struct fine_map *out);
/* rows x columns of the map */
uint64_t fine_map_n_cells(const struct fine_map *map);

/* Whether windows overlap along the axis. */
bool fine_axis_is_fine(const struct fine_axis *axis);
/* Of a cell that is not cut: step, or chip where windows do not overlap. */
uint32_t fine_axis_cell_size(const struct fine_axis *axis);
/* Cell `cell` has the pixels from `begin` to `end` - 1; no pixel has two cells. Without overlap
 * these are its window's, and what a last one that was shifted inwards (GRID_EDGE_COVER) shares
 * with the one before it goes to the one with the nearer centre, of equally near ones to the
 * first. */
uint32_t fine_axis_begin(const struct fine_axis *axis, uint32_t cell);
uint32_t fine_axis_end(const struct fine_axis *axis, uint32_t cell);
/* Where a cell's value holds, in pixels from the image's edge: the middle of a cell of a fine axis,
 * the window's without overlap. */
double fine_axis_centre(const struct fine_axis *axis, uint32_t cell);

/* Pixels of the image that the cells have: what the windows cover. */
uint64_t fine_map_n_pixels(const struct fine_map *map);

/* What a map is made of; all borrowed. */
struct fine_source {
    const struct grid *grid;
    const uint16_t *labels;     /* of the grid's windows (labels.h) */
    const float *probabilities; /* windows x n_classes */
    uint32_t n_classes;
    const struct cancel *cancel; /* asked at each row of cells; NULL: never */
};

/* Take a row of cells; the rows come in order. Borrowed for the call. */
typedef void (*fine_take_labels)(void *context, uint32_t row, const uint16_t *labels);
typedef void (*fine_take_probabilities)(void *context, uint32_t row, const float *probabilities);
/* Both: of each cell its label and the probabilities of all classes. */
typedef void (*fine_take_cells)(void *context, uint32_t row, const uint16_t *labels,
                                const float *probabilities);

/* They work on the calling thread, in memory for a row of windows. ERROR_INVALID: a label that may
 * not be, a class that is none, too many classes. ERROR_CANCELLED, ERROR_NOMEM. */
int fine_map_visit_labels(const struct fine_source *source, fine_take_labels take, void *context,
                          struct error *err);
/* The probability of one class. */
int fine_map_visit_probability(const struct fine_source *source, uint32_t class_index,
                               fine_take_probabilities take, void *context, struct error *err);
int fine_map_visit_cells(const struct fine_source *source, fine_take_cells take, void *context,
                         struct error *err);

#endif
