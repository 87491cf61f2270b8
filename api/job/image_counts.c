#include "api/job/image_counts.h"

#include <inttypes.h>
#include <stdio.h>

enum { KEY_SIZE = 224 };

/* Files of one frame have the key that they had before there were frames, and images of which
 * nothing is left out that of before there were masks. */
static void write_key(const char *sha256, uint32_t frame, const char *mask, char out[KEY_SIZE])
{
    char of_frame[32] = "";
    if (frame > 0)
        snprintf(of_frame, sizeof(of_frame), "|frame %" PRIu32, frame);
    snprintf(out, KEY_SIZE, "counts 1|%s%s%s%s", sha256, of_frame, mask[0] != '\0' ? "|mask " : "",
             mask);
}

void image_counts_put(struct cache *cache, const char *sha256, uint32_t frame, const char *mask,
                      const uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, frame, mask, key);
    cache_put(cache, key, 1, n_levels, counts, NULL);
}

bool image_counts_get(struct cache *cache, const char *sha256, uint32_t frame, const char *mask,
                      uint64_t n_samples, uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    uint64_t sum = 0;
    write_key(sha256, frame, mask, key);
    if (cache_get(cache, key, 1, n_levels, counts, NULL) != 0)
        return false;
    for (uint32_t i = 0; i < n_levels; i++)
        sum += counts[i];
    return sum == n_samples;
}
