/* A data directory of the first released schema: what was in it is served, and what its dead server
 * left running is run again. */
#include "tests/unit/db/fixture.h"

#include <sys/stat.h>

#include "db/sql/migrations.h"
#include "db/sql/stmt.h"

#define ULID "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define TIME "'2026-01-31T12:00:00.000Z'"
#define SHA  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* As the first server wrote them: the owner is a process id and a counter, and the lease has time
 * left. */
static const char rows[] =
    "INSERT INTO projects VALUES ('prj_" ULID "', 'p', '', '{}', " TIME ", " TIME ", 1);"
    "INSERT INTO images VALUES ('img_" ULID "', 'prj_" ULID "', '" SHA "', 'a.png', 'png', 'none',"
    " 4, 4, 8, 1, 3, 0.5, " TIME ");"
    "INSERT INTO encoders VALUES ('enc_" ULID "', '" SHA "', 'e', 'resnet18', 1, 32, 8, 9, 3, 1,"
    " " TIME ");"
    "INSERT INTO support_sets VALUES ('sup_" ULID "', 'prj_" ULID "', 1, " TIME ");"
    "INSERT INTO support_set_versions VALUES ('sup_" ULID "', 1, 's', 2, 2, " TIME ");"
    "INSERT INTO jobs VALUES ('job_" ULID "', 'prj_" ULID "', 'sup_" ULID "', 1, 'enc_" ULID "',"
    " '{}', 0, 'running', 0, 3, 4, 1, NULL, NULL, '4711-17',"
    " CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 60000, " TIME ", " TIME ", NULL);"
    "INSERT INTO job_images VALUES ('job_" ULID "', 0, 'img_" ULID "');"
    "INSERT INTO results VALUES ('job_" ULID "', 'img_" ULID "', 1, 1, 2, 2, 2, 2, 0, 0, 'drop', 1,"
    " 1.0, " TIME ", X'0000', X'0000803F', X'0000803F');"
    "INSERT INTO class_statistics VALUES ('job_" ULID "', 'img_" ULID "', 0, 1, 1.0, 1.0, 1, 1,"
    " 1.0);";

static void make_old(struct fixture *f)
{
    struct db_connection *connection = NULL;
    char path[700];
    size_t n = 0;
    const struct db_migration *steps = db_migrations(&n);
    fixture_close(f);
    f->db = NULL;
    snprintf(path, sizeof(path), "%s/chipshot.sqlite", f->directory);
    assert_ok(remove(path));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_ok(fclose(file));
    assert_ok(db_connection_open(&connection, path, DB_CONNECTION_WRITER, &f->err));
    assert_ok(db_migrate_with(connection, path, steps, 1, &f->err));
    db_connection_close(connection);
    fixture_edit(f, rows);
    /* Its files came with it. */
    fixture_path(f, "blobs/01", path);
    assert_ok(mkdir(path, 0700));
    fixture_write_file(f, "blobs/01/" SHA, "x");
}

static void an_old_directory_is_served(void **state)
{
    struct fixture *f = *state;
    struct db_project project;
    struct db_image image;
    struct db_job job;
    struct db_result result;
    struct db_encoder encoder;
    make_old(f);
    if (fixture_open(f) != 0)
        fail_msg("db_open: %s", f->err.message);
    assert_ok(db_project_get(f->db, "prj_" ULID, &project, &f->err));
    assert_string_equal(project.created_by, "");
    assert_ok(db_image_get(f->db, "img_" ULID, &image, &f->err));
    assert_int_equal(image.width, 4);
    assert_ok(db_encoder_get(f->db, "enc_" ULID, &encoder, &f->err));
    assert_string_equal(encoder.encoding, "chips");
    assert_ok(db_job_get(f->db, "job_" ULID, &job, &f->err));
    assert_int_equal(job.n_images, 1);
    assert_ok(
        db_result_get(f->db, "job_" ULID, "img_" ULID, DB_RESULT_WITH_MAPS, &result, &f->err));
    assert_true(result.probabilities[0] == 1);
    db_project_clear(&project);
    db_image_clear(&image);
    db_encoder_clear(&encoder);
    db_job_clear(&job);
    db_result_clear(&result);
}

static void an_old_servers_running_job_is_run_again(void **state)
{
    struct fixture *f = *state;
    struct db_job job;
    struct db_lease lease;
    uint64_t n = 0;
    make_old(f);
    assert_ok(fixture_open(f));
    assert_ok(db_job_requeue_expired(f->db, "me", NULL, &n, &f->err));
    assert_int_equal(n, 1);
    assert_ok(db_job_claim(f->db, "me", 60000, &job, &lease, &f->err));
    assert_int_equal(lease.token, 1);
    /* Of its result, which is kept. */
    assert_int_equal(job.n_chips_done, 1);
    db_job_clear(&job);
    assert_ok(db_job_finish(f->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &f->err));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_old_directory_is_served),
        TEST(an_old_servers_running_job_is_run_again),
    };
    return test_run(tests);
}
