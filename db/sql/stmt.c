/* The SQLite side of db/sql/stmt.h; what needs no SQLite is in db/sql/column.c.
 *
 * Invariants: a connection is used by one thread at a time (SQLITE_OPEN_NOMUTEX is safe so); each
 * statement in `cache` is either idle (reset, no bindings) or `in_use`; a statement asked for while
 * it is in use is prepared a second time and not kept.
 */
#include "db/sql/stmt.h"

#include <assert.h>
#include <errno.h>
#include <math.h>

#include <sqlite3.h>

#include "base/utf8.h"

enum {
    BUSY_TIMEOUT_MS = 10000,     /* only an outside program can hold the lock */
    CACHED_STATEMENTS_MAX = 128, /* more than there are SQL texts in db/ */
};

enum durability {
    DURABLE,  /* a commit waits for the disk */
    VOLATILE, /* it does not */
};

struct db_connection {
    sqlite3 *handle;
    enum db_connection_mode mode;
    struct db_stmt *cache[CACHED_STATEMENTS_MAX];
    size_t n_cached;
    enum durability durability;
    struct db_work work;
};

struct db_stmt {
    struct db_connection *connection;
    sqlite3_stmt *handle;
    const char *sql;  /* the caller's constant */
    const char *what; /* the caller's constant */
    int n_bound;
    const char *last_name; /* of the column that was found last, the caller's constant */
    int last_column;       /* where it is; mostly the next one is asked for then */
    bool in_use;
    bool cached;
    struct error fault; /* code 0: none */
};

/* ---- errors ---- */

static bool is_full(int os_error)
{
    return os_error == ENOSPC || os_error == EDQUOT || os_error == EFBIG;
}

/* The system's reason for a failed call, 0 when there is none to be had. SQLite does not keep it
 * when a commit fails; then errno, cleared before each step, still has it if it is the one of a
 * full disk (another value may come from SQLite's cleaning up). */
static int system_errno(sqlite3 *handle)
{
    int errno_value = errno;
    int kept = handle != NULL ? sqlite3_system_errno(handle) : 0;
    return kept == 0 && is_full(errno_value) ? errno_value : kept;
}

static enum error_code code_of(int result, int os_error)
{
    switch (result & 0xff) {
    case SQLITE_FULL:
        return ERROR_FULL;
    case SQLITE_NOMEM:
        return ERROR_NOMEM;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: /* also when there are no descriptors left */
        if (result == SQLITE_IOERR_NOMEM || os_error == ENOMEM)
            return ERROR_NOMEM;
        return is_full(os_error) ? ERROR_FULL : ERROR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_PROTOCOL:
    case SQLITE_NOLFS:
        return ERROR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ERROR_BUSY;
    case SQLITE_CONSTRAINT:
        return ERROR_CONFLICT;
    case SQLITE_TOOBIG:
        return ERROR_INVALID;
    case SQLITE_INTERRUPT:
        return ERROR_CANCELLED;
    }
    /* CORRUPT and NOTADB; and ERROR, SCHEMA, MISMATCH ..., which constant SQL gives only on a
     * schema that is not the one the migrations made. */
    return ERROR_CORRUPT;
}

