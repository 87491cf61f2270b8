#include "tests/unit/db/fixture.h"

#include <math.h>

#include "db/results/populations.h"

/* What a visit gave: "image class name value;" for each row. */
static int write_row(void *context, const struct db_population_row *row, struct error *err)
{
    (void)err;
    char *text = context;
    const size_t size = strlen(text);
    snprintf(text + size, 500 - size, "%d %d %s %g;", (int)row->image_index,
             row->quantity.class_index, row->quantity.name, row->quantity.value);
    assert_true(row->pixel_x_nm == 0 && row->pixel_y_nm == 0); /* unknown */
    assert_true(row->n_classes == 1 && row->stride_x == 4);
    return 0;
}

static int write_analysis(void *context, const char *image_id, const char *analysis,
                          struct error *err)
{
    (void)err;
    snprintf(context, 500, "%s %s", image_id, analysis);
    return 0;
}

static int stop(void *context, const struct db_population_row *row, struct error *err)
{
    (void)row;
    ++*(int *)context;
    return error_set(err, ERROR_CANCELLED, "enough");
}

static void store(struct fixture *f, const struct db_job *job, const struct db_lease *lease,
                  size_t image, struct db_quantity *quantities, size_t n, char *analysis)
{
    struct fixture_result one;
    fixture_one_chip(f, job->id, &one);
    one.result.stride_x = one.result.stride_y = 4;
    one.result.quantities = quantities;
    one.result.n_quantities = n;
    one.result.analysis = analysis;
    memcpy(one.result.image_id, job->image_ids[image], DB_ID_SIZE);
    assert_ok(db_result_insert(f->db, &one.result, lease, 1, &f->err));
}

/* Two images, in the job's order the other way round than their ids. */
static void prepare(struct fixture *f, char job_id[DB_ID_SIZE], char second[DB_ID_SIZE])
{
    struct db_quantity first_rows[] = {{-1, "unknown_chips", "", 3, NAN, NAN},
                                       {0, "area", "px", 9, NAN, NAN},
                                       {0, "n_chips", "", 1, NAN, NAN}};
    struct db_quantity second_rows[] = {{0, "n_chips", "", 2, NAN, NAN}};
    char ids[2][DB_ID_SIZE];
    struct db_job job = {.support_set_version = 1,
                         .params = (char *)"{}",
                         .image_ids = ids,
                         .n_images = 2,
                         .n_chips_total = 2};
    struct db_lease lease;
    bool replayed;
    fixture_fill(f);
    assert_ok(fixture_add_image(f, f->project_id, "the second image", second));
    memcpy(ids[0], second, DB_ID_SIZE);
    memcpy(ids[1], f->image_id, DB_ID_SIZE);
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    assert_ok(db_job_insert(f->db, &job, 100, NULL, &replayed, &f->err));
    struct db_job claimed;
    assert_ok(db_job_claim(f->db, "w", 10000, &claimed, &lease, &f->err));
    store(f, &claimed, &lease, 0, first_rows, 3, NULL);
    store(f, &claimed, &lease, 1, second_rows, 1, (char *)"{\"a\":1}");
    memcpy(job_id, claimed.id, DB_ID_SIZE);
    db_job_clear(&claimed);
}

static void rows_come_image_by_image(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE], second[DB_ID_SIZE], text[500] = "", wanted[500];
    const char *const names[] = {"n_chips", "nothing"};
    int n_rows = 0;
    prepare(f, job_id, second);
    assert_ok(db_population_visit(f->db, job_id, NULL, 0, write_row, text, &f->err));
    assert_string_equal(text, "0 -1 unknown_chips 3;0 0 area 9;0 0 n_chips 1;1 0 n_chips 2;");
    text[0] = '\0';
    assert_ok(db_population_visit(f->db, job_id, names, 2, write_row, text, &f->err));
    assert_string_equal(text, "0 0 n_chips 1;1 0 n_chips 2;");
    assert_int_equal(db_population_visit(f->db, job_id, NULL, 0, stop, &n_rows, &f->err),
                     ERROR_CANCELLED);
    assert_int_equal(n_rows, 1);
    assert_ok(db_population_visit_analyses(f->db, job_id, write_analysis, text, &f->err));
    snprintf(wanted, sizeof(wanted), "%s {\"a\":1}", f->image_id);
    assert_string_equal(text, wanted);
}

static void damaged_rows_end_the_visit(void **state)
{
    static const char *const edits[] = {
        "UPDATE result_quantities SET value = 'much' WHERE name = 'area'",
        "UPDATE images SET pixel_x_nm = 'wide'",
        "UPDATE result_quantities SET class_index = 1 WHERE name = 'area'",
    };
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE], second[DB_ID_SIZE], text[500];
    prepare(f, job_id, second);
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        fixture_close(f);
        fixture_edit(f, edits[i]);
        assert_ok(fixture_open(f));
        text[0] = '\0';
        assert_int_equal(db_population_visit(f->db, job_id, NULL, 0, write_row, text, &f->err),
                         ERROR_CORRUPT);
        fixture_close(f);
        fixture_edit(f, "UPDATE result_quantities SET value = 9, class_index = 0"
                        " WHERE name = 'area';"
                        "UPDATE images SET pixel_x_nm = 0");
        assert_ok(fixture_open(f));
    }
    text[0] = '\0';
    assert_ok(db_population_visit(f->db, job_id, NULL, 0, write_row, text, &f->err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_image_by_image, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damaged_rows_end_the_visit, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
