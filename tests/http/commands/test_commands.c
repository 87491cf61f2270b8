/* The subcommands that work without a server, run as a user runs them: what all have in common,
 * simulate, classify and encoder info. */
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

#include <jansson.h>

#include "engine/image/image.h"
#include "engine/image/png_write.h"
#include "tests/http/tool.h"
#include "tests/http/workflow.h"

/* ---- help and mistakes ---- */

static void the_version_is_named(void **state)
{
    (void)state;
    tool_run("--version");
    tool_assert_done();
    assert_int_equal(strncmp(tool_outcome.out, "chipshot ", 9), 0);
    assert_non_null(strstr(tool_outcome.out, " kernels, BLAS core "));
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
        {"data", {"data adopt|check|usage|free", "--data", "--quarantine"}},
    };
    tool_run("--help");
    tool_assert_done();
    static char all[TOOL_TEXT_SIZE];
    memcpy(all, tool_outcome.out, TOOL_TEXT_SIZE);
    for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
        char usage[64];
        snprintf(usage, sizeof(usage), "Usage: chipshot %s", helps[i].command);
        assert_non_null(strstr(all, helps[i].command));
        tool_run(helps[i].command, "--help");
        tool_assert_done();
        assert_int_equal(strncmp(tool_outcome.out, usage, strlen(usage)), 0);
        assert_string_equal(tool_outcome.err, "");
        for (size_t k = 0; k < 4 && helps[i].parts[k] != NULL; k++)
            assert_non_null(strstr(tool_outcome.out, helps[i].parts[k]));
    }
}

static void mistakes_are_named_in_one_line(void **state)
{
    (void)state;
    tool_run("clasify");
    tool_assert_refused(2, "'clasify'");
    tool_run("classify", "--imagee", "x");
    tool_assert_refused(2, "--imagee");
    tool_run("classify", "--image");
    tool_assert_refused(2, "--image");
    tool_run("classify", "--support", "x", "--out", "y");
    tool_assert_refused(2, "--image");
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("x"), "leftover");
    tool_assert_refused(2, "'leftover'");
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("x"), "--seed", "-1");
    tool_assert_refused(2, "'-1'");
    tool_run("evaluate", "--manifest", "m", "--root", "r", "--shots", "12");
    tool_assert_refused(2, "1..11");
    tool_run("embed", "--manifest", "m", "--root", "r", "--out", "o", "--input-size", "513");
    tool_assert_refused(2, "input size 513 is not within 16..512");
    tool_run("classify", "--image", "i", "--support", "s", "--out", "o", "--precision", "int4");
    tool_assert_refused(2, "--precision: precision 'int4' is not float32, bfloat16 or int8");
    tool_run("evaluate", "--manifest", "m", "--root", "r", "--encoding", "tiles");
    tool_assert_refused(2, "--encoding: encoding 'tiles' is not chips or dense");
    tool_run("embed", "--manifest", "m", "--root", "r", "--out", "o", "--threads", "2x");
    tool_assert_refused(2, "'2x'");
    tool_run("serve", "--no-such-option");
    tool_assert_refused(2, "--no-such-option");
    tool_run("encoder");
    tool_assert_refused(2, "encoder info");
    tool_run("encoder", "describe");
    tool_assert_refused(2, "encoder describe");
    tool_run("key", "destroy");
    tool_assert_refused(2, "key destroy");
    tool_run("key", "create");
    tool_assert_refused(2, "key create");
}

static void output_that_is_lost_is_a_failure(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0)
        skip();
    tool_run_to("/dev/full", (const char *const[]){"encoder", "info", NULL});
    tool_assert_refused(1, "standard output");
    /* Nobody has seen the token: the key is gone. */
    char data[TOOL_PATH_SIZE];
    snprintf(data, sizeof(data), "%s", tool_path("full-keys"));
    tool_run_to("/dev/full", (const char *const[]){"key", "create", "x", "--data", data, NULL});
    assert_int_equal(tool_outcome.status, 1);
    assert_non_null(strstr(tool_outcome.err, "standard output"));
    tool_run("key", "list", "--data", data);
    tool_assert_done();
    assert_string_equal(tool_outcome.out, "");
}

/* ---- simulate ---- */

