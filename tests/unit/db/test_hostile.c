/* A database that someone edited or that a disk damaged: reading answers with an error or with
 * values in their range, and never crashes. */
#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/events.h"

/* A list that leaves something out says so. */
static int end_list(size_t n_damaged)
{
    return n_damaged > 0 ? ERROR_CORRUPT : 0;
}

/* Reads everything there is; returns the first code that is not 0. */
static int read_everything(struct fixture *f, const char *job_id)
{
    const struct db_page page = {.limit = 1000};
    struct db_project_list projects;
    struct db_image_list images;
    struct db_support_set_list sets;
    struct db_encoder_list encoders;
    struct db_encoder encoder;
    struct db_job_list jobs;
    struct db_result result;
    struct db_result_list results;
    struct db_support_set set;
    struct db_job job;
    struct db_job_counts counts;
    int codes[11];
    if ((codes[0] = db_project_list(f->db, &page, &projects, &f->err)) == 0)
        codes[0] = end_list(projects.n_damaged), db_project_list_clear(&projects);
    if ((codes[1] = db_image_list(f->db, f->project_id, NULL, &page, &images, &f->err)) == 0)
        codes[1] = end_list(images.n_damaged), db_image_list_clear(&images);
    if ((codes[2] = db_support_set_list(f->db, f->project_id, &page, &sets, &f->err)) == 0)
        codes[2] = end_list(sets.n_damaged), db_support_set_list_clear(&sets);
    if ((codes[3] = db_encoder_list(f->db, &page, &encoders, &f->err)) == 0)
        codes[3] = end_list(encoders.n_damaged), db_encoder_list_clear(&encoders);
    if ((codes[4] = db_encoder_get_default(f->db, &encoder, &f->err)) == 0)
        db_encoder_clear(&encoder);
    if ((codes[5] = db_job_list(f->db, f->project_id, NULL, &page, &jobs, &f->err)) == 0)
        codes[5] = end_list(jobs.n_damaged), db_job_list_clear(&jobs);
    if ((codes[6] =
             db_result_get(f->db, job_id, f->image_id, DB_RESULT_WITH_MAPS, &result, &f->err)) == 0)
        db_result_clear(&result);
    if ((codes[7] = db_result_list(f->db, job_id, &page, &results, &f->err)) == 0)
        codes[7] = end_list(results.n_damaged), db_result_list_clear(&results);
    codes[8] = db_job_counts(f->db, &counts, &f->err);
    if ((codes[9] = db_support_set_get(f->db, f->support_set_id, 0, &set, &f->err)) == 0)
        db_support_set_clear(&set);
    if ((codes[10] = db_job_get(f->db, job_id, &job, &f->err)) == 0)
        db_job_clear(&job);
    for (int i = 0; i < 11; i++) {
        if (codes[i] != 0)
            return codes[i];
    }
    return 0;
}

/* Projects, images, a set, a finished job with a result. */
static void fill(struct fixture *f, char job_id[DB_ID_SIZE])
{
    struct db_quantity quantities[2] = {{0, "n_chips", "", 3, NAN, NAN},
                                        {1, "n_chips", "", 1, NAN, NAN}};
    uint16_t labels[4] = {0, 0, 1, 0};
    float probabilities[8] = {1, 0, 1, 0, 0, 1, 1, 0}, distances[4] = {0};
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, job_id));
    assert_ok(db_job_claim(f->db, "w", 1000, &job, &lease, &f->err));
    db_job_clear(&job);
    struct db_result result = {.rows = 2,
                               .columns = 2,
                               .edge = "drop",
                               .n_classes = 2,
                               .temperature = 1,
                               .quantities = quantities,
                               .n_quantities = 2,
                               .labels = labels,
                               .probabilities = probabilities,
                               .distances = distances};
    memcpy(result.job_id, job_id, DB_ID_SIZE);
    memcpy(result.image_id, f->image_id, DB_ID_SIZE);
    assert_ok(db_result_insert(f->db, &result, &lease, 4, &f->err));
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_FAILED, "io", "gone", &f->err));
}

static void copy_file(const char *from, const char *to)
{
    static char buffer[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, buffer, sizeof(buffer))) > 0;)
        assert_int_equal(write(out, buffer, (size_t)n), n);
    close(in);
    close(out);
}

/* Puts the undamaged database back, without the log of what was done to the damaged one. */
static void restore(const struct fixture *f, const char *copy, const char *path)
{
    char log[700];
    snprintf(log, sizeof(log), "%s/chipshot.sqlite-wal", f->directory);
    unlink(log);
    snprintf(log, sizeof(log), "%s/chipshot.sqlite-shm", f->directory);
    unlink(log);
    copy_file(copy, path);
}

