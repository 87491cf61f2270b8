/* A data directory is opened by one server at a time, and what a crash or a full disk leaves in it
 * does no harm. */
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

static int rename_file(const struct fixture *f, const char *from, const char *to)
{
    char old_path[700], new_path[700];
    fixture_path(f, from, old_path);
    fixture_path(f, to, new_path);
    return rename(old_path, new_path);
}

/* ---- opening ---- */

static void parents_are_created_and_private(void **state)
{
    struct fixture *f = *state;
    struct data *data = NULL;
    char path[700];
    struct stat status;
    fixture_path(f, "a/b/c", path);
    const struct data_config config = {.directory = path, .cache_max_size = 1000};
    assert_ok(data_open(&data, &config, &f->err));
    assert_string_equal(data->directory, path);
    data_close(data);
    fixture_path(f, "a", path);
    assert_ok(stat(path, &status));
    assert_int_equal(status.st_mode & 0777, 0700);
}

static void a_second_server_is_refused(void **state)
{
    struct fixture *f = *state;
    struct data *second = NULL;
    char expected[700];
    const struct data_config config = {.directory = f->directory};
    assert_int_equal(data_open(&second, &config, &f->err), ERROR_CONFLICT);
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
    struct data *data = NULL;
    char path[700];
    fixture_write_file(f, "plain", "x");
    fixture_path(f, "plain", path);
    const struct data_config config = {.directory = path};
    assert_int_equal(data_open(&data, &config, &f->err), ERROR_IO);
    assert_non_null(strstr(f->err.message, path));
    assert_non_null(strstr(f->err.message, "Not a directory"));
    fixture_path(f, "plain/below", path);
    assert_int_equal(data_open(&data, &config, &f->err), ERROR_IO);
    const struct data_config empty = {.directory = ""};
    assert_int_equal(data_open(&data, &empty, &f->err), ERROR_INVALID);
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
    struct data *data = NULL;
    const struct data_config fresh = {.directory = path}, used = {.directory = f->directory};
    fixture_path(f, "fresh", path);
    assert_ok(mkdir(path, 0500));
    fixture_close(f);
    assert_ok(chmod(f->directory, 0500));
    override_permissions(false);
    int rc_fresh = data_open(&data, &fresh, &f->err);
    int rc_used = data_open(&data, &used, &f->err);
    override_permissions(true);
    assert_ok(chmod(f->directory, 0700));
    assert_int_equal(rc_fresh, ERROR_IO);
    assert_int_equal(rc_used, ERROR_IO);
    assert_non_null(strstr(f->err.message, "cannot be written: Permission denied"));
    assert_non_null(strstr(f->err.message, f->directory));
}

static void a_directory_for_everybody_is_refused(void **state)
{
    struct fixture *f = *state;
    struct data *data = NULL;
    const struct data_config config = {.directory = f->directory};
    fixture_close(f);
    static const mode_t open[] = {0777, 01777, 0702, 0707};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        char text[16];
        assert_ok(chmod(f->directory, open[i]));
        assert_int_equal(data_open(&data, &config, &f->err), ERROR_INVALID);
        snprintf(text, sizeof(text), "mode %04o", (unsigned)open[i]);
        assert_non_null(strstr(f->err.message, text));
        assert_non_null(strstr(f->err.message, "chmod 700 "));
        assert_non_null(strstr(f->err.message, f->directory));
    }
    /* Its group's members are trusted: volumes are shared so. */
    static const mode_t taken[] = {0755, 02775, 0770, 0700};
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        assert_ok(chmod(f->directory, taken[i]));
        assert_ok(data_open(&data, &config, &f->err));
        data_close(data);
    }
}

