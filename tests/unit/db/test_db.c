#include "tests/unit/db/fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static void check_writes_reads_and_measures(void **state)
{
    struct fixture *f = *state;
    assert_ok(db_check(f->db, &f->err));
    assert_ok(db_check(f->db, &f->err));
}

/* ---- damage ---- */

static void another_programs_database_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    fixture_edit(f, "PRAGMA application_id = 252006673");
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "another program"));
}

static void garbage_is_no_database(void **state)
{
    struct fixture *f = *state;
    char text[5000];
    fixture_close(f);
    memset(text, 'g', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fixture_write_file(f, "chipshot.sqlite", text);
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "not a database"));
    /* Refused, not replaced. */
    assert_int_equal(fixture_read_file(f, "chipshot.sqlite", text, sizeof(text)), sizeof(text) - 1);
    assert_int_equal(text[100], 'g');
}

static void a_truncated_database_is_corrupt(void **state)
{
    struct fixture *f = *state;
    char path[700];
    struct stat status;
    struct db_job_list list;
    char id[DB_ID_SIZE];
    fixture_fill(f);
    for (int i = 0; i < 100; i++)
        assert_ok(fixture_add_job(f, 0, id));
    fixture_close(f);
    fixture_path(f, "chipshot.sqlite", path);
    assert_ok(stat(path, &status));
    assert_ok(truncate(path, status.st_size / 2));
    int rc = fixture_open(f);
    if (rc == 0) {
        assert_int_equal(db_integrity_check(f->db, f->store, &f->err), ERROR_CORRUPT);
        rc = db_job_list(f->db, f->project_id, NULL, &(struct db_page){.limit = 1000}, &list,
                         &f->err);
    }
    assert_int_equal(rc, ERROR_CORRUPT);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(check_writes_reads_and_measures),
        TEST(another_programs_database_is_refused),
        TEST(garbage_is_no_database),
        TEST(a_truncated_database_is_corrupt),
    };
    return test_run(tests);
}
