#include "tests/unit/db/fixture.h"
#include "tests/unit/db/version_1.h"

#include <math.h>

#include "db/sql/migrations.h"
#include "db/sql/stmt.h"

enum { ROWS = 2, COLUMNS = 3, N_CHIPS = ROWS * COLUMNS, N_CLASSES = 2 };

/* In the order in which they are read back. */
static struct db_quantity quantities[] = {
    {-1, "scale", "nm2", 1.0 / 3, 0.1, NAN},
    {0, "a statistic that came later", "nm", -1e-300, 0.1 + 0.2, 1e300},
    {0, "area_fraction", "", 2.0 / 3, NAN, NAN},
    {0, "n_chips", "", 4, NAN, NAN},
    {1, "n_chips", "", 2, NAN, NAN},
};
enum { N_QUANTITIES = sizeof(quantities) / sizeof(quantities[0]) };

static uint16_t labels[N_CHIPS] = {0, 0, 1, 0, 1, 0};
static float probabilities[N_CHIPS * N_CLASSES] = {1,    0,    0.75F, 0.25F, 0.1F, 0.9F,
                                                   0.6F, 0.4F, 0.2F,  0.8F,  1,    1e-30F};
static char analysis[] = "{\"program\":\"1\"}";
static float distances[N_CHIPS] = {0, 1.5F, 2, 3e10F, 0.1F, 7};

/* A claimed job of owner "w" and a result for its only image. */
static void prepare(struct fixture *f, char job_id[DB_ID_SIZE], struct db_lease *lease,
                    struct db_result *result)
{
    struct db_job job;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, job_id));
    assert_ok(db_job_claim(f->db, "w", 60000, &job, lease, &f->err));
    db_job_clear(&job);
    *result = (struct db_result){.rows = ROWS,
                                 .columns = COLUMNS,
                                 .chip_width = 34,
                                 .chip_height = 35,
                                 .stride_x = 30,
                                 .stride_y = 31,
                                 .offset_x = 1,
                                 .offset_y = 2,
                                 .edge = "cover",
                                 .n_classes = N_CLASSES,
                                 .temperature = 0.125,
                                 .quantities = quantities,
                                 .n_quantities = N_QUANTITIES,
                                 .labels = labels,
                                 .probabilities = probabilities,
                                 .distances = distances,
                                 .analysis = analysis};
    memcpy(result->job_id, job_id, DB_ID_SIZE);
    memcpy(result->image_id, f->image_id, DB_ID_SIZE);
}

static void assert_quantities(const struct db_result *result)
{
    assert_int_equal(result->n_quantities, N_QUANTITIES);
    for (size_t i = 0; i < N_QUANTITIES; i++) {
        const struct db_quantity *got = &result->quantities[i], *expected = &quantities[i];
        assert_int_equal(got->class_index, expected->class_index);
        assert_string_equal(got->name, expected->name);
        assert_string_equal(got->unit, expected->unit);
        assert_memory_equal(&got->value, &expected->value, sizeof(double));
        assert_true(got->low == expected->low || (isnan(got->low) && isnan(expected->low)));
        assert_true(got->high == expected->high || (isnan(got->high) && isnan(expected->high)));
    }
}

static void a_result_comes_back_to_the_bit(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result, read;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    fixture_reopen(f);
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err));
    assert_int_equal(read.rows, ROWS);
    assert_int_equal(read.columns, COLUMNS);
    assert_int_equal(read.chip_height, 35);
    assert_int_equal(read.stride_x, 30);
    assert_int_equal(read.offset_y, 2);
    assert_string_equal(read.edge, "cover");
    assert_true(read.temperature == 0.125);
    assert_memory_equal(read.labels, labels, sizeof(labels));
    assert_memory_equal(read.probabilities, probabilities, sizeof(probabilities));
    assert_memory_equal(read.distances, distances, sizeof(distances));
    assert_quantities(&read);
    assert_string_equal(read.analysis, analysis);
    db_result_clear(&read);
    fixture_close(f);
    fixture_edit(f, "DELETE FROM result_analyses"); /* as results were stored before it */
    assert_ok(fixture_open(f));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITHOUT_MAPS, &read, &f->err));
    assert_null(read.labels);
    assert_null(read.analysis);
    assert_quantities(&read);
    db_result_clear(&read);
}

