#include "api/results/statistics_json.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum kind { COUNT, NUMBER, PIXELS, AREA };

enum { NAMES = 3 };

/* In the order of the answer, each by the names that programs have stored it under, the newest
 * first. Those before counted areas in pieces of stride x stride pixels: cells of the map, or, when
 * there were none, chips. */
static const struct member {
    const char *key;
    enum kind kind;
    const char *statistics[NAMES]; /* NULL: no more */
} members[] = {
    {"n_chips", COUNT, {STATISTIC_CHIPS}},
    {"area_fraction", NUMBER, {STATISTIC_AREA_FRACTION}},
    {"area_pixels", PIXELS, {STATISTIC_AREA_PIXELS, "area_cells", STATISTIC_CHIPS}},
    {"area_nm2", AREA, {STATISTIC_AREA_PIXELS, "area_cells", STATISTIC_CHIPS}},
    {"mean_probability", NUMBER, {STATISTIC_MEAN_PROBABILITY}},
    {"n_regions_4", COUNT, {STATISTIC_REGIONS_4}},
    {"n_regions_8", COUNT, {STATISTIC_REGIONS_8}},
    {"mean_region_chips", NUMBER, {STATISTIC_MEAN_REGION_CHIPS}},
    {"mean_region_area_nm2",
     AREA,
     {STATISTIC_MEAN_REGION_PIXELS, "mean_region_cells", STATISTIC_MEAN_REGION_CHIPS}},
};

/* Whole numbers up to here are exact in a double. */
static bool is_count(double value)
{
    return value >= 0.0 && value <= 0x1p53;
}

/* In pixels. */
static double area(const struct member *member, const struct statistic *item,
                   const struct statistics_scale *scale)
{
    const bool is_new = strcmp(item->name, member->statistics[0]) == 0;
    return is_new ? item->value : item->value * (double)scale->stride_pixels;
}

static json_t *to_json(const struct member *member, const struct statistic *item,
                       const struct statistics_scale *scale)
{
    switch (member->kind) {
    case COUNT:
        return json_integer((json_int_t)item->value);
    case NUMBER:
        return json_real(item->value);
    case PIXELS:
        return json_integer((json_int_t)llround(area(member, item, scale)));
    case AREA:
        return isnan(scale->pixel_area_nm2)
                   ? json_null()
                   : json_real(area(member, item, scale) * scale->pixel_area_nm2);
    }
    return NULL;
}

static const struct statistic *find(const struct statistics *statistics, int32_t class_index,
                                    const struct member *member)
{
    const struct statistic *item = NULL;
    for (int i = 0; item == NULL && i < NAMES && member->statistics[i] != NULL; i++)
        item = statistics_find(statistics, class_index, member->statistics[i]);
    return item;
}

/* What the probabilities alone say of the fraction; null in results of programs before, and where
 * no chip has a class. */
static json_t *fraction_estimate_json(const struct statistics *statistics, int32_t class_index)
{
    const struct statistic *item =
        statistics_find(statistics, class_index, STATISTIC_FRACTION_ESTIMATE);
    if (item == NULL || isnan(item->low) || isnan(item->high))
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:s}", "value", item->value, "low", item->low, "high",
                     item->high, "basis", "unverified, optimistic");
}

int statistics_json_add(json_t *object, const struct statistics *statistics, uint32_t class_index,
                        const struct statistics_scale *scale, struct error *err)
{
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct statistic *item = find(statistics, (int32_t)class_index, &members[i]);
        if (item == NULL ||
            ((members[i].kind == COUNT || members[i].kind == PIXELS) && !is_count(item->value)))
            return error_set(err, ERROR_CORRUPT, "class %u has no %s", class_index,
                             members[i].statistics[0]);
        if (json_object_set_new(object, members[i].key, to_json(&members[i], item, scale)) != 0)
            return error_set_nomem(err, "a class' statistics");
    }
    if (json_object_set_new(object, "fraction_estimate",
                            fraction_estimate_json(statistics, (int32_t)class_index)) != 0)
        return error_set_nomem(err, "a class' statistics");
    return 0;
}

int statistics_json_uncount(json_t *object, struct error *err)
{
    return json_object_set_new(object, "area_fraction", json_null()) == 0
               ? 0
               : error_set_nomem(err, "a class' statistics");
}

static const struct {
    const char *key, *chips, *pixels;
} no_classes[] = {
    {"undecided", STATISTIC_UNDECIDED_CHIPS, STATISTIC_UNDECIDED_PIXELS},
    {"unknown", STATISTIC_UNKNOWN_CHIPS, STATISTIC_UNKNOWN_PIXELS},
    {"not_analysed", STATISTIC_NOT_ANALYSED_CHIPS, STATISTIC_NOT_ANALYSED_PIXELS},
};

/* 0: there are none. */
static double value_of_image(const struct statistics *statistics, const char *name)
{
    const struct statistic *item = statistics_find(statistics, STATISTIC_OF_IMAGE, name);
    return item != NULL ? item->value : 0.0;
}

int statistics_json_add_no_classes(json_t *object, const struct statistics *statistics,
                                   double pixel_area_nm2, struct error *err)
{
    for (size_t i = 0; i < sizeof(no_classes) / sizeof(no_classes[0]); i++) {
        const double n_chips = value_of_image(statistics, no_classes[i].chips);
        const double n_pixels = value_of_image(statistics, no_classes[i].pixels);
        if (!is_count(n_chips) || !is_count(n_pixels))
            return error_set(err, ERROR_CORRUPT, "%s is no number of chips", no_classes[i].chips);
        json_t *value = json_pack(
            "{s:I, s:I, s:o}", "n_chips", (json_int_t)n_chips, "area_pixels", (json_int_t)n_pixels,
            "area_nm2", isnan(pixel_area_nm2) ? json_null() : json_real(n_pixels * pixel_area_nm2));
        if (json_object_set_new(object, no_classes[i].key, value) != 0)
            return error_set_nomem(err, "a result's statistics");
    }
    return 0;
}
