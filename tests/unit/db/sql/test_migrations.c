#include "tests/unit/db/version_1.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "db/sql/migrations.h"
#include "db/sql/pragmas.h"

static const struct db_migration steps[] = {
    {"one", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)", DB_REFERENCES_HELD},
    {"two", "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x * 2", DB_REFERENCES_HELD},
    {"three", "CREATE TABLE b (z INTEGER); CREATE TABLE a (x INTEGER)", DB_REFERENCES_HELD},
};

static struct db_connection *open_file(struct fixture *f, const char *name)
{
    char path[700];
    struct db_connection *connection = NULL;
    fixture_path(f, name, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_ok(db_connection_open(&connection, path, DB_CONNECTION_WRITER, &f->err));
    return connection;
}

static int64_t query(struct fixture *f, struct db_connection *connection, const char *sql)
{
    struct db_stmt *stmt = NULL;
    assert_ok(db_stmt_prepare(&stmt, connection, "asking", sql, &f->err));
    assert_ok(db_stmt_step_one(stmt, &f->err));
    int64_t value = db_column_int(stmt, "n", INT64_MIN, INT64_MAX);
    assert_ok(db_stmt_fault(stmt, &f->err));
    db_stmt_finish(stmt);
    return value;
}

static void an_old_version_migrates_up(void **state)
{
    struct fixture *f = *state;
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "old");
    assert_ok(db_migrate_with(connection, "old", steps, 1, &f->err));
    db_connection_close(connection);
    connection = open_file(f, "old");
    assert_ok(db_migrate_with(connection, "old", steps, 2, &f->err));
    assert_ok(db_migrate_with(connection, "old", steps, 2, &f->err));
    assert_ok(db_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(query(f, connection, "SELECT y AS n FROM a"), 14);
    db_connection_close(connection);
}

static void a_failed_step_leaves_the_version_before(void **state)
{
    struct fixture *f = *state;
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "failing");
    assert_int_equal(db_migrate_with(connection, "failing", steps, 3, &f->err), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "three"));
    assert_ok(db_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(
        query(f, connection, "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = 'b'"), 0);
    db_connection_close(connection);
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    static char before[1 << 20], after[1 << 20];
    fixture_fill(f);
    fixture_close(f);
    fixture_edit(f, "PRAGMA user_version = 99");
    size_t n_before = fixture_read_file(f, "chipshot.sqlite", before, sizeof(before));
    size_t n_wal =
        fixture_read_file(f, "chipshot.sqlite-wal", before + n_before, sizeof(before) / 2);
    assert_true(n_before > 0 && n_wal > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_open(f), ERROR_CONFLICT);
        assert_non_null(strstr(f->err.message, "has schema version 99"));
        assert_non_null(strstr(f->err.message, "knows versions up to "));
        assert_non_null(strstr(f->err.message, "newer chipshot"));
    }
    assert_int_equal(fixture_read_file(f, "chipshot.sqlite", after, sizeof(after)), n_before);
    assert_int_equal(
        fixture_read_file(f, "chipshot.sqlite-wal", after + n_before, sizeof(after) / 2), n_wal);
    assert_memory_equal(before, after, n_before + n_wal);
}

static void a_migration_without_room_is_refused(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    int64_t version = 0;
    fixture_close(f);
    struct db_connection *connection = version_1_create(f);
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(getrlimit(RLIMIT_FSIZE, &limit));
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 8192;
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    int rc = db_migrate(connection, "it", &f->err);
    limit.rlim_cur = before;
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    assert_int_equal(rc, ERROR_FULL);
    assert_non_null(strstr(f->err.message, "it has schema version 1 and this program needs"));
    assert_non_null(strstr(f->err.message, "no room to migrate it"));
    assert_ok(db_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 1);
    assert_ok(db_migrate(connection, "it", &f->err));
    db_connection_close(connection);
}

/* ---- frames ---- */

static struct db_connection *reopen(struct fixture *f, struct db_connection *connection)
{
    char path[700];
    db_connection_close(connection);
    fixture_path(f, "chipshot.sqlite", path);
    assert_ok(db_connection_open(&connection, path, DB_CONNECTION_WRITER, &f->err));
    return connection;
}

static int insert_frame(struct fixture *f, struct db_connection *connection, const char *id,
                        const char *frame)
{
    char sql[1000];
    snprintf(sql, sizeof(sql),
             "INSERT INTO images (id, project_id, sha256, frame, name, format, conversion, width,"
             " height, bit_depth, n_channels, byte_size, pixel_size_nm, created_at)"
             " SELECT '%s', project_id, sha256, %s, name, format, conversion, width, height,"
             " bit_depth, n_channels, byte_size, pixel_size_nm, created_at FROM images"
             " WHERE id = '" VERSION_1_IMAGE "'",
             id, frame);
    return db_connection_run_script(connection, "inserting a frame", sql, &f->err);
}

