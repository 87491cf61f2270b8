/* Connected regions of a label map. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_REGIONS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_REGIONS_H

#include <stdint.h>

#include "base/error.h"

/* Counts the connected regions of each class. `labels`: rows x columns, at most UINT32_MAX cells;
 * those that are no class have no regions. Both outputs hold n_classes. ERROR_NOMEM. */
int regions_count(const uint16_t *labels, uint32_t rows, uint32_t columns, uint32_t n_classes,
                  uint64_t *n_regions_4, uint64_t *n_regions_8, struct error *err);

#endif
