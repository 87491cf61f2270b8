/* The grid of chips (small windows) laid over an image, and the resampling of one chip to the
 * encoder's input size. */
#ifndef CHIPSHOT_ENGINE_IMAGE_CHIP_GRID_H
#define CHIPSHOT_ENGINE_IMAGE_CHIP_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { CHIP_SIDE_MIN = 4, CHIP_SIDE_MAX = 4096 };

enum grid_edge {
    GRID_EDGE_DROP,  /* only chips that lie inside the image at their regular place */
    GRID_EDGE_COVER, /* one more last row and column, shifted inwards so that every pixel from the
                        offset on is covered */
};

struct grid_params {
    uint32_t chip_width; /* pixels */
    uint32_t chip_height;
    uint32_t stride_x; /* pixels; 0 means chip_width */
    uint32_t stride_y; /* pixels; 0 means chip_height */
    uint32_t offset_x; /* left edge of the first column */
    uint32_t offset_y;
    enum grid_edge edge;
};

struct chip_rect {
    uint32_t x, y; /* top left corner in pixels */
    uint32_t width, height;
};

struct grid {
    struct grid_params params; /* strides filled in */
    uint32_t image_width;
    uint32_t image_height;
    uint32_t rows;
    uint32_t columns;
};

const char *grid_edge_name(enum grid_edge edge);
int grid_edge_parse(const char *name, enum grid_edge *out, struct error *err);

/* Plans a grid. ERROR_INVALID: a chip larger than the image or outside CHIP_SIDE_MIN..MAX, an
 * offset that leaves no room, more than `max_chips` chips; the message names field, limit and
 * value. */
int grid_plan(const struct grid_params *params, uint32_t image_width, uint32_t image_height,
              uint64_t max_chips, struct grid *out, struct error *err);

/* rows x columns */
uint64_t grid_n_chips(const struct grid *grid);

/* The window of chip `index` (row-major). `index` < grid_n_chips. */
struct chip_rect grid_chip(const struct grid *grid, uint64_t index);

/* Index of the grid chip that is exactly `rect`, or -1. */
int64_t grid_find(const struct grid *grid, const struct chip_rect *rect);

/* ERROR_INVALID unless `rect` is at least CHIP_SIDE_MIN a side and inside width x height. */
int chip_rect_check(const struct chip_rect *rect, uint32_t image_width, uint32_t image_height,
                    struct error *err);

/* Resamples the window `rect` of a plane (image_width floats a row) to out_width x out_height by
 * antialiased bilinear (triangle filter, widened when shrinking; the definition used by Pillow and
 * by PyTorch's interpolate(antialias=True, align_corners=False)). Reads nothing outside the window.
 * The same bytes whichever chip is asked for first, on any thread. `scratch` holds at least
 * chip_resample_scratch(rect->height, out_width, ...) floats and belongs to the caller. */
void chip_resample(const float *pixels, uint32_t image_width, const struct chip_rect *rect,
                   uint32_t out_width, uint32_t out_height, float *scratch, float *out);

/* Floats that chip_resample needs as scratch for windows up to this size. */
size_t chip_resample_scratch(uint32_t chip_width, uint32_t chip_height, uint32_t out_width,
                             uint32_t out_height);

#endif
