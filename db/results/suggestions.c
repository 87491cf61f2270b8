#include "db/results/suggestions.h"

#include <stdlib.h>

#include "db/results/result_row.h"
#include "db/sql/connection.h"
#include "db/sql/stmt.h"

int db_suggestions_insert(struct db_connection *writer, const struct db_result *result,
                          struct error *err)
{
    return db_result_row_insert_text(
        writer, "storing a result's suggestions",
        "INSERT INTO result_suggestions (job_id, image_id, suggestions)"
        " VALUES (?, ?, ?)",
        result, result->suggestions, err);
}

static int take_row(struct db_stmt *stmt, db_take_suggestions take, void *context,
                    struct error *err)
{
    struct db_suggestions row;
    char *text = NULL, *name = db_column_text(stmt, "name", DB_NAME_MAX);
    if (!db_column_is_null(stmt, "suggestions"))
        text = db_column_text(stmt, "suggestions", DB_TEXT_MAX);
    db_column_id(stmt, "image_id", "img_", row.image_id);
    row.image_name = name;
    row.text = text;
    int rc = db_stmt_fault(stmt, err);
    if (rc == 0)
        rc = take(context, &row, err);
    free(text);
    free(name);
    return rc;
}

int db_suggestions_visit(struct db *db, const char *job_id, db_take_suggestions take, void *context,
                         struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    int step = 0;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "reading a job's suggestions",
                         "SELECT r.image_id, i.name, s.suggestions FROM job_images j"
                         " JOIN results r ON r.job_id = j.job_id AND r.image_id = j.image_id"
                         " JOIN images i ON i.id = j.image_id"
                         " LEFT JOIN result_suggestions s"
                         " ON s.job_id = j.job_id AND s.image_id = j.image_id"
                         " WHERE j.job_id = ? ORDER BY j.image_index",
                         err);
    if (rc == 0) {
        db_bind_text(stmt, job_id);
        while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
            rc = take_row(stmt, take, context, err);
        db_stmt_finish(stmt);
    }
    db_read_end(db, reader);
    return rc != 0 ? rc : step;
}