/* Whatever lies between the classes and those at the top of the range stays an error. */
static void labels_may_say_that_there_is_no_class(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result, read;
    uint16_t none[N_CHIPS] = {0, DB_LABEL_UNKNOWN, DB_LABEL_NOT_ANALYSED, 1, DB_LABEL_UNDECIDED, 0};
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    result.labels = none;
    none[3] = DB_LABEL_UNDECIDED - 1;
    assert_int_equal(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err), ERROR_INVALID);
    none[3] = 1;
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err));
    assert_memory_equal(read.labels, none, sizeof(none));
    db_result_clear(&read);
    fixture_close(f);
    fixture_edit(f, "UPDATE results SET labels = X'0000FCFFFFFF010000000000'");
    assert_ok(fixture_open(f));
    assert_int_equal(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err),
                     ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "a label that is no class"));
}

static void inserting_again_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result, read;
    struct db_job job;
    uint16_t other[N_CHIPS] = {1, 1, 1, 1, 1, 1};
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    result.labels = other;
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err));
    assert_memory_equal(read.labels, labels, sizeof(labels));
    db_result_clear(&read);
    assert_ok(db_job_get(f->db, job_id, &job, &f->err));
    assert_int_equal(job.attempts, 0);
    assert_int_equal(job.n_chips_done, N_CHIPS);
    db_job_clear(&job);
}

static void only_the_owner_stores_results(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE], other[DB_ID_SIZE];
    struct db_result result, read;
    bool exists = true;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    struct db_lease anothers = lease;
    anothers.owner[0] = 'v';
    assert_int_equal(db_result_insert(f->db, &result, &anothers, N_CHIPS, &f->err), ERROR_CONFLICT);
    anothers = lease;
    snprintf(anothers.job_id, sizeof(anothers.job_id), "job_other");
    assert_int_equal(db_result_insert(f->db, &result, &anothers, N_CHIPS, &f->err), ERROR_INVALID);
    assert_ok(db_result_exists(f->db, job_id, f->image_id, &exists, &f->err));
    assert_false(exists);
    assert_int_equal(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err),
                     ERROR_NOT_FOUND);
    assert_ok(fixture_add_image(f, f->project_id, "not in the job", other));
    memcpy(result.image_id, other, DB_ID_SIZE);
    assert_int_equal(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err), ERROR_INVALID);
    memcpy(result.image_id, f->image_id, DB_ID_SIZE);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_CANCELLED, NULL, NULL, &f->err));
    assert_int_equal(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err), ERROR_CONFLICT);
}

static void impossible_results_are_refused(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    result.rows = 0;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.rows = 40000;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.rows = ROWS;
    result.n_classes = 70000;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.n_classes = N_CLASSES;
    result.distances = NULL;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.distances = distances;
    result.n_quantities--; /* none of class 1 */
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.n_quantities++;
    struct db_quantity unordered[] = {quantities[4], quantities[3]};
    result.quantities = unordered;
    result.n_quantities = 2;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    struct db_quantity twice[] = {quantities[3], quantities[3], quantities[4]};
    result.quantities = twice;
    result.n_quantities = 3;
    assert_true(db_result_insert(f->db, &result, &lease, 1, &f->err) < 0);
    struct db_quantity endless[] = {quantities[3], quantities[4]};
    endless[1].value = INFINITY;
    result.quantities = endless;
    result.n_quantities = 2;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.quantities = quantities;
    result.n_quantities = N_QUANTITIES;
    float bad[N_CHIPS] = {0, 0, NAN};
    result.distances = bad;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    uint16_t unknown[N_CHIPS] = {N_CLASSES};
    result.distances = distances;
    result.labels = unknown;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
    result.labels = labels;
    result.temperature = INFINITY;
    assert_int_equal(db_result_insert(f->db, &result, &lease, 1, &f->err), ERROR_INVALID);
}

