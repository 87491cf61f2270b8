/* Everything is counted first, in one walk over the chips, one over the map's cells and some over
 * their neighbourhoods, and then written down class by class. */
#include "engine/fewshot/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/interface.h"
#include "engine/fewshot/map/layout.h"
#include "engine/fewshot/map/regions.h"

enum {
    PER_CLASS = 8 + 1 + STATISTIC_REGION_SIZES + 2 + 6,
    NO_CLASSES = LABEL_NOT_ANALYSED - LABEL_UNDECIDED + 1, /* labels that are no class */
    PER_NO_CLASS = 2,
};

_Static_assert((int)STATISTIC_REGION_SIZES == (int)LAYOUT_SIZES, "each size has a name");

const char *const statistic_region_sizes[STATISTIC_REGION_SIZES] = {
    "n_regions_2^00_pixels", "n_regions_2^01_pixels", "n_regions_2^02_pixels",
    "n_regions_2^03_pixels", "n_regions_2^04_pixels", "n_regions_2^05_pixels",
    "n_regions_2^06_pixels", "n_regions_2^07_pixels", "n_regions_2^08_pixels",
    "n_regions_2^09_pixels", "n_regions_2^10_pixels", "n_regions_2^11_pixels",
    "n_regions_2^12_pixels", "n_regions_2^13_pixels", "n_regions_2^14_pixels",
    "n_regions_2^15_pixels", "n_regions_2^16_pixels", "n_regions_2^17_pixels",
    "n_regions_2^18_pixels", "n_regions_2^19_pixels", "n_regions_2^20_pixels",
    "n_regions_2^21_pixels", "n_regions_2^22_pixels", "n_regions_2^23_pixels",
    "n_regions_2^24_pixels", "n_regions_2^25_pixels", "n_regions_2^26_pixels",
    "n_regions_2^27_pixels", "n_regions_2^28_pixels", "n_regions_2^29_pixels",
    "n_regions_2^30_pixels"};

/* Chips and pixels of each label that is no class, in the order of the labels. */
static const char *const no_class_names[NO_CLASSES][PER_NO_CLASS] = {
    {STATISTIC_UNDECIDED_CHIPS, STATISTIC_UNDECIDED_PIXELS},
    {STATISTIC_UNKNOWN_CHIPS, STATISTIC_UNKNOWN_PIXELS},
    {STATISTIC_NOT_ANALYSED_CHIPS, STATISTIC_NOT_ANALYSED_PIXELS},
};

/* What is counted of a label. */
struct count {
    uint64_t n_chips;
    uint64_t n_regions_4, n_regions_8;
    uint64_t n_pixels;  /* of its cells */
    double probability; /* sum over its chips */
};

/* How the regions of the classes lie. */
struct places {
    struct layout layouts[CLASSIFIER_CLASSES_MAX];
    struct interface interfaces[CLASSIFIER_CLASSES_MAX];
};

/* Of all labels. */
struct counts {
    struct count classes[CLASSIFIER_CLASSES_MAX];
    struct count no_classes[NO_CLASSES];
    uint64_t n_pixels; /* of all cells but those that were left out, and classes not counted */
};

/* The label is valid. */
static struct count *count_of(struct counts *counts, uint16_t label)
{
    return label < CLASSIFIER_CLASSES_MAX ? &counts->classes[label]
                                          : &counts->no_classes[label - LABEL_UNDECIDED];
}

/* The map, and what its cells add up to. */
struct areas {
    struct fine_map map;
    uint16_t *labels; /* of its cells; owned */
    uint32_t n_classes;
    uint64_t uncounted;
    struct counts *counts;
};

static bool is_counted(uint64_t uncounted, uint32_t label)
{
    return label >= CLASSIFIER_CLASSES_MAX || (uncounted >> label & 1) == 0;
}

static void count_chips(const struct fine_source *source, struct counts *counts)
{
    const uint64_t n_chips = grid_n_chips(source->grid);
    const uint32_t n_classes = source->n_classes;
    for (uint64_t i = 0; i < n_chips; i++) {
        const uint16_t label = source->labels[i];
        struct count *count = count_of(counts, label);
        count->n_chips++;
        if (label < n_classes)
            count->probability += source->probabilities[i * n_classes + label];
    }
}

