#include "engine/fewshot/labels.h"

const char *label_name(uint16_t label, const char *const *names)
{
    switch (label) {
    case LABEL_UNDECIDED:
        return "undecided";
    case LABEL_UNKNOWN:
        return "unknown";
    case LABEL_NOT_ANALYSED:
        return "not analysed";
    default:
        return names[label];
    }
}

int labels_check(const uint16_t *labels, uint64_t first, uint64_t n_labels, uint32_t n_classes,
                 struct error *err)
{
    for (uint64_t i = 0; i < n_labels; i++) {
        if (labels[i] >= n_classes && labels[i] < LABEL_UNDECIDED)
            return error_set(err, ERROR_INVALID, "chip %llu: label %u, the last class is %u",
                             (unsigned long long)(first + i), labels[i], n_classes - 1);
    }
    return 0;
}
