/* How jobs move from state to state.
 *
 *     queued --claim--> running --finish--> succeeded | failed | cancelled
 *       |  ^--requeue, retry-'
 *       `--cancel--> cancelled
 *
 * Every change is one UPDATE that names the state it starts from, and for a running job the lease,
 * in a transaction; a change that touched no row did not happen. So a job ends exactly once,
 * whoever else tries. A job whose cancellation was requested is not run again: instead of going
 * back to the queue it ends as cancelled. What goes back to the queue is in db/job_requeue.c.
 */
#include "base/utf8.h"
#include "db/sql/connection.h"
#include "db/id.h"
#include "db/events.h"
#include "db/job_row.h"

/* ---- leases ---- */

void db_lease_bind(struct db_stmt *stmt, const struct db_lease *lease)
{
    db_bind_text(stmt, lease->job_id);
    db_bind_text(stmt, lease->owner);
    db_bind_uint(stmt, lease->token);
}

/* A row of which nothing but the state matters may be damaged otherwise. */
int db_lease_say_lost(struct db_connection *writer, const struct db_lease *lease, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char state[16] = "";
    int rc = db_stmt_prepare(&stmt, writer, "looking for a lease",
                             "SELECT state FROM jobs WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, lease->job_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0)
        db_column_copy(stmt, "state", state, sizeof(state));
    db_stmt_finish(stmt);
    if (rc == ERROR_NOT_FOUND)
        return error_set(err, ERROR_NOT_FOUND, "there is no job %.40s", lease->job_id);
    if (rc != 0)
        return rc;
    return error_set(err, ERROR_CONFLICT, "job %s is %s and not running for %s", lease->job_id,
                     strcmp(state, db_job_state_name(DB_JOB_RUNNING)) == 0
                         ? "running under another lease"
                         : state,
                     lease->owner);
}

int db_lease_run(struct db_connection *writer, struct db_stmt *stmt, const struct db_lease *lease,
                 struct error *err)
{
    uint64_t n_changed = 0;
    int rc = db_stmt_run(stmt, &n_changed, err);
    return rc != 0 || n_changed == 1 ? rc : db_lease_say_lost(writer, lease, err);
}

static int check_duration(uint32_t lease_ms, struct error *err)
{
    if (lease_ms <= DB_LEASE_MAX_MS)
        return 0;
    return error_set(err, ERROR_INVALID, "lease: %u ms are more than %d", lease_ms,
                     DB_LEASE_MAX_MS);
}

/* ---- ending ---- */

static int end_event(struct db_connection *writer, const struct db_lease *lease,
                     enum db_job_state state, const char *error_code, struct error *err)
{
    if (state == DB_JOB_FAILED)
        return db_job_event(writer, lease->job_id, DB_EVENT_JOB_FAILED, PRINCIPAL_SYSTEM, err,
                            "{\"token\":%llu,\"code\":\"%.40s\"}", (unsigned long long)lease->token,
                            error_code != NULL ? error_code : "");
    return db_job_event(writer, lease->job_id,
                        state == DB_JOB_SUCCEEDED ? DB_EVENT_JOB_SUCCEEDED : DB_EVENT_JOB_CANCELLED,
                        PRINCIPAL_SYSTEM, err, "{\"token\":%llu}",
                        (unsigned long long)lease->token);
}

int db_job_end(struct db_connection *writer, const struct db_lease *lease, enum db_job_state state,
               const char *error_code, const char *error_message, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE], message[ERROR_MESSAGE_SIZE];
    /* A message may quote a file's bytes or be cut within a character: the job must end anyway. */
    utf8_copy(error_message != NULL ? error_message : "", message, sizeof(message));
    int rc = db_stmt_prepare(
        &stmt, writer, "ending a job",
        "UPDATE jobs SET state = ?, error_code = ?, error_message = ?,"
        " finished_at = ?, waiting_for = NULL, lease_owner = NULL, lease_expires_ms = NULL"
        " WHERE " DB_LEASE_HOLDS,
        err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, db_job_state_name(state));
    db_bind_text(stmt, state == DB_JOB_FAILED ? error_code : NULL);
    db_bind_text(stmt, state == DB_JOB_FAILED ? message : NULL);
    db_bind_text(stmt, now);
    db_lease_bind(stmt, lease);
    rc = db_lease_run(writer, stmt, lease, err);
    return rc != 0 ? rc : end_event(writer, lease, state, error_code, err);
}

/* ---- claiming ---- */