static void scenes_depend_on_their_seed_alone(void **state)
{
    (void)state;
    static const char *const files[] = {"image.png", "truth.csv", "truth.png", "support.json"};
    static const char *const folders[] = {"seed7/a", "seed7b", "seed8"};
    static const char *const seeds[] = {"7", "7", "8"};
    for (int i = 0; i < 3; i++) {
        tool_run("simulate", "--scene", "ordered-oxide", "--seed", seeds[i], "--out",
                 tool_path(folders[i]));
        tool_assert_done();
    }
    for (int i = 0; i < 4; i++) {
        char a[64], b[64];
        snprintf(a, sizeof(a), "%s/%s", folders[0], files[i]);
        snprintf(b, sizeof(b), "%s/%s", folders[1], files[i]);
        tool_assert_same_file(tool_path(a), tool_path(b));
    }
    size_t size_a = 0, size_b = 0;
    char *a = workflow_read_file(tool_path("seed7b/image.png"), &size_a);
    char *b = workflow_read_file(tool_path("seed8/image.png"), &size_b);
    assert_true(size_a != size_b || memcmp(a, b, size_a) != 0);
    free(a);
    free(b);
}

static void an_unknown_scene_lists_the_names(void **state)
{
    (void)state;
    tool_run("simulate", "--scene", "graphene", "--out", tool_path("graphene"));
    tool_assert_refused(1, "graphene");
    assert_non_null(strstr(tool_outcome.err, "perovskite-on-diamond"));
    assert_non_null(strstr(tool_outcome.err, "ordered-oxide"));
    assert_int_equal(access(tool_path("graphene"), F_OK), -1);
    tool_write_text(tool_path("a-file"), "");
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("a-file"));
    tool_assert_refused(1, "a-file");
}

/* ---- classify ---- */

static void assert_statistics(const char *path, const tool_labels labels, size_t n_chips)
{
    json_t *json = json_load_file(path, 0, NULL), *class;
    size_t i, sum = 0;
    double area = 0, pixels = 0;
    assert_non_null(json);
    json_array_foreach(json_object_get(json, "classes"), i, class)
    {
        const char *name = json_string_value(json_object_get(class, "name"));
        size_t n = (size_t)json_integer_value(json_object_get(class, "n_chips")), counted = 0;
        for (size_t k = 0; k < TOOL_SIDE * TOOL_SIDE; k++)
            counted += strcmp(labels[k / TOOL_SIDE][k % TOOL_SIDE], name) == 0;
        assert_int_equal(counted, n);
        sum += n;
        area += json_real_value(json_object_get(class, "area_fraction"));
        pixels += json_number_value(json_object_get(class, "area_pixels"));
        /* 80 pixels of 0.015 nm a side */
        assert_float_equal(json_real_value(json_object_get(class, "area_nm2")), (double)n * 1.44,
                           1e-3);
    }
    assert_int_equal(sum, n_chips);
    assert_float_equal(area, 1, 1e-6);
    const json_t *covered = json_object_get(json, "covered");
    assert_true(json_number_value(json_object_get(covered, "n_pixels")) == pixels);
    assert_float_equal(json_number_value(json_object_get(covered, "area_nm2")),
                       (double)n_chips * 1.44, 1e-3);
    json_decref(json);
}

static void a_drawn_scene_is_classified(void **state)
{
    (void)state;
    static tool_labels truth, labels;
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("scene"));
    tool_assert_done();
    static const char *const folders[] = {"scene/one", "scene/two"};
    static const char *const threads[] = {"1", "2"};
    for (int i = 0; i < 2; i++) {
        tool_run("classify", "--image", tool_path("scene/image.png"), "--support",
                 tool_path("scene/support.json"), "--out", tool_path(folders[i]), "--threads",
                 threads[i]);
        tool_assert_done();
    }
    tool_assert_same_file(tool_path("scene/one/labels.csv"), tool_path("scene/two/labels.csv"));
    tool_assert_same_file(tool_path("scene/one/overlay.png"), tool_path("scene/two/overlay.png"));
    tool_assert_same_file(tool_path("scene/one/statistics.json"),
                          tool_path("scene/two/statistics.json"));

    size_t n_known = tool_read_labels(tool_path("scene/truth.csv"), truth), right = 0;
    size_t n_chips = tool_read_labels(tool_path("scene/one/labels.csv"), labels);
    for (size_t k = 0; k < TOOL_SIDE * TOOL_SIDE; k++)
        right +=
            truth[k / TOOL_SIDE][k % TOOL_SIDE][0] != '\0' &&
            strcmp(truth[k / TOOL_SIDE][k % TOOL_SIDE], labels[k / TOOL_SIDE][k % TOOL_SIDE]) == 0;
    print_message("note: classify: %zu of %zu chips right\n", right, n_known);
    assert_true((double)right >= 0.97 * (double)n_known);
    assert_statistics(tool_path("scene/one/statistics.json"), labels, n_chips);

    size_t size = 0;
    char *png = workflow_read_file(tool_path("scene/one/overlay.png"), &size);
    struct image overlay = {0}, image = {0};
    assert_int_equal(
        image_decode(
            &(struct image_request){.data = png, .size = size, .limits = &image_limits_default},
            &overlay, NULL),
        0);
    free(png);
    png = workflow_read_file(tool_path("scene/image.png"), &size);
    assert_int_equal(
        image_decode(
            &(struct image_request){.data = png, .size = size, .limits = &image_limits_default},
            &image, NULL),
        0);
    free(png);
    assert_int_equal(overlay.info.n_channels, 3);
    assert_int_equal(overlay.info.width * image.info.height,
                     overlay.info.height * image.info.width);
    image_clear(&overlay);
    image_clear(&image);
}

