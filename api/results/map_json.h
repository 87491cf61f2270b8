/* Where the cells of a result's maps lie, as JSON, by the names that the service and `chipshot
 * classify` share. */
#ifndef CHIPSHOT_API_MAP_JSON_H
#define CHIPSHOT_API_MAP_JSON_H

#include <jansson.h>

#include "engine/image/chip_grid.h"

/* Rows, columns and, in pixels of the image, `origin`, `step`, `cell` and `end` of the map of
 * engine/fewshot/map/fine_map.h. The caller's; NULL when out of memory. */
json_t *map_json_create(const struct grid *grid);

/* What the cells of the map, and with them the classes and what has none, cover of the image:
 * `n_pixels`, `fraction` of the image, `area_nm2` (null where pixel_area_nm2 is NaN). The caller's;
 * NULL when out of memory. */
json_t *map_json_covered(const struct grid *grid, double pixel_area_nm2);

#endif
