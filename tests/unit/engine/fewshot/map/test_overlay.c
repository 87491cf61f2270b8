#include "tests/test.h"

#include <stdbool.h>
#include <stdlib.h>

#include <png.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/legend.h"
#include "engine/fewshot/map/lettering.h"
#include "engine/fewshot/map/overlay.h"

enum { WIDTH = 40, HEIGHT = 10, CLASSES = 3 };

static const struct rgb colors[CLASSES] = {{250, 0, 0}, {0, 250, 0}, {0, 0, 250}};

/* Four chips of 10 x 10 pixels. */
static struct grid plan(void)
{
    const struct grid_params params = {.chip_width = 10, .chip_height = 10};
    struct grid grid;
    assert_int_equal(grid_plan(&params, WIDTH, HEIGHT, 100, &grid, NULL), 0);
    return grid;
}

/* Draws, and decodes to 8-bit RGB with libpng's simplified interface; the caller frees. */
static uint8_t *draw(const struct overlay *overlay, bool *is_indexed)
{
    struct png_bytes bytes;
    struct error err;
    if (overlay_draw(overlay, &bytes, &err) != 0)
        fail_msg("%s", err.message);
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, bytes.data, bytes.size));
    image.format = PNG_FORMAT_RGB;
    assert_true(image.width == overlay->width && image.height == overlay->height);
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(pixels);
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    *is_indexed = bytes.data[25] == 3;
    png_bytes_clear(&bytes);
    return pixels;
}

static const uint16_t labels[] = {2, LABEL_UNKNOWN, LABEL_NOT_ANALYSED, LABEL_UNDECIDED};
static const float probabilities[4 * CLASSES] = {0.0f, 0.0f, 1.0f};

static void a_tint_blends_and_leaves_alone_what_was_not_analysed(void **state)
{
    (void)state;
    const struct grid grid = plan();
    const struct fine_source source = {&grid, labels, probabilities, CLASSES, NULL};
    uint8_t grey[WIDTH * HEIGHT];
    bool is_indexed;
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        grey[i] = i < WIDTH ? 0 : 100;
    struct overlay overlay = {.source = &source,
                              .grey = grey,
                              .width = WIDTH,
                              .height = HEIGHT,
                              .colors = colors,
                              .opacity = OVERLAY_OPACITY};
    /* 0.4 of a colour and 0.6 of the grey below. */
    const uint8_t on_black[] = {0, 0, 100, 51, 51, 51, 0, 0, 0, 77, 77, 77};
    const uint8_t on_grey[] = {60, 60, 160, 111, 111, 111, 100, 100, 100, 137, 137, 137};
    uint8_t *pixels = draw(&overlay, &is_indexed);
    assert_true(is_indexed);
    for (int i = 0; i < 4; i++) {
        assert_memory_equal(pixels + 3 * (10 * i + 5), on_black + 3 * i, 3);
        assert_memory_equal(pixels + 3 * (5 * WIDTH + 10 * i + 5), on_grey + 3 * i, 3);
    }
    free(pixels);
    overlay.opacity = 100;
    pixels = draw(&overlay, &is_indexed);
    assert_memory_equal(pixels + 3 * (5 * WIDTH + 5), &colors[2], 3);
    free(pixels);

    struct png_bytes bytes;
    struct error err;
    const uint16_t beyond[] = {0, 1, 2, 3};
    const struct fine_source wrong = {&grid, beyond, probabilities, CLASSES, NULL};
    overlay.source = &wrong;
    assert_int_equal(overlay_draw(&overlay, &bytes, &err), ERROR_INVALID);
}

