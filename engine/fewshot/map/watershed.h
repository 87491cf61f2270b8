/* Regions of a raster, split where they have a neck. Internal to engine/fewshot.
 *
 * Watershed by flooding (Vincent and Soille, IEEE PAMI 13, 583, 1991) with heights turned upside
 * down: each peak has a basin, basins grow downhill, and where two meet, at their saddle, they
 * become one unless the saddle lies clearly below the lower of the two peaks (its dynamics,
 * Grimaud, Proc. SPIE 1769, 292, 1992). So what noise and a wavy outline add to the heights splits
 * nothing. With equal heights everywhere it gives the connected regions. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_WATERSHED_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_WATERSHED_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

/* When two basins stay apart. */
struct watershed_params {
    double ratio;   /* saddle below ratio x the lower peak, 0..1; 0: never */
    uint16_t depth; /* and the lower peak at least so much above the saddle */
};

/* `parts`: NULL, or n_y x n_x numbers: cells of different ones are no neighbours. `heights`: n_y x
 * n_x, at most UINT32_MAX in all; 0 belongs to no region. Neighbours are the eight around. `labels`
 * (n_y x n_x, the caller's, may be `parts`): 0, or 1 .. *n_regions in the order in which rows from
 * the top meet them. Deterministic. ERROR_NOMEM, ERROR_CANCELLED. */
int watershed_label(const struct watershed_params *params, const uint16_t *heights,
                    const uint32_t *parts, uint32_t n_x, uint32_t n_y, const struct cancel *cancel,
                    uint32_t *labels, uint32_t *n_regions, struct error *err);

enum { WATERSHED_PIXEL = 16 }; /* steps of watershed_distances' heights in a pixel */

/* Heights of a mask (`labels` not 0): the distance to the nearest centre of a pixel outside it, in
 * steps of 1 / WATERSHED_PIXEL, at most 65535. Beyond the raster's edge there is no outside: where
 * an object is cut off it is as thick as within. Exact (Meijster, Roerdink and Hesselink, 2000).
 * ERROR_NOMEM, ERROR_CANCELLED. */
int watershed_distances(const uint32_t *labels, uint32_t n_x, uint32_t n_y,
                        const struct cancel *cancel, uint16_t *heights, struct error *err);

#endif
