#include "tests/test.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

#include "server/cli/manifest.h"

static int read_text(const char *text, struct manifest *out, struct error *err)
{
    char path[512];
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/manifest-XXXXXX", directory != NULL ? directory : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    int rc = manifest_read(path, out, err);
    unlink(path);
    return rc;
}

static void columns_are_found_by_name(void **state)
{
    (void)state;
    struct manifest manifest = {0};
    struct error err = {0};
    assert_int_equal(
        read_text("label,image,size,y,x,group\r\n\"a \"\"b\"\", c\",i/1.png,32,5,4,g\r\n"
                  "d,i/2.png,64,7,6,h",
                  &manifest, &err),
        0);
    assert_int_equal(manifest.n_rows, 2);
    assert_string_equal(manifest.rows[0].label, "a \"b\", c");
    assert_string_equal(manifest.rows[0].image, "i/1.png");
    assert_int_equal(manifest.rows[0].x, 4);
    assert_int_equal(manifest.rows[0].y, 5);
    assert_int_equal(manifest.rows[0].size, 32);
    assert_string_equal(manifest.rows[1].group, "h");
    manifest_clear(&manifest);
}

static void strings_are_numbered_in_order(void **state)
{
    (void)state;
    struct manifest manifest = {0};
    struct error err = {0};
    assert_int_equal(
        read_text("image,x,y,size,label,group\na,0,0,8,p,1\na,0,0,8,q,1\na,0,0,8,p,2\n", &manifest,
                  &err),
        0);
    uint32_t ids[3], n = 0;
    assert_int_equal(
        manifest_number(&manifest, offsetof(struct manifest_row, label), ids, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 1);
    assert_int_equal(ids[2], 0);
    manifest_clear(&manifest);
}

/* CPU seconds of numbering `n` groups, no two of which are the same, twice over. */
static double number_groups(uint32_t n)
{
    enum { TEXT_SIZE = 12, ROUNDS = 3 };
    struct error err = {0};
    struct manifest manifest = {.rows = calloc(2 * n, sizeof(manifest.rows[0])),
                                .n_rows = 2 * n,
                                .text = malloc((size_t)n * TEXT_SIZE)};
    uint32_t *ids = calloc(2 * n, sizeof(ids[0])), n_found = 0;
    double least = INFINITY;
    assert_true(manifest.rows != NULL && manifest.text != NULL && ids != NULL);
    for (uint32_t i = 0; i < n; i++) {
        char *text = manifest.text + (size_t)i * TEXT_SIZE;
        snprintf(text, TEXT_SIZE, "%u", i);
        manifest.rows[i].group = manifest.rows[n + i].group = text;
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
        assert_int_equal(
            manifest_number(&manifest, offsetof(struct manifest_row, group), ids, &n_found, &err),
            0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
        least = fmin(least, (double)(end.tv_sec - start.tv_sec) +
                                (double)(end.tv_nsec - start.tv_nsec) / 1e9);
    }
    assert_int_equal(n_found, n);
    for (uint32_t i = 0; i < 2 * n; i++)
        assert_int_equal(ids[i], i % n);
    free(ids);
    manifest_clear(&manifest);
    return least;
}

/* Four times as many rows take four times as long, and a little; not sixteen times. */
static void numbering_grows_with_the_rows(void **state)
{
    (void)state;
    enum { N = 12500 };
    const double few = number_groups(N), many = number_groups(4 * N);
    if (many > 10 * few)
        fail_msg("%d rows take %f s, four times as many %f s", N, few, many);
}

static void faults_name_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } faults[] = {
        {"", "header"},
        {"image,x,y,size,label\n", "'group'"},
        {"image,x,y,size,label,group\n", "no rows"},
        {"image,x,y,size,label,group\na,0,0,8,p\n", "line 2"},
        {"image,x,y,size,label,group\na,0,0,8,p,g\na,-1,0,8,p,g\n", "line 3: x '-1'"},
        {"image,x,y,size,label,group\na,0,99999999999999999999,8,p,g\n", "y '9999"},
        {"image,x,y,size,label,group\na,0,0,3,p,g\n", "size 3"},
        {"image,x,y,size,label,group\n/etc/passwd,0,0,8,p,g\n", "below the root"},
        {"image,x,y,size,label,group\na/../../b,0,0,8,p,g\n", "below the root"},
        {"image,x,y,size,label,group\n\"a,0,0,8,p,g\n", "malformed"},
        {"image,x,y,size,label,group\n\"a\"b,0,0,8,p,g\n", "malformed"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct manifest manifest = {0};
        struct error err = {0};
        assert_int_equal(read_text(faults[i].text, &manifest, &err), ERROR_INVALID);
        if (strstr(err.message, faults[i].message) == NULL)
            fail_msg("case %zu: '%s' lacks '%s'", i, err.message, faults[i].message);
        assert_null(manifest.rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_found_by_name),
        cmocka_unit_test(strings_are_numbered_in_order),
        cmocka_unit_test(numbering_grows_with_the_rows),
        cmocka_unit_test(faults_name_their_line),
    };
    return test_run(tests);
}
