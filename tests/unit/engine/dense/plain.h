/* Dense encoding as it is defined, in the plainest way, for tests of it to compare with. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_DENSE_PLAIN_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_DENSE_PLAIN_H

#include <stdint.h>

#include "engine/dense/geometry.h"

/* Sizes in pixels of an image and its chips. */
struct plain_sizes {
    uint32_t width, height;
    uint32_t chip_width, chip_height;
    uint32_t input;
};

/* Fails the test where the sizes are refused. */
struct dense_geometry plain_geometry(const struct plain_sizes *sizes);

/* The next of a row of random numbers, 0 .. n - 1. */
uint32_t plain_random(uint32_t *state, uint32_t n);

/* The share of a window that lies in a position's cell. */
double plain_weight(const struct dense_geometry *geometry, const struct dense_axis *axis,
                    uint32_t stage, uint32_t position, double begin, double length);

#endif