static void decode_file(const char *path, struct image *out)
{
    size_t size = 0;
    char *png = workflow_read_file(path, &size);
    const struct image_request request = {
        .data = png, .size = size, .limits = &image_limits_default};
    assert_int_equal(image_decode(&request, out, NULL), 0);
    free(png);
}

/* A map of cells of `side` pixels beside the class of each pixel, asked for at the cells' centres.
 * A palette is decoded to grey: whichever a class has first is its own. */
static void assert_near_truth(const char *map_path, const char *truth_path, uint32_t side)
{
    struct image map, truth;
    float grey_of[256];
    decode_file(map_path, &map);
    decode_file(truth_path, &truth);
    assert_int_equal(truth.info.width, side * map.info.width);
    assert_int_equal(truth.info.height, side * map.info.height);
    const uint32_t n_cells = map.info.width * map.info.height;
    uint32_t n_right = 0;
    for (int k = 0; k < 256; k++)
        grey_of[k] = -1.0f;
    for (uint32_t i = 0; i < n_cells; i++) {
        const size_t x = i % map.info.width * side + side / 2,
                     y = i / map.info.width * side + side / 2;
        float *grey = &grey_of[(int)truth.pixels[y * truth.info.width + x]];
        *grey = *grey < 0.0f ? map.pixels[i] : *grey;
        n_right += map.pixels[i] == *grey;
    }
    assert_true(n_right >= 0.9 * n_cells);
    image_clear(&map);
    image_clear(&truth);
}

/* statistics.json counts, class by class, what objects.csv lists. */
static void assert_objects(const char *directory)
{
    char path[1024], line[2000];
    snprintf(path, sizeof(path), "%s/statistics.json", directory);
    json_t *json = json_load_file(path, 0, NULL), *class;
    json_int_t n_objects = 0;
    size_t i, n_lines = 0;
    assert_non_null(json);
    json_array_foreach(json_object_get(json, "classes"), i, class)
    {
        json_t *objects = json_object_get(class, "objects");
        assert_true(json_integer_value(json_object_get(objects, "n_objects")) > 0);
        n_objects += json_integer_value(json_object_get(objects, "n_objects"));
    }
    json_decref(json);
    snprintf(path, sizeof(path), "%s/objects.csv", directory);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        assert_memory_equal(line, n_lines == 0 ? "class,object,x,y," : line, 17);
        n_lines++;
    }
    fclose(file);
    assert_int_equal(n_lines, n_objects + 1);
}

/* Half a chip from window to window: cells are as large, and lie over the truth of the pixels. */
static void overlapping_chips_give_a_finer_map(void **state)
{
    (void)state;
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("fine"));
    tool_assert_done();
    tool_run("classify", "--image", tool_path("fine/image.png"), "--support",
             tool_path("fine/support.json"), "--out", tool_path("fine/out"), "--stride", "40");
    tool_assert_done();
    json_t *json = json_load_file(tool_path("fine/out/statistics.json"), 0, NULL);
    int grid_rows = 0, rows = 0, columns = 0, step = 0, width = 0, end = 0;
    assert_non_null(json);
    assert_int_equal(json_unpack(json, "{s:{s:i}, s:{s:i, s:i, s:{s:i}, s:{s:i}, s:{s:i}}}", "grid",
                                 "rows", &grid_rows, "map", "rows", &rows, "columns", &columns,
                                 "step", "x", &step, "cell", "width", &width, "end", "y", &end),
                     0);
    json_decref(json);
    assert_int_equal(grid_rows, 31);
    assert_true(rows == 32 && columns == 32);
    assert_true(step == 40 && width == 40 && end == 1280);
    assert_objects(tool_path("fine/out"));
    assert_near_truth(tool_path("fine/out/labels.png"), tool_path("fine/truth.png"), 40);
}

