/* What SQLite is asked and told by PRAGMA and not by SQL: a second engine has its own ways. */
#ifndef CHIPSHOT_DB_PRAGMAS_H
#define CHIPSHOT_DB_PRAGMAS_H

#include "db/sql/stmt.h"

/* The version of the schema that a file says it has; 0: it is empty. ERROR_CORRUPT: somebody else's
 * database. */
int db_schema_version(struct db_connection *connection, int64_t *out, struct error *err);
/* Within a transaction. */
int db_schema_set_version(struct db_connection *connection, int64_t version, struct error *err);

/* How a writer is to treat its files: what is deleted is not overwritten, which would write as much
 * to the log as is deleted, on a full disk too; the log keeps at most DB_LOG_KEPT_SIZE bytes once
 * it was written back. */
enum { DB_LOG_KEPT_SIZE = 16 << 20 };
int db_files_configure(struct db_connection *writer, struct error *err);
/* Of an empty database: its free pages can be given back. */
int db_pages_make_returnable(struct db_connection *writer, struct error *err);
/* What the pages of a file are. */
struct db_pages {
    uint64_t n_pages, n_free;
    uint64_t page_size; /* bytes */
    bool returnable;    /* db_pages_make_returnable was called when it was new */
};
int db_pages_count(struct db_connection *connection, struct db_pages *out, struct error *err);
/* Gives back at most `n` free pages. Within a transaction. */
int db_pages_return(struct db_connection *writer, uint32_t n, struct error *err);
/* See db_checkpoint. */
int db_log_write_back(struct db_connection *writer, bool *whole, struct error *err);

/* Not within a transaction: from now on nothing is refused or removed for the sake of a reference,
 * until db_schema_hold_references. */
int db_schema_release_references(struct db_connection *connection, struct error *err);
int db_schema_hold_references(struct db_connection *connection, struct error *err);

/* ERROR_CORRUPT when a row refers to one that does not exist. */
int db_schema_check_references(struct db_connection *connection, struct error *err);
/* ERROR_CORRUPT with the first finding of the engine's own check, references included. */
int db_schema_check_integrity(struct db_connection *connection, struct error *err);

#endif
