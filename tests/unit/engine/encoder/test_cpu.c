/* Choice of the BLAS core. The restart is tried on this program itself: called with arguments it is
 * the child, which prints what it found. */
#include "tests/test.h"

#include "engine/encoder/cpu.h"

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cblas.h>

static void a_lower_core_is_replaced(void **state)
{
    (void)state;
    static const char *const lower[] = {"Prescott", "Nehalem", "Sandybridge", "Barcelona",
                                        "prescott"};
    for (size_t i = 0; i < sizeof(lower) / sizeof(lower[0]); i++) {
        assert_string_equal(cpu_better_core(lower[i], true, true), "SkylakeX");
        assert_string_equal(cpu_better_core(lower[i], true, false), "Haswell");
    }
    assert_string_equal(cpu_better_core("Haswell", true, true), "SkylakeX");
    assert_string_equal(cpu_better_core("Zen", true, true), "SkylakeX");
}

static void a_good_core_is_kept(void **state)
{
    (void)state;
    static const char *const best[] = {"SkylakeX", "Cooperlake", "Sapphirerapids",
                                       "SapphireRapids"};
    for (size_t i = 0; i < sizeof(best) / sizeof(best[0]); i++) {
        assert_null(cpu_better_core(best[i], true, true));
        assert_null(cpu_better_core(best[i], true, false));
    }
    assert_null(cpu_better_core("Haswell", true, false));
    assert_null(cpu_better_core("Zen", true, false));
}

static void an_unknown_core_or_an_old_cpu_is_left_alone(void **state)
{
    (void)state;
    assert_null(cpu_better_core("Quantumlake", true, true));
    assert_null(cpu_better_core("", true, true));
    assert_null(cpu_better_core("Prescott", false, false));
    assert_null(cpu_better_core("Prescott", false, true));
}

enum { OUTPUT_SIZE = 256 };

/* Runs this program with `mode` and core as arguments; the child's line is copied to `output`. */
static void run_child(const char *mode, const char *core, const char *core_variable, char *output)
{
    /* Read, not executed: under valgrind the link itself leads to valgrind. */
    char program[4096] = "";
    assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        unsetenv("CHIPSHOT_BLAS_RESTARTED");
        unsetenv("OPENBLAS_CORETYPE");
        if (core_variable != NULL)
            setenv("OPENBLAS_CORETYPE", core_variable, 1);
        execl(program, "test_cpu", mode, core, (char *)NULL);
        _exit(99);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], output + used, OUTPUT_SIZE - 1 - used)) > 0)
        used += (size_t)n;
    output[used] = '\0';
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void print_what_is_used(char **argv)
{
    const char *variable = getenv("OPENBLAS_CORETYPE");
    const char *restarted = getenv("CHIPSHOT_BLAS_RESTARTED");
    printf("%s %s variable=%s restarted=%s core=%s\n", argv[1], argv[2],
           variable != NULL ? variable : "", restarted != NULL ? restarted : "", cpu_blas_core());
}

static void expect_core(const char *output, const char *core)
{
#if defined(__x86_64__)
    char wanted[64];
    snprintf(wanted, sizeof(wanted), "core=%s\n", core);
    if (strstr(output, wanted) == NULL)
        fail_msg("\"%s\" does not end with \"%s\"", output, wanted);
#else
    (void)output;
    (void)core;
#endif
}

/* Prescott is the core that every x86-64 machine can run; the restart keeps the arguments. */
static void starts_again_once_with_the_core(void **state)
{
    (void)state;
    char output[OUTPUT_SIZE];
    run_child("again", "Prescott", NULL, output);
    assert_non_null(strstr(output, "again Prescott variable=Prescott restarted=1"));
    expect_core(output, "Prescott");
}

static void the_users_own_choice_wins(void **state)
{
    (void)state;
    char output[OUTPUT_SIZE];
    run_child("select", "-", "Prescott", output);
    assert_non_null(strstr(output, "variable=Prescott restarted= core="));
    expect_core(output, "Prescott");
}

/* Without a user's choice the process ends up with a core that needs no replacement. */
static void selection_ends_with_the_best_core(void **state)
{
    (void)state;
    char output[OUTPUT_SIZE];
    run_child("select", "-", NULL, output);
    char *core = strstr(output, "core=");
    assert_non_null(core);
    core[strcspn(core, "\n")] = '\0';
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512cd");
    assert_null(cpu_better_core(core + strlen("core="), avx2, avx512));
#endif
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        if (strcmp(argv[1], "again") == 0)
            cpu_start_again(argv[2], argv);
        else
            cpu_select_blas_core(argv);
        print_what_is_used(argv);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lower_core_is_replaced),
        cmocka_unit_test(a_good_core_is_kept),
        cmocka_unit_test(an_unknown_core_or_an_old_cpu_is_left_alone),
        cmocka_unit_test(starts_again_once_with_the_core),
        cmocka_unit_test(the_users_own_choice_wins),
        cmocka_unit_test(selection_ends_with_the_best_core),
    };
    return test_run(tests);
}
