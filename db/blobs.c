/* Blob files, and the race between storing and deleting the same bytes.
 *
 * A committed writer stays in db->committed until it is destroyed. Removing a file happens under
 * blob_mutex, after looking (a) for a writer in the list and (b) for a row; a row is committed
 * before its writer is destroyed, so an upload is seen by (a), by (b), or has not been committed
 * yet, and then its commit, which waits for the mutex, renames its own copy into place.
 */
#include "db/blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "base/hex.h"
#include "db/blob_store.h"
#include "db/text.h"

struct db_blob_writer {
    struct db *db;
    int fd;
    char path[DB_PATH_SIZE]; /* in DIR/tmp; "" once renamed */
    struct sha256_ctx hash;
    char sha256[DB_SHA256_SIZE]; /* "" until the hash has ended */
    uint64_t size;
    void *map;
    size_t map_size;
    bool failed;                 /* what is in the file is not what was written */
    bool committed;              /* is in db->committed */
    struct db_blob_writer *next; /* guarded by db->blob_mutex */
};

static int blob_path(const struct db *db, const char *sha256, char out[DB_PATH_SIZE],
                     struct error *err)
{
    return db_path(out, err, "%s/blobs/%.2s/%s", db->directory, sha256, sha256);
}

int db_blob_writer_create(struct db_blob_writer **out, struct db *db, struct error *err)
{
    struct db_blob_writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL)
        return error_set_nomem(err, "an upload");
    writer->db = db;
    writer->fd = -1;
    sha256_init(&writer->hash);
    int rc = db_temporary_create(db->directory, &writer->fd, writer->path, err);
    if (rc != 0) {
        free(writer);
        return rc;
    }
    *out = writer;
    return 0;
}

int db_blob_write(struct db_blob_writer *writer, const void *data, size_t size, struct error *err)
{
    if (writer->failed || writer->sha256[0] != '\0')
        return error_set(err, ERROR_IO, "the upload has ended and takes no more bytes");
    int rc = db_file_write(writer->fd, writer->path, data, size, err);
    if (rc != 0) {
        writer->failed = true;
        return rc;
    }
    sha256_update(&writer->hash, size, data);
    writer->size += size;
    return 0;
}

uint64_t db_blob_writer_size(const struct db_blob_writer *writer)
{
    return writer->size;
}

void db_blob_writer_sha256(struct db_blob_writer *writer, char out[DB_SHA256_SIZE])
{
    if (writer->sha256[0] == '\0') {
        uint8_t digest[SHA256_DIGEST_SIZE];
        sha256_digest(&writer->hash, sizeof(digest), digest);
        hex_encode(digest, sizeof(digest), writer->sha256);
    }
    memcpy(out, writer->sha256, DB_SHA256_SIZE);
}

int db_blob_writer_map(struct db_blob_writer *writer, const void **data, size_t *size,
                       struct error *err)
{
    if (writer->failed)
        return error_set(err, ERROR_IO, "the upload is incomplete");
    if (writer->map != NULL && writer->map_size != writer->size) {
        munmap(writer->map, writer->map_size);
        writer->map = NULL;
    }
    if (writer->map == NULL && writer->size > 0) {
        void *map = mmap(NULL, writer->size, PROT_READ, MAP_PRIVATE, writer->fd, 0);
        if (map == MAP_FAILED)
            return db_io_error(err, errno, "mapping", writer->path);
        writer->map = map;
        writer->map_size = writer->size;
    }
    *data = writer->map;
    *size = writer->size;
    return 0;
}

/* Renames the file into place unless a whole one is there already. Under blob_mutex. */
static int place(struct db_blob_writer *writer, const char *target, struct error *err)
{
    struct stat status;
    if (stat(target, &status) == 0 && (uint64_t)status.st_size == writer->size)
        return 0; /* destroy removes our copy */
    if (rename(writer->path, target) != 0)
        return db_io_error(err, errno, "renaming", writer->path);
    writer->path[0] = '\0';
    return 0;
}

