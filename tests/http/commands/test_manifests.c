/* The subcommands that work on a manifest of chips, embed and evaluate, run as a user runs them. */
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

#include "tests/http/tool.h"
#include "tests/http/workflow.h"

/* ---- embed ---- */

struct matrix {
    size_t rows, columns;
    float *values;
};

static struct matrix read_npy(const char *path)
{
    struct matrix matrix = {0};
    size_t size = 0;
    char *bytes = workflow_read_file(path, &size);
    assert_true(size > 10);
    assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
    size_t length = (uint8_t)bytes[8] | (size_t)(uint8_t)bytes[9] << 8;
    assert_int_equal((10 + length) % 64, 0);
    assert_true(size >= 10 + length);
    assert_int_equal(bytes[10 + length - 1], '\n');
    bytes[10 + length - 1] = '\0';
    int n = sscanf(bytes + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                   &matrix.rows, &matrix.columns);
    assert_int_equal(n, 2);
    size_t data = matrix.rows * matrix.columns * sizeof(float);
    assert_int_equal(size, 10 + length + data);
    matrix.values = malloc(data);
    assert_non_null(matrix.values);
    memcpy(matrix.values, bytes + 10 + length, data);
    free(bytes);
    return matrix;
}

static double row_distance(const struct matrix *a, size_t i, const struct matrix *b, size_t j)
{
    double sum = 0;
    for (size_t k = 0; k < a->columns; k++)
        sum +=
            pow((double)a->values[i * a->columns + k] - (double)b->values[j * b->columns + k], 2);
    return sqrt(sum);
}

static struct matrix embed(const char *const *rows, size_t n, const char *input_size)
{
    char manifest[2048], path[TOOL_PATH_SIZE], out[TOOL_PATH_SIZE], root[TOOL_PATH_SIZE];
    size_t length = (size_t)snprintf(manifest, sizeof(manifest), "image,x,y,size,label,group\n");
    for (size_t i = 0; i < n; i++)
        length +=
            (size_t)snprintf(manifest + length, sizeof(manifest) - length, "%s,l,g\n", rows[i]);
    snprintf(path, sizeof(path), "%s", tool_path("embed.csv"));
    snprintf(out, sizeof(out), "%s", tool_path("embed.npy"));
    snprintf(root, sizeof(root), "%s", tool_path("embed"));
    tool_write_text(path, manifest);
    if (input_size != NULL)
        tool_run("embed", "--manifest", path, "--root", root, "--out", out, "--input-size",
                 input_size);
    else
        tool_run("embed", "--manifest", path, "--root", root, "--out", out);
    tool_assert_done();
    return read_npy(out);
}

static void embeddings_keep_the_manifests_order(void **state)
{
    (void)state;
    enum { N = 7 };
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("embed/one"));
    tool_assert_done();
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("embed/two"));
    tool_assert_done();
    /* Images and sizes alternate. */
    static const char *const rows[N] = {
        "two/image.png,0,0,96",     "one/image.png,0,0,96", "two/image.png,0,0,32",
        "one/image.png,200,300,96", "one/image.png,0,0,32", "two/image.png,500,600,96",
        "one/image.png,17,900,31",
    };
    struct matrix all = embed(rows, N, NULL);
    assert_int_equal(all.rows, N);
    for (size_t i = 0; i < N; i++) {
        struct matrix one = embed(&rows[i], 1, NULL);
        assert_int_equal(one.rows, 1);
        assert_int_equal(one.columns, all.columns);
        assert_true(row_distance(&all, i, &one, 0) < 1e-4);
        for (size_t k = 0; k < N; k++)
            assert_true(k == i || row_distance(&all, k, &one, 0) > 1e-2);
        free(one.values);
    }
    struct matrix smaller = embed(rows, N, "32");
    assert_int_equal(smaller.columns, all.columns);
    assert_true(row_distance(&smaller, 0, &all, 0) > 1e-2);
    free(all.values);
    free(smaller.values);
}

