/* Columns are found by name, wherever the SELECT has them. */
#include "tests/unit/db/fixture.h"

#include "db/sql/stmt.h"

static struct db_connection *open_reader(struct fixture *f)
{
    struct db_connection *reader = NULL;
    char path[700];
    fixture_path(f, "chipshot.sqlite", path);
    assert_ok(db_connection_open(&reader, path, DB_CONNECTION_READER, &f->err));
    return reader;
}

static struct db_stmt *select_one(struct fixture *f, struct db_connection *reader)
{
    struct db_stmt *stmt = NULL;
    assert_ok(db_stmt_prepare(&stmt, reader, "asking",
                              "SELECT 1 AS a, 'two' AS b, NULL AS c, 4 AS d", &f->err));
    assert_ok(db_stmt_step_one(stmt, &f->err));
    return stmt;
}

static void columns_are_read_in_any_order(void **state)
{
    struct fixture *f = *state;
    struct db_connection *reader = open_reader(f);
    struct db_stmt *stmt = select_one(f, reader);
    char text[8];
    assert_int_equal(db_column_int(stmt, "d", 0, 9), 4);
    assert_int_equal(db_column_int(stmt, "a", 0, 9), 1);
    assert_true(db_column_is_null(stmt, "c"));
    db_column_copy(stmt, "b", text, sizeof(text));
    assert_string_equal(text, "two");
    assert_false(db_column_is_null(stmt, "b"));
    assert_int_equal(db_column_int(stmt, "a", 0, 9), 1);
    assert_ok(db_stmt_fault(stmt, &f->err));
    db_stmt_finish(stmt);
    db_connection_close(reader);
}

/* A name that is written wrong must not read as a value that may be absent. */
static void a_column_that_is_missing_is_a_fault(void **state)
{
    struct fixture *f = *state;
    struct db_connection *reader = open_reader(f);
    for (int i = 0; i < 3; i++) {
        struct db_stmt *stmt = select_one(f, reader);
        if (i == 0)
            assert_int_equal(db_column_int(stmt, "e", 3, 9), 3);
        else if (i == 1)
            assert_null(db_column_text(stmt, "e", 100));
        else
            db_column_is_null(stmt, "e");
        assert_int_equal(db_stmt_fault(stmt, &f->err), ERROR_CORRUPT);
        assert_string_equal(f->err.message, "database: asking: column e is missing");
        db_stmt_finish(stmt);
    }
    db_connection_close(reader);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(columns_are_read_in_any_order),
        TEST(a_column_that_is_missing_is_a_fault),
    };
    return test_run(tests);
}
