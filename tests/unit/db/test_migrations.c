#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <unistd.h>

#include "db/migrations.h"
#include "db/stmt.h"

static const struct db_migration steps[] = {
    {"one", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)"},
    {"two", "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x * 2"},
    {"three", "CREATE TABLE b (z INTEGER); CREATE TABLE a (x INTEGER)"},
};

static struct db_connection *open_file(struct fixture *f, const char *name)
{
    char path[700];
    struct db_connection *connection = NULL;
    fixture_path(f, name, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_ok(db_connection_open(&connection, path, DB_CONNECTION_WRITER, &f->err));
    return connection;
}

static int64_t query(struct fixture *f, struct db_connection *connection, const char *sql)
{
    struct db_stmt *stmt = NULL;
    assert_ok(db_stmt_prepare(&stmt, connection, "asking", sql, &f->err));
    assert_ok(db_stmt_step_one(stmt, &f->err));
    int64_t value = db_column_int(stmt, 0, INT64_MIN, INT64_MAX);
    assert_ok(db_stmt_fault(stmt, &f->err));
    db_stmt_finish(stmt);
    return value;
}

static void an_old_version_migrates_up(void **state)
{
    struct fixture *f = *state;
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "old");
    assert_ok(db_migrate_with(connection, "old", steps, 1, &f->err));
    db_connection_close(connection);
    connection = open_file(f, "old");
    assert_ok(db_migrate_with(connection, "old", steps, 2, &f->err));
    assert_ok(db_migrate_with(connection, "old", steps, 2, &f->err));
    assert_ok(db_connection_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(query(f, connection, "SELECT y FROM a"), 14);
    db_connection_close(connection);
}

static void a_failed_step_leaves_the_version_before(void **state)
{
    struct fixture *f = *state;
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "failing");
    assert_int_equal(db_migrate_with(connection, "failing", steps, 3, &f->err), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "three"));
    assert_ok(db_connection_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(query(f, connection, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'b'"),
                     0);
    db_connection_close(connection);
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    static char before[1 << 20], after[1 << 20];
    fixture_fill(f);
    fixture_close(f);
    fixture_edit(f, "PRAGMA user_version = 99");
    size_t n_before = fixture_read_file(f, "chipshot.sqlite", before, sizeof(before));
    size_t n_wal =
        fixture_read_file(f, "chipshot.sqlite-wal", before + n_before, sizeof(before) / 2);
    assert_true(n_before > 0 && n_wal > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_open(f), ERROR_CONFLICT);
        assert_non_null(strstr(f->err.message, "has schema version 99"));
        assert_non_null(strstr(f->err.message, "knows versions up to "));
        assert_non_null(strstr(f->err.message, "newer chipshot"));
    }
    assert_int_equal(fixture_read_file(f, "chipshot.sqlite", after, sizeof(after)), n_before);
    assert_int_equal(
        fixture_read_file(f, "chipshot.sqlite-wal", after + n_before, sizeof(after) / 2), n_wal);
    assert_memory_equal(before, after, n_before + n_wal);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_old_version_migrates_up),
        TEST(a_failed_step_leaves_the_version_before),
        TEST(a_newer_version_is_refused_and_left_alone),
    };
    return test_run(tests);
}