int db_blob_writer_commit(struct db_blob_writer *writer, struct error *err)
{
    struct db *db = writer->db;
    char sha256[DB_SHA256_SIZE], target[DB_PATH_SIZE], folder[DB_PATH_SIZE], parent[DB_PATH_SIZE];
    if (writer->failed)
        return error_set(err, ERROR_IO, "the upload is incomplete");
    if (writer->committed)
        return 0;
    db_blob_writer_sha256(writer, sha256);
    int rc = blob_path(db, sha256, target, err);
    if (rc == 0)
        rc = db_path(folder, err, "%s/blobs/%.2s", db->directory, sha256);
    if (rc == 0)
        rc = db_path(parent, err, "%s/blobs", db->directory);
    if (rc == 0 && fsync(writer->fd) != 0)
        rc = db_io_error(err, errno, "syncing", writer->path);
    if (rc == 0)
        rc = db_directory_create(folder, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&db->blob_mutex);
    rc = place(writer, target, err);
    if (rc == 0) {
        writer->committed = true;
        writer->next = db->committed;
        db->committed = writer;
    }
    pthread_mutex_unlock(&db->blob_mutex);
    /* Also when the file was there: the one who renamed it may not have come to its sync yet. */
    if (rc == 0)
        rc = db_directory_sync(folder, err);
    if (rc == 0)
        rc = db_directory_sync(parent, err);
    writer->failed = rc != 0;
    return rc;
}

static void unpin(struct db_blob_writer *writer)
{
    struct db *db = writer->db;
    pthread_mutex_lock(&db->blob_mutex);
    struct db_blob_writer **link = &db->committed;
    while (*link != writer)
        link = &(*link)->next;
    *link = writer->next;
    pthread_mutex_unlock(&db->blob_mutex);
    db_blob_collect(db, writer->sha256);
}

void db_blob_writer_destroy(struct db_blob_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->map != NULL)
        munmap(writer->map, writer->map_size);
    close(writer->fd);
    if (writer->path[0] != '\0')
        unlink(writer->path);
    if (writer->committed)
        unpin(writer);
    free(writer);
}

/* ---- reading ---- */

int db_blob_open_fd(struct db *db, const char *sha256, int *fd, uint64_t *size, struct error *err)
{
    char path[DB_PATH_SIZE];
    struct stat status;
    if (!db_text_is_sha256(sha256))
        return error_set(err, ERROR_NOT_FOUND, "a blob's name is not a SHA-256");
    int rc = blob_path(db, sha256, path, err);
    if (rc != 0)
        return rc;
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0 && errno == ENOENT)
        return error_set(err, ERROR_NOT_FOUND, "there is no blob %s", sha256);
    if (opened < 0)
        return db_io_error(err, errno, "opening", path);
    if (fstat(opened, &status) != 0)
        rc = db_io_error(err, errno, "reading", path);
    else if (!S_ISREG(status.st_mode))
        rc = error_set(err, ERROR_IO, "%s is not a file", path);
    if (rc != 0) {
        close(opened);
        return rc;
    }
    *fd = opened;
    *size = (uint64_t)status.st_size;
    return 0;
}

int db_blob_open(struct db *db, const char *sha256, struct db_blob *out, struct error *err)
{
    int fd = -1;
    uint64_t size = 0;
    void *map = NULL;
    int rc = db_blob_open_fd(db, sha256, &fd, &size, err);
    if (rc != 0)
        return rc;
    if (size > 0) {
        map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            rc = db_io_error(err, errno, "mapping the blob", sha256);
    }
    close(fd);
    if (rc == 0) {
        out->data = map;
        out->size = size;
    }
    return rc;
}

void db_blob_close(struct db_blob *blob)
{
    if (blob->data != NULL)
        munmap((void *)blob->data, blob->size);
    blob->data = NULL;
    blob->size = 0;
}

void db_blob_forget(const struct db_blob *blob, size_t first, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (first >= blob->size || size > blob->size - first)
        return;
    /* Whole pages, of which the last one of the file may be less. */
    const size_t begin = (first + page - 1) / page * page;
    const size_t end = first + size == blob->size ? blob->size : (first + size) / page * page;
    if (begin < end)
        madvise((char *)blob->data + begin, end - begin, MADV_DONTNEED);
}

/* ---- files and rows ---- */

int db_blob_require(struct db *db, const char *sha256, struct error *err)
{
    int fd = -1;
    uint64_t size = 0;
    int rc = db_blob_open_fd(db, sha256, &fd, &size, err);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_INVALID, "the blob %s was not committed", sha256);
    if (rc == 0)
        close(fd);
    return rc;
}

