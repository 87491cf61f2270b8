#include "tests/test.h"

#include <stdlib.h>

#include <png.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/maps.h"

static const struct rgb colors[] = {{250, 0, 0}, {0, 250, 0}, {0, 0, 250}};

/* Decodes to 8-bit RGB with libpng's simplified interface; the caller frees. */
static uint8_t *decode(const struct png_bytes *bytes, uint32_t *width, uint32_t *height)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, bytes->data, bytes->size));
    image.format = PNG_FORMAT_RGB;
    uint8_t *pixels = malloc(PNG_IMAGE_SIZE(image));
    assert_non_null(pixels);
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
    *width = image.width;
    *height = image.height;
    return pixels;
}

static struct grid plan(uint32_t width, uint32_t height, uint32_t chip, uint32_t stride,
                        enum grid_edge edge)
{
    const struct grid_params params = {.chip_width = chip,
                                       .chip_height = chip,
                                       .stride_x = stride,
                                       .stride_y = stride,
                                       .edge = edge};
    struct grid grid;
    assert_int_equal(grid_plan(&params, width, height, 1000000, &grid, NULL), 0);
    return grid;
}

static void labels_are_one_pixel_a_chip(void **state)
{
    (void)state;
    struct grid grid = plan(30, 20, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {0, 1, 2, 2, 1, 0};
    struct png_bytes bytes;
    assert_int_equal(maps_labels(&grid, labels, colors, 3, &bytes, NULL), 0);
    assert_int_equal(bytes.data[25], 3); /* IHDR colour type: indexed */
    uint32_t width, height;
    uint8_t *pixels = decode(&bytes, &width, &height);
    assert_int_equal(width, 3);
    assert_int_equal(height, 2);
    for (int i = 0; i < 6; i++)
        assert_memory_equal(pixels + 3 * i, &colors[labels[i]], 3);
    free(pixels);
    png_bytes_clear(&bytes);
    const uint16_t beyond[] = {0, 1, 2, 2, 3, 0};
    struct error err;
    assert_int_equal(maps_labels(&grid, beyond, colors, 3, &bytes, &err), ERROR_INVALID);
}

static void chips_without_a_class_are_grey_black_or_left_alone(void **state)
{
    (void)state;
    struct grid grid = plan(30, 10, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {2, LABEL_UNKNOWN, LABEL_NOT_ANALYSED};
    const uint8_t expected[] = {0, 0, 250, 128, 128, 128, 0, 0, 0};
    struct png_bytes bytes;
    uint32_t width, height;
    assert_int_equal(maps_labels(&grid, labels, colors, 3, &bytes, NULL), 0);
    uint8_t *pixels = decode(&bytes, &width, &height);
    assert_memory_equal(pixels, expected, sizeof(expected));
    free(pixels);
    png_bytes_clear(&bytes);

    static const uint8_t plane[30 * 10];
    const uint8_t blended[] = {0, 0, 100, 51, 51, 51, 0, 0, 0}; /* 0.4 of a colour over black */
    assert_int_equal(maps_overlay(&grid, plane, labels, colors, 3, 30, &bytes, NULL), 0);
    pixels = decode(&bytes, &width, &height);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(pixels + 3 * (10 * i + 5), blended + 3 * i, 3);
    free(pixels);
    png_bytes_clear(&bytes);

    const uint16_t between[] = {0, 1, LABEL_UNKNOWN - 1};
    struct error err;
    assert_int_equal(maps_labels(&grid, between, colors, 3, &bytes, &err), ERROR_INVALID);
    assert_int_equal(maps_overlay(&grid, plane, between, colors, 3, 30, &bytes, &err),
                     ERROR_INVALID);
}

static void probabilities_fill_the_grey_range(void **state)
{
    (void)state;
    struct grid grid = plan(20, 20, 10, 0, GRID_EDGE_DROP);
    const float probabilities[] = {1.0f, 0.0f, 0.5f, 0.5f, 0.25f, 0.75f, 0.0f, 1.0f};
    struct png_bytes bytes;
    assert_int_equal(maps_probability(&grid, probabilities, 2, 1, &bytes, NULL), 0);
    assert_int_equal(bytes.data[25], 0); /* grey */
    uint32_t width, height;
    uint8_t *pixels = decode(&bytes, &width, &height);
    const uint8_t expected[] = {0, 128, 191, 255};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pixels[3 * i], expected[i]);
    free(pixels);
    png_bytes_clear(&bytes);
    struct error err;
    assert_int_equal(maps_probability(&grid, probabilities, 2, 2, &bytes, &err), ERROR_INVALID);
}

/* The rule as the header states it, by brute force over all chips. */
static int64_t nearest_chip(const struct grid *grid, double x, double y)
{
    int64_t nearest = -1;
    double smallest = 0.0;
    for (uint64_t i = 0; i < grid_n_chips(grid); i++) {
        struct chip_rect r = grid_chip(grid, i);
        if (x < r.x || y < r.y || x >= r.x + r.width || y >= r.y + r.height)
            continue;
        double dx = r.x + 0.5 * r.width - x, dy = r.y + 0.5 * r.height - y;
        double squared = dx * dx + dy * dy;
        if (nearest < 0 || squared < smallest) {
            nearest = (int64_t)i;
            smallest = squared;
        }
    }
    return nearest;
}

static void check_overlay(const struct grid *grid, uint32_t max_side)
{
    uint64_t n_chips = grid_n_chips(grid);
    uint16_t *labels = calloc(n_chips, sizeof(*labels));
    for (uint64_t i = 0; i < n_chips; i++)
        labels[i] = (uint16_t)(i * 7 % 11 % 3);
    size_t n_pixels = (size_t)grid->image_width * grid->image_height;
    uint8_t *plane = malloc(n_pixels);
    memset(plane, 100, n_pixels);
    struct png_bytes bytes;
    assert_int_equal(maps_overlay(grid, plane, labels, colors, 3, max_side, &bytes, NULL), 0);
    uint32_t width, height;
    uint8_t *pixels = decode(&bytes, &width, &height);
    assert_true(width <= max_side && height <= max_side);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            int64_t chip = nearest_chip(grid, (x + 0.5) * grid->image_width / width,
                                        (y + 0.5) * grid->image_height / height);
            uint8_t expected[3] = {100, 100, 100};
            if (chip >= 0) {
                struct rgb c = colors[labels[chip]];
                expected[0] = (uint8_t)(60 + c.r * 2 / 5);
                expected[1] = (uint8_t)(60 + c.g * 2 / 5);
                expected[2] = (uint8_t)(60 + c.b * 2 / 5);
            }
            assert_memory_equal(pixels + 3 * (y * width + x), expected, 3);
        }
    }
    free(pixels);
    free(plane);
    free(labels);
    png_bytes_clear(&bytes);
}