/* All greys, of which a palette has room for some: none is off by more than the half of a level. */
static void greys_are_rounded_where_colors_are_few(void **state)
{
    (void)state;
    const struct grid grid = plan();
    uint16_t many_labels[] = {0, 1, 2, 3};
    float many[4 * CLASSIFIER_CLASSES_MAX] = {0};
    struct rgb many_colors[CLASSIFIER_CLASSES_MAX] = {{0, 0, 0}};
    uint8_t grey[WIDTH * HEIGHT];
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        grey[i] = (uint8_t)i;
    const struct fine_source source = {&grid, many_labels, many, CLASSIFIER_CLASSES_MAX, NULL};
    const struct overlay overlay = {.source = &source,
                                    .grey = grey,
                                    .width = WIDTH,
                                    .height = HEIGHT,
                                    .colors = many_colors,
                                    .opacity = 50};
    for (int i = 0; i < 4; i++)
        many[i * CLASSIFIER_CLASSES_MAX + i] = 1.0f;
    bool is_indexed;
    uint8_t *pixels = draw(&overlay, &is_indexed);
    assert_true(is_indexed);
    for (int i = 0; i < WIDTH * HEIGHT; i++)
        assert_true(abs(2 * pixels[3 * i] - grey[i]) <= 256 / 51 / 2 + 3);
    free(pixels);
}

/* With a legend, whose classes all need a place in the palette, there is none left for greys. */
static void many_colors_are_written_in_full(void **state)
{
    (void)state;
    enum { SIDE = 200, CHIP = 10, COLUMNS = SIDE / CHIP, CHIPS = COLUMNS * COLUMNS };
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP};
    static uint16_t many_labels[CHIPS];
    static float many[CHIPS * CLASSIFIER_CLASSES_MAX];
    static uint8_t grey[SIDE * SIDE];
    struct rgb many_colors[CLASSIFIER_CLASSES_MAX];
    struct grid grid;
    assert_int_equal(grid_plan(&params, SIDE, SIDE, CHIPS, &grid, NULL), 0);
    for (uint8_t k = 0; k < CLASSIFIER_CLASSES_MAX; k++)
        many_colors[k] = (struct rgb){k, (uint8_t)(2 * k), (uint8_t)(3 * k)};
    for (int i = 0; i < CHIPS; i++) {
        many_labels[i] = (uint16_t)(i % CLASSIFIER_CLASSES_MAX);
        many[i * CLASSIFIER_CLASSES_MAX + many_labels[i]] = 1.0f;
    }
    memset(grey, 90, sizeof(grey));
    const struct fine_source source = {&grid, many_labels, many, CLASSIFIER_CLASSES_MAX, NULL};
    const struct overlay overlay = {.source = &source,
                                    .grey = grey,
                                    .width = SIDE,
                                    .height = SIDE,
                                    .colors = many_colors,
                                    .opacity = 40};
    bool is_indexed;
    uint8_t *pixels = draw(&overlay, &is_indexed);
    assert_false(is_indexed);
    for (int i = 0; i < CHIPS; i++) {
        const uint8_t *pixel =
            pixels + 3 * ((i / COLUMNS * CHIP + 5) * SIDE + i % COLUMNS * CHIP + 5);
        const struct rgb *color = &many_colors[many_labels[i]];
        assert_int_equal(pixel[0], (60 * 90 + 40 * color->r + 50) / 100);
        assert_int_equal(pixel[2], (60 * 90 + 40 * color->b + 50) / 100);
    }
    free(pixels);
}

static void contours_run_along_borders(void **state)
{
    (void)state;
    const struct grid grid = plan();
    const uint16_t bordering[] = {0, 0, 1, LABEL_NOT_ANALYSED};
    const float certain[] = {1.0f, 0.0f, 0.0f, 1.0f, 0.0f, 0.0f,
                             0.0f, 1.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    const struct fine_source source = {&grid, bordering, certain, CLASSES, NULL};
    uint8_t grey[WIDTH * HEIGHT];
    memset(grey, 70, sizeof(grey));
    const struct overlay overlay = {.source = &source,
                                    .grey = grey,
                                    .width = WIDTH,
                                    .height = HEIGHT,
                                    .colors = colors,
                                    .style = OVERLAY_CONTOUR,
                                    .opacity = OVERLAY_OPACITY};
    bool is_indexed;
    uint8_t *pixels = draw(&overlay, &is_indexed);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            struct rgb expected = {70, 70, 70};
            if (x == 19)
                expected = colors[0];
            if (x == 20 || x == 29)
                expected = colors[1];
            assert_memory_equal(pixels + 3 * (y * WIDTH + x), &expected, 3);
        }
    }
    free(pixels);
}

