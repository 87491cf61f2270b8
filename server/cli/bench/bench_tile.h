/* What bench encoder measures of dense encoding: a tile as an image of 2048 x 2048 pixels with
 * chips of 64 has it goes through the network, its maps are kept, and the chips on it are pooled.
 */
#ifndef CHIPSHOT_SERVER_BENCH_TILE_H
#define CHIPSHOT_SERVER_BENCH_TILE_H

#include "engine/dense/maps.h"
#include "engine/encoder/encoder.h"

struct bench_tile {
    struct dense_maps maps; /* of an image that is the tile's core alone */
    float *pixels;          /* side x side */
    float *embedding;
    double n_chips; /* that the core is as large as */
    /* Of all calls so far. */
    double put_seconds;  /* maps */
    double pool_seconds; /* windows */
};

/* `input`: a chip's side on the tile. ERROR_INVALID: as dense_geometry_init. ERROR_NOMEM. To be
 * cleared also after a failure. */
int bench_tile_init(struct bench_tile *tile, const struct encoder *encoder, uint32_t input,
                    struct error *err);
void bench_tile_clear(struct bench_tile *tile);
/* Pixels a side, as the workspace needs it. */
uint32_t bench_tile_side(const struct bench_tile *tile);

/* Encodes the tile and pools its chips, side by side from the corner. */
void bench_tile_encode(struct bench_tile *tile, const struct encoder *encoder,
                       struct encoder_workspace *workspace);

#endif
