/* The inside of struct db, and how the typed queries of db/ get at a connection.
 *
 * One writer under a mutex does all writes and checkpoints; readers come from a small pool of
 * read-only connections that grows on demand.
 *
 * Order of locks: write_mutex, then reader_mutex. No callback runs under them.
 */
#ifndef CHIPSHOT_DB_CONNECTION_H
#define CHIPSHOT_DB_CONNECTION_H

#include <pthread.h>
#include <sys/types.h>

#include "db/db.h"
#include "db/sql/stmt.h"

enum {
    DB_READERS_MAX = 16,
};

struct db {
    char *path;
    dev_t device; /* of the file that was opened; this one and the next never change */
    ino_t inode;
    struct room *room; /* borrowed; NULL: there is no reserve */

    pthread_mutex_t write_mutex;
    struct db_connection *writer; /* guarded by write_mutex */

    pthread_mutex_t reader_mutex;
    pthread_cond_t reader_idle;
    struct db_connection *idle_readers[DB_READERS_MAX]; /* guarded by reader_mutex */
    size_t n_idle_readers;                              /* guarded by reader_mutex */
    size_t n_readers;                                   /* guarded by reader_mutex */
};

int db_connections_open(struct db *db, struct error *err);
void db_connections_close(struct db *db);

/* Waits for the writer and begins a transaction; on success db_write_end must follow. ERROR_IO: the
 * database's file was removed or replaced, and what is written now would be lost. */
int db_write_begin(struct db *db, struct db_connection **out, struct error *err);
/* The same for a change that a power failure may undo; see db_connection_begin_volatile. */
int db_write_begin_volatile(struct db *db, struct db_connection **out, struct error *err);
/* Commits when rc is 0, otherwise rolls back; releases the writer. Returns rc or the commit's
 * failure. */
int db_write_end(struct db *db, int rc, struct error *err);

/* Whether a change that has to be possible on a full disk is to be tried once more after
 * ERROR_FULL:
 *
 *     do {
 *         rc = delete_once(...);
 *     } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
 *
 * At first the log is written back to the database, so that the next change begins it anew in the
 * room that it has; then the reserve is given up. Not within a transaction. */
bool db_make_room(struct db *db, unsigned n_tries);
/* Writes back what of the log no reader holds. *whole: there is nothing left of it, and what the
 * database is shorter by has been cut off its file. Not within a transaction. */
int db_checkpoint(struct db *db, bool *whole, struct error *err);

/* A reader with one state of the database for as long as it is held; db_read_end gives it back. */
int db_read_begin(struct db *db, struct db_connection **out, struct error *err);
void db_read_end(struct db *db, struct db_connection *connection);

/* ERROR_NOT_FOUND: no such project. */
int db_project_require(struct db_connection *connection, const char *project_id, struct error *err);

#endif
