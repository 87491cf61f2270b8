#include "tests/unit/db/fixture.h"

#include <math.h>

#include "db/results/populations.h"

/* What a reading gave: "image class name value;" for each row, and the ids before. */
struct read {
    char ids[100], rows[500];
    int n_rows;
};

static int write_image(void *context, const struct db_population_image *image, struct error *err)
{
    (void)err;
    struct read *read = context;
    const size_t size = strlen(read->ids);
    snprintf(read->ids + size, sizeof(read->ids) - size, "%s ", image->id);
    assert_true(image->pixel_x_nm == 0 && image->pixel_y_nm == 0); /* unknown */
    assert_true(image->n_classes == 1 && image->stride_x == 4);
    return 0;
}

static int write_row(void *context, const struct db_population_row *row, struct error *err)
{
    (void)err;
    struct read *read = context;
    const size_t size = strlen(read->rows);
    snprintf(read->rows + size, sizeof(read->rows) - size, "%zu %d %s %g;", row->image,
             row->class_index, row->name, row->value);
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
    ((struct read *)context)->n_rows++;
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
    struct read read = {.n_rows = 0}, part = {.n_rows = 0};
    prepare(f, job_id, second);
    struct db_population_reading reading = {
        .job_id = job_id, .context = &read, .take_image = write_image, .take_row = write_row};
    assert_ok(db_population_read(f->db, &reading, &f->err));
    snprintf(wanted, sizeof(wanted), "%s %s ", second, f->image_id);
    assert_string_equal(read.ids, wanted);
    assert_string_equal(read.rows, "0 -1 unknown_chips 3;0 0 area 9;0 0 n_chips 1;1 0 n_chips 2;");
    reading.names = names;
    reading.n_names = 2;
    reading.context = &part;
    assert_ok(db_population_read(f->db, &reading, &f->err));
    assert_string_equal(part.rows, "0 0 n_chips 1;1 0 n_chips 2;");
    reading.take_row = stop;
    assert_int_equal(db_population_read(f->db, &reading, &f->err), ERROR_CANCELLED);
    assert_int_equal(part.n_rows, 1);
    assert_ok(db_population_visit_analyses(f->db, job_id, write_analysis, text, &f->err));
    snprintf(wanted, sizeof(wanted), "%s {\"a\":1}", f->image_id);
    assert_string_equal(text, wanted);
}

static void damaged_rows_end_the_reading(void **state)
{
    static const char *const edits[] = {
        "UPDATE result_quantities SET value = 'much' WHERE name = 'area'",
        "UPDATE images SET pixel_x_nm = 'wide'",
        "UPDATE result_quantities SET class_index = 1 WHERE name = 'area'",
    };
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE], second[DB_ID_SIZE];
    prepare(f, job_id, second);
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        struct read read = {.n_rows = 0};
        const struct db_population_reading reading = {
            .job_id = job_id, .context = &read, .take_image = write_image, .take_row = write_row};
        fixture_close(f);
        fixture_edit(f, edits[i]);
        assert_ok(fixture_open(f));
        assert_int_equal(db_population_read(f->db, &reading, &f->err), ERROR_CORRUPT);
        fixture_close(f);
        fixture_edit(f, "UPDATE result_quantities SET value = 9, class_index = 0"
                        " WHERE name = 'area';"
                        "UPDATE images SET pixel_x_nm = 0");
        assert_ok(fixture_open(f));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_image_by_image, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damaged_rows_end_the_reading, fixture_setup,
                                        fixture_teardown),
    };
    return test_run(tests);
}
