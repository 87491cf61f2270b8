#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

/* An empty directory, removed with what the tests put there. */
static int set_up(void **state)
{
    const char *parent = getenv("TMPDIR");
    char *directory = NULL;
    assert_true(asprintf(&directory, "%s/chipshot-files-XXXXXX", parent ? parent : "/tmp") > 0);
    assert_non_null(mkdtemp(directory));
    *state = directory;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"/a/b/c", "/a/b", "/a", "/f", ""};
    char path[700];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", (char *)*state, names[i]);
        remove(path);
    }
    free(*state);
    return 0;
}

static int write_file(const char *path, const char *text)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void reading_ends_at_the_size_or_the_files_end(void **state)
{
    char path[700], text[8] = "";
    snprintf(path, sizeof(path), "%s/f", (char *)*state);
    const int fd = write_file(path, "12345");
    assert_int_equal(files_read_all(fd, text, 3), 3);
    assert_memory_equal(text, "123", 3);
    assert_int_equal(files_read_all(fd, text, sizeof(text)), 2);
    assert_memory_equal(text, "45", 2);
    close(fd);
    assert_int_equal(files_read_all(-1, text, 1), -1);
    assert_int_equal(errno, EBADF);
}

static void parts_are_put_together(void **state)
{
    (void)state;
    int ends[2];
    char text[8] = "";
    /* Each read takes one packet. */
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(write(ends[1], "123", 3), 3);
    assert_int_equal(write(ends[1], "45", 2), 2);
    close(ends[1]);
    assert_int_equal(files_read_all(ends[0], text, sizeof(text)), 5);
    assert_string_equal(text, "12345");
    close(ends[0]);
}

static void directories_are_made_with_parents_and_mode(void **state)
{
    char path[700], whole[700];
    struct stat status;
    snprintf(whole, sizeof(whole), "%s/a/b//c/", (char *)*state);
    for (int i = 0; i < 2; i++) {
        memcpy(path, whole, sizeof(path));
        assert_int_equal(files_make_directories(path, 0700), 0);
        assert_string_equal(path, whole);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & (S_IFMT | 07777), S_IFDIR | 0700);
    }
    assert_int_equal(files_make_directories((char[]){"/"}, 0700), 0);
    assert_int_equal(files_make_directories((char[]){""}, 0700), ENOENT);
}

static void the_part_that_failed_is_named(void **state)
{
    char path[700], file[600];
    snprintf(file, sizeof(file), "%s/f", (char *)*state);
    close(write_file(file, "x"));
    assert_int_equal(files_make_directory(file, 0700), ENOTDIR);
    snprintf(path, sizeof(path), "%s/g/h", file);
    assert_int_equal(files_make_directories(path, 0700), ENOTDIR);
    assert_string_equal(path, file);
}

#define with_directory(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_directory(reading_ends_at_the_size_or_the_files_end),
        cmocka_unit_test(parts_are_put_together),
        with_directory(directories_are_made_with_parents_and_mode),
        with_directory(the_part_that_failed_is_named),
    };
    return test_run(tests);
}
