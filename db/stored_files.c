/* What rows say about files. */
#include "db/stored_files.h"

#include <stdlib.h>

#include "db/sql/connection.h"
#include "db/sql/migrations.h"
#include "db/sql/pragmas.h"

int db_stored_file_is_named(struct db_connection *reader, const char *sha256, bool *out,
                            struct error *err)
{
    static const char before_masks[] = "SELECT 1 FROM images WHERE sha256 = ?"
                                       " UNION ALL SELECT 1 FROM encoders WHERE sha256 = ? LIMIT 1";
    static const char sql[] = "SELECT 1 FROM images WHERE sha256 = ?"
                              " UNION ALL SELECT 1 FROM encoders WHERE sha256 = ?"
                              " UNION ALL SELECT 1 FROM image_masks WHERE picture_sha256 = ?"
                              " LIMIT 1";
    struct db_stmt *stmt = NULL;
    int64_t version = 0;
    int rc = db_schema_version(reader, &version, err);
    const bool has_masks = version >= DB_VERSION_WITH_MASKS;
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, reader, "looking for rows of a file",
                             has_masks ? sql : before_masks, err);
    if (rc != 0)
        return rc;
    for (int i = 0; i < (has_masks ? 3 : 2); i++)
        db_bind_text(stmt, sha256);
    return db_stmt_run_any(stmt, out, err);
}

int db_stored_file_is_needed(struct db *db, const char *sha256, bool *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stored_file_is_named(reader, sha256, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_stored_file_require(struct store *store, const char *sha256, struct error *err)
{
    uint64_t size = 0;
    int rc = store_file_size(store, sha256, &size, err);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_INVALID, "the blob %s was not committed", sha256);
    return rc;
}

static int append_hash(struct db_hashes *hashes, struct db_stmt *stmt, struct error *err)
{
    if (hashes->n_items == hashes->n_allocated) {
        size_t n = hashes->n_allocated == 0 ? 64 : hashes->n_allocated * 2;
        void *items = reallocarray(hashes->items, n, sizeof(*hashes->items));
        if (items == NULL)
            return error_set_nomem(err, "the names of files");
        hashes->items = items;
        hashes->n_allocated = n;
    }
    db_column_sha256(stmt, "sha256", hashes->items[hashes->n_items++]);
    return db_stmt_fault(stmt, err);
}

int db_hashes_read(struct db_hashes *hashes, struct db_connection *connection, const char *what,
                   const char *sql, const char *id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, connection, what, sql, err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = append_hash(hashes, stmt, err);
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

void db_hashes_clear(struct db_hashes *hashes)
{
    free(hashes->items);
    *hashes = (struct db_hashes){0};
}

static int check_file(struct db_stmt *stmt, struct store *store, struct error *err)
{
    char sha256[DB_SHA256_SIZE];
    uint64_t size = 0;
    db_column_sha256(stmt, "sha256", sha256);
    uint64_t expected = db_column_uint(stmt, "byte_size", INT64_MAX);
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        return rc;
    rc = store_file_size(store, sha256, &size, err);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_CORRUPT, "the file of blob %s is missing", sha256);
    if (rc == 0 && size != expected)
        rc = error_set(err, ERROR_CORRUPT, "the file of blob %s has %llu bytes instead of %llu",
                       sha256, (unsigned long long)size, (unsigned long long)expected);
    return rc;
}

int db_stored_files_check(struct db_connection *reader, struct store *store, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, "checking the files",
                             "SELECT sha256, byte_size FROM images"
                             " UNION ALL SELECT sha256, byte_size FROM encoders"
                             " UNION ALL SELECT picture_sha256, picture_size FROM image_masks"
                             " WHERE picture_sha256 IS NOT NULL",
                             err);
    while (rc == 0) {
        int step = db_stmt_step(stmt, err);
        if (step <= 0) {
            rc = step;
            break;
        }
        rc = check_file(stmt, store, err);
    }
    db_stmt_finish(stmt);
    return rc;
}
