#include "tests/test.h"

#include <stdlib.h>

#include <png.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/maps.h"

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

/* Without probabilities: of a grid whose chips do not overlap. */
static struct fine_source source_of(const struct grid *grid, const uint16_t *labels)
{
    return (struct fine_source){.grid = grid, .labels = labels, .n_classes = 3};
}

static void labels_are_one_pixel_a_chip(void **state)
{
    (void)state;
    struct grid grid = plan(30, 20, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {0, 1, 2, 2, 1, 0};
    struct png_bytes bytes;
    struct fine_source source = source_of(&grid, labels);
    assert_int_equal(maps_labels(&source, colors, &bytes, NULL), 0);
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
    source.labels = beyond;
    assert_int_equal(maps_labels(&source, colors, &bytes, &err), ERROR_INVALID);
}

static void chips_without_a_class_are_grey_or_black(void **state)
{
    (void)state;
    struct grid grid = plan(40, 10, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {2, LABEL_UNKNOWN, LABEL_NOT_ANALYSED, LABEL_UNDECIDED};
    const uint8_t expected[] = {0, 0, 250, 128, 128, 128, 0, 0, 0, 192, 192, 192};
    struct png_bytes bytes;
    uint32_t width, height;
    struct fine_source source = source_of(&grid, labels);
    assert_int_equal(maps_labels(&source, colors, &bytes, NULL), 0);
    uint8_t *pixels = decode(&bytes, &width, &height);
    assert_memory_equal(pixels, expected, sizeof(expected));
    free(pixels);
    png_bytes_clear(&bytes);

    const uint16_t between[] = {0, 1, 2, LABEL_UNDECIDED - 1};
    struct error err;
    source.labels = between;
    assert_int_equal(maps_labels(&source, colors, &bytes, &err), ERROR_INVALID);
    assert_int_equal(maps_labels_laid(&source, colors, 40, &bytes, &err), ERROR_INVALID);
}

static void probabilities_fill_the_grey_range(void **state)
{
    (void)state;
    struct grid grid = plan(20, 20, 10, 0, GRID_EDGE_DROP);
    const float probabilities[] = {1.0f, 0.0f, 0.5f, 0.5f, 0.25f, 0.75f, 0.0f, 1.0f};
    struct png_bytes bytes;
    const uint16_t labels[4] = {0};
    const struct fine_source source = {&grid, labels, probabilities, 2, NULL};
    assert_int_equal(maps_probability(&source, 1, &bytes, NULL), 0);
    assert_int_equal(bytes.data[25], 0); /* grey */
    uint32_t width, height;
    uint8_t *pixels = decode(&bytes, &width, &height);
    const uint8_t expected[] = {0, 128, 191, 255};
    for (int i = 0; i < 4; i++)
        assert_int_equal(pixels[3 * i], expected[i]);
    free(pixels);
    png_bytes_clear(&bytes);
    struct error err;
    assert_int_equal(maps_probability(&source, 2, &bytes, &err), ERROR_INVALID);
}

/* As large as the image, or smaller. */
static void maps_are_laid_over_the_image(void **state)
{
    (void)state;
    const struct grid grid = plan(25, 12, 10, 0, GRID_EDGE_DROP);
    const uint16_t labels[] = {1, 2};
    const float probabilities[] = {0.0f, 1.0f, 0.0f, 0.0f, 0.0f, 1.0f};
    const struct fine_source source = {&grid, labels, probabilities, 3, NULL};
    struct png_bytes bytes;
    uint32_t width, height;
    assert_int_equal(maps_labels_laid(&source, colors, MAPS_SIZE_OF_IMAGE, &bytes, NULL), 0);
    assert_int_equal(bytes.data[25], 3);
    uint8_t *pixels = decode(&bytes, &width, &height);
    assert_true(width == 25 && height == 12);
    for (uint32_t y = 0; y < 12; y++) {
        for (uint32_t x = 0; x < 25; x++) {
            const struct rgb none = {0, 0, 0};
            const struct rgb *expected = x >= 20 || y >= 10 ? &none : &colors[x < 10 ? 1 : 2];
            assert_memory_equal(pixels + 3 * (y * 25 + x), expected, 3);
        }
    }
    free(pixels);
    png_bytes_clear(&bytes);
    assert_int_equal(maps_labels_laid(&source, colors, 5, &bytes, NULL), 0);
    free(decode(&bytes, &width, &height));
    assert_true(width == 5 && height == 2);
    png_bytes_clear(&bytes);

    /* From centre to centre, 5 and 15, it rises by a tenth a pixel. */
    assert_int_equal(maps_probability_laid(&source, 2, MAPS_SIZE_OF_IMAGE, &bytes, NULL), 0);
    assert_int_equal(bytes.data[25], 0);
    pixels = decode(&bytes, &width, &height);
    for (uint32_t x = 0; x < 25; x++) {
        const double share = x < 5 ? 0.0 : x < 15 ? (x + 0.5 - 5.0) / 10.0 : 1.0;
        assert_int_equal(pixels[3 * (25 * 4 + x)], x < 20 ? (int)(share * 255.0 + 0.5) : 0);
        assert_int_equal(pixels[3 * (25 * 11 + x)], 0);
    }
    free(pixels);
    png_bytes_clear(&bytes);
    struct error err;
    assert_int_equal(maps_probability_laid(&source, 3, 5, &bytes, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_one_pixel_a_chip),
        cmocka_unit_test(chips_without_a_class_are_grey_or_black),
        cmocka_unit_test(probabilities_fill_the_grey_range),
        cmocka_unit_test(maps_are_laid_over_the_image),
    };
    return test_run(tests);
}