static uint32_t length(const struct fine_axis *axis, uint32_t cell)
{
    return fine_axis_end(axis, cell) - fine_axis_begin(axis, cell);
}

static void take_row(void *context, uint32_t row, const uint16_t *labels)
{
    struct areas *areas = context;
    const struct fine_map *map = &areas->map;
    const uint64_t height = length(&map->y, row);
    for (uint32_t column = 0; column < map->x.n_cells; column++) {
        const uint64_t n_pixels = height * length(&map->x, column);
        count_of(areas->counts, labels[column])->n_pixels += n_pixels;
        if (labels[column] != LABEL_NOT_ANALYSED && is_counted(areas->uncounted, labels[column]))
            areas->counts->n_pixels += n_pixels;
    }
    memcpy(areas->labels + (size_t)row * map->x.n_cells, labels, map->x.n_cells * sizeof(*labels));
}

static int count_regions(const struct areas *areas, struct error *err)
{
    uint64_t regions_4[CLASSIFIER_CLASSES_MAX], regions_8[CLASSIFIER_CLASSES_MAX];
    int rc = regions_count(areas->labels, areas->map.y.n_cells, areas->map.x.n_cells,
                           areas->n_classes, regions_4, regions_8, err);
    if (rc < 0)
        return rc;
    for (uint32_t k = 0; k < areas->n_classes; k++) {
        areas->counts->classes[k].n_regions_4 = regions_4[k];
        areas->counts->classes[k].n_regions_8 = regions_8[k];
    }
    return 0;
}

/* Fills the counts (zero before) and the places. */
static int count_areas(const struct fine_source *source, uint64_t uncounted, struct counts *counts,
                       struct places *places, struct error *err)
{
    struct areas areas = {.n_classes = source->n_classes, .uncounted = uncounted, .counts = counts};
    fine_map_plan(source->grid, &areas.map);
    const uint64_t n_cells = fine_map_n_cells(&areas.map);
    if (n_cells > UINT32_MAX)
        return error_set(err, ERROR_INVALID, "cells of the map: %llu, at most %u are allowed",
                         (unsigned long long)n_cells, UINT32_MAX);
    areas.labels = calloc(n_cells, sizeof(*areas.labels));
    if (areas.labels == NULL)
        return error_set_nomem(err, "the statistics");
    int rc = fine_map_visit_labels(source, take_row, &areas, err);
    if (rc == 0)
        rc = count_regions(&areas, err);
    if (rc == 0)
        rc = layout_measure(areas.labels, &areas.map, areas.n_classes, places->layouts, err);
    if (rc == 0)
        rc = interfaces_measure(areas.labels, &areas.map, areas.n_classes, places->interfaces, err);
    free(areas.labels);
    return rc;
}

static void add(struct statistics *statistics, int32_t class_index, const char *name, double value)
{
    statistics->items[statistics->n_items++] = (struct statistic){.class_index = class_index,
                                                                  .name = name,
                                                                  .unit = "",
                                                                  .value = value,
                                                                  .low = NAN,
                                                                  .high = NAN};
}

/* At most PER_CLASS numbers; `n_pixels`: what its area is a fraction of, 0: of nothing. Of a class
 * that wins no cell, chips may be left, and the other way round: overlapping windows outvote each
 * other. */
static void describe(struct statistics *statistics, int32_t class_index, const struct count *count,
                     uint64_t n_pixels)
{
    const double n = (double)count->n_chips, n_regions = (double)count->n_regions_8;
    const double area = (double)count->n_pixels;
    add(statistics, class_index, STATISTIC_CHIPS, n);
    add(statistics, class_index, STATISTIC_AREA_FRACTION,
        count->n_pixels > 0 && n_pixels > 0 ? area / (double)n_pixels : 0.0);
    add(statistics, class_index, STATISTIC_AREA_PIXELS, area);
    add(statistics, class_index, STATISTIC_MEAN_PROBABILITY, n > 0 ? count->probability / n : 0.0);
    add(statistics, class_index, STATISTIC_REGIONS_4, (double)count->n_regions_4);
    add(statistics, class_index, STATISTIC_REGIONS_8, n_regions);
    add(statistics, class_index, STATISTIC_MEAN_REGION_CHIPS, n_regions > 0 ? n / n_regions : 0.0);
    add(statistics, class_index, STATISTIC_MEAN_REGION_PIXELS,
        n_regions > 0 ? area / n_regions : 0.0);
}

