/* One data directory: the SQLite database, image and encoder files named by their SHA-256, the
 * embedding cache and the API keys. The database is the only truth about jobs: a queue entry is a
 * row, so a crash loses nothing.
 *
 *     DIR/lock             held (flock) for as long as a server runs on the directory
 *     DIR/chipshot.sqlite  everything but the bytes
 *     DIR/blobs/ab/abcd..  files named by SHA-256, written to DIR/tmp, fsynced and renamed
 *     DIR/cache/           embeddings; safe to delete at any time
 *     DIR/tmp/             emptied at start
 *     DIR/keys             API keys (only hashes)
 *
 * Threads: every function may be called from any thread. One connection does all writes, under a
 * mutex; reads use read-only connections (SQLite before 3.51.3 can lose a WAL reset when two
 * connections write or checkpoint at once).
 *
 * Strings in the structs below are owned by the struct and freed by the matching _clear function;
 * structs handed to an insert function stay the caller's.
 * Times are RFC 3339 UTC with milliseconds, e.g. "2026-01-31T12:00:00.000Z".
 */
#ifndef CHIPSHOT_DB_DB_H
#define CHIPSHOT_DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    DB_ID_SIZE = 32, /* "prj_" + 26 characters of a ULID + NUL, rounded up */
    DB_TIME_SIZE = 32,
    DB_SHA256_SIZE = 65, /* 64 hexadecimal digits + NUL */
};

struct db;

struct db_config {
    const char *directory;   /* created when absent */
    uint64_t cache_max_size; /* bytes of the embedding cache */
};

/* Opens the directory for a server: takes the lock, creates or migrates the database, empties tmp.
 * ERROR_CONFLICT: another server holds the lock (the message says so), or the database was written
 * by a newer version. ERROR_CORRUPT: not a database. ERROR_IO, ERROR_FULL. */
int db_open(struct db **out, const struct db_config *config, struct error *err);
void db_close(struct db *db);

/* A cheap write-and-read check for /readyz, and free space of the directory's device in bytes. */
int db_check(struct db *db, uint64_t *free_size, struct error *err);

/* Reads the whole database for damage, and that every image and encoder has its file. ERROR_CORRUPT
 * with the first finding. Slow on large databases: for tests and administrators. */
int db_integrity_check(struct db *db, struct error *err);

const char *db_directory(const struct db *db);

/* A page of a list, newest last: items ordered by (created_at, id), starting after the item with
 * `after_id` (NULL: from the beginning), also when that item is deleted meanwhile. An `after_id`
 * that is no id is ERROR_INVALID. */
struct db_page {
    const char *after_id;
    uint32_t limit; /* 1..1000 */
};

/* ---- ids and times (db/id.c) ---- */

/* Writes prefix + ULID (https://github.com/ulid/spec), monotonic within the process. */
void db_id_create(const char *prefix, char out[DB_ID_SIZE]);
/* True when `id` is `prefix` + 26 Crockford base32 characters. */
bool db_id_is(const char *id, const char *prefix);
void db_time_now(char out[DB_TIME_SIZE]);

#endif
