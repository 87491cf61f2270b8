/* What is encoded: each chip for itself, cut out and scaled to the encoder's input, or the image as
 * a whole (dense), scaled so that a chip becomes the encoder's input, the maps of which are pooled
 * over each chip's window afterwards. Embeddings of one kind are not to be compared with the
 * other's. */
#ifndef CHIPSHOT_ENGINE_ENCODING_H
#define CHIPSHOT_ENGINE_ENCODING_H

#include <stdint.h>

#include "base/error.h"
#include "engine/image/chip_grid.h"

enum encoding {
    ENCODING_CHIPS,
    ENCODING_DENSE,
    ENCODINGS,
    ENCODING_OWN = ENCODINGS, /* where a choice may be left open: the encoder's own */
};

enum {
    ENCODING_NAME_SIZE = 16,
    ENCODING_DENSE_STEP = 4,       /* scaled pixels from place to place of the finest map */
    ENCODING_DENSE_SIDE_MAX = 384, /* pixels a side: with its margins a tile stays within 512 */
};

/* "chips" or "dense"; not of ENCODING_OWN. */
const char *encoding_name(enum encoding encoding);
/* ERROR_INVALID names the value and lists the names. */
int encoding_parse(const char *name, enum encoding *out, struct error *err);
/* ERROR_INVALID: chips cannot be encoded so at an input of this many pixels a side. */
int encoding_check_side(enum encoding encoding, uint32_t side, struct error *err);
/* `grid`: chip and strides in pixels, none of them 0; `side`: of the largest input. ERROR_INVALID:
 * a stride below the step of the finest map, at which windows would see no more than at that step;
 * the message begins with the stride. */
int encoding_check_stride(enum encoding encoding, const struct grid_params *grid, uint32_t side,
                          struct error *err);

#endif
