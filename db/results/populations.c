/* Images first, which are few, so that a row has no more columns than it must: there may be a
 * million.
 */
#include "db/results/populations.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "db/images.h"
#include "db/sql/connection.h"
#include "db/sql/stmt.h"

/* Where the images that were taken stand among the job's. */
struct places {
    struct place {
        int64_t index;
        uint32_t n_classes;
    } * items; /* owned */
    size_t n, n_allocated;
};

static int add_place(struct places *places, int64_t index, uint32_t n_classes, struct error *err)
{
    if (places->n == places->n_allocated) {
        const size_t n = places->n_allocated == 0 ? 64 : places->n_allocated * 2;
        void *items = reallocarray(places->items, n, sizeof(*places->items));
        if (items == NULL)
            return error_set_nomem(err, "the images of a job");
        places->items = items;
        places->n_allocated = n;
    }
    places->items[places->n++] = (struct place){index, n_classes};
    return 0;
}

static int read_image(struct db_stmt *stmt, const struct db_population_reading *reading,
                      struct places *places, struct error *err)
{
    struct db_population_image image;
    const int64_t index = db_column_int(stmt, "image_index", 0, INT64_MAX);
    db_column_id(stmt, "image_id", "img_", image.id);
    image.pixel_x_nm = db_image_column_pixel(stmt, "pixel_x_nm");
    image.pixel_y_nm = db_image_column_pixel(stmt, "pixel_y_nm");
    image.stride_x = db_column_uint32(stmt, "stride_x");
    image.stride_y = db_column_uint32(stmt, "stride_y");
    image.n_classes = (uint32_t)db_column_int(stmt, "n_classes", 1, DB_LABEL_UNDECIDED);
    int rc = db_stmt_fault(stmt, err);
    if (rc == 0)
        rc = add_place(places, index, image.n_classes, err);
    return rc != 0 ? rc : reading->take_image(reading->context, &image, err);
}

static int read_images(struct db_connection *reader, const struct db_population_reading *reading,
                       struct places *places, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "reading the images of a population",
                             "SELECT j.image_index, j.image_id, i.pixel_x_nm, i.pixel_y_nm,"
                             " r.stride_x, r.stride_y, r.n_classes FROM job_images j"
                             " JOIN images i ON i.id = j.image_id"
                             " JOIN results r ON r.job_id = j.job_id AND r.image_id = j.image_id"
                             " WHERE j.job_id = ? ORDER BY j.image_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, reading->job_id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read_image(stmt, reading, places, err);
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

#define SELECT                                                                                     \
    "SELECT j.image_index, q.class_index, q.name, q.value FROM job_images j"                       \
    " JOIN result_quantities q ON q.job_id = j.job_id AND q.image_id = j.image_id"                 \
    " WHERE j.job_id = ?"
#define ORDER " ORDER BY j.image_index, q.class_index, q.name"

/* row->image: that of the row before. */
static int read_row(struct db_stmt *stmt, const struct places *places,
                    struct db_population_row *row, struct error *err)
{
    const int64_t index = db_column_int(stmt, "image_index", 0, INT64_MAX);
    while (row->image < places->n && places->items[row->image].index < index)
        row->image++;
    if (row->image == places->n || places->items[row->image].index != index)
        return error_set(err, ERROR_CORRUPT, "database: a population has quantities of no image");
    row->class_index = (int32_t)db_column_int(stmt, "class_index", DB_QUANTITY_OF_IMAGE,
                                              (int64_t)places->items[row->image].n_classes - 1);
    db_column_copy(stmt, "name", row->name, sizeof(row->name));
    row->value = db_column_double(stmt, "value");
    return db_stmt_fault(stmt, err);
}

static int read_rows(struct db_connection *reader, const struct db_population_reading *reading,
                     const struct places *places, struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct db_population_row row = {0};
    int step = 0;
    int rc = reading->n_names == 0
                 ? db_stmt_prepare(&stmt, reader, "reading a population", SELECT ORDER, err)
                 : db_stmt_prepare(&stmt, reader, "reading a part of a population",
                                   SELECT " AND q.name IN (?, ?, ?, ?, ?, ?, ?, ?)" ORDER, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, reading->job_id);
    for (size_t i = 0; reading->n_names > 0 && i < DB_POPULATION_NAMES; i++)
        db_bind_text(stmt, reading->names[i < reading->n_names ? i : 0]);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0) {
        rc = read_row(stmt, places, &row, err);
        if (rc == 0)
            rc = reading->take_row(reading->context, &row, err);
    }
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

int db_population_read(struct db *db, const struct db_population_reading *reading,
                       struct error *err)
{
    struct db_connection *reader = NULL;
    struct places places = {0};
    assert(reading->n_names <= DB_POPULATION_NAMES);
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = read_images(reader, reading, &places, err);
    if (rc == 0)
        rc = read_rows(reader, reading, &places, err);
    db_read_end(db, reader);
    free(places.items);
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
