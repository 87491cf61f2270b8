/* Jobs that go back to the queue: those that their worker lets go, those that it failed to do for a
 * cause that may pass, and those of processes that died or hang.
 *
 * Of the last kind owners are judged first, one after the other and without any lock: asking the
 * system about a process may take its time. Nothing is raced by that, since who is gone does not
 * come back. Leases that are over are judged in the transaction that takes their jobs back.
 */
#include "base/utf8.h"
#include "db/sql/connection.h"
#include "db/id.h"
#include "db/events.h"
#include "db/job_row.h"

/* ---- letting go ---- */

/* `state`: queued or cancelled. What was done counts on: the images that have results, but for
 * results that someone edited. */
static int move_back(struct db_connection *writer, const char *id, enum db_job_state state,
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    uint64_t n_changed = 0;
    int rc = db_stmt_prepare(&stmt, writer, "putting a job back into the queue",
                             "UPDATE jobs SET state = ?, finished_at = ?, n_chips_done ="
                             " COALESCE((SELECT CAST(SUM(grid_rows * grid_columns) AS BIGINT)"
                             " FROM results WHERE results.job_id = jobs.id"
                             " AND grid_rows BETWEEN 1 AND 32768"
                             " AND grid_columns BETWEEN 1 AND 32768), 0),"
                             " lease_owner = NULL, lease_expires_ms = NULL"
                             " WHERE id = ? AND state = 'running'",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, db_job_state_name(state));
    db_bind_text(stmt, state == DB_JOB_CANCELLED ? now : NULL);
    db_bind_text(stmt, id);
    rc = db_stmt_run(stmt, &n_changed, err);
    if (rc == 0 && n_changed != 1)
        rc = error_set(err, ERROR_CORRUPT, "database: job %s was running and is not", id);
    return rc;
}

/* Puts a running job, which was found to be so in the same transaction, back into the queue, or
 * ends it when its cancellation was requested. `reason`: db/events.h. */
static int put_back(struct db_connection *writer, const char *id, const char *reason,
                    struct error *err)
{
    bool cancelled = false;
    int rc = db_job_read_cancel(writer, id, &cancelled, err);
    if (rc == 0)
        rc = move_back(writer, id, cancelled ? DB_JOB_CANCELLED : DB_JOB_QUEUED, err);
    if (rc != 0)
        return rc;
    return cancelled ? db_job_event(writer, id, DB_EVENT_JOB_CANCELLED, PRINCIPAL_SYSTEM, err, "{}")
                     : db_job_event(writer, id, DB_EVENT_JOB_REQUEUED, PRINCIPAL_SYSTEM, err,
                                    "{\"reason\":\"%s\"}", reason);
}

/* ERROR_CONFLICT, or ERROR_NOT_FOUND, when the lease does not hold. */
static int require_lease(struct db_connection *writer, const struct db_lease *lease,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "looking for a lease",
                             "SELECT 1 FROM jobs WHERE " DB_LEASE_HOLDS, err);
    if (rc != 0)
        return rc;
    db_lease_bind(stmt, lease);
    rc = db_stmt_step_one(stmt, err);
    db_stmt_finish(stmt);
    return rc == ERROR_NOT_FOUND ? db_lease_say_lost(writer, lease, err) : rc;
}

static int requeue_once(struct db *db, const struct db_lease *lease, struct error *err)
{
    struct db_connection *writer = NULL;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = require_lease(writer, lease, err);
    if (rc == 0)
        rc = put_back(writer, lease->job_id, "released", err);
    return db_write_end(db, rc, err);
}

