/* Connections and prepared statements: the one seam to the database engine. db/sql/stmt.c is the
 * only file that includes sqlite3.h; a second backend replaces that file.
 *
 * A statement is prepared once per connection and kept; db_stmt_prepare hands it out,
 * db_stmt_finish gives it back. Values are bound in the order of the placeholders, columns are
 * read by name.
 *
 * Faults while binding or reading a column (a value too large, a column that does not hold what it
 * should) are remembered in the statement and reported by the next db_stmt_step or by
 * db_stmt_fault, so that callers check once a row. A failed step is negative and never looks like
 * the end of the rows.
 *
 * The file may have been edited by anyone: every column reader checks type, size and range, and
 * answers a mismatch with ERROR_CORRUPT.
 *
 * Threads: a connection and its statements are used by one thread at a time.
 */
#ifndef CHIPSHOT_DB_STMT_H
#define CHIPSHOT_DB_STMT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "db/db.h"

enum {
    DB_NAME_MAX = 4096,        /* bytes of a name */
    DB_TEXT_MAX = 1024 * 1024, /* bytes of any other text */
};

struct db_connection;
struct db_stmt;

enum db_connection_mode {
    DB_CONNECTION_WRITER, /* the only one that writes and checkpoints */
    DB_CONNECTION_READER, /* read-only */
};

/* Opens a connection to a database file that exists (an empty file is an empty database).
 * A writer changes nothing, not even at close, until db_connection_enable_writes. ERROR_CORRUPT:
 * not a database. ERROR_IO. */
int db_connection_open(struct db_connection **out, const char *path, enum db_connection_mode mode,
                       struct error *err);
/* Switches to the write-ahead log with a sync at every commit. */
int db_connection_enable_writes(struct db_connection *connection, struct error *err);
/* NULL allowed. No statement may be in use. */
void db_connection_close(struct db_connection *connection);

/* Runs several statements without parameters or rows (migrations). */
int db_connection_run_script(struct db_connection *connection, const char *what, const char *sql,
                             struct error *err);

/* A write transaction takes the write lock at once; a read transaction sees one state. */
int db_connection_begin(struct db_connection *connection, struct error *err);
/* A write transaction whose commit does not wait for the disk: a power failure may undo it, until a
 * later transaction is committed in the other way. */
int db_connection_begin_volatile(struct db_connection *connection, struct error *err);
int db_connection_commit(struct db_connection *connection, struct error *err);
/* Allowed when the engine has already rolled back, or no transaction is open. */
void db_connection_rollback(struct db_connection *connection);

/* What a connection's statements took, so that a query's work can be held against what it gave: of
 * those that were finished since it was opened. */
struct db_work {
    uint64_t n_steps;   /* of the engine's machine */
    uint64_t n_scanned; /* rows looked at without an index that leads to them */
    uint64_t n_sorts;
};
struct db_work db_connection_work(const struct db_connection *connection);

/* `what` says what is being done, for messages ("reading a job"); `sql` must be a constant: both
 * are kept. */
int db_stmt_prepare(struct db_stmt **out, struct db_connection *connection, const char *what,
                    const char *sql, struct error *err);
/* NULL allowed. */
void db_stmt_finish(struct db_stmt *stmt);

/* Bind the next placeholder. Text and blobs are borrowed until finish. What could not be read back
 * is not stored (ERROR_INVALID): text that is not UTF-8 or too long, numbers that are not finite.
 */
void db_bind_text(struct db_stmt *stmt, const char *text); /* NULL binds NULL */
void db_bind_name(struct db_stmt *stmt, const char *name); /* at most DB_NAME_MAX bytes */
void db_bind_int(struct db_stmt *stmt, int64_t value);
void db_bind_uint(struct db_stmt *stmt, uint64_t value);
void db_bind_double(struct db_stmt *stmt, double value);
void db_bind_blob(struct db_stmt *stmt, const void *data, size_t size);

/* 1: a row, 0: no more rows, negative: failed. */
int db_stmt_step(struct db_stmt *stmt, struct error *err);
/* 0, or the fault met while reading the present row. */
int db_stmt_fault(struct db_stmt *stmt, struct error *err);
/* True when the present row is damaged (ERROR_CORRUPT); that is forgotten, so that the next row can
 * be read. */
bool db_stmt_pass_over(struct db_stmt *stmt);
/* Runs a statement that gives no rows and finishes it; *n_changed (NULL allowed): rows changed. */
int db_stmt_run(struct db_stmt *stmt, uint64_t *n_changed, struct error *err);
/* Steps to the only row: ERROR_NOT_FOUND (with a message that `what` found nothing) when there is
 * none. */
int db_stmt_step_one(struct db_stmt *stmt, struct error *err);
/* Runs a statement and finishes it; *any: it gave a row. */
int db_stmt_run_any(struct db_stmt *stmt, bool *any, struct error *err);

/* ---- columns of the present row, by the name that the SELECT gives them, a constant ---- */

/* Remembers that a column does not hold what it should: "column state <problem>". */
void db_column_fault(struct db_stmt *stmt, const char *column, const char *problem);
bool db_column_is_null(struct db_stmt *stmt, const char *column);
/* A copy for the caller; NULL with a remembered fault when it is not UTF-8 text of at most
 * `max_size` bytes or memory is short. */
char *db_column_text(struct db_stmt *stmt, const char *column, size_t max_size);
/* Copies text that must fit; "" with a fault otherwise. */
void db_column_copy(struct db_stmt *stmt, const char *column, char *out, size_t size);
/* As db_column_copy, for ids, times and hashes in their exact form. */
void db_column_id(struct db_stmt *stmt, const char *column, const char *prefix,
                  char out[DB_ID_SIZE]);
void db_column_time(struct db_stmt *stmt, const char *column, char out[DB_TIME_SIZE]);
void db_column_sha256(struct db_stmt *stmt, const char *column, char out[DB_SHA256_SIZE]);
int64_t db_column_int(struct db_stmt *stmt, const char *column, int64_t min, int64_t max);
uint64_t db_column_uint(struct db_stmt *stmt, const char *column, uint64_t max);
uint32_t db_column_uint32(struct db_stmt *stmt, const char *column);
/* Finite. */
double db_column_double(struct db_stmt *stmt, const char *column);
/* Borrowed until the next step; exactly `size` bytes, or NULL with a fault. */
const void *db_column_blob(struct db_stmt *stmt, const char *column, size_t size);

/* A blob that is read in pieces; borrowed texts. */
struct db_blob_place {
    const char *what; /* is being done, for messages */
    const char *table, *column;
    int64_t row;   /* the table's rowid */
    uint64_t size; /* of the whole blob */
};
/* Reads `size` bytes from `offset` on (both within the blob), loading no more of it than these.
 * Called in the transaction that found the row. ERROR_CORRUPT: no blob of that size. */
int db_connection_read_blob(struct db_connection *connection, const struct db_blob_place *place,
                            uint64_t offset, size_t size, void *out, struct error *err);

#endif
