/* Typed queries for jobs: inserting and reading. What moves a job from state to state is in
 * db/job_queue.c. */
#include "db/jobs.h"

#include "db/sql/connection.h"
#include "db/id.h"
#include "db/page.h"
#include "db/job_event.h"
#include "db/job_row.h"

static const char *const state_names[] = {
    [DB_JOB_QUEUED] = "queued", [DB_JOB_RUNNING] = "running",     [DB_JOB_SUCCEEDED] = "succeeded",
    [DB_JOB_FAILED] = "failed", [DB_JOB_CANCELLED] = "cancelled",
};

enum {
    N_STATES = sizeof(state_names) / sizeof(state_names[0]),
    PRIORITY_MAX = 100,
    IDEMPOTENCY_MS = 24 * 60 * 60 * 1000,
};

#define COLUMNS                                                                                    \
    "id, project_id, support_set_id, support_set_version, encoder_id, params, priority, state, "   \
    "cancel_requested, n_images, n_results, n_chips_done, n_chips_total, attempts, error_code, "   \
    "error_message, created_at, started_at, finished_at, created_by, "

/* The queue's order is priority DESC, created_at, id. */
#define POSITION                                                                                   \
    "CASE WHEN state = 'queued' THEN "                                                             \
    "(SELECT COUNT(*) FROM jobs q WHERE q.state = 'queued' AND q.priority > jobs.priority) + "     \
    "(SELECT COUNT(*) FROM jobs q WHERE q.state = 'queued' AND q.priority = jobs.priority"         \
    " AND (q.created_at, q.id) < (jobs.created_at, jobs.id)) ELSE 0 END AS queue_position"
/* Filled for the page as a whole. */
#define NO_POSITION "0 AS queue_position"

const char *db_job_state_name(enum db_job_state state)
{
    return state_names[state];
}

bool db_job_state_parse(const char *name, enum db_job_state *out)
{
    for (int i = 0; i < N_STATES; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *out = (enum db_job_state)i;
            return true;
        }
    }
    return false;
}

bool db_job_state_is_final(enum db_job_state state)
{
    return state != DB_JOB_QUEUED && state != DB_JOB_RUNNING;
}

/* ---- reading ---- */

static void read_optional_time(struct db_stmt *stmt, const char *column, char out[DB_TIME_SIZE])
{
    out[0] = '\0';
    if (!db_column_is_null(stmt, column))
        db_column_time(stmt, column, out);
}

static char *read_optional_text(struct db_stmt *stmt, const char *column)
{
    return db_column_is_null(stmt, column) ? NULL : db_column_text(stmt, column, DB_TEXT_MAX);
}

enum db_job_state db_job_read_state(struct db_stmt *stmt, const char *column)
{
    char name[16];
    enum db_job_state state = DB_JOB_FAILED;
    db_column_copy(stmt, column, name, sizeof(name));
    if (!db_job_state_parse(name, &state))
        db_column_fault(stmt, column, "does not hold a job's state");
    return state;
}