static void requeueing_keeps_the_stored_chips(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_job job;
    bool cancel;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    assert_ok(db_job_heartbeat(f->db, &lease, 1000, N_CHIPS + 50, &cancel, &f->err));
    assert_ok(db_job_requeue(f->db, &lease, &f->err));
    assert_ok(db_job_get(f->db, job_id, &job, &f->err));
    assert_int_equal(job.state, DB_JOB_QUEUED);
    assert_int_equal(job.n_chips_done, N_CHIPS);
    db_job_clear(&job);
}

/* Of two results; the damaged one does not hide the other. */
static void assert_damaged_is_left_out(struct fixture *f, const char *job_id, const char *damaged,
                                       const char *whole)
{
    char sql[200];
    const struct db_page page = {.limit = 1};
    struct db_result_list list;
    snprintf(sql, sizeof(sql), "UPDATE result_quantities SET high = 9e999 WHERE image_id = '%s'",
             damaged);
    fixture_close(f);
    fixture_edit(f, sql);
    assert_ok(fixture_open(f));
    assert_ok(db_result_list(f->db, job_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    assert_int_equal(list.n_damaged, 1);
    assert_string_equal(list.items[0].image_id, whole);
    assert_false(list.more);
    db_result_list_clear(&list);
}

static void a_list_has_the_order_of_the_job(void **state)
{
    struct fixture *f = *state;
    char ids[3][DB_ID_SIZE], text[8], job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_result_list list;
    struct db_job job = {.support_set_version = 1, .params = (char *)"{}", .n_images = 3};
    struct db_job claimed;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "i%d", i);
        assert_ok(fixture_add_image(f, f->project_id, text, ids[2 - i]));
    }
    memcpy(job.project_id, f->project_id, DB_ID_SIZE);
    memcpy(job.support_set_id, f->support_set_id, DB_ID_SIZE);
    memcpy(job.encoder_id, f->encoder_id, DB_ID_SIZE);
    job.image_ids = ids;
    assert_ok(db_job_insert(f->db, &job, 10, NULL, NULL, &f->err));
    assert_ok(db_job_claim(f->db, "w", 1000, &claimed, &lease, &f->err));
    memcpy(result.job_id, claimed.id, DB_ID_SIZE);
    db_job_clear(&claimed);
    for (int i = 2; i >= 1; i--) {
        memcpy(result.image_id, ids[i], DB_ID_SIZE);
        assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    }
    struct db_page page = {.limit = 5};
    assert_ok(db_result_list(f->db, result.job_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 2);
    assert_string_equal(list.items[0].image_id, ids[1]);
    assert_string_equal(list.items[1].image_id, ids[2]);
    assert_quantities(&list.items[1]);
    assert_null(list.items[0].labels);
    assert_false(list.more);
    db_result_list_clear(&list);
    page.limit = 1;
    assert_ok(db_result_list(f->db, result.job_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    assert_true(list.more);
    db_result_list_clear(&list);
    page.after_id = ids[1];
    assert_ok(db_result_list(f->db, result.job_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 1);
    assert_string_equal(list.items[0].image_id, ids[2]);
    assert_false(list.more);
    db_result_list_clear(&list);
    assert_damaged_is_left_out(f, result.job_id, ids[1], ids[2]);
    assert_ok(db_job_get_row(f->db, result.job_id, &claimed, &f->err));
    assert_int_equal(claimed.n_results, 2);
    assert_int_equal(claimed.n_images, 3);
    assert_null(claimed.image_ids);
    db_job_clear(&claimed);
    page.after_id = ids[0]; /* it is of the job and has no result yet */
    assert_int_equal(db_result_list(f->db, result.job_id, &page, &list, &f->err), ERROR_INVALID);
    page.after_id = NULL;
    assert_ok(db_result_list(f->db, job_id, &page, &list, &f->err));
    assert_int_equal(list.n_items, 0);
    db_result_list_clear(&list);
}

static void edited_results_are_corrupt(void **state)
{
    struct fixture *f = *state;
    static const char *const edits[] = {
        "UPDATE results SET labels = zeroblob(11)",
        "UPDATE results SET labels = 'text'",
        "UPDATE results SET labels = X'000000000000000000000900'",
        "UPDATE results SET probabilities = zeroblob(0)",
        "UPDATE results SET probabilities = X'00000040"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000'",
        "UPDATE results SET distances = X'0000C07F"
        "0000000000000000000000000000000000000000'",
        "UPDATE results SET grid_rows = 32768, grid_columns = 32768, n_classes = 65535",
        "UPDATE results SET grid_rows = 3000000000",
        "UPDATE results SET n_classes = 1",
        "UPDATE results SET temperature = 9e999",
        "UPDATE results SET edge = 'a text that does not fit'",
        "UPDATE results SET created_at = 'yesterday'",
        "DELETE FROM result_quantities WHERE class_index = 1",
        "DELETE FROM result_quantities WHERE class_index = 0",
        "UPDATE result_quantities SET class_index = 2 WHERE class_index = 1",
        "UPDATE result_quantities SET class_index = 1e12 WHERE class_index = 1",
        "UPDATE result_quantities SET value = 'much' WHERE name = 'area_fraction'",
        "UPDATE result_quantities SET low = 'little' WHERE name = 'area_fraction'",
        "UPDATE result_quantities SET high = 9e999",
        "UPDATE result_quantities SET name = 'a name that is longer than the longest that is read'"
        " WHERE name = 'area_fraction'",
        "UPDATE result_quantities SET unit = X'FF'",
    };
    char job_id[DB_ID_SIZE];
    struct db_result result, read;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    fixture_close(f);
    fixture_edit(f, "CREATE TABLE r AS SELECT * FROM results;"
                    "CREATE TABLE q AS SELECT * FROM result_quantities");
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        fixture_edit(f, edits[i]);
        assert_ok(fixture_open(f));
        int rc = db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err);
        if (rc != ERROR_CORRUPT)
            fail_msg("%s: %d", edits[i], rc);
        fixture_close(f);
        fixture_edit(f, "DELETE FROM results; INSERT INTO results SELECT * FROM r;"
                        "INSERT INTO result_quantities SELECT * FROM q");
    }
    assert_ok(fixture_open(f));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &read, &f->err));
    db_result_clear(&read);
}

