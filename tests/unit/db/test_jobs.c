#include "tests/unit/db/fixture.h"

static void smoke(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    assert_ok(db_job_claim(f->db, "w1", 1000, &job, &f->err));
    assert_string_equal(job.id, id);
    db_job_clear(&job);
    assert_ok(db_integrity_check(f->db, &f->err));
    fixture_reopen(f);
}
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(smoke, fixture_setup, fixture_teardown),
    };
    return test_run(tests);
}
