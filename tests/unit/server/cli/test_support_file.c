#include "tests/unit/db/fixture.h"

#include <unistd.h>

#include "engine/fewshot/map/palette.h"
#include "server/cli/support_file.h"

/* Reads `text` as a file whose name is `path` (a template of mkstemp) afterwards. */
static int read_text(const char *text, char path[512], struct support_file *out, struct error *err)
{
    const char *directory = getenv("TMPDIR");
    snprintf(path, 512, "%s/support-XXXXXX", directory != NULL ? directory : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    int rc = support_file_read(path, out, err);
    unlink(path);
    return rc;
}

static void a_whole_file_is_read(void **state)
{
    (void)state;
    struct support_file file = {0};
    struct error err = {0};
    char path[512];
    assert_ok(
        read_text("{\"name\": \"n\", \"chip\": {\"width\": 34, \"height\": 35}, \"classes\": ["
                  "{\"name\": \"film\", \"examples\": [{\"x\": 1, \"y\": 2}]},"
                  "{\"name\": \"v\\u00f6id\", \"color\": \"#0aFf10\", \"counted\": false,"
                  " \"examples\": [{\"x\": 3, \"y\": 4}, {\"x\": 5, \"y\": 6}]}]}",
                  path, &file, &err));
    assert_int_equal(file.chip_width, 34);
    assert_int_equal(file.chip_height, 35);
    assert_int_equal(file.n_classes, 2);
    assert_string_equal(file.names[0], "film");
    assert_string_equal(file.names[1], "v\u00f6id");
    const char *const name = "film";
    bool has_color = false;
    struct rgb by_name;
    palette_assign(&name, 1, &has_color, &by_name);
    assert_memory_equal(&file.colors[0], &by_name, sizeof(by_name));
    assert_int_equal(file.colors[1].r, 0x0a);
    assert_int_equal(file.colors[1].g, 0xff);
    assert_int_equal(file.colors[1].b, 0x10);
    static const struct support_example expected[] = {{0, 1, 2}, {1, 3, 4}, {1, 5, 6}};
    assert_int_equal(file.uncounted, 2);
    assert_int_equal(file.n_examples, 3);
    assert_memory_equal(file.examples, expected, sizeof(expected));
    support_file_clear(&file);
    support_file_clear(&file);
}

#define CHIP     "\"chip\": {\"width\": 8, \"height\": 8}"
#define EXAMPLES "\"examples\": [{\"x\": 0, \"y\": 0}]"
#define CLASS_A  "{\"name\": \"a\", " EXAMPLES "}"
#define CLASS_B  "{\"name\": \"b\", \"examples\": [{\"x\": 0, \"y\": 8}]}"
/* A file whose second class is `class`. */
#define WITH(class) "{" CHIP ", \"classes\": [" CLASS_A ", " class "]}"
#define COLOR(text) WITH("{\"name\": \"b\", \"color\": \"" text "\", " EXAMPLES "}")

static void faults_name_pointer_limit_and_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *parts[3];
    } faults[] = {
        {"", {"JSON"}},
        {WITH("{\"name\": \"b\", \"counted\": 0, " EXAMPLES "}"),
         {"/classes/1/counted", "true or false"}},
        {"{", {"JSON"}},
        {"[]", {"object"}},
        {"{}", {"/chip", "/classes"}},
        {"{" CHIP ", \"classes\": [" CLASS_A "]}", {"/classes", "2", "1"}},
        {"{" CHIP ", \"classes\": [" CLASS_A "," CLASS_B "], \"extra\": 1}", {"/extra"}},
        {"{\"chip\": {\"width\": 3, \"height\": 4097}, \"classes\": [" CLASS_A "," CLASS_B "]}",
         {"/chip/width", "3", "/chip/height"}},
        {"{\"chip\": {\"width\": 8, \"width\": 8, \"height\": 8}, \"classes\": []}", {"dup"}},
        {WITH("{" EXAMPLES "}"), {"/classes/1/name"}},
        {WITH("{\"name\": \"\", " EXAMPLES "}"), {"/classes/1/name"}},
        {WITH("{\"name\": \"a\", " EXAMPLES "}"), {"/classes/1/name", "'a'", "class 0"}},
        {WITH("{\"name\": 7, " EXAMPLES "}"), {"/classes/1/name", "string"}},
        {WITH("{\"name\": \"b\"}"), {"/classes/1/examples"}},
        {WITH("{\"name\": \"b\", \"examples\": []}"), {"/classes/1/examples", "1"}},
        {WITH("{\"name\": \"b\", \"examples\": [{\"x\": -1, \"y\": 1.5}]}"),
         {"/classes/1/examples/0/x", "-1", "/classes/1/examples/0/y"}},
        {WITH("{\"name\": \"b\", \"examples\": [{\"x\": 1, \"y\": 2}, 5]}"),
         {"/classes/1/examples/1"}},
        {WITH("{\"name\": \"b\", \"examples\": [{\"x\": 1, \"y\": 0}, {\"x\": 0, \"y\": 0}]}"),
         {"/classes/1/examples/1", "two classes", "/classes/0/examples/0"}},
        {WITH("{\"name\": \"b\", \"examples\": [{\"x\": 1, \"y\": 0}, {\"x\": 1, \"y\": 0}]}"),
         {"/classes/1/examples/1", "twice", "/classes/1/examples/0"}},
        {COLOR("#12345"), {"/classes/1/color"}},
        {COLOR("1234567"), {"/classes/1/color", "1234567"}},
        {COLOR("#12345g"), {"/classes/1/color", "#12345g", "#rrggbb"}},
        {COLOR("# f f f"), {"/classes/1/color", "# f f f"}},
        {COLOR("#+f+f+f"), {"/classes/1/color", "#+f+f+f"}},
        {COLOR("#0x0x0x"), {"/classes/1/color", "#0x0x0x"}},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct support_file file = {0};
        struct error err = {0};
        char path[512];
        assert_int_equal(read_text(faults[i].text, path, &file, &err), ERROR_INVALID);
        assert_non_null(strstr(err.message, strrchr(path, '/')));
        for (size_t k = 0; k < 3 && faults[i].parts[k] != NULL; k++) {
            if (strstr(err.message, faults[i].parts[k]) == NULL)
                fail_msg("case %zu: '%s' lacks '%s'", i, err.message, faults[i].parts[k]);
        }
        assert_null(file.document);
        assert_null(file.examples);
    }
}