static void edited_values_are_corrupt(void **state)
{
    struct fixture *f = *state;
    static const char *const edits[] = {
        "UPDATE projects SET name = X'FF'",
        "UPDATE projects SET name = CAST(X'41FF' AS TEXT)",
        "UPDATE projects SET name = CAST(X'EDA080' AS TEXT)", /* a surrogate */
        "UPDATE projects SET name = CAST(X'410042' AS TEXT)",
        "UPDATE projects SET description = 5.5, labels = CAST(zeroblob(1048577) AS TEXT)",
        "UPDATE projects SET revision = -1",
        "UPDATE projects SET revision = 'x'",
        "UPDATE projects SET created_at = '2026-01-31 12:00:00.000Z'",
        "UPDATE images SET sha256 = '../../../../../../etc/passwd'",
        "UPDATE images SET sha256 = upper(sha256)",
        "UPDATE images SET format = 'a format of more than fifteen bytes'",
        "UPDATE images SET width = 4294967296",
        "UPDATE images SET byte_size = -1",
        "UPDATE images SET pixel_size_nm = 9e999",
        "UPDATE support_set_versions SET chip_width = 9999999999",
        "UPDATE support_sets SET latest_version = 2",
        "UPDATE classes SET class_index = 5 WHERE class_index = 1",
        "UPDATE classes SET color = 16777216",
        "UPDATE examples SET class_index = 4000000000 WHERE example_index = 1",
        "UPDATE examples SET x = -1",
        "UPDATE examples SET image_id = 'img_short'",
        "UPDATE encoders SET is_default = 1, dimension = 'big'",
        "UPDATE jobs SET priority = 2000000000",
        "UPDATE jobs SET n_chips_done = -5",
        "UPDATE jobs SET params = X'7B7D'",
        "UPDATE jobs SET error_code = X'35'",
        "UPDATE jobs SET error_message = X'00'",
        "UPDATE jobs SET started_at = ''",
        "UPDATE job_images SET image_id = 'x'",
        "UPDATE jobs SET n_images = 2",
        "UPDATE jobs SET n_results = -1",
        "UPDATE classes SET n_examples = 'x'",
        "UPDATE results SET offset_x = -1",
        "DROP TABLE results",
        "ALTER TABLE jobs RENAME TO tasks",
    };
    char job_id[DB_ID_SIZE], path[600], copy[600];
    fill(f, job_id);
    assert_ok(read_everything(f, job_id));
    fixture_close(f);
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", f->directory);
    snprintf(copy, sizeof(copy), "%s/copy", f->directory);
    copy_file(path, copy);
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        char sql[300];
        snprintf(sql, sizeof(sql),
                 "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; %s", edits[i]);
        restore(f, copy, path);
        fixture_edit(f, sql);
        int rc = fixture_open(f);
        if (rc == 0)
            rc = read_everything(f, job_id);
        if (rc != ERROR_CORRUPT)
            fail_msg("%s: %d", edits[i], rc);
        fixture_close(f);
    }
}

static void a_damaged_job_does_not_hold_up_the_queue(void **state)
{
    struct fixture *f = *state;
    char damaged[DB_ID_SIZE], whole[DB_ID_SIZE], sql[200];
    struct db_job job;
    struct db_lease lease;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 5, damaged));
    assert_ok(fixture_add_job(f, 0, whole));
    fixture_close(f);
    snprintf(sql, sizeof(sql), "UPDATE jobs SET params = X'7B7D' WHERE id = '%s'", damaged);
    fixture_edit(f, sql);
    assert_ok(fixture_open(f));
    assert_ok(db_job_claim(f->db, "w", 1000, &job, &lease, &f->err));
    assert_string_equal(job.id, whole);
    db_job_clear(&job);
    assert_int_equal(db_job_claim(f->db, "w", 1000, &job, &lease, &f->err), ERROR_NOT_FOUND);
    fixture_close(f);
    fixture_edit(f, "UPDATE jobs SET params = '{}'");
    assert_ok(fixture_open(f));
    assert_int_equal(fixture_count_jobs(f, DB_JOB_FAILED), 1);
}

