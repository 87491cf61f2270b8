/* What `chipshot classify` leaves out of an image, as a user runs it. */
#include "tests/test.h"

#include <math.h>

#include <jansson.h>

#include "engine/image/png_write.h"
#include "engine/random.h"
#include "tests/http/tool.h"

enum {
    WIDTH = 256,
    HEIGHT = 192,
    PAD = 64,
    BAR = 32,
    CHIP = 16,
    MAX = (WIDTH + PAD) * (HEIGHT + PAD),
};

static uint16_t pixels[MAX];

/* Noise left, stripes right, with `pad` pixels to the right and below that have one value. */
static void draw(uint32_t pad, uint16_t value)
{
    struct random random;
    random_seed(&random, 3, 0);
    for (uint32_t i = 0; i < (WIDTH + pad) * (HEIGHT + pad); i++)
        pixels[i] = value;
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++)
            pixels[y * (WIDTH + pad) + x] = (uint16_t)(20000 + random_below(&random, 3000) +
                                                       (x >= 96 && x / 2 % 2 == 0 ? 6000 : 0));
    }
}

/* A data bar over the lowest rows. */
static void draw_bar(void)
{
    for (uint32_t y = HEIGHT - BAR; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            const bool is_text = y >= HEIGHT - 20 && y < HEIGHT - 10 && x > 9 && x % 9 < 3;
            pixels[y * WIDTH + x] = is_text ? UINT16_MAX : 0;
        }
    }
}

static void write_image(const char *name, uint32_t width, uint32_t height)
{
    struct png_bytes png = {0};
    assert_int_equal(png_write_grey16(pixels, width, height, 0, &png, NULL), 0);
    FILE *file = fopen(tool_path(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(png.data, 1, png.size, file), png.size);
    fclose(file);
    png_bytes_clear(&png);
}

#define NOISE   "{\"name\":\"noise\",\"examples\":[{\"x\":0,\"y\":0},{\"x\":48,\"y\":64}]}"
#define STRIPES "{\"name\":\"stripes\",\"examples\":[{\"x\":160,\"y\":0},{\"x\":192,\"y\":64}]}"
#define SUPPORT(more)                                                                              \
    "{\"chip\":{\"width\":16,\"height\":16},\"classes\":[" NOISE "," STRIPES more "]}"

static json_t *classify(const char *image, const char *support, const char *option,
                        const char *value)
{
    tool_write_text(tool_path("support.json"), support);
    const char *arguments[] = {
        "classify", "--image",        tool_path(image), "--support", tool_path("support.json"),
        "--out",    tool_path("out"), option,           value,       NULL};
    tool_run_to(NULL, arguments);
    assert_int_equal(tool_outcome.status, 0);
    json_t *json = json_load_file(tool_path("out/statistics.json"), 0, NULL);
    assert_non_null(json);
    return json;
}

static double fraction_of(const json_t *json, size_t class)
{
    const json_t *of = json_array_get(json_object_get(json, "classes"), class);
    return json_number_value(json_object_get(of, "area_fraction"));
}

static int n_left_out(const json_t *json)
{
    return (int)json_integer_value(
        json_object_get(json_object_get(json, "not_analysed"), "n_chips"));
}

static void padding_moves_no_fraction(void **state)
{
    (void)state;
    static const uint16_t values[] = {0, 30000, UINT16_MAX};
    draw(0, 0);
    write_image("plain.png", WIDTH, HEIGHT);
    json_t *plain = classify("plain.png", SUPPORT(), NULL, NULL);
    assert_string_equal(tool_outcome.err, "");
    assert_int_equal(n_left_out(plain), 0);
    assert_true(fabs(fraction_of(plain, 0) - 96.0 / WIDTH) < 0.01);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        draw(PAD, values[i]);
        write_image("padded.png", WIDTH + PAD, HEIGHT + PAD);
        json_t *padded = classify("padded.png", SUPPORT(), NULL, NULL);
        assert_int_equal(n_left_out(padded), MAX / CHIP / CHIP - WIDTH * HEIGHT / CHIP / CHIP);
        assert_true(fabs(fraction_of(padded, 0) - fraction_of(plain, 0)) < 0.01);
        assert_non_null(strstr(tool_outcome.err, "not analysed: a border of 320 x 64 pixels at 0, "
                                                 "192, a border of 64 x 192 pixels at 256, 0; "
                                                 "--no-proposed-mask keeps"));
        json_decref(padded);
    }
    json_decref(plain);
}