/* One line has room for a few faults; the rest is counted, not cut. */
static void many_faults_are_counted(void **state)
{
    (void)state;
    struct support_file file = {0};
    struct error err = {0};
    char path[512], text[8192];
    size_t n = (size_t)snprintf(text, sizeof(text), "{" CHIP ", \"classes\": [");
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s{\"name\": \"c%d\"}",
                              i > 0 ? ", " : "", i);
    snprintf(text + n, sizeof(text) - n, "]}");
    assert_int_equal(read_text(text, path, &file, &err), ERROR_INVALID);
    unsigned named = 0, more = 0;
    for (const char *at = err.message; (at = strstr(at, "/examples")) != NULL; at++)
        named++;
    const char *end = strstr(err.message, "; and ");
    assert_non_null(end);
    assert_int_equal(sscanf(end, "; and %u more", &more), 1);
    assert_true(named > 0);
    assert_int_equal(named + more, 40);
}

/* As many classes and examples as there may be, and one more of each. */
static void the_limits_hold(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    char *text = malloc(SIZE), path[512];
    assert_non_null(text);
    for (int extra = 0; extra < 3; extra++) {
        struct support_file file = {0};
        struct error err = {0};
        int n_classes = CLASSIFIER_CLASSES_MAX + (extra == 1);
        int n_examples = CLASSIFIER_EXAMPLES_MAX + (extra == 2);
        size_t n = (size_t)snprintf(text, SIZE, "{" CHIP ", \"classes\": [");
        for (int c = 0; c < n_classes; c++) {
            n += (size_t)snprintf(text + n, SIZE - n, "%s{\"name\": \"c%d\", \"examples\": [",
                                  c > 0 ? "," : "", c);
            int here = c == 0 ? n_examples - n_classes + 1 : 1;
            for (int i = 0; i < here; i++)
                n += (size_t)snprintf(text + n, SIZE - n, "%s{\"x\": %d, \"y\": %d}",
                                      i > 0 ? "," : "", i, c);
            n += (size_t)snprintf(text + n, SIZE - n, "]}");
        }
        snprintf(text + n, SIZE - n, "]}");
        int rc = read_text(text, path, &file, &err);
        if (extra == 0) {
            assert_ok(rc);
            assert_int_equal(file.n_classes, CLASSIFIER_CLASSES_MAX);
            assert_int_equal(file.n_examples, CLASSIFIER_EXAMPLES_MAX);
        } else {
            assert_int_equal(rc, ERROR_INVALID);
            assert_non_null(strstr(err.message, extra == 1 ? "64" : "10000"));
        }
        support_file_clear(&file);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_file_is_read),
        cmocka_unit_test(faults_name_pointer_limit_and_value),
        cmocka_unit_test(many_faults_are_counted),
        cmocka_unit_test(the_limits_hold),
    };
    return test_run(tests);
}
