/* The cache: tables of 32-bit words named by a key (embeddings of an image's chips, counts of its
 * sample values, tiles of its view), bounded in size (least recently used goes first), safe to
 * delete at any time, also while the server runs. A damaged file is a miss. The cache looks at no
 * word.
 *
 * `key` is any text that names all the table depends on (image hash, geometry, normalisation,
 * encoder hash); the file is named by its SHA-256. Any thread.
 */
#ifndef CHIPSHOT_DB_STORE_CACHE_H
#define CHIPSHOT_DB_STORE_CACHE_H

#include <stdint.h>

#include "base/error.h"
#include "db/store/room.h"

struct cache;

/* Indexes DIR/cache and evicts down to max_size bytes; writes in DIR/tmp, which exists. */
int cache_create(struct cache **out, const char *directory, uint64_t max_size, struct error *err);
/* From now on ERROR_FULL where an entry would not leave the room that ROOM_CACHE is to leave.
 * Borrowed until destroy. Before anyone else uses the cache. */
void cache_keep_room(struct cache *cache, struct room *room);
/* Every entry must have been destroyed. Leaves the files. NULL allowed. */
void cache_destroy(struct cache *cache);

/* Bytes and entries held, for metrics. */
void cache_usage(struct cache *cache, uint64_t *size, uint64_t *n_entries);

/* ---- whole tables ---- */

/* Reads n_rows x n_columns words into `out` (caller's). ERROR_NOT_FOUND: a miss. Never another
 * error: what cannot be read is a miss. */
int cache_get(struct cache *cache, const char *key, uint64_t n_rows, uint64_t n_columns, void *out,
              struct error *err);
/* Stores a table, then evicts down to the limit. A failure (disk full) loses nothing but the entry;
 * the caller may ignore it. */
int cache_put(struct cache *cache, const char *key, uint64_t n_rows, uint64_t n_columns,
              const void *words, struct error *err);

/* ---- tables too large to be in memory ----
 *
 * They are written and read in blocks of rows, in any order. The file is an entry of the cache, or
 * becomes one.
 *
 * Order of use: create, write every block, read, keep, destroy; or open, read, destroy. Threads may
 * write different blocks at once, and read blocks that are written, also while the entry is kept.
 * What is evicted or deleted meanwhile stays readable until destroyed.
 */

/* Rows of a block; the last block of a table may have fewer. */
enum { CACHE_BLOCK_ROWS = 32 };

struct cache_entry;

/* A new file in DIR/tmp, whose space is reserved now. One that is larger than the cache may be has
 * no name. ERROR_INVALID: no file can be so large. ERROR_FULL, ERROR_IO. */
int cache_entry_create(struct cache_entry **out, struct cache *cache, const char *key,
                       uint64_t n_rows, uint64_t n_columns, struct error *err);
/* The cache's entry. ERROR_NOT_FOUND: there is none. Never another error but ERROR_NOMEM. */
int cache_entry_open(struct cache_entry **out, struct cache *cache, const char *key,
                     uint64_t n_rows, uint64_t n_columns, struct error *err);

/* Of both, `first` is the first row of a block, and the `n` rows are whole blocks, but for the end
 * of the table. ERROR_FULL, ERROR_IO. */
int cache_entry_write(struct cache_entry *entry, uint64_t first, uint64_t n, const void *rows,
                      struct error *err);
/* ERROR_CORRUPT when a block is not what was written, or is cut off; ERROR_IO. An entry that fails
 * is no entry any more. */
int cache_entry_read(struct cache_entry *entry, uint64_t first, uint64_t n, void *rows,
                     struct error *err);

/* Makes a table that is written the entry of its key, then evicts down to the limit. One that is
 * too large for the cache is left as it is. A failure loses nothing but the entry. */
int cache_entry_keep(struct cache_entry *entry, struct error *err);

/* Removes what was not kept. NULL allowed. */
void cache_entry_destroy(struct cache_entry *entry);

#endif
