/* The features of `chipshot embed`, `evaluate` and `classify` through the real binary, on an image
 * whose left half is black and whose right half is white. */
#include "tests/test.h"

#include <ftw.h>

#include "engine/image/png_write.h"
#include "tests/http/server.h"
#include "tests/http/workflow.h"

enum {
    SIDE = 64,
    CHIP = 8,
    ROWS = SIDE / CHIP * SIDE / CHIP + 1, /* the grid, and one chip on the edge between */
    NPY_HEADER = 128,
    /* The default encoder pools mean and standard deviation of 32, 64, 128 and 256 channels. */
    DIMENSION = 28 + 28 + 2 * (32 + 64 + 128), /* of stages 0 to 3 */
    TEXT = 1 << 16,
};

static char directory[512], image[600], manifest[600], support[600], vectors[600], maps[600];

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    const char *root = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/features-XXXXXX", root != NULL ? root : "/tmp");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(image, sizeof(image), "%s/image.png", directory);
    snprintf(manifest, sizeof(manifest), "%s/manifest.csv", directory);
    snprintf(support, sizeof(support), "%s/support.json", directory);
    snprintf(vectors, sizeof(vectors), "%s/vectors.npy", directory);
    snprintf(maps, sizeof(maps), "%s/maps", directory);

    static uint16_t pixels[SIDE * SIDE];
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        pixels[i] = i % SIDE < SIDE / 2 ? 1000 : 60000;
    struct png_bytes png = {0};
    if (png_write_grey16(pixels, SIDE, SIDE, 0, &png, NULL) < 0)
        return -1;
    FILE *file = fopen(image, "wb");
    if (file == NULL || fwrite(png.data, 1, png.size, file) != png.size || fclose(file) != 0)
        return -1;
    png_bytes_clear(&png);

    file = fopen(manifest, "w");
    if (file == NULL)
        return -1;
    fprintf(file, "image,x,y,size,label,group\nimage.png,%d,3,%d,edge,g\n", (SIDE - CHIP) / 2,
            CHIP);
    for (uint32_t i = 1; i < ROWS; i++) {
        uint32_t x = (i - 1) * CHIP % SIDE, y = (i - 1) * CHIP / SIDE * CHIP;
        fprintf(file, "image.png,%u,%u,%d,%s,g\n", x, y, CHIP, x < SIDE / 2 ? "black" : "white");
    }
    fclose(file);
    write_text(support, "{\"name\":\"halves\",\"chip\":{\"width\":8,\"height\":8},\"classes\":["
                        "{\"name\":\"black\",\"examples\":[{\"x\":0,\"y\":0},{\"x\":3,\"y\":9}]},"
                        "{\"name\":\"white\",\"examples\":[{\"x\":40,\"y\":0}]}]}");
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs `embed` or `evaluate` with up to four more words; returns the exit status. */
static int run(const char *command, const char *const *more, char *text)
{
    const char *arguments[16] = {command, "--manifest", manifest, "--root", directory};
    size_t n = 5;
    if (strcmp(command, "embed") == 0) {
        arguments[n++] = "--out";
        arguments[n++] = vectors;
    }
    for (size_t i = 0; i < 6 && more[i] != NULL; i++)
        arguments[n++] = more[i];
    text[0] = '\0';
    return server_run_tool(arguments, text, TEXT);
}

/* The matrix that `embed` writes with these options; the caller frees it. */
static float *embed(const char *const *options, size_t dimension)
{
    static char text[TEXT];
    size_t size = 0;
    char shape[64];
    assert_int_equal(run("embed", options, text), 0);
    char *bytes = workflow_read_file(vectors, &size);
    assert_int_equal(size, NPY_HEADER + ROWS * dimension * sizeof(float));
    snprintf(shape, sizeof(shape), "'shape': (%d, %zu)", ROWS, dimension);
    bytes[NPY_HEADER - 1] = '\0';
    assert_non_null(strstr(bytes + 10, shape));
    float *matrix = malloc(ROWS * dimension * sizeof(float));
    assert_non_null(matrix);
    memcpy(matrix, bytes + NPY_HEADER, ROWS * dimension * sizeof(float));
    free(bytes);
    return matrix;
}

static void mean_and_std_are_those_of_the_pixels(void **state)
{
    (void)state;
    float *values = embed((const char *[]){"--features", "mean-std", NULL}, 2);
    assert_float_equal(values[0], 0.5, 1e-6); /* the chip on the edge */
    assert_float_equal(values[1], 0.5, 1e-6);
    for (uint32_t i = 1; i < ROWS; i++) {
        const float mean = (i - 1) * CHIP % SIDE < SIDE / 2 ? 0 : 1;
        assert_float_equal(values[2 * i], mean, 1e-6);
        assert_float_equal(values[2 * i + 1], 0, 1e-6);
    }
    free(values);
}

/* Columns first .. first + n - 1 of `whole` are columns at .. of `part`. */
static void assert_columns(const float *part, size_t part_dimension, size_t at, const float *whole,
                           size_t first, size_t n)
{
    for (size_t row = 0; row < ROWS; row++)
        assert_memory_equal(part + row * part_dimension + at, whole + row * 2 * DIMENSION + first,
                            n * sizeof(float));
}

