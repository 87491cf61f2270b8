#include "db/results/raw_labels.h"

#include "db/results/result_row.h"
#include "db/sql/connection.h"

int db_raw_labels_insert(struct db_connection *writer, const struct db_result *result,
                         const uint8_t *bytes, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "storing a result's raw labels",
        "INSERT INTO result_raw_labels (job_id, image_id, labels) VALUES (?, ?, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    db_bind_blob(stmt, bytes, (uint64_t)result->rows * result->columns * 2);
    return db_stmt_run(stmt, NULL, err);
}

int db_raw_labels_find(struct db_connection *reader, struct db_result *result, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, reader, "looking for a result's raw labels",
                        "SELECT 1 FROM result_raw_labels WHERE job_id = ? AND image_id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    return db_stmt_run_any(stmt, &result->has_raw_labels, err);
}

int db_raw_labels_read(struct db_connection *reader, const struct db_result *result,
                       const struct db_result_part *part, struct error *err)
{
    struct db_blob_place place = {.what = "reading a result's raw labels",
                                  .table = "result_raw_labels",
                                  .column = "labels",
                                  .size = (uint64_t)result->rows * result->columns * 2};
    int rc =
        db_result_row_find(reader, "finding a result's raw labels",
                           "SELECT rowid FROM result_raw_labels WHERE job_id = ? AND image_id = ?",
                           result, &place.row, err);
    if (rc != 0)
        return rc;
    return db_connection_read_blob(reader, &place, part->first * 2, part->n_chips * 2,
                                   part->raw_labels, err);
}
