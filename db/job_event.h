/* What happened to a job, told in the transaction in which it happens. */
#ifndef CHIPSHOT_DB_JOB_EVENT_H
#define CHIPSHOT_DB_JOB_EVENT_H

#include "db/events.h"
#include "db/sql/stmt.h"

/* An event about a job, for its project; `format` and what follows give its data. */
int db_job_event(struct db_connection *writer, const char *id, enum db_event_type type,
                 const char *principal, struct error *err, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

#endif
