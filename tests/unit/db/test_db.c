#include "tests/unit/db/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/migrations.h"
#include "db/stmt.h"

static void path_of(const struct fixture *f, const char *name, char out[700])
{
    snprintf(out, 700, "%s/%s", f->directory, name);
}

static void write_file(const struct fixture *f, const char *name, const char *text)
{
    char path[700];
    path_of(f, name, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* The first kilobytes of a file; size 0 when it is absent. */
static size_t read_file(const struct fixture *f, const char *name, char *out, size_t size)
{
    char path[700];
    path_of(f, name, path);
    FILE *file = fopen(path, "rb");
    size_t n = file != NULL ? fread(out, 1, size, file) : 0;
    if (file != NULL)
        fclose(file);
    return n;
}

static int rename_file(const struct fixture *f, const char *from, const char *to)
{
    char old_path[700], new_path[700];
    path_of(f, from, old_path);
    path_of(f, to, new_path);
    return rename(old_path, new_path);
}

/* ---- opening ---- */

static void parents_are_created_and_private(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    char path[700];
    struct stat status;
    path_of(f, "a/b/c", path);
    const struct db_config config = {.directory = path, .cache_max_size = 1000};
    assert_ok(db_open(&db, &config, &f->err));
    assert_string_equal(db_directory(db), path);
    db_close(db);
    path_of(f, "a", path);
    assert_ok(stat(path, &status));
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void a_second_server_is_refused(void **state)
{
    struct fixture *f = *state;
    struct db *second = NULL;
    char expected[700];
    const struct db_config config = {.directory = f->directory};
    assert_int_equal(db_open(&second, &config, &f->err), ERROR_CONFLICT);
    snprintf(expected, sizeof(expected), "another chipshot server is using %s", f->directory);
    assert_non_null(strstr(f->err.message, expected));
    assert_null(second);
    /* The refused one must not have disturbed the first. */
    fixture_fill(f);
    fixture_reopen(f);
}

static void a_file_is_no_directory(void **state)
{
    struct fixture *f = *state;
    struct db *db = NULL;
    char path[700];
    write_file(f, "plain", "x");
    path_of(f, "plain", path);
    const struct db_config config = {.directory = path};
    assert_int_equal(db_open(&db, &config, &f->err), ERROR_IO);
    assert_non_null(strstr(f->err.message, path));
    assert_non_null(strstr(f->err.message, "Not a directory"));
    path_of(f, "plain/below", path);
    assert_int_equal(db_open(&db, &config, &f->err), ERROR_IO);
    const struct db_config empty = {.directory = ""};
    assert_int_equal(db_open(&db, &empty, &f->err), ERROR_INVALID);
}

/* Root may write everywhere unless it gives that up. */
static void override_permissions(bool on)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {0};
    assert_ok(syscall(SYS_capget, &header, data));
    const uint32_t bits = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
    if (on)
        data[0].effective |= bits & data[0].permitted;
    else
        data[0].effective &= ~bits;
    assert_ok(syscall(SYS_capset, &header, data));
}

static void a_read_only_directory_is_refused(void **state)
{
    struct fixture *f = *state;
    char path[700];
    struct db *db = NULL;
    const struct db_config fresh = {.directory = path}, used = {.directory = f->directory};
    path_of(f, "fresh", path);
    assert_ok(mkdir(path, 0500));
    db_close(f->db);
    f->db = NULL;
    assert_ok(chmod(f->directory, 0500));
    override_permissions(false);
    int rc_fresh = db_open(&db, &fresh, &f->err);
    int rc_used = db_open(&db, &used, &f->err);
    override_permissions(true);
    assert_ok(chmod(f->directory, 0700));
    assert_int_equal(rc_fresh, ERROR_IO);
    assert_int_equal(rc_used, ERROR_IO);
    assert_non_null(strstr(f->err.message, "cannot be written: Permission denied"));
    assert_non_null(strstr(f->err.message, f->directory));
}

static void leftovers_are_swept_at_start(void **state)
{
    struct fixture *f = *state;
    char path[700];
    fixture_fill(f);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* A copy of the writer's state, as a crash between file and row leaves it. */
        struct db_blob_writer *whole = NULL, *partial = NULL;
        int rc = db_blob_writer_create(&whole, f->db, NULL);
        if (rc == 0)
            rc = db_blob_write(whole, "no row came", 11, NULL);
        if (rc == 0)
            rc = db_blob_writer_commit(whole, NULL);
        if (rc == 0)
            rc = db_blob_writer_create(&partial, f->db, NULL);
        _exit(rc == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(fixture_blob_exists(f, "no row came"));
    db_close(f->db);
    f->db = NULL;
    /* A clean end empties the lock file; a crash would have left it so. */
    write_file(f, "lock", "12345\n");
    write_file(f, "blobs/README", "not ours");
    /* A start that is refused must not forget that the end was not clean. */
    assert_ok(rename_file(f, "chipshot.sqlite", "aside"));
    write_file(f, "chipshot.sqlite",
               "not a database, and long enough to be looked at by SQLite:"
               " a file of less than a page is taken for an empty one.....");
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_ok(rename_file(f, "aside", "chipshot.sqlite"));
    assert_ok(fixture_open(f));
    assert_false(fixture_blob_exists(f, "no row came"));
    assert_true(fixture_blob_exists(f, "the first image"));
    assert_true(fixture_blob_exists(f, "the weights"));
    path_of(f, "blobs/README", path);
    assert_ok(access(path, F_OK));
    path_of(f, "tmp", path);
    assert_ok(rmdir(path));
    assert_ok(mkdir(path, 0700));
    assert_ok(db_integrity_check(f->db, &f->err));
}

static void check_writes_reads_and_measures(void **state)
{
    struct fixture *f = *state;
    uint64_t free_size = 0;
    assert_ok(db_check(f->db, &free_size, &f->err));
    assert_ok(db_check(f->db, &free_size, &f->err));
    assert_true(free_size > 0);
}

/* ---- migrations ---- */

static const struct db_migration steps[] = {
    {"one", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)"},
    {"two", "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x * 2"},
    {"three", "CREATE TABLE b (z INTEGER); CREATE TABLE a (x INTEGER)"},
};

static struct db_connection *open_file(struct fixture *f, const char *name)
{
    char path[700];
    struct db_connection *connection = NULL;
    path_of(f, name, path);
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
    int64_t value = db_column_int(stmt, 0, INT64_MIN, INT64_MAX);
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
    assert_ok(db_connection_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(query(f, connection, "SELECT y FROM a"), 14);
    db_connection_close(connection);
}

static void a_failed_step_leaves_the_version_before(void **state)
{
    struct fixture *f = *state;
    int64_t version = 0;
    struct db_connection *connection = open_file(f, "failing");
    assert_int_equal(db_migrate_with(connection, "failing", steps, 3, &f->err), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "three"));
    assert_ok(db_connection_schema_version(connection, &version, &f->err));
    assert_int_equal(version, 2);
    assert_int_equal(query(f, connection, "SELECT COUNT(*) FROM sqlite_master WHERE name = 'b'"),
                     0);
    db_connection_close(connection);
}

static void a_newer_version_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    static char before[1 << 20], after[1 << 20];
    fixture_fill(f);
    db_close(f->db);
    f->db = NULL;
    fixture_edit(f, "PRAGMA user_version = 99");
    size_t n_before = read_file(f, "chipshot.sqlite", before, sizeof(before));
    size_t n_wal = read_file(f, "chipshot.sqlite-wal", before + n_before, sizeof(before) / 2);
    assert_true(n_before > 0 && n_wal > 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_open(f), ERROR_CONFLICT);
        assert_non_null(strstr(f->err.message, "has schema version 99"));
        assert_non_null(strstr(f->err.message, "knows versions up to "));
        assert_non_null(strstr(f->err.message, "newer chipshot"));
    }
    assert_int_equal(read_file(f, "chipshot.sqlite", after, sizeof(after)), n_before);
    assert_int_equal(read_file(f, "chipshot.sqlite-wal", after + n_before, sizeof(after) / 2),
                     n_wal);
    assert_memory_equal(before, after, n_before + n_wal);
}

/* ---- damage ---- */

static void another_programs_database_is_refused(void **state)
{
    struct fixture *f = *state;
    db_close(f->db);
    f->db = NULL;
    fixture_edit(f, "PRAGMA application_id = 252006673");
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "another program"));
}

