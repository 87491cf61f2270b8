#include "db/settings.h"

#include <string.h>

#include "db/sql/connection.h"

static int read_value(struct db_connection *reader, const char *name, char out[DB_SETTING_SIZE],
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    char value[DB_SETTING_SIZE];
    int rc = db_stmt_prepare(&stmt, reader, "reading a setting",
                             "SELECT value FROM settings WHERE name = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, name);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_copy(stmt, "value", value, sizeof(value));
        rc = db_stmt_fault(stmt, err);
    }
    if (rc == 0)
        memcpy(out, value, sizeof(value));
    db_stmt_finish(stmt);
    return rc;
}

int db_setting_get(struct db *db, const char *name, char out[DB_SETTING_SIZE], struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = read_value(reader, name, out, err);
    db_read_end(db, reader);
    return rc;
}

static int run(struct db_connection *writer, const char *sql, const char *name, const char *value,
               uint64_t *n_changed, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a setting", sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, value);
    db_bind_text(stmt, name);
    return db_stmt_run(stmt, n_changed, err);
}

int db_setting_set(struct db *db, const char *name, const char *value, struct error *err)
{
    struct db_connection *writer = NULL;
    uint64_t n_changed = 0;
    if (strlen(value) >= DB_SETTING_SIZE)
        return error_set(err, ERROR_INVALID, "the setting %s has %zu bytes, the limit is %d", name,
                         strlen(value), DB_SETTING_SIZE - 1);
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = run(writer, "UPDATE settings SET value = ? WHERE name = ?", name, value, &n_changed, err);
    if (rc == 0 && n_changed == 0)
        rc =
            run(writer, "INSERT INTO settings (value, name) VALUES (?, ?)", name, value, NULL, err);
    return db_write_end(db, rc, err);
}