static void parts_are_columns_of_the_whole(void **state)
{
    (void)state;
    float *whole = embed((const char *[]){"--input-size", "24,40", NULL}, 2 * DIMENSION);
    float *part = embed(
        (const char *[]){"--input-size", "24,40", "--stages", "3,1", "--statistics=std", NULL},
        2 * (32 + 128));
    assert_columns(part, 320, 0, whole, 88, 32);
    assert_columns(part, 320, 32, whole, 376, 128);
    assert_columns(part, 320, 160, whole, DIMENSION + 88, 32);
    assert_columns(part, 320, 192, whole, DIMENSION + 376, 128);
    free(part);
    part = embed((const char *[]){"--input-size", "24,40", "--stages", "3", NULL}, 2 * 256);
    assert_columns(part, 512, 0, whole, 248, 256);
    assert_columns(part, 512, 256, whole, DIMENSION + 248, 256);
    free(part);
    part = embed((const char *[]){"--input-size", "24,40", "--stages", "0", NULL}, 2 * 56);
    assert_columns(part, 112, 0, whole, 0, 56);
    assert_columns(part, 112, 56, whole, DIMENSION, 56);
    free(part);
    part = embed((const char *[]){"--input-size", "24,40", "--statistics=mean,std", NULL},
                 2 * DIMENSION);
    assert_columns(part, 2 * DIMENSION, 0, whole, 0, 2 * DIMENSION);
    free(part);
    free(whole);
}

static void evaluation_takes_every_choice(void **state)
{
    (void)state;
    static char text[TEXT];
    static const struct {
        const char *options[7];
        const char *dimension;
    } cases[] = {
        {{"--features", "encoder", "--encoding", "chips"}, " dimension 504 shots 5 "},
        {{"--features", "mean-std"}, " dimension 2 shots 5 "},
        {{"--input-size", "16,20,24", "--stages", "2,3", "--encoding=chips"},
         " dimension 1152 shots 5 "},
        {{"--stages", "3", "--statistics", "mean", "--encoding=chips"}, " dimension 128 shots 5 "},
        {{"--transform", "l2", "--distance", "cosine", "--encoding=chips"},
         " dimension 504 shots 5 "},
        {{"--transform", "none", "--features=mean-std"}, " dimension 2 shots 5 "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(run("evaluate", cases[i].options, text), 0);
        if (strstr(text, "\nmean 1.0000 worst 1.0000 groups 1 ") == NULL ||
            strstr(text, cases[i].dimension) == NULL)
            fail_msg("case %zu: %s", i, text);
    }
}

static void an_image_is_classified_at_several_sizes(void **state)
{
    (void)state;
    static char text[TEXT];
    const char *arguments[] = {"classify", "--image", image,          "--support", support,
                               "--out",    maps,      "--input-size", "24,48",     NULL};
    char path[700];
    size_t size = 0, n_right = 0;
    assert_int_equal(server_run_tool(arguments, text, TEXT), 0);
    snprintf(path, sizeof(path), "%s/labels.csv", maps);
    char *labels = workflow_read_file(path, &size);
    for (char *line = strchr(labels, '\n'); line != NULL && line[1] != '\0';
         line = strchr(line + 1, '\n')) {
        unsigned int row, column;
        assert_int_equal(sscanf(line, "%u,%u", &row, &column), 2);
        char *end = strchr(line + 1, '\n');
        char *name = strstr(line, column < SIDE / CHIP / 2 ? "black" : "white");
        n_right += name != NULL && name < end;
    }
    assert_int_equal(n_right, ROWS - 1);
    free(labels);
}

static void wrong_choices_are_refused(void **state)
{
    (void)state;
    static char text[TEXT];
    static const char *const wrong[][7] = {
        {"--input-size", ""},
        {"--input-size", "15"},
        {"--input-size", "48,513"},
        {"--input-size", "48,"},
        {"--input-size", ",48"},
        {"--input-size", "48 96"},
        {"--input-size", "-48"},
        {"--input-size", "96,48"},
        {"--input-size", "16,17,18,19"},
        {"--input-size", "99999999999999999999"},
        {"--precision", ""},
        {"--precision", "int4"},
        {"--encoding", ""},
        {"--encoding", "tiles"},
        {"--encoding", "dense", "--input-size", "48,385"},
        {"--stages", ""},
        {"--stages", "5"},
        {"--stages", "0,0"},
        {"--stages", "3,3"},
        /* not pooled by this encoder */
        {"--encoder", "tests/fixtures/encoder/basic_grey.safetensors", "--stages", "1"},
        {"--encoder", "tests/fixtures/encoder/basic_grey.safetensors", "--stages", "0,4"},
        {"--statistics", ""},
        {"--statistics", "mean,"},
        {"--statistics", "std,mean"},
        {"--statistics", "median"},
        {"--features", "mean"},
        {"--features", "mean-std", "--input-size", "48"},
        {"--features", "mean-std", "--precision", "float32"},
        {"--features", "mean-std", "--encoding", "chips"},
        {"--features", "mean-std", "--stages", "4"},
        {"--features", "mean-std", "--statistics", "mean"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int embedded = run("embed", wrong[i], text);
        int evaluated = run("evaluate", wrong[i], text);
        if (embedded != evaluated || (embedded != 1 && embedded != 2) || text[0] != '\0')
            fail_msg("case %zu: %d, %d: %s", i, embedded, evaluated, text);
    }
    assert_int_equal(run("evaluate", (const char *[]){"--transform", "pca", NULL}, text), 2);
    assert_int_equal(run("evaluate", (const char *[]){"--distance", "l1", NULL}, text), 2);
    const char *arguments[] = {"classify", "--image", image,          "--support", support,
                               "--out",    maps,      "--input-size", "48,48",     NULL};
    assert_int_equal(server_run_tool(arguments, text, TEXT), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_std_are_those_of_the_pixels),
        cmocka_unit_test(parts_are_columns_of_the_whole),
        cmocka_unit_test(evaluation_takes_every_choice),
        cmocka_unit_test(an_image_is_classified_at_several_sizes),
        cmocka_unit_test(wrong_choices_are_refused),
    };
    return test_run_with(tests, set_up, tear_down);
}