/* A job that is to wait for longer than any does was put off by a clock that was wrong. */
static int find_next(struct db_connection *writer, enum db_room room, char id[DB_ID_SIZE],
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    const uint64_t now = db_time_ms();
    int rc = db_stmt_prepare(&stmt, writer, "looking for the next job",
                             "SELECT id FROM jobs WHERE state = 'queued'"
                             " AND (not_before_ms <= ? OR not_before_ms > ?)"
                             " AND (? = 1 OR waiting_for IS NULL OR waiting_for <> ?)"
                             " ORDER BY priority DESC, created_at, id",
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, now);
    db_bind_uint(stmt, now + DB_RETRY_DELAY_MAX_MS);
    db_bind_int(stmt, room == DB_ROOM);
    db_bind_text(stmt, db_wait_name(DB_WAIT_DISK_SPACE));
    rc = db_job_step_id(stmt, id, err);
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? error_set(err, ERROR_NOT_FOUND, "no job can be claimed") : rc;
}

/* A token that someone edited starts anew: the job must not hold up those behind it, and the owner
 * still tells its claims from those of others. */
static int mark_claimed(struct db_connection *writer, const struct db_lease *lease,
                        uint32_t lease_ms, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "claiming a job",
                             "UPDATE jobs SET state = 'running', lease_owner = ?,"
                             " lease_token = CASE WHEN lease_token BETWEEN 0 AND 1000000000000000"
                             " THEN CAST(lease_token AS BIGINT) + 1 ELSE 1 END,"
                             " lease_expires_ms = ?, attempts = attempts + 1, waiting_for = NULL,"
                             " started_at = COALESCE(started_at, ?)"
                             " WHERE id = ? AND state = 'queued'",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, lease->owner);
    db_bind_uint(stmt, db_time_ms() + lease_ms);
    db_bind_text(stmt, now);
    db_bind_text(stmt, lease->job_id);
    return db_stmt_run(stmt, NULL, err);
}

