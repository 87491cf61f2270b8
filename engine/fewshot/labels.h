/* What a label may be. A label is the index of a class, 0 .. n_classes - 1, or one of the values
 * from the top of its range that say why a chip has no class. Whatever lies between is an error. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_LABELS_H
#define CHIPSHOT_ENGINE_FEWSHOT_LABELS_H

#include <stdint.h>

#include "base/error.h"

enum {
    LABEL_UNDECIDED = 65533,    /* analysed, and nothing tells which of the classes it is */
    LABEL_UNKNOWN = 65534,      /* analysed, and like none of the classes */
    LABEL_NOT_ANALYSED = 65535, /* left out of the analysis: of every fraction and statistic */
};

/* "undecided", "unknown", "not analysed", or the class's own of `names` (borrowed). The label is
 * valid. */
const char *label_name(uint16_t label, const char *const *names);

/* ERROR_INVALID names the first label that is neither a class nor one of the above. The labels are
 * those of an image's chips from `first` on. */
int labels_check(const uint16_t *labels, uint64_t first, uint64_t n_labels, uint32_t n_classes,
                 struct error *err);

#endif
