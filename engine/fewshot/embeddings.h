/* The embeddings of an image's chips as the loops over all of them see them: in memory as a whole,
 * or somewhere else, from where they are read band by band. Bands have a planned size, whatever the
 * size of the image. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_EMBEDDINGS_H
#define CHIPSHOT_ENGINE_FEWSHOT_EMBEDDINGS_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/pool.h"

enum {
    EMBEDDINGS_BLOCK = 32,      /* chips that are read at once */
    EMBEDDINGS_BAND = 4 << 20,  /* bytes of a band, at least one block */
    EMBEDDINGS_STEP = 16 << 20, /* likewise, of those that are in memory: what is used at once */
    GIVE_WAY_CHIPS = 32,        /* a thread looks whether to give way each time it has treated so
                                   many, some tens of microseconds */
};

struct embeddings {
    uint64_t n_chips;
    const uint8_t *skip; /* n_chips, borrowed: not 0 for a chip that is not analysed; NULL: all are.
                            Those have embeddings, too, which enter nothing */
    uint32_t dimension;
    const float *values; /* n_chips x dimension, borrowed; NULL: they are read */
    /* Reads the `n` chips from `first` on, a multiple of EMBEDDINGS_BLOCK: a block, or what is left
     * at the end. Called by several threads at once. */
    int (*read)(void *context, uint64_t first, uint32_t n, float *out, struct error *err);
    void *context;
    const struct cancel *cancel; /* asked before each band; NULL: never */
};

/* Uses the `n` chips from `first` on. */
typedef int (*embeddings_use)(void *context, const float *band, uint64_t first, uint64_t n,
                              struct error *err);

/* Calls `use` for all chips in order, on this thread, band by band. Reading is shared as pool_share
 * does. Stops at the first error; ERROR_NOMEM, ERROR_CANCELLED. */
int embeddings_visit(const struct embeddings *embeddings, struct pool_lane *lane,
                     embeddings_use use, void *context, struct error *err);

/* How many of the `n` chips from `first` on are analysed. */
uint64_t embeddings_n_analysed(const struct embeddings *embeddings, uint64_t first, uint64_t n);

/* At most `n_max` of the chips that are analysed, evenly spread, into `out`; returns how many. */
uint32_t embeddings_spread(const struct embeddings *embeddings, uint32_t n_max, uint64_t *out);

/* The embedding of one chip. ERROR_NOMEM or what reading gave. */
int embeddings_get(const struct embeddings *embeddings, uint64_t chip, float *out,
                   struct error *err);

#endif
