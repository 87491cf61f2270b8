/* The subcommands that work without a server, run as a user runs them. */
#include "tests/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "db/keys.h"
#include "engine/image/image.h"
#include "tests/http/client.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum { TEXT_SIZE = 1 << 16, PATH_SIZE = 600 };

/* ---- running ---- */

struct outcome {
    int status;
    char out[TEXT_SIZE];
    char err[TEXT_SIZE];
};

/* A path in the program's temporary directory. Valid until many more were asked for. */
static const char *at(const char *name)
{
    static char paths[16][PATH_SIZE];
    static unsigned next;
    const char *root = getenv("TMPDIR");
    char *path = paths[next++ % 16];
    snprintf(path, PATH_SIZE, "%s/%s", root != NULL ? root : "/tmp", name);
    return path;
}

static void read_back(int fd, char *text)
{
    ssize_t n = pread(fd, text, TEXT_SIZE - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    close(fd);
}

static int temporary(void)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s", at("output.XXXXXX"));
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* Runs the binary with a NULL-terminated list of arguments; its stdout goes to `stdout_path` when
 * that is not NULL. */
static void run_to(const char *stdout_path, struct outcome *outcome, const char *const *arguments)
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
    outcome->status = WEXITSTATUS(status);
    read_back(err, outcome->err);
    outcome->out[0] = '\0';
    if (stdout_path == NULL)
        read_back(out, outcome->out);
    else
        close(out);
}

static struct outcome outcome; /* of the last run: large */

#define run(...) run_to(NULL, &outcome, (const char *const[]){__VA_ARGS__, NULL})

static void assert_done(void)
{
    if (outcome.status != 0)
        fail_msg("exit status %d: %s", outcome.status, outcome.err);
}

/* The run failed with this status and one line on stderr that holds `text`; nothing on stdout. */
static void assert_refused(int status, const char *text)
{
    if (outcome.status != status || strstr(outcome.err, text) == NULL)
        fail_msg("exit status %d, not %d with '%s': %s", outcome.status, status, text, outcome.err);
    const char *newline = strchr(outcome.err, '\n');
    if (newline == NULL || newline[1] != '\0')
        fail_msg("not one line: %s", outcome.err);
    assert_string_equal(outcome.out, "");
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void assert_same_file(const char *a, const char *b)
{
    size_t size_a = 0, size_b = 0;
    char *bytes_a = workflow_read_file(a, &size_a), *bytes_b = workflow_read_file(b, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(bytes_a, bytes_b, size_a);
    free(bytes_a);
    free(bytes_b);
}

/* ---- help and mistakes ---- */

static void the_version_is_named(void **state)
{
    (void)state;
    run("--version");
    assert_done();
    assert_int_equal(strncmp(outcome.out, "chipshot ", 9), 0);
    assert_non_null(strstr(outcome.out, "BLAS core "));
}

static void every_command_has_help(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        const char *parts[4];
    } helps[] = {
        {"serve", {"--listen", "--data", "--threads"}},
        {"classify", {"--image", "--support", "--out", "--stride"}},
        {"embed", {"--manifest", "--root", "--out", "--input-size"}},
        {"evaluate", {"--manifest", "--shots", "--episodes", "--seed"}},
        {"simulate", {"--scene", "--out", "--seed"}},
        {"encoder", {"encoder info"}},
        {"key", {"key create", "list", "revoke", "--data"}},
    };
    run("--help");
    assert_done();
    static char all[TEXT_SIZE];
    memcpy(all, outcome.out, TEXT_SIZE);
    for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
        char usage[64];
        snprintf(usage, sizeof(usage), "Usage: chipshot %s", helps[i].command);
        assert_non_null(strstr(all, helps[i].command));
        run(helps[i].command, "--help");
        assert_done();
        assert_int_equal(strncmp(outcome.out, usage, strlen(usage)), 0);
        assert_string_equal(outcome.err, "");
        for (size_t k = 0; k < 4 && helps[i].parts[k] != NULL; k++)
            assert_non_null(strstr(outcome.out, helps[i].parts[k]));
    }
}

