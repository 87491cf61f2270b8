/* Typed queries for results. Labels, probabilities and distances are little-endian blobs, one each
 * an image; reading checks their size before anything is allocated and their values after, because
 * callers index with labels and print probabilities. */
#include "db/results/results.h"

#include "db/results/map_bytes.h"
#include "db/results/raw_labels.h"
#include "db/results/result_quantities.h"
#include "db/results/result_row.h"
#include "db/results/suggestions.h"

#include <math.h>

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/job_row.h"
#include "db/page.h"

enum {
    ANALYSIS_SIZE_MAX = 1 << 20,
    GRID_SIDE_MAX = 32768, /* rows or columns: an image has at most as many pixels a side */
    CLASSES_MAX = DB_LABEL_UNDECIDED, /* labels are u16, and those at the top are no classes */
};

#define COLUMNS                                                                                    \
    "job_id, image_id, grid_rows, grid_columns, chip_width, chip_height, stride_x, stride_y, "     \
    "offset_x, offset_y, edge, n_classes, temperature, created_at"
#define MAPS ", labels, probabilities, distances"
static const char *const map_names[] = {"labels", "probabilities", "distances", "raw labels"};

static bool is_label(const struct db_result *result, uint16_t label)
{
    return label < result->n_classes || label >= DB_LABEL_UNDECIDED;
}

static uint64_t n_chips_of(const struct db_result *result)
{
    return (uint64_t)result->rows * result->columns;
}

/* What is wrong with the values of the maps, NULL when nothing is; *map says where: 0 labels, 1
 * probabilities, 2 distances, 3 raw labels. */
static const char *find_fault(const struct db_result *result, int *map)
{
    uint64_t n_chips = n_chips_of(result);
    for (uint64_t i = 0; i < n_chips; i++) {
        *map = 0;
        if (!is_label(result, result->labels[i]))
            return "holds a label that is no class";
        *map = 3;
        if (result->raw_labels != NULL && !is_label(result, result->raw_labels[i]))
            return "holds a label that is no class";
        *map = 2;
        if (result->distances != NULL && !isfinite(result->distances[i]))
            return "holds a distance that is not finite";
    }
    *map = 1;
    const uint64_t n_values = result->probabilities != NULL ? n_chips * result->n_classes : 0;
    for (uint64_t i = 0; i < n_values; i++) {
        float probability = result->probabilities[i];
        /* Rounding may put a softmax slightly above 1; NaN fails both comparisons. */
        if (!(probability >= 0 && probability <= 1.001F))
            return "holds a probability outside 0..1";
    }
    return NULL;
}

/* ---- inserting ---- */

static int check(const struct db_result *result, const struct db_lease *lease, struct error *err)
{
    if (result->rows < 1 || result->rows > GRID_SIDE_MAX || result->columns < 1 ||
        result->columns > GRID_SIDE_MAX)
        return error_set(err, ERROR_INVALID, "result: %u x %u chips are not within 1..%d a side",
                         result->rows, result->columns, GRID_SIDE_MAX);
    if (result->n_classes < 1 || result->n_classes > CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "result: %u classes are not within 1..%d",
                         result->n_classes, CLASSES_MAX);
    if (!db_quantities_are_whole(result) || result->labels == NULL ||
        result->probabilities == NULL || result->distances == NULL)
        return error_set(err, ERROR_INVALID, "result: statistics or maps are missing");
    if (strcmp(result->job_id, lease->job_id) != 0)
        return error_set(err, ERROR_INVALID, "result: it is of job %s and the lease of %s",
                         result->job_id, lease->job_id);
    int map = 0;
    const char *fault = find_fault(result, &map);
    if (fault != NULL)
        return error_set(err, ERROR_INVALID, "result: the map of image %s %s", result->image_id,
                         fault);
    return 0;
}

static int touch_job(struct db_connection *writer, const struct db_lease *lease,
                     uint64_t n_chips_done, uint64_t n_new, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a job's progress",
                             "UPDATE jobs SET attempts = 0, n_failures = 0, retry_delay_ms = 0, "
                             "error_code = NULL, error_message = NULL, n_results = n_results + ?,"
                             " n_chips_done = ? WHERE " DB_LEASE_HOLDS,
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, n_new);
    db_bind_uint(stmt, n_chips_done);
    db_lease_bind(stmt, lease);
    return db_lease_run(writer, stmt, lease, err);
}

