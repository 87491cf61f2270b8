/* Reading rows of jobs, for db/jobs.c and db/job_queue.c. */
#ifndef CHIPSHOT_DB_JOB_ROW_H
#define CHIPSHOT_DB_JOB_ROW_H

#include "db/jobs.h"
#include "db/stmt.h"

/* A job with its images. ERROR_NOT_FOUND. */
int db_job_read(struct db_connection *connection, const char *id, struct db_job *out,
                struct error *err);
enum db_job_state db_job_read_state(struct db_stmt *stmt, const char *column);

#endif
