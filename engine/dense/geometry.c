#include "engine/dense/geometry.h"

#include <math.h>

enum {
    CORE_MIN = 64,
    CORE_MAX = 320,   /* what is in memory of a large image grows with it */
    MARGIN_STEP = 16, /* a multiple of it keeps the maps of stages 1 to 3 in step with the tiles */
};

static uint32_t divide_up(uint32_t a, uint32_t b)
{
    return (a + b - 1) / b;
}

/* The core for which all tiles together have the fewest pixels: a pixel takes about the same time
 * in tiles of any side. Of equals the smallest. */
static uint32_t choose_core(uint32_t n_x, uint32_t n_y, uint32_t margin)
{
    uint32_t best = CORE_MIN;
    uint64_t best_pixels = UINT64_MAX;
    for (uint32_t core = CORE_MIN; core <= CORE_MAX && core + 2 * margin <= ENCODER_INPUT_SIZE_MAX;
         core += DENSE_STRIP) {
        const uint64_t side = core + 2 * margin;
        const uint64_t pixels = side * side * divide_up(n_x, core) * divide_up(n_y, core);
        if (pixels < best_pixels) {
            best = core;
            best_pixels = pixels;
        }
    }
    return best;
}

static uint32_t scaled_length(uint32_t n_pixels, uint32_t chip, uint32_t input)
{
    return (uint32_t)(((uint64_t)n_pixels * input + chip - 1) / chip);
}

uint32_t dense_margin_positions(const struct dense_geometry *geometry, uint32_t stage)
{
    return stage == 0 ? 0 : divide_up(geometry->margin, encoder_stage_step(stage));
}

double dense_first_centre(const struct dense_geometry *geometry, uint32_t stage)
{
    if (stage == 0)
        return DENSE_CELL / 2.0;
    const uint32_t step = encoder_stage_step(stage);
    return (double)(dense_margin_positions(geometry, stage) * step - geometry->margin) + 0.5;
}

static void axis_init(struct dense_axis *axis, const struct dense_geometry *geometry)
{
    axis->n_tiles = divide_up(axis->n_scaled, geometry->core);
    axis->n_positions[0] = divide_up(axis->n_scaled, DENSE_CELL);
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        /* Centres lie half a pixel beyond a whole one. */
        const uint32_t first = (uint32_t)dense_first_centre(geometry, stage);
        const uint32_t step = encoder_stage_step(stage);
        axis->n_positions[stage] =
            axis->n_scaled > first ? divide_up(axis->n_scaled - first, step) : 1;
    }
}

int dense_geometry_init(struct dense_geometry *out, const struct grid *grid, uint32_t input,
                        struct error *err)
{
    if (input > DENSE_INPUT_MAX)
        return error_set(err, ERROR_INVALID,
                         "an input size of %u cannot be encoded densely, %d at most", input,
                         DENSE_INPUT_MAX);
    const struct grid_params *p = &grid->params;
    struct dense_geometry made = {
        .x = {.n_pixels = grid->image_width, .chip = p->chip_width},
        .y = {.n_pixels = grid->image_height, .chip = p->chip_height},
        .input = input,
        .margin = divide_up(input, 4 * MARGIN_STEP) * MARGIN_STEP,
    };
    made.x.n_scaled = scaled_length(made.x.n_pixels, made.x.chip, input);
    made.y.n_scaled = scaled_length(made.y.n_pixels, made.y.chip, input);
    made.core = choose_core(made.x.n_scaled, made.y.n_scaled, made.margin);
    made.side = made.core + 2 * made.margin;
    made.n_strips = divide_up(made.y.n_scaled, DENSE_STRIP);
    axis_init(&made.x, &made);
    axis_init(&made.y, &made);
    *out = made;
    return 0;
}

/* The cell that holds a place, given in cells from the first one's begin. */
static uint32_t cell_at(double place, uint32_t n)
{
    if (place < 0)
        return 0;
    return place < n ? (uint32_t)place : n - 1;
}

void dense_span_find(const struct dense_geometry *geometry, const struct dense_axis *axis,
                     uint32_t stage, double begin, double length, struct dense_span *out)
{
    const double step = dense_step(stage), cells = 1 / step; /* a power of two: no rounding */
    const double first_begin = dense_first_centre(geometry, stage) - step / 2;
    const uint32_t n = axis->n_positions[stage];
    const double end = begin + length;
    const uint32_t first = cell_at((begin - first_begin) * cells, n);
    uint32_t last = cell_at((end - first_begin) * cells, n);
    /* A window that ends where a cell begins sees nothing of it. */
    if (last > first && first_begin + last * step >= end)
        last--;
    out->first = first;
    out->n = last - first + 1;
    for (uint32_t i = 1; i < out->n; i++)
        out->weights[i] = step / length;
    out->weights[0] = ((last > first ? first_begin + (first + 1) * step : end) - begin) / length;
    if (last > first)
        out->weights[out->n - 1] = (end - (first_begin + last * step)) / length;
}

void dense_window_strips(const struct dense_geometry *geometry, uint32_t y, uint32_t *first,
                         uint32_t *end)
{
    const double begin = dense_scaled(geometry, &geometry->y, y);
    *first = UINT32_MAX;
    *end = 0;
    for (uint32_t stage = 0; stage <= ENCODER_STAGES; stage++) {
        struct dense_span span;
        dense_span_find(geometry, &geometry->y, stage, begin, geometry->input, &span);
        const uint32_t step = dense_step(stage);
        const uint32_t top = span.first * step / DENSE_STRIP;
        const uint32_t bottom = (span.first + span.n - 1) * step / DENSE_STRIP + 1;
        *first = top < *first ? top : *first;
        *end = bottom > *end ? bottom : *end;
    }
}

void dense_tile_rows(const struct dense_geometry *geometry, uint32_t tile_y, uint32_t *first,
                     uint32_t *end)
{
    const struct dense_axis *axis = &geometry->y;
    const double scale = (double)axis->chip / geometry->input;
    const double half_width = fmax(1, scale);
    const double begin = (double)tile_y * geometry->core - geometry->margin;
    /* What is mirrored at either end lies within the tile, too. */
    const double top = floor((begin + 0.5) * scale - half_width);
    const double bottom = ceil((begin + geometry->side) * scale + half_width);
    *first = top > 0 ? (uint32_t)fmin(top, axis->n_pixels - 1.0) : 0;
    *end = bottom < axis->n_pixels ? (uint32_t)bottom : axis->n_pixels;
}