/* ---- stamps ---- */

static uint32_t count_ink(const struct stamp *stamp, uint8_t ink)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < stamp->width * stamp->height; i++)
        n += stamp->inks[i] == ink;
    return n;
}

static void a_legend_has_a_swatch_for_each_class_that_has_room(void **state)
{
    (void)state;
    const struct legend_entry entries[] = {
        {"film", 0}, {"a name that is far too long to be shown as it is", 1}, {"\xc3\xa4", 2}};
    struct stamp stamp = {0};
    assert_int_equal(legend_draw(entries, 3, 400, 300, &stamp, NULL), 0);
    assert_non_null(stamp.inks);
    for (uint8_t k = 0; k < 3; k++)
        assert_int_equal(count_ink(&stamp, k), 7 * 7);
    assert_true(stamp.x + stamp.width <= 400 && stamp.y + stamp.height <= 300);
    stamp_clear(&stamp);
    /* Two lines: the first class, and that there are two more. */
    assert_int_equal(legend_draw(entries, 3, 400, 45, &stamp, NULL), 0);
    assert_int_equal(count_ink(&stamp, 0), 7 * 7);
    assert_int_equal(count_ink(&stamp, 1) + count_ink(&stamp, 2), 0);
    stamp_clear(&stamp);
    assert_int_equal(legend_draw(entries, 3, 30, 30, &stamp, NULL), 0);
    assert_null(stamp.inks);
}

static void a_scale_bar_is_round_and_at_most_a_quarter(void **state)
{
    (void)state;
    const struct {
        double pixel_nm;
        uint32_t bar; /* pixels */
    } cases[] = {{1.0, 100}, {0.5, 100}, {0.3, 67}, {0.02, 100}, {7.0, 71}, {2.5e6, 80}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct stamp stamp = {0};
        assert_int_equal(legend_draw_scale(cases[i].pixel_nm, 400, 300, &stamp, NULL), 0);
        assert_non_null(stamp.inks);
        assert_true(stamp.x + stamp.width <= 400 && stamp.y + stamp.height <= 300);
        /* The bar is three rows high, five above the lower edge. */
        const uint8_t *row = stamp.inks + (size_t)(stamp.height - 6) * stamp.width;
        uint32_t n = 0;
        for (uint32_t x = 0; x < stamp.width; x++)
            n += row[x] == STAMP_TEXT;
        assert_int_equal(n, cases[i].bar);
        stamp_clear(&stamp);
    }
    struct stamp stamp = {0};
    assert_int_equal(legend_draw_scale(1.0, 30, 20, &stamp, NULL), 0);
    assert_null(stamp.inks);
    assert_int_equal(legend_draw_scale(1e-320, 400, 300, &stamp, NULL), 0);
    assert_null(stamp.inks);
}

static void letters_are_counted_and_cut_off_at_the_edge(void **state)
{
    (void)state;
    struct stamp stamp;
    assert_int_equal(lettering_count("a\xc3\xa4\xe2\x82\xac"
                                     "b"),
                     4);
    assert_int_equal(stamp_init(&stamp, 8, 7, NULL), 0);
    lettering_draw(&stamp, "I\xc3\xa4", 2, 0, 0, 1);
    /* An I of 11 dots, and of the box behind it its left edge and a dot of each other one. */
    assert_int_equal(count_ink(&stamp, STAMP_TEXT), 11 + 7 + 2);
    lettering_draw(&stamp, "I", 1, 8, 0, 1);
    lettering_draw(&stamp, "I", 1, 0, 7, 3);
    assert_int_equal(count_ink(&stamp, STAMP_TEXT), 11 + 7 + 2);
    stamp_clear(&stamp);
}