static void mistakes_are_named_in_one_line(void **state)
{
    (void)state;
    run("clasify");
    assert_refused(2, "'clasify'");
    run("classify", "--imagee", "x");
    assert_refused(2, "--imagee");
    run("classify", "--image");
    assert_refused(2, "--image");
    run("classify", "--support", "x", "--out", "y");
    assert_refused(2, "--image");
    run("simulate", "--scene", "ordered-oxide", "--out", at("x"), "leftover");
    assert_refused(2, "'leftover'");
    run("simulate", "--scene", "ordered-oxide", "--out", at("x"), "--seed", "-1");
    assert_refused(2, "'-1'");
    run("evaluate", "--manifest", "m", "--root", "r", "--shots", "12");
    assert_refused(2, "1..11");
    run("embed", "--manifest", "m", "--root", "r", "--out", "o", "--input-size", "513");
    assert_refused(2, "input size 513 is not within 16..512");
    run("embed", "--manifest", "m", "--root", "r", "--out", "o", "--threads", "2x");
    assert_refused(2, "'2x'");
    run("serve", "--no-such-option");
    assert_refused(2, "--no-such-option");
    run("encoder");
    assert_refused(2, "encoder info");
    run("encoder", "describe");
    assert_refused(2, "encoder describe");
    run("key", "destroy");
    assert_refused(2, "key destroy");
    run("key", "create");
    assert_refused(2, "key create");
}

static void output_that_is_lost_is_a_failure(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    run_to("/dev/full", &outcome, (const char *const[]){"encoder", "info", NULL});
    assert_refused(1, "standard output");
    /* Nobody has seen the token: the key is gone. */
    char data[PATH_SIZE];
    snprintf(data, sizeof(data), "%s", at("full-keys"));
    run_to("/dev/full", &outcome,
           (const char *const[]){"key", "create", "x", "--data", data, NULL});
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "standard output"));
    run("key", "list", "--data", data);
    assert_done();
    assert_string_equal(outcome.out, "");
}

/* ---- simulate ---- */

static void scenes_depend_on_their_seed_alone(void **state)
{
    (void)state;
    static const char *const files[] = {"image.png", "truth.csv", "support.json"};
    static const char *const folders[] = {"seed7/a", "seed7b", "seed8"};
    static const char *const seeds[] = {"7", "7", "8"};
    for (int i = 0; i < 3; i++) {
        run("simulate", "--scene", "ordered-oxide", "--seed", seeds[i], "--out", at(folders[i]));
        assert_done();
    }
    for (int i = 0; i < 3; i++) {
        char a[64], b[64];
        snprintf(a, sizeof(a), "%s/%s", folders[0], files[i]);
        snprintf(b, sizeof(b), "%s/%s", folders[1], files[i]);
        assert_same_file(at(a), at(b));
    }
    size_t size_a = 0, size_b = 0;
    char *a = workflow_read_file(at("seed7b/image.png"), &size_a);
    char *b = workflow_read_file(at("seed8/image.png"), &size_b);
    assert_true(size_a != size_b || memcmp(a, b, size_a) != 0);
    free(a);
    free(b);
}

static void an_unknown_scene_lists_the_names(void **state)
{
    (void)state;
    run("simulate", "--scene", "graphene", "--out", at("graphene"));
    assert_refused(1, "graphene");
    assert_non_null(strstr(outcome.err, "perovskite-on-diamond"));
    assert_non_null(strstr(outcome.err, "ordered-oxide"));
    assert_int_equal(access(at("graphene"), F_OK), -1);
    write_text(at("a-file"), "");
    run("simulate", "--scene", "ordered-oxide", "--out", at("a-file"));
    assert_refused(1, "a-file");
}

/* ---- classify ---- */

enum { SIDE = 64 };
typedef char label_table[SIDE][SIDE][64];

/* Reads row, column and label of a CSV; returns the number of lines with a label. */
static size_t read_labels(const char *path, label_table labels)
{
    size_t size = 0, n = 0;
    char *text = workflow_read_file(path, &size), *rest = text;
    memset(labels, 0, sizeof(label_table));
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        unsigned row, column, x, y;
        char label[64];
        if (sscanf(line, "%u,%u,%u,%u,%63[^,\r\n]", &row, &column, &x, &y, label) != 5)
            continue;
        assert_true(row < SIDE && column < SIDE);
        snprintf(labels[row][column], 64, "%s", label);
        n++;
    }
    free(text);
    return n;
}

