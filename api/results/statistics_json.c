#include "api/results/statistics_json.h"

#include <math.h>
#include <stdbool.h>

enum kind { COUNT, NUMBER, AREA };

/* In the order of the answer. Results that were stored before there were cells have no areas:
 * theirs are those of the chips that `earlier` counts. */
static const struct member {
    const char *key;
    const char *statistic;
    enum kind kind;
    const char *earlier; /* NULL: each result has the statistic */
} members[] = {
    {"n_chips", STATISTIC_CHIPS, COUNT, NULL},
    {"area_fraction", STATISTIC_AREA_FRACTION, NUMBER, NULL},
    {"area_nm2", STATISTIC_AREA_CELLS, AREA, STATISTIC_CHIPS},
    {"mean_probability", STATISTIC_MEAN_PROBABILITY, NUMBER, NULL},
    {"n_regions_4", STATISTIC_REGIONS_4, COUNT, NULL},
    {"n_regions_8", STATISTIC_REGIONS_8, COUNT, NULL},
    {"mean_region_chips", STATISTIC_MEAN_REGION_CHIPS, NUMBER, NULL},
    {"mean_region_area_nm2", STATISTIC_MEAN_REGION_CELLS, AREA, STATISTIC_MEAN_REGION_CHIPS},
};

/* Whole numbers up to here are exact in a double. */
static bool is_count(double value)
{
    return value >= 0.0 && value <= 0x1p53;
}

static json_t *to_json(enum kind kind, double value, double cell_area_nm2)
{
    switch (kind) {
    case COUNT:
        return json_integer((json_int_t)value);
    case NUMBER:
        return json_real(value);
    case AREA:
        return isnan(cell_area_nm2) ? json_null() : json_real(value * cell_area_nm2);
    }
    return NULL;
}

static const struct statistic *find(const struct statistics *statistics, int32_t class_index,
                                    const struct member *member)
{
    const struct statistic *item = statistics_find(statistics, class_index, member->statistic);
    return item == NULL && member->earlier != NULL
               ? statistics_find(statistics, class_index, member->earlier)
               : item;
}

double statistics_cell_area_nm2(double pixel_size_nm, uint32_t stride_x, uint32_t stride_y)
{
    if (!(pixel_size_nm > 0))
        return NAN;
    return (double)stride_x * stride_y * pixel_size_nm * pixel_size_nm;
}

int statistics_json_add(json_t *object, const struct statistics *statistics, uint32_t class_index,
                        double cell_area_nm2, struct error *err)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct statistic *item = find(statistics, (int32_t)class_index, &members[i]);
        if (item == NULL || (members[i].kind == COUNT && !is_count(item->value)))
            return error_set(err, ERROR_CORRUPT, "class %u has no %s", class_index,
                             members[i].statistic);
        if (json_object_set_new(object, members[i].key,
                                to_json(members[i].kind, item->value, cell_area_nm2)) != 0)
            return error_set_nomem(err, "a class' statistics");
    }
    return 0;
}

static const struct {
    const char *key, *chips, *cells;
} no_classes[] = {
    {"undecided", STATISTIC_UNDECIDED_CHIPS, STATISTIC_UNDECIDED_CELLS},
    {"unknown", STATISTIC_UNKNOWN_CHIPS, STATISTIC_UNKNOWN_CELLS},
    {"not_analysed", STATISTIC_NOT_ANALYSED_CHIPS, STATISTIC_NOT_ANALYSED_CELLS},
};

/* 0: there are none. */
static double value_of_image(const struct statistics *statistics, const char *name)
{
    const struct statistic *item = statistics_find(statistics, STATISTIC_OF_IMAGE, name);
    return item != NULL ? item->value : 0.0;
}

int statistics_json_add_no_classes(json_t *object, const struct statistics *statistics,
                                   double cell_area_nm2, struct error *err)
{
    for (size_t i = 0; i < sizeof(no_classes) / sizeof(no_classes[0]); i++) {
        const double n_chips = value_of_image(statistics, no_classes[i].chips);
        const double n_cells = value_of_image(statistics, no_classes[i].cells);
        if (!is_count(n_chips))
            return error_set(err, ERROR_CORRUPT, "%s is no number of chips", no_classes[i].chips);
        json_t *value = json_pack("{s:o, s:o}", "n_chips", to_json(COUNT, n_chips, NAN), "area_nm2",
                                  to_json(AREA, n_cells, cell_area_nm2));
        if (json_object_set_new(object, no_classes[i].key, value) != 0)
            return error_set_nomem(err, "a result's statistics");
    }
    return 0;
}
