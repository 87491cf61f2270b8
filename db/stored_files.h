/* Where rows and files meet: a file comes before its row and goes after its row, so a row is never
 * without its file. A row's file goes by store_collect, after the transaction that removed the row.
 */
#ifndef CHIPSHOT_DB_STORED_FILES_H
#define CHIPSHOT_DB_STORED_FILES_H

#include "db/sql/stmt.h"
#include "db/store/store.h"

struct db;

/* What the store asks of the rows: the file of an image, of an encoder or of a mask's picture is
 * needed. It takes a reader. */
int db_stored_file_is_needed(struct db *db, const char *sha256, bool *out, struct error *err);

/* The same over a connection, also to a database that is to be migrated yet. */
int db_stored_file_is_named(struct db_connection *reader, const char *sha256, bool *out,
                            struct error *err);

/* ERROR_INVALID unless the file is there: called before a row that names it is inserted. */
int db_stored_file_require(struct store *store, const char *sha256, struct error *err);

/* The names of files that rows gave. */
struct db_hashes {
    char (*items)[DB_SHA256_SIZE];
    size_t n_items, n_allocated;
};

/* Adds column sha256 of what `sql`, which has one placeholder for `id`, gives. To be released with
 * db_hashes_clear, also after a failure. */
int db_hashes_read(struct db_hashes *hashes, struct db_connection *connection, const char *what,
                   const char *sql, const char *id, struct error *err);
void db_hashes_clear(struct db_hashes *hashes);

/* ERROR_CORRUPT when a row's file is absent or has another size. */
int db_stored_files_check(struct db_connection *reader, struct store *store, struct error *err);

#endif