/* The scene as if the light fell off from one side. */
static void draw_wedge(const char *from, const char *to)
{
    size_t size;
    char *png = workflow_read_file(from, &size);
    struct image image = {0};
    const struct image_request request = {
        .data = png, .size = size, .limits = &image_limits_default};
    assert_int_equal(image_decode(&request, &image, NULL), 0);
    const uint32_t width = image.info.width, height = image.info.height;
    uint16_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    assert_non_null(pixels);
    for (uint32_t i = 0; i < width * height; i++)
        pixels[i] =
            (uint16_t)(0.6f * image.pixels[i] + 24000.0f * (float)(i % width) / (float)width);
    struct png_bytes bytes = {0};
    assert_int_equal(png_write_grey16(pixels, width, height, 0.015, &bytes, NULL), 0);
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
    png_bytes_clear(&bytes);
    free(pixels);
    image_clear(&image);
    free(png);
}

static size_t count_same(const tool_labels one, const tool_labels other)
{
    size_t n = 0;
    for (size_t k = 0; k < TOOL_SIDE * TOOL_SIDE; k++)
        n += one[k / TOOL_SIDE][k % TOOL_SIDE][0] != '\0' &&
             strcmp(one[k / TOOL_SIDE][k % TOOL_SIDE], other[k / TOOL_SIDE][k % TOOL_SIDE]) == 0;
    return n;
}

/* Nothing changes where there is no plane, and one that is there goes. */
static void classify_flattens(void **state)
{
    (void)state;
    static tool_labels plain, flattened, wedge;
    static const char *const images[] = {"flat/image.png", "flat/image.png", "flat/wedge.png"};
    tool_labels *const labels[] = {&plain, &flattened, &wedge};
    size_t n = 0;
    tool_run("simulate", "--scene", "perovskite-on-diamond", "--out", tool_path("flat"));
    tool_assert_done();
    char from[1024];
    snprintf(from, sizeof(from), "%s", tool_path("flat/image.png"));
    draw_wedge(from, tool_path("flat/wedge.png"));
    for (int i = 0; i < 3; i++) {
        tool_run("classify", "--image", tool_path(images[i]), "--support",
                 tool_path("flat/support.json"), "--out", tool_path("flat/out"),
                 i > 0 ? "--flatten" : "--low", i > 0 ? "plane" : "0.5");
        tool_assert_done();
        n = tool_read_labels(tool_path("flat/out/labels.csv"), *labels[i]);
    }
    assert_true((double)count_same(plain, flattened) >= 0.98 * (double)n);
    assert_true((double)count_same(flattened, wedge) >= 0.98 * (double)n);
}

static void wrong_ways_to_normalise_are_named(void **state)
{
    (void)state;
    static const char *const options[][3] = {
        {"--flatten", "ball", "--flatten: flatten.method must be plane"},
        {"--flatten", "plane,2", "--flatten: 'plane,2' is not"},
        {"--flatten", "polynomial,5", "flatten.order must be 2 to 4"},
        {"--clahe", "x", "--clahe: 'x' is not LIMIT"},
        {"--clahe", "2,65", "clahe.tiles must be 1 to 64"},
        {"--low", "1%", "--low: '1%' is not a number"},
        {"--high", "0.1", "normalise.low and normalise.high"},
        {"--normalise", "zscore", "--normalise: normalise.method must be"},
        {"--outliers", "maybe", "--outliers: normalise.outliers must be"},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        tool_run("classify", "--image", "i", "--support", "s", "--out", "o", options[i][0],
                 options[i][1]);
        tool_assert_refused(2, options[i][2]);
    }
}

