/* Taking back the jobs of processes that died or hang.
 *
 * Owners are judged first, one after the other and without any lock: asking the system about a
 * process may take its time. Nothing is raced by that, since who is gone does not come back. Leases
 * that are over are judged in the transaction that takes their jobs back.
 */
#include "db/sql/connection.h"
#include "db/id.h"
#include "db/job_row.h"

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

/* Reads the only row's id and finishes the statement. ERROR_NOT_FOUND. */
static int read_id(struct db_stmt *stmt, char id[DB_ID_SIZE], struct error *err)
{
    int rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_copy(stmt, "id", id, DB_ID_SIZE);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

/* Finds a running job that `owner` has claimed. */
static int find_of_owner(struct db_connection *connection, const char *owner, char id[DB_ID_SIZE],
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "looking for abandoned jobs",
                             "SELECT id FROM jobs WHERE state = 'running' AND lease_owner = ?"
                             " LIMIT 1",
                             err);
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
                             " OR lease_expires_ms < ? OR lease_expires_ms > ?) LIMIT 1",
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
static int take_back(struct db *db, find_abandoned find, const char *owner, const char *reason,
                     uint64_t *n, struct error *err)
{
    struct db_connection *writer = NULL;
    char id[DB_ID_SIZE];
    uint64_t n_found = 0;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    while ((rc = find(writer, owner, id, err)) == 0) {
        rc = db_job_put_back(writer, id, reason, err);
        if (rc != 0)
            break;
        n_found++;
    }
    rc = db_write_end(db, rc == ERROR_NOT_FOUND ? 0 : rc, err);
    if (rc == 0)
        *n += n_found;
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
