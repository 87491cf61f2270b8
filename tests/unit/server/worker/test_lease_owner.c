#include "tests/test.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/worker/lease_owner.h"

/* An owner in its parts, to make others of. */
struct parts {
    char boot[40], namespace[24], random[17];
    long pid;
    unsigned long long start;
};

static struct parts own_parts(void)
{
    char owner[DB_OWNER_SIZE];
    struct parts parts;
    lease_owner_create(owner);
    assert_int_equal(sscanf(owner, "%39[0-9a-f-]/%23[0-9]/%ld/%llu/%16[0-9a-f]", parts.boot,
                            parts.namespace, &parts.pid, &parts.start, parts.random),
                     5);
    return parts;
}

static bool is_gone(const struct parts *parts)
{
    char owner[DB_OWNER_SIZE];
    snprintf(owner, sizeof(owner), "%s/%s/%ld/%llu/%s", parts->boot, parts->namespace, parts->pid,
             parts->start, parts->random);
    return lease_owner_is_gone(owner);
}

static void an_owner_names_one_worker(void **state)
{
    (void)state;
    char first[DB_OWNER_SIZE], second[DB_OWNER_SIZE];
    struct parts parts = own_parts();
    assert_int_equal(parts.pid, getpid());
    assert_true(parts.start > 0);
    lease_owner_create(first);
    lease_owner_create(second);
    assert_string_not_equal(first, second);
    assert_false(lease_owner_is_gone(first));
}

static void a_process_with_the_same_number_is_another(void **state)
{
    (void)state;
    struct parts parts = own_parts();
    assert_false(is_gone(&parts));
    parts.start--;
    assert_true(is_gone(&parts));
}

static void nothing_is_known_of_other_machines(void **state)
{
    (void)state;
    struct parts parts = own_parts();
    parts.start--;
    parts.boot[0] = parts.boot[0] == '0' ? '1' : '0';
    assert_false(is_gone(&parts));
    parts = own_parts();
    parts.start--;
    parts.namespace[0] = parts.namespace[0] == '1' ? '2' : '1';
    assert_false(is_gone(&parts));
}

static void other_texts_prove_nothing(void **state)
{
    (void)state;
    char text[DB_OWNER_SIZE];
    const struct parts own = own_parts();
    const char *const others[] = {"",     "w",     "4711-17",  "-/-/1/-/0000000000000000",
                                  "////", "a/1/2", "a/b/c/d/e"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(lease_owner_is_gone(others[i]));
    /* Signals to 0 and below go to groups of processes. */
    for (long pid = -1; pid <= 0; pid++) {
        struct parts parts = own;
        parts.pid = pid;
        assert_false(is_gone(&parts));
    }
    snprintf(text, sizeof(text), "%s/%s/%ld/%llu/%sx", own.boot, own.namespace, own.pid,
             own.start - 1, own.random);
    assert_false(lease_owner_is_gone(text));
    snprintf(text, sizeof(text), "%s/%s/%ld/%llu", own.boot, own.namespace, own.pid, own.start - 1);
    assert_false(lease_owner_is_gone(text));
}

/* A child that says its owner and then waits for a signal. */
static pid_t start_child(char owner[DB_OWNER_SIZE])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char own[DB_OWNER_SIZE] = "";
        lease_owner_create(own);
        if (write(ends[1], own, sizeof(own)) != (ssize_t)sizeof(own))
            _exit(1);
        for (;;)
            pause();
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], owner, DB_OWNER_SIZE), DB_OWNER_SIZE);
    close(ends[0]);
    return child;
}

static void a_stopped_process_lives_and_a_dead_one_does_not(void **state)
{
    (void)state;
    char owner[DB_OWNER_SIZE];
    siginfo_t info;
    pid_t child = start_child(owner);
    assert_false(lease_owner_is_gone(owner));
    assert_int_equal(kill(child, SIGSTOP), 0);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WSTOPPED | WNOWAIT), 0);
    assert_false(lease_owner_is_gone(owner));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    /* Nobody has asked for its exit status yet: its number is still taken. */
    assert_true(lease_owner_is_gone(owner));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(lease_owner_is_gone(owner));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_owner_names_one_worker),
        cmocka_unit_test(a_process_with_the_same_number_is_another),
        cmocka_unit_test(nothing_is_known_of_other_machines),
        cmocka_unit_test(other_texts_prove_nothing),
        cmocka_unit_test(a_stopped_process_lives_and_a_dead_one_does_not),
    };
    return test_run(tests);
}
