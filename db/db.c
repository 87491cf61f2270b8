/* Opening, closing and checking a database. */
#include "db/sql/connection.h"

#include <stdlib.h>
#include <string.h>

#include "db/sql/pragmas.h"
#include "db/stored_files.h"

int db_open(struct db **out, const char *path, struct error *err)
{
    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return error_set_nomem(err, "the database");
    pthread_mutex_init(&db->write_mutex, NULL);
    pthread_mutex_init(&db->reader_mutex, NULL);
    pthread_cond_init(&db->reader_idle, NULL);
    db->path = strdup(path);
    int rc = db->path == NULL ? error_set_nomem(err, "the database's name")
                              : db_connections_open(db, err);
    if (rc == 0)
        *out = db;
    else
        db_close(db);
    return rc;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    db_connections_close(db);
    pthread_cond_destroy(&db->reader_idle);
    pthread_mutex_destroy(&db->reader_mutex);
    pthread_mutex_destroy(&db->write_mutex);
    free(db->path);
    free(db);
}

void db_keep_room(struct db *db, struct room *room)
{
    db->room = room;
}

static int touch_health(struct db_connection *writer, const char *now, struct error *err)
{
    struct db_stmt *stmt = NULL;
    uint64_t n_changed = 0;
    int rc = db_stmt_prepare(&stmt, writer, "checking that writing works",
                             "UPDATE health SET checked_at = ? WHERE id = 1", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, now);
    rc = db_stmt_run(stmt, &n_changed, err);
    if (rc != 0 || n_changed == 1)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "checking that writing works",
                         "INSERT INTO health (id, checked_at) VALUES (1, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, now);
    return db_stmt_run(stmt, NULL, err);
}

static int read_health(struct db_connection *reader, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char found[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, reader, "checking that reading works",
                             "SELECT checked_at FROM health WHERE id = 1", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_time(stmt, "checked_at", found);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_check(struct db *db, struct error *err)
{
    struct db_connection *connection = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_write_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    rc = db_write_end(db, touch_health(connection, now, err), err);
    if (rc != 0)
        return rc;
    rc = db_read_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    rc = read_health(connection, err);
    db_read_end(db, connection);
    return rc;
}

int db_integrity_check(struct db *db, struct store *store, struct error *err)
{
    struct db_connection *connection = NULL;
    int rc = db_read_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    rc = db_schema_check_integrity(connection, err);
    if (rc == 0)
        rc = db_stored_files_check(connection, store, err);
    db_read_end(db, connection);
    return rc;
}
