/* How often each sample value occurs in a stored image (image.h), kept in the cache. With
 * it a job knows an image's percentiles before it has decoded it, and can embed the first rows
 * while the others are read. Nothing is lost when it is not there: the job then counts. */
#ifndef CHIPSHOT_API_IMAGE_COUNTS_H
#define CHIPSHOT_API_IMAGE_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "db/store/cache.h"

/* `sha256` is the file's, and the image one of its frames. `mask` names what is left out of the
 * counts; "": nothing. */
void image_counts_put(struct cache *cache, const char *sha256, uint32_t frame, const char *mask,
                      const uint32_t *counts, uint32_t n_levels);
/* False: not there, or not of `n_samples` values in all. What a file says is not relied upon, since
 * ranks are looked up in the counts. */
bool image_counts_get(struct cache *cache, const char *sha256, uint32_t frame, const char *mask,
                      uint64_t n_samples, uint32_t *counts, uint32_t n_levels);

#endif
