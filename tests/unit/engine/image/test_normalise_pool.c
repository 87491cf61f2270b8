#include "tests/test.h"

#include "engine/image/normalise_pool.h"
#include "engine/random.h"

enum { SIDE = 20, N = SIDE * SIDE, IMAGES = 3 };

static const struct sample_range full_scale = {0, 65535};

/* Images of different levels; the last one has a hot pixel in a hundred. */
static void fill(float pixels[IMAGES][N])
{
    struct random random;
    random_seed(&random, 5, 0);
    for (uint32_t k = 0; k < IMAGES; k++) {
        for (uint32_t i = 0; i < N; i++)
            pixels[k][i] = (float)(1000 * (k + 1) + random_below(&random, 500));
    }
    for (uint32_t i = 0; i < N; i += 100)
        pixels[IMAGES - 1][i] = 65535;
}

static struct normalise_range range_of(const struct normalise_params *params, const float *pixels,
                                       uint32_t height)
{
    struct normalise_range range;
    assert_int_equal(
        normalise_find_range(params, pixels, SIDE, height, &full_scale, NULL, &range, NULL), 0);
    return range;
}

/* Levels of what is not a float. */
static void count(const float *pixels, uint32_t *counts)
{
    memset(counts, 0, SAMPLE_LEVELS_MAX * sizeof(counts[0]));
    for (uint32_t i = 0; i < N; i++)
        counts[(uint32_t)pixels[i]]++;
}

static struct sample_range pool(const struct normalise_params *params, float pixels[IMAGES][N],
                                const uint32_t *order, uint32_t n, bool has_levels)
{
    static uint32_t counts[SAMPLE_LEVELS_MAX];
    struct normalise_pool *all = NULL;
    struct sample_range out;
    assert_int_equal(normalise_pool_create(&all, params, NULL), 0);
    do {
        for (uint32_t k = 0; k < n; k++) {
            const float *image = pixels[order[k]];
            const struct normalise_range own = range_of(params, image, SIDE);
            count(image, counts);
            if (has_levels && k != 1)
                normalise_pool_add_levels(all, &own, counts, SAMPLE_U16);
            else
                normalise_pool_add(all, &own, image, N);
        }
    } while (normalise_pool_again(all));
    normalise_pool_range(all, &out);
    normalise_pool_destroy(all);
    return out;
}

static void of_one_image_it_is_its_own_range(void **state)
{
    (void)state;
    static float pixels[IMAGES][N];
    fill(pixels);
    const struct normalise_params minmax = {.method = NORMALISE_MINMAX};
    const struct normalise_params *params[] = {&normalise_params_default, &minmax};
    for (uint32_t p = 0; p < 2; p++) {
        const struct normalise_range own = range_of(params[p], pixels[0], SIDE);
        const struct sample_range pooled = pool(params[p], pixels, (uint32_t[]){0}, 1, false);
        assert_true(pooled.low == own.low && pooled.high == own.high);
    }
}

static void of_several_it_is_that_of_their_pixels_in_any_order(void **state)
{
    (void)state;
    static float pixels[IMAGES][N];
    fill(pixels);
    const struct normalise_range both = range_of(&normalise_params_default, pixels[0], 2 * SIDE);
    for (int has_levels = 0; has_levels < 2; has_levels++) {
        const struct sample_range ab =
            pool(&normalise_params_default, pixels, (uint32_t[]){0, 1}, 2, has_levels);
        const struct sample_range ba =
            pool(&normalise_params_default, pixels, (uint32_t[]){1, 0}, 2, has_levels);
        assert_true(ab.low == both.low && ab.high == both.high);
        assert_true(ba.low == both.low && ba.high == both.high);
    }
}

static void hot_pixels_of_one_image_have_no_say(void **state)
{
    (void)state;
    static float pixels[IMAGES][N];
    fill(pixels);
    const struct sample_range range =
        pool(&normalise_params_default, pixels, (uint32_t[]){0, 1, 2}, 3, true);
    assert_true(range.low >= 1000 && range.low < 1020);
    assert_true(range.high > 3480 && range.high < 3500);
}

/* A given range is stretched, and the image's own outliers are replaced in it. */
static void a_given_range_is_stretched(void **state)
{
    (void)state;
    static float pixels[IMAGES][N], levels[SAMPLE_LEVELS_MAX];
    static uint32_t counts[SAMPLE_LEVELS_MAX];
    struct normalise_params given = normalise_params_default;
    given.given = (struct normalise_given){true, 3000, 4000};
    fill(pixels);
    float *hot = pixels[IMAGES - 1];
    count(hot, counts);
    const float before = hot[1];
    assert_int_equal(normalise_levels(&given, counts, SAMPLE_U16, &full_scale, levels, NULL), 0);
    assert_int_equal(normalise_apply(&given, hot, SIDE, SIDE, &full_scale, NULL, NULL), 0);
    assert_float_equal(hot[1], (before - 3000.0f) / 1000.0f, 1e-6);
    assert_true(hot[0] > 0.1f && hot[0] < 0.4f); /* the median, not 1 */
    assert_true(levels[(uint32_t)before] == hot[1] && levels[65535] == hot[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_one_image_it_is_its_own_range),
        cmocka_unit_test(of_several_it_is_that_of_their_pixels_in_any_order),
        cmocka_unit_test(hot_pixels_of_one_image_have_no_say),
        cmocka_unit_test(a_given_range_is_stretched),
    };
    return test_run(tests);
}