static void a_bar_is_left_out_unless_it_is_kept(void **state)
{
    (void)state;
    draw(0, 0);
    draw_bar();
    write_image("bar.png", WIDTH, HEIGHT);
    json_t *json = classify("bar.png", SUPPORT(), NULL, NULL);
    assert_int_equal(n_left_out(json), WIDTH * BAR / CHIP / CHIP);
    assert_true(fabs(fraction_of(json, 0) - 96.0 / WIDTH) < 0.01);
    assert_non_null(strstr(tool_outcome.err, "a bar of 256 x 32 pixels at 0, 160"));
    const json_t *said =
        json_array_get(json_object_get(json_object_get(json, "analysis"), "not_analysed"), 0);
    assert_string_equal(json_string_value(json_object_get(said, "kind")), "bar");
    assert_string_equal(json_string_value(json_object_get(said, "status")), "proposed");
    json_decref(json);
    json = classify("bar.png", SUPPORT(), "--no-proposed-mask", NULL);
    assert_int_equal(n_left_out(json), 0);
    assert_null(strstr(tool_outcome.err, "not analysed"));
    json_decref(json);
    /* Kept, it may be a class of its own that is in no fraction. */
    json =
        classify("bar.png",
                 SUPPORT(",{\"name\":\"bar\",\"counted\":false,\"examples\":[{\"x\":0,\"y\":176},"
                         "{\"x\":64,\"y\":160}]}"),
                 "--no-proposed-mask", NULL);
    assert_true(fabs(fraction_of(json, 0) + fraction_of(json, 1) - 1.0) < 1e-9);
    const json_t *bar = json_array_get(json_object_get(json, "classes"), 2);
    assert_true(json_is_false(json_object_get(bar, "counted")));
    assert_true(json_is_null(json_object_get(bar, "area_fraction")));
    assert_true(json_integer_value(json_object_get(bar, "n_chips")) > 0);
    json_decref(json);
}

static void a_picture_masks(void **state)
{
    (void)state;
    draw(0, 0);
    write_image("plain.png", WIDTH, HEIGHT);
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
        pixels[i] = i % WIDTH < 32 ? 0 : 1;
    write_image("mask.png", WIDTH, HEIGHT);
    json_t *json = classify("plain.png",
                            "{\"chip\":{\"width\":16,\"height\":16},\"classes\":[{\"name\":"
                            "\"noise\",\"examples\":[{\"x\":48,\"y\":64}]}," STRIPES "]}",
                            "--mask", tool_path("mask.png"));
    assert_int_equal(n_left_out(json), 32 * HEIGHT / CHIP / CHIP);
    assert_true(fabs(fraction_of(json, 0) - 64.0 / 224) < 0.01);
    assert_non_null(strstr(tool_outcome.err, "not analysed: 6144 pixels by --mask\n"));
    json_decref(json);
    /* An example under it stands for nothing. */
    tool_write_text(tool_path("support.json"), SUPPORT());
    tool_run("classify", "--image", tool_path("plain.png"), "--support", tool_path("support.json"),
             "--out", tool_path("out"), "--mask", tool_path("mask.png"));
    assert_int_equal(tool_outcome.status, 1);
    assert_non_null(strstr(tool_outcome.err, "example 0 of class 'noise', at 0, 0: more than half "
                                             "of it is not analysed"));
    /* It has the image's size. */
    write_image("mask.png", WIDTH, HEIGHT - 1);
    tool_run("classify", "--image", tool_path("plain.png"), "--support", tool_path("support.json"),
             "--out", tool_path("out"), "--mask", tool_path("mask.png"));
    tool_assert_refused(1, "a mask has the image's size, 256 x 192 pixels, not 256 x 191");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_moves_no_fraction),
        cmocka_unit_test(a_bar_is_left_out_unless_it_is_kept),
        cmocka_unit_test(a_picture_masks),
    };
    return test_run(tests);
}
