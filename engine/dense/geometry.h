/* Where things lie when an image is encoded as a whole.
 *
 * Both axes are scaled so that a chip becomes the encoder's input; on the scaled image tiles of
 * `core` pixels a side lie from its corner on, each seen by the network with a margin around it. An
 * axis of n pixels has ceil(n * input / chip) scaled ones, and beyond its ends it is mirrored.
 * Position i of stage s of all tiles together is centred on scaled pixel dense_first_centre + i *
 * step and stands for the cell that reaches half a step to either side; the first and the last cell
 * reach on to the image's ends. Stage 0 is the image itself, averaged over cells of DENSE_CELL
 * pixels. All of it follows from the sizes of image, chip and input: whatever else is asked for, a
 * window sees the same tiles.
 *
 * 32 rows of scaled pixels are a strip: the unit in which maps are kept.
 */
#ifndef CHIPSHOT_ENGINE_DENSE_GEOMETRY_H
#define CHIPSHOT_ENGINE_DENSE_GEOMETRY_H

#include <stdint.h>

#include "base/error.h"
#include "engine/encoder/encoder.h"
#include "engine/encoding.h"
#include "engine/image/chip_grid.h"

enum {
    DENSE_CELL = ENCODING_DENSE_STEP, /* scaled pixels a side */
    DENSE_STRIP = 32,                 /* rows of scaled pixels: one position of the last stage */
    DENSE_INPUT_MAX = ENCODING_DENSE_SIDE_MAX,
    /* Of all that an embedding depends on here and in half.h, maps.h, tile.h and windows.h: to be
     * raised with any change of it, since the cache keeps embeddings and maps. */
    DENSE_REVISION = 1,
};

struct dense_axis {
    uint32_t n_pixels; /* of the image */
    uint32_t chip;     /* pixels that become `input` ones */
    uint32_t n_scaled;
    uint32_t n_tiles;
    uint32_t n_positions[ENCODER_POOLED]; /* of each stage's map; of stage 0 cells */
};

struct dense_geometry {
    struct dense_axis x, y;
    uint32_t input;  /* side of a chip on the scaled image */
    uint32_t margin; /* at least a quarter of it */
    uint32_t core;   /* a multiple of DENSE_STRIP */
    uint32_t side;   /* of a tile with its margins */
    uint32_t n_strips;
};

/* ERROR_INVALID: an input above DENSE_INPUT_MAX, of which a tile would be larger than the encoder's
 * largest. `grid` says the sizes of image and chip; `input` is
 * within the encoder's range. */
int dense_geometry_init(struct dense_geometry *out, const struct grid *grid, uint32_t input,
                        struct error *err);

/* Scaled pixels from position to position. */
static inline uint32_t dense_step(uint32_t stage)
{
    return stage == 0 ? DENSE_CELL : encoder_stage_step(stage);
}

/* Positions of a tile's own map that belong to its margin: core positions begin there. */
uint32_t dense_margin_positions(const struct dense_geometry *geometry, uint32_t stage);
/* The centre of the first position of the image's map, in scaled pixels from its edge. */
double dense_first_centre(const struct dense_geometry *geometry, uint32_t stage);

/* The positions that a window of `input` scaled pixels sees along an axis. */
struct dense_span {
    uint32_t first;
    uint32_t n;
    double weights[DENSE_INPUT_MAX / DENSE_CELL + 3]; /* n; their sum is 1 */
};

/* Weights are the shares of the window that lie in each position's cell. begin, length: the
 * window, in scaled pixels; it lies inside the image. */
void dense_span_find(const struct dense_geometry *geometry, const struct dense_axis *axis,
                     uint32_t stage, double begin, double length, struct dense_span *out);

/* Where a window that begins at pixel `at` of an axis begins on the scaled image. */
static inline double dense_scaled(const struct dense_geometry *geometry,
                                  const struct dense_axis *axis, uint32_t at)
{
    return (double)at * geometry->input / axis->chip;
}

/* The strips, first .. end - 1, that a window beginning at pixel row `y` sees. */
void dense_window_strips(const struct dense_geometry *geometry, uint32_t y, uint32_t *first,
                         uint32_t *end);

/* The rows of pixels, first .. end - 1, that the tiles of row `tile_y` are made of. */
void dense_tile_rows(const struct dense_geometry *geometry, uint32_t tile_y, uint32_t *first,
                     uint32_t *end);

#endif
