/* Where the embeddings of an image go, and what is said on the way. */
#ifndef CHIPSHOT_ENGINE_EMBED_OUTPUT_H
#define CHIPSHOT_ENGINE_EMBED_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/dense/maps.h"
#include "engine/embedder.h"
#include "engine/image/chip_grid.h"

/* Bytes of feature maps up to which those of an image are in memory as a whole, unless something
 * else is said. */
#define EMBED_MAPS_SIZE (UINT64_C(64) << 20)

/* Called after each batch, or part of one, with the number of chips it had, on a worker's thread,
 * one call at a time per embed call. Returns false to cancel the rest. */
typedef bool (*embed_progress)(void *context, uint64_t n_chips);

/* Takes the embeddings of the `n` chips of a batch, from chip `first` on, a multiple of
 * ENCODER_BATCH; on a worker's thread, several calls at once. Batches are whole, but for the last
 * one. A failure cancels the rest and is what embed_finish returns. */
typedef int (*embed_store)(void *context, uint64_t first, uint32_t n, const float *embeddings,
                           struct error *err);

/* The feature maps of an image for each input size, all of them in memory. Begins zeroed. */
struct embed_maps {
    uint32_t n; /* 0: none */
    struct dense_maps sizes[INPUT_SIZES_MAX];
};

void embed_maps_clear(struct embed_maps *maps);

/* Where the embeddings go. */
struct embed_output {
    float *embeddings; /* n_chips x embedder_dimension; NULL: to `store` */
    embed_store store;
    void *context;               /* of store */
    const struct cancel *cancel; /* asked within batches, too, which are then left: nothing that was
                                    not stored is to be used. NULL: never; borrowed */
    /* Of dense encoding only. */
    const struct chip_rect *windows; /* besides the grid's chips, of their size; borrowed */
    uint32_t n_windows;
    float *window_embeddings; /* n_windows x embedder_dimension */
    /* NULL, or maps that need not be made any more, or, where there are none, where those of an
     * image end up that are in memory as a whole. */
    struct embed_maps *maps;
    uint64_t max_maps_size; /* bytes; 0: EMBED_MAPS_SIZE */
};

/* Seconds of worker threads, all together. */
struct embed_times {
    double resample;
    double encode;
    double store;
};

#endif
