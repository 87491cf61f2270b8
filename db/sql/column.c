/* What of db/sql/stmt.h is made of the rest: a run, and column readers. */
#include "db/sql/stmt.h"

#include "db/text.h"

int db_stmt_run_any(struct db_stmt *stmt, bool *any, struct error *err)
{
    int rc = db_stmt_step(stmt, err);
    db_stmt_finish(stmt);
    if (rc < 0)
        return rc;
    *any = rc > 0;
    return 0;
}

void db_column_id(struct db_stmt *stmt, const char *column, const char *prefix,
                  char out[DB_ID_SIZE])
{
    db_column_copy(stmt, column, out, DB_ID_SIZE);
    if (!db_id_is(out, prefix))
        db_column_fault(stmt, column, "does not hold an id");
}

void db_column_time(struct db_stmt *stmt, const char *column, char out[DB_TIME_SIZE])
{
    db_column_copy(stmt, column, out, DB_TIME_SIZE);
    if (!db_text_is_time(out))
        db_column_fault(stmt, column, "does not hold a time");
}

void db_column_sha256(struct db_stmt *stmt, const char *column, char out[DB_SHA256_SIZE])
{
    db_column_copy(stmt, column, out, DB_SHA256_SIZE);
    if (!db_text_is_sha256(out))
        db_column_fault(stmt, column, "does not hold a SHA-256");
}

uint64_t db_column_uint(struct db_stmt *stmt, const char *column, uint64_t max)
{
    return (uint64_t)db_column_int(stmt, column, 0, max > INT64_MAX ? INT64_MAX : (int64_t)max);
}

uint32_t db_column_uint32(struct db_stmt *stmt, const char *column)
{
    return (uint32_t)db_column_uint(stmt, column, UINT32_MAX);
}