static void a_damaged_token_does_not_hold_up_the_queue(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *stored;
        uint64_t expected;
    } tokens[] = {{"-1", 1},
                  {"-9223372036854775808", 1},
                  {"9223372036854775807", 1},
                  {"1e300", 1},
                  {"2.5", 3},
                  {"'many'", 1},
                  {"X'0102'", 1},
                  {"7", 8}};
    char id[DB_ID_SIZE], sql[200];
    struct db_job job;
    struct db_lease lease;
    bool cancel;
    fixture_fill(f);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        assert_ok(fixture_add_job(f, 0, id));
        fixture_close(f);
        snprintf(sql, sizeof(sql), "UPDATE jobs SET lease_token = %s WHERE id = '%s'",
                 tokens[i].stored, id);
        fixture_edit(f, sql);
        assert_ok(fixture_open(f));
        if (db_job_claim(f->db, "w", 1000, &job, &lease, &f->err) != 0)
            fail_msg("%s: %s", tokens[i].stored, f->err.message);
        assert_string_equal(job.id, id);
        db_job_clear(&job);
        assert_int_equal(lease.token, tokens[i].expected);
        assert_ok(db_job_heartbeat(f->db, &lease, 1000, 1, &cancel, &f->err));
        assert_ok(db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
    }
}

static void edit(struct fixture *f, const char *sql)
{
    char script[600];
    snprintf(script, sizeof(script),
             "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; %s", sql);
    fixture_close(f);
    fixture_edit(f, script);
    assert_ok(fixture_open(f));
}

/* Ids that nobody can name: the job behind is claimed. */
static void a_damaged_id_does_not_hold_up_the_queue(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"X'00FF'", "'job_'", "'a text that is longer than any id is'",
                                      "''"};
    char damaged[DB_ID_SIZE], whole[DB_ID_SIZE], sql[300];
    struct db_job job;
    struct db_lease lease;
    uint64_t n_damaged = 0;
    fixture_fill(f);
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_ok(fixture_add_job(f, 5, damaged));
        assert_ok(fixture_add_job(f, 0, whole));
        snprintf(sql, sizeof(sql), "UPDATE jobs SET id = %s WHERE id = '%s'", ids[i], damaged);
        edit(f, sql);
        assert_ok(db_job_claim(f->db, "v", 1000, &job, &lease, &f->err));
        assert_string_equal(job.id, whole);
        db_job_clear(&job);
        assert_ok(db_job_count_damaged(f->db, &n_damaged, &f->err));
        assert_int_equal(n_damaged, i + 1);
    }
}

/* What a dead process left is taken back, but for what cannot be named or counted. */
static void a_damaged_row_does_not_hold_up_the_reap(void **state)
{
    struct fixture *f = *state;
    char id[3][DB_ID_SIZE], sql[300];
    struct db_job job;
    struct db_lease lease;
    uint64_t n = 0;
    fixture_fill(f);
    for (int i = 0; i < 3; i++) {
        assert_ok(fixture_add_job(f, 0, id[i]));
        assert_ok(db_job_claim(f->db, i == 2 ? "v" : "w", 1000, &job, &lease, &f->err));
        db_job_clear(&job);
    }
    struct fixture_result one;
    fixture_one_chip(f, id[2], &one);
    assert_ok(db_result_insert(f->db, &one.result, &lease, 1, &f->err));
    snprintf(sql, sizeof(sql),
             "UPDATE jobs SET id = X'00FF' WHERE id = '%s';"
             "UPDATE jobs SET lease_expires_ms = 0 WHERE lease_owner = 'v';"
             "UPDATE results SET grid_rows = 9223372036854775807, grid_columns = 2",
             id[0]);
    edit(f, sql);
    assert_ok(db_job_requeue_expired(f->db, "me", fixture_w_is_gone, &n, &f->err));
    assert_int_equal(n, 2);
    edit(f, "UPDATE jobs SET lease_expires_ms = 0");
    assert_ok(db_job_requeue_expired(f->db, "me", NULL, &n, &f->err));
    assert_int_equal(n, 0);
}

/* Sequences that only an editor wrote are no events: new ones go on behind those that are. */
static void edited_sequences_do_not_stop_the_events(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_event_list before, after;
    fixture_fill(f);
    assert_ok(fixture_add_job(f, 0, id));
    edit(f, "UPDATE events SET sequence = 9223372036854775807"
            " WHERE sequence = (SELECT MAX(sequence) FROM events);"
            "UPDATE events SET sequence = -9223372036854775808"
            " WHERE sequence = (SELECT MIN(sequence) FROM events)");
    assert_ok(db_event_list(f->db, 0, 100, &before, &f->err));
    const uint64_t last = before.items[before.n_items - 1].sequence;
    assert_ok(fixture_add_job(f, 0, id));
    assert_ok(db_event_list(f->db, last, 100, &after, &f->err));
    assert_int_equal(after.n_items, 1);
    assert_int_equal(after.items[0].sequence, last + 1);
    assert_string_equal(after.items[0].subject_id, id);
    db_event_list_clear(&before);
    db_event_list_clear(&after);
    /* One at the very end is told of, in so many words. */
    edit(f, "UPDATE events SET sequence = 1000000000000000"
            " WHERE sequence = (SELECT MAX(sequence) FROM events WHERE sequence < 1000);"
            "INSERT INTO events SELECT 1000000000000001, id, created_at, type, project_id,"
            " subject_id, principal, data FROM events WHERE sequence = 1000000000000000");
    assert_int_equal(fixture_add_job(f, 0, id), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "delete its rows"));
}

