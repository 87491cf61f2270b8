#include "db/results/support_health.h"

#include <stdio.h>
#include <stdlib.h>

#include "db/id.h"
#include "db/job_row.h"
#include "db/sql/connection.h"
#include "db/sql/stmt.h"

/* A change of nothing: it finds out whether the lease holds. */
static int require_lease(struct db_connection *writer, const struct db_lease *lease,
                         struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, writer, "checking a job's lease",
                        "UPDATE jobs SET lease_token = lease_token WHERE " DB_LEASE_HOLDS, err);
    if (rc != 0)
        return rc;
    db_lease_bind(stmt, lease);
    return db_lease_run(writer, stmt, lease, err);
}

static int delete_row(struct db_connection *writer, const struct db_support_health *health,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc =
        db_stmt_prepare(&stmt, writer, "replacing the health of a support set",
                        "DELETE FROM support_health WHERE support_set_id = ? AND version = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, health->support_set_id);
    db_bind_uint(stmt, health->version);
    return db_stmt_run(stmt, NULL, err);
}

static int insert_row(struct db_connection *writer, const struct db_support_health *health,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    char now[DB_TIME_SIZE];
    int rc = db_stmt_prepare(&stmt, writer, "storing the health of a support set",
                             "INSERT INTO support_health (support_set_id, version, job_id,"
                             " measured_at, health) VALUES (?, ?, ?, ?, ?)",
                             err);
    if (rc != 0)
        return rc;
    db_time_now(now);
    db_bind_text(stmt, health->support_set_id);
    db_bind_uint(stmt, health->version);
    db_bind_text(stmt, health->job_id);
    db_bind_text(stmt, now);
    db_bind_text(stmt, health->text);
    return db_stmt_run(stmt, NULL, err);
}

int db_support_health_put(struct db *db, const struct db_support_health *health,
                          const struct db_lease *lease, struct error *err)
{
    struct db_connection *writer = NULL;
    int rc = db_write_begin(db, &writer, err);
    if (rc != 0)
        return rc;
    rc = require_lease(writer, lease, err);
    if (rc == 0)
        rc = delete_row(writer, health, err);
    if (rc == 0)
        rc = insert_row(writer, health, err);
    return db_write_end(db, rc, err);
}

static int read_row(struct db_stmt *stmt, struct db_support_health *out, struct error *err)
{
    db_column_id(stmt, "job_id", "job_", out->job_id);
    db_column_time(stmt, "measured_at", out->measured_at);
    out->text = db_column_text(stmt, "health", DB_TEXT_MAX);
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        db_support_health_clear(out);
    return rc;
}

int db_support_health_get(struct db *db, const char *support_set_id, uint32_t version,
                          struct db_support_health *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_stmt *stmt = NULL;
    struct db_support_health health = {.version = version};
    snprintf(health.support_set_id, sizeof(health.support_set_id), "%s", support_set_id);
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_stmt_prepare(&stmt, reader, "reading the health of a support set",
                         "SELECT job_id, measured_at, health FROM support_health"
                         " WHERE support_set_id = ? AND version = ?",
                         err);
    if (rc == 0) {
        db_bind_text(stmt, support_set_id);
        db_bind_uint(stmt, version);
        rc = db_stmt_step_one(stmt, err);
        if (rc == 0)
            rc = read_row(stmt, &health, err);
        db_stmt_finish(stmt);
    }
    db_read_end(db, reader);
    if (rc == 0)
        *out = health;
    return rc;
}

void db_support_health_clear(struct db_support_health *health)
{
    free(health->text);
    *health = (struct db_support_health){0};
}
