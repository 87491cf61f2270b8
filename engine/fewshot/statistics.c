/* Everything is counted first, in one walk over the chips and one over their neighbourhoods, and
 * then written down class by class. */
#include "engine/fewshot/statistics.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/regions.h"

enum { PER_CLASS = 6 };

static int check(const uint16_t *labels, uint64_t n_chips, uint32_t n_classes, struct error *err)
{
    if (n_classes == 0 || n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 1 to %d are allowed", n_classes,
                         CLASSIFIER_CLASSES_MAX);
    if (n_chips > UINT32_MAX)
        return error_set(err, ERROR_INVALID, "chips: %llu, at most %u are allowed",
                         (unsigned long long)n_chips, UINT32_MAX);
    return labels_check(labels, 0, n_chips, n_classes, err);
}

/* What is counted of a class. */
struct count {
    uint64_t n_chips;
    uint64_t n_regions_4, n_regions_8;
    double probability; /* sum over its chips */
};

/* *n_analysed: all chips but those that were left out. */
static void count_chips(const uint16_t *labels, const float *probabilities, uint64_t n_chips,
                        uint32_t n_classes, struct count *counts, uint64_t *n_analysed)
{
    *n_analysed = 0;
    for (uint64_t i = 0; i < n_chips; i++) {
        *n_analysed += labels[i] != LABEL_NOT_ANALYSED;
        if (labels[i] >= n_classes)
            continue;
        struct count *count = &counts[labels[i]];
        count->n_chips++;
        count->probability += probabilities[i * n_classes + labels[i]];
    }
}

static int count_regions(const uint16_t *labels, uint32_t rows, uint32_t columns,
                         uint32_t n_classes, struct count *counts, struct error *err)
{
    uint64_t regions_4[CLASSIFIER_CLASSES_MAX], regions_8[CLASSIFIER_CLASSES_MAX];
    int rc = regions_count(labels, rows, columns, n_classes, regions_4, regions_8, err);
    if (rc < 0)
        return rc;
    for (uint32_t k = 0; k < n_classes; k++) {
        counts[k].n_regions_4 = regions_4[k];
        counts[k].n_regions_8 = regions_8[k];
    }
    return 0;
}

static void add(struct statistics *statistics, uint32_t class_index, const char *name, double value)
{
    statistics->items[statistics->n_items++] =
        (struct statistic){.class_index = (int32_t)class_index,
                           .name = name,
                           .unit = "",
                           .value = value,
                           .low = NAN,
                           .high = NAN};
}

/* At most PER_CLASS numbers. */
static void describe(struct statistics *statistics, uint32_t class_index, const struct count *count,
                     uint64_t n_analysed)
{
    const double n = (double)count->n_chips;
    const bool any = count->n_chips > 0;
    add(statistics, class_index, STATISTIC_CHIPS, n);
    add(statistics, class_index, STATISTIC_AREA_FRACTION, any ? n / (double)n_analysed : 0.0);
    add(statistics, class_index, STATISTIC_MEAN_PROBABILITY, any ? count->probability / n : 0.0);
    add(statistics, class_index, STATISTIC_REGIONS_4, (double)count->n_regions_4);
    add(statistics, class_index, STATISTIC_REGIONS_8, (double)count->n_regions_8);
    add(statistics, class_index, STATISTIC_MEAN_REGION_CHIPS,
        any ? n / (double)count->n_regions_8 : 0.0);
}

int statistics_compute(const uint16_t *labels, const float *probabilities, uint32_t rows,
                       uint32_t columns, uint32_t n_classes, struct statistics *out,
                       struct error *err)
{
    uint64_t n_chips = (uint64_t)rows * columns, n_analysed = 0;
    struct count counts[CLASSIFIER_CLASSES_MAX] = {0};
    struct statistics statistics = {0};
    int rc = check(labels, n_chips, n_classes, err);
    if (rc == 0)
        rc = count_regions(labels, rows, columns, n_classes, counts, err);
    if (rc < 0)
        return rc;
    statistics.items = calloc((size_t)n_classes * PER_CLASS, sizeof(*statistics.items));
    if (statistics.items == NULL)
        return error_set_nomem(err, "the statistics");
    count_chips(labels, probabilities, n_chips, n_classes, counts, &n_analysed);
    for (uint32_t k = 0; k < n_classes; k++)
        describe(&statistics, k, &counts[k], n_analysed);
    *out = statistics;
    return 0;
}

void statistics_clear(struct statistics *statistics)
{
    free(statistics->items);
    *statistics = (struct statistics){0};
}

const struct statistic *statistics_find(const struct statistics *statistics, int32_t class_index,
                                        const char *name)
{
    for (size_t i = 0; i < statistics->n_items; i++) {
        const struct statistic *item = &statistics->items[i];
        if (item->class_index == class_index && strcmp(item->name, name) == 0)
            return item;
    }
    return NULL;
}
