/* Per-image normalisation to 0..1, so that a chip keeps its brightness relative to its image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_NORMALISE_H
#define CHIPSHOT_ENGINE_IMAGE_NORMALISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/grey/clahe.h"
#include "engine/image/grey/flatten.h"
#include "engine/image/sample_type.h"

enum normalise_method {
    NORMALISE_PERCENTILE, /* low..high percentile of all pixels to 0..1, clipped */
    NORMALISE_MINMAX,     /* minimum..maximum to 0..1 */
    NORMALISE_NONE,       /* native full scale (8 bits: 0..255) to 0..1, clipped */
};

/* Hot and dead pixels: a detector's, not the specimen's. With w the distance of the quartiles,
 * values more than 20 w beyond them are outliers where they are at most 5 % of the pixels and stand
 * apart: of the values from 5 w to 20 w there are not even 1 % as many. A bright particle has an
 * edge, and its values are no outliers; the real micrographs at hand reach 3 w. */
enum normalise_outliers {
    NORMALISE_KEEP,    /* all pixels have a say in the percentiles */
    NORMALISE_REPLACE, /* where a percentile is an outlier, both are those of the other pixels, and
                          the outliers get the median of these */
};

struct normalise_params {
    enum normalise_method method;
    double low;                       /* percent, NORMALISE_PERCENTILE only; default 0.5 */
    double high;                      /* percent; default 99.5; low < high */
    enum normalise_outliers outliers; /* NORMALISE_PERCENTILE only; default NORMALISE_REPLACE */
    struct flatten_params flatten;    /* before all else */
    struct clahe_params clahe;
    /* A range that is stretched, and not the image's own, by which its outliers are judged all the
     * same; not with NORMALISE_NONE. */
    struct normalise_given {
        bool is_given;
        double low, high;
    } given;
};

/* percentile 0.5..99.5 without outliers, no flattening, no CLAHE */
extern const struct normalise_params normalise_params_default;

const char *normalise_method_name(enum normalise_method method);
/* ERROR_INVALID for an unknown name. */
int normalise_method_parse(const char *name, enum normalise_method *out, struct error *err);

/* "keep", "clip"; ERROR_INVALID for another name. */
const char *normalise_outliers_name(enum normalise_outliers outliers);
int normalise_outliers_parse(const char *name, enum normalise_outliers *out, struct error *err);

/* Whether a pixel's value alone says what becomes of it (normalise_levels): neither flattening nor
 * CLAHE, which look at places, is asked for. */
bool normalise_is_by_level(const struct normalise_params *params);

/* ERROR_INVALID when a parameter is outside the ranges above. */
int normalise_params_check(const struct normalise_params *params, struct error *err);

/* What becomes 0 and 1, in the image's own values. */
struct normalise_range {
    double low, high;
    uint64_t n_outliers; /* pixels that had no say in it; where there are any: */
    double least, most;  /* values beyond these are outliers */
    double median;       /* of the others; what outliers become, before they are stretched */
    double fill;         /* what pixels without a value become, likewise: the median of those that
                            have one */
};

/* The range of `pixels` (height x width, row-major, borrowed), which are flattened already
 * (flatten_apply) where that is asked for. Percentiles interpolate linearly
 * between order statistics, as NumPy's default does. Pixels without a value (NaN: transparent or
 * masked) have no say in it, and are filled so that they stand out as little as may be where chips
 * beside them see them. Deterministic. `full_scale` is the image's. ERROR_INVALID as above, for a
 * full scale that is none, or for a pixel that is infinite, ERROR_NOMEM, ERROR_CANCELLED when
 * `cancel` (NULL: never) was asked. */
int normalise_find_range(const struct normalise_params *params, const float *pixels, uint32_t width,
                         uint32_t height, const struct sample_range *full_scale,
                         const struct cancel *cancel, struct normalise_range *out,
                         struct error *err);

/* Stretches a range to 0..1, in place, and does CLAHE where that is asked for. Where low and high
 * fall together, values above them become 1 and all others 0. ERROR_NOMEM, ERROR_CANCELLED; then
 * `pixels` may be half done. */
int normalise_apply_range(const struct normalise_params *params,
                          const struct normalise_range *range, float *pixels, uint32_t width,
                          uint32_t height, const struct cancel *cancel, struct error *err);

/* Flattens where that is asked for, then both, one after the other: an image with one value only
 * becomes 0 (NORMALISE_NONE keeps its level). */
int normalise_apply(const struct normalise_params *params, float *pixels, uint32_t width,
                    uint32_t height, const struct sample_range *full_scale,
                    const struct cancel *cancel, struct error *err);

/* The same for samples (samples.h), from counts[level] (sample_type_n_levels of them; at least one
 * is not 0). */
int normalise_find_level_range(const struct normalise_params *params, const uint32_t *counts,
                               enum sample_type type, const struct sample_range *full_scale,
                               struct normalise_range *out, struct error *err);
/* The value that normalise_apply would make of each level, into `levels`; params for which
 * normalise_is_by_level. */
int normalise_levels(const struct normalise_params *params, const uint32_t *counts,
                     enum sample_type type, const struct sample_range *full_scale, float *levels,
                     struct error *err);
/* The level that fills what has no value, from the counts of the others; 0 where there are none. */
uint32_t normalise_median_level(const uint32_t *counts, uint32_t n_levels);

#endif