/* Chips first .. first + n - 1 of the stored result. */
static int read_part(struct fixture *f, const struct db_result *result, uint64_t first, uint64_t n,
                     struct db_result_part *out)
{
    static uint16_t part_labels[N_CHIPS];
    static float part_probabilities[N_CHIPS * N_CLASSES], part_distances[N_CHIPS];
    *out = (struct db_result_part){.first = first,
                                   .n_chips = n,
                                   .labels = part_labels,
                                   .probabilities = part_probabilities,
                                   .distances = part_distances};
    return db_result_read_part(f->db, result, out, &f->err);
}

static void parts_make_up_the_whole(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_result_part part;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    for (uint64_t first = 0; first <= N_CHIPS; first++) {
        for (uint64_t n = 0; first + n <= N_CHIPS; n++) {
            assert_ok(read_part(f, &result, first, n, &part));
            assert_memory_equal(part.labels, labels + first, n * sizeof(*labels));
            assert_memory_equal(part.distances, distances + first, n * sizeof(*distances));
            assert_memory_equal(part.probabilities, probabilities + first * N_CLASSES,
                                n * N_CLASSES * sizeof(*probabilities));
        }
    }
    assert_int_equal(read_part(f, &result, 1, N_CHIPS, &part), ERROR_INVALID);
    assert_int_equal(read_part(f, &result, N_CHIPS + 1, 0, &part), ERROR_INVALID);
    assert_int_equal(read_part(f, &result, 1, UINT64_MAX, &part), ERROR_INVALID);
}

