/* Interfaces between layers on a label map: where one class ends and the next begins, line by line.
 * Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_INTERFACE_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_INTERFACE_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"

/* Two classes are layers when at least this share of the map's lines across them crosses both, and
 * of the cells of each on these lines at least INTERFACE_ON_ITS_SIDE lie on their class's side.
 */
#define INTERFACE_CROSSED     0.8
#define INTERFACE_ON_ITS_SIDE 0.9

enum interface_axis {
    INTERFACE_ALONG_X, /* layers lie above one another: a height for each column */
    INTERFACE_ALONG_Y, /* layers lie side by side: a place for each row */
};

/* Between the class above or to the left and the one that comes next. Lengths in pixels of the axis
 * across the interface, but for the correlation length. */
struct interface {
    uint32_t next; /* class; n_classes: none, and nothing else is set */
    enum interface_axis axis;
    uint32_t n_lines; /* on which it was found */
    double position;  /* mean */
    double tilt;      /* slope of the fitted line: pixels across over pixels along */
    /* Root mean square distance from the fitted line. What lies between two cells cannot be seen:
     * a plane interface may have up to cell / sqrt(12). */
    double roughness;
    /* Distance along the interface at which the autocorrelation of that has fallen to 1 / e; NaN
     * where it does not within a quarter of the length, or the interface is plane. */
    double correlation_length;
};

/* labels: of the map's cells, row by row. `out`: n_classes, each class with the one that follows it
 * most often, along the axis on which it does. ERROR_NOMEM. */
int interfaces_measure(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                       struct interface *out, struct error *err);

#endif