static int find(struct db_connection *connection, const char *what, const char *sql,
                const char *job_id, const char *image_id, bool *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, what, sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    db_bind_text(stmt, image_id);
    return db_stmt_run_any(stmt, out, err);
}

static int exists_in(struct db_connection *connection, const char *job_id, const char *image_id,
                     bool *out, struct error *err)
{
    return find(connection, "looking for a result",
                "SELECT 1 FROM results WHERE job_id = ? AND image_id = ?", job_id, image_id, out,
                err);
}

/* The blobs of one result, encoded. */
struct maps {
    uint8_t *labels, *probabilities, *distances;
    uint8_t *raw_labels; /* NULL: it has none */
};

static void bind_row(struct db_stmt *stmt, const struct db_result *result, const struct maps *maps)
{
    uint64_t n_chips = n_chips_of(result);
    db_bind_text(stmt, result->job_id);
    db_bind_text(stmt, result->image_id);
    db_bind_uint(stmt, result->rows);
    db_bind_uint(stmt, result->columns);
    db_bind_uint(stmt, result->chip_width);
    db_bind_uint(stmt, result->chip_height);
    db_bind_uint(stmt, result->stride_x);
    db_bind_uint(stmt, result->stride_y);
    db_bind_uint(stmt, result->offset_x);
    db_bind_uint(stmt, result->offset_y);
    db_bind_text(stmt, result->edge);
    db_bind_uint(stmt, result->n_classes);
    db_bind_double(stmt, result->temperature);
    db_bind_text(stmt, result->created_at);
    db_bind_blob(stmt, maps->labels, n_chips * 2);
    db_bind_blob(stmt, maps->probabilities, n_chips * result->n_classes * 4);
    db_bind_blob(stmt, maps->distances, n_chips * 4);
}

