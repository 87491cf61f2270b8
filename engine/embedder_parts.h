/* Inside of an embedder: what a worker owns. For the runs that use it. */
#ifndef CHIPSHOT_ENGINE_EMBEDDER_PARTS_H
#define CHIPSHOT_ENGINE_EMBEDDER_PARTS_H

#include "engine/dense/tile.h"
#include "engine/embedder.h"

/* What one pool worker owns; workers run one task at a time, so no lock is needed. */
struct worker_memory {
    struct encoder_workspace *workspaces[INPUT_SIZES_MAX]; /* of chips alone */
    float *pixels;     /* of chips alone: ENCODER_BATCH x largest side x largest side; of a tile */
    float *embeddings; /* ENCODER_BATCH x the encoder's dimension; NULL with one size */
    /* Of tiles, whose size follows from the image: made when it changes. */
    struct encoder_workspace *tile_workspace;
    uint32_t tile_side;
    struct dense_tile_scratch scratch;
};

struct embedder {
    struct pool *pool;
    const struct encoder *encoder;
    struct input_sizes sizes;
    enum encoding encoding;
    enum precision precision;
    uint32_t n_workers;
    struct worker_memory workers[];
};

/* One size's embeddings, `dimension` floats each, as a block of columns of `out`, whose rows have
 * row_floats: each divided by its norm. */
void embedder_place_part(const float *embeddings, uint32_t n, uint32_t dimension,
                         uint32_t row_floats, float *out);

#endif
