/* The grid of chips (small windows) laid over an image, and the resampling of one chip to the
 * encoder's input size. */
#ifndef CHIPSHOT_ENGINE_IMAGE_CHIP_GRID_H
#define CHIPSHOT_ENGINE_IMAGE_CHIP_GRID_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/image/sample_type.h"

enum { CHIP_SIDE_MIN = 4, CHIP_SIDE_MAX = 4096 };

enum grid_edge {
    GRID_EDGE_DROP,  /* only chips that lie inside the image at their regular place */
    GRID_EDGE_COVER, /* one more last row and column, shifted inwards so that every pixel from the
                        offset on is covered (when the stride is at most the chip's size) */
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

/* How many chips, from the first, lie within the first `n_rows` rows of pixels. */
uint64_t grid_chips_within(const struct grid *grid, uint32_t n_rows);

/* How many chips, from the first, begin above row `y` of pixels. */
uint64_t grid_chips_above(const struct grid *grid, uint32_t y);

/* Index of the grid chip that is exactly `rect`, or -1. */
int64_t grid_find(const struct grid *grid, const struct chip_rect *rect);

/* ERROR_INVALID unless `rect` is at least CHIP_SIDE_MIN a side and inside width x height. */
int chip_rect_check(const struct chip_rect *rect, uint32_t image_width, uint32_t image_height,
                    struct error *err);

/* Plan of resampling a width x height window to out_width x out_height by antialiased bilinear: a
 * triangle filter, widened by the scale when shrinking, weights normalised; the definition of
 * Pillow (Image.BILINEAR) and of PyTorch's interpolate(antialias=True, align_corners=False).
 * Immutable once made: any number of threads may share one. */
struct chip_resampler;

/* Sides are 1..CHIP_SIDE_MAX (ERROR_INVALID otherwise). ERROR_NOMEM. */
int chip_resampler_create(struct chip_resampler **out, uint32_t width, uint32_t height,
                          uint32_t out_width, uint32_t out_height, struct error *err);

/* Outputs along an axis of a whole image that is resampled by the same definition: output `j` is
 * centred on input coordinate (j + 0.5) * scale, and samples beyond the axis weigh nothing. */
struct resample_span {
    uint32_t n_in;           /* samples of the image along the axis */
    double scale;            /* input samples per output */
    const uint32_t *outputs; /* n_out, in any order, any of them more than once; borrowed */
    uint32_t n_out;
};

/* Plan of resampling a part of an image: out[y][x] is output (horizontal->outputs[x],
 * vertical->outputs[y]). Reads the window that chip_resampler_window tells and is used with its
 * corner. ERROR_INVALID: an output whose centre is a sample or more beyond the image. */
int chip_resampler_create_part(struct chip_resampler **out, const struct resample_span *horizontal,
                               const struct resample_span *vertical, struct error *err);
/* Another part of the same columns, as if created with these rows: what follows from the columns
 * stays. After a failure the resampler is as before. */
int chip_resampler_set_rows(struct chip_resampler *resampler, const struct resample_span *vertical,
                            struct error *err);
void chip_resampler_destroy(struct chip_resampler *resampler);

/* The input of a resampler: of one made by chip_resampler_create it begins at 0, 0. */
struct chip_rect chip_resampler_window(const struct chip_resampler *resampler);

/* Floats that chip_resample needs as scratch: at most (height + 15) x (out_width + 15) + 16 x
 * (width + 15). */
size_t chip_resampler_scratch(const struct chip_resampler *resampler);

/* Resamples the window at (x, y) of a plane (image_width floats a row) into `out` (out_height x
 * out_width, row-major). The window must lie inside the plane, of which nothing else is read.
 * `scratch` (chip_resampler_scratch floats) and `out` belong to the caller. The same bytes
 * whichever chip is asked for first, on any thread. */
void chip_resample(const struct chip_resampler *resampler, const float *pixels,
                   uint32_t image_width, uint32_t x, uint32_t y, float *scratch, float *out);

/* A normalised image as floats or, when `pixels` is NULL, as samples (samples.h) with the value of
 * each level. All borrowed. */
struct chip_source {
    const float *pixels;
    const void *samples;
    enum sample_type type; /* of the samples: one that has levels */
    const float *levels;   /* sample_type_n_levels */
    uint32_t image_width;
    uint32_t n_held; /* rows in memory (samples.h); 0: all. Not fewer than a window has */
};

/* The same from either; where `levels` holds what the floats hold, to the byte the same. */
void chip_resample_source(const struct chip_resampler *resampler, const struct chip_source *source,
                          uint32_t x, uint32_t y, float *scratch, float *out);

#endif
