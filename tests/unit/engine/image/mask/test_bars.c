#include "tests/test.h"

#include <ftw.h>
#include <math.h>

#include "engine/image/image.h"

enum { WIDTH = 320, HEIGHT = 240, N = WIDTH * HEIGHT };

static float pixels[N];

static void fill(uint32_t x, uint32_t y, uint32_t width, uint32_t height, float value)
{
    for (uint32_t j = y; j < y + height; j++) {
        for (uint32_t i = x; i < x + width; i++)
            pixels[j * WIDTH + i] = value;
    }
}

/* Grey noise of 100 .. 139. */
static void make_specimen(void)
{
    uint32_t value = 1;
    for (uint32_t i = 0; i < N; i++) {
        value = value * 1664525u + 1013904223u;
        pixels[i] = (float)(100 + (value >> 16) % 40);
    }
}

/* Letters: columns of 3 pixels in rows of 8, with gaps. */
static void write_text(uint32_t x, uint32_t y, uint32_t n_letters, float value)
{
    for (uint32_t i = 0; i < n_letters; i++)
        fill(x + 7 * i, y, 3, 8, value);
}

static uint32_t find(struct bar bars[BARS_MAX])
{
    struct bars_scan *scan = NULL;
    assert_int_equal(bars_scan_create(&scan, WIDTH, HEIGHT, NULL), 0);
    for (uint32_t y = 0; y < HEIGHT; y++)
        bars_scan_add_row(scan, pixels + (size_t)y * WIDTH);
    const uint32_t n = bars_scan_find(scan, bars);
    bars_scan_destroy(scan);
    return n;
}

static void check_bar(const struct bar *bar, enum bar_kind kind, uint32_t x, uint32_t y,
                      uint32_t width, uint32_t height)
{
    assert_int_equal(bar->kind, kind);
    assert_int_equal(bar->rect.x, x);
    assert_int_equal(bar->rect.y, y);
    assert_int_equal(bar->rect.width, width);
    assert_int_equal(bar->rect.height, height);
}

static void check_nothing(void)
{
    struct bar bars[BARS_MAX];
    assert_int_equal(find(bars), 0);
}

static void borders_are_found_at_each_edge(void **state)
{
    (void)state;
    static const float values[] = {0, 255, 128, -7.5f};
    struct bar bars[BARS_MAX];
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        make_specimen();
        fill(0, 0, WIDTH, 20, values[i]);
        fill(0, HEIGHT - 1, WIDTH, 1, values[i]);
        fill(0, 0, 64, HEIGHT, values[i]);
        fill(WIDTH - 3, 0, 3, HEIGHT, values[i]);
        assert_int_equal(find(bars), 4);
        check_bar(&bars[0], BAR_BORDER, 0, 0, WIDTH, 20);
        check_bar(&bars[1], BAR_BORDER, 0, HEIGHT - 1, WIDTH, 1);
        check_bar(&bars[2], BAR_BORDER, 0, 20, 64, HEIGHT - 21);
        check_bar(&bars[3], BAR_BORDER, WIDTH - 3, 20, 3, HEIGHT - 21);
    }
    assert_string_equal(bar_kind_name(BAR_BORDER), "border");
}

static void data_bars_are_found(void **state)
{
    (void)state;
    struct bar bars[BARS_MAX];
    make_specimen();
    fill(0, 200, WIDTH, 40, 0);
    write_text(10, 206, 20, 255);
    fill(200, 225, 90, 5, 255); /* the scale */
    assert_int_equal(find(bars), 1);
    check_bar(&bars[0], BAR_DATA, 0, 200, WIDTH, 40);
    assert_string_equal(bar_kind_name(BAR_DATA), "bar");
    /* Black on white, at the top, with a line between, which goes with neither. */
    make_specimen();
    fill(0, 0, WIDTH, 30, 255);
    write_text(10, 5, 30, 0);
    fill(0, 30, WIDTH, 1, 0);
    assert_int_equal(find(bars), 1);
    check_bar(&bars[0], BAR_DATA, 0, 0, WIDTH, 30);
}

