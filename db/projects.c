/* Typed queries for projects. */
#include "db/projects.h"

#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/page.h"
#include "db/stored_files.h"
#include "db/store/store.h"

#define COLUMNS "id, name, description, labels, created_at, updated_at, revision, created_by"

static void read_project(struct db_stmt *stmt, void *item)
{
    struct db_project *out = item;
    db_column_id(stmt, "id", "prj_", out->id);
    out->name = db_column_text(stmt, "name", DB_NAME_MAX);
    out->description = db_column_text(stmt, "description", DB_TEXT_MAX);
    out->labels = db_column_text(stmt, "labels", DB_TEXT_MAX);
    db_column_time(stmt, "created_at", out->created_at);
    db_column_time(stmt, "updated_at", out->updated_at);
    out->revision = db_column_uint(stmt, "revision", INT64_MAX);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
}

static void clear_project(void *item)
{
    db_project_clear(item);
}

static const struct db_kind projects = {.name = "projects",
                                        .size = sizeof(struct db_project),
                                        .read = read_project,
                                        .clear = clear_project};

static int not_found(const char *id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "there is no project %.40s", id);
}

int db_project_require(struct db_connection *connection, const char *project_id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "finding a project",
                             "SELECT 1 FROM projects WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, project_id);
    rc = db_stmt_step_one(stmt, err);
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? not_found(project_id, err) : rc;
}

