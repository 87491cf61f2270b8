#include "db/job_event.h"

#include <stdarg.h>

#include "db/sql/connection.h"

/* The project of a job; "" when the row is damaged: it is left out of the event then, which must
 * not keep a job from ending. */
static int read_project(struct db_connection *writer, const char *id, char out[DB_ID_SIZE],
                        struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, writer, "reading a job's project",
                             "SELECT project_id FROM jobs WHERE id = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, id);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_id(stmt, "project_id", "prj_", out);
        if (db_stmt_fault(stmt, NULL) != 0)
            out[0] = '\0';
    }
    db_stmt_finish(stmt);
    return rc;
}

int db_job_event(struct db_connection *writer, const char *id, enum db_event_type type,
                 const char *principal, struct error *err, const char *format, ...)
{
    char project_id[DB_ID_SIZE];
    const struct db_event_head head = {type, project_id, id, principal};
    int rc = read_project(writer, id, project_id, err);
    if (rc != 0)
        return rc;
    va_list arguments;
    va_start(arguments, format);
    rc = db_event_appendv(writer, &head, err, format, arguments);
    va_end(arguments);
    return rc;
}
