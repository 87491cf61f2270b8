#include "api/job/image_counts.h"

#include <stdio.h>

enum { KEY_SIZE = 128 };

static void write_key(const char *sha256, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "counts 1|%s", sha256);
}

void image_counts_put(struct cache *cache, const char *sha256, const uint32_t *counts,
                      uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, key);
    cache_put(cache, key, 1, n_levels, counts, NULL);
}

bool image_counts_get(struct cache *cache, const char *sha256, uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, key);
    return cache_get(cache, key, 1, n_levels, counts, NULL) == 0;
}
