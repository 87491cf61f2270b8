/* Contrast-limited adaptive histogram equalisation of a 0..1 plane (Zuiderveld, Graphics Gems IV,
 * 1994). */
#ifndef CHIPSHOT_ENGINE_IMAGE_GREY_CLAHE_H
#define CHIPSHOT_ENGINE_IMAGE_GREY_CLAHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

/* tiles x tiles contextual regions, 256 bins. */
struct clahe_params {
    bool enabled;
    double clip_limit; /* multiple of a flat histogram's bin, 1..100; default 2 */
    uint32_t tiles;    /* per side, 1..64; default 8 */
};

/* Equalises `pixels` (height x width, row-major, values 0..1, borrowed) in place; `params` as
 * normalise_params_check accepts them. An image with fewer pixels a side than tiles has one tile a
 * pixel on that side. Deterministic. `cancel` (NULL: never) is asked at each row. ERROR_NOMEM; then
 * the pixels are untouched. ERROR_CANCELLED; then they may be half done. */
int clahe_apply(const struct clahe_params *params, float *pixels, uint32_t width, uint32_t height,
                const struct cancel *cancel, struct error *err);

#endif
