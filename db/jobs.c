/* Typed queries for jobs: reading. How they are made is in db/job_insert.c, what moves a job from
 * state to state in db/job_queue.c and db/job_requeue.c. */
#include "db/jobs.h"

#include "db/sql/connection.h"
#include "db/id.h"
#include "db/page.h"
#include "db/job_row.h"

static const char *const state_names[] = {
    [DB_JOB_QUEUED] = "queued", [DB_JOB_RUNNING] = "running",     [DB_JOB_SUCCEEDED] = "succeeded",
    [DB_JOB_FAILED] = "failed", [DB_JOB_CANCELLED] = "cancelled",
};

enum {
    N_STATES = sizeof(state_names) / sizeof(state_names[0]),
};

#define COLUMNS                                                                                    \
    "id, project_id, support_set_id, support_set_version, encoder_id, masks_until, params, "       \
    "priority, state, "                                                                            \
    "cancel_requested, n_images, n_results, n_chips_done, n_chips_total, attempts, n_failures, "   \
    "waiting_for, not_before_ms, error_code, error_message, created_at, started_at, finished_at, " \
    "created_by, "

/* The queue's order is priority DESC, created_at, id. */
#define POSITION                                                                                   \
    "CASE WHEN state = 'queued' THEN "                                                             \
    "(SELECT COUNT(*) FROM jobs q WHERE q.state = 'queued' AND q.priority > jobs.priority) + "     \
    "(SELECT COUNT(*) FROM jobs q WHERE q.state = 'queued' AND q.priority = jobs.priority"         \
    " AND (q.created_at, q.id) < (jobs.created_at, jobs.id)) ELSE 0 END AS queue_position"
/* Filled for the page as a whole. */
#define NO_POSITION "0 AS queue_position"

static const char *const wait_names[] = {
    [DB_WAIT_NONE] = NULL,
    [DB_WAIT_BACK_OFF] = "back-off",
    [DB_WAIT_DISK_SPACE] = "disk space",
};

enum { N_WAITS = sizeof(wait_names) / sizeof(wait_names[0]) };

const char *db_wait_name(enum db_wait wait)
{
    return wait_names[wait];
}

const char *db_job_state_name(enum db_job_state state)
{
    return state_names[state];
}

bool db_job_state_parse(const char *name, enum db_job_state *out)
{
    for (int i = 0; i < N_STATES; i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *out = (enum db_job_state)i;
            return true;
        }
    }
    return false;
}

bool db_job_state_is_final(enum db_job_state state)
{
    return state != DB_JOB_QUEUED && state != DB_JOB_RUNNING;
}

/* ---- reading ---- */

static void read_optional_time(struct db_stmt *stmt, const char *column, char out[DB_TIME_SIZE])
{
    out[0] = '\0';
    if (!db_column_is_null(stmt, column))
        db_column_time(stmt, column, out);
}

static char *read_optional_text(struct db_stmt *stmt, const char *column)
{
    return db_column_is_null(stmt, column) ? NULL : db_column_text(stmt, column, DB_TEXT_MAX);
}

enum db_job_state db_job_read_state(struct db_stmt *stmt, const char *column)
{
    char name[16];
    enum db_job_state state = DB_JOB_FAILED;
    db_column_copy(stmt, column, name, sizeof(name));
    if (!db_job_state_parse(name, &state))
        db_column_fault(stmt, column, "does not hold a job's state");
    return state;
}

static enum db_wait read_wait(struct db_stmt *stmt, const char *column)
{
    char name[16];
    if (db_column_is_null(stmt, column))
        return DB_WAIT_NONE;
    db_column_copy(stmt, column, name, sizeof(name));
    for (int i = DB_WAIT_NONE + 1; i < N_WAITS; i++) {
        if (strcmp(name, wait_names[i]) == 0)
            return (enum db_wait)i;
    }
    db_column_fault(stmt, column, "does not hold what a job waits for");
    return DB_WAIT_NONE;
}

