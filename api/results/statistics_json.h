/* The statistics of a class as JSON, by the names that the service and `chipshot classify` share.
 */
#ifndef CHIPSHOT_API_STATISTICS_JSON_H
#define CHIPSHOT_API_STATISTICS_JSON_H

#include <jansson.h>

#include "base/error.h"
#include "engine/fewshot/statistics.h"

/* What areas are multiplied with. */
struct statistics_scale {
    double pixel_area_nm2;  /* NaN: unknown */
    uint64_t stride_pixels; /* stride x stride: the unit of areas in results of programs before */
};

/* Adds them to an object (borrowed), behind what it has. Where the scale is unknown, areas in nm2
 * are null. ERROR_CORRUPT: a statistic is missing. ERROR_NOMEM. */
int statistics_json_add(json_t *object, const struct statistics *statistics, uint32_t class_index,
                        const struct statistics_scale *scale, struct error *err);

/* Of a class that is not counted: it has no fraction. ERROR_NOMEM. */
int statistics_json_uncount(json_t *object, struct error *err);

/* The chips without a class: "undecided", "unknown" and "not_analysed", each {"n_chips",
 * "area_pixels", "area_nm2"}, all 0 where the statistics have none. Errors as above. */
int statistics_json_add_no_classes(json_t *object, const struct statistics *statistics,
                                   double pixel_area_nm2, struct error *err);

#endif
