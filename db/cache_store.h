/* What db/db.c and db/matrix.c need of db/cache.c. */
#ifndef CHIPSHOT_DB_CACHE_STORE_H
#define CHIPSHOT_DB_CACHE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <nettle/sha2.h>

#include "base/error.h"
#include "db/files.h"

struct db_cache;

/* Indexes DIR/cache by modification time and evicts down to max_size bytes. */
int db_cache_open(struct db_cache **out, const char *directory, uint64_t max_size,
                  struct error *err);
/* NULL allowed. Leaves the files. */
void db_cache_close(struct db_cache *cache);

/* ---- entries, named by the SHA-256 of their key ---- */

uint64_t db_cache_max_size(const struct db_cache *cache);
/* Path of an entry's file. */
int db_cache_path(const struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE],
                  char out[DB_PATH_SIZE], struct error *err);
/* Moves the key to the front; false when it is not in the index. */
bool db_cache_use(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE]);
/* Removes an entry and its file. */
void db_cache_forget(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE]);
/* Renames a file of `size` bytes into place, enters it and evicts down to the limit. */
int db_cache_place(struct db_cache *cache, const uint8_t key[SHA256_DIGEST_SIZE], uint64_t size,
                   const char *temporary, struct error *err);

#endif