static void embed_says_what_is_wrong(void **state)
{
    (void)state;
    char manifest[TOOL_PATH_SIZE], root[TOOL_PATH_SIZE], out[TOOL_PATH_SIZE];
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("wrong/one"));
    tool_assert_done();
    snprintf(manifest, sizeof(manifest), "%s", tool_path("wrong/m.csv"));
    snprintf(root, sizeof(root), "%s", tool_path("wrong"));
    snprintf(out, sizeof(out), "%s", tool_path("wrong/o.npy"));
    static const struct {
        const char *row;
        const char *part;
    } faults[] = {
        {"one/image.png,0,0,0,l,g", "size 0"},
        {"../one/image.png,0,0,32,l,g", "../one/image.png"},
        {"one/absent.png,0,0,32,l,g", "one/absent.png"},
        {"one/truth.csv,0,0,32,l,g", "one/truth.csv"},
        {"one/image.png,0,0,32,l,g\none/image.png,100000,0,32,l,g", "row 2"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "image,x,y,size,label,group\n%s\n", faults[i].row);
        tool_write_text(manifest, text);
        tool_run("embed", "--manifest", manifest, "--root", root, "--out", out);
        tool_assert_refused(1, faults[i].part);
        assert_int_equal(access(out, F_OK), -1);
    }
}

/* ---- evaluate ---- */

/* A manifest of the scene's chips of known class, twice, as two groups; the second lacks a class. A
 * third group has one class and is skipped. */
static void write_evaluation(const char *path)
{
    static tool_labels truth;
    tool_read_labels(tool_path("evaluate/truth.csv"), truth);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("group,image,label,x,y,size\n", file);
    for (size_t k = 0; k < TOOL_SIDE * TOOL_SIDE; k++) {
        const char *label = truth[k / TOOL_SIDE][k % TOOL_SIDE];
        if (label[0] == '\0')
            continue;
        size_t x = k % TOOL_SIDE * 96, y = k / TOOL_SIDE * 96;
        fprintf(file, "first,image.png,%s,%zu,%zu,96\n", label, x, y);
        if (strcmp(label, "disordered") != 0)
            fprintf(file, "second,image.png,%s,%zu,%zu,96\n", label, x, y);
        if (strcmp(label, "amorphous") == 0)
            fprintf(file, "third,image.png,%s,%zu,%zu,96\n", label, x, y);
    }
    assert_int_equal(fclose(file), 0);
}

static void evaluate_prints_groups_mean_and_worst(void **state)
{
    (void)state;
    char manifest[TOOL_PATH_SIZE], root[TOOL_PATH_SIZE];
    static char first_out[TOOL_TEXT_SIZE];
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("evaluate"));
    tool_assert_done();
    snprintf(manifest, sizeof(manifest), "%s", tool_path("evaluate/m.csv"));
    snprintf(root, sizeof(root), "%s", tool_path("evaluate"));
    write_evaluation(manifest);
    tool_run("evaluate", "--manifest", manifest, "--root", root, "--episodes", "3");
    tool_assert_done();
    memcpy(first_out, tool_outcome.out, TOOL_TEXT_SIZE);

    double scores[2] = {0}, spread, mean, worst;
    unsigned n_classes[2], n_chips[2], n_groups, shots, episodes, seed;
    static const char *const names[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        const char *line = strstr(tool_outcome.out, names[i]);
        assert_non_null(line);
        assert_int_equal(
            sscanf(line, "%*s %u %u %lf %lf", &n_classes[i], &n_chips[i], &scores[i], &spread), 4);
        assert_true(scores[i] > 0.9 && scores[i] <= 1);
    }
    assert_int_equal(n_classes[0], 4);
    assert_int_equal(n_classes[1], 3);
    assert_true(n_chips[0] > n_chips[1]);
    const char *third = strstr(tool_outcome.out, "third"),
               *last = strstr(tool_outcome.out, "mean ");
    assert_non_null(third);
    assert_non_null(strstr(third, "skipped"));
    assert_non_null(last);
    assert_int_equal(
        sscanf(last, "mean %lf worst %lf groups %u dimension %*u shots %u episodes %u seed %u",
               &mean, &worst, &n_groups, &shots, &episodes, &seed),
        6);
    assert_float_equal(mean, (scores[0] + scores[1]) / 2, 1.01e-4);
    assert_float_equal(worst, fmin(scores[0], scores[1]), 1e-9);
    assert_int_equal(n_groups, 2);
    assert_int_equal(shots, 5);
    assert_int_equal(episodes, 3);
    assert_int_equal(seed, 0);

    tool_run("evaluate", "--manifest", manifest, "--root", root, "--episodes", "3");
    tool_assert_done();
    assert_string_equal(tool_outcome.out, first_out);
    tool_run("evaluate", "--manifest", manifest, "--root", root, "--shots", "1,5", "--episodes",
             "2", "--seed", "18446744073709551615");
    tool_assert_done();
    const char *end = strstr(tool_outcome.out, "shots 1,5 episodes 2 seed 18446744073709551615 ");
    double error = -1;
    assert_non_null(end);
    assert_int_equal(sscanf(strstr(end, "ece"), "ece %lf", &error), 1);
    assert_true(error >= 0 && error < 0.5);
    tool_run("evaluate", "--manifest", manifest, "--root", root, "--shots", "5,12");
    tool_assert_refused(2, "--shots: '12' is not a list of numbers within 1..11");
    tool_run("evaluate", "--manifest", manifest, "--root", tool_path("evaluate/absent"));
    tool_assert_refused(1, "absent/image.png");
}