static void assert_statistics(const char *path, const label_table labels, size_t n_chips)
{
    json_t *json = json_load_file(path, 0, NULL), *class;
    size_t i, sum = 0;
    double area = 0;
    assert_non_null(json);
    json_array_foreach(json_object_get(json, "classes"), i, class)
    {
        const char *name = json_string_value(json_object_get(class, "name"));
        size_t n = (size_t)json_integer_value(json_object_get(class, "n_chips")), counted = 0;
        for (size_t k = 0; k < SIDE * SIDE; k++)
            counted += strcmp(labels[k / SIDE][k % SIDE], name) == 0;
        assert_int_equal(counted, n);
        sum += n;
        area += json_real_value(json_object_get(class, "area_fraction"));
        /* 80 pixels of 0.015 nm a side */
        assert_float_equal(json_real_value(json_object_get(class, "area_nm2")), (double)n * 1.44,
                           1e-3);
    }
    assert_int_equal(sum, n_chips);
    assert_float_equal(area, 1, 1e-6);
    json_decref(json);
}

static void a_drawn_scene_is_classified(void **state)
{
    (void)state;
    static label_table truth, labels;
    run("simulate", "--scene", "perovskite-on-diamond", "--out", at("scene"));
    assert_done();
    static const char *const folders[] = {"scene/one", "scene/two"};
    static const char *const threads[] = {"1", "2"};
    for (int i = 0; i < 2; i++) {
        run("classify", "--image", at("scene/image.png"), "--support", at("scene/support.json"),
            "--out", at(folders[i]), "--threads", threads[i]);
        assert_done();
    }
    assert_same_file(at("scene/one/labels.csv"), at("scene/two/labels.csv"));
    assert_same_file(at("scene/one/overlay.png"), at("scene/two/overlay.png"));
    assert_same_file(at("scene/one/statistics.json"), at("scene/two/statistics.json"));

    size_t n_known = read_labels(at("scene/truth.csv"), truth), right = 0;
    size_t n_chips = read_labels(at("scene/one/labels.csv"), labels);
    for (size_t k = 0; k < SIDE * SIDE; k++)
        right += truth[k / SIDE][k % SIDE][0] != '\0' &&
                 strcmp(truth[k / SIDE][k % SIDE], labels[k / SIDE][k % SIDE]) == 0;
    print_message("note: classify: %zu of %zu chips right\n", right, n_known);
    assert_true((double)right >= 0.97 * (double)n_known);
    assert_statistics(at("scene/one/statistics.json"), labels, n_chips);

    size_t size = 0;
    char *png = workflow_read_file(at("scene/one/overlay.png"), &size);
    struct image overlay = {0}, image = {0};
    assert_int_equal(image_decode(png, size, &image_limits_default, &overlay, NULL), 0);
    free(png);
    png = workflow_read_file(at("scene/image.png"), &size);
    assert_int_equal(image_decode(png, size, &image_limits_default, &image, NULL), 0);
    free(png);
    assert_int_equal(overlay.info.n_channels, 3);
    assert_int_equal(overlay.info.width * image.info.height,
                     overlay.info.height * image.info.width);
    image_clear(&overlay);
    image_clear(&image);
}

