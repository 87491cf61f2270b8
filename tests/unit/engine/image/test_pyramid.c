/* Levels, tiles and windows against their definition, worked out pixel by pixel. */
#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/image/pyramid.h"

/* Tiles in memory, and what is asked of them. */
struct memory {
    uint8_t *tiles;
    uint8_t *times; /* a tile was written */
    uint64_t n_tiles;
    uint64_t n_read;     /* tiles */
    uint64_t fails_from; /* tile from which on writing and reading fail */
};

static int write_tiles(void *context, uint64_t first, uint64_t n, const uint8_t *tiles,
                       struct error *err)
{
    struct memory *memory = context;
    assert_true(n > 0 && first + n <= memory->n_tiles);
    if (first >= memory->fails_from)
        return error_set(err, ERROR_FULL, "tile %d", (int)first);
    memcpy(memory->tiles + first * PYRAMID_TILE_SIZE, tiles, n * PYRAMID_TILE_SIZE);
    for (uint64_t i = first; i < first + n; i++)
        memory->times[i]++;
    return 0;
}

static int read_tiles(void *context, uint64_t first, uint64_t n, uint8_t *tiles, struct error *err)
{
    struct memory *memory = context;
    assert_true(n > 0 && first + n <= memory->n_tiles);
    if (first >= memory->fails_from)
        return error_set(err, ERROR_CORRUPT, "tile %d", (int)first);
    memcpy(tiles, memory->tiles + first * PYRAMID_TILE_SIZE, n * PYRAMID_TILE_SIZE);
    memory->n_read += n;
    return 0;
}

static void memory_init(struct memory *memory, const struct pyramid *pyramid)
{
    *memory = (struct memory){.tiles = malloc(pyramid->n_tiles * PYRAMID_TILE_SIZE),
                              .times = calloc(pyramid->n_tiles, 1),
                              .n_tiles = pyramid->n_tiles,
                              .fails_from = UINT64_MAX};
    memset(memory->tiles, 0xaa, pyramid->n_tiles * PYRAMID_TILE_SIZE);
}

static void memory_clear(struct memory *memory)
{
    free(memory->tiles);
    free(memory->times);
}

static uint8_t pixel(uint32_t x, uint32_t y)
{
    uint32_t mixed = x * 2654435761u ^ y * 40503u * 65537u;
    return (uint8_t)(mixed >> 13);
}

static uint8_t *make_image(uint32_t width, uint32_t height)
{
    uint8_t *image = malloc((size_t)width * height);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++)
            image[(size_t)y * width + x] = pixel(x, y);
    }
    return image;
}

/* Rows come 1, 2, 3, ... at a time. */
static int make(struct memory *memory, const struct pyramid *pyramid, const uint8_t *image,
                struct error *err)
{
    struct pyramid_maker *maker = NULL;
    const uint32_t width = pyramid->levels[0].width, height = pyramid->levels[0].height;
    assert_int_equal(pyramid_maker_create(&maker, pyramid, write_tiles, memory, err), 0);
    int rc = 0;
    for (uint32_t y = 0, n = 1; rc == 0 && y < height; y += n++) {
        n = n < height - y ? n : height - y;
        rc = pyramid_maker_add(maker, image + (size_t)y * width, n, err);
    }
    pyramid_maker_destroy(maker);
    return rc;
}

static uint8_t mean_of(const uint8_t *image, uint32_t width, uint32_t height, uint32_t k,
                       uint32_t x, uint32_t y)
{
    uint64_t sum = 0, n = 0;
    for (uint64_t j = (uint64_t)y << k; j < ((uint64_t)y + 1) << k && j < height; j++) {
        for (uint64_t i = (uint64_t)x << k; i < ((uint64_t)x + 1) << k && i < width; i++, n++)
            sum += image[j * width + i];
    }
    return (uint8_t)floor((double)sum / (double)n + 0.5);
}

