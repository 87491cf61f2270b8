/* Two processes over one database file: a worker that is stopped for longer than its lease, and one
 * that is killed. The other process is this program again, as `test_lease worker DIR LEASE_MS`. The
 * directory's locks are taken out of its way, because only they keep two servers apart. */
#include "tests/unit/server/worker/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdnoreturn.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/events.h"
#include "server/worker/lease_owner.h"

enum { SHORT_LEASE_MS = 400 };

/* ---- the other process ---- */

static noreturn void be_worker(const char *directory, const char *lease_ms)
{
    static struct rig rig;
    rig_join(&rig, directory, RIG_CACHE_SIZE);
    rig.lease_ms = (uint32_t)strtoul(lease_ms, NULL, 10);
    rig.log = (struct log){.fd = STDOUT_FILENO, .level = LOG_LEVEL_INFO};
    rig.log_fd = STDOUT_FILENO;
    rig_start(&rig, 1);
    for (;;)
        pause();
}

struct other {
    pid_t pid;
    int log_fd;
};

static void start_other(struct rig *rig, uint32_t lease_ms, struct other *other)
{
    char lock[600], moved[600], lease[16];
    int ends[2];
    snprintf(lock, sizeof(lock), "%s/lock", rig->directory);
    snprintf(moved, sizeof(moved), "%s/lock.first", rig->directory);
    assert_ok(rename(lock, moved));
    assert_ok(flock(rig->service.data->claim.directory_fd, LOCK_UN));
    snprintf(lease, sizeof(lease), "%u", lease_ms);
    assert_ok(pipe2(ends, O_CLOEXEC));
    other->pid = fork();
    assert_true(other->pid >= 0);
    if (other->pid == 0) {
        /* It must not outlive a test that fails. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_lease", "worker", rig->directory, lease, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    other->log_fd = ends[0];
}

/* Reads what the other logs until it says that a job has begun or ended. */
static void read_job_event(struct other *other, char *out, size_t size)
{
    static const char *const marks[] = {"job_started", "job_ended", "job_lease_lost"};
    char line[LOG_LINE_SIZE + 1];
    for (size_t n = 0;;) {
        struct pollfd waiting = {.fd = other->log_fd, .events = POLLIN};
        if (poll(&waiting, 1, RIG_PATIENCE_MS) != 1 || read(other->log_fd, &line[n], 1) != 1)
            fail_msg("the other process says nothing more");
        if (line[n++] != '\n' && n < LOG_LINE_SIZE)
            continue;
        line[n] = '\0';
        n = 0;
        for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
            if (strstr(line, marks[i]) == NULL)
                continue;
            snprintf(out, size, "%s", marks[i]);
            return;
        }
    }
}

static void send_signal(const struct other *other, int signal, int flag)
{
    siginfo_t info;
    assert_ok(kill(other->pid, signal));
    assert_ok(waitid(P_PID, (id_t)other->pid, &info, flag));
}

/* Stops the other process, but not while it writes: it would hold SQLite's lock for as long. */
static void stop_other(struct rig *rig, const struct other *other)
{
    for (;;) {
        send_signal(other, SIGSTOP, WSTOPPED);
        int rc = db_check(rig->db, &rig->err);
        if (rc == 0)
            return;
        assert_int_equal(rc, ERROR_BUSY);
        send_signal(other, SIGCONT, WCONTINUED);
    }
}

static void end_other(struct other *other)
{
    kill(other->pid, SIGKILL);
    assert_int_equal(waitpid(other->pid, NULL, 0), other->pid);
    close(other->log_fd);
}

/* ---- this process ---- */

static uint64_t last_sequence(struct rig *rig)
{
    struct db_event_list list;
    assert_ok(db_event_list(rig->db, 0, 1000, &list, &rig->err));
    uint64_t last = list.n_items;
    db_event_list_clear(&list);
    return last;
}

/* A job of thousands of chips that the other process has begun. */
static void begin_in_other(struct rig *rig, uint32_t lease_ms, struct other *other,
                           char images[1][DB_ID_SIZE], char id[DB_ID_SIZE])
{
    char set[DB_ID_SIZE], said[32];
    rig_add_image(rig, 1, RIG_WIDTH / 2, images[0]);
    rig_add_plain_set(rig, images[0], set);
    rig_insert(rig, set, (const char(*)[DB_ID_SIZE])images, 1, 1, id);
    start_other(rig, lease_ms, other);
    read_job_event(other, said, sizeof(said));
    assert_string_equal(said, "job_started");
}

/* Takes the stopped worker's job as another worker does, once its lease is over. */
static void take_over(struct rig *rig, struct db_lease *lease)
{
    struct db_job job;
    uint64_t n = 0;
    const int64_t deadline = clock_now_ms() + RIG_PATIENCE_MS;
    while (n == 0 && clock_now_ms() < deadline)
        assert_ok(db_job_requeue_expired(rig->db, "test", lease_owner_is_gone, &n, &rig->err));
    assert_int_equal(n, 1);
    assert_ok(db_job_claim(rig->db, "test", DB_LEASE_MAX_MS, &job, lease, &rig->err));
    assert_int_equal(lease->token, 2);
    db_job_clear(&job);
}

static void who_was_stopped_too_long_writes_nothing(void **state)
{
    struct rig *rig = *state;
    struct other other;
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE], said[32];
    struct db_job before, after;
    struct db_lease lease;
    bool exists = true, cancel;
    begin_in_other(rig, SHORT_LEASE_MS, &other, images, id);
    stop_other(rig, &other);
    take_over(rig, &lease);
    rig_get(rig, id, &before);
    const uint64_t n_events = last_sequence(rig);

    send_signal(&other, SIGCONT, WCONTINUED);
    read_job_event(&other, said, sizeof(said));
    assert_string_equal(said, "job_lease_lost");
    rig_get(rig, id, &after);
    assert_int_equal(after.state, DB_JOB_RUNNING);
    assert_int_equal(after.n_chips_done, before.n_chips_done);
    assert_int_equal(after.attempts, before.attempts);
    assert_ok(db_result_exists(rig->db, id, images[0], &exists, &rig->err));
    assert_false(exists);
    assert_int_equal(last_sequence(rig), n_events);
    db_job_clear(&before);
    db_job_clear(&after);

    /* Who took the job over still has it. */
    assert_ok(db_job_heartbeat(rig->db, &lease, DB_LEASE_MAX_MS, 1, &cancel, &rig->err));
    assert_ok(db_job_finish(rig->db, &lease, DB_JOB_SUCCEEDED, NULL, NULL, &rig->err));
    end_other(&other);
}