static int set_error(struct error *err, sqlite3 *handle, int result, const char *what)
{
    int os_error = system_errno(handle);
    const char *text = handle != NULL ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
    bool from_system = (result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN;
    enum error_code code = code_of(result, os_error);
    if (!from_system || os_error == 0)
        return error_set(err, code, "database: %s: %s", what, text);
    error_set_errno(err, os_error, "database: %s: %s", what, text);
    if (err != NULL)
        err->code = code;
    return code;
}

/* ---- connections ---- */

static int run(struct db_connection *connection, const char *what, const char *sql,
               struct error *err)
{
    int result = sqlite3_exec(connection->handle, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : set_error(err, connection->handle, result, what);
}

static void harden(sqlite3 *handle)
{
    /* Options that this SQLite was built without are no loss, so results are not looked at. */
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    /* Readers must never checkpoint; the writer may once it is known that the file is ours. */
    sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_limit(handle, SQLITE_LIMIT_ATTACHED, 1); /* VACUUM INTO attaches what it makes */
}

int db_connection_open(struct db_connection **out, const char *path, enum db_connection_mode mode,
                       struct error *err)
{
    struct db_connection *connection = calloc(1, sizeof(*connection));
    if (connection == NULL)
        return error_set_nomem(err, "a database connection");
    connection->mode = mode;
    int flags = mode == DB_CONNECTION_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
    int result = sqlite3_open_v2(path, &connection->handle,
                                 flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    int rc = 0;
    if (result != SQLITE_OK) {
        rc = set_error(err, connection->handle, result, "opening");
        goto out;
    }
    sqlite3_extended_result_codes(connection->handle, 1);
    sqlite3_busy_timeout(connection->handle, BUSY_TIMEOUT_MS);
    harden(connection->handle);
    rc = run(connection, "opening",
             "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
             "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
             err);
    if (rc == 0 && mode == DB_CONNECTION_READER)
        rc = run(connection, "opening for reading", "PRAGMA query_only = ON", err);
out:
    if (rc == 0)
        *out = connection;
    else
        db_connection_close(connection);
    return rc;
}

int db_connection_enable_writes(struct db_connection *connection, struct error *err)
{
    assert(connection->mode == DB_CONNECTION_WRITER);
    struct db_stmt *stmt = NULL;
    char mode[16] = "";
    int rc = db_stmt_prepare(&stmt, connection, "switching to the write-ahead log",
                             "PRAGMA journal_mode = WAL", err);
    if (rc != 0)
        return rc;
    rc = db_stmt_step_one(stmt, err);
    if (rc == 0) {
        db_column_copy(stmt, "journal_mode", mode, sizeof(mode));
        rc = db_stmt_fault(stmt, err);
    }
    db_stmt_finish(stmt);
    if (rc != 0)
        return rc;
    if (strcmp(mode, "wal") != 0)
        return error_set(err, ERROR_IO,
                         "database: the file system does not support a write-ahead log "
                         "(journal mode stays \"%s\")",
                         mode);
    sqlite3_db_config(connection->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return run(connection, "opening for writing", "PRAGMA synchronous = FULL", err);
}

void db_connection_close(struct db_connection *connection)
{
    if (connection == NULL)
        return;
    for (size_t i = 0; i < connection->n_cached; i++) {
        assert(!connection->cache[i]->in_use);
        sqlite3_finalize(connection->cache[i]->handle);
        free(connection->cache[i]);
    }
    sqlite3_close(connection->handle);
    free(connection);
}

int db_connection_run_script(struct db_connection *connection, const char *what, const char *sql,
                             struct error *err)
{
    return run(connection, what, sql, err);
}

/* Not within a transaction. */
static int set_durability(struct db_connection *connection, enum durability durability,
                          struct error *err)
{
    if (connection->mode != DB_CONNECTION_WRITER || connection->durability == durability)
        return 0;
    int rc = run(
        connection, "beginning to write",
        durability == VOLATILE ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", err);
    if (rc == 0)
        connection->durability = durability;
    return rc;
}

static int begin(struct db_connection *connection, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = connection->mode == DB_CONNECTION_WRITER
                 ? db_stmt_prepare(&stmt, connection, "beginning to write", "BEGIN IMMEDIATE", err)
                 : db_stmt_prepare(&stmt, connection, "beginning to read", "BEGIN", err);
    return rc != 0 ? rc : db_stmt_run(stmt, NULL, err);
}

int db_connection_begin(struct db_connection *connection, struct error *err)
{
    int rc = set_durability(connection, DURABLE, err);
    return rc != 0 ? rc : begin(connection, err);
}

int db_connection_begin_volatile(struct db_connection *connection, struct error *err)
{
    int rc = set_durability(connection, VOLATILE, err);
    return rc != 0 ? rc : begin(connection, err);
}

int db_connection_commit(struct db_connection *connection, struct error *err)
{
    struct db_stmt *stmt = NULL;
    int rc = db_stmt_prepare(&stmt, connection, "committing", "COMMIT", err);
    return rc != 0 ? rc : db_stmt_run(stmt, NULL, err);
}

void db_connection_rollback(struct db_connection *connection)
{
    /* After a full disk or an I/O error SQLite may have rolled back by itself. */
    if (sqlite3_get_autocommit(connection->handle))
        return;
    struct db_stmt *stmt = NULL;
    if (db_stmt_prepare(&stmt, connection, "rolling back", "ROLLBACK", NULL) == 0)
        db_stmt_run(stmt, NULL, NULL);
}

/* ---- statements ---- */

int db_stmt_prepare(struct db_stmt **out, struct db_connection *connection, const char *what,
                    const char *sql, struct error *err)
{
    bool keep = connection->n_cached < CACHED_STATEMENTS_MAX;
    for (size_t i = 0; i < connection->n_cached; i++) {
        struct db_stmt *cached = connection->cache[i];
        if (cached->sql != sql)
            continue;
        assert(strcmp(sqlite3_sql(cached->handle), sql) == 0);
        if (cached->in_use) {
            keep = false;
            break;
        }
        cached->in_use = true;
        cached->what = what;
        *out = cached;
        return 0;
    }
    struct db_stmt *stmt = calloc(1, sizeof(*stmt));
    if (stmt == NULL)
        return error_set_nomem(err, "a database statement");
    stmt->connection = connection;
    stmt->sql = sql;
    stmt->what = what;
    stmt->in_use = true;
    int result = sqlite3_prepare_v3(connection->handle, sql, -1,
                                    keep ? SQLITE_PREPARE_PERSISTENT : 0, &stmt->handle, NULL);
    if (result != SQLITE_OK) {
        int rc = set_error(err, connection->handle, result, what);
        free(stmt);
        return rc;
    }
    if (keep) {
        stmt->cached = true;
        connection->cache[connection->n_cached++] = stmt;
    }
    *out = stmt;
    return 0;
}

static uint64_t take_count(struct db_stmt *stmt, int counter)
{
    return (uint32_t)sqlite3_stmt_status(stmt->handle, counter, 1);
}

struct db_work db_connection_work(const struct db_connection *connection)
{
    return connection->work;
}

void db_stmt_finish(struct db_stmt *stmt)
{
    if (stmt == NULL)
        return;
    struct db_work *work = &stmt->connection->work;
    work->n_steps += take_count(stmt, SQLITE_STMTSTATUS_VM_STEP);
    work->n_scanned += take_count(stmt, SQLITE_STMTSTATUS_FULLSCAN_STEP);
    work->n_sorts += take_count(stmt, SQLITE_STMTSTATUS_SORT);
    if (!stmt->cached) {
        sqlite3_finalize(stmt->handle);
        free(stmt);
        return;
    }
    sqlite3_reset(stmt->handle);
    sqlite3_clear_bindings(stmt->handle);
    stmt->n_bound = 0;
    stmt->fault.code = 0;
    stmt->in_use = false;
}

static void note_bind(struct db_stmt *stmt, int result)
{
    if (result != SQLITE_OK && stmt->fault.code == 0)
        set_error(&stmt->fault, stmt->connection->handle, result, stmt->what);
}

static void note_invalid(struct db_stmt *stmt, const char *problem)
{
    if (stmt->fault.code == 0)
        error_set(&stmt->fault, ERROR_INVALID, "%s: %s", stmt->what, problem);
}

static void bind_text(struct db_stmt *stmt, const char *text, size_t max_size)
{
    int index = ++stmt->n_bound;
    if (text == NULL) {
        note_bind(stmt, sqlite3_bind_null(stmt->handle, index));
        return;
    }
    size_t size = strlen(text);
    if (size > max_size)
        note_invalid(stmt, "a text is too long");
    else if (!utf8_is_text(text, size))
        note_invalid(stmt, "a text is not UTF-8");
    else
        note_bind(stmt, sqlite3_bind_text(stmt->handle, index, text, (int)size, SQLITE_STATIC));
}

void db_bind_text(struct db_stmt *stmt, const char *text)
{
    bind_text(stmt, text, DB_TEXT_MAX);
}

void db_bind_name(struct db_stmt *stmt, const char *name)
{
    bind_text(stmt, name, DB_NAME_MAX);
}

void db_bind_int(struct db_stmt *stmt, int64_t value)
{
    note_bind(stmt, sqlite3_bind_int64(stmt->handle, ++stmt->n_bound, value));
}

void db_bind_uint(struct db_stmt *stmt, uint64_t value)
{
    if (value > INT64_MAX)
        note_invalid(stmt, "a number is over 2^63 - 1");
    note_bind(stmt, sqlite3_bind_int64(stmt->handle, ++stmt->n_bound, (int64_t)value));
}

void db_bind_double(struct db_stmt *stmt, double value)
{
    if (!isfinite(value))
        note_invalid(stmt, "a number is not finite");
    note_bind(stmt, sqlite3_bind_double(stmt->handle, ++stmt->n_bound, value));
}

void db_bind_blob(struct db_stmt *stmt, const void *data, size_t size)
{
    note_bind(stmt, sqlite3_bind_blob64(stmt->handle, ++stmt->n_bound, data, size, SQLITE_STATIC));
}

int db_stmt_fault(struct db_stmt *stmt, struct error *err)
{
    if (stmt->fault.code == 0)
        return 0;
    if (err != NULL)
        *err = stmt->fault;
    return stmt->fault.code;
}

bool db_stmt_pass_over(struct db_stmt *stmt)
{
    if (stmt->fault.code != ERROR_CORRUPT)
        return false;
    stmt->fault.code = 0;
    return true;
}

int db_stmt_step(struct db_stmt *stmt, struct error *err)
{
    int rc = db_stmt_fault(stmt, err);
    if (rc != 0)
        return rc;
    assert(stmt->n_bound == sqlite3_bind_parameter_count(stmt->handle));
    errno = 0;
    int result = sqlite3_step(stmt->handle);
    if (result == SQLITE_ROW)
        return 1;
    if (result == SQLITE_DONE)
        return 0;
    return set_error(err, stmt->connection->handle, result, stmt->what);
}

int db_stmt_step_one(struct db_stmt *stmt, struct error *err)
{
    int rc = db_stmt_step(stmt, err);
    if (rc == 0)
        return error_set(err, ERROR_NOT_FOUND, "database: %s: nothing found", stmt->what);
    return rc > 0 ? 0 : rc;
}

int db_stmt_run(struct db_stmt *stmt, uint64_t *n_changed, struct error *err)
{
    int rc = db_stmt_step(stmt, err);
    assert(rc <= 0);
    if (rc == 0 && n_changed != NULL)
        *n_changed = (uint64_t)sqlite3_changes64(stmt->connection->handle);
    db_stmt_finish(stmt);
    return rc;
}

/* ---- columns ---- */

/* -1 and a fault when the statement has no such column, which SQLite then reads as NULL. */
static int find_column(struct db_stmt *stmt, const char *name)
{
    if (name == stmt->last_name)
        return stmt->last_column;
    const int n_columns = sqlite3_column_count(stmt->handle);
    for (int i = 1; i <= n_columns; i++) {
        const int column = (stmt->last_column + i) % n_columns;
        if (sqlite3_stricmp(sqlite3_column_name(stmt->handle, column), name) == 0) {
            stmt->last_name = name;
            stmt->last_column = column;
            return column;
        }
    }
    db_column_fault(stmt, name, "is missing");
    return -1;
}

void db_column_fault(struct db_stmt *stmt, const char *column, const char *problem)
{
    if (stmt->fault.code == 0)
        error_set(&stmt->fault, ERROR_CORRUPT, "database: %s: column %s %s", stmt->what, column,
                  problem);
}

bool db_column_is_null(struct db_stmt *stmt, const char *column)
{
    return sqlite3_column_type(stmt->handle, find_column(stmt, column)) == SQLITE_NULL;
}

/* The text of a column, borrowed; NULL with a fault. */
static const char *peek_text(struct db_stmt *stmt, const char *column, size_t max_size,
                             size_t *size)
{
    const int at = find_column(stmt, column);
    if (sqlite3_column_type(stmt->handle, at) != SQLITE_TEXT) {
        db_column_fault(stmt, column, "does not hold text");
        return NULL;
    }
    const unsigned char *text = sqlite3_column_text(stmt->handle, at);
    if (text == NULL) {
        if (stmt->fault.code == 0)
            error_set_nomem(&stmt->fault, "a text of the database");
        return NULL;
    }
    *size = (size_t)sqlite3_column_bytes(stmt->handle, at);
    if (*size > max_size) {
        db_column_fault(stmt, column, "holds a text that is too long");
        return NULL;
    }
    if (!utf8_is_text((const char *)text, *size)) {
        db_column_fault(stmt, column, "holds text that is not UTF-8");
        return NULL;
    }
    return (const char *)text;
}

char *db_column_text(struct db_stmt *stmt, const char *column, size_t max_size)
{
    size_t size = 0;
    const char *text = peek_text(stmt, column, max_size, &size);
    if (text == NULL)
        return NULL;
    char *copy = malloc(size + 1);
    if (copy == NULL) {
        if (stmt->fault.code == 0)
            error_set_nomem(&stmt->fault, "a text of the database");
        return NULL;
    }
    memcpy(copy, text, size + 1);
    return copy;
}

void db_column_copy(struct db_stmt *stmt, const char *column, char *out, size_t out_size)
{
    size_t size = 0;
    const char *text = peek_text(stmt, column, out_size - 1, &size);
    out[0] = '\0';
    if (text != NULL)
        memcpy(out, text, size + 1);
}

int64_t db_column_int(struct db_stmt *stmt, const char *column, int64_t min, int64_t max)
{
    const int at = find_column(stmt, column);
    if (sqlite3_column_type(stmt->handle, at) != SQLITE_INTEGER) {
        db_column_fault(stmt, column, "does not hold an integer");
        return min;
    }
    int64_t value = sqlite3_column_int64(stmt->handle, at);
    if (value < min || value > max) {
        db_column_fault(stmt, column, "holds a number out of range");
        return min;
    }
    return value;
}

double db_column_double(struct db_stmt *stmt, const char *column)
{
    const int at = find_column(stmt, column);
    int type = sqlite3_column_type(stmt->handle, at);
    double value = sqlite3_column_double(stmt->handle, at);
    if ((type != SQLITE_FLOAT && type != SQLITE_INTEGER) || !isfinite(value)) {
        db_column_fault(stmt, column, "does not hold a finite number");
        return 0;
    }
    return value;
}

const void *db_column_blob(struct db_stmt *stmt, const char *column, size_t size)
{
    const int at = find_column(stmt, column);
    if (sqlite3_column_type(stmt->handle, at) != SQLITE_BLOB ||
        (size_t)sqlite3_column_bytes(stmt->handle, at) != size) {
        db_column_fault(stmt, column, "does not hold a blob of the right size");
        return NULL;
    }
    const void *data = sqlite3_column_blob(stmt->handle, at);
    if (data == NULL && stmt->fault.code == 0)
        error_set_nomem(&stmt->fault, "a blob of the database");
    return data;
}

int db_connection_read_blob(struct db_connection *connection, const struct db_blob_place *place,
                            uint64_t offset, size_t size, void *out, struct error *err)
{
    sqlite3_blob *blob = NULL;
    int result = sqlite3_blob_open(connection->handle, "main", place->table, place->column,
                                   place->row, 0, &blob);
    /* A cast cannot wrap: SQLite's blobs are shorter than 2^31. */
    if (result == SQLITE_OK && (uint64_t)sqlite3_blob_bytes(blob) != place->size) {
        sqlite3_blob_close(blob);
        return error_set(err, ERROR_CORRUPT,
                         "database: %s: column %s does not hold a blob of the right size",
                         place->what, place->column);
    }
    if (result == SQLITE_OK)
        result = sqlite3_blob_read(blob, out, (int)size, (int)offset);
    int rc = result == SQLITE_OK ? 0 : set_error(err, connection->handle, result, place->what);
    sqlite3_blob_close(blob);
    return rc;
}
