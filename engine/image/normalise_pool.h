/* The range of the pixels of several images together: of a series that is stretched alike. Images
 * are shown one after the other, in whatever order, and no more is kept of many than of one. */
#ifndef CHIPSHOT_ENGINE_IMAGE_NORMALISE_POOL_H
#define CHIPSHOT_ENGINE_IMAGE_NORMALISE_POOL_H

#include "engine/image/normalise.h"

struct normalise_pool;

/* `params` (copied): NORMALISE_PERCENTILE or NORMALISE_MINMAX. ERROR_NOMEM. */
int normalise_pool_create(struct normalise_pool **out, const struct normalise_params *params,
                          struct error *err);
void normalise_pool_destroy(struct normalise_pool *pool); /* NULL allowed */

/* Shows an image: its pixels, of which those without a value (NaN) have no say, or the counts of
 * its levels. `own` is its range: what is an outlier in it counts as the median, as in the image
 * that is stretched. */
void normalise_pool_add(struct normalise_pool *pool, const struct normalise_range *own,
                        const float *pixels, size_t n);
void normalise_pool_add_levels(struct normalise_pool *pool, const struct normalise_range *own,
                               const uint32_t *counts, enum sample_type type);

/* True: all images are to be shown once more. */
bool normalise_pool_again(struct normalise_pool *pool);
/* Once all were shown as often as that. Of one image without outliers its own range; of no image 0
 * to 0. */
void normalise_pool_range(const struct normalise_pool *pool, struct sample_range *out);

#endif