static int insert_row(struct db_connection *writer, const struct db_project *project,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, writer, "storing a project",
                        "INSERT INTO projects (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, project->id);
    db_bind_name(stmt, project->name);
    db_bind_text(stmt, project->description != NULL ? project->description : "");
    db_bind_text(stmt, project->labels != NULL ? project->labels : "{}");
    db_bind_text(stmt, project->created_at);
    db_bind_text(stmt, project->updated_at);
    db_bind_uint(stmt, project->revision);
    db_bind_text(stmt, project->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_in(struct db_connection *writer, const struct db_project *project,
                     struct error *err)
{
    const struct db_event_head head = {DB_EVENT_PROJECT_CREATED, project->id, project->id,
                                       project->created_by};
    int rc = insert_row(writer, project, err);
    return rc != 0 ? rc : db_event_append(writer, &head, err, "{}");
}

int db_project_insert(struct db *db, struct db_project *project, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_project stored = *project;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    db_id_create("prj_", stored.id);
    db_id_time(stored.id, stored.created_at);
    db_id_time(stored.id, stored.updated_at);
    stored.revision = 1;
    rc = db_write_end(db, insert_in(writer, &stored, err), err);
    if (rc == 0)
        *project = stored;
    return rc;
}

static int get_from(struct db_connection *connection, const char *id, struct db_project *out,
                    struct error *err)
{
    int rc = db_kind_find(&projects, connection, "reading a project",
                          "SELECT " COLUMNS " FROM projects WHERE id = ?", id, out, err);
    return rc == ERROR_NOT_FOUND ? not_found(id, err) : rc;
}

int db_project_get(struct db *db, const char *id, struct db_project *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = get_from(reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_project_list(struct db *db, const struct db_page *page, struct db_project_list *out,
                    struct error *err)
{
    static const struct db_listing listing = {
        .kind = &projects,
        .what = "listing projects",
        .sql = "SELECT " COLUMNS " FROM projects WHERE (created_at, id) > (?, ?)"
               " ORDER BY created_at, id LIMIT ?"};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out = (struct db_project_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

static int update_row(struct db_connection *writer, const struct db_project *project,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "changing a project",
                             "UPDATE projects SET name = ?, description = ?, labels = ?,"
                             " updated_at = ?, revision = ? WHERE id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_name(stmt, project->name);
    db_bind_text(stmt, project->description != NULL ? project->description : "");
    db_bind_text(stmt, project->labels != NULL ? project->labels : "{}");
    db_bind_text(stmt, project->updated_at);
    db_bind_uint(stmt, project->revision);
    db_bind_text(stmt, project->id);
    return db_stmt_run(stmt, NULL, err);
}

static int update_in(struct db_connection *writer, struct db_project *project,
                     uint64_t expected_revision, const struct principal *by, struct error *err)
{
    struct db_project old = {0};
    const struct db_event_head head = {DB_EVENT_PROJECT_UPDATED, project->id, project->id, by->id};
    int rc = get_from(writer, project->id, &old, err);
    if (rc == 0 && expected_revision != 0 && expected_revision != old.revision)
        rc = error_set(err, ERROR_CONFLICT,
                       "project %s is at revision %llu and not at the expected %llu", project->id,
                       (unsigned long long)old.revision, (unsigned long long)expected_revision);
    if (rc == 0) {
        project->revision = old.revision + 1;
        memcpy(project->created_at, old.created_at, DB_TIME_SIZE);
        memcpy(project->created_by, old.created_by, PRINCIPAL_ID_SIZE);
        db_time_now(project->updated_at);
        rc = update_row(writer, project, err);
    }
    if (rc == 0)
        rc = db_event_append(writer, &head, err, "{\"revision\":%llu}",
                             (unsigned long long)project->revision);
    db_project_clear(&old);
    return rc;
}

int db_project_update(struct db *db, struct db_project *project, uint64_t expected_revision,
                      const struct principal *by, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_project stored = *project;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, update_in(writer, &stored, expected_revision, by, err), err);
    if (rc == 0)
        *project = stored;
    return rc;
}

/* ---- deleting ---- */

/* The files of its images, and the pictures of their masks. */
static int read_hashes(struct db_connection *writer, const char *id, struct db_hashes *images,
                       struct db_hashes *pictures, struct error *err)
{
    int rc = db_hashes_read(images, writer, "reading a project's images",
                            "SELECT sha256 FROM images WHERE project_id = ?", id, err);
    if (rc == 0)
        rc = db_hashes_read(pictures, writer, "reading the masks of a project's images",
                            "SELECT DISTINCT picture_sha256 AS sha256 FROM image_masks"
                            " WHERE picture_sha256 IS NOT NULL"
                            " AND image_id IN (SELECT id FROM images WHERE project_id = ?)",
                            id, err);
    return rc;
}

static int require_idle(struct db_connection *writer, const char *id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char job_id[DB_ID_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "looking for unfinished jobs of a project",
                             "SELECT id FROM jobs WHERE project_id = ?"
                             " AND state IN ('queued', 'running') LIMIT 1",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step(stmt, err);
    if (rc > 0) {
        db_column_id(stmt, "id", "job_", job_id);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            rc = error_set(err, ERROR_CONFLICT, "project %s has a job that has not ended: %s", id,
                           job_id);
    }
    db_stmt_finish(stmt);
    return rc;
}

static int delete_in(struct db_connection *writer, const char *id, const struct principal *by,
                     struct db_hashes *images, struct db_hashes *pictures, struct error *err)
{
    const struct db_event_head head = {DB_EVENT_PROJECT_DELETED, id, id, by->id};
    struct db_stmt *stmt = NULL;
    int rc = db_project_require(writer, id, err);
    if (rc == 0)
        rc = require_idle(writer, id, err);
    if (rc == 0)
        rc = read_hashes(writer, id, images, pictures, err);
    /* All that the project owns goes with it (ON DELETE CASCADE). */
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "deleting a project",
                             "DELETE FROM projects WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_run(stmt, NULL, err);
    return rc != 0 ? rc
                   : db_event_append(writer, &head, err, "{\"n_images\":%zu}", images->n_items);
}

static int delete_once(struct db *db, struct store *store, const char *id,
                       const struct principal *by, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_hashes images = {0}, pictures = {0};
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, delete_in(writer, id, by, &images, &pictures, err), err);
    for (size_t i = 0; rc == 0 && i < images.n_items; i++)
        store_collect(store, images.items[i]);
    for (size_t i = 0; rc == 0 && i < pictures.n_items; i++)
        store_collect(store, pictures.items[i]);
    db_hashes_clear(&images);
    db_hashes_clear(&pictures);
    return rc;
}

int db_project_delete(struct db *db, struct store *store, const char *id,
                      const struct principal *by, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = delete_once(db, store, id, by, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

void db_project_clear(struct db_project *project)
{
    free(project->name);
    free(project->description);
    free(project->labels);
    *project = (struct db_project){0};
}

void db_project_list_clear(struct db_project_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_project_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_project_list){0};
}
