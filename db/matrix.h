/* A float32 matrix in a file, for what is too large to be in memory: written and read in blocks of
 * rows, in any order. The file is an entry of the embedding cache (db/cache.h), or becomes one.
 *
 * Order of use: create, write every block, read, keep, destroy; or open, read, destroy. Threads may
 * write different blocks at once, and read blocks that are written, also while the matrix is kept.
 * What is evicted or deleted meanwhile stays readable until destroyed.
 */
#ifndef CHIPSHOT_DB_MATRIX_H
#define CHIPSHOT_DB_MATRIX_H

#include "db/db.h"

/* Rows of a block; the last block of a matrix may have fewer. */
enum { DB_MATRIX_BLOCK_ROWS = 32 };

struct db_matrix;

/* A new file in DIR/tmp, whose space is reserved now. One that is larger than the cache may be has
 * no name. `key` as in db/cache.h. ERROR_INVALID: no file can be so large. ERROR_FULL, ERROR_IO. */
int db_matrix_create(struct db_matrix **out, struct db *db, const char *key, uint64_t n_rows,
                     uint64_t n_columns, struct error *err);
/* The cache's entry. ERROR_NOT_FOUND: there is none. Never another error but ERROR_NOMEM. */
int db_matrix_open(struct db_matrix **out, struct db *db, const char *key, uint64_t n_rows,
                   uint64_t n_columns, struct error *err);

/* Of both, `first` is the first row of a block, and the `n` rows are whole blocks, but for the end
 * of the matrix. ERROR_FULL, ERROR_IO. */
int db_matrix_write(struct db_matrix *matrix, uint64_t first, uint64_t n, const float *rows,
                    struct error *err);
/* ERROR_CORRUPT when a block is not what was written, or is cut off; ERROR_IO. An entry that fails
 * is no entry any more. */
int db_matrix_read(struct db_matrix *matrix, uint64_t first, uint64_t n, float *rows,
                   struct error *err);

/* Makes a matrix that is written the entry of its key, then evicts down to the limit. One that is
 * too large for the cache is left as it is. A failure loses nothing but the entry. */
int db_matrix_keep(struct db_matrix *matrix, struct error *err);

/* Removes what was not kept. NULL allowed. */
void db_matrix_destroy(struct db_matrix *matrix);

#endif
