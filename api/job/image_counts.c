#include "api/job/image_counts.h"

#include <inttypes.h>
#include <stdio.h>

enum { KEY_SIZE = 128 };

/* Files of one frame have the key that they had before there were frames. */
static void write_key(const char *sha256, uint32_t frame, char out[KEY_SIZE])
{
    if (frame == 0)
        snprintf(out, KEY_SIZE, "counts 1|%s", sha256);
    else
        snprintf(out, KEY_SIZE, "counts 1|%s|frame %" PRIu32, sha256, frame);
}

void image_counts_put(struct cache *cache, const char *sha256, uint32_t frame,
                      const uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, frame, key);
    cache_put(cache, key, 1, n_levels, counts, NULL);
}

bool image_counts_get(struct cache *cache, const char *sha256, uint32_t frame, uint64_t n_samples,
                      uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    uint64_t sum = 0;
    write_key(sha256, frame, key);
    if (cache_get(cache, key, 1, n_levels, counts, NULL) != 0)
        return false;
    for (uint32_t i = 0; i < n_levels; i++)
        sum += counts[i];
    return sum == n_samples;
}