static void classify_says_what_is_wrong(void **state)
{
    (void)state;
    char image[PATH_SIZE], support[PATH_SIZE], out[PATH_SIZE];
    run("simulate", "--scene", "ordered-oxide", "--out", at("bad"));
    assert_done();
    snprintf(image, sizeof(image), "%s", at("bad/image.png"));
    snprintf(support, sizeof(support), "%s", at("bad/wrong.json"));
    snprintf(out, sizeof(out), "%s", at("bad/out"));
#define SUPPORT(width, x)                                                                          \
    "{\"chip\": {\"width\": " width ", \"height\": 96}, \"classes\": ["                            \
    "{\"name\": \"a\", \"examples\": [{\"x\": 0, \"y\": 0}]},"                                     \
    "{\"name\": \"b\", \"examples\": [{\"x\": " x ", \"y\": 0}]}]}"
    static const struct {
        const char *support;
        const char *part;
    } faults[] = {
        {"{}", "/chip"},
        {"{", "wrong.json"},
        {SUPPORT("\"96\"", "96"), "/chip/width"},
        {SUPPORT("3", "96"), "/chip/width"},
        {SUPPORT("96", "null"), "/classes/1/examples/0/x"},
        {SUPPORT("96", "100000"), "'b'"},
        {SUPPORT("4000", "96"), "4000"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        write_text(support, faults[i].support);
        run("classify", "--image", image, "--support", support, "--out", out);
        assert_refused(1, faults[i].part);
    }
    write_text(support, SUPPORT("96", "96"));
    run("classify", "--image", support, "--support", support, "--out", out);
    assert_refused(1, "wrong.json: ");
    run("classify", "--image", at("bad/absent.png"), "--support", support, "--out", out);
    assert_refused(1, "absent.png");
    run("classify", "--image", image, "--support", support, "--out", out, "--edge", "wrap");
    assert_refused(1, "wrap");
    run("classify", "--image", image, "--support", support, "--out", out, "--encoder", image);
    assert_refused(1, "image.png: ");
    assert_int_equal(access(out, F_OK), -1);
    run("classify", "--image", image, "--support", support, "--out", support);
    assert_refused(1, "wrong.json");
}

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
    char manifest[2048], path[PATH_SIZE], out[PATH_SIZE], root[PATH_SIZE];
    size_t length = (size_t)snprintf(manifest, sizeof(manifest), "image,x,y,size,label,group\n");
    for (size_t i = 0; i < n; i++)
        length +=
            (size_t)snprintf(manifest + length, sizeof(manifest) - length, "%s,l,g\n", rows[i]);
    snprintf(path, sizeof(path), "%s", at("embed.csv"));
    snprintf(out, sizeof(out), "%s", at("embed.npy"));
    snprintf(root, sizeof(root), "%s", at("embed"));
    write_text(path, manifest);
    if (input_size != NULL)
        run("embed", "--manifest", path, "--root", root, "--out", out, "--input-size", input_size);
    else
        run("embed", "--manifest", path, "--root", root, "--out", out);
    assert_done();
    return read_npy(out);
}

static void embeddings_keep_the_manifests_order(void **state)
{
    (void)state;
    enum { N = 7 };
    run("simulate", "--scene", "ordered-oxide", "--out", at("embed/one"));
    assert_done();
    run("simulate", "--scene", "perovskite-on-diamond", "--out", at("embed/two"));
    assert_done();
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
    char manifest[PATH_SIZE], root[PATH_SIZE], out[PATH_SIZE];
    run("simulate", "--scene", "ordered-oxide", "--out", at("wrong/one"));
    assert_done();
    snprintf(manifest, sizeof(manifest), "%s", at("wrong/m.csv"));
    snprintf(root, sizeof(root), "%s", at("wrong"));
    snprintf(out, sizeof(out), "%s", at("wrong/o.npy"));
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
        write_text(manifest, text);
        run("embed", "--manifest", manifest, "--root", root, "--out", out);
        assert_refused(1, faults[i].part);
        assert_int_equal(access(out, F_OK), -1);
    }
}

/* ---- evaluate ---- */

/* A manifest of the scene's chips of known class, twice, as two groups; the second lacks a class. A
 * third group has one class and is skipped. */
