/* Opening and closing a data directory.
 *
 * DIR/lock tells more than that a server runs: its content is the process id while one does and
 * empty after a clean end. Only when it is not empty at start (a crash, or a file that could not be
 * removed) can there be blob files without rows, and only then are they looked for.
 */
#include "db/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "db/blob_store.h"
#include "db/cache_store.h"

static int lock_directory(struct db *db, struct error *err)
{
    char path[DB_PATH_SIZE], text[32] = "";
    int rc = db_path(path, err, "%s/lock", db->directory);
    if (rc != 0)
        return rc;
    rc = db_lock_take(path, false, &db->lock_fd, err);
    if (rc == ERROR_CONFLICT)
        return error_set(err, ERROR_CONFLICT,
                         "another chipshot server is using %s (it holds the lock %s)",
                         db->directory, path);
    if (rc != 0)
        return rc;
    struct stat status;
    if (fstat(db->lock_fd, &status) != 0)
        return db_io_error(err, errno, "reading", path);
    db->needs_sweep = status.st_size != 0;
    int length = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (ftruncate(db->lock_fd, 0) != 0)
        return db_io_error(err, errno, "emptying", path);
    rc = db_file_write(db->lock_fd, path, text, (size_t)length, err);
    /* The mark must be on the disk before the first upload is. */
    if (rc == 0 && fsync(db->lock_fd) != 0)
        rc = db_io_error(err, errno, "syncing", path);
    return rc;
}

static int create_directories(struct db *db, struct error *err)
{
    static const char *const names[] = {"blobs", "cache", "tmp"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        char path[DB_PATH_SIZE];
        rc = db_path(path, err, "%s/%s", db->directory, names[i]);
        if (rc == 0)
            rc = db_directory_create(path, err);
    }
    return rc;
}

static int remove_temporary(const char *name, void *context, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/tmp/%s", (const char *)context, name);
    /* A folder that somebody put there is not ours and does no harm. */
    if (rc == 0 && unlink(path) != 0 && errno != EISDIR && errno != EPERM && errno != ENOENT)
        rc = db_io_error(err, errno, "removing", path);
    return rc;
}

static int empty_tmp(struct db *db, struct error *err)
{
    char path[DB_PATH_SIZE];
    int rc = db_path(path, err, "%s/tmp", db->directory);
    return rc != 0 ? rc : db_directory_visit(path, remove_temporary, db->directory, err);
}

/* SQLite would create the file readable for everyone; its log files take the mode of this one. */
static int create_file(struct db *db, struct error *err)
{
    int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return db_io_error(err, errno, "opening", db->path);
    close(fd);
    return db_directory_sync(db->directory, err);
}

static int find_directory(struct db *db, const char *directory, struct error *err)
{
    int rc = db_directory_create_all(directory, err);
    if (rc != 0)
        return rc;
    /* Absolute, so that a later chdir changes nothing and SQLite sees no "file:" name. */
    db->directory = realpath(directory, NULL);
    if (db->directory == NULL)
        return db_io_error(err, errno, "opening the directory", directory);
    /* Said here in so many words; SQLite would only be unable to open something later. */
    if (faccessat(AT_FDCWD, db->directory, W_OK | X_OK, AT_EACCESS) != 0)
        return error_set_errno(err, errno, "the data directory %s cannot be written",
                               db->directory);
    if (asprintf(&db->path, "%s/chipshot.sqlite", db->directory) < 0) {
        db->path = NULL;
        return error_set_nomem(err, "the database's name");
    }
    return 0;
}

