/* Per-image normalisation to 0..1, so that a chip keeps its brightness relative to its image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_NORMALISE_H
#define CHIPSHOT_ENGINE_IMAGE_NORMALISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/clahe.h"
#include "engine/image/sample_type.h"

enum normalise_method {
    NORMALISE_PERCENTILE, /* low..high percentile of all pixels to 0..1, clipped */
    NORMALISE_MINMAX,     /* minimum..maximum to 0..1 */
    NORMALISE_NONE,       /* native full scale (8 bits: 0..255) to 0..1, clipped */
};

struct normalise_params {
    enum normalise_method method;
    double low;  /* percent, NORMALISE_PERCENTILE only; default 0.5 */
    double high; /* percent; default 99.5; low < high */
    struct clahe_params clahe;
};

/* percentile 0.5..99.5, no CLAHE */
extern const struct normalise_params normalise_params_default;

const char *normalise_method_name(enum normalise_method method);
/* ERROR_INVALID for an unknown name. */
int normalise_method_parse(const char *name, enum normalise_method *out, struct error *err);

/* ERROR_INVALID when a parameter is outside the ranges above. */
int normalise_params_check(const struct normalise_params *params, struct error *err);

/* Normalises `pixels` (height x width, row-major, borrowed) in place. Where low and high fall
 * together, values above them become 1 and all others 0: an image with one value only becomes 0
 * (NORMALISE_NONE keeps its level). Percentiles interpolate linearly between order statistics, as
 * NumPy's default does. Deterministic. `full_scale` is the image's. ERROR_INVALID as above, for a
 * full scale that is none, or for a pixel that is not finite, ERROR_NOMEM, ERROR_CANCELLED when
 * `cancel` (NULL: never) was asked; then `pixels` may be half done. */
int normalise_apply(const struct normalise_params *params, float *pixels, uint32_t width,
                    uint32_t height, const struct sample_range *full_scale,
                    const struct cancel *cancel, struct error *err);

/* The same for samples (samples.h): the value that normalise_apply would make of each level, from
 * counts[level], into `levels` (both sample_type_n_levels; at least one count is not 0). CLAHE,
 * which looks at places, is not done. */
int normalise_levels(const struct normalise_params *params, const uint32_t *counts,
                     enum sample_type type, const struct sample_range *full_scale, float *levels,
                     struct error *err);

#endif
