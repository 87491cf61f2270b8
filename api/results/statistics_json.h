/* The statistics of a class as JSON, by the names that the service and `chipshot classify` share.
 */
#ifndef CHIPSHOT_API_STATISTICS_JSON_H
#define CHIPSHOT_API_STATISTICS_JSON_H

#include <jansson.h>

#include "base/error.h"
#include "engine/fewshot/statistics.h"

/* Of a cell of the map, or of what a chip that overlaps no other stands for: stride x stride
 * pixels. NaN: unknown, since pixel_size_nm is 0. */
double statistics_cell_area_nm2(double pixel_size_nm, uint32_t stride_x, uint32_t stride_y);

/* Adds them to an object (borrowed), behind what it has. Where `cell_area_nm2` is NaN, areas
 * are null. ERROR_CORRUPT: a statistic is missing. ERROR_NOMEM. */
int statistics_json_add(json_t *object, const struct statistics *statistics, uint32_t class_index,
                        double cell_area_nm2, struct error *err);

/* The chips without a class: "undecided", "unknown" and "not_analysed", each {"n_chips",
 * "area_nm2"}, all 0 where the statistics have none. Errors as above. */
int statistics_json_add_no_classes(json_t *object, const struct statistics *statistics,
                                   double cell_area_nm2, struct error *err);

#endif
