/* The feature maps of an image, or of a part of it, in 16 bits a value (half.h).
 *
 * They lie strip by strip: of each pooled stage the rows that fall into the strip, row by row, NHWC
 * with the channels padded to whole vectors, whose padding is 0. All strips are in memory, or a
 * band of them in a ring: strip `s` lies where s % n_held does.
 */
#ifndef CHIPSHOT_ENGINE_DENSE_MAPS_H
#define CHIPSHOT_ENGINE_DENSE_MAPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/dense/geometry.h"

/* Tiles first .. end - 1 along each axis. */
struct dense_tiles {
    uint32_t first_x, end_x;
    uint32_t first_y, end_y;
};

struct dense_maps {
    struct dense_geometry geometry;
    struct dense_tiles tiles;
    uint32_t first_strip;
    uint32_t n_strips; /* of the tiles */
    uint32_t n_held;   /* of them in memory */
    /* Of each stage; values are 16 bits. */
    uint32_t n_channels[ENCODER_POOLED]; /* padded; 0: not pooled, so not here */
    uint32_t first_column[ENCODER_POOLED];
    uint32_t n_columns[ENCODER_POOLED];
    size_t offsets[ENCODER_POOLED]; /* of its rows in a strip, in values */
    size_t strip_values;            /* a multiple of 64 */
    uint16_t *values;               /* n_held x strip_values; owned */
};

/* All tiles of an image. */
struct dense_tiles dense_tiles_all(const struct dense_geometry *geometry);

/* Bytes of the maps of some tiles. */
uint64_t dense_maps_size(const struct dense_geometry *geometry, const struct encoder_info *info,
                         const struct dense_tiles *tiles);

/* The same, but of `n_held` strips at most. */
uint64_t dense_maps_size_held(const struct dense_geometry *geometry,
                              const struct encoder_info *info, const struct dense_tiles *tiles,
                              uint32_t n_held);

/* `n_held` strips at least are in memory, all where there are not more. ERROR_NOMEM. `out` is to be
 * released with dense_maps_clear. */
int dense_maps_init(struct dense_maps *out, const struct dense_geometry *geometry,
                    const struct encoder_info *info, const struct dense_tiles *tiles,
                    uint32_t n_held, struct error *err);
/* Room for the strips first .. end - 1 of an image alone, to be filled as a whole. */
int dense_maps_init_strips(struct dense_maps *out, const struct dense_geometry *geometry,
                           const struct encoder_info *info, uint32_t first, uint32_t end,
                           struct error *err);
void dense_maps_clear(struct dense_maps *maps);

/* Puts in what the network made of a tile, stage by stage, and its pixels (side x side) as stage 0.
 * Different tiles may be put in by different threads at once. */
void dense_maps_put(struct dense_maps *maps, uint32_t tile_x, uint32_t tile_y, uint32_t stage,
                    const struct encoder_map *map);
void dense_maps_put_pixels(struct dense_maps *maps, uint32_t tile_x, uint32_t tile_y,
                           const float *tile);

/* Row `row` of a stage's map of the image, which is in memory: its first column is first_column. */
static inline const uint16_t *dense_maps_row(const struct dense_maps *maps, uint32_t stage,
                                             uint32_t row)
{
    const uint32_t rows = DENSE_STRIP / dense_step(stage);
    const size_t strip = (row / rows - maps->first_strip) % maps->n_held;
    const size_t row_values = (size_t)maps->n_columns[stage] * maps->n_channels[stage];
    return maps->values + strip * maps->strip_values + maps->offsets[stage] +
           row % rows * row_values;
}

#endif
