#include "tests/test.h"

#include <math.h>

#include "engine/image/grey/clahe.h"

static void apply(double clip_limit, uint32_t tiles, float *pixels, uint32_t width, uint32_t height)
{
    const struct clahe_params params = {.enabled = true, .clip_limit = clip_limit, .tiles = tiles};
    assert_int_equal(clahe_apply(&params, pixels, width, height, NULL, NULL), 0);
}

static float ramp(uint32_t i)
{
    return (float)(i * 7919 % 1009) / 1008;
}

static void clip_limit_one_changes_nothing(void **state)
{
    (void)state;
    /* Every bin of every tile is then a flat histogram's. */
    float pixels[37 * 23];
    for (uint32_t i = 0; i < 37 * 23; i++)
        pixels[i] = ramp(i) * ramp(i);
    apply(1, 5, pixels, 37, 23);
    for (uint32_t i = 0; i < 37 * 23; i++)
        assert_true(fabsf(pixels[i] - ramp(i) * ramp(i)) < 1e-5f);
}

static void one_tile_without_clipping_equalises(void **state)
{
    (void)state;
    /* Half at 0.25, a quarter each at 0.5 and 0.75, at the bins' lower edges: each goes to the
     * share of pixels below it. */
    float pixels[64];
    for (int i = 0; i < 64; i++)
        pixels[i] = i < 32 ? 0.25f : i < 48 ? 0.5f : 0.75f;
    float one_bin[64];
    for (int i = 0; i < 64; i++)
        one_bin[i] = pixels[i] + 0.5f / 256; /* the middle of the bin: half its pixels are below */
    apply(100, 1, pixels, 8, 8);
    /* The limit is 100 / 256 of the pixels: the first bin has half of them, so 28 / 256 go to the
     * 253 bins below the limit, the two full quarters included until they are full. */
    double spread = 28.0 / 256 / 255;
    assert_true(fabs(pixels[0] - 64 * spread) < 1e-5);
    assert_true(fabs(pixels[32] - (127 * spread + 100.0 / 256)) < 1e-5);
    assert_true(fabs(pixels[63] - (191 * spread + 100.0 / 256 + 0.25)) < 1e-5);
    apply(100, 1, one_bin, 8, 8);
    assert_true(fabs(one_bin[0] - (64 * spread + 50.0 / 256)) < 1e-5);
}

static void excess_never_lifts_a_bin_over_the_limit(void **state)
{
    (void)state;
    /* The mapping's slope is bounded by the clip limit, whatever the histogram. */
    enum { SIDE = 64 };
    static float pixels[SIDE * SIDE];
    static const double limits[] = {1.01, 1.5, 2, 4, 40};
    for (size_t l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        for (uint32_t i = 0; i < SIDE * SIDE; i++) /* crowded at one end, then a probe ramp */
            pixels[i] = i < SIDE * 32 ? powf(ramp(i), 6) : (float)(i - SIDE * 32) / (SIDE * 32 - 1);
        apply(limits[l], 1, pixels, SIDE, SIDE);
        for (uint32_t i = SIDE * 32 + 1; i < SIDE * SIDE; i++) {
            float step = pixels[i] - pixels[i - 1];
            assert_true(step >= 0 && step <= limits[l] / (SIDE * 32 - 1) + 1e-6);
        }
        assert_true(pixels[SIDE * 32] == 0);
        assert_true(pixels[SIDE * SIDE - 1] == 1);
    }
}

static void tiles_adapt_and_blend(void **state)
{
    (void)state;
    /* A dim left half and a bright right half, of the same pattern: after equalisation in their own
     * tiles both use more of the range than they had, and there is no seam between tiles. */
    enum { WIDTH = 128, HEIGHT = 64 };
    static float pixels[WIDTH * HEIGHT];
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
        pixels[i] = 0.1f * ramp(i) + (i % WIDTH < WIDTH / 2 ? 0.1f : 0.7f);
    apply(100, 2, pixels, WIDTH, HEIGHT);
    float low[2] = {1, 1}, high[2] = {0, 0};
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
        if (i % WIDTH >= 16 && i % WIDTH < WIDTH - 16)
            continue;
        int half = i % WIDTH >= WIDTH / 2;
        low[half] = fminf(low[half], pixels[i]);
        high[half] = fmaxf(high[half], pixels[i]);
    }
    assert_true(high[0] - low[0] > 0.9f);
    assert_true(high[1] - low[1] > 0.9f);

    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) /* a smooth image must stay smooth */
        pixels[i] = 0.5f + 0.4f * sinf((float)(i % WIDTH) / 30) * cosf((float)(i / WIDTH) / 20);
    apply(3, 4, pixels, WIDTH, HEIGHT);
    for (uint32_t i = 1; i < WIDTH * HEIGHT; i++) {
        if (i % WIDTH != 0)
            assert_true(fabsf(pixels[i] - pixels[i - 1]) < 0.08f);
        if (i >= WIDTH)
            assert_true(fabsf(pixels[i] - pixels[i - WIDTH]) < 0.12f);
    }
}

static void odd_and_tiny_sizes_work(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{1, 1}, {1, 9}, {2, 3}, {7, 1}, {63, 65}, {129, 5}};
    static const uint32_t tiles[] = {1, 2, 7, 8, 64};
    float pixels[63 * 65];
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        for (size_t t = 0; t < sizeof(tiles) / sizeof(tiles[0]); t++) {
            uint32_t n = sizes[s][0] * sizes[s][1];
            for (uint32_t i = 0; i < n; i++)
                pixels[i] = ramp(i);
            apply(4, tiles[t], pixels, sizes[s][0], sizes[s][1]);
            for (uint32_t i = 0; i < n; i++)
                assert_true(pixels[i] >= 0 && pixels[i] <= 1);
        }
    }
    assert_int_equal(clahe_apply(&(struct clahe_params){true, 2, 8}, NULL, 0, 5, NULL, NULL), 0);
}

static void mirrored_images_give_mirrored_results(void **state)
{
    (void)state;
    /* Finds a tile's mapping used off its place: widths and heights that divide by the tiles. */
    enum { WIDTH = 48, HEIGHT = 24 };
    float pixels[WIDTH * HEIGHT], mirrored[WIDTH * HEIGHT];
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
        pixels[i] = powf(ramp(i), 1 + 3 * (float)(i % WIDTH) / WIDTH);
        mirrored[i / WIDTH * WIDTH + WIDTH - 1 - i % WIDTH] = pixels[i];
    }
    apply(3, 4, pixels, WIDTH, HEIGHT);
    apply(3, 4, mirrored, WIDTH, HEIGHT);
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
        assert_true(fabsf(mirrored[i / WIDTH * WIDTH + WIDTH - 1 - i % WIDTH] - pixels[i]) < 1e-5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clip_limit_one_changes_nothing),
        cmocka_unit_test(one_tile_without_clipping_equalises),
        cmocka_unit_test(excess_never_lifts_a_bin_over_the_limit),
        cmocka_unit_test(tiles_adapt_and_blend),
        cmocka_unit_test(odd_and_tiny_sizes_work),
        cmocka_unit_test(mirrored_images_give_mirrored_results),
    };
    return test_run(tests);
}