static void read_job(struct db_stmt *stmt, void *item)
{
    struct db_job *out = item;
    db_column_id(stmt, "id", "job_", out->id);
    db_column_id(stmt, "project_id", "prj_", out->project_id);
    db_column_id(stmt, "support_set_id", "sup_", out->support_set_id);
    out->support_set_version = db_column_uint32(stmt, "support_set_version");
    db_column_id(stmt, "encoder_id", "enc_", out->encoder_id);
    out->params = db_column_text(stmt, "params", DB_TEXT_MAX);
    out->priority = (int32_t)db_column_int(stmt, "priority", -PRIORITY_MAX, PRIORITY_MAX);
    out->state = db_job_read_state(stmt, "state");
    out->cancel_requested = db_column_int(stmt, "cancel_requested", 0, 1) != 0;
    out->n_images = db_column_uint(stmt, "n_images", INT64_MAX);
    out->n_results = db_column_uint(stmt, "n_results", INT64_MAX);
    out->n_chips_done = db_column_uint(stmt, "n_chips_done", INT64_MAX);
    out->n_chips_total = db_column_uint(stmt, "n_chips_total", INT64_MAX);
    out->attempts = db_column_uint32(stmt, "attempts");
    out->error_code = read_optional_text(stmt, "error_code");
    out->error_message = read_optional_text(stmt, "error_message");
    db_column_time(stmt, "created_at", out->created_at);
    read_optional_time(stmt, "started_at", out->started_at);
    read_optional_time(stmt, "finished_at", out->finished_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
    out->queue_position = db_column_uint(stmt, "queue_position", INT64_MAX);
}

/* Memory grows with the rows that are there, whatever the count says. */
static int append_image(struct db_stmt *stmt, struct db_job *job, size_t n_read,
                        size_t *n_allocated, struct error *err)
{
    if (n_read == *n_allocated) {
        size_t n = *n_allocated == 0 ? 8 : *n_allocated * 2;
        void *ids = reallocarray(job->image_ids, n, sizeof(*job->image_ids));
        if (ids == NULL)
            return error_set_nomem(err, "a job's images");
        job->image_ids = ids;
        *n_allocated = n;
    }
    db_column_id(stmt, "image_id", "img_", job->image_ids[n_read]);
    return db_stmt_fault(stmt, err);
}

static int read_images(struct db_connection *connection, void *item, struct error *err)
{
    struct db_job *job = item;
    struct db_stmt *stmt = NULL;
    size_t n_read = 0, n_allocated = 0;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, connection, "reading a job's images",
                             "SELECT image_id FROM job_images WHERE job_id = ?"
                             " ORDER BY image_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = append_image(stmt, job, n_read++, &n_allocated, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = step;
    if (rc == 0 && n_read != job->n_images)
        rc = error_set(err, ERROR_CORRUPT, "database: job %s has %zu images and not %zu", job->id,
                       n_read, job->n_images);
    return rc;
}

static void clear_job(void *item)
{
    db_job_clear(item);
}

static const struct db_kind job_rows = {
    .name = "jobs", .size = sizeof(struct db_job), .read = read_job, .clear = clear_job};
static const struct db_kind jobs = {.name = "jobs",
                                    .size = sizeof(struct db_job),
                                    .read = read_job,
                                    .complete = read_images,
                                    .clear = clear_job};

static int find(struct db_connection *connection, const struct db_kind *kind, const char *id,
                struct db_job *out, struct error *err)
{
    int rc = db_kind_find(kind, connection, "reading a job",
                          "SELECT " COLUMNS POSITION " FROM jobs WHERE id = ?", id, out, err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_NOT_FOUND, "there is no job %.40s", id);
    return rc;
}

int db_job_read(struct db_connection *connection, const char *id, struct db_job *out,
                struct error *err)
{
    return find(connection, &jobs, id, out, err);
}

int db_job_read_row(struct db_connection *connection, const char *id, struct db_job *out,
                    struct error *err)
{
    return find(connection, &job_rows, id, out, err);
}

int db_job_get(struct db *db, const char *id, struct db_job *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_job_read(reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_job_get_row(struct db *db, const char *id, struct db_job *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_job_read_row(reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_job_list(struct db *db, const char *project_id, const enum db_job_state *state,
                const struct db_page *page, struct db_job_list *out, struct error *err)
{
    static const char all[] = "SELECT " COLUMNS NO_POSITION " FROM jobs WHERE project_id = ?"
                              " AND (created_at, id) > (?, ?)"
                              " ORDER BY created_at, id LIMIT ?";
    static const char in_state[] =
        "SELECT " COLUMNS NO_POSITION " FROM jobs WHERE project_id = ? AND state = ?"
        " AND (created_at, id) > (?, ?)"
        " ORDER BY created_at, id LIMIT ?";
    const struct db_listing listing = {.kind = &job_rows,
                                       .complete = db_queue_number,
                                       .what =
                                           state == NULL ? "listing jobs" : "listing jobs by state",
                                       .sql = state == NULL ? all : in_state,
                                       .owner_id = project_id,
                                       .require = db_project_require,
                                       .filter = state == NULL ? NULL : db_job_state_name(*state)};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out = (struct db_job_list){found.items, found.n_items, found.more};
    return rc;
}

/* ---- inserting ---- */

/* Finds the job stored under a key: ERROR_NOT_FOUND when the key is new. */
static int find_replay(struct db_connection *writer, const struct db_idempotency *idempotency,
                       struct db_job *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char job_id[DB_ID_SIZE], sha256[DB_SHA256_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "dropping old idempotency keys",
                             "DELETE FROM idempotency_keys WHERE created_ms < ?", err);
    if (rc != 0)
        return rc;
    db_bind_int(stmt, (int64_t)db_time_ms() - IDEMPOTENCY_MS);
    rc = db_stmt_run(stmt, NULL, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "looking for an idempotency key",
                             "SELECT job_id, body_sha256 FROM idempotency_keys"
                             " WHERE scope = ? AND client_key = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, idempotency->scope);
    db_bind_text(stmt, idempotency->key);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "job_id", "job_", job_id);
        db_column_sha256(stmt, "body_sha256", sha256);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    if (rc != 0)
        return rc;
    if (strcmp(sha256, idempotency->body_sha256) != 0)
        return error_set(err, ERROR_CONFLICT,
                         "this Idempotency-Key was used for another request (job %s)", job_id);
    return db_job_read(writer, job_id, out, err);
}

static int insert_key(struct db_connection *writer, const struct db_idempotency *idempotency,
                      const char *job_id, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "storing an idempotency key",
                             "INSERT INTO idempotency_keys (scope, client_key, body_sha256,"
                             " job_id, created_ms) VALUES (?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, idempotency->scope);
    db_bind_text(stmt, idempotency->key);
    db_bind_text(stmt, idempotency->body_sha256);
    db_bind_text(stmt, job_id);
    db_bind_uint(stmt, db_time_ms());
    return db_stmt_run(stmt, NULL, err);
}

static int require_room(struct db_connection *writer, uint64_t max_queued, struct error *err)
{
    uint64_t n_queued = 0;
    int rc = db_queue_count(writer, DB_JOB_QUEUED, &n_queued, err);
    if (rc == 0 && n_queued >= max_queued)
        rc = error_set(err, ERROR_BUSY, "the queue is full: %llu jobs wait and the limit is %llu",
                       (unsigned long long)n_queued, (unsigned long long)max_queued);
    return rc;
}

static int require_support_set(struct db_connection *writer, const struct db_job *job,
                               struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "finding a job's support set",
                             "SELECT 1 FROM support_sets s"
                             " JOIN support_set_versions v ON v.support_set_id = s.id"
                             " WHERE s.id = ? AND s.project_id = ? AND v.version = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->support_set_id);
    db_bind_text(stmt, job->project_id);
    db_bind_uint(stmt, job->support_set_version);
    rc = db_stmt_step_one(stmt, err);
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_INVALID,
                       "support_set_id: project %s has no support set %.40s with version %u",
                       job->project_id, job->support_set_id, job->support_set_version);
    return rc;
}

static int require_encoder(struct db_connection *writer, const struct db_job *job,
                           struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "finding a job's encoder",
                             "SELECT 1 FROM encoders WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->encoder_id);
    rc = db_stmt_step_one(stmt, err);
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        rc =
            error_set(err, ERROR_INVALID, "encoder_id: there is no encoder %.40s", job->encoder_id);
    return rc;
}

static int insert_row(struct db_connection *writer, const struct db_job *job, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "storing a job",
        "INSERT INTO jobs (id, project_id, support_set_id, support_set_version, encoder_id,"
        " params, priority, state, cancel_requested, n_images, n_chips_done, n_chips_total,"
        " attempts, created_at, created_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, 0, ?, 0, ?, ?)",
        err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    db_bind_text(stmt, job->project_id);
    db_bind_text(stmt, job->support_set_id);
    db_bind_uint(stmt, job->support_set_version);
    db_bind_text(stmt, job->encoder_id);
    db_bind_text(stmt, job->params);
    db_bind_int(stmt, job->priority);
    db_bind_uint(stmt, job->n_images);
    db_bind_uint(stmt, job->n_chips_total);
    db_bind_text(stmt, job->created_at);
    db_bind_text(stmt, job->created_by);
    return db_stmt_run(stmt, NULL, err);
}

static int require_image(struct db_connection *writer, const struct db_job *job, size_t index,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "finding a job's image",
                             "SELECT (SELECT COUNT(*) FROM job_images"
                             " WHERE job_id = ? AND image_id = images.id) AS n_given"
                             " FROM images WHERE id = ? AND project_id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    db_bind_text(stmt, job->image_ids[index]);
    db_bind_text(stmt, job->project_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0 && db_column_int(stmt, "n_given", 0, INT64_MAX) > 0)
        rc = error_set(err, ERROR_INVALID, "image_ids/%zu: %s is given twice", index,
                       job->image_ids[index]);
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_INVALID, "image_ids/%zu: %.40s is no image of project %s", index,
                       job->image_ids[index], job->project_id);
    return rc;
}

static int insert_image(struct db_connection *writer, const struct db_job *job, size_t index,
                        struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = require_image(writer, job, index, err);
    if (rc == 0)
        rc = db_stmt_prepare(&stmt, writer, "storing a job's image",
                             "INSERT INTO job_images (job_id, image_index, image_id)"
                             " VALUES (?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    db_bind_uint(stmt, index);
    db_bind_text(stmt, job->image_ids[index]);
    return db_stmt_run(stmt, NULL, err);
}

/* The newest job waits behind all of its priority. */
static int count_ahead(struct db_connection *writer, struct db_job *job, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "counting the jobs ahead",
        "SELECT COUNT(*) AS n FROM jobs WHERE state = 'queued' AND priority >= ?", err);
    if (rc != 0)
        return rc;
    db_bind_int(stmt, job->priority);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        job->queue_position = db_column_uint(stmt, "n", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

static int insert_new(struct db_connection *writer, struct db_job *job, uint64_t max_queued,
                      struct error *err)
{
    int rc = require_room(writer, max_queued, err);
    if (rc == 0)
        rc = count_ahead(writer, job, err);
    if (rc == 0)
        rc = require_support_set(writer, job, err);
    if (rc == 0)
        rc = require_encoder(writer, job, err);
    if (rc != 0)
        return rc;
    db_id_create("job_", job->id);
    db_id_time(job->id, job->created_at);
    rc = insert_row(writer, job, err);
    for (size_t i = 0; rc == 0 && i < job->n_images; i++)
        rc = insert_image(writer, job, i, err);
    if (rc != 0)
        return rc;
    return db_job_event(writer, job->id, DB_EVENT_JOB_QUEUED, job->created_by, err,
                        "{\"n_images\":%zu}", job->n_images);
}

/* `stored` is a copy of the caller's job that becomes the new one; `found` becomes the job that is
 * replayed, if there is one. */
static int insert_in(struct db_connection *writer, struct db_job *stored, uint64_t max_queued,
                     const struct db_idempotency *idempotency, struct db_job *found, bool *replayed,
                     struct error *err)
{
    int rc = db_project_require(writer, stored->project_id, err);
    if (rc != 0)
        return rc;
    if (idempotency != NULL) {
        rc = find_replay(writer, idempotency, found, err);
        *replayed = rc == 0;
        if (rc != ERROR_NOT_FOUND)
            return rc;
    }
    rc = insert_new(writer, stored, max_queued, err);
    if (rc == 0 && idempotency != NULL)
        rc = insert_key(writer, idempotency, stored->id, err);
    return rc;
}

int db_job_insert(struct db *db, struct db_job *job, uint64_t max_queued,
                  const struct db_idempotency *idempotency, bool *replayed, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_job stored = *job, found = {0};
    bool was_there = false;
    if (job->priority < -PRIORITY_MAX || job->priority > PRIORITY_MAX)
        return error_set(err, ERROR_INVALID, "priority: %d is not within %d..%d", job->priority,
                         -PRIORITY_MAX, PRIORITY_MAX);
    if (job->n_images == 0)
        return error_set(err, ERROR_INVALID, "image_ids: a job needs at least one image");
    stored.state = DB_JOB_QUEUED;
    stored.cancel_requested = false;
    stored.n_results = 0;
    stored.n_chips_done = 0;
    stored.attempts = 0;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = insert_in(writer, &stored, max_queued, idempotency, &found, &was_there, err);
    rc = db_write_end(db, rc, err);
    if (rc != 0) {
        db_job_clear(&found);
        return rc;
    }
    if (was_there)
        db_job_clear(job);
    *job = was_there ? found : stored;
    if (replayed != NULL)
        *replayed = was_there;
    return 0;
}

void db_job_clear(struct db_job *job)
{
    free(job->params);
    free(job->image_ids);
    free(job->error_code);
    free(job->error_message);
    *job = (struct db_job){0};
}

void db_job_list_clear(struct db_job_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_job_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_job_list){0};
}
