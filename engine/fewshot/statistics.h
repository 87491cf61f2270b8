/* Statistics of one classified image: numbers with names, about the image or about one class of it.
 * A new one is a name here and a line where it is computed; those who store and answer them take
 * any. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H
#define CHIPSHOT_ENGINE_FEWSHOT_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"

enum { STATISTIC_REGION_SIZES = 31 }; /* octaves of areas in pixels */

/* Of a class. Means are 0 when there is nothing to average. What is about places is read off the
 * map (fine_map.h): where windows overlap, its cells and not the chips part the image. */
#define STATISTIC_CHIPS "n_chips"
/* area of the class / area of all cells that were analysed, undecided and unknown ones too */
#define STATISTIC_AREA_FRACTION "area_fraction"
/* A class that is not counted is in no fraction of others, and its own is 0. */
/* area in pixels of the image: those of its cells (fine_map.h), so that the classes and what has
 * none add up to fine_map_n_pixels */
#define STATISTIC_AREA_PIXELS "area_pixels"
/* of the class, over the chips that carry its label */
#define STATISTIC_MEAN_PROBABILITY "mean_probability"
/* connected regions of the map, 4- and 8-neighbour */
#define STATISTIC_REGIONS_4 "n_regions_4"
#define STATISTIC_REGIONS_8 "n_regions_8"
/* n_chips / n_regions_8, and area_pixels / n_regions_8 */
#define STATISTIC_MEAN_REGION_CHIPS  "mean_region_chips"
#define STATISTIC_MEAN_REGION_PIXELS "mean_region_pixels"

/* of these 8-neighbour regions: those that touch the map's edge or what was not analysed; those of
 * 2^i up to less than 2^(i + 1) pixels, left out where there are none */
#define STATISTIC_REGIONS_BORDER "n_regions_border"
extern const char *const statistic_region_sizes[STATISTIC_REGION_SIZES];
/* distance of a region's centroid to the nearest other one of the class, in pixels: mean,
 * and that over the mean of points at random (layout.h); left out below two regions */
#define STATISTIC_NN_DISTANCE "nn_distance_mean"
#define STATISTIC_NN_RATIO    "nn_ratio"
/* where the class and the one below it or to its right are layers (interface.h), else left out:
 * that class, the axis, and in pixels where the interface lies, how rough it is and how far its
 * heights hang together */
#define STATISTIC_INTERFACE_NEXT        "interface_next"
#define STATISTIC_INTERFACE_AXIS        "interface_axis"
#define STATISTIC_INTERFACE_POSITION    "interface_position"
#define STATISTIC_INTERFACE_TILT        "interface_tilt"
#define STATISTIC_INTERFACE_ROUGHNESS   "interface_roughness"
#define STATISTIC_INTERFACE_CORRELATION "interface_correlation"
/* of the chips with a class, by their probabilities alone (class_prior.h); left out where none has
 * one. Its interval is optimistic */
#define STATISTIC_FRACTION_ESTIMATE "fraction_estimate"

/* Of the image: chips without a class, and their area as above; left out where there are none. */
#define STATISTIC_UNDECIDED_CHIPS     "undecided_chips"
#define STATISTIC_UNDECIDED_PIXELS    "undecided_pixels"
#define STATISTIC_UNKNOWN_CHIPS       "unknown_chips"
#define STATISTIC_UNKNOWN_PIXELS      "unknown_pixels"
#define STATISTIC_NOT_ANALYSED_CHIPS  "not_analysed_chips"
#define STATISTIC_NOT_ANALYSED_PIXELS "not_analysed_pixels"

/* Of the image: how far it lies from the examples (drift.h), measured by itself, by the support
 * images, by the series; those that were asked for. */
#define STATISTIC_SUPPORT_DISTANCE_OWN     "support_distance_own"
#define STATISTIC_SUPPORT_DISTANCE_SUPPORT "support_distance_support"
#define STATISTIC_SUPPORT_DISTANCE_SERIES  "support_distance_series"

enum { STATISTIC_OF_IMAGE = -1 }; /* class_index of a number about the image as a whole */

/* A label, a node of the trees of regions, and what is kept of a region: as if each cell were one.
 */
enum { STATISTICS_CELL_SIZE = sizeof(uint16_t) + sizeof(uint32_t) + 44 };

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

/* Beside the source it takes memory for the map: STATISTICS_CELL_SIZE bytes a cell. ERROR_INVALID:
 * a label that may not be, more than UINT32_MAX cells. ERROR_NOMEM, ERROR_CANCELLED. */
int statistics_compute(const struct fine_source *source, uint64_t uncounted, struct statistics *out,
                       struct error *err);
/* Adds a number behind the others of its class. ERROR_NOMEM. */
int statistics_add(struct statistics *statistics, const struct statistic *item, struct error *err);
void statistics_clear(struct statistics *statistics);

/* NULL: there is none. */
const struct statistic *statistics_find(const struct statistics *statistics, int32_t class_index,
                                        const char *name);

#endif
