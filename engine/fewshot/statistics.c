#include "engine/fewshot/statistics.h"

#include <string.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/regions.h"

static int check(const uint16_t *labels, uint64_t n_chips, uint32_t n_classes, struct error *err)
{
    if (n_classes == 0 || n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 1 to %d are allowed", n_classes,
                         CLASSIFIER_CLASSES_MAX);
    if (n_chips > UINT32_MAX)
        return error_set(err, ERROR_INVALID, "chips: %llu, at most %u are allowed",
                         (unsigned long long)n_chips, UINT32_MAX);
    return labels_check(labels, n_chips, n_classes, err);
}

int statistics_compute(const uint16_t *labels, const float *probabilities, uint32_t rows,
                       uint32_t columns, uint32_t n_classes, struct class_statistics *out,
                       struct error *err)
{
    uint64_t n_chips = (uint64_t)rows * columns;
    int rc = check(labels, n_chips, n_classes, err);
    if (rc < 0)
        return rc;
    uint64_t regions_4[CLASSIFIER_CLASSES_MAX], regions_8[CLASSIFIER_CLASSES_MAX];
    rc = regions_count(labels, rows, columns, n_classes, regions_4, regions_8, err);
    if (rc < 0)
        return rc;
    memset(out, 0, n_classes * sizeof(*out));
    uint64_t n_analysed = 0;
    for (uint64_t i = 0; i < n_chips; i++) {
        n_analysed += labels[i] != LABEL_NOT_ANALYSED;
        if (labels[i] >= n_classes)
            continue;
        struct class_statistics *s = &out[labels[i]];
        s->n_chips++;
        s->mean_probability += probabilities[i * n_classes + labels[i]];
    }
    for (uint32_t k = 0; k < n_classes; k++) {
        struct class_statistics *s = &out[k];
        s->n_regions_4 = regions_4[k];
        s->n_regions_8 = regions_8[k];
        if (s->n_chips == 0)
            continue;
        s->area_fraction = (double)s->n_chips / (double)n_analysed;
        s->mean_probability /= (double)s->n_chips;
        s->mean_region_chips = (double)s->n_chips / (double)s->n_regions_8;
    }
    return 0;
}