/* What the classifier said is there where later steps changed it, and goes with its result. */
static void raw_labels_are_kept_beside(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result, read;
    struct db_lease lease;
    uint16_t raw[N_CHIPS] = {1, 0, 1, 1, DB_LABEL_NOT_ANALYSED, 0}, got[4], now[4];
    const struct db_result_part part = {.first = 1, .n_chips = 4, .labels = now, .raw_labels = got};
    prepare(f, job_id, &lease, &result);
    result.raw_labels = raw;
    raw[2] = N_CLASSES;
    assert_int_equal(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "a label that is no class"));
    raw[2] = 1;
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITHOUT_MAPS, &read, &f->err));
    assert_true(read.has_raw_labels);
    assert_ok(db_result_read_part(f->db, &read, &part, &f->err));
    assert_memory_equal(got, raw + 1, sizeof(got));
    assert_memory_equal(now, labels + 1, sizeof(now));
    db_result_clear(&read);
    fixture_close(f);
    fixture_edit(f, "UPDATE result_raw_labels SET labels = X'010000000900010000000000'");
    assert_ok(fixture_open(f));
    assert_int_equal(db_result_read_part(f->db, &result, &part, &f->err), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "raw labels"));
    fixture_close(f);
    fixture_edit(f, "DELETE FROM result_raw_labels"); /* as results are that have none */
    assert_ok(fixture_open(f));
    assert_ok(db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITHOUT_MAPS, &read, &f->err));
    assert_false(read.has_raw_labels);
    assert_int_equal(db_result_read_part(f->db, &read, &part, &f->err), ERROR_NOT_FOUND);
    db_result_clear(&read);
}

/* They stand behind the others: going there for nothing made large answers slow. */
static void distances_are_read_when_asked_for(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_lease lease;
    uint16_t some_labels[2];
    float some_probabilities[2 * N_CLASSES];
    const struct db_result_part part = {
        .first = 3, .n_chips = 2, .labels = some_labels, .probabilities = some_probabilities};
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    fixture_close(f);
    fixture_edit(f, "UPDATE results SET distances = zeroblob(1)");
    assert_ok(fixture_open(f));
    assert_ok(db_result_read_part(f->db, &result, &part, &f->err));
    assert_memory_equal(some_labels, labels + 3, sizeof(some_labels));
    assert_memory_equal(some_probabilities, probabilities + 3 * N_CLASSES,
                        sizeof(some_probabilities));
}

static void a_part_of_what_is_gone_or_damaged_is_told(void **state)
{
    struct fixture *f = *state;
    static const char *const edits[] = {
        "UPDATE results SET labels = zeroblob(11)",
        "UPDATE results SET labels = 7",
        "UPDATE results SET labels = X'000000000000000000000900'",
        "UPDATE results SET probabilities = zeroblob(0)",
        "UPDATE results SET distances = X'00000000000000000000000000000000000000000000C07F'",
    };
    char job_id[DB_ID_SIZE];
    struct db_result result;
    struct db_result_part part;
    struct db_lease lease;
    prepare(f, job_id, &lease, &result);
    assert_ok(db_result_insert(f->db, &result, &lease, N_CHIPS, &f->err));
    fixture_close(f);
    fixture_edit(f, "CREATE TABLE r AS SELECT * FROM results");
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        fixture_edit(f, edits[i]);
        assert_ok(fixture_open(f));
        int rc = read_part(f, &result, 3, 3, &part);
        if (rc != ERROR_CORRUPT)
            fail_msg("%s: %d", edits[i], rc);
        fixture_close(f);
        fixture_edit(f, "DELETE FROM results; INSERT INTO results SELECT * FROM r");
    }
    fixture_edit(f, "DELETE FROM results");
    assert_ok(fixture_open(f));
    assert_int_equal(read_part(f, &result, 3, 3, &part), ERROR_NOT_FOUND);
}

