#include "tests/http/server.h"

#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_ARGUMENTS = 32, PATIENCE_MS = 60000 };

static const char *binary(void)
{
    const char *path = getenv("CHIPSHOT_BINARY");
    return path != NULL ? path : "build/chipshot";
}

void server_init(struct server_process *server)
{
    const char *root = getenv("TMPDIR");
    memset(server, 0, sizeof(*server));
    snprintf(server->data, sizeof(server->data), "%s/http.XXXXXX", root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(server->data));
    snprintf(server->log, sizeof(server->log), "%.500s.log", server->data);
}

bool server_init_small(struct server_process *server, const char *size)
{
    char options[64];
    server_init(server);
    snprintf(options, sizeof(options), "size=%s,mode=0700", size);
    /* In a namespace of this program's own, so that nothing stays mounted however it ends. */
    server->mounted = unshare(CLONE_NEWNS) == 0 &&
                      mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                      mount("tmpfs", server->data, "tmpfs", 0, options) == 0;
    if (!server->mounted) {
        print_message("skipped: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        server_clear(server);
        return false;
    }
    return true;
}

static void filler_path(const struct server_process *server, char out[600])
{
    snprintf(out, 600, "%s/filler", server->data);
}

void server_fill_disk(const struct server_process *server, uint64_t left)
{
    static const char block[4096];
    char path[600];
    struct statvfs device;
    filler_path(server, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    do {
        assert_int_equal(fstatvfs(fd, &device), 0);
    } while ((uint64_t)device.f_bavail * device.f_frsize > left &&
             write(fd, block, sizeof(block)) > 0);
    close(fd);
}

void server_empty_disk(const struct server_process *server)
{
    char path[600];
    filler_path(server, path);
    assert_int_equal(unlink(path), 0);
}

/* In the child, before exec: only async-signal-safe calls matter little here, the test program has
 * one thread. */
static void restrict_child(const struct server_options *options)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (options != NULL && options->max_file_size > 0) {
        const struct rlimit limit = {options->max_file_size, options->max_file_size};
        signal(SIGXFSZ, SIG_IGN); /* write() then fails with EFBIG */
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    if (options != NULL && options->max_open_files > 0) {
        const struct rlimit limit = {options->max_open_files, options->max_open_files};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (options != NULL && options->no_privileges) {
        enum { DAC_OVERRIDE = 1, DAC_READ_SEARCH = 2 };
        prctl(PR_CAPBSET_DROP, DAC_OVERRIDE, 0, 0, 0);
        prctl(PR_CAPBSET_DROP, DAC_READ_SEARCH, 0, 0, 0);
    }
}

static pid_t spawn(char *const *argv, const struct server_options *options, int out, int err)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    restrict_child(options);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(binary(), argv);
    _exit(127);
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads until the end, a newline (`line`), or for too long. */
static void read_text(int fd, bool line, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    while (n + 1 < size) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        if (poll(&waiting, 1, PATIENCE_MS) != 1)
            fail_msg("%s says nothing", binary());
        ssize_t got = read(fd, text + n, line ? 1 : size - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        text[n] = '\0';
        if (line && text[n - 1] == '\n')
            break;
    }
}

/* Fills argv for `serve` in `server`'s directory. */
static void serve_arguments(struct server_process *server, const struct server_options *options,
                            const char **argv)
{
    size_t n = 0;
    argv[n++] = binary();
    argv[n++] = "serve";
    argv[n++] = "--listen";
    argv[n++] = "127.0.0.1:0";
    argv[n++] = "--data";
    argv[n++] = server->data;
    argv[n++] = "--threads";
    argv[n++] = "1";
    const char *const *more = options != NULL ? options->arguments : NULL;
    for (; more != NULL && *more != NULL && n + 1 < MAX_ARGUMENTS; more++)
        argv[n++] = *more;
    argv[n] = NULL;
}

void server_start(struct server_process *server, const struct server_options *options)
{
    const char *argv[MAX_ARGUMENTS];
    serve_arguments(server, options, argv);
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    int err = open(server->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(err >= 0);
    server->pid = spawn((char *const *)(uintptr_t)argv, options, out[1], err);
    close(out[1]);
    close(err);
    char line[256];
    read_text(out[0], true, line, sizeof(line));
    close(out[0]);
    const char *colon = strrchr(line, ':');
    if (strncmp(line, "listening on http://127.0.0.1:", 30) != 0 || colon == NULL) {
        char said[2048];
        server_read_log(server, said, sizeof(said));
        fail_msg("the server did not start: '%s' %s", line, said);
    }
    server->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

int server_refusal(struct server_process *server, const struct server_options *options, char *text,
                   size_t size)
{
    const char *argv[MAX_ARGUMENTS];
    serve_arguments(server, options, argv);
    int err[2];
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    server->pid = spawn((char *const *)(uintptr_t)argv, options, null, err[1]);
    close(err[1]);
    close(null);
    read_text(err[0], false, text, size);
    close(err[0]);
    int status = wait_for(server->pid);
    server->pid = 0;
    return status;
}

int server_stop(struct server_process *server, int signal)
{
    assert_true(server->pid > 0);
    assert_int_equal(kill(server->pid, signal), 0);
    int status = wait_for(server->pid);
    server->pid = 0;
    return status;
}

void server_read_log(const struct server_process *server, char *text, size_t size)
{
    FILE *file = fopen(server->log, "rb");
    assert_non_null(file);
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
}

void server_wait_log(const struct server_process *server, const char *mark)
{
    /* The kernel wakes us when the server writes; the log is looked at once more before. */
    int watch = inotify_init1(IN_CLOEXEC);
    assert_true(watch >= 0);
    assert_true(inotify_add_watch(watch, server->log, IN_MODIFY) >= 0);
    static char text[65536];
    char event[4096];
    for (server_read_log(server, text, sizeof(text)); strstr(text, mark) == NULL;
         server_read_log(server, text, sizeof(text))) {
        struct pollfd waiting = {.fd = watch, .events = POLLIN};
        if (poll(&waiting, 1, PATIENCE_MS) != 1)
            fail_msg("'%s' is not in the log: %s", mark,
                     strlen(text) > 600 ? text + strlen(text) - 600 : text);
        assert_true(read(watch, event, sizeof(event)) > 0);
    }
    close(watch);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    remove(path);
    return 0;
}

void server_clear(struct server_process *server)
{
    if (server->pid > 0)
        server_stop(server, SIGKILL);
    if (server->mounted)
        umount2(server->data, MNT_DETACH);
    chmod(server->data, 0700);
    nftw(server->data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    remove(server->log);
}

int server_run_tool(const char *const *arguments, char *text, size_t size)
{
    const char *argv[MAX_ARGUMENTS] = {binary()};
    for (size_t n = 1; *arguments != NULL && n + 1 < MAX_ARGUMENTS; arguments++)
        argv[n++] = *arguments;
    int out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = spawn((char *const *)(uintptr_t)argv, NULL, out[1], STDERR_FILENO);
    close(out[1]);
    read_text(out[0], false, text, size);
    close(out[0]);
    return wait_for(pid);
}

static size_t n_files; /* nftw has no context */

static int count_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)path;
    (void)status;
    (void)walk;
    n_files += kind == FTW_F;
    return 0;
}

void server_create_key(const struct server_process *server, char *token, size_t size)
{
    char said[1024];
    const char *const arguments[] = {"key", "create", "test", "--data", server->data, NULL};
    assert_int_equal(server_run_tool(arguments, said, sizeof(said)), 0);
    const char *found = strstr(said, "chipshot_");
    assert_non_null(found);
    snprintf(token, size, "%.*s", (int)strcspn(found, " \r\n"), found);
}

size_t server_count_files(const struct server_process *server, const char *folder)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", server->data, folder);
    n_files = 0;
    nftw(path, count_one, 16, FTW_PHYS);
    return n_files;
}
