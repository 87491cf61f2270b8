/* The database: all but the bytes of files. It is the only truth about jobs: a queue entry is a
 * row, so a crash loses nothing.
 *
 * Threads: every function may be called from any thread. One connection does all writes, under a
 * mutex; reads use read-only connections (SQLite before 3.51.3 can lose a WAL reset when two
 * connections write or checkpoint at once).
 *
 * Strings in the structs of db/ are owned by the struct and freed by the matching _clear function;
 * structs handed to an insert function stay the caller's.
 * Times are RFC 3339 UTC with milliseconds, e.g. "2026-01-31T12:00:00.000Z".
 */
#ifndef CHIPSHOT_DB_DB_H
#define CHIPSHOT_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "db/id.h"

struct db;
struct room;
struct store;

/* Opens the SQLite database in the file `path` (absolute; it exists, and is empty at first) and
 * migrates it. ERROR_CONFLICT: it was written by a newer version. ERROR_CORRUPT: not a database.
 * ERROR_IO, ERROR_FULL. */
int db_open(struct db **out, const char *path, struct error *err);
/* NULL allowed. */
void db_close(struct db *db);

/* From now on what deletes, cancels or ends a job gives up the reserve when the disk is full.
 * `room` is borrowed until db_close. Before anyone else uses the database. */
void db_keep_room(struct db *db, struct room *room);

/* A cheap write-and-read check for /readyz. */
int db_check(struct db *db, struct error *err);

/* Reads the whole database for damage, and that every image and encoder has its file in the store.
 * ERROR_CORRUPT with the first finding. Slow on large databases: for tests and administrators. */
int db_integrity_check(struct db *db, struct store *store, struct error *err);

/* A page of a list, newest last: items ordered by (created_at, id), starting after the item with
 * `after_id` (NULL: from the beginning), also when that item is deleted meanwhile. An `after_id`
 * that is no id is ERROR_INVALID. */
struct db_page {
    const char *after_id;
    uint32_t limit; /* 1..1000 */
};

#endif