/* ---- migration ---- */

enum { V1_CLASSES = 2, V1_STATISTICS = 6 };
static const char *const v1_names[V1_STATISTICS] = {"area_fraction",     "mean_probability",
                                                    "mean_region_chips", "n_chips",
                                                    "n_regions_4",       "n_regions_8"};
/* Of doubles that no short decimal says. */
static const double v1_values[V1_CLASSES][V1_STATISTICS] = {
    {2.0 / 3, 0.1 + 0.2, 4.0 / 3, 4, 4000000000.0, 3},
    {1.0 / 3, 4.9406564584124654e-324, 0, 2, 1, 0},
};

static void insert_v1_class(struct fixture *f, struct db_connection *writer, int class_index)
{
    const double *values = v1_values[class_index];
    struct db_stmt *stmt = NULL;
    assert_ok(db_stmt_prepare(
        &stmt, writer, "inserting",
        "INSERT INTO class_statistics (job_id, image_id, class_index, area_fraction,"
        " mean_probability, mean_region_chips, n_chips, n_regions_4, n_regions_8) VALUES"
        " ('job_01JABCDEFGHJKMNPQRSTVWXYZ0', 'img_01JABCDEFGHJKMNPQRSTVWXYZ0', ?, ?, ?, ?, ?, ?,"
        " ?)",
        &f->err));
    db_bind_int(stmt, class_index);
    for (int i = 0; i < 3; i++)
        db_bind_double(stmt, values[i]);
    for (int i = 3; i < V1_STATISTICS; i++)
        db_bind_int(stmt, (int64_t)values[i]);
    assert_ok(db_stmt_run(stmt, NULL, &f->err));
}

static void statistics_of_version_1_are_kept_to_the_bit(void **state)
{
    struct fixture *f = *state;
    struct db_connection *writer = NULL;
    struct db_result read;
    fixture_close(f);
    writer = version_1_create(f);
    for (int k = 0; k < V1_CLASSES; k++)
        insert_v1_class(f, writer, k);
    db_connection_close(writer);

    assert_ok(fixture_open(f));
    assert_ok(db_result_get(f->db, "job_01JABCDEFGHJKMNPQRSTVWXYZ0",
                            "img_01JABCDEFGHJKMNPQRSTVWXYZ0", DB_RESULT_WITH_MAPS, &read, &f->err));
    assert_int_equal(read.n_quantities, V1_CLASSES * V1_STATISTICS);
    for (size_t i = 0; i < read.n_quantities; i++) {
        const struct db_quantity *quantity = &read.quantities[i];
        assert_int_equal(quantity->class_index, i / V1_STATISTICS);
        assert_string_equal(quantity->name, v1_names[i % V1_STATISTICS]);
        assert_string_equal(quantity->unit, "");
        assert_memory_equal(&quantity->value, &v1_values[0][0] + i, sizeof(double));
        assert_true(isnan(quantity->low) && isnan(quantity->high));
    }
    db_result_clear(&read);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_result_comes_back_to_the_bit),
        TEST(labels_may_say_that_there_is_no_class),
        TEST(inserting_again_changes_nothing),
        TEST(only_the_owner_stores_results),
        TEST(impossible_results_are_refused),
        TEST(requeueing_keeps_the_stored_chips),
        TEST(a_list_has_the_order_of_the_job),
        TEST(edited_results_are_corrupt),
        TEST(parts_make_up_the_whole),
        TEST(raw_labels_are_kept_beside),
        TEST(distances_are_read_when_asked_for),
        TEST(a_part_of_what_is_gone_or_damaged_is_told),
        TEST(statistics_of_version_1_are_kept_to_the_bit),
    };
    return test_run(tests);
}