int db_open(struct db **out, const struct db_config *config, struct error *err)
{
    if (config->directory == NULL || config->directory[0] == '\0')
        return error_set(err, ERROR_INVALID, "data directory: the name is empty");
    struct db *db = calloc(1, sizeof(*db));
    if (db == NULL)
        return error_set_nomem(err, "the database");
    db->lock_fd = -1;
    pthread_mutex_init(&db->write_mutex, NULL);
    pthread_mutex_init(&db->reader_mutex, NULL);
    pthread_cond_init(&db->reader_idle, NULL);
    pthread_mutex_init(&db->blob_mutex, NULL);
    int rc = find_directory(db, config->directory, err);
    if (rc == 0)
        rc = lock_directory(db, err);
    if (rc == 0)
        rc = create_directories(db, err);
    if (rc == 0)
        rc = empty_tmp(db, err);
    if (rc == 0)
        rc = create_file(db, err);
    if (rc == 0)
        rc = db_connections_open(db, err);
    if (rc == 0 && db->needs_sweep)
        rc = db_blob_sweep(db, err);
    if (rc == 0)
        rc = db_cache_open(&db->cache, db->directory, config->cache_max_size, err);
    if (rc == 0) {
        *out = db;
        return 0;
    }
    db_close(db);
    return rc;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    db_cache_close(db->cache);
    db_connections_close(db);
    if (db->lock_fd >= 0) {
        /* A failure only means that the next start looks for files without rows. */
        if (!db->needs_sweep && ftruncate(db->lock_fd, 0) != 0)
            fdatasync(db->lock_fd);
        close(db->lock_fd);
    }
    pthread_mutex_destroy(&db->blob_mutex);
    pthread_cond_destroy(&db->reader_idle);
    pthread_mutex_destroy(&db->reader_mutex);
    pthread_mutex_destroy(&db->write_mutex);
    free(db->path);
    free(db->directory);
    free(db);
}

const char *db_directory(const struct db *db)
{
    return db->directory;
}

static int touch_health(struct db_connection *writer, const char *now, struct error *err)
{
    struct db_stmt *stmt = NULL;
    uint64_t n_changed = 0;
    int rc = db_stmt_prepare(&stmt, writer, "checking that writing works",
                             "UPDATE health SET checked_at = ? WHERE id = 1", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, now);
    rc = db_stmt_run(stmt, &n_changed, err);
    if (rc != 0 || n_changed == 1)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "checking that writing works",
                         "INSERT INTO health (id, checked_at) VALUES (1, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, now);
    return db_stmt_run(stmt, NULL, err);
}

static int read_health(struct db_connection *reader, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char found[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, reader, "checking that reading works",
                             "SELECT checked_at FROM health WHERE id = 1", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_time(stmt, 0, found);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_check(struct db *db, uint64_t *free_size, struct error *err)
{
    struct db_connection *connection = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_write_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    rc = db_write_end(db, touch_health(connection, now, err), err);
    if (rc != 0)
        return rc;
    rc = db_read_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    rc = read_health(connection, err);
    db_read_end(db, connection);
    struct statvfs device;
    if (rc == 0 && statvfs(db->directory, &device) != 0)
        rc = db_io_error(err, errno, "asking for the free space of", db->directory);
    if (rc == 0)
        *free_size = (uint64_t)device.f_bavail * device.f_frsize;
    return rc;
}

/* ERROR_CORRUPT with the first finding of the engine's own check, foreign keys included. */
static int check_integrity(struct db_connection *connection, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char *finding = NULL;
    int rc =
        db_stmt_prepare(&stmt, connection, "checking integrity", "PRAGMA integrity_check(1)", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        finding = db_column_text(stmt, 0, 4096);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    if (rc == 0 && strcmp(finding, "ok") != 0)
        rc = error_set(err, ERROR_CORRUPT, "database: integrity check: %s", finding);
    free(finding);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, connection, "checking foreign keys", "PRAGMA foreign_key_check",
                         err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step(stmt, err);
    if (rc > 0)
        rc = error_set(err, ERROR_CORRUPT, "database: a row refers to a row that does not exist");
    db_stmt_finish(stmt);
    return rc;
}

int db_integrity_check(struct db *db, struct error *err)
{
    struct db_connection *connection = NULL;
    int rc = db_read_begin(db, &connection, err);
    if (rc != 0)
        return rc;
    rc = check_integrity(connection, err);
    db_read_end(db, connection);
    return rc != 0 ? rc : db_blob_check_all(db, err);
}
