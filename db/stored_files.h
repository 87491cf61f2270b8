/* Where rows and files meet: a file comes before its row and goes after its row, so a row is never
 * without its file. A row's file goes by store_collect, after the transaction that removed the row.
 */
#ifndef CHIPSHOT_DB_STORED_FILES_H
#define CHIPSHOT_DB_STORED_FILES_H

#include "db/sql/stmt.h"
#include "db/store/store.h"

struct db;

/* What the store asks of the rows: an image's or an encoder's file is needed. It takes a reader. */
int db_stored_file_is_needed(struct db *db, const char *sha256, bool *out, struct error *err);

/* The same over a connection. */
int db_stored_file_is_named(struct db_connection *reader, const char *sha256, bool *out,
                            struct error *err);

/* ERROR_INVALID unless the file is there: called before a row that names it is inserted. */
int db_stored_file_require(struct store *store, const char *sha256, struct error *err);

/* ERROR_CORRUPT when a row's file is absent or has another size. */
int db_stored_files_check(struct db_connection *reader, struct store *store, struct error *err);

#endif
