#include "db/data/upkeep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/sql/stmt.h"
#include "db/store/files.h"
#include "db/store/room.h"
#include "db/store/temporary.h"
#include "db/stored_files.h"
#include "db/text.h"

const char *upkeep_part_name(enum upkeep_part part)
{
    static const char *const names[UPKEEP_PARTS] = {[UPKEEP_DATABASE] = "database",
                                                    [UPKEEP_BLOBS] = "blobs",
                                                    [UPKEEP_QUARANTINE] = "quarantine",
                                                    [UPKEEP_CACHE] = "cache",
                                                    [UPKEEP_TMP] = "tmp",
                                                    [UPKEEP_RESERVE] = "reserve"};
    return names[part];
}

/* ---- files ---- */

enum walk_action { WALK_MEASURE, WALK_REMOVE };

struct walk {
    const char *path; /* of the directory whose entries come */
    enum walk_action action;
    int depth;                  /* of directories that are still gone into */
    struct db_connection *rows; /* what they name is not removed; NULL: names of something else */
    struct upkeep_use use;
};

/* Files of ours are named by a SHA-256; what follows is the kind of the file. */
static bool is_ours(const char *name)
{
    char sha256[DB_SHA256_SIZE];
    snprintf(sha256, sizeof(sha256), "%s", name);
    return db_text_is_sha256(sha256) &&
           (name[DB_SHA256_SIZE - 1] == '\0' || strcmp(name + DB_SHA256_SIZE - 1, ".emb") == 0);
}

static void count(struct walk *walk, const struct stat *status)
{
    walk->use.n_files++;
    walk->use.size += (uint64_t)status->st_blocks * 512;
}

/* Removes a file of ours unless a row names it. */
static int remove_file(struct walk *walk, const char *path, const char *name,
                       const struct stat *status, struct error *err)
{
    bool is_named = false;
    int rc = walk->rows != NULL ? db_stored_file_is_named(walk->rows, name, &is_named, err) : 0;
    if (rc != 0)
        return rc;
    if (is_named) {
        walk->use.n_kept++;
        return 0;
    }
    if (unlink(path) != 0)
        return db_io_error(err, errno, "removing", path);
    count(walk, status);
    return 0;
}

static int walk_entry(const char *name, void *context, struct error *err)
{
    struct walk *walk = context;
    char path[DB_PATH_SIZE];
    struct stat status;
    int rc = db_path(path, err, "%s/%s", walk->path, name);
    if (rc != 0 || lstat(path, &status) != 0)
        return rc; /* it may just have gone */
    if (S_ISDIR(status.st_mode) && walk->depth > 0) {
        struct walk below = {
            .path = path, .action = walk->action, .depth = walk->depth - 1, .rows = walk->rows};
        rc = db_directory_visit(path, walk_entry, &below, err);
        walk->use.n_files += below.use.n_files;
        walk->use.size += below.use.size;
        walk->use.n_kept += below.use.n_kept;
        return rc;
    }
    if (!S_ISREG(status.st_mode))
        return 0;
    if (walk->action == WALK_REMOVE)
        return is_ours(name) ? remove_file(walk, path, name, &status, err) : 0;
    count(walk, &status);
    return 0;
}

static int walk_part(const char *directory, enum upkeep_part part, enum walk_action action,
                     struct db_connection *rows, struct upkeep_use *out, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct walk walk = {.path = path, .action = action, .depth = 1, .rows = rows};
    int rc = db_path(path, err, "%s/%s", directory, upkeep_part_name(part));
    if (rc == 0)
        rc = db_directory_visit(path, walk_entry, &walk, err);
    *out = walk.use; /* also of what went before a failure */
    return rc;
}

static int measure_files(const char *directory, const char *const *names, struct upkeep_use *out,
                         struct error *err)
{
    struct walk walk = {.use = {0}};
    for (; *names != NULL; names++) {
        char path[DB_PATH_SIZE];
        struct stat status;
        int rc = db_path(path, err, "%s/%s", directory, *names);
        if (rc != 0)
            return rc;
        if (lstat(path, &status) == 0 && S_ISREG(status.st_mode))
            count(&walk, &status);
    }
    *out = walk.use;
    return 0;
}

int upkeep_measure(const char *directory, enum upkeep_part part, struct upkeep_use *out,
                   struct error *err)
{
    static const char *const database[] = {"chipshot.sqlite", "chipshot.sqlite-wal",
                                           "chipshot.sqlite-shm", NULL};
    static const char *const reserve[] = {"reserve", NULL};
    if (part == UPKEEP_DATABASE)
        return measure_files(directory, database, out, err);
    if (part == UPKEEP_RESERVE)
        return measure_files(directory, reserve, out, err);
    return walk_part(directory, part, WALK_MEASURE, NULL, out, err);
}

/* ---- projects ---- */

