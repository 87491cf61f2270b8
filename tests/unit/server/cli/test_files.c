#include "tests/unit/db/fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/cli/files.h"

static int set_up(void **state)
{
    static char directory[512];
    fixture_directory(directory);
    *state = directory;
    return 0;
}

static int tear_down(void **state)
{
    fixture_remove_directory(*state);
    return 0;
}

static void make_path(char out[700], const char *directory, const char *name)
{
    snprintf(out, 700, "%s/%s", directory, name);
}

static size_t count_entries(const char *directory)
{
    DIR *stream = opendir(directory);
    assert_non_null(stream);
    size_t n = 0;
    while (readdir(stream) != NULL)
        n++;
    closedir(stream);
    return n - 2; /* . and .. */
}

static void assert_fault(int rc, int code, const struct error *err, const char *text)
{
    assert_int_equal(rc, code);
    if (strstr(err->message, text) == NULL)
        fail_msg("'%s' lacks '%s'", err->message, text);
}

static void what_was_written_is_read(void **state)
{
    const char *directory = *state;
    static const char bytes[] = "a\0b";
    struct file_bytes read = {0};
    struct error err = {0};
    char path[700];
    make_path(path, directory, "f");
    assert_ok(file_write(directory, "f", "an older text", 13, &err));
    assert_ok(file_write(directory, "f", bytes, 3, &err));
    assert_ok(file_read(path, 3, &read, &err));
    assert_int_equal(read.size, 3);
    assert_memory_equal(read.data, bytes, 4); /* and the NUL after it */
    file_bytes_clear(&read);
    assert_int_equal(count_entries(directory), 1);
}

static void faults_name_file_limit_and_value(void **state)
{
    const char *directory = *state;
    struct file_bytes read = {0};
    struct error err = {0};
    char path[700];
    assert_ok(file_write(directory, "f", "1234", 4, &err));
    make_path(path, directory, "f");
    assert_fault(file_read(path, 3, &read, &err), ERROR_INVALID, &err, "4 bytes");
    assert_fault(file_read(path, 3, &read, &err), ERROR_INVALID, &err, "limit of 3");
    assert_fault(file_read(path, 3, &read, &err), ERROR_INVALID, &err, path);
    make_path(path, directory, "absent");
    assert_fault(file_read(path, 3, &read, &err), ERROR_NOT_FOUND, &err, path);
    assert_fault(file_read(directory, 3, &read, &err), ERROR_INVALID, &err, "regular");
    assert_fault(file_write(path, "f", "", 0, &err), ERROR_NOT_FOUND, &err, path);
    assert_null(read.data);
}

/* Opening a pipe that nobody writes to would wait for ever. */
static void a_pipe_is_refused_at_once(void **state)
{
    struct file_bytes read = {0};
    struct error err = {0};
    char path[700];
    make_path(path, *state, "pipe");
    assert_ok(mkfifo(path, 0600));
    assert_fault(file_read(path, 100, &read, &err), ERROR_INVALID, &err, "regular");
}

static void a_write_that_fails_leaves_the_old_file(void **state)
{
    const char *directory = *state;
    struct file_bytes read = {0};
    struct error err = {0};
    struct rlimit old, limit;
    char path[700];
    static char large[100000];
    make_path(path, directory, "f");
    assert_ok(file_write(directory, "f", "old", 3, &err));
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(getrlimit(RLIMIT_FSIZE, &old));
    limit = (struct rlimit){.rlim_cur = 1000, .rlim_max = old.rlim_max};
    assert_ok(setrlimit(RLIMIT_FSIZE, &limit));
    int rc = file_write(directory, "f", large, sizeof(large), &err);
    assert_ok(setrlimit(RLIMIT_FSIZE, &old));
    assert_fault(rc, ERROR_FULL, &err, path);
    assert_ok(file_read(path, 100, &read, &err));
    assert_string_equal(read.data, "old");
    file_bytes_clear(&read);
    assert_int_equal(count_entries(directory), 1);
}

static void a_file_that_cannot_be_replaced_leaves_nothing_behind(void **state)
{
    const char *directory = *state;
    struct error err = {0};
    char path[700];
    make_path(path, directory, "f");
    assert_ok(mkdir(path, 0700));
    assert_fault(file_write(directory, "f", "x", 1, &err), ERROR_IO, &err, path);
    assert_int_equal(count_entries(directory), 1);
}

static void devices_pipes_and_links_are_not_replaced(void **state)
{
    const char *directory = *state;
    struct error err = {0};
    struct stat st;
    char path[700];
    make_path(path, directory, "pipe");
    assert_ok(mkfifo(path, 0600));
    assert_fault(file_write(directory, "pipe", "x", 1, &err), ERROR_INVALID, &err, path);
    assert_ok(lstat(path, &st));
    assert_true(S_ISFIFO(st.st_mode));
    make_path(path, directory, "link");
    assert_ok(symlink("nowhere", path));
    assert_fault(file_write(directory, "link", "x", 1, &err), ERROR_INVALID, &err, path);
    assert_ok(lstat(path, &st));
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(count_entries(directory), 2);
}

static void directories_are_made_with_their_parents(void **state)
{
    const char *directory = *state;
    struct error err = {0};
    struct stat status;
    char path[700];
    make_path(path, directory, "a/b//c/");
    assert_ok(file_make_directory(path, &err));
    assert_ok(file_make_directory(path, &err));
    assert_ok(stat(path, &status));
    assert_true(S_ISDIR(status.st_mode));
    assert_ok(file_make_directory("/", &err));
    assert_fault(file_make_directory("", &err), ERROR_INVALID, &err, "0 bytes");
}

static void a_file_in_the_way_is_no_directory(void **state)
{
    const char *directory = *state;
    struct error err = {0};
    char path[700];
    assert_ok(file_write(directory, "f", "x", 1, &err));
    make_path(path, directory, "f/g");
    assert_fault(file_make_directory(path, &err), ERROR_IO, &err, "f");
    make_path(path, directory, "f");
    assert_fault(file_make_directory(path, &err), ERROR_IO, &err, path);
}

#define with_directory(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_directory(what_was_written_is_read),
        with_directory(faults_name_file_limit_and_value),
        with_directory(a_pipe_is_refused_at_once),
        with_directory(a_write_that_fails_leaves_the_old_file),
        with_directory(a_file_that_cannot_be_replaced_leaves_nothing_behind),
        with_directory(devices_pipes_and_links_are_not_replaced),
        with_directory(directories_are_made_with_their_parents),
        with_directory(a_file_in_the_way_is_no_directory),
    };
    return test_run(tests);
}
