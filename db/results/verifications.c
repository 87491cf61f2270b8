/* Typed queries for verifications: a row, one for each stratum, one for each chip. */
#include "db/results/verifications.h"

#include <stdlib.h>
#include <string.h>

#include "db/events.h"
#include "db/id.h"
#include "db/job_row.h"
#include "db/page.h"
#include "db/sql/connection.h"

enum {
    STRATA_MAX = 65536, /* labels are u16 */
    CHIPS_MAX = DB_VERIFICATION_CHIPS_MAX,
};

#define COLUMNS                                                                                    \
    "id, job_id, seed, n_images, area_nm2, n_chips, n_answered, revision, created_at, "            \
    "updated_at, "                                                                                 \
    "created_by"

/* ---- inserting ---- */

static int check(const struct db_verification *verification, struct error *err)
{
    if (verification->n_chips < 1 || verification->n_chips > CHIPS_MAX)
        return error_set(err, ERROR_INVALID, "verification: %llu chips are not within 1..%d",
                         (unsigned long long)verification->n_chips, CHIPS_MAX);
    if (verification->n_strata < 2 || verification->n_strata > STRATA_MAX)
        return error_set(err, ERROR_INVALID, "verification: %zu strata are not within 2..%d",
                         verification->n_strata, STRATA_MAX);
    for (uint64_t i = 0; i < verification->n_chips; i++) {
        if (verification->chips[i].stratum >= verification->n_strata)
            return error_set(err, ERROR_INVALID, "verification: chip %llu is of stratum %u of %zu",
                             (unsigned long long)i, verification->chips[i].stratum,
                             verification->n_strata);
    }
    return 0;
}

