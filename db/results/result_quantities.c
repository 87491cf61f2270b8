#include "db/results/result_quantities.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool db_quantities_are_whole(const struct db_result *result)
{
    int64_t last = DB_QUANTITY_OF_IMAGE;
    for (size_t i = 0; i < result->n_quantities; i++) {
        const int64_t index = result->quantities[i].class_index;
        if (index != last && index != last + 1)
            return false;
        last = index;
    }
    return last == (int64_t)result->n_classes - 1;
}

static void bind_bound(struct db_stmt *stmt, double value)
{
    if (isnan(value))
        db_bind_text(stmt, NULL); /* there is none */
    else
        db_bind_double(stmt, value);
}

int db_quantity_insert(struct db_connection *writer, const struct db_result *result,
                       const struct db_quantity *quantity, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a result's statistics",
                             "INSERT INTO result_quantities (job_id, image_id, class_index, name,"
                             " unit, value, low, high) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    db_bind_int(stmt, quantity->class_index);
    db_bind_text(stmt, quantity->name);
    db_bind_text(stmt, quantity->unit);
    db_bind_double(stmt, quantity->value);
    bind_bound(stmt, quantity->low);
    bind_bound(stmt, quantity->high);
    return db_stmt_run(stmt, NULL, err);
}

static double read_bound(struct db_stmt *stmt, const char *column)
{
    return db_column_is_null(stmt, column) ? NAN : db_column_double(stmt, column);
}

static int read_quantity(struct db_stmt *stmt, struct db_result *result, size_t *n_allocated,
                         struct error *err)
{
    if (result->n_quantities == *n_allocated) {
        size_t n = *n_allocated == 0 ? 16 : *n_allocated * 2;
        void *items = reallocarray(result->quantities, n, sizeof(*result->quantities));
        if (items == NULL)
            return error_set_nomem(err, "a result's statistics");
        result->quantities = items;
        *n_allocated = n;
    }
    struct db_quantity *out = &result->quantities[result->n_quantities++];
    out->class_index =
        (int32_t)db_column_int(stmt, "class_index", DB_QUANTITY_OF_IMAGE, DB_LABEL_UNDECIDED - 1);
    db_column_copy(stmt, "name", out->name, sizeof(out->name));
    db_column_copy(stmt, "unit", out->unit, sizeof(out->unit));
    out->value = db_column_double(stmt, "value");
    out->low = read_bound(stmt, "low");
    out->high = read_bound(stmt, "high");
    return db_stmt_fault(stmt, err);
}

int db_quantities_read(struct db_connection *reader, struct db_result *result, struct error *err)
{
    struct db_stmt *stmt = NULL;
    size_t n_allocated = 0;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "reading a result's statistics",
                             "SELECT class_index, name, unit, value, low, high"
                             " FROM result_quantities WHERE job_id = ? AND image_id = ?"
                             " ORDER BY class_index, name",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read_quantity(stmt, result, &n_allocated, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = step;
    if (rc == 0 && !db_quantities_are_whole(result))
        rc = error_set(err, ERROR_CORRUPT,
                       "database: a result of job %s has no statistics for each of its classes",
                       result->job_id);
    return rc;
}