static void classify_says_what_is_wrong(void **state)
{
    (void)state;
    char image[TOOL_PATH_SIZE], support[TOOL_PATH_SIZE], out[TOOL_PATH_SIZE];
    tool_run("simulate", "--scene", "ordered-oxide", "--out", tool_path("bad"));
    tool_assert_done();
    snprintf(image, sizeof(image), "%s", tool_path("bad/image.png"));
    snprintf(support, sizeof(support), "%s", tool_path("bad/wrong.json"));
    snprintf(out, sizeof(out), "%s", tool_path("bad/out"));
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
        tool_write_text(support, faults[i].support);
        tool_run("classify", "--image", image, "--support", support, "--out", out);
        tool_assert_refused(1, faults[i].part);
    }
    tool_write_text(support, SUPPORT("96", "96"));
    tool_run("classify", "--image", support, "--support", support, "--out", out);
    tool_assert_refused(1, "wrong.json: ");
    tool_run("classify", "--image", tool_path("bad/absent.png"), "--support", support, "--out",
             out);
    tool_assert_refused(1, "absent.png");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--edge", "wrap");
    tool_assert_refused(1, "wrap");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--unknown");
    tool_assert_refused(1, "--unknown: class 'a' has 1 examples, at least 5 are needed");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--borders", "mark");
    tool_assert_refused(2, "--borders must be off or assign, but is 'mark'");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--head", "svm");
    tool_assert_refused(2, "--head must be auto, prototypes or ridge, but is 'svm'");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--smoothing", "no");
    tool_assert_refused(2, "--smoothing must be off, auto or on, but is 'no'");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--overlay-style",
             "dots");
    tool_assert_refused(2, "--overlay-style must be tint or contour, but is 'dots'");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--encoder", image);
    tool_assert_refused(1, "image.png: ");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--encoding",
             "dense", "--stride", "7");
    tool_assert_refused(1, "--stride: 7 pixels along x is below the finest step of dense encoding, "
                           "9.60 pixels for 96 pixel chips");
    tool_run("classify", "--image", image, "--support", support, "--out", out, "--encoding",
             "dense", "--input-size", "385");
    tool_assert_refused(1, "input size 385 is above 384");
    assert_int_equal(access(out, F_OK), -1);
    tool_run("classify", "--image", image, "--support", support, "--out", support);
    tool_assert_refused(1, "wrong.json");
}

/* ---- encoder info ---- */

static void the_built_in_encoder_is_described(void **state)
{
    (void)state;
    tool_run("encoder", "info");
    tool_assert_done();
    assert_non_null(strstr(tool_outcome.out, "architecture: resnet"));
    assert_non_null(strstr(tool_outcome.out, "dimension "));
    assert_non_null(strstr(tool_outcome.out, "\nencoding:     "));
    static char described[TOOL_TEXT_SIZE];
    memcpy(described, tool_outcome.out, TOOL_TEXT_SIZE);
    tool_run("encoder", "info", "models/default.safetensors");
    tool_assert_done();
    assert_string_equal(tool_outcome.out, described);
}

/* The first input of the fuzzing of encoders has two stages and few copies. */
static void stages_and_copies_of_a_file_are_described(void **state)
{
    (void)state;
    tool_run("encoder", "info", "tests/fuzz/corpus/fuzz_encoder/two-stages.safetensors");
    tool_assert_done();
    assert_non_null(strstr(tool_outcome.out, "(BasicBlock), blocks 1 1, widths 1 1\n"));
    assert_non_null(strstr(tool_outcome.out,
                           "pooled:       the chip itself as stage 0 mean (2 copies) and slow "
                           "contrast (3 copies); stage 1 mean and standard deviation; stage 2 mean "
                           "and standard deviation; dimension 9\n"));
}

static void what_is_no_encoder_is_refused(void **state)
{
    (void)state;
    tool_write_text(tool_path("garbage"), "garbage that is no safetensors file at all");
    tool_run("encoder", "info", tool_path("garbage"));
    tool_assert_refused(1, "garbage: ");
    tool_write_text(tool_path("empty"), "");
    tool_run("encoder", "info", tool_path("empty"));
    tool_assert_refused(1, "empty: ");
    tool_run("encoder", "info", tool_path("absent"));
    tool_assert_refused(1, "absent");
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
        cmocka_unit_test(overlapping_chips_give_a_finer_map),
        cmocka_unit_test(classify_flattens),
        cmocka_unit_test(wrong_ways_to_normalise_are_named),
        cmocka_unit_test(classify_says_what_is_wrong),
        cmocka_unit_test(the_built_in_encoder_is_described),
        cmocka_unit_test(stages_and_copies_of_a_file_are_described),
        cmocka_unit_test(what_is_no_encoder_is_refused),
    };
    return test_run(tests);
}