static void images_of_version_1_are_first_frames(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    struct db_connection *connection = version_1_create(f);
    db_connection_close(connection);
    assert_ok(fixture_open(f));

    struct db_image image;
    assert_ok(db_image_get(f->db, VERSION_1_IMAGE, &image, &f->err));
    assert_string_equal(image.project_id, VERSION_1_PROJECT);
    assert_string_equal(image.name, "a.png");
    assert_string_equal(image.format, "png");
    assert_string_equal(image.conversion, "none");
    assert_string_equal(image.created_at, "2026-01-31T12:00:00.000Z");
    assert_int_equal(image.frame, 0);
    assert_int_equal(image.width, 3);
    assert_int_equal(image.height, 2);
    assert_int_equal(image.bit_depth, 8);
    assert_int_equal(image.n_channels, 1);
    assert_int_equal(image.byte_size, 9);
    assert_true(image.pixel_size_nm == 0.5);
    assert_true(image.pixel_x_nm == 0.5 && image.pixel_y_nm == 0.5);
    assert_string_equal(image.pixel_source, "sCAL");
    assert_string_equal(image.pixel_set_by, "");
    assert_int_equal(image.n_outliers, -1);
    assert_int_equal(image.revision, 1);
    db_image_clear(&image);

    struct db_support_set set;
    assert_ok(db_support_set_get(f->db, VERSION_1_SUPPORT_SET, 1, &set, &f->err));
    assert_int_equal(set.n_classes, 2);
    assert_string_equal(set.classes[0].examples[0].image_id, VERSION_1_IMAGE);
    assert_string_equal(set.classes[1].examples[0].image_id, VERSION_1_IMAGE);
    db_support_set_clear(&set);

    struct db_job job;
    bool exists = false;
    assert_ok(db_job_get(f->db, VERSION_1_JOB, &job, &f->err));
    assert_int_equal(job.n_images, 1);
    assert_string_equal(job.image_ids[0], VERSION_1_IMAGE);
    db_job_clear(&job);
    assert_ok(db_result_exists(f->db, VERSION_1_JOB, VERSION_1_IMAGE, &exists, &f->err));
    assert_true(exists);
    /* What refers to it still does. */
    assert_int_equal(db_image_delete(f->db, f->store, VERSION_1_IMAGE, &fixture_principal, &f->err),
                     ERROR_CONFLICT);
}

static void a_file_has_each_frame_once(void **state)
{
    struct fixture *f = *state;
    fixture_close(f);
    struct db_connection *connection = version_1_create(f);
    assert_ok(db_migrate(connection, "it", &f->err));
    assert_int_equal(insert_frame(f, connection, "img_1", "0"), ERROR_CONFLICT);
    assert_ok(insert_frame(f, connection, "img_1", "1"));
    assert_int_equal(insert_frame(f, connection, "img_2", "1"), ERROR_CONFLICT);
    assert_int_equal(insert_frame(f, connection, "img_2", "-1"), ERROR_CONFLICT);
    /* References hold on the connection that let go of them, and on a new one. */
    static const char *const refused[] = {
        "DELETE FROM images WHERE id = '" VERSION_1_IMAGE "'",
        "UPDATE job_images SET image_id = 'img_none'",
    };
    for (int i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++)
            assert_int_equal(db_connection_run_script(connection, "breaking", refused[k], &f->err),
                             ERROR_CONFLICT);
        connection = reopen(f, connection);
    }
    /* The project still takes its images along. */
    assert_ok(db_connection_run_script(connection, "deleting", "DELETE FROM projects", &f->err));
    assert_int_equal(query(f, connection, "SELECT COUNT(*) AS n FROM images"), 0);
    assert_int_equal(query(f, connection, "SELECT COUNT(*) AS n FROM results"), 0);
    db_connection_close(connection);
}

/* The old table's rows are not all taken over: what refers to them would refer to nothing. */
static void a_table_made_anew_without_its_rows_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct db_migration forgetful[] = {
        {"one",
         "CREATE TABLE a (x INTEGER PRIMARY KEY); INSERT INTO a VALUES (1), (2);"
         "CREATE TABLE b (y INTEGER REFERENCES a (x) ON DELETE CASCADE);"
         "INSERT INTO b VALUES (1), (2)",
         DB_REFERENCES_HELD},
        {"two",
         "CREATE TABLE c (x INTEGER PRIMARY KEY); INSERT INTO c VALUES (1);"
         "DROP TABLE a; ALTER TABLE c RENAME TO a",
         DB_REFERENCES_CHECKED_AT_END},
    };
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "forgetful");
    assert_int_equal(db_migrate_with(connection, "forgetful", forgetful, 2, &f->err),
                     ERROR_CORRUPT);
    assert_ok(db_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 1);
    assert_int_equal(query(f, connection, "SELECT COUNT(*) AS n FROM a"), 2);
    assert_int_equal(query(f, connection, "SELECT COUNT(*) AS n FROM b"), 2);
    /* Foreign keys are held again also after a failure. */
    assert_int_equal(
        db_connection_run_script(connection, "breaking", "INSERT INTO b VALUES (3)", &f->err),
        ERROR_CONFLICT);
    db_connection_close(connection);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_old_version_migrates_up),
        TEST(a_failed_step_leaves_the_version_before),
        TEST(images_of_version_1_are_first_frames),
        TEST(a_file_has_each_frame_once),
        TEST(a_table_made_anew_without_its_rows_is_refused),
        TEST(a_newer_version_is_refused_and_left_alone),
        TEST(a_migration_without_room_is_refused),
    };
    return test_run(tests);
}