static void overlay_takes_the_nearest_centre(void **state)
{
    (void)state;
    const uint32_t strides[] = {3, 5, 8, 11}; /* overlapping, touching, with gaps */
    for (int i = 0; i < 4; i++) {
        for (int edge = GRID_EDGE_DROP; edge <= GRID_EDGE_COVER; edge++) {
            struct grid grid = plan(61, 47, 8, strides[i], (enum grid_edge)edge);
            check_overlay(&grid, 61);
            check_overlay(&grid, 1000); /* never enlarged */
            check_overlay(&grid, 23);
        }
    }
}

static void default_colors_are_distinct(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < CLASSIFIER_CLASSES_MAX; i++) {
        struct rgb a = maps_default_color(i);
        assert_true(a.r + a.g + a.b > 90); /* not lost on a dark micrograph */
        for (uint32_t j = 0; j < i; j++) {
            struct rgb b = maps_default_color(j);
            int difference = abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b);
            assert_true(difference >= 20);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_one_pixel_a_chip),
        cmocka_unit_test(chips_without_a_class_are_grey_black_or_left_alone),
        cmocka_unit_test(probabilities_fill_the_grey_range),
        cmocka_unit_test(overlay_takes_the_nearest_centre),
        cmocka_unit_test(default_colors_are_distinct),
    };
    return test_run(tests);
}