static int insert_row(struct db_connection *writer, const struct db_result *result,
                      const struct maps *maps, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a result",
                             "INSERT INTO results (" COLUMNS MAPS
                             ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    bind_row(stmt, result, maps);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_analysis(struct db_connection *writer, const struct db_result *result,
                           struct error *err)
{
    return db_result_row_insert_text(writer, "storing a result's analysis",
                                     "INSERT INTO result_analyses (job_id, image_id, analysis)"
                                     " VALUES (?, ?, ?)",
                                     result, result->analysis, err);
}

static int insert_in(struct db_connection *writer, const struct db_result *result,
                     const struct maps *maps, const struct db_lease *lease, uint64_t n_chips_done,
                     struct error *err)
{
    bool exists = false, belongs = false;
    int rc = exists_in(writer, result->job_id, result->image_id, &exists, err);
    if (rc == 0)
        rc = touch_job(writer, lease, n_chips_done, exists ? 0 : 1, err);
    if (rc != 0 || exists)
        return rc;
    rc = find(writer, "looking for a job's image",
              "SELECT 1 FROM job_images WHERE job_id = ? AND image_id = ?", result->job_id,
              result->image_id, &belongs, err);
    if (rc == 0 && !belongs)
        rc = error_set(err, ERROR_INVALID, "result: image %s is not in job %s", result->image_id,
                       result->job_id);
    if (rc == 0)
        rc = insert_row(writer, result, maps, err);
    if (rc == 0)
        rc = insert_analysis(writer, result, err);
    if (rc == 0 && maps->raw_labels != NULL)
        rc = db_raw_labels_insert(writer, result, maps->raw_labels, err);
    if (rc == 0)
        rc = db_suggestions_insert(writer, result, err);
    for (size_t i = 0; rc == 0 && i < result->n_quantities; i++)
        rc = db_quantity_insert(writer, result, &result->quantities[i], err);
    if (rc != 0)
        return rc;
    return db_job_event(writer, result->job_id, DB_EVENT_RESULT_STORED, PRINCIPAL_SYSTEM, err,
                        "{\"image_id\":\"%s\",\"token\":%llu}", result->image_id,
                        (unsigned long long)lease->token);
}

int db_result_insert(struct db *db, const struct db_result *result, const struct db_lease *lease,
                     uint64_t n_chips_done, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_result stored = *result;
    int rc = check(result, lease, err);
    if (rc != 0)
        return rc;
    uint64_t n_chips = n_chips_of(result);
    /* Encoded before the writer is taken: the lock is held for the insertion only. */
    struct maps maps = {
        .labels = map_encode_u16(result->labels, n_chips),
        .probabilities = map_encode_f32(result->probabilities, n_chips * result->n_classes),
        .distances = map_encode_f32(result->distances, n_chips),
        .raw_labels =
            result->raw_labels != NULL ? map_encode_u16(result->raw_labels, n_chips) : NULL,
    };
    if (maps.labels == NULL || maps.probabilities == NULL || maps.distances == NULL ||
        (result->raw_labels != NULL && maps.raw_labels == NULL))
        rc = error_set_nomem(err, "a result's maps");
    if (rc == 0)
        rc = db_write_begin(db, &writer, err);
    if (rc == 0) {
        db_time_now(stored.created_at);
        rc = insert_in(writer, &stored, &maps, lease, n_chips_done, err);
        rc = db_write_end(db, rc, err);
    }
    free(maps.labels);
    free(maps.probabilities);
    free(maps.distances);
    free(maps.raw_labels);
    return rc;
}

/* ---- reading ---- */

static int read_result(struct db_stmt *stmt, struct db_result *out, struct error *err)
{
    db_column_id(stmt, "job_id", "job_", out->job_id);
    db_column_id(stmt, "image_id", "img_", out->image_id);
    out->rows = (uint32_t)db_column_int(stmt, "grid_rows", 1, GRID_SIDE_MAX);
    out->columns = (uint32_t)db_column_int(stmt, "grid_columns", 1, GRID_SIDE_MAX);
    out->chip_width = db_column_uint32(stmt, "chip_width");
    out->chip_height = db_column_uint32(stmt, "chip_height");
    out->stride_x = db_column_uint32(stmt, "stride_x");
    out->stride_y = db_column_uint32(stmt, "stride_y");
    out->offset_x = db_column_uint32(stmt, "offset_x");
    out->offset_y = db_column_uint32(stmt, "offset_y");
    db_column_copy(stmt, "edge", out->edge, sizeof(out->edge));
    out->n_classes = (uint32_t)db_column_int(stmt, "n_classes", 1, CLASSES_MAX);
    out->temperature = db_column_double(stmt, "temperature");
    db_column_time(stmt, "created_at", out->created_at);
    return db_stmt_fault(stmt, err);
}

/* The sizes cannot overflow: 2^15 x 2^15 x 2^16 x 4 is 2^48. */
static int read_maps(struct db_stmt *stmt, struct db_result *out, struct error *err)
{
    uint64_t n_chips = n_chips_of(out), n_values = n_chips * out->n_classes;
    const void *labels = db_column_blob(stmt, map_names[0], n_chips * 2);
    const void *probabilities = db_column_blob(stmt, map_names[1], n_values * 4);
    const void *distances = db_column_blob(stmt, map_names[2], n_chips * 4);
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        return rc;
    out->labels = reallocarray(NULL, n_chips, sizeof(*out->labels));
    out->probabilities = reallocarray(NULL, n_values, sizeof(*out->probabilities));
    out->distances = reallocarray(NULL, n_chips, sizeof(*out->distances));
    if (out->labels == NULL || out->probabilities == NULL || out->distances == NULL)
        return error_set_nomem(err, "a result's maps");
    map_decode_u16(labels, n_chips, out->labels);
    map_decode_f32(probabilities, n_values, out->probabilities);
    map_decode_f32(distances, n_chips, out->distances);
    int map = 0;
    const char *fault = find_fault(out, &map);
    if (fault != NULL)
        db_column_fault(stmt, map_names[map], fault);
    return db_stmt_fault(stmt, err);
}

static int read_analysis(struct db_connection *reader, struct db_result *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, "reading a result's analysis",
                             "SELECT analysis FROM result_analyses"
                             " WHERE job_id = ? AND image_id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, out->job_id);
    db_bind_text(stmt, out->image_id);
    rc = db_stmt_step(stmt, err);
    if (rc > 0) {
        out->analysis = db_column_text(stmt, "analysis", ANALYSIS_SIZE_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* What other tables have of a result. */
static int read_rest(struct db_connection *reader, struct db_result *out, struct error *err)
{
    int rc = read_analysis(reader, out, err);
    if (rc == 0)
        rc = db_raw_labels_find(reader, out, err);
    return rc != 0 ? rc : db_quantities_read(reader, out, err);
}

static int get_from(struct db_connection *reader, const char *job_id, const char *image_id,
                    enum db_result_maps maps, struct db_result *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        maps == DB_RESULT_WITH_MAPS
            ? db_stmt_prepare(
                  &stmt, reader, "reading a result",
                  "SELECT " COLUMNS MAPS " FROM results WHERE job_id = ? AND image_id = ?", err)
            : db_stmt_prepare(&stmt, reader, "reading a result",
                              "SELECT " COLUMNS " FROM results WHERE job_id = ? AND image_id = ?",
                              err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    db_bind_text(stmt, image_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_NOT_FOUND, "job %.40s has no result for image %.40s", job_id,
                       image_id);
    if (rc == 0)
        rc = read_result(stmt, out, err);
    if (rc == 0 && maps == DB_RESULT_WITH_MAPS)
        rc = read_maps(stmt, out, err);
    db_stmt_finish(stmt);
    return rc != 0 ? rc : read_rest(reader, out, err);
}

int db_result_get(struct db *db, const char *job_id, const char *image_id, enum db_result_maps maps,
                  struct db_result *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_result result = {0};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = get_from(reader, job_id, image_id, maps, &result, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = result;
    else
        db_result_clear(&result);
    return rc;
}

/* Reads a stretch of a map of `size` bytes a chip, unless it was not asked for. */
static int read_stretch(struct db_connection *reader, int64_t row, const char *map, size_t size,
                        uint64_t n_chips, const struct db_result_part *part, void *out,
                        struct error *err)
{
    const struct db_blob_place place = {.what = "reading a result's maps",
                                        .table = "results",
                                        .column = map,
                                        .row = row,
                                        .size = n_chips * size};
    if (out == NULL)
        return 0;
    return db_connection_read_blob(reader, &place, part->first * size, part->n_chips * size, out,
                                   err);
}

/* The values are decoded where they were read to: each is read before it is written. */
static int read_part(struct db_connection *reader, const struct db_result *result,
                     const struct db_result_part *part, struct error *err)
{
    const uint64_t n_chips = n_chips_of(result), n = part->n_chips;
    const uint32_t n_classes = result->n_classes;
    int64_t row = 0;
    int rc = db_result_row_find(reader, "finding a result",
                                "SELECT rowid FROM results WHERE job_id = ? AND image_id = ?",
                                result, &row, err);
    if (rc == 0)
        rc = read_stretch(reader, row, map_names[0], 2, n_chips, part, part->labels, err);
    if (rc == 0)
        rc = read_stretch(reader, row, map_names[1], (size_t)n_classes * 4, n_chips, part,
                          part->probabilities, err);
    if (rc == 0)
        rc = read_stretch(reader, row, map_names[2], 4, n_chips, part, part->distances, err);
    if (rc == 0 && part->raw_labels != NULL)
        rc = db_raw_labels_read(reader, result, part, err);
    if (rc != 0)
        return rc;
    map_decode_u16((const uint8_t *)part->labels, n, part->labels);
    if (part->probabilities != NULL)
        map_decode_f32((const uint8_t *)part->probabilities, n * n_classes, part->probabilities);
    if (part->distances != NULL)
        map_decode_f32((const uint8_t *)part->distances, n, part->distances);
    if (part->raw_labels != NULL)
        map_decode_u16((const uint8_t *)part->raw_labels, n, part->raw_labels);
    return 0;
}

int db_result_read_part(struct db *db, const struct db_result *result,
                        const struct db_result_part *part, struct error *err)
{
    struct db_connection *reader = NULL;
    uint64_t n_chips = n_chips_of(result);
    if (part->first > n_chips || part->n_chips > n_chips - part->first)
        return error_set(err, ERROR_INVALID, "result: chips %llu to %llu are not within %llu",
                         (unsigned long long)part->first,
                         (unsigned long long)(part->first + part->n_chips),
                         (unsigned long long)n_chips);
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = read_part(reader, result, part, err);
    db_read_end(db, reader);
    if (rc != 0)
        return rc;
    const struct db_result chips = {.rows = 1,
                                    .columns = (uint32_t)part->n_chips,
                                    .n_classes = result->n_classes,
                                    .labels = part->labels,
                                    .probabilities = part->probabilities,
                                    .distances = part->distances,
                                    .raw_labels = part->raw_labels};
    int map = 0;
    const char *fault = find_fault(&chips, &map);
    if (fault == NULL)
        return 0;
    return error_set(err, ERROR_CORRUPT, "database: reading a result's maps: column %s %s",
                     map_names[map], fault);
}

/* ---- lists ---- */

/* Where a page starts: the place of an image in its job's order. */
static int find_start(struct db_connection *reader, const char *job_id, const char *image_id,
                      int64_t *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    *out = -1;
    if (image_id == NULL)
        return 0;
    int rc = db_stmt_prepare(&stmt, reader, "finding a page of results",
                             "SELECT j.image_index FROM job_images j"
                             " JOIN results r ON r.job_id = j.job_id AND r.image_id = j.image_id"
                             " WHERE j.job_id = ? AND j.image_id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    db_bind_text(stmt, image_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *out = db_column_int(stmt, "image_index", 0, INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_INVALID, "cursor: '%.40s' names no result of job %s", image_id,
                       job_id);
    return rc;
}

static int read_page(struct db_connection *reader, struct db_stmt *stmt, uint32_t limit,
                     struct db_result_list *list, struct error *err)
{
    int step = 0;
    while ((step = db_stmt_step(stmt, err)) > 0) {
        if (list->n_items == limit) {
            list->more = true;
            return 0;
        }
        struct db_result *item = &list->items[list->n_items];
        int rc = read_result(stmt, item, err);
        if (rc == 0)
            rc = read_rest(reader, item, err);
        list->n_items += rc == 0;
        list->n_damaged += rc == ERROR_CORRUPT;
        if (rc != 0)
            db_result_clear(item);
        if (rc != 0 && rc != ERROR_CORRUPT)
            return rc;
        db_stmt_pass_over(stmt);
    }
    return step;
}

static int list_from(struct db_connection *reader, const char *job_id, const struct db_page *page,
                     struct db_result_list *list, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int64_t start = -1;
    int rc = find_start(reader, job_id, page->after_id, &start, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, reader, "listing results",
                             "SELECT " COLUMNS
                             " FROM job_images JOIN results USING (job_id, image_id)"
                             " WHERE job_id = ? AND image_index > ? ORDER BY image_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job_id);
    db_bind_int(stmt, start);
    rc = read_page(reader, stmt, page->limit, list, err);
    db_stmt_finish(stmt);
    return rc;
}

int db_result_list(struct db *db, const char *job_id, const struct db_page *page,
                   struct db_result_list *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_page_check(page, err);
    if (rc != 0)
        return rc;
    struct db_result_list list = {.items = calloc(page->limit, sizeof(*list.items))};
    if (list.items == NULL)
        return error_set_nomem(err, "a list of results");
    rc = db_read_begin(db, &reader, err);
    if (rc == 0) {
        rc = list_from(reader, job_id, page, &list, err);
        db_read_end(db, reader);
    }
    if (rc == 0)
        *out = list;
    else
        db_result_list_clear(&list);
    return rc;
}

int db_result_exists(struct db *db, const char *job_id, const char *image_id, bool *out,
                     struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = exists_in(reader, job_id, image_id, out, err);
    db_read_end(db, reader);
    return rc;
}

void db_result_clear(struct db_result *result)
{
    free(result->quantities);
    free(result->labels);
    free(result->probabilities);
    free(result->distances);
    free(result->raw_labels);
    free(result->analysis);
    free(result->suggestions);
    *result = (struct db_result){0};
}

void db_result_list_clear(struct db_result_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_result_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_result_list){0};
}
