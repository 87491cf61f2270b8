/* Rows of jobs, for the files of db/ that read or change them. */
#ifndef CHIPSHOT_DB_JOB_ROW_H
#define CHIPSHOT_DB_JOB_ROW_H

#include "db/jobs.h"
#include "db/page.h"
#include "db/sql/stmt.h"

/* A job with its images. ERROR_NOT_FOUND. */
int db_job_read(struct db_connection *connection, const char *id, struct db_job *out,
                struct error *err);
/* The same without its images. */
int db_job_read_row(struct db_connection *connection, const char *id, struct db_job *out,
                    struct error *err);
enum db_job_state db_job_read_state(struct db_stmt *stmt, const char *column);

/* The jobs of a state that does not last, queued or running. */
int db_queue_count(struct db_connection *connection, enum db_job_state state, uint64_t *out,
                   struct error *err);
/* Fills queue_position for a page of jobs. */
int db_queue_number(struct db_connection *reader, const struct db_items *items, struct error *err);

/* Puts a running job, which was found to be so in the same transaction, back into the queue, or
 * ends it when its cancellation was requested. `reason`: db/events.h. */
int db_job_put_back(struct db_connection *writer, const char *id, const char *reason,
                    struct error *err);

/* The condition of every change of a running job, whose three placeholders db_lease_bind binds. */
#define DB_LEASE_HOLDS "id = ? AND state = 'running' AND lease_owner = ? AND lease_token = ?"
void db_lease_bind(struct db_stmt *stmt, const struct db_lease *lease);
/* Runs such an UPDATE; ERROR_CONFLICT, or ERROR_NOT_FOUND, when the lease does not hold. */
int db_lease_run(struct db_connection *writer, struct db_stmt *stmt, const struct db_lease *lease,
                 struct error *err);

#endif
