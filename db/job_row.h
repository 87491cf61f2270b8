/* Rows of jobs, for the files of db/ that read or change them. */
#ifndef CHIPSHOT_DB_JOB_ROW_H
#define CHIPSHOT_DB_JOB_ROW_H

#include "db/jobs.h"
#include "db/sql/stmt.h"

/* A job with its images. ERROR_NOT_FOUND. */
int db_job_read(struct db_connection *connection, const char *id, struct db_job *out,
                struct error *err);
/* The same without its images. */
int db_job_read_row(struct db_connection *connection, const char *id, struct db_job *out,
                    struct error *err);
enum db_job_state db_job_read_state(struct db_stmt *stmt, const char *column);

/* Steps to the next row whose column id holds a job's, passing over those that someone damaged:
 * they must not hold up what is behind them. ERROR_NOT_FOUND. */
int db_job_step_id(struct db_stmt *stmt, char id[DB_ID_SIZE], struct error *err);

/* The jobs of a state that does not last, queued or running. */
int db_job_count(struct db_connection *connection, enum db_job_state state, uint64_t *out,
                 struct error *err);

/* Ends a running job and says so; see db_job_finish. */
int db_job_end(struct db_connection *writer, const struct db_lease *lease, enum db_job_state state,
               const char *error_code, const char *error_message, struct error *err);
/* *cancel: cancellation was requested. */
int db_job_read_cancel(struct db_connection *writer, const char *id, bool *cancel,
                       struct error *err);

/* ERROR_CONFLICT, or ERROR_NOT_FOUND: a lease does not hold. Says why. */
int db_lease_say_lost(struct db_connection *writer, const struct db_lease *lease,
                      struct error *err);

/* The condition of every change of a running job, whose three placeholders db_lease_bind binds. */
#define DB_LEASE_HOLDS "id = ? AND state = 'running' AND lease_owner = ? AND lease_token = ?"
void db_lease_bind(struct db_stmt *stmt, const struct db_lease *lease);
/* Runs such an UPDATE; ERROR_CONFLICT, or ERROR_NOT_FOUND, when the lease does not hold. */
int db_lease_run(struct db_connection *writer, struct db_stmt *stmt, const struct db_lease *lease,
                 struct error *err);

#endif
