/* How jobs move from state to state.
 *
 *     queued --claim--> running --finish--> succeeded | failed | cancelled
 *       |  ^--requeue-----'
 *       `--cancel--> cancelled
 *
 * Every change is one UPDATE that names the state (and the owner of the lease) it starts from, in a
 * transaction; a change that touched no row did not happen. So a job ends exactly once, whoever
 * else tries. A job whose cancellation was requested is not run again: instead of going back to the
 * queue it ends as cancelled.
 */
#include "base/utf8.h"
#include "db/connection.h"
#include "db/id.h"
#include "db/job_row.h"

/* ---- ending ---- */

/* Runs an UPDATE of a running job of an owner and says why when it touched none. */
static int run_owned(struct db_connection *writer, struct db_stmt *stmt, const char *id,
                     const char *owner, struct error *err)
{
    uint64_t n_changed = 0;
    int rc = db_stmt_run(stmt, &n_changed, err);
    if (rc != 0 || n_changed == 1)
        return rc;
    struct db_job job = {0};
    rc = db_job_read(writer, id, &job, err);
    if (rc != 0)
        return rc;
    rc = error_set(err, ERROR_CONFLICT, "job %s is %s and not running for %.64s", id,
                   job.state == DB_JOB_RUNNING ? "running for another worker"
                                               : db_job_state_name(job.state),
                   owner);
    db_job_clear(&job);
    return rc;
}

static int end_in(struct db_connection *writer, const char *id, const char *owner,
                  enum db_job_state state, const char *error_code, const char *error_message,
                  struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE], message[ERROR_MESSAGE_SIZE];
    /* A message may quote a file's bytes or be cut within a character: the job must end anyway. */
    utf8_copy(error_message != NULL ? error_message : "", message, sizeof(message));
    int rc = db_stmt_prepare(&stmt, writer, "ending a job",
                             "UPDATE jobs SET state = ?, error_code = ?, error_message = ?,"
                             " finished_at = ?, lease_owner = NULL, lease_expires_ms = NULL"
                             " WHERE id = ? AND state = 'running' AND lease_owner = ?",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, db_job_state_name(state));
    db_bind_text(stmt, state == DB_JOB_FAILED ? error_code : NULL);
    db_bind_text(stmt, state == DB_JOB_FAILED ? message : NULL);
    db_bind_text(stmt, now);
    db_bind_text(stmt, id);
    db_bind_text(stmt, owner);
    return run_owned(writer, stmt, id, owner, err);
}

/* ---- claiming ---- */

static int find_next(struct db_connection *writer, char id[DB_ID_SIZE], struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "looking for the next job",
                             "SELECT id FROM jobs WHERE state = 'queued'"
                             " ORDER BY priority DESC, created_at, id LIMIT 1",
                             err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "id", "job_", id);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? error_set(err, ERROR_NOT_FOUND, "the queue is empty") : rc;
}

static int mark_claimed(struct db_connection *writer, const char *id, const char *owner,
                        uint32_t lease_ms, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "claiming a job",
                             "UPDATE jobs SET state = 'running', lease_owner = ?,"
                             " lease_expires_ms = ?, attempts = attempts + 1,"
                             " started_at = COALESCE(started_at, ?)"
                             " WHERE id = ? AND state = 'queued'",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, owner);
    db_bind_uint(stmt, db_time_ms() + lease_ms);
    db_bind_text(stmt, now);
    db_bind_text(stmt, id);
    return db_stmt_run(stmt, NULL, err);
}

/* Claims the next job. One whose row someone damaged fails instead (*damaged), so that the jobs
 * behind it are not held up for ever. */
static int claim_in(struct db_connection *writer, const char *owner, uint32_t lease_ms,
                    struct db_job *out, bool *damaged, struct error *err)
{
    char id[DB_ID_SIZE];
    struct error cause = {0};
    int rc = find_next(writer, id, err);
    if (rc == 0)
        rc = mark_claimed(writer, id, owner, lease_ms, err);
    if (rc != 0)
        return rc;
    rc = db_job_read(writer, id, out, &cause);
    *damaged = rc == ERROR_CORRUPT;
    if (rc != 0 && !*damaged)
        return error_set(err, (enum error_code)rc, "%s", cause.message);
    if (!*damaged)
        return 0;
    return end_in(writer, id, owner, DB_JOB_FAILED, error_code_name(ERROR_CORRUPT), cause.message,
                  err);
}

int db_job_claim(struct db *db, const char *owner, uint32_t lease_ms, struct db_job *out,
                 struct error *err)
{
    bool damaged;
    do {
        struct db_connection *writer = NULL;
        struct db_job job = {0};
        damaged = false;
        /* A claim that is lost with the power is as good as none: whoever starts next requeues all
         * jobs that run. The claimed job's result will wait for the disk, and with it its claim. */
        int rc = db_write_begin_volatile(db, &writer, err);
        if (rc != 0)
            return rc;
        rc = db_write_end(db, claim_in(writer, owner, lease_ms, &job, &damaged, err), err);
        if (rc != 0 || damaged)
            db_job_clear(&job);
        else
            *out = job;
        if (rc != 0)
            return rc;
    } while (damaged);
    return 0;
}