static void write_evaluation(const char *path)
{
    static label_table truth;
    read_labels(at("evaluate/truth.csv"), truth);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("group,image,label,x,y,size\n", file);
    for (size_t k = 0; k < SIDE * SIDE; k++) {
        const char *label = truth[k / SIDE][k % SIDE];
        if (label[0] == '\0')
            continue;
        size_t x = k % SIDE * 96, y = k / SIDE * 96;
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
    char manifest[PATH_SIZE], root[PATH_SIZE];
    static char first_out[TEXT_SIZE];
    run("simulate", "--scene", "ordered-oxide", "--out", at("evaluate"));
    assert_done();
    snprintf(manifest, sizeof(manifest), "%s", at("evaluate/m.csv"));
    snprintf(root, sizeof(root), "%s", at("evaluate"));
    write_evaluation(manifest);
    run("evaluate", "--manifest", manifest, "--root", root, "--episodes", "3");
    assert_done();
    memcpy(first_out, outcome.out, TEXT_SIZE);

    double scores[2] = {0}, spread, mean, worst;
    unsigned n_classes[2], n_chips[2], n_groups, shots, episodes, seed;
    static const char *const names[] = {"first", "second"};
    for (int i = 0; i < 2; i++) {
        const char *line = strstr(outcome.out, names[i]);
        assert_non_null(line);
        assert_int_equal(
            sscanf(line, "%*s %u %u %lf %lf", &n_classes[i], &n_chips[i], &scores[i], &spread), 4);
        assert_true(scores[i] > 0.9 && scores[i] <= 1);
    }
    assert_int_equal(n_classes[0], 4);
    assert_int_equal(n_classes[1], 3);
    assert_true(n_chips[0] > n_chips[1]);
    const char *third = strstr(outcome.out, "third"), *last = strstr(outcome.out, "mean ");
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

    run("evaluate", "--manifest", manifest, "--root", root, "--episodes", "3");
    assert_done();
    assert_string_equal(outcome.out, first_out);
    run("evaluate", "--manifest", manifest, "--root", root, "--shots", "1", "--episodes", "2",
        "--seed", "18446744073709551615");
    assert_done();
    assert_non_null(strstr(outcome.out, "shots 1 episodes 2 seed 18446744073709551615\n"));
    run("evaluate", "--manifest", manifest, "--root", at("evaluate/absent"));
    assert_refused(1, "absent/image.png");
}

static void too_few_chips_to_evaluate_is_an_error(void **state)
{
    (void)state;
    run("simulate", "--scene", "ordered-oxide", "--out", at("few"));
    assert_done();
    write_text(at("few/m.csv"), "image,x,y,size,label,group\nimage.png,0,0,32,a,g\n"
                                "image.png,32,0,32,b,g\n");
    run("evaluate", "--manifest", at("few/m.csv"), "--root", at("few"));
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "12 chips"));
}

/* ---- encoder info ---- */

static void the_built_in_encoder_is_described(void **state)
{
    (void)state;
    run("encoder", "info");
    assert_done();
    assert_non_null(strstr(outcome.out, "architecture: resnet"));
    assert_non_null(strstr(outcome.out, "dimension "));
    static char described[TEXT_SIZE];
    memcpy(described, outcome.out, TEXT_SIZE);
    run("encoder", "info", "models/default.safetensors");
    assert_done();
    assert_string_equal(outcome.out, described);
}

static void what_is_no_encoder_is_refused(void **state)
{
    (void)state;
    write_text(at("garbage"), "garbage that is no safetensors file at all");
    run("encoder", "info", at("garbage"));
    assert_refused(1, "garbage: ");
    write_text(at("empty"), "");
    run("encoder", "info", at("empty"));
    assert_refused(1, "empty: ");
    run("encoder", "info", at("absent"));
    assert_refused(1, "absent");
}

/* ---- key ---- */

static const char *searched_text; /* nftw has no context */
static size_t n_searched, n_found;

static int search_file(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)walk;
    if (kind != FTW_F)
        return 0;
    size_t size = 0;
    char *bytes = workflow_read_file(path, &size);
    n_searched++;
    n_found += memmem(bytes, size, searched_text, strlen(searched_text)) != NULL;
    free(bytes);
    return 0;
}

/* How many files below `directory` hold the text. */
static size_t search(const char *directory, const char *text)
{
    searched_text = text;
    n_searched = n_found = 0;
    assert_int_equal(nftw(directory, search_file, 16, FTW_PHYS), 0);
    assert_true(n_searched > 0);
    return n_found;
}

/* Creates a key; its token and its id. */
static void create_key(const char *data, const char *name, char token[DB_KEY_TOKEN_SIZE],
                       char id[DB_ID_SIZE])
{
    run("key", "create", name, "--data", data);
    assert_done();
    size_t length = strcspn(outcome.out, "\n");
    assert_string_equal(outcome.out + length, "\n");
    assert_true(length < DB_KEY_TOKEN_SIZE);
    memcpy(token, outcome.out, length);
    token[length] = '\0';
    assert_int_equal(strncmp(token, "chipshot_", 9), 0);
    assert_null(strstr(outcome.err, token));
    const char *at_id = strstr(outcome.err, "key_");
    assert_non_null(at_id);
    snprintf(id, DB_ID_SIZE, "%.30s", at_id);
    assert_true(db_id_is(id, "key_"));
}

