/* Takes the background out of an image: uneven illumination, a wedge of thickness, charging. What
 * is subtracted is the background less its mean, so that values keep their scale; pixels that are
 * missing (NaN) have no say and stay. */
#ifndef CHIPSHOT_ENGINE_IMAGE_GREY_FLATTEN_H
#define CHIPSHOT_ENGINE_IMAGE_GREY_FLATTEN_H

#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"

enum flatten_method {
    FLATTEN_NONE,
    FLATTEN_PLANE,
    FLATTEN_POLYNOMIAL,  /* all terms x^i y^j with i + j up to `order` */
    FLATTEN_LARGE_SCALE, /* medians of blocks of about `scale` pixels, the median of each with its
                            neighbours, bilinear between their centres (Bertin and Arnouts,
                            SExtractor, Astron. Astrophys. Suppl. 117, 393, 1996): leaves what is
                            smaller than a block and covers less than half of it */
};

/* A polynomial is fitted by least squares to the means of up to FLATTEN_BLOCKS x FLATTEN_BLOCKS
 * blocks, and then again without those that are more than FLATTEN_OUTLIER standard deviations off.
 */
enum { FLATTEN_BLOCKS = 64, FLATTEN_ORDER_MIN = 2, FLATTEN_ORDER_MAX = 4 };
#define FLATTEN_OUTLIER 2.5

enum { FLATTEN_SCALE_MIN = 16, FLATTEN_SCALE_MAX = 4096 };

struct flatten_params {
    enum flatten_method method;
    uint32_t order; /* FLATTEN_POLYNOMIAL: FLATTEN_ORDER_MIN..MAX; default 2 */
    uint32_t scale; /* FLATTEN_LARGE_SCALE: pixels, FLATTEN_SCALE_MIN..MAX; default 256 */
};

/* "plane", "polynomial", "large_scale"; "none" is no choice of a client's. */
const char *flatten_method_name(enum flatten_method method);
/* ERROR_INVALID for another name. */
int flatten_method_parse(const char *name, enum flatten_method *out, struct error *err);

/* ERROR_INVALID when a parameter is outside the ranges above. */
int flatten_params_check(const struct flatten_params *params, struct error *err);

enum { FLATTEN_KEY_SIZE = 48 };

/* What tells flattened images apart, for the names of what is kept of them: "" for FLATTEN_NONE,
 * else a space and the method with what it depends on. */
void flatten_key(const struct flatten_params *params, char out[FLATTEN_KEY_SIZE]);

/* Flattens `pixels` (height x width, row-major, borrowed) in place; `params` as
 * flatten_params_check accepts them. An image of which too little is there to tell a background
 * stays as it is. Deterministic. `cancel` (NULL: never) is asked at each row. ERROR_NOMEM;
 * ERROR_CANCELLED: then `pixels` may be half done. */
int flatten_apply(const struct flatten_params *params, float *pixels, uint32_t width,
                  uint32_t height, const struct cancel *cancel, struct error *err);

#endif