/* ---- changes by the owner ---- */

static int read_cancel(struct db_connection *writer, const char *id, bool *cancel,
                       struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "looking for a cancellation",
                             "SELECT cancel_requested FROM jobs WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *cancel = db_column_int(stmt, "cancel_requested", 0, 1) != 0;
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_job_heartbeat(struct db *db, const char *id, const char *owner, uint32_t lease_ms,
                     uint64_t n_chips_done, bool *cancel, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_stmt *stmt = NULL;
    bool requested = false;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "storing a job's progress",
                         "UPDATE jobs SET lease_expires_ms = ?, n_chips_done = ?"
                         " WHERE id = ? AND state = 'running' AND lease_owner = ?",
                         err);
    if (rc == 0) {
        db_bind_uint(stmt, db_time_ms() + lease_ms);
        db_bind_uint(stmt, n_chips_done);
        db_bind_text(stmt, id);
        db_bind_text(stmt, owner);
        rc = run_owned(writer, stmt, id, owner, err);
    }
    if (rc == 0)
        rc = read_cancel(writer, id, &requested, err);
    rc = db_write_end(db, rc, err);
    if (rc == 0)
        *cancel = requested;
    return rc;
}

int db_job_finish(struct db *db, const char *id, const char *owner, enum db_job_state state,
                  const char *error_code, const char *error_message, struct error *err)
{
    struct db_connection *writer = NULL;
    if (!db_job_state_is_final(state))
        return error_set(err, ERROR_INVALID, "a job cannot end as %s", db_job_state_name(state));
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    return db_write_end(db, end_in(writer, id, owner, state, error_code, error_message, err), err);
}

/* ---- requeueing ---- */

#define REQUEUE                                                                                    \
    "UPDATE jobs SET"                                                                              \
    " state = CASE WHEN cancel_requested = 1 THEN 'cancelled' ELSE 'queued' END,"                  \
    " finished_at = CASE WHEN cancel_requested = 1 THEN ? ELSE NULL END,"                          \
    " n_chips_done = COALESCE((SELECT SUM(grid_rows * grid_columns) FROM results"                  \
    " WHERE results.job_id = jobs.id), 0),"                                                        \
    " lease_owner = NULL, lease_expires_ms = NULL"                                                 \
    " WHERE state = 'running' AND "

int db_job_requeue(struct db *db, const char *id, const char *owner, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "putting a job back into the queue",
                         REQUEUE "id = ? AND lease_owner = ?", err);
    if (rc == 0) {
        db_time_now(now);
        db_bind_text(stmt, now);
        db_bind_text(stmt, id);
        db_bind_text(stmt, owner);
        rc = run_owned(writer, stmt, id, owner, err);
    }
    return db_write_end(db, rc, err);
}

int db_job_requeue_expired(struct db *db, bool all, uint64_t *n, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    uint64_t n_changed = 0;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "putting abandoned jobs back into the queue",
                         REQUEUE "(lease_expires_ms IS NULL OR lease_expires_ms < ?)", err);
    if (rc == 0) {
        db_time_now(now);
        db_bind_text(stmt, now);
        db_bind_int(stmt, all ? INT64_MAX : (int64_t)db_time_ms());
        rc = db_stmt_run(stmt, &n_changed, err);
    }
    rc = db_write_end(db, rc, err);
    if (rc == 0 && n != NULL)
        *n = n_changed;
    return rc;
}

/* ---- cancelling ---- */

static int cancel_in(struct db_connection *writer, const char *id, enum db_job_state *state,
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    struct db_job job = {0};
    char now[DB_TIME_SIZE];
    int rc = db_job_read(writer, id, &job, err);
    if (rc != 0)
        return rc;
    *state = job.state;
    db_job_clear(&job);
    if (*state == DB_JOB_CANCELLED)
        return 0;
    if (db_job_state_is_final(*state))
        return error_set(err, ERROR_CONFLICT, "job %s has already %s", id,
                         db_job_state_name(*state));
    rc = db_stmt_prepare(&stmt, writer, "cancelling a job",
                         "UPDATE jobs SET cancel_requested = 1,"
                         " finished_at = CASE WHEN state = 'queued' THEN ? ELSE NULL END,"
                         " state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END"
                         " WHERE id = ? AND state IN ('queued', 'running')",
                         err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, now);
    db_bind_text(stmt, id);
    rc = db_stmt_run(stmt, NULL, err);
    if (rc == 0 && *state == DB_JOB_QUEUED)
        *state = DB_JOB_CANCELLED;
    return rc;
}

int db_job_cancel(struct db *db, const char *id, enum db_job_state *state, struct error *err)
{
    struct db_connection *writer = NULL;
    enum db_job_state after = DB_JOB_QUEUED;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, cancel_in(writer, id, &after, err), err);
    if (rc == 0)
        *state = after;
    return rc;
}
