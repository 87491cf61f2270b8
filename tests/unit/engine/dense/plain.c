#include "tests/unit/engine/dense/plain.h"

#include <math.h>

#include "tests/test.h"

struct dense_geometry plain_geometry(const struct plain_sizes *sizes)
{
    const struct grid image = {
        .params = {.chip_width = sizes->chip_width, .chip_height = sizes->chip_height},
        .image_width = sizes->width,
        .image_height = sizes->height,
    };
    struct dense_geometry geometry;
    assert_int_equal(dense_geometry_init(&geometry, &image, sizes->input, NULL), 0);
    return geometry;
}

uint32_t plain_random(uint32_t *state, uint32_t n)
{
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(*state >> 8) * n) >> 24);
}

/* Stage 0's cells begin at the image's edge; the others' positions are centred on whole pixels
 * counted from a tile's margin. */
double plain_weight(const struct dense_geometry *geometry, const struct dense_axis *axis,
                    uint32_t stage, uint32_t position, double begin, double length)
{
    const double step = stage == 0 ? 4 : 2 << stage;
    const double margin = geometry->margin;
    const double first_centre = stage == 0 ? 2 : ceil(margin / step) * step - margin + 0.5;
    double low = first_centre + position * step - step / 2, high = low + step;
    if (position == 0)
        low = -INFINITY;
    if (position + 1 == axis->n_positions[stage])
        high = INFINITY;
    return fmax(0, fmin(high, begin + length) - fmax(low, begin)) / length;
}