static int visit_row(struct db_stmt *stmt,
                     void (*visit)(void *context, const struct upkeep_project *project),
                     void *context, struct error *err)
{
    struct upkeep_project project = {.n_images = 0};
    db_column_id(stmt, "id", "prj_", project.id);
    project.name = db_column_text(stmt, "name", DB_NAME_MAX);
    project.n_images = db_column_uint(stmt, "n_images", INT64_MAX);
    project.image_size = db_column_uint(stmt, "image_size", INT64_MAX);
    project.result_size = db_column_uint(stmt, "result_size", INT64_MAX);
    int rc = db_stmt_fault(stmt, err);
    if (rc == 0)
        visit(context, &project);
    free(project.name);
    return rc;
}

/* The length of a blob is known without reading it. */
static const char projects_sql[] =
    "SELECT id, name,"
    " (SELECT COUNT(*) FROM images i WHERE i.project_id = p.id) AS n_images,"
    " (SELECT COALESCE(SUM(byte_size), 0) FROM images i WHERE i.project_id = p.id) AS image_size,"
    " (SELECT COALESCE(SUM(LENGTH(labels) + LENGTH(probabilities) + LENGTH(distances)), 0)"
    " FROM results r JOIN jobs j ON j.id = r.job_id WHERE j.project_id = p.id) AS result_size"
    " FROM projects p ORDER BY created_at, id";

int upkeep_visit_projects(const char *directory,
                          void (*visit)(void *context, const struct upkeep_project *project),
                          void *context, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    char path[DB_PATH_SIZE];
    int step = 0;
    int rc = db_path(path, err, "%s/chipshot.sqlite", directory);
    if (rc == 0)
        rc = db_connection_open(&reader, path, DB_CONNECTION_READER, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "measuring projects", projects_sql, err);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = visit_row(stmt, visit, context, err);
    db_stmt_finish(stmt);
    db_connection_close(reader);
    return rc != 0 ? rc : step;
}

/* ---- freeing ---- */

int upkeep_begin(struct upkeep *out, const char *directory, struct error *err)
{
    char *absolute = realpath(directory, NULL);
    if (absolute == NULL)
        return error_set_errno(err, errno, "opening the directory %s", directory);
    int rc = db_path(out->directory, err, "%s", absolute);
    free(absolute);
    if (rc != 0)
        return rc;
    rc = db_claim_take(&out->claim, out->directory, err);
    if (rc != 0)
        upkeep_end(out);
    return rc;
}

void upkeep_end(struct upkeep *upkeep)
{
    db_claim_release(&upkeep->claim);
}

/* Without a floor there is no reserve; the next start makes one. */
static int give_up_reserve(const struct upkeep *upkeep, struct error *err)
{
    struct room *room = NULL;
    int rc = room_create(&room, upkeep->directory, 0, err);
    room_destroy(room);
    return rc;
}

static int empty_quarantine(const struct upkeep *upkeep, struct upkeep_use *out, struct error *err)
{
    struct db_connection *reader = NULL;
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/chipshot.sqlite", upkeep->directory);
    if (rc == 0)
        rc = give_up_reserve(upkeep, err);
    if (rc == 0)
        rc = db_connection_open(&reader, path, DB_CONNECTION_READER, err);
    if (rc != 0)
        return rc;
    rc = walk_part(upkeep->directory, UPKEEP_QUARANTINE, WALK_REMOVE, reader, out, err);
    db_connection_close(reader);
    return rc;
}

static void pass_over(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static int empty_tmp(const struct upkeep *upkeep, struct upkeep_use *out, struct error *err)
{
    struct upkeep_use before = {0}, after = {0};
    int rc = upkeep_measure(upkeep->directory, UPKEEP_TMP, &before, err);
    if (rc == 0)
        rc = db_temporary_empty(upkeep->directory, pass_over, NULL, err);
    if (rc == 0)
        rc = upkeep_measure(upkeep->directory, UPKEEP_TMP, &after, err);
    if (rc == 0)
        *out = (struct upkeep_use){.n_files = before.n_files - after.n_files,
                                   .size = before.size - after.size};
    return rc;
}

int upkeep_empty(const struct upkeep *upkeep, enum upkeep_part part, struct upkeep_use *out,
                 struct error *err)
{
    switch (part) {
    case UPKEEP_CACHE:
        return walk_part(upkeep->directory, part, WALK_REMOVE, NULL, out, err);
    case UPKEEP_QUARANTINE:
        return empty_quarantine(upkeep, out, err);
    case UPKEEP_TMP:
        return empty_tmp(upkeep, out, err);
    case UPKEEP_DATABASE:
    case UPKEEP_BLOBS:
    case UPKEEP_RESERVE:
    case UPKEEP_PARTS:
        break;
    }
    return error_set(err, ERROR_INVALID, "this part of a data directory is not emptied");
}

int upkeep_shrink(const struct upkeep *upkeep, struct db_shrunk *out, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/chipshot.sqlite", upkeep->directory);
    if (rc == 0)
        rc = give_up_reserve(upkeep, err);
    return rc != 0 ? rc : db_shrink_whole(upkeep->directory, path, out, err);
}
