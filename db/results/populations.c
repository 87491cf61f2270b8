#include "db/results/populations.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "db/sql/connection.h"
#include "db/sql/stmt.h"

#define SELECT                                                                                     \
    "SELECT j.image_id, i.pixel_x_nm, i.pixel_y_nm, r.stride_x, r.stride_y, r.n_classes,"          \
    " q.class_index, q.name, q.unit, q.value, q.low, q.high FROM job_images j"                     \
    " JOIN images i ON i.id = j.image_id"                                                          \
    " JOIN results r ON r.job_id = j.job_id AND r.image_id = j.image_id"                           \
    " JOIN result_quantities q ON q.job_id = j.job_id AND q.image_id = j.image_id"                 \
    " WHERE j.job_id = ?"
#define ORDER " ORDER BY j.image_index, q.class_index, q.name"

static double read_bound(struct db_stmt *stmt, const char *column)
{
    return db_column_is_null(stmt, column) ? NAN : db_column_double(stmt, column);
}

/* `row` holds the one before, and image_index UINT64_MAX before the first. */
static int read_row(struct db_stmt *stmt, struct db_population_row *row, struct error *err)
{
    char image_id[DB_ID_SIZE];
    db_column_id(stmt, "image_id", "img_", image_id);
    /* What is of the image stands in each of its rows. */
    if (strcmp(image_id, row->image_id) != 0) {
        row->image_index++;
        memcpy(row->image_id, image_id, sizeof(image_id));
        row->pixel_x_nm = db_column_double(stmt, "pixel_x_nm");
        row->pixel_y_nm = db_column_double(stmt, "pixel_y_nm");
        row->stride_x = db_column_uint32(stmt, "stride_x");
        row->stride_y = db_column_uint32(stmt, "stride_y");
        row->n_classes = (uint32_t)db_column_int(stmt, "n_classes", 1, DB_LABEL_UNDECIDED);
    }
    struct db_quantity *quantity = &row->quantity;
    quantity->class_index = (int32_t)db_column_int(stmt, "class_index", DB_QUANTITY_OF_IMAGE,
                                                   (int64_t)row->n_classes - 1);
    db_column_copy(stmt, "name", quantity->name, sizeof(quantity->name));
    db_column_copy(stmt, "unit", quantity->unit, sizeof(quantity->unit));
    quantity->value = db_column_double(stmt, "value");
    quantity->low = read_bound(stmt, "low");
    quantity->high = read_bound(stmt, "high");
    return db_stmt_fault(stmt, err);
}

static int visit(struct db_connection *reader, const char *job_id, const char *const *names,
                 size_t n_names, db_take_population_row take, void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct db_population_row row = {.image_index = UINT64_MAX};
    int step = 0;
    int rc = n_names == 0
                 ? db_stmt_prepare(&stmt, reader, "reading a population", SELECT ORDER, err)
                 : db_stmt_prepare(&stmt, reader, "reading a part of a population",
                                   SELECT " AND q.name IN (?, ?, ?, ?, ?, ?, ?, ?)" ORDER, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    for (size_t i = 0; n_names > 0 && i < DB_POPULATION_NAMES; i++)
        db_bind_text(stmt, names[i < n_names ? i : 0]);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0) {
        rc = read_row(stmt, &row, err);
        if (rc == 0)
            rc = take(context, &row, err);
    }
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

int db_population_visit(struct db *db, const char *job_id, const char *const *names, size_t n_names,
                        db_take_population_row take, void *context, struct error *err)
{
    struct db_connection *reader = NULL;
    assert(n_names <= DB_POPULATION_NAMES);
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = visit(reader, job_id, names, n_names, take, context, err);
    db_read_end(db, reader);
    return rc;
}

static int visit_analyses(struct db_connection *reader, const char *job_id, db_take_analysis take,
                          void *context, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char image_id[DB_ID_SIZE];
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "reading the analyses of a population",
                             "SELECT a.image_id, a.analysis FROM job_images j"
                             " JOIN result_analyses a"
                             " ON a.job_id = j.job_id AND a.image_id = j.image_id"
                             " WHERE j.job_id = ? ORDER BY j.image_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0) {
        db_column_id(stmt, "image_id", "img_", image_id);
        char *analysis = db_column_text(stmt, "analysis", DB_TEXT_MAX);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            rc = take(context, image_id, analysis, err);
        free(analysis);
    }
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

int db_population_visit_analyses(struct db *db, const char *job_id, db_take_analysis take,
                                 void *context, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = visit_analyses(reader, job_id, take, context, err);
    db_read_end(db, reader);
    return rc;
}
