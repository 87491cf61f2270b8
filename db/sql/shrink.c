#include "db/sql/shrink.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/sql/connection.h"
#include "db/sql/pragmas.h"
#include "db/store/files.h"
#include "db/store/temporary.h"

enum { PAGES_AT_ONCE = 16 }; /* between two looks at the clock */

/* ---- step by step ---- */

static bool is_due(const struct db_pages *pages, uint64_t kept_size)
{
    return pages->returnable && pages->n_free * pages->page_size > kept_size;
}

/* Within a transaction. */
static int return_for(struct db_connection *writer, struct db_pages *pages, uint64_t kept_size,
                      struct error *err)
{
    const int64_t end_ms = clock_now_ms() + DB_SHRINK_MS;
    int rc = 0;
    do {
        rc = db_pages_return(writer, PAGES_AT_ONCE, err);
        if (rc == 0)
            rc = db_pages_count(writer, pages, err);
    } while (rc == 0 && is_due(pages, kept_size) && clock_now_ms() < end_ms);
    return rc;
}

static int look(struct db *db, struct db_pages *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_pages_count(reader, out, err);
    db_read_end(db, reader);
    return rc;
}

/* Free pages that are gone are cut off the file when the log is written back to its end. */
static bool is_cut(const struct db *db, const struct db_pages *pages)
{
    struct stat status;
    return stat(db->path, &status) != 0 ||
           (uint64_t)status.st_size <= pages->n_pages * pages->page_size;
}

int db_shrink(struct db *db, bool *more, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_pages pages;
    bool whole = true;
    int rc = look(db, &pages, err);
    if (rc != 0)
        return rc;
    if (is_due(&pages, DB_SHRINK_KEPT_SIZE)) {
        /* A power cut may undo it: the pages are free then as before. */
        rc = db_write_begin_volatile(db, &writer, err);
        if (rc == 0)
            rc = db_write_end(db, return_for(writer, &pages, DB_SHRINK_KEPT_SIZE, err), err);
    }
    if (rc == 0 && !is_cut(db, &pages))
        rc = db_checkpoint(db, &whole, err);
    if (rc == 0)
        *more = is_due(&pages, DB_SHRINK_KEPT_SIZE) || !whole;
    return rc;
}

/* ---- at once ---- */

static int file_size(const char *path, uint64_t *out, struct error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return db_io_error(err, errno, "looking at", path);
    *out = (uint64_t)status.st_size;
    return 0;
}

static int return_all(struct db_connection *writer, struct error *err)
{
    struct db_pages pages;
    int rc = db_pages_count(writer, &pages, err);
    /* In steps, so that the log does not grow by as much as is moved. */
    while (rc == 0 && is_due(&pages, 0)) {
        bool whole = false;
        rc = db_connection_begin_volatile(writer, err);
        if (rc == 0)
            rc = return_for(writer, &pages, 0, err);
        if (rc == 0)
            rc = db_connection_commit(writer, err);
        if (rc != 0)
            db_connection_rollback(writer);
        if (rc == 0)
            rc = db_log_write_back(writer, &whole, err);
    }
    return rc;
}

static int copy_into(struct db_connection *writer, const char *target, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_pages_make_returnable(writer, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "copying the database", "VACUUM INTO ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, target);
    return db_stmt_run(stmt, NULL, err);
}

/* A copy belongs to whom the database belongs to, whoever copies. */
static int finish_copy(int fd, const char *path, const char *copy, struct error *err)
{
    struct stat status;
    if (stat(path, &status) != 0)
        return db_io_error(err, errno, "looking at", path);
    if (fchmod(fd, status.st_mode & 0777) != 0 || fchown(fd, status.st_uid, status.st_gid) != 0)
        return db_io_error(err, errno, "giving to the database's owner", copy);
    return fsync(fd) == 0 ? 0 : db_io_error(err, errno, "syncing", copy);
}

/* The log of what is replaced would be taken for the copy's: it must be gone. */
static int replace(const char *directory, const char *path, const char *copy, struct error *err)
{
    char log[DB_PATH_SIZE];
    struct stat status;
    int rc = db_path(log, err, "%s-wal", path);
    if (rc == 0 && stat(log, &status) == 0 && status.st_size > 0)
        rc = error_set(err, ERROR_BUSY, "%s is in use, or could not be written back", log);
    if (rc == 0 && rename(copy, path) != 0)
        rc = db_io_error(err, errno, "renaming", copy);
    return rc == 0 ? db_directory_sync(directory, err) : rc;
}

/* Takes `writer`: it is closed before its file is replaced. */
static int copy_and_replace(struct db_connection *writer, const char *directory, const char *path,
                            struct error *err)
{
    char copy[DB_PATH_SIZE];
    int fd = -1;
    int rc = db_temporary_create(directory, &fd, copy, err);
    if (rc == 0)
        rc = copy_into(writer, copy, err);
    db_connection_close(writer);
    if (rc == 0)
        rc = finish_copy(fd, path, copy, err);
    if (rc == 0)
        rc = replace(directory, path, copy, err);
    if (fd >= 0)
        close(fd);
    if (rc != 0 && fd >= 0)
        unlink(copy);
    return rc;
}

/* Whatever its version: no row is looked at. */
static int open_writer(const char *path, struct db_connection **out, struct error *err)
{
    struct db_connection *writer = NULL;
    int64_t version = 0;
    int rc = db_connection_open(&writer, path, DB_CONNECTION_WRITER, err);
    if (rc == 0)
        rc = db_schema_version(writer, &version, err);
    if (rc == 0)
        rc = db_connection_enable_writes(writer, err);
    if (rc == 0)
        rc = db_files_configure(writer, err);
    if (rc == 0)
        *out = writer;
    else
        db_connection_close(writer);
    return rc;
}

int db_shrink_whole(const char *directory, const char *path, struct db_shrunk *out,
                    struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_shrunk shrunk = {0};
    struct db_pages pages;
    int rc = file_size(path, &shrunk.before, err);
    if (rc == 0)
        rc = open_writer(path, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_pages_count(writer, &pages, err);
    if (rc == 0 && !pages.returnable) {
        rc = copy_and_replace(writer, directory, path, err);
    } else {
        if (rc == 0)
            rc = return_all(writer, err);
        db_connection_close(writer);
    }
    if (rc == 0)
        rc = file_size(path, &shrunk.after, err);
    if (rc == 0)
        *out = shrunk;
    return rc;
}