static int is_named(struct db_connection *connection, const char *sha256, bool *out,
                    struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "looking for rows of a blob",
                             "SELECT 1 FROM images WHERE sha256 = ?"
                             " UNION ALL SELECT 1 FROM encoders WHERE sha256 = ? LIMIT 1",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, sha256);
    db_bind_text(stmt, sha256);
    rc = db_stmt_step(stmt, err);
    db_stmt_finish(stmt);
    if (rc < 0)
        return rc;
    *out = rc > 0;
    return 0;
}

static bool is_pinned(const struct db *db, const char *sha256)
{
    for (const struct db_blob_writer *writer = db->committed; writer != NULL;
         writer = writer->next) {
        if (strcmp(writer->sha256, sha256) == 0)
            return true;
    }
    return false;
}

void db_blob_collect(struct db *db, const char *sha256)
{
    struct db_connection *reader = NULL;
    char path[DB_PATH_SIZE];
    bool named = true;
    if (blob_path(db, sha256, path, NULL) != 0)
        return;
    pthread_mutex_lock(&db->blob_mutex);
    if (!is_pinned(db, sha256)) {
        int rc = db_read_begin(db, &reader, NULL);
        if (rc == 0) {
            rc = is_named(reader, sha256, &named, NULL);
            db_read_end(db, reader);
        }
        if (rc != 0 || (!named && unlink(path) != 0 && errno != ENOENT))
            db->needs_sweep = true;
    }
    pthread_mutex_unlock(&db->blob_mutex);
}

struct sweep {
    struct db *db;
    struct db_connection *reader;
    char folder[3]; /* two digits */
};

static int sweep_file(const char *name, void *context, struct error *err)
{
    const struct sweep *sweep = context;
    char path[DB_PATH_SIZE];
    bool named = true;
    /* What this program did not write is left alone. */
    if (!db_text_is_sha256(name) || strncmp(name, sweep->folder, 2) != 0)
        return 0;
    int rc = is_named(sweep->reader, name, &named, err);
    if (rc != 0 || named)
        return rc;
    rc = blob_path(sweep->db, name, path, err);
    if (rc == 0 && unlink(path) != 0 && errno != ENOENT)
        rc = db_io_error(err, errno, "removing", path);
    return rc;
}

int db_blob_sweep(struct db *db, struct error *err)
{
    struct sweep sweep = {.db = db};
    int rc = db_read_begin(db, &sweep.reader, err);
    if (rc != 0)
        return rc;
    for (int i = 0; rc == 0 && i < 256; i++) {
        char path[DB_PATH_SIZE];
        snprintf(sweep.folder, sizeof(sweep.folder), "%02x", i & 0xff);
        rc = db_path(path, err, "%s/blobs/%s", db->directory, sweep.folder);
        if (rc == 0)
            rc = db_directory_visit(path, sweep_file, &sweep, err);
    }
    db_read_end(db, sweep.reader);
    if (rc == 0)
        db->needs_sweep = false;
    return rc;
}

static int check_file(struct db *db, struct db_stmt *stmt, struct error *err)
{
    char sha256[DB_SHA256_SIZE];
    int fd = -1;
    uint64_t size = 0;
    db_column_sha256(stmt, 0, sha256);
    uint64_t expected = db_column_uint(stmt, 1, INT64_MAX);
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        return rc;
    rc = db_blob_open_fd(db, sha256, &fd, &size, err);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "the file of blob %s is missing", sha256);
    if (rc != 0)
        return rc;
    close(fd);
    if (size != expected)
        rc = error_set(err, ERROR_CORRUPT, "the file of blob %s has %llu bytes instead of %llu",
                       sha256, (unsigned long long)size, (unsigned long long)expected);
    return rc;
}

int db_blob_check_all(struct db *db, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "checking the blobs",
                         "SELECT sha256, byte_size FROM images"
                         " UNION ALL SELECT sha256, byte_size FROM encoders",
                         err);
    while (rc == 0) {
        int step = db_stmt_step(stmt, err);
        if (step <= 0) {
            rc = step;
            break;
        }
        rc = check_file(db, stmt, err);
    }
    db_stmt_finish(stmt);
    db_read_end(db, reader);
    return rc;
}
