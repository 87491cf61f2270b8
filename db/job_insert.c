/* New jobs. All that a job needs is looked for in the transaction that makes it; and the key of a
 * request that was sent before, so that of two at the same time one inserts and the other replays.
 */
#include "db/sql/connection.h"
#include "db/events.h"
#include "db/id.h"
#include "db/job_row.h"

enum { IDEMPOTENCY_MS = 24 * 60 * 60 * 1000 };

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
    int rc = db_job_count(writer, DB_JOB_QUEUED, &n_queued, err);
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
        " masks_until, params, priority, state, cancel_requested, n_images, n_chips_done,"
        " n_chips_total, attempts, created_at, created_by)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued', 0, ?, 0, ?, 0, ?, ?)",
        err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    db_bind_text(stmt, job->project_id);
    db_bind_text(stmt, job->support_set_id);
    db_bind_uint(stmt, job->support_set_version);
    db_bind_text(stmt, job->encoder_id);
    db_bind_uint(stmt, job->masks_until);
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
    if (rc == 0)
        rc = db_event_last(writer, &job->masks_until, err);
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
    if (job->priority < -DB_JOB_PRIORITY_MAX || job->priority > DB_JOB_PRIORITY_MAX)
        return error_set(err, ERROR_INVALID, "priority: %d is not within %d..%d", job->priority,
                         -DB_JOB_PRIORITY_MAX, DB_JOB_PRIORITY_MAX);
    if (job->n_images == 0)
        return error_set(err, ERROR_INVALID, "image_ids: a job needs at least one image");
    stored.state = DB_JOB_QUEUED;
    stored.cancel_requested = false;
    stored.n_results = 0;
    stored.n_chips_done = 0;
    stored.attempts = stored.n_failures = 0;
    stored.waiting_for = DB_WAIT_NONE;
    stored.not_before_ms = 0;
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