static void assert_same_letters(const char *text, const char *other, bool are_same)
{
    struct stamp one, two;
    assert_int_equal(stamp_init(&one, 24, 7, NULL), 0);
    assert_int_equal(stamp_init(&two, 24, 7, NULL), 0);
    lettering_draw(&one, text, 4, 0, 0, 1);
    lettering_draw(&two, other, 4, 0, 0, 1);
    if ((memcmp(one.inks, two.inks, (size_t)24 * 7) == 0) != are_same)
        fail_msg("%s and %s", text, other);
    stamp_clear(&one);
    stamp_clear(&two);
}

static void phases_can_be_named(void **state)
{
    (void)state;
    assert_same_letters("O\xe2\x82\x80\xe2\x82\x89", "O09", true);
    assert_same_letters("\xe2\x80\xb2\xe2\x80\xb3", "'\"", true);
    static const char *const greek[] = {"\xce\xb1", "\xce\xb2", "\xce\xb3", "\xce\xb4",
                                        "\xce\xb5", "\xce\xb7", "\xce\xb8", "\xcf\x83"};
    for (int i = 0; i < 8; i++) {
        assert_same_letters(greek[i], "\xe2\x82\xac", false); /* a sign that is a box */
        assert_same_letters(greek[i], greek[(i + 1) % 8], false);
    }
}

static void stamps_are_put_over_the_picture(void **state)
{
    (void)state;
    enum { SIDE = 300 };
    const struct grid_params params = {.chip_width = SIDE, .chip_height = SIDE};
    const char *const names[] = {"film", "other"};
    const uint16_t label = 1;
    const float certain[] = {0.0f, 1.0f};
    struct grid grid;
    assert_int_equal(grid_plan(&params, SIDE, SIDE, 1, &grid, NULL), 0);
    const struct fine_source source = {&grid, &label, certain, 2, NULL};
    uint8_t *grey = calloc(SIDE, SIDE);
    const struct overlay overlay = {.source = &source,
                                    .grey = grey,
                                    .width = SIDE,
                                    .height = SIDE,
                                    .colors = colors,
                                    .opacity = 40,
                                    .names = names,
                                    .pixel_nm = 0.1};
    bool is_indexed;
    uint8_t *pixels = draw(&overlay, &is_indexed);
    uint32_t n_swatch = 0, n_white = 0, n_paper = 0;
    const struct rgb white = {255, 255, 255}, paper = {16, 16, 16};
    for (int i = 0; i < SIDE * SIDE; i++) {
        n_swatch += memcmp(pixels + 3 * i, &colors[0], 3) == 0;
        n_white += memcmp(pixels + 3 * i, &white, 3) == 0;
        n_paper += memcmp(pixels + 3 * i, &paper, 3) == 0;
    }
    assert_int_equal(n_swatch, 7 * 7);
    assert_true(n_white > 3 * 50 + 9 * 10); /* the bar of 5 nm, and letters */
    assert_true(n_paper > 500);
    free(pixels);
    free(grey);
}

static void styles_have_names(void **state)
{
    (void)state;
    enum overlay_style style;
    struct error err;
    assert_int_equal(overlay_style_parse("contour", &style, NULL), 0);
    assert_int_equal(style, OVERLAY_CONTOUR);
    assert_int_equal(overlay_style_parse("shade", &style, &err), ERROR_INVALID);
    assert_string_equal(err.message, "style must be tint or contour, but is 'shade'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tint_blends_and_leaves_alone_what_was_not_analysed),
        cmocka_unit_test(greys_are_rounded_where_colors_are_few),
        cmocka_unit_test(many_colors_are_written_in_full),
        cmocka_unit_test(contours_run_along_borders),
        cmocka_unit_test(a_legend_has_a_swatch_for_each_class_that_has_room),
        cmocka_unit_test(a_scale_bar_is_round_and_at_most_a_quarter),
        cmocka_unit_test(phases_can_be_named),
        cmocka_unit_test(letters_are_counted_and_cut_off_at_the_edge),
        cmocka_unit_test(stamps_are_put_over_the_picture),
        cmocka_unit_test(styles_have_names),
    };
    return test_run(tests);
}
