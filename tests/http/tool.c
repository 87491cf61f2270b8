#include "tests/http/tool.h"

#include "tests/test.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/http/workflow.h"

struct tool_outcome tool_outcome;

const char *tool_path(const char *name)
{
    static char paths[16][TOOL_PATH_SIZE];
    static unsigned next;
    const char *root = getenv("TMPDIR");
    char *path = paths[next++ % 16];
    snprintf(path, TOOL_PATH_SIZE, "%s/%s", root != NULL ? root : "/tmp", name);
    return path;
}

static void read_back(int fd, char *text)
{
    ssize_t n = pread(fd, text, TOOL_TEXT_SIZE - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
}

static int temporary(void)
{
    char path[TOOL_PATH_SIZE];
    snprintf(path, sizeof(path), "%s", tool_path("output.XXXXXX"));
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

void tool_run_to(const char *stdout_path, const char *const *arguments)
{
    const char *binary = getenv("CHIPSHOT_BINARY");
    const char *argv[32] = {binary != NULL ? binary : "build/chipshot"};
    for (size_t n = 1; arguments[n - 1] != NULL; n++) {
        assert_true(n + 1 < 32);
        argv[n] = arguments[n - 1];
    }
    int err = temporary();
    int out = stdout_path != NULL ? open(stdout_path, O_WRONLY | O_CLOEXEC) : temporary();
    assert_true(out >= 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    tool_outcome.status = WEXITSTATUS(status);
    read_back(err, tool_outcome.err);
    tool_outcome.out[0] = '\0';
    if (stdout_path == NULL)
        read_back(out, tool_outcome.out);
    else
        close(out);
}

void tool_assert_done(void)
{
    if (tool_outcome.status != 0)
        fail_msg("exit status %d: %s", tool_outcome.status, tool_outcome.err);
}

void tool_assert_refused(int status, const char *text)
{
    if (tool_outcome.status != status || strstr(tool_outcome.err, text) == NULL)
        fail_msg("exit status %d, not %d with '%s': %s", tool_outcome.status, status, text,
                 tool_outcome.err);
    const char *newline = strchr(tool_outcome.err, '\n');
    if (newline == NULL || newline[1] != '\0')
        fail_msg("not one line: %s", tool_outcome.err);
    assert_string_equal(tool_outcome.out, "");
}

void tool_write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

void tool_assert_same_file(const char *a, const char *b)
{
    size_t size_a = 0, size_b = 0;
    char *bytes_a = workflow_read_file(a, &size_a), *bytes_b = workflow_read_file(b, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);
    free(bytes_a);
    free(bytes_b);
}

size_t tool_read_labels(const char *path, tool_labels labels)
{
    size_t size = 0, n = 0;
    char *text = workflow_read_file(path, &size), *rest = text;
    memset(labels, 0, sizeof(tool_labels));
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        unsigned row, column, x, y;
        char label[64];
        if (sscanf(line, "%u,%u,%u,%u,%63[^,\r\n]", &row, &column, &x, &y, label) != 5)
            continue;
        assert_true(row < TOOL_SIDE && column < TOOL_SIDE);
        snprintf(labels[row][column], 64, "%s", label);
        n++;
    }
    free(text);
    return n;
}
