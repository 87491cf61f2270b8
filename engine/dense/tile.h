/* The pixels of a tile: a part of the scaled image with its margins, mirrored beyond the image. */
#ifndef CHIPSHOT_ENGINE_DENSE_TILE_H
#define CHIPSHOT_ENGINE_DENSE_TILE_H

#include "base/cancel.h"
#include "engine/dense/geometry.h"

/* A thread's memory to make tiles with: grows to what the largest has needed. Begins zeroed. */
struct dense_tile_scratch {
    float *floats;
    size_t n_floats;
};

void dense_tile_scratch_clear(struct dense_tile_scratch *scratch);

/* Makes the tile (side x side floats at `out`) of an image whose rows dense_tile_rows are there.
 * Gives way to requests. Stops early, with any pixels, once `cancel` (NULL: never) says so.
 * ERROR_NOMEM. */
int dense_tile_make(const struct dense_geometry *geometry, const struct chip_source *source,
                    uint32_t tile_x, uint32_t tile_y, struct dense_tile_scratch *scratch,
                    const struct cancel *cancel, float *out, struct error *err);

#endif