static void a_directory_of_somebody_else_is_refused(void **state)
{
    struct fixture *f = *state;
    struct data *data = NULL;
    const struct data_config config = {.directory = f->directory};
    if (geteuid() != 0)
        skip(); /* only root can give a directory away */
    fixture_close(f);
    assert_ok(chown(f->directory, 12345, 0));
    assert_int_equal(data_open(&data, &config, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "belongs to user 12345"));
    assert_ok(chown(f->directory, 0, 0));
    assert_ok(data_open(&data, &config, &f->err));
    data_close(data);
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
        struct store_writer *whole = NULL, *partial = NULL;
        int rc = store_writer_create(&whole, f->store, NULL);
        if (rc == 0)
            rc = store_writer_write(whole, "no row came", 11, NULL);
        if (rc == 0)
            rc = store_writer_commit(whole, NULL);
        if (rc == 0)
            rc = store_writer_create(&partial, f->store, NULL);
        _exit(rc == 0 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(fixture_blob_exists(f, "no row came"));
    fixture_close(f);
    /* A clean end empties the lock file; a crash would have left it so. */
    fixture_write_file(f, "lock", "12345\n");
    fixture_write_file(f, "blobs/README", "not ours");
    /* A start that is refused must not forget that the end was not clean. */
    assert_ok(rename_file(f, "chipshot.sqlite", "aside"));
    fixture_write_file(f, "chipshot.sqlite",
                       "not a database, and long enough to be looked at by SQLite:"
                       " a file of less than a page is taken for an empty one.....");
    assert_int_equal(fixture_open(f), ERROR_CORRUPT);
    fixture_path(f, "chipshot.sqlite", path);
    assert_non_null(strstr(f->err.message, path));
    assert_ok(rename_file(f, "aside", "chipshot.sqlite"));
    assert_ok(fixture_open(f));
    assert_false(fixture_blob_exists(f, "no row came"));
    assert_true(fixture_blob_exists(f, "the first image"));
    assert_true(fixture_blob_exists(f, "the weights"));
    fixture_path(f, "blobs/README", path);
    assert_ok(access(path, F_OK));
    fixture_path(f, "tmp", path);
    assert_ok(rmdir(path));
    assert_ok(mkdir(path, 0700));
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
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
    struct store_writer *writer = NULL;
    char id[DB_ID_SIZE];
    *rc_blob = store_writer_create(&writer, f->store, &f->err);
    for (int i = 0; *rc_blob == 0 && i < 1000; i++)
        *rc_blob = store_writer_write(writer, block, sizeof(block), &f->err);
    *n_jobs = 0;
    for (*rc_job = 0; *rc_job == 0 && *n_jobs < 5000; *n_jobs += *rc_job == 0)
        *rc_job = fixture_add_job(f, 0, id);
    if (writer != NULL && *rc_blob != 0) {
        assert_int_not_equal(store_writer_write(writer, "x", 1, NULL), 0);
        assert_int_not_equal(store_writer_commit(writer, NULL), 0);
    }
    store_writer_destroy(writer);
}

/* What was accepted is there and work goes on. */
static void expect_recovery(struct fixture *f, uint64_t n_jobs)
{
    char id[DB_ID_SIZE];
    assert_int_equal(fixture_count_jobs(f, DB_JOB_QUEUED), n_jobs);
    assert_ok(db_check(f->db, &f->err));
    assert_ok(fixture_add_job(f, 0, id));
    fixture_reopen(f);
    assert_ok(db_integrity_check(f->db, f->store, &f->err));
    assert_int_equal(fixture_count_jobs(f, DB_JOB_QUEUED), n_jobs + 1);
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
    fixture_path(f, "small", mounted);
    assert_ok(mkdir(mounted, 0700));
    if (mount("tmpfs", mounted, "tmpfs", 0, "size=1200k,mode=0700") != 0) {
        print_message("skipped: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        skip();
    }
    fixture_close(f);
    snprintf(f->directory, sizeof(f->directory), "%.500s", mounted);
    int rc = fixture_open(f);
    if (rc == 0) {
        fixture_fill(f);
        /* First the jobs beside a large file, then without it. */
        fixture_write_file(f, "filler", "");
        char path[700];
        fixture_path(f, "filler", path);
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
    fixture_close(f);
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
        TEST(a_directory_for_everybody_is_refused),
        TEST(a_directory_of_somebody_else_is_refused),
        TEST(leftovers_are_swept_at_start),
        TEST(a_file_limit_counts_as_full),
        TEST(a_full_disk_loses_nothing),
    };
    return test_run(tests);
}
