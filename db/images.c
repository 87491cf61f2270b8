/* Typed queries for images. */
#include "db/images.h"

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/image_masks.h"
#include "db/page.h"
#include "db/stored_files.h"

#define COLUMNS                                                                                    \
    "id, project_id, sha256, frame, name, format, conversion, width, height, bit_depth, "          \
    "n_channels, byte_size, look, pixel_size_nm, pixel_x_nm, pixel_y_nm, pixel_source, "           \
    "pixel_set_by, "                                                                               \
    "pixel_set_at, n_outliers, revision, created_at, created_by"

double db_image_column_pixel(struct db_stmt *stmt, const char *column)
{
    const double value = db_column_double(stmt, column);
    if (value != 0 && !(value >= 1e-100 && value <= 1e100))
        db_column_fault(stmt, column, "does not hold an edge of a pixel");
    return value;
}

static void read_image(struct db_stmt *stmt, void *item)
{
    struct db_image *out = item;
    db_column_id(stmt, "id", "img_", out->id);
    db_column_id(stmt, "project_id", "prj_", out->project_id);
    db_column_sha256(stmt, "sha256", out->sha256);
    out->frame = db_column_uint32(stmt, "frame");
    out->name = db_column_text(stmt, "name", DB_NAME_MAX);
    db_column_copy(stmt, "format", out->format, sizeof(out->format));
    db_column_copy(stmt, "conversion", out->conversion, sizeof(out->conversion));
    out->width = db_column_uint32(stmt, "width");
    out->height = db_column_uint32(stmt, "height");
    out->bit_depth = db_column_uint32(stmt, "bit_depth");
    out->n_channels = db_column_uint32(stmt, "n_channels");
    out->byte_size = db_column_uint(stmt, "byte_size", INT64_MAX);
    if (!db_column_is_null(stmt, "look"))
        out->look = db_column_text(stmt, "look", DB_TEXT_MAX);
    out->pixel_size_nm = db_column_double(stmt, "pixel_size_nm");
    out->pixel_x_nm = db_image_column_pixel(stmt, "pixel_x_nm");
    out->pixel_y_nm = db_image_column_pixel(stmt, "pixel_y_nm");
    db_column_copy(stmt, "pixel_source", out->pixel_source, sizeof(out->pixel_source));
    db_column_copy(stmt, "pixel_set_by", out->pixel_set_by, sizeof(out->pixel_set_by));
    db_column_copy(stmt, "pixel_set_at", out->pixel_set_at, sizeof(out->pixel_set_at));
    out->n_outliers = db_column_int(stmt, "n_outliers", -1, INT64_MAX);
    out->revision = db_column_uint(stmt, "revision", INT64_MAX);
    db_column_time(stmt, "created_at", out->created_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
}

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "there is no image %.40s", id);
}

static void clear_image(void *item)
{
    db_image_clear(item);
}

static const struct db_kind images = {
    .name = "images", .size = sizeof(struct db_image), .read = read_image, .clear = clear_image};

/* ---- inserting ---- */

static int find_same(struct db_connection *writer, const struct db_image *image,
                     struct db_image *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "looking for the same image",
                             "SELECT " COLUMNS " FROM images WHERE project_id = ? AND sha256 = ?"
                             " AND frame = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image->project_id);
    db_bind_text(stmt, image->sha256);
    db_bind_uint(stmt, image->frame);
    return db_kind_read(&images, stmt, out, err);
}

