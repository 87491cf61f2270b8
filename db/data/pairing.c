#include "db/data/pairing.h"

#include <inttypes.h>
#include <string.h>

#include "db/settings.h"
#include "db/sql/connection.h"
#include "db/store/marker.h"

static const char setting[] = "store_id";

int pairing_read(struct pairing *out, struct db *db, const char *directory, struct error *err)
{
    struct pairing found = {.store = ""};
    char value[DB_SETTING_SIZE];
    int rc = db_setting_get(db, setting, value, err);
    if (rc == 0)
        snprintf(found.database, sizeof(found.database), "%.*s", DB_ID_SIZE - 1, value);
    else if (rc != ERROR_NOT_FOUND)
        return rc;
    rc = db_marker_read(directory, found.store, err);
    if (rc != 0 && rc != ERROR_NOT_FOUND)
        return rc;
    *out = found;
    return 0;
}

/* ---- counting ---- */

struct count {
    struct store *store;
    void (*missing)(void *context, const char *sha256);
    void *context;
    uint64_t n, n_there;
};

static int count_file(struct db_stmt *stmt, struct count *count, struct error *err)
{
    char sha256[DB_SHA256_SIZE];
    uint64_t size = 0;
    db_column_sha256(stmt, "sha256", sha256);
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        return rc;
    count->n++;
    rc = store_file_size(count->store, sha256, &size, err);
    if (rc == 0) {
        count->n_there++;
        return 0;
    }
    /* One that cannot be opened is as good as none, and keeps the others from nobody. */
    if (rc != ERROR_NOT_FOUND && rc != ERROR_IO)
        return rc;
    if (count->missing != NULL)
        count->missing(count->context, sha256);
    return 0;
}

static int count_files(struct db_connection *reader, const char *sql, struct count *count,
                       struct error *err)
{
    struct db_stmt *stmt = NULL;
    count->n = count->n_there = 0;
    int rc = db_stmt_prepare(&stmt, reader, "counting files", sql, err);
    while (rc == 0) {
        int step = db_stmt_step(stmt, err);
        if (step <= 0) {
            rc = step;
            break;
        }
        rc = count_file(stmt, count, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int pairing_count(struct pairing_files *out, struct db *db, struct store *store,
                  void (*missing)(void *context, const char *sha256), void *context,
                  struct error *err)
{
    struct db_connection *reader = NULL;
    struct pairing_files files = {.has_files = false};
    struct count count = {.store = store, .missing = missing, .context = context};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = count_files(reader, "SELECT DISTINCT sha256 FROM images", &count, err);
    files.n_images = count.n;
    files.n_images_there = count.n_there;
    if (rc == 0)
        rc = count_files(reader, "SELECT sha256 FROM encoders", &count, err);
    files.n_encoders = count.n;
    files.n_encoders_there = count.n_there;
    db_read_end(db, reader);
    if (rc == 0)
        rc = store_has_files(store, &files.has_files, err);
    if (rc == 0)
        *out = files;
    return rc;
}

/* ---- deciding ---- */

#define WHAT_TO_DO                                                                                 \
    "; nothing was changed: put back what belongs there, or pair what is there now with "          \
    "'chipshot data adopt', which deletes nothing"

static int refuse_other_store(const struct pairing *pairing, const char *directory,
                              struct error *err)
{
    return error_set(err, ERROR_CONFLICT,
                     "%.120s: the database belongs to the files of the store %s, and those in "
                     "blobs/ are of the store %s" WHAT_TO_DO,
                     directory, pairing->database, pairing->store);
}

int pairing_refuse_unknown_files(const char *directory, struct error *err)
{
    return error_set(err, ERROR_CONFLICT,
                     "%.120s: blobs/ (or quarantine/) has files and the database chipshot.sqlite "
                     "is missing or knows none" WHAT_TO_DO,
                     directory);
}

static int refuse_missing_files(const struct pairing_files *files, const char *directory,
                                struct error *err)
{
    return error_set(err, ERROR_CONFLICT,
                     "%.120s: the database knows %" PRIu64 " images and %" PRIu64
                     " encoders, of whose files %" PRIu64 " and %" PRIu64
                     " are in blobs/" WHAT_TO_DO,
                     directory, files->n_images, files->n_encoders, files->n_images_there,
                     files->n_encoders_there);
}

bool pairing_is_made(const struct pairing *pairing)
{
    return pairing->store[0] != '\0' && strcmp(pairing->store, pairing->database) == 0;
}

int pairing_check(const struct pairing *pairing, const struct pairing_files *files,
                  const char *directory, struct error *err)
{
    if (pairing_is_made(pairing))
        return 0;
    if (pairing->store[0] != '\0' && pairing->database[0] != '\0')
        return refuse_other_store(pairing, directory, err);
    if (files->n_images + files->n_encoders == 0)
        return files->has_files ? pairing_refuse_unknown_files(directory, err) : 0;
    /* The built-in encoder is in every store: where there are images, they tell. */
    const bool belongs =
        files->n_images > 0 ? files->n_images_there > 0 : files->n_encoders_there > 0;
    return belongs ? 0 : refuse_missing_files(files, directory, err);
}

int pairing_write(struct pairing *pairing, struct db *db, const char *directory, struct error *err)
{
    struct pairing made = *pairing;
    int rc = 0;
    if (made.store[0] == '\0') {
        if (made.database[0] != '\0')
            memcpy(made.store, made.database, sizeof(made.store));
        else
            db_marker_create(made.store);
        /* First, so that a crash between the two leaves a new database without files. */
        rc = db_marker_write(directory, made.store, err);
    }
    memcpy(made.database, made.store, sizeof(made.database));
    if (rc == 0)
        rc = db_setting_set(db, setting, made.store, err);
    if (rc == 0)
        *pairing = made;
    return rc;
}
