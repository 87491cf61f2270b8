/* First the database by itself, then the files that its rows name, then those that none names. */
#include "db/data/inspect.h"

#include <stdlib.h>

#include "db/sql/connection.h"
#include "db/sql/pragmas.h"
#include "db/store/reader.h"
#include "db/stored_files.h"

enum { PART_SIZE = 256 << 10 };

struct visit {
    struct db *db;
    struct store *store;
    const struct inspect_observer *observer;
    struct inspection counts;
    uint8_t *part; /* PART_SIZE */
};

static void find(struct visit *visit, uint64_t *count, enum inspect_finding finding,
                 const char *sha256)
{
    ++*count;
    visit->observer->found(visit->observer->context, finding, sha256);
}

/* Reads a file to its end; the reader says whether it is what was stored. */
static int read_file(struct visit *visit, const char *sha256)
{
    struct store_reader *reader = NULL;
    size_t n = 1;
    int rc = store_reader_open(&reader, visit->store, sha256, STORE_READER_SCRUB, NULL);
    while (rc == 0 && n > 0)
        rc = store_reader_read(reader, visit->part, PART_SIZE, &n, NULL);
    store_reader_close(reader);
    return rc;
}

static void inspect_file(struct visit *visit, const char *sha256)
{
    int rc = read_file(visit, sha256);
    if (rc == 0)
        visit->counts.n_whole++;
    else if (rc == ERROR_NOT_FOUND)
        find(visit, &visit->counts.n_missing, INSPECT_MISSING, sha256);
    else if (rc == ERROR_CORRUPT)
        find(visit, &visit->counts.n_damaged, INSPECT_DAMAGED, sha256);
    else
        find(visit, &visit->counts.n_unreadable, INSPECT_UNREADABLE, sha256);
}

static int inspect_rows(struct visit *visit, struct db_connection *reader, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, "checking the files",
                             "SELECT sha256 FROM images UNION SELECT sha256 FROM encoders"
                             " UNION SELECT picture_sha256 FROM image_masks"
                             " WHERE picture_sha256 IS NOT NULL",
                             err);
    while (rc == 0) {
        char sha256[DB_SHA256_SIZE];
        int step = db_stmt_step(stmt, err);
        if (step <= 0) {
            rc = step;
            break;
        }
        db_column_sha256(stmt, "sha256", sha256);
        rc = db_stmt_fault(stmt, err);
        if (rc == 0)
            inspect_file(visit, sha256);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* What is wrong with the database is a finding, and no failure. */
static int inspect_database(struct visit *visit, struct error *err)
{
    struct db_connection *reader = NULL;
    struct error fault = {0};
    int rc = db_read_begin(visit->db, &reader, err);
    if (rc != 0)
        return rc;
    if (db_schema_check_integrity(reader, &visit->counts.database) == 0 &&
        inspect_rows(visit, reader, &fault) != 0)
        visit->counts.database = fault;
    db_read_end(visit->db, reader);
    return 0;
}

static int inspect_unknown(struct visit *visit, struct error *err)
{
    char sha256[DB_SHA256_SIZE] = "";
    int rc;
    while ((rc = store_next(visit->store, sha256, sha256, err)) == 0) {
        bool is_needed = true;
        rc = db_stored_file_is_needed(visit->db, sha256, &is_needed, err);
        if (rc != 0)
            return rc;
        if (!is_needed)
            find(visit, &visit->counts.n_unknown, INSPECT_UNKNOWN, sha256);
    }
    return rc == ERROR_NOT_FOUND ? 0 : rc;
}

static int note_quarantined(const char *sha256, void *context, struct error *err)
{
    struct visit *visit = context;
    (void)err;
    find(visit, &visit->counts.n_in_quarantine, INSPECT_IN_QUARANTINE, sha256);
    return 0;
}

int data_inspect(struct inspection *out, struct db *db, struct store *store,
                 const struct inspect_observer *observer, struct error *err)
{
    struct visit visit = {.db = db, .store = store, .observer = observer};
    visit.part = malloc(PART_SIZE);
    if (visit.part == NULL)
        return error_set_nomem(err, "reading files");
    int rc = inspect_database(&visit, err);
    if (rc == 0 && visit.counts.database.code == 0)
        rc = inspect_unknown(&visit, err);
    if (rc == 0)
        rc = store_visit_quarantine(store, note_quarantined, &visit, err);
    free(visit.part);
    if (rc == 0)
        *out = visit.counts;
    return rc;
}