/* Of the three groups two have classes in common: two pairs, of one image, which is near itself by
 * whatever it is measured. */
static void evaluate_asks_across_groups(void **state)
{
    (void)state;
    static const char *const references[] = {"auto", "image", "support", "series", "target"};
    char manifest[TOOL_PATH_SIZE], root[TOOL_PATH_SIZE];
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("evaluate"));
    tool_assert_done();
    snprintf(manifest, sizeof(manifest), "%s", tool_path("evaluate/across.csv"));
    snprintf(root, sizeof(root), "%s", tool_path("evaluate"));
    write_evaluation(manifest);
    for (int i = 0; i < 5; i++) {
        double mean = 0, worst = 0, support = 1;
        unsigned n_pairs = 0;
        tool_run("evaluate", "--manifest", manifest, "--root", root, "--episodes", "2", "--across",
                 "--reference", references[i]);
        tool_assert_done();
        const char *last = strstr(tool_outcome.out, "mean ");
        assert_non_null(last);
        assert_int_equal(sscanf(last, "mean %lf worst %lf pairs %u support %lf", &mean, &worst,
                                &n_pairs, &support),
                         4);
        assert_true(mean > 0.9 && worst > 0.9 && mean >= worst);
        assert_int_equal(n_pairs, 2);
        assert_true(support >= 0 && support <= (i == 0 ? 1 : 0));
    }
    tool_run("evaluate", "--manifest", manifest, "--root", root, "--reference", "own");
    tool_assert_refused(2, "--reference: reference must be auto, image, support or series");
}

static void too_few_chips_to_evaluate_is_an_error(void **state)
{
    (void)state;
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("few"));
    tool_assert_done();
    tool_write_text(tool_path("few/m.csv"), "image,x,y,size,label,group\nimage.png,0,0,32,a,g\n"
                                            "image.png,32,0,32,b,g\n");
    tool_run("evaluate", "--manifest", tool_path("few/m.csv"), "--root", tool_path("few"));
    assert_int_equal(tool_outcome.status, 1);
    assert_non_null(strstr(tool_outcome.err, "12 chips"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_keep_the_manifests_order),
        cmocka_unit_test(embed_says_what_is_wrong),
        cmocka_unit_test(evaluate_prints_groups_mean_and_worst),
        cmocka_unit_test(evaluate_asks_across_groups),
        cmocka_unit_test(too_few_chips_to_evaluate_is_an_error),
    };
    return test_run(tests);
}