int db_job_requeue(struct db *db, const struct db_lease *lease, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = requeue_once(db, lease, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

/* ---- trying again ---- */

/* What a row says of the attempts before; what someone edited counts as none. */
struct attempts {
    uint64_t n_failures;
    uint64_t delay_ms;
};

static int read_attempts(struct db_connection *writer, const char *id, struct attempts *out,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "reading a job's attempts",
                             "SELECT CASE WHEN n_failures BETWEEN 0 AND 1000000"
                             " THEN CAST(n_failures AS BIGINT) ELSE 0 END AS n_failures,"
                             " CASE WHEN retry_delay_ms BETWEEN 0 AND 1000000000"
                             " THEN CAST(retry_delay_ms AS BIGINT) ELSE 0 END AS delay_ms"
                             " FROM jobs WHERE id = ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        out->n_failures = db_column_uint(stmt, "n_failures", INT64_MAX);
        out->delay_ms = db_column_uint(stmt, "delay_ms", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

static uint64_t next_delay(const struct db_retry *retry, uint64_t delay_ms)
{
    if (delay_ms < retry->first_delay_ms / 2)
        return retry->first_delay_ms;
    return delay_ms * 2 < retry->max_delay_ms ? delay_ms * 2 : retry->max_delay_ms;
}

static int give_up(struct db_connection *writer, const struct db_lease *lease,
                   const struct db_retry *retry, uint64_t n_failures, struct error *err)
{
    char message[ERROR_MESSAGE_SIZE];
    snprintf(message, sizeof(message), "%.400s (attempt %llu of %u)", retry->error_message,
             (unsigned long long)n_failures, retry->max_attempts);
    return db_job_end(writer, lease, DB_JOB_FAILED, retry->error_code, message, err);
}

/* `next` is what the row is to say. The claims are not counted on: they end in good order. */
static int put_off(struct db_connection *writer, const struct db_lease *lease,
                   const struct db_retry *retry, const struct attempts *next, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char message[ERROR_MESSAGE_SIZE];
    utf8_copy(retry->error_message, message, sizeof(message));
    int rc = db_stmt_prepare(&stmt, writer, "putting off a job",
                             "UPDATE jobs SET attempts = 0, n_failures = ?, retry_delay_ms = ?,"
                             " not_before_ms = ?, waiting_for = ?, error_code = ?,"
                             " error_message = ? WHERE " DB_LEASE_HOLDS,
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, next->n_failures);
    db_bind_uint(stmt, next->delay_ms);
    db_bind_uint(stmt, db_time_ms() + next->delay_ms);
    db_bind_text(stmt, db_wait_name(retry->wait));
    db_bind_text(stmt, retry->error_code);
    db_bind_text(stmt, message);
    db_lease_bind(stmt, lease);
    rc = db_lease_run(writer, stmt, lease, err);
    if (rc == 0)
        rc = move_back(writer, lease->job_id, DB_JOB_QUEUED, err);
    if (rc != 0)
        return rc;
    return db_job_event(
        writer, lease->job_id, DB_EVENT_JOB_REQUEUED, PRINCIPAL_SYSTEM, err,
        "{\"reason\":\"%s\",\"code\":\"%.40s\",\"attempts\":%llu,\"delay_ms\":%llu}",
        retry->wait == DB_WAIT_DISK_SPACE ? "no_space" : "failed", retry->error_code,
        (unsigned long long)next->n_failures, (unsigned long long)next->delay_ms);
}

static int retry_in(struct db_connection *writer, const struct db_lease *lease,
                    const struct db_retry *retry, enum db_job_state *state, struct error *err)
{
    struct attempts attempts;
    bool cancelled = false;
    int rc = require_lease(writer, lease, err);
    if (rc == 0)
        rc = db_job_read_cancel(writer, lease->job_id, &cancelled, err);
    if (rc == 0)
        rc = read_attempts(writer, lease->job_id, &attempts, err);
    if (rc != 0)
        return rc;
    *state = cancelled ? DB_JOB_CANCELLED : DB_JOB_QUEUED;
    if (cancelled)
        return db_job_end(writer, lease, DB_JOB_CANCELLED, NULL, NULL, err);
    attempts.delay_ms = next_delay(retry, attempts.delay_ms);
    attempts.n_failures += retry->wait == DB_WAIT_BACK_OFF;
    if (retry->wait != DB_WAIT_BACK_OFF || attempts.n_failures < retry->max_attempts)
        return put_off(writer, lease, retry, &attempts, err);
    *state = DB_JOB_FAILED;
    return give_up(writer, lease, retry, attempts.n_failures, err);
}

static int retry_once(struct db *db, const struct db_lease *lease, const struct db_retry *retry,
                      enum db_job_state *state, struct error *err)
{
    struct db_connection *writer = NULL;
    enum db_job_state after = DB_JOB_QUEUED;
    if (retry->max_delay_ms > DB_RETRY_DELAY_MAX_MS)
        return error_set(err, ERROR_INVALID, "retry: %u ms are more than %d", retry->max_delay_ms,
                         DB_RETRY_DELAY_MAX_MS);
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = db_write_end(db, retry_in(writer, lease, retry, &after, err), err);
    if (rc == 0)
        *state = after;
    return rc;
}

int db_job_retry(struct db *db, const struct db_lease *lease, const struct db_retry *retry,
                 enum db_job_state *state, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = retry_once(db, lease, retry, state, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

/* ---- jobs of the dead ---- */

/* The next owner of a running job after `owner`, in the order of their texts, but for `self`; it
 * replaces `owner`. ERROR_NOT_FOUND. One that cannot be read is not judged: its lease ends. */
static int next_owner(struct db *db, const char *self, char owner[DB_OWNER_SIZE], struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    char found[DB_OWNER_SIZE];
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "looking for the owners of jobs",
                         "SELECT lease_owner FROM jobs WHERE state = 'running'"
                         " AND lease_owner > ? AND lease_owner <> ? ORDER BY lease_owner LIMIT 1",
                         err);
    if (rc == 0) {
        db_bind_text(stmt, owner);
        db_bind_text(stmt, self);
        rc = db_stmt_step_one(stmt, err);
        if (rc == 0) {
            db_column_copy(stmt, "lease_owner", found, sizeof(found));
            rc = db_stmt_fault(stmt, err) == 0 ? 0 : ERROR_NOT_FOUND;
        }
        db_stmt_finish(stmt);
    }
    db_read_end(db, reader);
    if (rc == 0)
        memcpy(owner, found, sizeof(found));
    return rc;
}

/* Reads the first id that can be read and finishes the statement. ERROR_NOT_FOUND. */
static int read_id(struct db_stmt *stmt, char id[DB_ID_SIZE], struct error *err)
{
    int rc = db_job_step_id(stmt, id, err);
    db_stmt_finish(stmt);
    return rc;
}

/* Finds a running job that `owner` has claimed. */
static int find_of_owner(struct db_connection *connection, const char *owner, char id[DB_ID_SIZE],
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, connection, "looking for abandoned jobs",
                        "SELECT id FROM jobs WHERE state = 'running' AND lease_owner = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, owner);
    return read_id(stmt, id, err);
}

/* Finds a running job whose lease is over and was not `self`'s. */
static int find_over(struct db_connection *connection, const char *self, char id[DB_ID_SIZE],
                     struct error *err)
{
    struct db_stmt *stmt = NULL;
    uint64_t now = db_time_ms();
    int rc = db_stmt_prepare(&stmt, connection, "looking for leases that are over",
                             "SELECT id FROM jobs WHERE state = 'running'"
                             " AND COALESCE(lease_owner, '') <> ? AND (lease_expires_ms IS NULL"
                             " OR lease_expires_ms < ? OR lease_expires_ms > ?)",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, self);
    db_bind_uint(stmt, now);
    db_bind_uint(stmt, now + DB_LEASE_MAX_MS);
    return read_id(stmt, id, err);
}

typedef int (*find_abandoned)(struct db_connection *connection, const char *owner,
                              char id[DB_ID_SIZE], struct error *err);

/* Takes back all that `find` finds; *n counts them. */
static int take_back_once(struct db *db, find_abandoned find, const char *owner, const char *reason,
                          uint64_t *n, struct error *err)
{
    struct db_connection *writer = NULL;
    char id[DB_ID_SIZE];
    uint64_t n_found = 0;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    while ((rc = find(writer, owner, id, err)) == 0) {
        rc = put_back(writer, id, reason, err);
        if (rc != 0)
            break;
        n_found++;
    }
    rc = db_write_end(db, rc == ERROR_NOT_FOUND ? 0 : rc, err);
    if (rc == 0)
        *n += n_found;
    return rc;
}

static int take_back(struct db *db, find_abandoned find, const char *owner, const char *reason,
                     uint64_t *n, struct error *err)
{
    unsigned n_tries = 0;
    int rc;
    do {
        rc = take_back_once(db, find, owner, reason, n, err);
    } while (rc == ERROR_FULL && db_make_room(db, n_tries++));
    return rc;
}

/* Most often there is nothing to take back: the writer is not bothered then. */
static int any_over(struct db *db, const char *self, struct error *err)
{
    struct db_connection *reader = NULL;
    char id[DB_ID_SIZE];
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = find_over(reader, self, id, err);
    db_read_end(db, reader);
    return rc;
}

int db_job_requeue_expired(struct db *db, const char *self, db_owner_is_gone is_gone, uint64_t *n,
                           struct error *err)
{
    char owner[DB_OWNER_SIZE] = "";
    uint64_t n_requeued = 0;
    int rc = 0;
    while (is_gone != NULL && (rc = next_owner(db, self, owner, err)) == 0) {
        if (is_gone(owner))
            rc = take_back(db, find_of_owner, owner, "owner_gone", &n_requeued, err);
        if (rc != 0)
            break;
    }
    if (rc == 0 || rc == ERROR_NOT_FOUND)
        rc = any_over(db, self, err);
    if (rc == 0)
        rc = take_back(db, find_over, self, "lease_over", &n_requeued, err);
    if (rc != 0 && rc != ERROR_NOT_FOUND)
        return rc;
    *n = n_requeued;
    return 0;
}