static void check_level(struct memory *memory, const struct pyramid *pyramid, const uint8_t *image,
                        uint32_t k)
{
    const struct pyramid_level *whole = &pyramid->levels[0], *level = &pyramid->levels[k];
    const struct chip_rect all = {0, 0, level->width, level->height};
    uint8_t *out = malloc((size_t)level->width * level->height);
    assert_int_equal(pyramid_read(pyramid, k, &all, read_tiles, memory, out, NULL), 0);
    for (uint32_t y = 0; y < level->height; y++) {
        for (uint32_t x = 0; x < level->width; x++)
            assert_int_equal(out[(size_t)y * level->width + x],
                             mean_of(image, whole->width, whole->height, k, x, y));
    }
    free(out);
}

/* Of the tiles at the right and lower edges. */
static void check_outside(const struct memory *memory, const struct pyramid_level *level)
{
    for (uint32_t c = 0; c < level->columns * PYRAMID_TILE_WIDTH; c++) {
        for (uint32_t r = 0; r < level->rows * PYRAMID_TILE_HEIGHT; r++) {
            if (c < level->width && r < level->height)
                continue;
            const uint64_t tile = level->first +
                                  (uint64_t)(r / PYRAMID_TILE_HEIGHT) * level->columns +
                                  c / PYRAMID_TILE_WIDTH;
            assert_int_equal(memory->tiles[tile * PYRAMID_TILE_SIZE +
                                           r % PYRAMID_TILE_HEIGHT * PYRAMID_TILE_WIDTH +
                                           c % PYRAMID_TILE_WIDTH],
                             0);
        }
    }
}

static void check_image(uint32_t width, uint32_t height, uint32_t n_levels)
{
    struct pyramid pyramid;
    struct memory memory;
    uint8_t *image = make_image(width, height);
    pyramid_plan(&pyramid, width, height);
    assert_int_equal(pyramid.n_levels, n_levels);
    memory_init(&memory, &pyramid);
    assert_int_equal(make(&memory, &pyramid, image, NULL), 0);
    for (uint64_t i = 0; i < pyramid.n_tiles; i++)
        assert_int_equal(memory.times[i], 1);
    for (uint32_t k = 0; k < n_levels; k++) {
        check_level(&memory, &pyramid, image, k);
        check_outside(&memory, &pyramid.levels[k]);
    }
    memory_clear(&memory);
    free(image);
}

static void levels_are_means_whatever_the_size(void **state)
{
    (void)state;
    check_image(1, 1, 1);
    check_image(128, 64, 1);
    check_image(129, 64, 2);
    check_image(128, 65, 2);
    check_image(1, 1000, 5);
    check_image(1000, 1, 4);
    check_image(383, 257, 4);
    check_image(512, 256, 3);
    check_image(1025, 127, 5);
    check_image(32768, 3, 9);
    check_image(3, 32767, 10);
}

static void a_plan_covers_the_image(void **state)
{
    (void)state;
    struct pyramid pyramid;
    pyramid_plan(&pyramid, 32768, 8192);
    assert_int_equal(pyramid.n_levels, 9);
    assert_int_equal(pyramid.levels[1].width, 16384);
    assert_int_equal(pyramid.levels[1].first, 256 * 128);
    assert_true(pyramid.n_tiles * PYRAMID_TILE_SIZE < (uint64_t)32768 * 8192 * 27 / 20);
    /* The last level is no single tile. */
    pyramid_plan(&pyramid, UINT32_MAX, UINT32_MAX);
    assert_int_equal(pyramid.n_levels, PYRAMID_LEVELS_MAX);
    assert_int_equal(pyramid.levels[0].width, UINT32_MAX);
    assert_int_equal(pyramid.levels[12].width, 1 << 20);
}

static void brightest_and_darkest_stay_so(void **state)
{
    (void)state;
    enum { WIDTH = 32768, HEIGHT = 130 };
    struct pyramid pyramid;
    struct memory memory;
    uint8_t *image = malloc((size_t)WIDTH * HEIGHT), *out = malloc(WIDTH);
    pyramid_plan(&pyramid, WIDTH, HEIGHT);
    for (int value = 0; value <= 255; value += 255) {
        memory_init(&memory, &pyramid);
        memset(image, value, (size_t)WIDTH * HEIGHT);
        assert_int_equal(make(&memory, &pyramid, image, NULL), 0);
        for (uint32_t k = 0; k < pyramid.n_levels; k++) {
            const struct pyramid_level *level = &pyramid.levels[k];
            const struct chip_rect last = {0, level->height - 1, level->width, 1};
            assert_int_equal(pyramid_read(&pyramid, k, &last, read_tiles, &memory, out, NULL), 0);
            for (uint32_t x = 0; x < level->width; x++)
                assert_int_equal(out[x], value);
        }
        memory_clear(&memory);
    }
    free(out);
    free(image);
}

