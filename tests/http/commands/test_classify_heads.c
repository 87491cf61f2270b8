/* Heads and smoothing on the command line. */
#include "tests/test.h"

#include <jansson.h>

#include "tests/http/tool.h"

/* A core that any processor of its kind can run. */
#if defined(__x86_64__)
#define CORE "Nehalem"
#else
#define CORE "ARMV8"
#endif

/* The core of OpenBLAS is the one that is asked for, in whatever process it is loaded, and the same
 * core gives the same bytes. */
static void the_head_and_its_core_are_recorded(void **state)
{
    (void)state;
    static const char *const folders[] = {"heads/one", "heads/two", "heads/core"};
    const char *before = getenv("OPENBLAS_CORETYPE");
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("heads"));
    tool_assert_done();
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            setenv("OPENBLAS_CORETYPE", CORE, 1);
        tool_run("classify", "--image", tool_path("heads/image.png"), "--support",
                 tool_path("heads/support.json"), "--out", tool_path(folders[i]), "--head", "auto",
                 "--smoothing", "auto", "--threads", i == 0 ? "1" : "2");
        tool_assert_done();
    }
    if (before != NULL)
        setenv("OPENBLAS_CORETYPE", before, 1);
    else
        unsetenv("OPENBLAS_CORETYPE");
    tool_assert_same_file(tool_path("heads/one/labels.csv"), tool_path("heads/two/labels.csv"));
    tool_assert_same_file(tool_path("heads/one/statistics.json"),
                          tool_path("heads/two/statistics.json"));
    json_t *json = json_load_file(tool_path("heads/core/statistics.json"), 0, NULL);
    const json_t *analysis = json_object_get(json, "analysis");
    assert_string_equal(json_string_value(json_object_get(analysis, "blas")), CORE);
    assert_string_equal(json_string_value(json_object_get(analysis, "head")), "ridge");
    const json_t *smoothing = json_object_get(analysis, "smoothing");
    assert_true(json_is_true(json_object_get(smoothing, "done")));
    assert_true(json_real_value(json_object_get(smoothing, "information")) > 0.4);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_head_and_its_core_are_recorded),
    };
    return test_run(tests);
}
