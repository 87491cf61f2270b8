/* The writer and the pool of readers.
 *
 * Invariant: at most DB_READERS_MAX readers are open or being opened (n_readers), of which those in
 * idle_readers are used by nobody. A reader that failed is closed: the next caller opens a new one.
 */
#include "db/sql/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "db/sql/migrations.h"
#include "db/sql/pragmas.h"
#include "db/store/room.h"

static int remember_file(struct db *db, struct error *err)
{
    struct stat status;
    if (stat(db->path, &status) != 0)
        return error_set(err, ERROR_IO, "looking at %s: %s", db->path, strerror(errno));
    db->device = status.st_dev;
    db->inode = status.st_ino;
    return 0;
}

/* SQLite would go on with a file that has no name any more. */
static int require_file(const struct db *db, struct error *err)
{
    struct stat status;
    if (stat(db->path, &status) == 0 && status.st_dev == db->device && status.st_ino == db->inode)
        return 0;
    return error_set(err, ERROR_IO, "the database %s was removed or replaced while it was open",
                     db->path);
}

int db_connections_open(struct db *db, struct error *err)
{
    int rc = remember_file(db, err);
    if (rc == 0)
        rc = db_connection_open(&db->writer, db->path, DB_CONNECTION_WRITER, err);
    if (rc == 0)
        rc = db_migrate(db->writer, db->path, err);
    return rc;
}

void db_connections_close(struct db *db)
{
    for (size_t i = 0; i < db->n_idle_readers; i++)
        db_connection_close(db->idle_readers[i]);
    /* The writer goes last: the last connection to close empties the write-ahead log. */
    db_connection_close(db->writer);
}

static int begin_to_write(struct db *db, int (*begin)(struct db_connection *, struct error *),
                          struct db_connection **out, struct error *err)
{
    pthread_mutex_lock(&db->write_mutex);
    int rc = require_file(db, err);
    if (rc == 0)
        rc = begin(db->writer, err);
    if (rc != 0)
        pthread_mutex_unlock(&db->write_mutex);
    else
        *out = db->writer;
    return rc;
}

int db_write_begin(struct db *db, struct db_connection **out, struct error *err)
{
    return begin_to_write(db, db_connection_begin, out, err);
}

int db_write_begin_volatile(struct db *db, struct db_connection **out, struct error *err)
{
    return begin_to_write(db, db_connection_begin_volatile, out, err);
}

int db_write_end(struct db *db, int rc, struct error *err)
{
    if (rc == 0)
        rc = db_connection_commit(db->writer, err);
    if (rc != 0)
        db_connection_rollback(db->writer);
    pthread_mutex_unlock(&db->write_mutex);
    return rc;
}

int db_checkpoint(struct db *db, bool *whole, struct error *err)
{
    pthread_mutex_lock(&db->write_mutex);
    int rc = require_file(db, err);
    if (rc == 0)
        rc = db_log_write_back(db->writer, whole, err);
    pthread_mutex_unlock(&db->write_mutex);
    return rc;
}

bool db_make_room(struct db *db, unsigned n_tries)
{
    bool whole = false;
    if (n_tries == 0)
        db_checkpoint(db, &whole, NULL);
    else if (n_tries == 1 && db->room != NULL)
        room_give_up_reserve(db->room);
    else
        return false;
    return true;
}

/* Takes an idle reader, or a place for a new one (*out NULL), waiting for either. */
static void take_reader(struct db *db, struct db_connection **out)
{
    pthread_mutex_lock(&db->reader_mutex);
    while (db->n_idle_readers == 0 && db->n_readers == DB_READERS_MAX)
        pthread_cond_wait(&db->reader_idle, &db->reader_mutex);
    *out = NULL;
    if (db->n_idle_readers > 0)
        *out = db->idle_readers[--db->n_idle_readers];
    else
        db->n_readers++;
    pthread_mutex_unlock(&db->reader_mutex);
}

/* Gives a reader back, or its place when it is NULL. */
static void give_reader(struct db *db, struct db_connection *reader)
{
    pthread_mutex_lock(&db->reader_mutex);
    if (reader != NULL)
        db->idle_readers[db->n_idle_readers++] = reader;
    else
        db->n_readers--;
    pthread_cond_signal(&db->reader_idle);
    pthread_mutex_unlock(&db->reader_mutex);
}

int db_read_begin(struct db *db, struct db_connection **out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = 0;
    take_reader(db, &reader);
    if (reader == NULL)
        rc = db_connection_open(&reader, db->path, DB_CONNECTION_READER, err);
    if (rc == 0)
        rc = db_connection_begin(reader, err);
    if (rc == 0) {
        *out = reader;
        return 0;
    }
    /* One that failed may be broken; the next caller opens a new one. */
    db_connection_close(reader);
    give_reader(db, NULL);
    return rc;
}

void db_read_end(struct db *db, struct db_connection *connection)
{
    db_connection_rollback(connection);
    give_reader(db, connection);
}