static int insert_row(struct db_connection *writer, const struct db_image *image, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing an image",
                             "INSERT INTO images (" COLUMNS
                             ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                             " ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image->id);
    db_bind_text(stmt, image->project_id);
    db_bind_text(stmt, image->sha256);
    db_bind_uint(stmt, image->frame);
    db_bind_name(stmt, image->name);
    db_bind_text(stmt, image->format);
    db_bind_text(stmt, image->conversion);
    db_bind_uint(stmt, image->width);
    db_bind_uint(stmt, image->height);
    db_bind_uint(stmt, image->bit_depth);
    db_bind_uint(stmt, image->n_channels);
    db_bind_uint(stmt, image->byte_size);
    db_bind_text(stmt, image->look);
    db_bind_double(stmt, image->pixel_size_nm);
    db_bind_double(stmt, image->pixel_x_nm);
    db_bind_double(stmt, image->pixel_y_nm);
    db_bind_text(stmt, image->pixel_source);
    db_bind_text(stmt, image->pixel_set_by);
    db_bind_text(stmt, image->pixel_set_at);
    db_bind_int(stmt, image->n_outliers);
    db_bind_uint(stmt, image->revision);
    db_bind_text(stmt, image->created_at);
    db_bind_text(stmt, image->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int append_event(struct db_connection *writer, enum db_event_type type,
                        const struct db_image *image, const char *principal, struct error *err)
{
    const struct db_event_head head = {type, image->project_id, image->id, principal};
    return db_event_append(writer, &head, err, "{\"sha256\":\"%s\"}", image->sha256);
}

/* Of an image that is from before anybody looked. */
static int keep_look(struct db_connection *writer, struct db_image *found, const char *look,
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    if (found->look != NULL || look == NULL)
        return 0;
    found->look = strdup(look);
    if (found->look == NULL)
        return error_set_nomem(err, "an image");
    found->revision++;
    int rc =
        db_stmt_prepare(&stmt, writer, "storing a look at an image",
                        "UPDATE images SET look = ?, revision = revision + 1 WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, look);
    db_bind_text(stmt, found->id);
    return db_stmt_run(stmt, NULL, err);
}

/* `found` becomes the image that exists already, if there is one. */
static int insert_in(struct db_connection *writer, struct store *store, struct db_image *stored,
                     struct db_image *found, bool *existed, struct error *err)
{
    int rc = db_project_require(writer, stored->project_id, err);
    if (rc == 0)
        rc = db_stored_file_require(store, stored->sha256, err);
    if (rc != 0)
        return rc;
    rc = find_same(writer, stored, found, err);
    *existed = rc == 0;
    if (rc == 0)
        return keep_look(writer, found, stored->look, err);
    if (rc != ERROR_NOT_FOUND)
        return rc;
    stored->revision = 1;
    db_id_create("img_", stored->id);
    db_id_time(stored->id, stored->created_at);
    if (stored->pixel_set_by[0] != '\0')
        memcpy(stored->pixel_set_at, stored->created_at, DB_TIME_SIZE);
    rc = insert_row(writer, stored, err);
    return rc != 0 ? rc
                   : append_event(writer, DB_EVENT_IMAGE_CREATED, stored, stored->created_by, err);
}

int db_image_insert(struct db *db, struct store *store, struct db_image *image, bool *existed,
                    struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_image stored = *image, found = {0};
    bool was_there = false;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, insert_in(writer, store, &stored, &found, &was_there, err), err);
    if (rc != 0) {
        db_image_clear(&found);
        return rc;
    }
    if (was_there)
        db_image_clear(image);
    *image = was_there ? found : stored;
    *existed = was_there;
    return 0;
}

/* ---- reading ---- */

int db_image_get(struct db *db, const char *id, struct db_image *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_kind_find(&images, reader, "reading an image",
                      "SELECT " COLUMNS " FROM images WHERE id = ?", id, out, err);
    db_read_end(db, reader);
    return rc == ERROR_NOT_FOUND ? not_found(id, err) : rc;
}

int db_image_list(struct db *db, const char *project_id, const char *name,
                  const struct db_page *page, struct db_image_list *out, struct error *err)
{
    static const char all[] = "SELECT " COLUMNS " FROM images WHERE project_id = ?"
                              " AND (created_at, id) > (?, ?)"
                              " ORDER BY created_at, id LIMIT ?";
    static const char named[] = "SELECT " COLUMNS " FROM images WHERE project_id = ? AND name = ?"
                                " AND (created_at, id) > (?, ?)"
                                " ORDER BY created_at, id LIMIT ?";
    const struct db_listing listing = {.kind = &images,
                                       .what = name == NULL ? "listing images"
                                                            : "listing images by name",
                                       .sql = name == NULL ? all : named,
                                       .owner_id = project_id,
                                       .require = db_project_require,
                                       .filter = name};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out = (struct db_image_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

/* ---- changing ---- */

static int update_row(struct db_connection *writer, const struct db_image *image, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing an image's pixel size",
                             "UPDATE images SET pixel_size_nm = ?, pixel_x_nm = ?, pixel_y_nm = ?,"
                             " pixel_source = ?, pixel_set_by = ?, pixel_set_at = ?, revision = ?"
                             " WHERE id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_double(stmt, image->pixel_size_nm);
    db_bind_double(stmt, image->pixel_x_nm);
    db_bind_double(stmt, image->pixel_y_nm);
    db_bind_text(stmt, image->pixel_source);
    db_bind_text(stmt, image->pixel_set_by);
    db_bind_text(stmt, image->pixel_set_at);
    db_bind_uint(stmt, image->revision);
    db_bind_text(stmt, image->id);
    return db_stmt_run(stmt, NULL, err);
}

static int append_change(struct db_connection *writer, const struct db_image *image,
                         const struct db_image *old, struct error *err)
{
    const struct db_event_head head = {DB_EVENT_IMAGE_UPDATED, image->project_id, image->id,
                                       image->pixel_set_by};
    return db_event_append(writer, &head, err,
                           "{\"revision\":%llu,\"x_nm\":%.9g,\"y_nm\":%.9g,"
                           "\"before_x_nm\":%.9g,\"before_y_nm\":%.9g}",
                           (unsigned long long)image->revision, image->pixel_x_nm,
                           image->pixel_y_nm, old->pixel_x_nm, old->pixel_y_nm);
}

static int calibrate_in(struct db_connection *writer, const struct db_image *wanted,
                        uint64_t expected_revision, const struct principal *by,
                        struct db_image *out, struct error *err)
{
    int rc = db_kind_find(&images, writer, "reading an image",
                          "SELECT " COLUMNS " FROM images WHERE id = ?", wanted->id, out, err);
    if (rc != 0)
        return rc == ERROR_NOT_FOUND ? not_found(wanted->id, err) : rc;
    if (expected_revision != 0 && expected_revision != out->revision)
        return error_set(err, ERROR_CONFLICT,
                         "image %s is at revision %llu and not at the expected %llu", out->id,
                         (unsigned long long)out->revision, (unsigned long long)expected_revision);
    const struct db_image old = *out;
    out->pixel_size_nm = wanted->pixel_size_nm;
    out->pixel_x_nm = wanted->pixel_x_nm;
    out->pixel_y_nm = wanted->pixel_y_nm;
    memcpy(out->pixel_source, wanted->pixel_source, sizeof(out->pixel_source));
    snprintf(out->pixel_set_by, sizeof(out->pixel_set_by), "%s", by->id);
    db_time_now(out->pixel_set_at);
    out->revision++;
    rc = update_row(writer, out, err);
    return rc != 0 ? rc : append_change(writer, out, &old, err);
}

int db_image_calibrate(struct db *db, struct db_image *image, uint64_t expected_revision,
                       const struct principal *by, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_image stored = {0};
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, calibrate_in(writer, image, expected_revision, by, &stored, err), err);
    if (rc != 0) {
        db_image_clear(&stored);
        return rc;
    }
    db_image_clear(image);
    *image = stored;
    return 0;
}

int db_image_revisions(struct db *db, const char *job_id, uint64_t *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "reading the revisions of a job's images",
                         "SELECT COALESCE(SUM(i.revision), 0) AS revisions FROM job_images j"
                         " JOIN images i ON i.id = j.image_id WHERE j.job_id = ?",
                         err);
    if (rc == 0) {
        db_bind_text(stmt, job_id);
        rc = db_stmt_step_one(stmt, err);
        if (rc == 0) {
            *out = db_column_uint(stmt, "revisions", INT64_MAX);
            rc = db_stmt_fault(stmt, err);
        }
        db_stmt_finish(stmt);
    }
    db_read_end(db, reader);
    return rc;
}

/* ---- deleting ---- */

/* ERROR_CONFLICT when `sql` finds the user_id of a user of the image. */
static int require_unused(struct db_connection *writer, const char *id, const char *sql,
                          const char *user, const char *prefix, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char user_id[DB_ID_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "looking for users of an image", sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step(stmt, err);
    if (rc > 0) {
        db_column_id(stmt, "user_id", prefix, user_id);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            rc = error_set(err, ERROR_CONFLICT, "image %s is needed by %s %s", id, user, user_id);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* Reads the project and hash of image->id, which are all that deleting needs. */
static int read_deleted(struct db_connection *writer, struct db_image *image, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "reading an image",
                             "SELECT project_id, sha256 FROM images WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image->id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "project_id", "prj_", image->project_id);
        db_column_sha256(stmt, "sha256", image->sha256);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? not_found(image->id, err) : rc;
}

static int delete_in(struct db_connection *writer, struct db_image *image,
                     const struct principal *by, struct db_hashes *pictures, struct error *err)
{
    struct db_stmt *stmt = NULL;
    const char *id = image->id;
    int rc = read_deleted(writer, image, err);
    if (rc == 0)
        rc = db_image_mask_pictures(writer, id, pictures, err);
    if (rc == 0)
        rc = require_unused(
            writer, id, "SELECT support_set_id AS user_id FROM examples WHERE image_id = ? LIMIT 1",
            "support set", "sup_", err);
    if (rc == 0)
        rc = require_unused(writer, id,
                            "SELECT job_id AS user_id FROM job_images WHERE image_id = ? LIMIT 1",
                            "job", "job_", err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "deleting an image", "DELETE FROM images WHERE id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_run(stmt, NULL, err);
    return rc != 0 ? rc : append_event(writer, DB_EVENT_IMAGE_DELETED, image, by->id, err);
}

static int delete_once(struct db *db, struct store *store, const char *id,
                       const struct principal *by, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_image image = {.name = NULL};
    struct db_hashes pictures = {0};
    snprintf(image.id, sizeof(image.id), "%s", id);
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, delete_in(writer, &image, by, &pictures, err), err);
    if (rc == 0)
        store_collect(store, image.sha256);
    for (size_t i = 0; i < pictures.n_items && rc == 0; i++)
        store_collect(store, pictures.items[i]);
    db_hashes_clear(&pictures);
    return rc;
}

int db_image_delete(struct db *db, struct store *store, const char *id, const struct principal *by,
                    struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = delete_once(db, store, id, by, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

void db_image_clear(struct db_image *image)
{
    free(image->name);
    free(image->look);
    *image = (struct db_image){0};
}

void db_image_list_clear(struct db_image_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_image_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_image_list){0};
}
