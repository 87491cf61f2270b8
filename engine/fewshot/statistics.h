/* Statistics of one classified image: per class, and its connected regions. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H
#define CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"

struct class_statistics {
    uint64_t n_chips;
    double area_fraction;     /* n_chips / all chips that were analysed, unknown ones too */
    double mean_probability;  /* mean probability of the class over the chips that carry its label;
                                 0 when there are none */
    uint64_t n_regions_4;     /* connected regions of the label map, 4-neighbour */
    uint64_t n_regions_8;     /* 8-neighbour */
    double mean_region_chips; /* n_chips / n_regions_8; 0 when there are none */
};

/* labels: rows x columns labels (labels.h), row-major; probabilities: rows x columns x n_classes.
 * Both borrowed. `out` holds n_classes. ERROR_INVALID: a label that may not be. ERROR_NOMEM.
 */
int statistics_compute(const uint16_t *labels, const float *probabilities, uint32_t rows,
                       uint32_t columns, uint32_t n_classes, struct class_statistics *out,
                       struct error *err);

#endif
