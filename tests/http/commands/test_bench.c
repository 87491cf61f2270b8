/* `chipshot bench` through the real binary: what it reports, not how fast it is. */
#include "tests/test.h"

#include <jansson.h>
#include <math.h>

#include "engine/encoder/precision.h"
#include "tests/http/server.h"

static double number(const json_t *report, const char *key)
{
    const json_t *value = json_object_get(report, key);
    if (!json_is_number(value))
        fail_msg("%s is no number", key);
    return json_number_value(value);
}

/* Runs a benchmark of one round and parses its report; to be released with json_decref. */
static json_t *bench(const char *option, const char *value, const char *size, const char *threads)
{
    const char *arguments[] = {
        "bench",  "encoder",  "--size", size,         "--batch", "3",    "--threads", threads,
        "--json", "--rounds", "1",      "--round-ms", "50",      option, value,       NULL};
    char text[4096];
    json_error_t error;
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (report == NULL)
        fail_msg("not one JSON object: %s: %s", error.text, text);
    return report;
}

static void check_numbers(const json_t *report)
{
    const double speed = number(report, "chips_per_second");
    assert_true(speed > 0);
    assert_true(number(report, "chips_per_second_min") <= speed);
    assert_true(number(report, "chips_per_second_max") >= speed);
    const double gflop = speed * number(report, "flop_per_chip") / 1e9;
    assert_float_equal(number(report, "gflop_per_second") / gflop, 1, 1e-3);
    assert_true(number(report, "peak_rss_bytes") > 1e6);
    assert_true(json_string_length(json_object_get(report, "kernels")) > 0);
    assert_int_equal((int)number(report, "rounds"), 1);
    assert_int_equal((int)number(report, "round_ms"), 50);
    assert_int_equal((int)number(report, "batch"), 3);
}

static void the_built_in_encoder_is_measured(void **state)
{
    (void)state;
    json_t *report = bench("--rounds", "1", "24", "2");
    check_numbers(report);
    assert_int_equal((int)number(report, "input_size"), 24);
    assert_int_equal((int)number(report, "threads"), 2);
    json_decref(report);
}

static void an_encoder_file_is_measured(void **state)
{
    (void)state;
    json_t *report = bench("--encoder", "models/default.safetensors", "32", "1");
    json_t *built_in = bench("--rounds", "1", "32", "1");
    check_numbers(report);
    assert_true(number(report, "n_parameters") == number(built_in, "n_parameters"));
    assert_true(number(report, "flop_per_chip") == number(built_in, "flop_per_chip"));
    json_decref(built_in);
    json_decref(report);
}

/* The count of a published network at its published size: 1.82 GMAC (torchvision: 1.81), of which
 * the classifier, which is not run, has 0.0005. */
static void an_architecture_is_measured(void **state)
{
    (void)state;
    json_t *report = bench("--arch", "resnet18", "224", "1");
    check_numbers(report);
    assert_string_equal(json_string_value(json_object_get(report, "architecture")), "resnet18");
    assert_true(number(report, "n_parameters") == 11176512);
    assert_true(number(report, "dimension") == 512);
    assert_float_equal(number(report, "flop_per_chip") / 2 / 1e9, 1.8136, 0.001);
    json_decref(report);
}

/* A tile of 2048 x 2048 pixels with chips of 64: at 32 px its core is one of 1024 / n. */
static void dense_encoding_is_measured(void **state)
{
    (void)state;
    json_t *report = bench("--encoding", "dense", "32", "2");
    check_numbers(report);
    assert_string_equal(json_string_value(json_object_get(report, "encoding")), "dense");
    const double side = number(report, "tile_side"), core = side - 32;
    assert_true(side <= 512 && fmod(core, 32) == 0);
    /* The margins' work is the chips', too. */
    json_t *chips = bench("--encoding", "chips", "32", "1");
    assert_string_equal(json_string_value(json_object_get(chips, "encoding")), "chips");
    assert_null(json_object_get(chips, "tile_side"));
    const double ratio = number(report, "flop_per_chip") / number(chips, "flop_per_chip");
    assert_true(ratio > 1 && ratio < side / core * side / core * 1.05);
    json_decref(chips);
    json_decref(report);
}

