/* Writing and reading events. Appending comes last in a change's transaction: it is short, and what
 * it says is true by then. */
#include "db/events.h"

#include "db/sql/connection.h"
#include "db/id.h"
#include "db/sql/stmt.h"

static const char *const type_names[DB_EVENT_TYPES] = {
    [DB_EVENT_PROJECT_CREATED] = "project.created",
    [DB_EVENT_PROJECT_UPDATED] = "project.updated",
    [DB_EVENT_PROJECT_DELETED] = "project.deleted",
    [DB_EVENT_IMAGE_CREATED] = "image.created",
    [DB_EVENT_IMAGE_UPDATED] = "image.updated",
    [DB_EVENT_IMAGE_DELETED] = "image.deleted",
    [DB_EVENT_IMAGE_MASK_UPDATED] = "image.mask_updated",
    [DB_EVENT_SUPPORT_SET_CREATED] = "support_set.created",
    [DB_EVENT_SUPPORT_SET_UPDATED] = "support_set.updated",
    [DB_EVENT_ENCODER_CREATED] = "encoder.created",
    [DB_EVENT_ENCODER_UPDATED] = "encoder.updated",
    [DB_EVENT_JOB_QUEUED] = "job.queued",
    [DB_EVENT_JOB_STARTED] = "job.started",
    [DB_EVENT_JOB_CANCEL_REQUESTED] = "job.cancel_requested",
    [DB_EVENT_JOB_REQUEUED] = "job.requeued",
    [DB_EVENT_JOB_SUCCEEDED] = "job.succeeded",
    [DB_EVENT_JOB_FAILED] = "job.failed",
    [DB_EVENT_JOB_CANCELLED] = "job.cancelled",
    [DB_EVENT_RESULT_STORED] = "result.stored",
    [DB_EVENT_VERIFICATION_CREATED] = "verification.created",
    [DB_EVENT_VERIFICATION_ANSWERED] = "verification.answered",
    [DB_EVENT_VERIFICATION_DELETED] = "verification.deleted",
};

const char *db_event_type_name(enum db_event_type type)
{
    return type_names[type];
}

int db_event_append(struct db_connection *writer, const struct db_event_head *head,
                    struct error *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int rc = db_event_appendv(writer, head, err, format, arguments);
    va_end(arguments);
    return rc;
}

int db_event_appendv(struct db_connection *writer, const struct db_event_head *head,
                     struct error *err, const char *format, va_list arguments)
{
    struct db_stmt *stmt = NULL;
    char id[DB_ID_SIZE], created_at[DB_TIME_SIZE], data[DB_EVENT_DATA_SIZE];
    int rc = db_stmt_prepare(
        &stmt, writer, "storing an event",
        "INSERT INTO events (sequence, id, created_at, type, project_id, subject_id, principal,"
        " data) VALUES (COALESCE((SELECT sequence FROM events WHERE sequence BETWEEN 1 AND ?"
        " ORDER BY sequence DESC LIMIT 1), 0) + 1, ?, ?, ?, ?, ?, ?, ?)",
        err);
    if (rc != 0)
        return rc;
    db_bind_int(stmt, DB_EVENT_SEQUENCE_MAX);
    db_id_create("evt_", id);
    db_id_time(id, created_at);
    db_bind_text(stmt, id);
    db_bind_text(stmt, created_at);
    db_bind_text(stmt, type_names[head->type]);
    db_bind_text(stmt, head->project_id);
    db_bind_text(stmt, head->subject_id);
    db_bind_text(stmt, head->principal);
    vsnprintf(data, sizeof(data), format, arguments);
    db_bind_text(stmt, data);
    rc = db_stmt_run(stmt, NULL, err);
    if (rc == ERROR_CONFLICT)
        rc = error_set(err, ERROR_CORRUPT,
                       "database: events has no sequences left below %lld, which only an editor can"
                       " have used up: delete its rows with the highest sequences",
                       (long long)DB_EVENT_SEQUENCE_MAX);
    return rc;
}

int db_event_last(struct db_connection *connection, uint64_t *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "looking for the last event",
                             "SELECT COALESCE((SELECT sequence FROM events WHERE sequence BETWEEN 1"
                             " AND ? ORDER BY sequence DESC LIMIT 1), 0) AS sequence",
                             err);
    if (rc != 0)
        return rc;
    db_bind_int(stmt, DB_EVENT_SEQUENCE_MAX);
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *out = db_column_uint(stmt, "sequence", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

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

enum { LIMIT_MAX = 1000 };

static enum db_event_type read_type(struct db_stmt *stmt)
{
    char name[32];
    db_column_copy(stmt, "type", name, sizeof(name));
    for (int i = 0; i < DB_EVENT_TYPES; i++) {
        if (strcmp(name, type_names[i]) == 0)
            return (enum db_event_type)i;
    }
    db_column_fault(stmt, "type", "does not hold an event's type");
    return DB_EVENT_TYPES;
}

static int read_event(struct db_stmt *stmt, struct db_event *out, struct error *err)
{
    out->sequence = db_column_uint(stmt, "sequence", INT64_MAX);
    db_column_id(stmt, "id", "evt_", out->id);
    db_column_time(stmt, "created_at", out->created_at);
    out->type = read_type(stmt);
    db_column_copy(stmt, "project_id", out->project_id, sizeof(out->project_id));
    db_column_copy(stmt, "subject_id", out->subject_id, sizeof(out->subject_id));
    db_column_copy(stmt, "principal", out->principal, sizeof(out->principal));
    db_column_copy(stmt, "data", out->data, sizeof(out->data));
    return db_stmt_fault(stmt, err);
}

static int list_from(struct db_connection *reader, uint64_t after, uint32_t limit,
                     struct db_event_list *list, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int step = 0;
    list->items = calloc(limit, sizeof(*list->items));
    if (list->items == NULL)
        return error_set_nomem(err, "a list of events");
    int rc = db_stmt_prepare(&stmt, reader, "listing events",
                             "SELECT sequence, id, created_at, type, project_id, subject_id,"
                             " principal, data FROM events WHERE sequence > ? AND sequence <= ?"
                             " ORDER BY sequence LIMIT ?",
                             err);
    if (rc != 0)
        return rc;
    db_bind_uint(stmt, after);
    db_bind_int(stmt, DB_EVENT_SEQUENCE_MAX);
    db_bind_uint(stmt, limit);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = read_event(stmt, &list->items[list->n_items++], err);
    db_stmt_finish(stmt);
    return rc != 0 ? rc : step;
}

int db_event_list(struct db *db, uint64_t after, uint32_t limit, struct db_event_list *out,
                  struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_event_list list = {0};
    if (limit < 1 || limit > LIMIT_MAX)
        return error_set(err, ERROR_INVALID, "limit: %u is not within 1..%d", limit, LIMIT_MAX);
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = list_from(reader, after, limit, &list, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = list;
    else
        db_event_list_clear(&list);
    return rc;
}

void db_event_list_clear(struct db_event_list *list)
{
    free(list->items);
    *list = (struct db_event_list){0};
}