static void read_job(struct db_stmt *stmt, void *item)
{
    struct db_job *out = item;
    db_column_id(stmt, "id", "job_", out->id);
    db_column_id(stmt, "project_id", "prj_", out->project_id);
    db_column_id(stmt, "support_set_id", "sup_", out->support_set_id);
    out->support_set_version = db_column_uint32(stmt, "support_set_version");
    db_column_id(stmt, "encoder_id", "enc_", out->encoder_id);
    out->params = db_column_text(stmt, "params", DB_TEXT_MAX);
    out->masks_until = db_column_uint(stmt, "masks_until", INT64_MAX);
    out->priority =
        (int32_t)db_column_int(stmt, "priority", -DB_JOB_PRIORITY_MAX, DB_JOB_PRIORITY_MAX);
    out->state = db_job_read_state(stmt, "state");
    out->cancel_requested = db_column_int(stmt, "cancel_requested", 0, 1) != 0;
    out->n_images = db_column_uint(stmt, "n_images", INT64_MAX);
    out->n_results = db_column_uint(stmt, "n_results", INT64_MAX);
    out->n_chips_done = db_column_uint(stmt, "n_chips_done", INT64_MAX);
    out->n_chips_total = db_column_uint(stmt, "n_chips_total", INT64_MAX);
    out->attempts = db_column_uint32(stmt, "attempts");
    out->n_failures = db_column_uint32(stmt, "n_failures");
    out->waiting_for = read_wait(stmt, "waiting_for");
    out->not_before_ms =
        db_column_uint(stmt, "not_before_ms", (UINT64_C(1) << DB_TIME_MS_BITS) - 1);
    out->error_code = read_optional_text(stmt, "error_code");
    out->error_message = read_optional_text(stmt, "error_message");
    db_column_time(stmt, "created_at", out->created_at);
    read_optional_time(stmt, "started_at", out->started_at);
    read_optional_time(stmt, "finished_at", out->finished_at);
    db_column_copy(stmt, "created_by", out->created_by, sizeof(out->created_by));
    out->queue_position = db_column_uint(stmt, "queue_position", INT64_MAX);
}

/* Memory grows with the rows that are there, whatever the count says. */
static int append_image(struct db_stmt *stmt, struct db_job *job, size_t n_read,
                        size_t *n_allocated, struct error *err)
{
    if (n_read == *n_allocated) {
        size_t n = *n_allocated == 0 ? 8 : *n_allocated * 2;
        void *ids = reallocarray(job->image_ids, n, sizeof(*job->image_ids));
        if (ids == NULL)
            return error_set_nomem(err, "a job's images");
        job->image_ids = ids;
        *n_allocated = n;
    }
    db_column_id(stmt, "image_id", "img_", job->image_ids[n_read]);
    return db_stmt_fault(stmt, err);
}

static int read_images(struct db_connection *connection, void *item, struct error *err)
{
    struct db_job *job = item;
    struct db_stmt *stmt = NULL;
    size_t n_read = 0, n_allocated = 0;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, connection, "reading a job's images",
                             "SELECT image_id FROM job_images WHERE job_id = ?"
                             " ORDER BY image_index",
                             err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, job->id);
    while (rc == 0 && (step = db_stmt_step(stmt, err)) > 0)
        rc = append_image(stmt, job, n_read++, &n_allocated, err);
    db_stmt_finish(stmt);
    if (rc == 0)
        rc = step;
    if (rc == 0 && n_read != job->n_images)
        rc = error_set(err, ERROR_CORRUPT, "database: job %s has %zu images and not %zu", job->id,
                       n_read, job->n_images);
    return rc;
}

static void clear_job(void *item)
{
    db_job_clear(item);
}

static const struct db_kind job_rows = {
    .name = "jobs", .size = sizeof(struct db_job), .read = read_job, .clear = clear_job};
static const struct db_kind jobs = {.name = "jobs",
                                    .size = sizeof(struct db_job),
                                    .read = read_job,
                                    .complete = read_images,
                                    .clear = clear_job};

static int find(struct db_connection *connection, const struct db_kind *kind, const char *id,
                struct db_job *out, struct error *err)
{
    int rc = db_kind_find(kind, connection, "reading a job",
                          "SELECT " COLUMNS POSITION " FROM jobs WHERE id = ?", id, out, err);
    if (rc == ERROR_NOT_FOUND)
        rc = error_set(err, ERROR_NOT_FOUND, "there is no job %.40s", id);
    return rc;
}

int db_job_read(struct db_connection *connection, const char *id, struct db_job *out,
                struct error *err)
{
    return find(connection, &jobs, id, out, err);
}

int db_job_read_row(struct db_connection *connection, const char *id, struct db_job *out,
                    struct error *err)
{
    return find(connection, &job_rows, id, out, err);
}

