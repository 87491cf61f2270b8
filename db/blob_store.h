/* What the rest of db/ needs of db/blobs.c. */
#ifndef CHIPSHOT_DB_BLOB_STORE_H
#define CHIPSHOT_DB_BLOB_STORE_H

#include "db/connection.h"

/* ERROR_INVALID unless the blob's file is there: called before a row that names it is inserted. */
int db_blob_require(struct db *db, const char *sha256, struct error *err);

/* Removes the file when no row names it and no writer pins it. Called after the transaction that
 * removed a row; takes blob_mutex and a reader, so the caller holds neither these nor the writer. A
 * failure leaves the file for the next sweep. */
void db_blob_collect(struct db *db, const char *sha256);

/* Removes the files that no row names. At start, before anyone writes. */
int db_blob_sweep(struct db *db, struct error *err);

/* ERROR_CORRUPT when a row's file is absent or has another size. */
int db_blob_check_all(struct db *db, struct error *err);

#endif