static int read_token(struct db_connection *writer, struct db_lease *lease, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "reading a lease's token",
                             "SELECT lease_token FROM jobs WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, lease->job_id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        lease->token = db_column_uint(stmt, "lease_token", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* Claims the next job for lease->owner. One whose row someone damaged fails instead (*damaged), so
 * that the jobs behind it are not held up for ever. */
static int claim_in(struct db_connection *writer, struct db_lease *lease, uint32_t lease_ms,
                    enum db_room room, struct db_job *out, bool *damaged, struct error *err)
{
    struct error cause = {0};
    int rc = find_next(writer, room, lease->job_id, err);
    if (rc == 0)
        rc = mark_claimed(writer, lease, lease_ms, err);
    if (rc == 0)
        rc = read_token(writer, lease, err);
    if (rc == 0)
        rc = db_job_event(writer, lease->job_id, DB_EVENT_JOB_STARTED, PRINCIPAL_SYSTEM, err,
                          "{\"token\":%llu}", (unsigned long long)lease->token);
    if (rc != 0)
        return rc;
    rc = db_job_read(writer, lease->job_id, out, &cause);
    *damaged = rc == ERROR_CORRUPT;
    if (rc != 0 && !*damaged)
        return error_set(err, (enum error_code)rc, "%s", cause.message);
    if (!*damaged)
        return 0;
    return db_job_end(writer, lease, DB_JOB_FAILED, error_code_name(ERROR_CORRUPT), cause.message,
                      err);
}

int db_job_claim(struct db *db, const char *owner, uint32_t lease_ms, struct db_job *out,
                 struct db_lease *lease, struct error *err)
{
    return db_job_claim_with(db, owner, lease_ms, DB_ROOM, out, lease, err);
}

int db_job_claim_with(struct db *db, const char *owner, uint32_t lease_ms, enum db_room room,
                      struct db_job *out, struct db_lease *lease, struct error *err)
{
    bool damaged;
    int rc = check_duration(lease_ms, err);
    if (rc != 0)
        return rc;
    do {
        struct db_connection *writer = NULL;
        struct db_job job = {0};
        struct db_lease claimed = {.token = 0};
        damaged = false;
        snprintf(claimed.owner, sizeof(claimed.owner), "%s", owner);
        /* A claim that is lost with the power is as good as none: its owner ended then too, and the
         * job waits in the queue as before. Its result will wait for the disk, and with it its
         * claim. */
        rc = db_write_begin_volatile(db, &writer, err);
        if (rc != 0)
            return rc;
        rc = db_write_end(db, claim_in(writer, &claimed, lease_ms, room, &job, &damaged, err), err);
        if (rc != 0 || damaged) {
            db_job_clear(&job);
        } else {
            *out = job;
            *lease = claimed;
        }
        if (rc != 0)
            return rc;
    } while (damaged);
    return 0;
}

static int find_due(struct db_connection *reader, uint64_t now, uint64_t *due, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, reader, "looking for the next job to be tried again",
                             "SELECT COALESCE(MIN(not_before_ms), ?) AS due FROM jobs"
                             " WHERE state = 'queued' AND not_before_ms > ? AND not_before_ms <= ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, now + DB_RETRY_DELAY_MAX_MS);
    db_bind_uint(stmt, now);
    db_bind_uint(stmt, now + DB_RETRY_DELAY_MAX_MS);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *due = db_column_uint(stmt, "due", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_job_due_in(struct db *db, uint32_t max_ms, uint32_t *out, struct error *err)
{
    struct db_connection *reader = NULL;
    const uint64_t now = db_time_ms();
    uint64_t due = 0;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = find_due(reader, now, &due, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = due - now < max_ms ? (uint32_t)(due - now) : max_ms;
    return rc;
}

/* ---- changes by the owner ---- */

int db_job_read_cancel(struct db_connection *writer, const char *id, bool *cancel,
                       struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(
        &stmt, writer, "looking for a cancellation",
        "SELECT CASE WHEN cancel_requested = 1 THEN 1 ELSE 0 END AS cancel_requested FROM jobs"
        " WHERE id = ?",
        err);
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

static int heartbeat_once(struct db *db, const struct db_lease *lease, uint32_t lease_ms,
                          uint64_t n_chips_done, bool *cancel, struct error *err)
{
    struct db_connection *writer = NULL;
    struct db_stmt *stmt = NULL;
    bool requested = false;
    int rc = check_duration(lease_ms, err);
    if (rc == 0)
        rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, writer, "storing a job's progress",
                         "UPDATE jobs SET lease_expires_ms = ?, n_chips_done = ?"
                         " WHERE " DB_LEASE_HOLDS,
                         err);
    if (rc == 0) {
        db_bind_uint(stmt, db_time_ms() + lease_ms);
        db_bind_uint(stmt, n_chips_done);
        db_lease_bind(stmt, lease);
        rc = db_lease_run(writer, stmt, lease, err);
    }
    if (rc == 0)
        rc = db_job_read_cancel(writer, lease->job_id, &requested, err);
    rc = db_write_end(db, rc, err);
    if (rc == 0)
        *cancel = requested;
    return rc;
}

int db_job_heartbeat(struct db *db, const struct db_lease *lease, uint32_t lease_ms,
                     uint64_t n_chips_done, bool *cancel, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = heartbeat_once(db, lease, lease_ms, n_chips_done, cancel, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

static int finish_once(struct db *db, const struct db_lease *lease, enum db_job_state state,
                       const char *error_code, const char *error_message, struct error *err)
{
    struct db_connection *writer = NULL;
    if (!db_job_state_is_final(state))
        return error_set(err, ERROR_INVALID, "a job cannot end as %s", db_job_state_name(state));
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    return db_write_end(db, db_job_end(writer, lease, state, error_code, error_message, err), err);
}

int db_job_finish(struct db *db, const struct db_lease *lease, enum db_job_state state,
                  const char *error_code, const char *error_message, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = finish_once(db, lease, state, error_code, error_message, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

/* ---- cancelling ---- */

/* `job` is how it was before. */
static int mark_cancelled(struct db_connection *writer, const struct db_job *job,
                          const struct principal *by, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "cancelling a job",
                             "UPDATE jobs SET cancel_requested = 1,"
                             " finished_at = CASE WHEN state = 'queued' THEN ? ELSE NULL END,"
                             " state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END"
                             " WHERE id = ? AND state IN ('queued', 'running')",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, now);
    db_bind_text(stmt, job->id);
    rc = db_stmt_run(stmt, NULL, err);
    if (rc != 0 || job->cancel_requested)
        return rc;
    return db_job_event(writer, job->id,
                        job->state == DB_JOB_QUEUED ? DB_EVENT_JOB_CANCELLED
                                                    : DB_EVENT_JOB_CANCEL_REQUESTED,
                        by->id, err, "{}");
}

static int cancel_in(struct db_connection *writer, const char *id, const struct principal *by,
                     enum db_job_state *state, struct error *err)
{
    struct db_job job = {0};
    int rc = db_job_read_row(writer, id, &job, err);
    if (rc != 0)
        return rc;
    if (!db_job_state_is_final(job.state))
        rc = mark_cancelled(writer, &job, by, err);
    else if (job.state != DB_JOB_CANCELLED)
        rc = error_set(err, ERROR_CONFLICT, "job %s has already %s", id,
                       db_job_state_name(job.state));
    *state = job.state == DB_JOB_QUEUED ? DB_JOB_CANCELLED : job.state;
    db_job_clear(&job);
    return rc;
}

static int cancel_once(struct db *db, const char *id, const struct principal *by,
                       enum db_job_state *state, struct error *err)
{
    struct db_connection *writer = NULL;
    enum db_job_state after = DB_JOB_QUEUED;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, cancel_in(writer, id, by, &after, err), err);
    if (rc == 0)
        *state = after;
    return rc;
}

int db_job_cancel(struct db *db, const char *id, const struct principal *by,
                  enum db_job_state *state, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = cancel_once(db, id, by, state, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}
