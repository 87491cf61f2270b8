/* The embedding cache: float32 matrices named by a key, bounded in size (least recently used goes
 * first), safe to delete at any time, also while the server runs. A damaged file is a miss. */
#ifndef CHIPSHOT_DB_CACHE_H
#define CHIPSHOT_DB_CACHE_H

#include "db/db.h"

/* `key` is any text that names all the matrix depends on (image hash, geometry, normalisation,
 * encoder hash); the file is named by its SHA-256. */

/* Reads n_rows x n_columns floats into `out` (caller's). ERROR_NOT_FOUND: a miss. Never another
 * error: what cannot be read is a miss. */
int db_cache_get(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns, float *out,
                 struct error *err);
/* Stores a matrix, then evicts down to the limit. A failure (disk full) loses nothing but the
 * entry; the caller may ignore it. */
int db_cache_put(struct db *db, const char *key, uint64_t n_rows, uint64_t n_columns,
                 const float *data, struct error *err);
/* Bytes and entries held, for metrics. */
void db_cache_usage(struct db *db, uint64_t *size, uint64_t *n_entries);

#endif