static void describe_layout(struct statistics *statistics, int32_t class_index,
                            const struct layout *layout)
{
    add(statistics, class_index, STATISTIC_REGIONS_BORDER, (double)layout->n_border);
    for (int i = 0; i < STATISTIC_REGION_SIZES; i++) {
        if (layout->n_of_size[i] > 0)
            add(statistics, class_index, statistic_region_sizes[i], (double)layout->n_of_size[i]);
    }
    if (isnan(layout->nn_distance_mean))
        return;
    add(statistics, class_index, STATISTIC_NN_DISTANCE, layout->nn_distance_mean);
    add(statistics, class_index, STATISTIC_NN_RATIO, layout->nn_ratio);
}

static void describe_interface(struct statistics *statistics, int32_t class_index,
                               const struct interface *interface, uint32_t n_classes)
{
    if (interface->next == n_classes)
        return;
    add(statistics, class_index, STATISTIC_INTERFACE_NEXT, interface->next);
    add(statistics, class_index, STATISTIC_INTERFACE_AXIS, interface->axis);
    add(statistics, class_index, STATISTIC_INTERFACE_POSITION, interface->position);
    add(statistics, class_index, STATISTIC_INTERFACE_TILT, interface->tilt);
    add(statistics, class_index, STATISTIC_INTERFACE_ROUGHNESS, interface->roughness);
    if (!isnan(interface->correlation_length))
        add(statistics, class_index, STATISTIC_INTERFACE_CORRELATION,
            interface->correlation_length);
}

/* Of the labels that are no class those that are there. */
static void describe_no_classes(struct statistics *statistics, const struct counts *counts)
{
    for (uint32_t i = 0; i < NO_CLASSES; i++) {
        const struct count *count = &counts->no_classes[i];
        if (count->n_chips == 0 && count->n_pixels == 0)
            continue;
        add(statistics, STATISTIC_OF_IMAGE, no_class_names[i][0], (double)count->n_chips);
        add(statistics, STATISTIC_OF_IMAGE, no_class_names[i][1], (double)count->n_pixels);
    }
}

int statistics_compute(const struct fine_source *source, uint64_t uncounted, struct statistics *out,
                       struct error *err)
{
    struct counts counts = {0};
    struct places places;
    struct statistics statistics = {0};
    int rc = count_areas(source, uncounted, &counts, &places, err);
    if (rc < 0)
        return rc;
    statistics.items = calloc((size_t)source->n_classes * PER_CLASS + NO_CLASSES * PER_NO_CLASS,
                              sizeof(*statistics.items));
    if (statistics.items == NULL)
        return error_set_nomem(err, "the statistics");
    count_chips(source, &counts);
    describe_no_classes(&statistics, &counts);
    for (uint32_t k = 0; k < source->n_classes; k++) {
        describe(&statistics, (int32_t)k, &counts.classes[k],
                 is_counted(uncounted, k) ? counts.n_pixels : 0);
        describe_layout(&statistics, (int32_t)k, &places.layouts[k]);
        describe_interface(&statistics, (int32_t)k, &places.interfaces[k], source->n_classes);
    }
    *out = statistics;
    return 0;
}

int statistics_add(struct statistics *statistics, const struct statistic *item, struct error *err)
{
    struct statistic *items =
        reallocarray(statistics->items, statistics->n_items + 1, sizeof(*statistics->items));
    if (items == NULL)
        return error_set_nomem(err, "the statistics");
    size_t at = statistics->n_items++;
    for (; at > 0 && items[at - 1].class_index > item->class_index; at--)
        items[at] = items[at - 1];
    items[at] = *item;
    statistics->items = items;
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
