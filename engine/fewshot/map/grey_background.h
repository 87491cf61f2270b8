/* A part of an image by how far each pixel is from its background. Internal to engine/fewshot.
 *
 * The image is smoothed a little, and a plane is laid through the pixels of which it is known that
 * they are background, by least squares; those that an earlier plane is far from are left out. What
 * is left of them about the plane is the background's spread, noise and texture alike: what is
 * several times as far away is something else. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_BACKGROUND_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

enum { GREY_ONE = 256 }; /* steps of what is smoothed in a level of grey */

/* A Gaussian of `sigma` pixels over width x height levels, in whole numbers, the edge's pixels
 * repeated, into `out` (as large). ERROR_NOMEM, ERROR_CANCELLED. */
int grey_smooth(const uint8_t *grey, uint32_t width, uint32_t height, double sigma,
                const struct cancel *cancel, uint16_t *out, struct error *err);

/* To be zeroed; then, GREY_TURNS times, all rows are added and the plane is fitted. In steps. */
struct grey_background {
    double level, slope_x, slope_y; /* from row and column 0 on */
    double spread;                  /* standard deviation of the pixels about it, at least half a
                                       level */
    bool is_fitted;                 /* false: there is no background */
    double sums[10];
};

enum { GREY_TURNS = 3 };

/* Adds a row's pixels where `is_background` is not 0. */
void grey_background_add(struct grey_background *background, const uint16_t *grey,
                         const uint8_t *is_background, uint32_t width, uint32_t row);
void grey_background_fit(struct grey_background *background);

/* How far a pixel is above the background. */
static inline double grey_above(const struct grey_background *background, uint16_t grey, uint32_t x,
                                uint32_t y)
{
    return grey - (background->level + background->slope_x * x + background->slope_y * y);
}

#endif