static int insert_row(struct db_connection *writer, const struct db_verification *verification,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "storing a verification",
        "INSERT INTO verifications (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, verification->id);
    db_bind_text(stmt, verification->job_id);
    db_bind_uint(stmt, verification->seed);
    db_bind_uint(stmt, verification->n_images);
    db_bind_double(stmt, verification->area_nm2);
    db_bind_uint(stmt, verification->n_chips);
    db_bind_uint(stmt, verification->n_answered);
    db_bind_uint(stmt, verification->revision);
    db_bind_text(stmt, verification->created_at);
    db_bind_text(stmt, verification->updated_at);
    db_bind_text(stmt, verification->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_stratum(struct db_connection *writer, const struct db_verification *verification,
                          size_t index, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a verification's strata",
                             "INSERT INTO verification_strata (verification_id, stratum, n_chips,"
                             " n_known) VALUES (?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, verification->id);
    db_bind_uint(stmt, index);
    db_bind_uint(stmt, verification->strata[index].n_chips);
    db_bind_uint(stmt, verification->strata[index].n_known);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_chip(struct db_connection *writer, const struct db_verification *verification,
                       size_t index, struct error *err)
{
    const struct db_verification_chip *chip = &verification->chips[index];
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing a verification's chips",
                             "INSERT INTO verification_chips (verification_id, chip_index,"
                             " image_id, chip, x, y, stratum, answer)"
                             " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, verification->id);
    db_bind_uint(stmt, index);
    db_bind_text(stmt, chip->image_id);
    db_bind_uint(stmt, chip->chip);
    db_bind_uint(stmt, chip->x);
    db_bind_uint(stmt, chip->y);
    db_bind_uint(stmt, chip->stratum);
    db_bind_int(stmt, DB_ANSWER_OPEN);
    return db_stmt_run(stmt, NULL, err);
}

static int append_event(struct db_connection *writer, const struct db_verification *verification,
                        enum db_event_type type, const char *principal, uint64_t n,
                        struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_read_row(writer, verification->job_id, &job, err);
    if (rc != 0)
        return rc;
    const struct db_event_head head = {type, job.project_id, verification->id, principal};
    rc = db_event_append(writer, &head, err, "{\"job_id\":\"%s\",\"n\":%llu}", job.id,
                         (unsigned long long)n);
    db_job_clear(&job);
    return rc;
}

static int insert_in(struct db_connection *writer, const struct db_verification *verification,
                     struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_read_row(writer, verification->job_id, &job, err);
    db_job_clear(&job);
    if (rc == 0)
        rc = insert_row(writer, verification, err);
    for (size_t i = 0; rc == 0 && i < verification->n_strata; i++)
        rc = insert_stratum(writer, verification, i, err);
    for (size_t i = 0; rc == 0 && i < verification->n_chips; i++)
        rc = insert_chip(writer, verification, i, err);
    return rc != 0 ? rc
                   : append_event(writer, verification, DB_EVENT_VERIFICATION_CREATED,
                                  verification->created_by, verification->n_chips, err);
}

int db_verification_insert(struct db *db, struct db_verification *verification, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_verification stored = *verification;
    int rc = check(verification, err);
    if (rc == 0)
        rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    db_id_create("ver_", stored.id);
    db_id_time(stored.id, stored.created_at);
    db_id_time(stored.id, stored.updated_at);
    stored.revision = 1;
    stored.n_answered = 0;
    rc = db_write_end(db, insert_in(writer, &stored, err), err);
    if (rc != 0)
        return rc;
    for (uint64_t i = 0; i < stored.n_chips; i++)
        stored.chips[i].answer = DB_ANSWER_OPEN;
    *verification = stored;
    return 0;
}

/* ---- reading ---- */

static void read_verification(struct db_stmt *stmt, void *item)
{
    struct db_verification *out = item;
    db_column_id(stmt, "id", "ver_", out->id);
    db_column_id(stmt, "job_id", "job_", out->job_id);
    out->seed = db_column_uint(stmt, "seed", INT64_MAX);
    out->n_images = db_column_uint(stmt, "n_images", INT64_MAX);
    out->area_nm2 = db_column_double(stmt, "area_nm2");
    out->n_chips = (uint64_t)db_column_int(stmt, "n_chips", 1, CHIPS_MAX);
    out->n_answered = db_column_uint(stmt, "n_answered", CHIPS_MAX);
    out->revision = db_column_uint(stmt, "revision", INT64_MAX);
    db_column_time(stmt, "created_at", out->created_at);
    db_column_time(stmt, "updated_at", out->updated_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
}

static int damaged(const struct db_verification *verification, const char *what, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, "database: verification %s: its %s are not whole",
                     verification->id, what);
}

static int read_stratum(struct db_stmt *stmt, struct db_verification *out, struct error *err)
{
    if (out->n_strata == STRATA_MAX || db_column_uint(stmt, "stratum", STRATA_MAX) != out->n_strata)
        return damaged(out, "strata", err);
    /* Capacities are the powers of two. */
    if ((out->n_strata & (out->n_strata - 1)) == 0) {
        const size_t n = out->n_strata == 0 ? 1 : out->n_strata * 2;
        struct db_stratum *strata = reallocarray(out->strata, n, sizeof(*strata));
        if (strata == NULL)
            return error_set_nomem(err, "a verification");
        out->strata = strata;
    }
    struct db_stratum *stratum = &out->strata[out->n_strata++];
    stratum->n_chips = db_column_uint(stmt, "n_chips", INT64_MAX);
    stratum->n_known = db_column_uint(stmt, "n_known", INT64_MAX);
    return db_stmt_fault(stmt, err);
}

/* *n: chips read so far. */
static int read_chip(struct db_stmt *stmt, struct db_verification *out, uint64_t *n,
                     struct error *err)
{
    if (*n == out->n_chips || db_column_uint(stmt, "chip_index", CHIPS_MAX) != *n)
        return damaged(out, "chips", err);
    struct db_verification_chip *chip = &out->chips[(*n)++];
    db_column_id(stmt, "image_id", "img_", chip->image_id);
    chip->chip = db_column_uint(stmt, "chip", INT64_MAX);
    chip->x = db_column_uint32(stmt, "x");
    chip->y = db_column_uint32(stmt, "y");
    chip->stratum = (uint32_t)db_column_int(stmt, "stratum", 0, (int64_t)out->n_strata - 1);
    chip->answer =
        (int32_t)db_column_int(stmt, "answer", DB_ANSWER_UNSURE, (int64_t)out->n_strata - 2);
    return db_stmt_fault(stmt, err);
}

static int read_strata(struct db_connection *reader, struct db_verification *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "reading a verification's strata",
                             "SELECT stratum, n_chips, n_known FROM verification_strata"
                             " WHERE verification_id = ? ORDER BY stratum",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, out->id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read_stratum(stmt, out, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = step;
    return rc == 0 && out->n_strata < 2 ? damaged(out, "strata", err) : rc;
}

static int read_chips(struct db_connection *reader, struct db_verification *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    uint64_t n = 0;
    int step = 0;
    out->chips = calloc(out->n_chips, sizeof(*out->chips));
    if (out->chips == NULL)
        return error_set_nomem(err, "a verification");
    int rc = db_stmt_prepare(&stmt, reader, "reading a verification's chips",
                             "SELECT chip_index, image_id, chip, x, y, stratum, answer"
                             " FROM verification_chips WHERE verification_id = ?"
                             " ORDER BY chip_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, out->id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read_chip(stmt, out, &n, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = step;
    return rc == 0 && n != out->n_chips ? damaged(out, "chips", err) : rc;
}

static int read_rest(struct db_connection *reader, void *item, struct error *err)
{
    int rc = read_strata(reader, item, err);
    return rc != 0 ? rc : read_chips(reader, item, err);
}

static void clear_verification(void *item)
{
    db_verification_clear(item);
}

static const struct db_kind verifications = {.name = "verifications",
                                             .size = sizeof(struct db_verification),
                                             .read = read_verification,
                                             .clear = clear_verification};
static const struct db_kind whole_verifications = {.name = "verifications",
                                                   .size = sizeof(struct db_verification),
                                                   .read = read_verification,
                                                   .complete = read_rest,
                                                   .clear = clear_verification};

static int find(const struct db_kind *kind, struct db_connection *connection, const char *id,
                struct db_verification *out, struct error *err)
{
    int rc = db_kind_find(kind, connection, "reading a verification",
                          "SELECT " COLUMNS " FROM verifications WHERE id = ?", id, out, err);
    return rc == ERROR_NOT_FOUND
               ? error_set(err, ERROR_NOT_FOUND, "there is no verification %.40s", id)
               : rc;
}

int db_verification_get(struct db *db, const char *id, struct db_verification *out,
                        struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = find(&whole_verifications, reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

static int require_job(struct db_connection *connection, const char *job_id, struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_read_row(connection, job_id, &job, err);
    db_job_clear(&job);
    return rc;
}

int db_verification_list(struct db *db, const char *job_id, const struct db_page *page,
                         struct db_verification_list *out, struct error *err)
{
    const struct db_listing listing = {
        .kind = &verifications,
        .what = "listing verifications",
        .sql = "SELECT " COLUMNS " FROM verifications WHERE job_id = ?"
               " AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?",
        .owner_id = job_id,
        .require = require_job};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out =
            (struct db_verification_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

/* ---- changing ---- */

static int find_expected(struct db_connection *writer, const char *id, uint64_t expected_revision,
                         struct db_verification *out, struct error *err)
{
    int rc = find(&whole_verifications, writer, id, out, err);
    if (rc == 0 && expected_revision != 0 && expected_revision != out->revision) {
        rc = error_set(err, ERROR_CONFLICT,
                       "verification %s is at revision %llu and not at the expected %llu", id,
                       (unsigned long long)out->revision, (unsigned long long)expected_revision);
        db_verification_clear(out);
    }
    return rc;
}

static int check_answer(const struct db_verification *verification,
                        const struct db_verification_answer *answer, struct error *err)
{
    if (answer->index >= verification->n_chips)
        return error_set(err, ERROR_INVALID, "verification %s has no chip %u, but %llu",
                         verification->id, answer->index,
                         (unsigned long long)verification->n_chips);
    if (answer->answer < DB_ANSWER_UNSURE || answer->answer > (int64_t)verification->n_strata - 2)
        return error_set(err, ERROR_INVALID, "verification %s: %d is no answer", verification->id,
                         answer->answer);
    return 0;
}

static int store_answer(struct db_connection *writer, const char *id, uint32_t index,
                        int32_t answer, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing an answer",
                             "UPDATE verification_chips SET answer = ?"
                             " WHERE verification_id = ? AND chip_index = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_int(stmt, answer);
    db_bind_text(stmt, id);
    db_bind_uint(stmt, index);
    return db_stmt_run(stmt, NULL, err);
}

static int store_progress(struct db_connection *writer, struct db_verification *verification,
                          struct error *err)
{
    struct db_stmt *stmt = NULL;
    verification->n_answered = 0;
    for (uint64_t i = 0; i < verification->n_chips; i++)
        verification->n_answered += verification->chips[i].answer != DB_ANSWER_OPEN;
    db_time_now(verification->updated_at);
    int rc = db_stmt_prepare(&stmt, writer, "storing a verification's progress",
                             "UPDATE verifications SET n_answered = ?, revision = ?,"
                             " updated_at = ? WHERE id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, verification->n_answered);
    db_bind_uint(stmt, verification->revision + 1);
    db_bind_text(stmt, verification->updated_at);
    db_bind_text(stmt, verification->id);
    return db_stmt_run(stmt, NULL, err);
}

static int answer_in(struct db_connection *writer, struct db_verification *verification,
                     const struct db_verification_answer *answers, size_t n_answers,
                     const struct principal *by, struct error *err)
{
    bool changed = false;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n_answers; i++) {
        rc = check_answer(verification, &answers[i], err);
        if (rc != 0)
            return rc;
        int32_t *present = &verification->chips[answers[i].index].answer;
        if (*present == answers[i].answer)
            continue;
        *present = answers[i].answer;
        changed = true;
        rc = store_answer(writer, verification->id, answers[i].index, answers[i].answer, err);
    }
    if (rc != 0 || !changed)
        return rc;
    rc = store_progress(writer, verification, err);
    return rc != 0 ? rc
                   : append_event(writer, verification, DB_EVENT_VERIFICATION_ANSWERED, by->id,
                                  verification->n_answered, err);
}

int db_verification_answer(struct db *db, const char *id,
                           const struct db_verification_answer *answers, size_t n_answers,
                           uint64_t expected_revision, const struct principal *by,
                           struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_verification verification = {0};
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = find_expected(writer, id, expected_revision, &verification, err);
    if (rc == 0)
        rc = answer_in(writer, &verification, answers, n_answers, by, err);
    db_verification_clear(&verification);
    return db_write_end(db, rc, err);
}

static int delete_in(struct db_connection *writer, const struct db_verification *verification,
                     const struct principal *by, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = append_event(writer, verification, DB_EVENT_VERIFICATION_DELETED, by->id,
                          verification->n_answered, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "deleting a verification",
                             "DELETE FROM verifications WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, verification->id);
    return db_stmt_run(stmt, NULL, err);
}

int db_verification_delete(struct db *db, const char *id, uint64_t expected_revision,
                           const struct principal *by, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_verification verification = {0};
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = find_expected(writer, id, expected_revision, &verification, err);
    if (rc == 0)
        rc = delete_in(writer, &verification, by, err);
    db_verification_clear(&verification);
    return db_write_end(db, rc, err);
}

void db_verification_clear(struct db_verification *verification)
{
    free(verification->strata);
    free(verification->chips);
    *verification = (struct db_verification){0};
}

void db_verification_list_clear(struct db_verification_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_verification_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_verification_list){0};
}
