/* Statistics of one classified image: numbers with names, about the image or about one class of it.
 * A new one is a name here and a line where it is computed; those who store and answer them take
 * any. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H
#define CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

/* Of a class. Means are 0 when there is nothing to average. */
#define STATISTIC_CHIPS "n_chips"
/* n_chips / all chips that were analysed, unknown ones too */
#define STATISTIC_AREA_FRACTION "area_fraction"
/* of the class, over the chips that carry its label */
#define STATISTIC_MEAN_PROBABILITY "mean_probability"
/* connected regions of the label map, 4- and 8-neighbour */
#define STATISTIC_REGIONS_4 "n_regions_4"
#define STATISTIC_REGIONS_8 "n_regions_8"
/* n_chips / n_regions_8 */
#define STATISTIC_MEAN_REGION_CHIPS "mean_region_chips"

enum { STATISTIC_OF_IMAGE = -1 }; /* class_index of a number about the image as a whole */

struct statistic {
    int32_t class_index;
    const char *name; /* borrowed, at most 47 bytes: one of the above */
    const char *unit; /* borrowed, at most 15 bytes: "nm2"; "" for counts and shares */
    double value;
    double low, high; /* the interval that comes with it; NaN: none */
};

/* In the order of class_index. */
struct statistics {
    struct statistic *items; /* owned */
    size_t n_items;
};

/* labels: rows x columns labels (labels.h), row-major; probabilities: rows x columns x n_classes.
 * Both borrowed. ERROR_INVALID: a label that may not be. ERROR_NOMEM. */
int statistics_compute(const uint16_t *labels, const float *probabilities, uint32_t rows,
                       uint32_t columns, uint32_t n_classes, struct statistics *out,
                       struct error *err);
void statistics_clear(struct statistics *statistics);

/* NULL: there is none. */
const struct statistic *statistics_find(const struct statistics *statistics, int32_t class_index,
                                        const char *name);

#endif
