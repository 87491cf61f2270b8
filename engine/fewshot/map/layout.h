/* How the regions of each class lie on a label map: how large they are, and how far from one
 * another. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_LAYOUT_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_LAYOUT_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"

enum { LAYOUT_SIZES = 31 }; /* octaves of areas: an image has at most 2^30 pixels */

/* Of the 8-neighbour regions of a class. */
struct layout {
    uint64_t n_regions;
    uint64_t n_of_size[LAYOUT_SIZES]; /* regions of 2^i up to less than 2^(i + 1) pixels */
    uint64_t n_border; /* that touch the map's edge or what was not analysed: cut off, maybe */
    /* Over regions the distance of a centroid to the nearest other one of the class, in pixels;
     * NaN: fewer than two regions. Near the edge the nearest may lie outside, which makes the mean
     * too large. */
    double nn_distance_mean;
    /* The mean over that of as many points at random in the same rectangle, with the edge's effect
     * (Donnelly, Simulations to determine the variance and edge effect of total nearest
     * neighbour distance, in Hodder (ed.), Simulation studies in archaeology, 1978): below 1
     * regions cluster, above 1 they keep apart. */
    double nn_ratio;
};

/* labels: of the map's cells, row by row, at most UINT32_MAX. `out`: n_classes. It takes memory for
 * the cells and the regions. ERROR_NOMEM. */
int layout_measure(const uint16_t *labels, const struct fine_map *map, uint32_t n_classes,
                   struct layout *out, struct error *err);

#endif