/* Three of six jobs cannot be read: a list says so, goes past them, and has the others. */
static void a_list_goes_past_damaged_rows(void **state)
{
    struct fixture *f = *state;
    char ids[6][DB_ID_SIZE], sql[400], last[DB_ID_SIZE];
    struct db_page page = {.limit = 2};
    struct db_job_list list;
    size_t n = 0, n_damaged = 0;
    bool more = true;
    fixture_fill(f);
    for (int i = 0; i < 6; i++)
        assert_ok(fixture_add_job(f, 0, ids[i]));
    snprintf(sql, sizeof(sql), "UPDATE jobs SET params = X'FF' WHERE id IN ('%s', '%s', '%s')",
             ids[1], ids[2], ids[3]);
    edit(f, sql);
    static const int whole[] = {0, 4, 5};
    while (more) {
        assert_ok(db_job_list(f->db, f->project_id, NULL, &page, &list, &f->err));
        for (size_t i = 0; i < list.n_items; i++)
            assert_string_equal(list.items[i].id, ids[whole[n++]]);
        n_damaged += list.n_damaged;
        more = list.more;
        memcpy(last, list.items[list.n_items - 1].id, DB_ID_SIZE);
        page.after_id = last;
        db_job_list_clear(&list);
    }
    assert_int_equal(n, 3);
    assert_int_equal(n_damaged, 3);
    edit(f, "UPDATE support_sets SET latest_version = 7");
    struct db_support_set_list sets;
    page = (struct db_page){.limit = 5};
    assert_ok(db_support_set_list(f->db, f->project_id, &page, &sets, &f->err));
    assert_int_equal(sets.n_items, 0);
    assert_int_equal(sets.n_damaged, 1);
    db_support_set_list_clear(&sets);
}

static void triggers_and_views_do_not_run(void **state)
{
    struct fixture *f = *state;
    char id[DB_ID_SIZE];
    struct db_image image;
    fixture_fill(f);
    fixture_close(f);
    fixture_edit(f, "CREATE TRIGGER t AFTER INSERT ON projects BEGIN DELETE FROM examples;"
                    " DELETE FROM images; END");
    assert_ok(fixture_open(f));
    fixture_add_project(f, "p", id);
    assert_ok(db_image_get(f->db, f->image_id, &image, &f->err));
    db_image_clear(&image);
}

static void flipped_bytes_never_crash(void **state)
{
    struct fixture *f = *state;
    char job_id[DB_ID_SIZE], path[600], copy[600];
    struct stat status;
    unsigned random = 1;
    int n_faulty = 0;
    fill(f, job_id);
    fixture_close(f);
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", f->directory);
    snprintf(copy, sizeof(copy), "%s/copy", f->directory);
    copy_file(path, copy);
    assert_ok(stat(copy, &status));
    for (int round = 0; round < 60; round++) {
        restore(f, copy, path);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        for (int i = 0; i < 1 + round; i++) {
            random = random * 1664525 + 1013904223;
            unsigned char byte = (unsigned char)(random >> 24);
            random = random * 1664525 + 1013904223;
            /* The header of the file is damaged seldom: it would hide the rest. */
            off_t place = (off_t)(random % (unsigned)status.st_size);
            if (place >= 100 || round % 10 == 0)
                assert_int_equal(pwrite(fd, &byte, 1, place), 1);
        }
        close(fd);
        int rc = fixture_open(f);
        if (rc == 0)
            rc = read_everything(f, job_id);
        if (rc == 0)
            rc = db_integrity_check(f->db, f->store, &f->err);
        n_faulty += rc != 0;
        fixture_close(f);
    }
    assert_true(n_faulty > 30);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(edited_values_are_corrupt),
        TEST(a_damaged_job_does_not_hold_up_the_queue),
        TEST(a_damaged_token_does_not_hold_up_the_queue),
        TEST(a_damaged_id_does_not_hold_up_the_queue),
        TEST(a_damaged_row_does_not_hold_up_the_reap),
        TEST(edited_sequences_do_not_stop_the_events),
        TEST(a_list_goes_past_damaged_rows),
        TEST(triggers_and_views_do_not_run),
        TEST(flipped_bytes_never_crash),
    };
    return test_run(tests);
}