static void the_report_can_be_read(void **state)
{
    (void)state;
    const char *arguments[] = {"bench", "encoder", "--size", "16", "--rounds", "1", NULL};
    char text[4096];
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    static const char *const words[] = {"16 x 16 px", "batches of 32", "1 thread(s)", "kernels:",
                                        "chips/s",    "GFLOP/s",       "peak memory"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_non_null(strstr(text, words[i]));
}

/* ---- bench precision ---- */

static void each_offered_precision_is_measured(void **state)
{
    (void)state;
    const char *arguments[] = {"bench",   "precision", "--json",   "--size",  "24",
                               "--batch", "3",         "--rounds", "1",       "--round-ms",
                               "10",      "--threads", "2",        "--scene", "ordered-oxide",
                               NULL};
    char text[4096];
    json_error_t error;
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (report == NULL)
        fail_msg("not one JSON object: %s: %s", error.text, text);
    assert_true(number(report, "n_chips") > 100);
    const json_t *precisions = json_object_get(report, "precisions");
    const json_t *exact = json_object_get(precisions, "float32");
    assert_true(number(exact, "chips_per_second") > 0);
    assert_true(number(exact, "speed_ratio") == 1);
    assert_true(number(exact, "max_error") == 0 && number(exact, "label_agreement") == 1);
    for (enum precision i = PRECISION_BFLOAT16; i < PRECISIONS; i++) {
        const json_t *reduced = json_object_get(precisions, precision_name(i));
        assert_true((reduced != NULL) == (precision_check(i, NULL) == 0));
        if (reduced == NULL)
            continue;
        assert_true(number(reduced, "chips_per_second") > 0);
        assert_true(number(reduced, "mean_error") > 1e-5);
        assert_true(number(reduced, "mean_error") < number(reduced, "max_error"));
        assert_true(number(reduced, "max_error") < 0.05);
        assert_true(number(reduced, "label_agreement") > 0.9);
    }
    json_decref(report);
}

/* ---- bench job ---- */

static void draw_scene(char *image, char *support, size_t size)
{
    const char *root = getenv("TMPDIR");
    char directory[400], text[1024];
    snprintf(directory, sizeof(directory), "%s/bench-scene", root != NULL ? root : "/tmp");
    const char *arguments[] = {"simulate", "--scene", "perovskite-on-diamond",
                               "--out",    directory, NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    snprintf(image, size, "%s/image.png", directory);
    snprintf(support, size, "%s/support.json", directory);
}

static json_t *bench_job(const char *const *options)
{
    const char *arguments[16] = {"bench", "job", "--json", "--rounds", "1"};
    char text[8192];
    json_error_t error;
    for (size_t i = 0; options[i] != NULL; i++)
        arguments[5 + i] = options[i];
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (report == NULL)
        fail_msg("not one JSON object: %s: %s", error.text, text);
    return report;
}

/* A job's parts are all there; those that do not overlap are no longer than the whole. */
static void check_run(const json_t *run, bool cold)
{
    static const char *const parts[] = {"load",   "read",  "decode",   "normalise", "chip",
                                        "encode", "cache", "classify", "store",     "start"};
    const json_t *of = json_object_get(run, "parts");
    const double seconds = number(run, "seconds");
    assert_int_equal(json_object_size(of), sizeof(parts) / sizeof(parts[0]));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        assert_true(number(of, parts[i]) >= 0 && number(of, parts[i]) <= seconds);
    const double serial = number(of, "start") + number(of, "load") + number(of, "read") +
                          number(of, "cache") + number(of, "classify") + number(of, "store");
    assert_true(serial <= seconds);
    assert_true(number(of, "chip") + number(of, "encode") <= seconds);
    assert_true((number(of, "encode") > 0) == cold && (number(of, "decode") > 0) == cold);
    assert_true((number(run, "first_batch_seconds") > 0) == cold);
    assert_true(number(of, "classify") > 0 && number(of, "store") > 0);
}

static void a_job_is_measured(void **state)
{
    (void)state;
    char image[512], support[512];
    draw_scene(image, support, sizeof(image));
    json_t *report = bench_job((const char *[]){"--image", image, "--support", support, "--threads",
                                                "2", "--chips", "300,500", NULL});
    check_run(json_object_get(report, "cold"), true);
    check_run(json_object_get(report, "warm"), false);
    const json_t *drawn = json_object_get(report, "image");
    const double pixels = number(drawn, "width") * number(drawn, "height");
    assert_true(number(drawn, "chips") > 200);
    assert_int_equal((int)number(report, "threads"), 2);
    const double ratio =
        number(json_object_get(report, "cold"), "seconds") / number(report, "encoder_seconds");
    assert_float_equal(number(report, "cold_to_encoder") / ratio, 1, 1e-4); /* one round */
    assert_true(number(report, "warm_to_cold") > 0);
    assert_true(number(report, "render_seconds") > 0);
    const json_t *memory = json_object_get(report, "memory");
    assert_true(number(memory, "pixels_bytes") == 4 * pixels);
    assert_true(number(memory, "limit_bytes") ==
                number(memory, "weights_bytes") + 12 * pixels + 100e6);
    assert_true(number(memory, "peak_rss_bytes") > 1e6);
    const json_t *scales = json_object_get(report, "scales");
    assert_int_equal(json_array_size(scales), 2);
    assert_true(number(json_array_get(scales, 0), "relative_cost") == 1);
    for (size_t i = 0; i < 2; i++) {
        const json_t *scale = json_array_get(scales, i);
        assert_true(number(scale, "warm_seconds") > 0);
        assert_float_equal(number(scale, "chips"), i == 0 ? 300 : 500, 20);
        assert_float_equal(number(scale, "chips_per_second") * number(scale, "seconds") /
                               number(scale, "chips"),
                           1, 1e-4);
    }
    json_decref(report);
}

/* Half the chip's size from chip to chip is four times as many chips, but for the edges. */
static void a_job_takes_encoding_and_stride(void **state)
{
    (void)state;
    static const char *const encodings[] = {"chips", "dense"};
    char image[512], support[512];
    draw_scene(image, support, sizeof(image));
    for (size_t i = 0; i < 2; i++) {
        json_t *report = bench_job((const char *[]){"--image", image, "--support", support,
                                                    "--encoding", encodings[i], NULL});
        json_t *finer =
            bench_job((const char *[]){"--image", image, "--support", support, "--encoding",
                                       encodings[i], "--stride", "40", NULL});
        assert_string_equal(json_string_value(json_object_get(report, "encoding")), encodings[i]);
        assert_int_equal((int)number(json_object_get(report, "chip"), "width"), 80);
        const double n = number(json_object_get(report, "image"), "chips");
        assert_int_equal((int)number(json_object_get(finer, "image"), "chips"),
                         (int)((2 * sqrt(n) - 1) * (2 * sqrt(n) - 1)));
        json_decref(report);
        json_decref(finer);
    }
}

static void a_jobs_report_can_be_read(void **state)
{
    (void)state;
    char image[512], support[512], text[8192];
    draw_scene(image, support, sizeof(image));
    const char *arguments[] = {"bench", "job",       "--rounds", "1", "--image",
                               image,   "--support", support,    NULL};
    assert_int_equal(server_run_tool(arguments, text, sizeof(text)), 0);
    static const char *const words[] = {"cold job:", "warm job:", "decode ", "classify ",
                                        "ratios:",   "memory:",   "render:"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_non_null(strstr(text, words[i]));
}

static void wrong_options_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][7] = {
        {"bench"},
        {"bench", "decoder"},
        {"bench", "encoder", "resnet18"},
        {"bench", "encoder", "--size", "15"},
        {"bench", "encoder", "--size", "513"},
        {"bench", "encoder", "--batch", "0"},
        {"bench", "encoder", "--batch", "33"},
        {"bench", "encoder", "--threads", "0"},
        {"bench", "encoder", "--threads", "many"},
        {"bench", "encoder", "--encoding", "sparse"},
        {"bench", "encoder", "--rounds", "0"},
        {"bench", "encoder", "--round-ms", "0"},
        {"bench", "encoder", "--round-ms", "60001"},
        {"bench", "encoder", "--json=yes"},
        {"bench", "encoder", "--arch", "vgg16"},
        {"bench", "encoder", "--arch=resnet18", "--encoder=models/default.safetensors"},
        {"bench", "encoder", "--encoder", "README.md"},
        {"bench", "encoder", "--encoder", "no/such/file"},
        {"bench", "job", "more"},
        {"bench", "job", "--rounds", "0"},
        {"bench", "job", "--threads", "257"},
        {"bench", "job", "--encoding", "tiles"},
        {"bench", "job", "--stride", "0"},
        {"bench", "job", "--stride", "6", "--encoding", "dense"}, /* the finest is 6.67 */
        {"bench", "job", "--chips", "1000,"},
        {"bench", "job", "--chips", "0"},
        {"bench", "job", "--chips", "-5"},
        {"bench", "job", "--chips", "4000001"},
        {"bench", "job", "--image", "README.md"},
        {"bench", "job", "--image", "README.md", "--support", "README.md"},
        {"bench", "job", "--arch", "resnet18", "--encoder=models/default.safetensors"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[4096] = "";
        int status = server_run_tool(wrong[i], text, sizeof(text));
        if (status != 1 && status != 2)
            fail_msg("case %zu: exit status %d", i, status);
        assert_string_equal(text, ""); /* nothing that could be taken for a measurement */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_built_in_encoder_is_measured),
        cmocka_unit_test(an_encoder_file_is_measured),
        cmocka_unit_test(dense_encoding_is_measured),
        cmocka_unit_test(an_architecture_is_measured),
        cmocka_unit_test(the_report_can_be_read),
        cmocka_unit_test(each_offered_precision_is_measured),
        cmocka_unit_test(a_job_is_measured),
        cmocka_unit_test(a_job_takes_encoding_and_stride),
        cmocka_unit_test(a_jobs_report_can_be_read),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return test_run(tests);
}