static void garbage_is_no_database(void **state)
{
    struct fixture *f = *state;
    char text[5000];
    db_close(f->db);
    f->db = NULL;
    memset(text, 'g', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    write_file(f, "chipshot.sqlite", text);
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    assert_non_null(strstr(f->err.message, "not a database"));
    /* Refused, not replaced. */
    assert_int_equal(read_file(f, "chipshot.sqlite", text, sizeof(text)), sizeof(text) - 1);
    assert_int_equal(text[100], 'g');
}

static void a_truncated_database_is_corrupt(void **state)
{
    struct fixture *f = *state;
    char path[700];
    struct stat status;
    struct db_job_list list;
    char id[DB_ID_SIZE];
    fixture_fill(f);
    for (int i = 0; i < 100; i++)
        assert_ok(fixture_add_job(f, 0, id));
    db_close(f->db);
    f->db = NULL;
    path_of(f, "chipshot.sqlite", path);
    assert_ok(stat(path, &status));
    assert_ok(truncate(path, status.st_size / 2));
    int rc = fixture_open(f);
    if (rc == 0) {
        assert_int_equal(db_integrity_check(f->db, &f->err), ERROR_CORRUPT);
        rc = db_job_list(f->db, f->project_id, NULL, &(struct db_page){.limit = 1000}, &list,
                         &f->err);
    }
    assert_int_equal(rc, ERROR_CORRUPT);
}

/* ---- a full disk ---- */

static void limit_file_size(rlim_t size)
{
    struct rlimit limit;
    assert_ok(getrlimit(RLIMIT_FSIZE, &limit));
    limit.rlim_cur = size;
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
}

/* Writes blobs and jobs until both say that the disk is full. */
static void fill_up(struct fixture *f, int *rc_blob, int *rc_job, uint64_t *n_jobs)
{
    static char block[65536];
    struct db_blob_writer *writer = NULL;
    char id[DB_ID_SIZE];
    *rc_blob = db_blob_writer_create(&writer, f->db, &f->err);
    for (int i = 0; *rc_blob == 0 && i < 1000; i++)
        *rc_blob = db_blob_write(writer, block, sizeof(block), &f->err);
    *n_jobs = 0;
    for (*rc_job = 0; *rc_job == 0 && *n_jobs < 5000; *n_jobs += *rc_job == 0)
        *rc_job = fixture_add_job(f, 0, id);
    if (writer != NULL && *rc_blob != 0) {
        assert_int_not_equal(db_blob_write(writer, "x", 1, NULL), 0);
        assert_int_not_equal(db_blob_writer_commit(writer, NULL), 0);
    }
    db_blob_writer_destroy(writer);
}

/* What was accepted is there and work goes on. */
static void expect_recovery(struct fixture *f, uint64_t n_jobs)
{
    uint64_t counts[5], free_size = 0;
    char id[DB_ID_SIZE];
    assert_ok(db_job_counts(f->db, counts, &f->err));
    assert_int_equal(counts[DB_JOB_QUEUED], n_jobs);
    assert_ok(db_check(f->db, &free_size, &f->err));
    assert_ok(fixture_add_job(f, 0, id));
    fixture_reopen(f);
    assert_ok(db_integrity_check(f->db, &f->err));
    assert_ok(db_job_counts(f->db, counts, &f->err));
    assert_int_equal(counts[DB_JOB_QUEUED], n_jobs + 1);
}

static void a_file_limit_counts_as_full(void **state)
{
    struct fixture *f = *state;
    int rc_blob, rc_job;
    uint64_t n_jobs;
    fixture_fill(f);
    signal(SIGXFSZ, SIG_IGN);
    limit_file_size(400000);
    fill_up(f, &rc_blob, &rc_job, &n_jobs);
    limit_file_size(RLIM_INFINITY);
    assert_int_equal(rc_blob, ERROR_FULL);
    assert_int_equal(rc_job, ERROR_FULL);
    expect_recovery(f, n_jobs);
}

static void a_full_disk_loses_nothing(void **state)
{
    struct fixture *f = *state;
    char directory[512], mounted[700];
    int rc_blob, rc_job;
    uint64_t n_jobs;
    memcpy(directory, f->directory, sizeof(directory));
    path_of(f, "small", mounted);
    assert_ok(mkdir(mounted, 0700));
    if (mount("tmpfs", mounted, "tmpfs", 0, "size=1200k") != 0) {
        print_message("skipped: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        skip();
    }
    db_close(f->db);
    f->db = NULL;
    snprintf(f->directory, sizeof(f->directory), "%.500s", mounted);
    int rc = fixture_open(f);
    if (rc == 0) {
        fixture_fill(f);
        /* First the jobs beside a large file, then without it. */
        write_file(f, "filler", "");
        char path[700];
        path_of(f, "filler", path);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        static char block[65536];
        while (write(fd, block, sizeof(block)) > 0)
            continue;
        while (write(fd, block, 4096) > 0)
            continue;
        close(fd);
        fill_up(f, &rc_blob, &rc_job, &n_jobs);
        unlink(path);
        if (rc_blob == ERROR_FULL && rc_job == ERROR_FULL)
            expect_recovery(f, n_jobs);
    }
    db_close(f->db);
    f->db = NULL;
    umount2(mounted, MNT_DETACH);
    memcpy(f->directory, directory, sizeof(directory));
    assert_ok(rc);
    assert_int_equal(rc_blob, ERROR_FULL);
    assert_int_equal(rc_job, ERROR_FULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parents_are_created_and_private),
        TEST(a_second_server_is_refused),
        TEST(a_file_is_no_directory),
        TEST(a_read_only_directory_is_refused),
        TEST(leftovers_are_swept_at_start),
        TEST(check_writes_reads_and_measures),
        TEST(an_old_version_migrates_up),
        TEST(a_failed_step_leaves_the_version_before),
        TEST(a_newer_version_is_refused_and_left_alone),
        TEST(another_programs_database_is_refused),
        TEST(garbage_is_no_database),
        TEST(a_truncated_database_is_corrupt),
        TEST(a_file_limit_counts_as_full),
        TEST(a_full_disk_loses_nothing),
    };
    return test_run(tests);
}
