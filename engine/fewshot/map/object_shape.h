/* Shapes of the labelled regions of a raster: area, moments, perimeter, Feret diameters. Internal
 * to engine/fewshot.
 *
 * A raster's cells are rectangles of whole pixels of an image, mostly single pixels. Pixels may be
 * wider than high, so that lengths are computed from the shape itself for each unit, and not by
 * scaling one from another:
 *
 * - perimeter: Crofton's formula over the four directions of a raster, each weighted with its share
 *   of the half circle, so that a circle's is not overestimated as by counting edges: 0.95 (an
 *   upright square's) to 1.06 of the true one (Legland, Kieu and Devaux, Image Anal. Stereol. 26,
 *   83, 2007);
 * - Feret diameters: the largest and the smallest distance of two parallel lines that hold the
 *   convex hull of the cells' corners between them;
 * - eccentricity: that of the ellipse with the same second moments, 0 (round) to 1. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_OBJECT_SHAPE_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_OBJECT_SHAPE_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

/* All borrowed. */
struct shape_raster {
    uint32_t n_x, n_y;
    const uint32_t *labels;  /* n_y x n_x: 0 none, 1 .. n_shapes */
    const uint32_t *x_edges; /* n_x + 1: where columns begin and the last one ends, in pixels */
    const uint32_t *y_edges; /* n_y + 1 */
    double step_x, step_y;   /* of the cells that are not cut short, in pixels */
};

/* In pixels, or in a unit of length. */
struct shape_size {
    double area;
    double equivalent_diameter; /* of the circle of the same area */
    double perimeter;
    double feret_max, feret_min;
};

/* Where the edges of pixel 0 are 0 and 1. */
struct shape {
    struct shape_size px;
    struct shape_size nm;              /* NaN when the pixels' size is not known */
    double eccentricity;               /* in nm where the pixels' size is known */
    double centroid_x, centroid_y;     /* pixels */
    uint32_t left, top, right, bottom; /* pixels: columns left .. right - 1 */
    uint32_t first_x, first_y;         /* its first pixel in the raster's order */
};

/* Every label up to n_shapes occurs, and its cells are connected (8-neighbour). Pixel sizes: both
 * above 0, or 0. `out` has n_shapes. ERROR_NOMEM, ERROR_CANCELLED. */
int shapes_measure(const struct shape_raster *raster, uint32_t n_shapes, double pixel_width_nm,
                   double pixel_height_nm, const struct cancel *cancel, struct shape *out,
                   struct error *err);

#endif
