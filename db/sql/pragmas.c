/* A database is either empty or signed: the signature, SQLite's application id, is written in the
 * first migration's transaction. */
#include "db/sql/pragmas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { APPLICATION_ID = 0x63687073 }; /* "chps", at byte 68 of the file */

static int read_int(struct db_connection *connection, const char *sql, const char *column,
                    int64_t *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "reading the schema version", sql, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        int64_t value = db_column_int(stmt, column, INT64_MIN, INT64_MAX);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            *out = value;
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_schema_version(struct db_connection *connection, int64_t *out, struct error *err)
{
    int64_t version = 0, application = 0, n_tables = 0;
    int rc = read_int(connection, "PRAGMA user_version", "user_version", &version, err);
    if (rc == 0)
        rc = read_int(connection, "PRAGMA application_id", "application_id", &application, err);
    if (rc == 0)
        rc = read_int(connection, "SELECT COUNT(*) AS n FROM sqlite_master", "n", &n_tables, err);
    if (rc != 0)
        return rc;
    bool is_empty = n_tables == 0 && version == 0;
    if (!is_empty && application != APPLICATION_ID)
        return error_set(err, ERROR_CORRUPT,
                         "database: the file is the database of another program "
                         "(application id %lld)",
                         (long long)application);
    if (version < 0)
        return error_set(err, ERROR_CORRUPT, "database: the schema version is %lld",
                         (long long)version);
    *out = version;
    return 0;
}

int db_schema_set_version(struct db_connection *connection, int64_t version, struct error *err)
{
    /* PRAGMA takes no parameters; both values are numbers of this program. */
    char sql[96];
    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %lld",
             APPLICATION_ID, (long long)version);
    return db_connection_run_script(connection, "storing the schema version", sql, err);
}

/* ---- pages ---- */

int db_files_configure(struct db_connection *writer, struct error *err)
{
    char sql[96];
    /* Debian's default is ON, and FAST writes as much. */
    snprintf(sql, sizeof(sql), "PRAGMA secure_delete = OFF; PRAGMA journal_size_limit = %d",
             DB_LOG_KEPT_SIZE);
    return db_connection_run_script(writer, "configuring the database's files", sql, err);
}

int db_pages_make_returnable(struct db_connection *writer, struct error *err)
{
    return db_connection_run_script(writer, "configuring a new database",
                                    "PRAGMA auto_vacuum = INCREMENTAL", err);
}

int db_pages_count(struct db_connection *connection, struct db_pages *out, struct error *err)
{
    enum { INCREMENTAL = 2 };
    int64_t n_pages = 0, n_free = 0, page_size = 0, mode = 0;
    int rc = read_int(connection, "PRAGMA page_count", "page_count", &n_pages, err);
    if (rc == 0)
        rc = read_int(connection, "PRAGMA freelist_count", "freelist_count", &n_free, err);
    if (rc == 0)
        rc = read_int(connection, "PRAGMA page_size", "page_size", &page_size, err);
    if (rc == 0)
        rc = read_int(connection, "PRAGMA auto_vacuum", "auto_vacuum", &mode, err);
    if (rc == 0)
        *out = (struct db_pages){.n_pages = (uint64_t)n_pages,
                                 .n_free = (uint64_t)n_free,
                                 .page_size = (uint64_t)page_size,
                                 .returnable = mode == INCREMENTAL};
    return rc;
}

int db_pages_return(struct db_connection *writer, uint32_t n, struct error *err)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%u)", n);
    return db_connection_run_script(writer, "giving back free pages", sql, err);
}

int db_log_write_back(struct db_connection *writer, bool *whole, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "writing back the log",
                             "PRAGMA wal_checkpoint(PASSIVE)", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        const int64_t n_frames = db_column_int(stmt, "log", -1, INT64_MAX);
        const int64_t n_back = db_column_int(stmt, "checkpointed", -1, INT64_MAX);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            *whole = n_frames == n_back;
    }
    db_stmt_finish(stmt);
    return rc;
}

/* ---- references ---- */

int db_schema_release_references(struct db_connection *connection, struct error *err)
{
    return db_connection_run_script(connection, "letting go of foreign keys",
                                    "PRAGMA foreign_keys = OFF", err);
}

int db_schema_hold_references(struct db_connection *connection, struct error *err)
{
    return db_connection_run_script(connection, "holding foreign keys again",
                                    "PRAGMA foreign_keys = ON", err);
}

int db_schema_check_references(struct db_connection *connection, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "checking foreign keys", "PRAGMA foreign_key_check",
                             err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step(stmt, err);
    if (rc > 0)
        rc = error_set(err, ERROR_CORRUPT, "database: a row refers to a row that does not exist");
    db_stmt_finish(stmt);
    return rc;
}

int db_schema_check_integrity(struct db_connection *connection, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char *finding = NULL;
    int rc =
        db_stmt_prepare(&stmt, connection, "checking integrity", "PRAGMA integrity_check(1)", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        finding = db_column_text(stmt, "integrity_check", 4096);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    if (rc == 0 && strcmp(finding, "ok") != 0)
        rc = error_set(err, ERROR_CORRUPT, "database: integrity check: %s", finding);
    free(finding);
    return rc != 0 ? rc : db_schema_check_references(connection, err);
}
