/* A version's place among the events says which jobs came after it: by the events of both, which
 * are numbered in the order of commits. */
#include "db/image_masks.h"

#include <stdlib.h>

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/stored_files.h"

static int read_mask(struct db_stmt *stmt, struct db_image_mask *out, struct error *err)
{
    out->version = db_column_uint32(stmt, "version");
    out->shapes = db_column_text(stmt, "shapes", DB_TEXT_MAX);
    if (!db_column_is_null(stmt, "picture_sha256"))
        db_column_sha256(stmt, "picture_sha256", out->picture_sha256);
    out->picture_size = db_column_uint(stmt, "picture_size", INT64_MAX);
    db_column_time(stmt, "created_at", out->created_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
    return db_stmt_fault(stmt, err);
}

static int read_latest(struct db_connection *connection, const char *image_id, uint64_t until,
                       struct db_image_mask *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "reading a mask",
                             "SELECT version, shapes, picture_sha256, picture_size, created_at,"
                             " created_by FROM image_masks WHERE image_id = ? AND sequence <= ?"
                             " ORDER BY version DESC LIMIT 1",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image_id);
    db_bind_uint(stmt, until);
    rc = db_stmt_step(stmt, err);
    if (rc > 0)
        rc = read_mask(stmt, out, err);
    db_stmt_finish(stmt);
    return rc;
}

int db_image_mask_get(struct db *db, const char *image_id, uint64_t until,
                      struct db_image_mask *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_image_mask mask = {0};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    snprintf(mask.image_id, sizeof(mask.image_id), "%s", image_id);
    rc = read_latest(reader, image_id, until, &mask, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = mask;
    else
        db_image_mask_clear(&mask);
    return rc;
}

void db_image_mask_clear(struct db_image_mask *mask)
{
    free(mask->shapes);
    *mask = (struct db_image_mask){0};
}

int db_image_mask_pictures(struct db_connection *connection, const char *image_id,
                           struct db_hashes *out, struct error *err)
{
    return db_hashes_read(out, connection, "reading the pictures of an image's masks",
                          "SELECT DISTINCT picture_sha256 AS sha256 FROM image_masks"
                          " WHERE picture_sha256 IS NOT NULL AND image_id = ?",
                          image_id, err);
}

/* ---- inserting ---- */

/* The project of an image. ERROR_NOT_FOUND. */
static int read_project(struct db_connection *writer, const char *image_id, char out[DB_ID_SIZE],
                        struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "reading a mask's image",
                             "SELECT project_id FROM images WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, image_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "project_id", "prj_", out);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND
               ? error_set(err, ERROR_NOT_FOUND, "there is no image %.40s", image_id)
               : rc;
}

static int require_version(struct db_connection *writer, const char *image_id, uint32_t expected,
                           struct error *err)
{
    struct db_image_mask latest = {0};
    int rc = read_latest(writer, image_id, DB_MASKS_ALL, &latest, err);
    if (rc == 0 && latest.version != expected)
        rc = error_set(err, ERROR_CONFLICT, "the mask of image %s has version %u, not %u", image_id,
                       latest.version, expected);
    db_image_mask_clear(&latest);
    return rc;
}

static int insert_row(struct db_connection *writer, const struct db_image_mask *mask,
                      uint64_t sequence, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a mask",
                             "INSERT INTO image_masks (image_id, version, sequence, shapes,"
                             " picture_sha256, picture_size, created_at, created_by)"
                             " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, mask->image_id);
    db_bind_uint(stmt, mask->version);
    db_bind_uint(stmt, sequence);
    db_bind_text(stmt, mask->shapes);
    db_bind_text(stmt, mask->picture_sha256[0] != '\0' ? mask->picture_sha256 : NULL);
    db_bind_uint(stmt, mask->picture_size);
    db_bind_text(stmt, mask->created_at);
    db_bind_text(stmt, mask->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_in(struct db_connection *writer, struct store *store,
                     const struct db_image_mask *mask, struct error *err)
{
    char project_id[DB_ID_SIZE];
    uint64_t sequence = 0;
    int rc = read_project(writer, mask->image_id, project_id, err);
    if (rc == 0)
        rc = require_version(writer, mask->image_id, mask->version - 1, err);
    if (rc == 0 && mask->picture_sha256[0] != '\0')
        rc = db_stored_file_require(store, mask->picture_sha256, err);
    if (rc == 0)
        rc = db_event_last(writer, &sequence, err);
    if (rc == 0)
        rc = insert_row(writer, mask, sequence + 1, err);
    if (rc != 0)
        return rc;
    const struct db_event_head head = {DB_EVENT_IMAGE_MASK_UPDATED, project_id, mask->image_id,
                                       mask->created_by};
    return db_event_append(writer, &head, err, "{\"version\":%u}", mask->version);
}

int db_image_mask_insert(struct db *db, struct store *store, struct db_image_mask *mask,
                         uint32_t expected_version, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_image_mask stored = *mask;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    stored.version = expected_version + 1;
    db_time_text(db_time_ms(), stored.created_at);
    rc = db_write_end(db, insert_in(writer, store, &stored, err), err);
    if (rc == 0)
        *mask = stored;
    return rc;
}
