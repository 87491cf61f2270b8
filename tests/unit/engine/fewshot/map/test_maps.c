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

static void chips_without_a_class_are_grey_black_or_left_alone(void **state)
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

    static const uint8_t plane[40 * 10];
    const uint8_t blended[] = {0, 0, 100, 51, 51, 51,
                               0, 0, 0,   77, 77, 77}; /* 0.4 of a colour over black */
    assert_int_equal(maps_overlay(&source, plane, colors, 40, &bytes, NULL), 0);
    pixels = decode(&bytes, &width, &height);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(pixels + 3 * (10 * i + 5), blended + 3 * i, 3);
    free(pixels);
    png_bytes_clear(&bytes);

    const uint16_t between[] = {0, 1, 2, LABEL_UNDECIDED - 1};
    struct error err;
    source.labels = between;
    assert_int_equal(maps_labels(&source, colors, &bytes, &err), ERROR_INVALID);
    assert_int_equal(maps_overlay(&source, plane, colors, 40, &bytes, &err), ERROR_INVALID);
    source.labels = labels;
    assert_int_equal(maps_overlay(&source, plane, colors, 0, &bytes, &err), ERROR_INVALID);
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

/* The rule as the header states it, by brute force over all cells. */
static int64_t cell_at(const struct fine_map *map, double x, double y)
{
    for (uint64_t i = 0; i < fine_map_n_cells(map); i++) {
        const uint32_t row = (uint32_t)(i / map->x.n_cells),
                       column = (uint32_t)(i % map->x.n_cells);
        if (x >= fine_axis_begin(&map->x, column) && x < fine_axis_end(&map->x, column) &&
            y >= fine_axis_begin(&map->y, row) && y < fine_axis_end(&map->y, row))
            return (int64_t)i;
    }
    return -1;
}

/* A picture of pixels whose centres lie in cells with these labels. */
static void check_laid(const struct fine_source *source, const uint16_t *labels, uint32_t max_side)
{
    const struct grid *grid = source->grid;
    const size_t n_pixels = (size_t)grid->image_width * grid->image_height;
    uint8_t *plane = malloc(n_pixels);
    struct png_bytes bytes, laid_bytes;
    struct fine_map map;
    uint32_t width, height, laid_width, laid_height;
    fine_map_plan(grid, &map);
    memset(plane, 100, n_pixels);
    assert_int_equal(maps_overlay(source, plane, colors, max_side, &bytes, NULL), 0);
    assert_int_equal(maps_labels_laid(source, colors, max_side, &laid_bytes, NULL), 0);
    uint8_t *pixels = decode(&bytes, &width, &height);
    uint8_t *laid = decode(&laid_bytes, &laid_width, &laid_height);
    assert_true(width <= max_side && height <= max_side);
    assert_true(laid_width == width && laid_height == height);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            const int64_t cell = cell_at(&map, (x + 0.5) * grid->image_width / width,
                                         (y + 0.5) * grid->image_height / height);
            const struct rgb none = {0, 0, 0}, c = cell >= 0 ? colors[labels[cell]] : none;
            uint8_t expected[3] = {100, 100, 100};
            if (cell >= 0) {
                expected[0] = (uint8_t)(60 + c.r * 2 / 5);
                expected[1] = (uint8_t)(60 + c.g * 2 / 5);
                expected[2] = (uint8_t)(60 + c.b * 2 / 5);
            }
            assert_memory_equal(pixels + 3 * (y * width + x), expected, 3);
            assert_memory_equal(laid + 3 * (y * width + x), &c, 3);
        }
    }
    free(laid);
    free(pixels);
    free(plane);
    png_bytes_clear(&bytes);
    png_bytes_clear(&laid_bytes);
}

enum { CELLS_MAX = 400 };

struct kept {
    uint32_t n_columns;
    uint16_t labels[CELLS_MAX];
};

static void keep_labels(void *context, uint32_t row, const uint16_t *labels)
{
    struct kept *kept = context;
    memcpy(kept->labels + (size_t)row * kept->n_columns, labels, kept->n_columns * sizeof(*labels));
}

static void pixels_take_the_label_of_their_cell(void **state)
{
    (void)state;
    const uint32_t strides[] = {3, 5, 8, 11}; /* overlapping, touching, with gaps */
    static uint16_t labels[CELLS_MAX];
    static float probabilities[CELLS_MAX * 3];
    static struct kept kept;
    for (int i = 0; i < 4; i++) {
        for (int edge = GRID_EDGE_DROP; edge <= GRID_EDGE_COVER; edge++) {
            const struct grid grid = plan(61, 47, 8, strides[i], (enum grid_edge)edge);
            const struct fine_source source = {&grid, labels, probabilities, 3, NULL};
            struct fine_map map;
            assert_true(grid_n_chips(&grid) <= CELLS_MAX);
            memset(probabilities, 0, sizeof(probabilities));
            for (uint64_t k = 0; k < grid_n_chips(&grid); k++) {
                labels[k] = (uint16_t)(k * 7 % 11 % 3);
                probabilities[3 * k + labels[k]] = 1.0f;
            }
            fine_map_plan(&grid, &map);
            assert_true(fine_map_n_cells(&map) <= CELLS_MAX);
            kept.n_columns = map.x.n_cells;
            assert_int_equal(fine_map_visit_labels(&source, keep_labels, &kept, NULL), 0);
            check_laid(&source, kept.labels, 61);
            check_laid(&source, kept.labels, 1000); /* never enlarged */
            check_laid(&source, kept.labels, 23);
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
        cmocka_unit_test(pixels_take_the_label_of_their_cell),
        cmocka_unit_test(default_colors_are_distinct),
    };
    return test_run(tests);
}
