#include "tests/unit/db/fixture.h"

#include "db/results/verifications.h"

/* Three chips of a job of two classes; the arrays are the caller's. */
struct drawn {
    struct db_stratum strata[3];
    struct db_verification_chip chips[3];
    struct db_verification verification;
};

static void prepare(struct fixture *f, struct drawn *out)
{
    char job_id[DB_ID_SIZE];
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, job_id));
    *out = (struct drawn){.strata = {{70, 2}, {30, 1}, {1, 0}}};
    for (uint32_t i = 0; i < 3; i++) {
        out->chips[i] = (struct db_verification_chip){.chip = 10 + i, .x = i, .stratum = 2 - i};
        memcpy(out->chips[i].image_id, f->image_id, DB_ID_SIZE);
    }
    out->verification = (struct db_verification){.seed = INT64_MAX,
                                                 .n_images = 1,
                                                 .area_nm2 = 12.5,
                                                 .n_chips = 3,
                                                 .strata = out->strata,
                                                 .n_strata = 3,
                                                 .chips = out->chips,
                                                 .created_by = "key_a"};
    memcpy(out->verification.job_id, job_id, DB_ID_SIZE);
}

static void answer(struct fixture *f, const char *id, uint32_t index, int32_t answer)
{
    const struct db_verification_answer one = {index, answer};
    assert_ok(db_verification_answer(f->db, id, &one, 1, 0, &fixture_principal, &f->err));
}

static void a_verification_is_read_as_it_was_drawn(void **state)
{
    struct fixture *f = *state;
    struct drawn drawn;
    struct db_verification read;
    prepare(f, &drawn);
    assert_ok(db_verification_insert(f->db, &drawn.verification, &f->err));
    assert_ok(db_verification_get(f->db, drawn.verification.id, &read, &f->err));
    assert_string_equal(read.job_id, drawn.verification.job_id);
    assert_true(read.seed == INT64_MAX && read.n_images == 1 && read.area_nm2 == 12.5);
    assert_true(read.revision == 1 && read.n_answered == 0);
    assert_string_equal(read.created_by, "key_a");
    assert_int_equal(read.n_strata, 3);
    assert_memory_equal(read.strata, drawn.strata, sizeof(drawn.strata));
    assert_int_equal(read.n_chips, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(read.chips[i].image_id, f->image_id);
        assert_true(read.chips[i].chip == 10 + (uint64_t)i);
        assert_int_equal(read.chips[i].x, i);
        assert_int_equal(read.chips[i].stratum, 2 - i);
        assert_int_equal(read.chips[i].answer, DB_ANSWER_OPEN);
    }
    db_verification_clear(&read);
}

static void answers_raise_the_revision_only_when_they_change(void **state)
{
    struct fixture *f = *state;
    struct drawn drawn;
    struct db_verification read;
    prepare(f, &drawn);
    assert_ok(db_verification_insert(f->db, &drawn.verification, &f->err));
    const char *id = drawn.verification.id;
    answer(f, id, 0, 1);
    answer(f, id, 0, 1);
    answer(f, id, 2, DB_ANSWER_UNSURE);
    assert_ok(db_verification_get(f->db, id, &read, &f->err));
    assert_true(read.revision == 3 && read.n_answered == 2);
    assert_int_equal(read.chips[0].answer, 1);
    assert_int_equal(read.chips[2].answer, DB_ANSWER_UNSURE);
    db_verification_clear(&read);
    const struct db_verification_answer late = {1, 0}, none = {3, 0}, wrong = {1, 2};
    assert_int_equal(db_verification_answer(f->db, id, &late, 1, 2, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
    assert_int_equal(db_verification_answer(f->db, id, &none, 1, 0, &fixture_principal, &f->err),
                     ERROR_INVALID);
    /* All or nothing. */
    const struct db_verification_answer both[] = {late, wrong};
    assert_int_equal(db_verification_answer(f->db, id, both, 2, 0, &fixture_principal, &f->err),
                     ERROR_INVALID);
    assert_ok(db_verification_get(f->db, id, &read, &f->err));
    assert_int_equal(read.chips[1].answer, DB_ANSWER_OPEN);
    db_verification_clear(&read);
}

static void what_cannot_be_stored_is_refused(void **state)
{
    struct fixture *f = *state;
    struct drawn drawn;
    prepare(f, &drawn);
    drawn.chips[0].stratum = 3;
    assert_int_equal(db_verification_insert(f->db, &drawn.verification, &f->err), ERROR_INVALID);
    drawn.chips[0].stratum = 0;
    drawn.verification.n_chips = DB_VERIFICATION_CHIPS_MAX + 1;
    assert_int_equal(db_verification_insert(f->db, &drawn.verification, &f->err), ERROR_INVALID);
    drawn.verification.n_chips = 3;
    snprintf(drawn.verification.job_id, DB_ID_SIZE, "job_01JABCDEFGHJKMNPQRSTVWXYZ4");
    assert_int_equal(db_verification_insert(f->db, &drawn.verification, &f->err), ERROR_NOT_FOUND);
}

static void damaged_rows_are_not_answered(void **state)
{
    static const char *const edits[] = {
        "DELETE FROM verification_chips WHERE chip_index = 1",
        "DELETE FROM verification_chips WHERE chip_index = 2",
        "UPDATE verification_chips SET stratum = 3",
        "UPDATE verification_chips SET answer = 2",
        "UPDATE verification_chips SET answer = -4",
        "UPDATE verification_chips SET image_id = 'img_x'",
        "UPDATE verification_chips SET x = -1",
        "DELETE FROM verification_strata WHERE stratum > 0",
        "DELETE FROM verification_strata WHERE stratum = 0",
        "UPDATE verification_strata SET n_chips = 'many'",
        "UPDATE verifications SET n_chips = 1001",
        "UPDATE verifications SET n_chips = 2",
        "UPDATE verifications SET seed = -1",
        "UPDATE verifications SET area_nm2 = 9e999",
    };
    struct fixture *f = *state;
    struct drawn drawn;
    struct db_verification read;
    prepare(f, &drawn);
    assert_ok(db_verification_insert(f->db, &drawn.verification, &f->err));
    fixture_close(f);
    fixture_edit(f, "CREATE TABLE c AS SELECT * FROM verification_chips;"
                    "CREATE TABLE s AS SELECT * FROM verification_strata;"
                    "CREATE TABLE v AS SELECT * FROM verifications");
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        fixture_edit(f, edits[i]);
        assert_ok(fixture_open(f));
        int rc = db_verification_get(f->db, drawn.verification.id, &read, &f->err);
        if (rc != ERROR_CORRUPT)
            fail_msg("%d after %s", rc, edits[i]);
        fixture_close(f);
        fixture_edit(f, "DELETE FROM verifications;"
                        "INSERT INTO verifications SELECT * FROM v;"
                        "INSERT INTO verification_strata SELECT * FROM s;"
                        "INSERT INTO verification_chips SELECT * FROM c");
    }
    assert_ok(fixture_open(f));
    assert_ok(db_verification_get(f->db, drawn.verification.id, &read, &f->err));
    db_verification_clear(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_verification_is_read_as_it_was_drawn, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(answers_raise_the_revision_only_when_they_change,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_stored_is_refused, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(damaged_rows_are_not_answered, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