static void specimen_is_no_bar(void **state)
{
    (void)state;
    make_specimen();
    check_nothing();
    /* One value throughout, ramps and stripes: what is beside the strip is one as well. */
    fill(0, 0, WIDTH, HEIGHT, 5);
    check_nothing();
    for (uint32_t i = 0; i < N; i++)
        pixels[i] = (float)(i / WIDTH);
    check_nothing();
    for (uint32_t i = 0; i < N; i++)
        pixels[i] = (float)(i % WIDTH / 16 % 2);
    check_nothing();
    /* Vacuum that is clipped, with the specimen's edge in it. */
    make_specimen();
    for (uint32_t y = 0; y < HEIGHT; y++) {
        const uint32_t edge = (uint32_t)(60 + 30 * sin(y / 20.0));
        fill(0, y, edge, 1, 0);
    }
    check_nothing();
    make_specimen();
    for (uint32_t x = 0; x < WIDTH; x++)
        fill(x, (uint32_t)(180 + 30 * sin(x / 20.0)), 1, 30, 0);
    fill(0, 210, WIDTH, 30, 0);
    check_nothing();
    /* Bright particles in it, of many values. */
    make_specimen();
    fill(0, 190, WIDTH, 50, 0);
    for (uint32_t i = 0; i < 12; i++) {
        for (uint32_t k = 0; k < 100; k++)
            pixels[(200 + k / 10) * WIDTH + 20 * i + k % 10] = (float)(80 + k);
    }
    check_nothing();
    /* A particle or a scale drawn into the specimen is no strip. */
    make_specimen();
    fill(20, 200, 100, 30, 0);
    write_text(25, 205, 10, 255);
    check_nothing();
}

static void little_would_be_left(void **state)
{
    (void)state;
    make_specimen();
    fill(0, 0, WIDTH, HEIGHT - 50, 0);
    check_nothing();
}

static void missing_pixels_are_counted(void **state)
{
    (void)state;
    struct bars_scan *scan = NULL;
    make_specimen();
    fill(10, 10, 7, 3, NAN);
    assert_int_equal(bars_scan_create(&scan, WIDTH, HEIGHT, NULL), 0);
    for (uint32_t y = 0; y < HEIGHT; y++)
        bars_scan_add_row(scan, pixels + (size_t)y * WIDTH);
    assert_int_equal(bars_scan_n_missing(scan), 21);
    bars_scan_destroy(scan);
    bars_scan_destroy(NULL);
}

/* ---- real ones ---- */

static uint32_t look_at(const char *path, struct bar bars[BARS_MAX])
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    void *data = malloc(size);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, size, file), size);
    fclose(file);
    const struct image_request request = {
        .data = data, .size = size, .limits = &image_limits_default};
    struct image_info info;
    struct image_look look = {.counts = calloc(SAMPLE_LEVELS_MAX, sizeof(uint32_t))};
    assert_non_null(look.counts);
    assert_int_equal(image_scan(&request, &info, &look, NULL), 0);
    memcpy(bars, look.bars, sizeof(look.bars));
    free(look.counts);
    free(data);
    return look.n_bars;
}

static uint32_t n_micrographs, n_found;

static int visit(const char *path, const struct stat *status, int type)
{
    struct bar bars[BARS_MAX];
    (void)status;
    if (type == FTW_F && strlen(path) > 4 && strcmp(path + strlen(path) - 4, ".png") == 0) {
        n_micrographs++;
        n_found += look_at(path, bars);
    }
    return 0;
}

static void no_real_micrograph_has_one(void **state)
{
    (void)state;
    static const char *const places[] = {"data/accuracy", "data/formats/png", "data/sto-ge"};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *path = test_shared_path(places[i]);
        if (path == NULL)
            skip();
        assert_int_equal(ftw(path, visit, 8), 0);
    }
    print_message("%u micrographs, %u strips found\n", n_micrographs, n_found);
    assert_true(n_micrographs > 0);
    assert_int_equal(n_found, 0);
}

static void the_burned_in_bar_is_found(void **state)
{
    (void)state;
    struct bar bars[BARS_MAX];
    const char *path = test_shared_path("cases/info-bar/image.png");
    if (path == NULL)
        skip();
    assert_int_equal(look_at(path, bars), 1);
    check_bar(&bars[0], BAR_DATA, 0, 512, 768, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(borders_are_found_at_each_edge),
        cmocka_unit_test(data_bars_are_found),
        cmocka_unit_test(specimen_is_no_bar),
        cmocka_unit_test(little_would_be_left),
        cmocka_unit_test(missing_pixels_are_counted),
        cmocka_unit_test(no_real_micrograph_has_one),
        cmocka_unit_test(the_burned_in_bar_is_found),
    };
    return test_run(tests);
}
