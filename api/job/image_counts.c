#include "api/job/image_counts.h"

#include <stdio.h>

#include "db/cache.h"

enum { KEY_SIZE = 128 };

/* The cache holds matrices of 32-bit words and looks at none of them. */
_Static_assert(sizeof(float) == sizeof(uint32_t), "a count takes the place of a value");

static void write_key(const char *sha256, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "counts 1|%s", sha256);
}

void image_counts_put(struct db *db, const char *sha256, const uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, key);
    db_cache_put(db, key, 1, n_levels, (const float *)(const void *)counts, NULL);
}

bool image_counts_get(struct db *db, const char *sha256, uint32_t *counts, uint32_t n_levels)
{
    char key[KEY_SIZE];
    write_key(sha256, key);
    return db_cache_get(db, key, 1, n_levels, (float *)(void *)counts, NULL) == 0;
}
