/* Things that stand out of their surroundings, each cut off at half of its own height. Internal to
 * engine/fewshot.
 *
 * Each peak of a plane of heights has a basin (watershed.h). In it, what is higher than half of the
 * peak is a first guess of the thing; the mean of that is its plateau, the mean of a ring around it
 * its base, and half way between the two its outline, which is found so twice. So one that lies on
 * a cloud is cut off at half of what it adds to the cloud.
 *
 * It is a thing if the plateau is BASIN_LEVEL_MIN times as high above the base as the ring's own
 * spread and the image's noise, and if it has an edge: from BASIN_EDGE_HIGH down to BASIN_EDGE_LOW
 * of its height its area grows by no more than BASIN_EDGE_GROWTH. That of a cloud does. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_BASINS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_BASINS_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

#define BASIN_LEVEL_MIN   4.5
#define BASIN_EDGE_LOW    0.4
#define BASIN_EDGE_HIGH   0.6
#define BASIN_EDGE_GROWTH 1.8

enum {
    BASIN_ONE = 128,                 /* steps of a height in a level of grey */
    BASIN_NOT_LOOKED_AT = INT16_MIN, /* instead of a height */
};

/* All borrowed. */
struct basins_plane {
    const int16_t *heights; /* height x width: above what is background for all */
    uint32_t width, height;
    double spread, noise; /* of that background, in steps; noise is what is left of it between
                             pixels that are near to each other */
    uint32_t ring_begin;  /* pixels from a thing to the ring around it: as far as the image is
                             smoothed */
    uint32_t ring_width;  /* at least 1 */
    const struct cancel *cancel;
};

/* `labels`: height x width, the caller's: 0, or the number of the basin whose thing a pixel is part
 * of. 16 bytes a pixel of memory beside. ERROR_NOMEM, ERROR_CANCELLED. */
int grey_basins_find(const struct basins_plane *plane, uint32_t *labels, struct error *err);

#endif
