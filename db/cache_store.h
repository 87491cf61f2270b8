/* What db/db.c needs of db/cache.c. */
#ifndef CHIPSHOT_DB_CACHE_STORE_H
#define CHIPSHOT_DB_CACHE_STORE_H

#include <stdint.h>

#include "base/error.h"

struct db_cache;

/* Indexes DIR/cache by modification time and evicts down to max_size bytes. */
int db_cache_open(struct db_cache **out, const char *directory, uint64_t max_size,
                  struct error *err);
/* NULL allowed. Leaves the files. */
void db_cache_close(struct db_cache *cache);

#endif