static void who_is_only_stopped_keeps_its_lease(void **state)
{
    struct rig *rig = *state;
    struct other other;
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE];
    struct db_job job;
    uint64_t n = 99;
    begin_in_other(rig, DB_LEASE_MAX_MS, &other, images, id);
    stop_other(rig, &other);
    assert_ok(db_job_requeue_expired(rig->db, "test", lease_owner_is_gone, &n, &rig->err));
    assert_int_equal(n, 0);
    rig_get(rig, id, &job);
    assert_int_equal(job.state, DB_JOB_RUNNING);
    db_job_clear(&job);
    end_other(&other);
}

/* Its lease has minutes left. */
static void a_dead_workers_job_goes_on_at_once(void **state)
{
    struct rig *rig = *state;
    struct other other;
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE];
    begin_in_other(rig, DB_LEASE_MAX_MS, &other, images, id);
    stop_other(rig, &other);
    send_signal(&other, SIGKILL, WEXITED | WNOWAIT);
    rig_capture_log(rig);
    rig_start(rig, 2);
    rig_wait_log(rig, "jobs_requeued_at_start");
    rig_wait_log(rig, "job_started");
    rig_stop(rig, 0);
    end_other(&other);
}

/* The worker runs already when the other process dies. */
static void a_death_is_noticed(void **state)
{
    struct rig *rig = *state;
    struct other other;
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE];
    begin_in_other(rig, DB_LEASE_MAX_MS, &other, images, id);
    stop_other(rig, &other);
    rig->lease_ms = SHORT_LEASE_MS;
    rig_capture_log(rig);
    rig_start(rig, 1);
    send_signal(&other, SIGKILL, WEXITED | WNOWAIT);
    rig_wait_log(rig, "job_started");
    rig_stop(rig, 0);
    end_other(&other);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_rig(who_was_stopped_too_long_writes_nothing),
        with_rig(who_is_only_stopped_keeps_its_lease),
        with_rig(a_dead_workers_job_goes_on_at_once),
        with_rig(a_death_is_noticed),
    };
    if (argc == 4 && strcmp(argv[1], "worker") == 0)
        be_worker(argv[2], argv[3]);
    return test_run(tests);
}