static void keys_are_created_listed_and_revoked(void **state)
{
    (void)state;
    char data[PATH_SIZE], token[DB_KEY_TOKEN_SIZE], other[DB_KEY_TOKEN_SIZE], id[DB_ID_SIZE],
        other_id[DB_ID_SIZE];
    snprintf(data, sizeof(data), "%s", at("keys"));
    create_key(data, "Ana's laptop", token, id);
    create_key(data, "LIMS", other, other_id);
    assert_string_not_equal(token, other);
    assert_int_equal(search(data, token), 0);
    assert_int_equal(search(data, token + 9), 0);
    assert_int_equal(search(data, id), 1);
    run("key", "list", "--data", data);
    assert_done();
    const char *first = strstr(outcome.out, id), *second = strstr(outcome.out, other_id);
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(strstr(first, "Ana's laptop\n"));
    assert_null(strstr(outcome.out, token));
    run("key", "revoke", id, "--data", data);
    assert_done();
    run("key", "list", "--data", data);
    assert_null(strstr(outcome.out, id));
    assert_non_null(strstr(outcome.out, other_id));
    run("key", "revoke", id, "--data", data);
    assert_refused(1, id);
    run("key", "create", "a\nb", "--data", data);
    assert_refused(1, "name");
    run("key", "create", "", "--data", data);
    assert_refused(1, "name");
}

static long status_with(struct client *client, const char *token)
{
    char header[128];
    snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
    const struct client_request request = {.path = "/v1/projects", .headers = {header}};
    struct client_reply reply = {0};
    client_send(client, &request, &reply);
    long status = reply.status;
    client_reply_clear(&reply);
    return status;
}

static void keys_change_while_a_server_runs(void **state)
{
    (void)state;
    struct server_process server;
    char token[DB_KEY_TOKEN_SIZE], other[DB_KEY_TOKEN_SIZE], id[DB_ID_SIZE], other_id[DB_ID_SIZE];
    struct client_reply reply = {0};
    server_init(&server);
    server_start(&server, NULL);
    struct client *client = client_create(server.port);
    client_get(server.port, "/v1/projects", &reply);
    assert_int_equal(reply.status, 200);
    client_reply_clear(&reply);
    create_key(server.data, "one", token, id);
    create_key(server.data, "two", other, other_id);
    assert_int_equal(status_with(client, token), 200);
    assert_int_equal(status_with(client, other), 200);
    assert_int_equal(status_with(client, "chipshot_wrong"), 401);
    client_get(server.port, "/v1/projects", &reply);
    assert_int_equal(reply.status, 401);
    client_reply_clear(&reply);
    run("key", "revoke", id, "--data", server.data);
    assert_done();
    assert_int_equal(status_with(client, token), 401);
    assert_int_equal(status_with(client, other), 200);
    assert_int_equal(search(server.data, token), 0);
    client_destroy(client);
    assert_int_equal(server_stop(&server, 15), 0);
    server_clear(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_version_is_named),
        cmocka_unit_test(every_command_has_help),
        cmocka_unit_test(mistakes_are_named_in_one_line),
        cmocka_unit_test(output_that_is_lost_is_a_failure),
        cmocka_unit_test(scenes_depend_on_their_seed_alone),
        cmocka_unit_test(an_unknown_scene_lists_the_names),
        cmocka_unit_test(a_drawn_scene_is_classified),
        cmocka_unit_test(classify_says_what_is_wrong),
        cmocka_unit_test(embeddings_keep_the_manifests_order),
        cmocka_unit_test(embed_says_what_is_wrong),
        cmocka_unit_test(evaluate_prints_groups_mean_and_worst),
        cmocka_unit_test(too_few_chips_to_evaluate_is_an_error),
        cmocka_unit_test(the_built_in_encoder_is_described),
        cmocka_unit_test(what_is_no_encoder_is_refused),
        cmocka_unit_test(keys_are_created_listed_and_revoked),
        cmocka_unit_test(keys_change_while_a_server_runs),
    };
    return test_run(tests);
}