int db_job_get(struct db *db, const char *id, struct db_job *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_job_read(reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_job_get_row(struct db *db, const char *id, struct db_job *out, struct error *err)
{
    struct db_connection *reader = NULL;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_job_read_row(reader, id, out, err);
    db_read_end(db, reader);
    return rc;
}

int db_job_step_id(struct db_stmt *stmt, char id[DB_ID_SIZE], struct error *err)
{
    int rc;
    while ((rc = db_stmt_step_one(stmt, err)) == 0) {
        db_column_id(stmt, "id", "job_", id);
        if (!db_stmt_pass_over(stmt))
            return db_stmt_fault(stmt, err);
    }
    return rc;
}

/* ---- lists ---- */

static int compare_ids(const void *a, const void *b)
{
    const struct db_job *const *x = a, *const *y = b;
    return strcmp((*x)->id, (*y)->id);
}

/* Walks along the queue, once for all jobs of a page, until each of them has been passed.
 * `waiting`: the page's queued jobs, by id. */
static int walk_queue(struct db_connection *reader, struct db_job **waiting, size_t n_waiting,
                      struct error *err)
{
    struct db_stmt *stmt = NULL;
    size_t n_left = n_waiting;
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "counting the jobs ahead",
                             "SELECT id FROM jobs WHERE state = 'queued'"
                             " ORDER BY priority DESC, created_at, id",
                             err);
    if (rc != 0)
        return rc;
    for (uint64_t i = 0; n_left > 0 && (step = db_stmt_step(stmt, err)) > 0; i++) {
        struct db_job wanted, *key = &wanted, **found = NULL;
        db_column_copy(stmt, "id", wanted.id, sizeof(wanted.id));
        if (db_stmt_fault(stmt, NULL) == 0)
            found = bsearch(&key, waiting, n_waiting, sizeof(waiting[0]), compare_ids);
        if (found == NULL)
            continue;
        (*found)->queue_position = i;
        n_left--;
    }
    db_stmt_finish(stmt);
    return step < 0 ? step : 0;
}

static int number_queued(struct db_connection *reader, const struct db_items *items,
                         struct error *err)
{
    struct db_job *page = items->items;
    size_t n_waiting = 0;
    struct db_job **waiting = calloc(items->n_items + 1, sizeof(waiting[0]));
    if (waiting == NULL)
        return error_set_nomem(err, "a list of jobs");
    for (size_t i = 0; i < items->n_items; i++) {
        if (page[i].state == DB_JOB_QUEUED)
            waiting[n_waiting++] = &page[i];
    }
    qsort(waiting, n_waiting, sizeof(waiting[0]), compare_ids);
    int rc = n_waiting == 0 ? 0 : walk_queue(reader, waiting, n_waiting, err);
    free(waiting);
    return rc;
}

int db_job_list(struct db *db, const char *project_id, const enum db_job_state *state,
                const struct db_page *page, struct db_job_list *out, struct error *err)
{
    static const char all[] = "SELECT " COLUMNS NO_POSITION " FROM jobs WHERE project_id = ?"
                              " AND (created_at, id) > (?, ?)"
                              " ORDER BY created_at, id LIMIT ?";
    static const char in_state[] =
        "SELECT " COLUMNS NO_POSITION " FROM jobs WHERE project_id = ? AND state = ?"
        " AND (created_at, id) > (?, ?)"
        " ORDER BY created_at, id LIMIT ?";
    const struct db_listing listing = {.kind = &job_rows,
                                       .complete = number_queued,
                                       .what =
                                           state == NULL ? "listing jobs" : "listing jobs by state",
                                       .sql = state == NULL ? all : in_state,
                                       .owner_id = project_id,
                                       .require = db_project_require,
                                       .filter = state == NULL ? NULL : db_job_state_name(*state)};
    struct db_items found;
    int rc = db_page_read(db, &listing, page, &found, err);
    if (rc == 0)
        *out = (struct db_job_list){found.items, found.n_items, found.more, found.n_damaged};
    return rc;
}

int db_job_count(struct db_connection *connection, enum db_job_state state, uint64_t *out,
                 struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "counting jobs",
                             "SELECT COUNT(*) AS n FROM jobs WHERE state = ?", err);
    if (rc != 0)
        return rc;
    db_bind_text(stmt, db_job_state_name(state));
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        *out = db_column_uint(stmt, "n", INT64_MAX);
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    return rc;
}

static int count_damaged(struct db_connection *reader, uint64_t *out, struct error *err)
{
    struct db_stmt *stmt = NULL;
    char id[DB_ID_SIZE];
    int step = 0;
    int rc = db_stmt_prepare(&stmt, reader, "looking for jobs without an id",
                             "SELECT id FROM jobs WHERE state IN ('queued', 'running')", err);
    if (rc != 0)
        return rc;
    while ((step = db_stmt_step(stmt, err)) > 0) {
        db_column_id(stmt, "id", "job_", id);
        *out += db_stmt_pass_over(stmt);
    }
    db_stmt_finish(stmt);
    return step;
}

int db_job_count_damaged(struct db *db, uint64_t *out, struct error *err)
{
    struct db_connection *reader = NULL;
    uint64_t n = 0;
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = count_damaged(reader, &n, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = n;
    return rc;
}

int db_job_counts(struct db *db, struct db_job_counts *out, struct error *err)
{
    struct db_connection *reader = NULL;
    struct db_job_counts found = {0};
    int rc = db_read_begin(db, &reader, err);
    if (rc != 0)
        return rc;
    rc = db_job_count(reader, DB_JOB_QUEUED, &found.n_queued, err);
    if (rc == 0)
        rc = db_job_count(reader, DB_JOB_RUNNING, &found.n_running, err);
    db_read_end(db, reader);
    if (rc == 0)
        *out = found;
    return rc;
}

void db_job_clear(struct db_job *job)
{
    free(job->params);
    free(job->image_ids);
    free(job->error_code);
    free(job->error_message);
    *job = (struct db_job){0};
}

void db_job_list_clear(struct db_job_list *list)
{
    for (size_t i = 0; i < list->n_items; i++)
        db_job_clear(&list->items[i]);
    free(list->items);
    *list = (struct db_job_list){0};
}
