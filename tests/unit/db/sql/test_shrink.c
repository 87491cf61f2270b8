#include "tests/unit/db/fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "db/sql/connection.h"
#include "db/sql/pragmas.h"
#include "db/sql/shrink.h"

enum { MIB = 1 << 20 };

/* 16 MiB of images in the fixture's project, which no file stands behind. */
static void add_images(struct fixture *f)
{
    char sql[1000];
    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)"
             " INSERT INTO images (id, project_id, sha256, frame, name, format, conversion, width,"
             " height, bit_depth, n_channels, byte_size, pixel_size_nm, created_at, created_by)"
             " SELECT 'img_' || i, '%s', printf('%%064x', i), 0, printf('%%4000d', i), 'png',"
             " 'none', 4, 4, 8, 1, 9, 0.0, '2026-01-31T12:00:00.000Z', '' FROM n",
             f->project_id);
    fixture_close(f);
    fixture_edit(f, sql);
    fixture_reopen(f);
    fixture_reopen(f); /* the log is in the file now */
}

static uint64_t size_of(const struct fixture *f, const char *name)
{
    char path[700];
    struct stat status;
    fixture_path(f, name, path);
    return stat(path, &status) == 0 ? (uint64_t)status.st_size : 0;
}

static void fill_and_delete(struct fixture *f, char kept[DB_ID_SIZE])
{
    fixture_add_project(f, "deleted", f->project_id);
    add_images(f);
    fixture_add_project(f, "kept", kept);
    assert_ok(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err));
}

static void expect_kept(struct fixture *f, const char *kept)
{
    struct db_project project;
    assert_ok(db_project_get(f->db, kept, &project, &f->err));
    assert_string_equal(project.name, "kept");
    db_project_clear(&project);
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
}

/* Wiping what is deleted would take as much room again, just when there is none. */
static void deleting_writes_little(void **state)
{
    struct fixture *f = *state;
    char kept[DB_ID_SIZE];
    fill_and_delete(f, kept);
    assert_true(size_of(f, "chipshot.sqlite") > 16 * MIB);
    if (size_of(f, "chipshot.sqlite-wal") >= 4 * MIB)
        fail_msg("the log has %llu bytes", (unsigned long long)size_of(f, "chipshot.sqlite-wal"));
}

static void the_file_shrinks_step_by_step(void **state)
{
    struct fixture *f = *state;
    char kept[DB_ID_SIZE];
    unsigned n_steps = 0;
    fill_and_delete(f, kept);
    for (bool more = true; more; n_steps++)
        assert_ok(db_shrink(f->db, &more, &f->err));
    assert_true(n_steps >= 1);
    assert_true(size_of(f, "chipshot.sqlite") < 2 * MIB);
    assert_true(size_of(f, "chipshot.sqlite-wal") <= DB_LOG_KEPT_SIZE);
    expect_kept(f, kept);
}

/* Who reads sees the database as it was; the file is cut when that is over. */
static void a_reader_holds_the_file(void **state)
{
    struct fixture *f = *state;
    struct db_connection *reader = NULL;
    char kept[DB_ID_SIZE];
    bool more = true;
    fixture_add_project(f, "deleted", f->project_id);
    add_images(f);
    fixture_add_project(f, "kept", kept);
    assert_ok(db_read_begin(f->db, &reader, &f->err));
    struct db_pages pages;
    assert_ok(db_pages_count(reader, &pages, &f->err)); /* its state begins with a first read */
    assert_ok(db_project_delete(f->db, f->store, f->project_id, &fixture_principal, &f->err));
    for (int i = 0; i < 10000 && pages.n_pages * pages.page_size > 2 * MIB; i++) {
        struct db_connection *other = NULL;
        assert_ok(db_shrink(f->db, &more, &f->err));
        assert_ok(db_read_begin(f->db, &other, &f->err));
        assert_ok(db_pages_count(other, &pages, &f->err));
        db_read_end(f->db, other);
    }
    assert_ok(db_shrink(f->db, &more, &f->err));
    assert_true(more);
    assert_true(size_of(f, "chipshot.sqlite") > 16 * MIB);
    db_read_end(f->db, reader);
    assert_ok(db_shrink(f->db, &more, &f->err));
    assert_false(more);
    assert_true(size_of(f, "chipshot.sqlite") < 2 * MIB);
    expect_kept(f, kept);
}

/* A database as versions before made them, whose free pages stay. */
static void make_old(struct fixture *f)
{
    fixture_close(f);
    fixture_edit(f, "PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM;"
                    "PRAGMA journal_mode = WAL");
    fixture_reopen(f);
}

static int shrink_whole(struct fixture *f, struct db_shrunk *out)
{
    char path[700];
    fixture_path(f, "chipshot.sqlite", path);
    return db_shrink_whole(f->directory, path, out, &f->err);
}

static void an_old_database_is_copied_once(void **state)
{
    struct fixture *f = *state;
    struct db_shrunk shrunk;
    char kept[DB_ID_SIZE];
    bool more = true;
    make_old(f);
    fill_and_delete(f, kept);
    assert_ok(db_shrink(f->db, &more, &f->err));
    assert_false(more);
    assert_true(size_of(f, "chipshot.sqlite") > 16 * MIB);
    fixture_close(f);
    assert_ok(shrink_whole(f, &shrunk));
    assert_true(shrunk.before > 16 * MIB);
    assert_true(shrunk.after < 2 * MIB);
    assert_int_equal(size_of(f, "chipshot.sqlite"), shrunk.after);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    fixture_reopen(f);
    expect_kept(f, kept);
    /* From now on it does so by itself. */
    fill_and_delete(f, kept);
    for (more = true; more;)
        assert_ok(db_shrink(f->db, &more, &f->err));
    assert_true(size_of(f, "chipshot.sqlite") < 2 * MIB);
    expect_kept(f, kept);
    fixture_close(f);
    assert_ok(shrink_whole(f, &shrunk));
    assert_true(shrunk.after <= shrunk.before);
    fixture_reopen(f);
    expect_kept(f, kept);
}

static void a_copy_without_room_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct db_shrunk shrunk;
    struct rlimit limit;
    char kept[DB_ID_SIZE];
    make_old(f);
    fill_and_delete(f, kept);
    fixture_close(f);
    const uint64_t size = size_of(f, "chipshot.sqlite");
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(getrlimit(RLIMIT_FSIZE, &limit));
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = 65536;
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    int rc = shrink_whole(f, &shrunk);
    limit.rlim_cur = before;
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    assert_int_equal(rc, ERROR_FULL);
    assert_int_equal(size_of(f, "chipshot.sqlite"), size);
    assert_int_equal(fixture_n_temporary(f->directory), 0);
    fixture_reopen(f);
    expect_kept(f, kept);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deleting_writes_little),
        TEST(the_file_shrinks_step_by_step),
        TEST(a_reader_holds_the_file),
        TEST(an_old_database_is_copied_once),
        TEST(a_copy_without_room_changes_nothing),
    };
    return test_run(tests);
}
