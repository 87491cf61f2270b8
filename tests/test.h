/* What every test program includes: cmocka with the headers it needs, and a main's one call.
 * Tests run in any order and in parallel, each in its own temporary directory. */
#ifndef CHIPSHOT_TESTS_TEST_H
#define CHIPSHOT_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Runs an array of cmocka tests and prints TAP, which the runner counts. Set here and not left to
 * the environment, which some tests change. `set_up` and `tear_down` run once for all, or are NULL.
 */
#define test_run_with(tests, set_up, tear_down)                                                    \
    (cmocka_set_message_output(CM_OUTPUT_TAP), cmocka_run_group_tests(tests, set_up, tear_down))
#define test_run(tests) test_run_with(tests, NULL, NULL)

/* Path of a file among the real micrographs (CHIPSHOT_SHARED, default ../shared), or NULL when they
 * are absent; then a test says so and skips. The pointer stays valid until the next call. */
static inline const char *test_shared_path(const char *relative)
{
    static char path[1024];
    const char *root = getenv("CHIPSHOT_SHARED");
    snprintf(path, sizeof(path), "%s/%s", root != NULL ? root : "../shared", relative);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        print_message("skipped: %s is absent (set CHIPSHOT_SHARED)\n", path);
        return NULL;
    }
    fclose(file);
    return path;
}

#endif
