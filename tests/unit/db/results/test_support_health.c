#include "tests/unit/db/fixture.h"

#include "db/results/support_health.h"

static int put(struct fixture *f, const struct db_job *job, const struct db_lease *lease,
               const char *text)
{
    struct db_support_health health = {.version = job->support_set_version, .text = (char *)text};
    memcpy(health.support_set_id, job->support_set_id, DB_ID_SIZE);
    memcpy(health.job_id, job->id, DB_ID_SIZE);
    return db_support_health_put(f->db, &health, lease, &f->err);
}

static void the_latest_measurement_stays(void **state)
{
    struct fixture *f = *state;
    struct db_support_health health;
    char ids[2][DB_ID_SIZE];
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    for (int i = 0; i < 2; i++) {
        assert_ok(fixture_add_job(f, 0, ids[i]));
        assert_ok(db_job_claim(f->db, "w", 60000, &job, &lease, &f->err));
        if (i == 0)
            assert_int_equal(db_support_health_get(f->db, job.support_set_id,
                                                   job.support_set_version, &health, &f->err),
                             ERROR_NOT_FOUND);
        assert_ok(put(f, &job, &lease, i == 0 ? "first" : "second"));
        assert_ok(db_support_health_get(f->db, job.support_set_id, job.support_set_version, &health,
                                        &f->err));
        assert_string_equal(health.text, i == 0 ? "first" : "second");
        assert_string_equal(health.job_id, ids[i]);
        assert_int_equal(health.measured_at[0], '2');
        db_support_health_clear(&health);
        assert_int_equal(db_support_health_get(f->db, job.support_set_id,
                                               job.support_set_version + 1, &health, &f->err),
                         ERROR_NOT_FOUND);
        assert_ok(db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
        db_job_clear(&job);
    }
}

static void who_lost_the_lease_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct db_support_health health;
    char id[DB_ID_SIZE];
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    assert_ok(db_job_claim(f->db, "w", 60000, &job, &lease, &f->err));
    assert_ok(db_job_requeue(f->db, &lease, &f->err));
    assert_int_equal(put(f, &job, &lease, "late"), ERROR_CONFLICT);
    assert_int_equal(
        db_support_health_get(f->db, job.support_set_id, job.support_set_version, &health, &f->err),
        ERROR_NOT_FOUND);
    db_job_clear(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_latest_measurement_stays, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(who_lost_the_lease_writes_nothing, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
