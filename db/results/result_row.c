#include "db/results/result_row.h"

int db_result_row_find(struct db_connection *reader, const char *what, const char *sql,
                       const struct db_result *result, int64_t *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, what, sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *out = db_column_int(stmt, "rowid", INT64_MIN, INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_result_row_insert_text(struct db_connection *writer, const char *what, const char *sql,
                              const struct db_result *result, const char *text, struct error *err)
{
    struct db_stmt *stmt = NULL;
    if (text == NULL)
        return 0;
    int rc = db_stmt_prepare(&stmt, writer, what, sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    db_bind_text(stmt, text);
    return db_stmt_run(stmt, NULL, err);
}
