/* Which entries the cache has, and which goes first. db/store/cache.c knows what is in them; any
 * thread. */
#ifndef CHIPSHOT_DB_STORE_CACHE_INDEX_H
#define CHIPSHOT_DB_STORE_CACHE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include <nettle/sha2.h>

#include "base/error.h"
#include "db/store/files.h"

struct cache_index;

/* Indexes DIR/cache by modification time and evicts down to max_size bytes. */
int cache_index_create(struct cache_index **out, const char *directory, uint64_t max_size,
                       struct error *err);
/* NULL allowed. Leaves the files. */
void cache_index_destroy(struct cache_index *index);

uint64_t cache_index_max_size(const struct cache_index *index);
/* Bytes and entries held. */
void cache_index_usage(struct cache_index *index, uint64_t *size, uint64_t *n_entries);

/* ---- entries, named by the SHA-256 of their key ---- */

/* Path of an entry's file. */
int cache_index_path(const struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE],
                     char out[DB_PATH_SIZE], struct error *err);
/* Moves the key to the front; false when it is not in the index. */
bool cache_index_use(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE]);
/* Removes an entry and its file. */
void cache_index_forget(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE]);
/* Renames a file of `size` bytes into place, enters it and evicts down to the limit. */
int cache_index_place(struct cache_index *index, const uint8_t key[SHA256_DIGEST_SIZE],
                      uint64_t size, const char *temporary, struct error *err);

#endif