static void a_window_is_read_with_the_tiles_it_touches(void **state)
{
    (void)state;
    enum { WIDTH = 700, HEIGHT = 300 };
    static const struct {
        struct chip_rect rect;
        uint64_t n_tiles;
    } windows[] = {
        {{0, 0, 1, 1}, 1},       {{699, 299, 1, 1}, 1},   {{127, 63, 2, 2}, 4},
        {{128, 64, 128, 64}, 1}, {{127, 64, 130, 64}, 3}, {{100, 0, 4, 300}, 5},
        {{0, 200, 700, 1}, 6},   {{0, 0, 700, 300}, 30},  {{300, 130, 224, 150}, 9},
        {{640, 256, 60, 44}, 1},
    };
    struct pyramid pyramid;
    struct memory memory;
    uint8_t *image = make_image(WIDTH, HEIGHT), *out = malloc(WIDTH * HEIGHT + 1);
    pyramid_plan(&pyramid, WIDTH, HEIGHT);
    memory_init(&memory, &pyramid);
    assert_int_equal(make(&memory, &pyramid, image, NULL), 0);
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        const struct chip_rect *r = &windows[i].rect;
        memory.n_read = 0;
        out[r->width * r->height] = 77;
        assert_int_equal(pyramid_read(&pyramid, 0, r, read_tiles, &memory, out, NULL), 0);
        assert_int_equal(memory.n_read, windows[i].n_tiles);
        for (uint32_t y = 0; y < r->height; y++)
            assert_memory_equal(out + y * r->width, image + (r->y + y) * WIDTH + r->x, r->width);
        assert_int_equal(out[r->width * r->height], 77);
    }
    memory_clear(&memory);
    free(out);
    free(image);
}

static void a_fault_of_the_tiles_is_passed_on(void **state)
{
    (void)state;
    struct pyramid pyramid;
    struct memory memory;
    struct error err = {0};
    uint8_t *image = make_image(300, 300), out[4];
    pyramid_plan(&pyramid, 300, 300);
    memory_init(&memory, &pyramid);
    memory.fails_from = pyramid.levels[1].first;
    assert_int_equal(make(&memory, &pyramid, image, &err), ERROR_FULL);
    memory.fails_from = 3;
    assert_int_equal(make(&memory, &pyramid, image, &err), ERROR_FULL);
    assert_string_equal(err.message, "tile 3");
    memory.fails_from = 4;
    const struct chip_rect good = {0, 0, 2, 2}, bad = {127, 63, 2, 2};
    assert_int_equal(pyramid_read(&pyramid, 0, &good, read_tiles, &memory, out, &err), 0);
    memory.fails_from = 3;
    assert_int_equal(pyramid_read(&pyramid, 0, &bad, read_tiles, &memory, out, &err),
                     ERROR_CORRUPT);
    assert_string_equal(err.message, "tile 3");
    memory_clear(&memory);
    free(image);
}

static void values_are_rounded_and_clipped(void **state)
{
    (void)state;
    const float values[8] = {0, 1, 0.5f, -3, 7, NAN, 0.5f / 255 - 1e-5f, 0.5f / 255 + 1e-5f};
    static const uint8_t expected[8] = {0, 255, 128, 0, 255, 0, 0, 1};
    uint8_t out[8];
    pyramid_quantise(values, 8, out);
    assert_memory_equal(out, expected, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_means_whatever_the_size),
        cmocka_unit_test(a_plan_covers_the_image),
        cmocka_unit_test(brightest_and_darkest_stay_so),
        cmocka_unit_test(a_window_is_read_with_the_tiles_it_touches),
        cmocka_unit_test(a_fault_of_the_tiles_is_passed_on),
        cmocka_unit_test(values_are_rounded_and_clipped),
    };
    return test_run(tests);
}
