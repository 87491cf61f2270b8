#include "tests/test.h"

#include <math.h>

#include "engine/image/normalise.h"

enum { N_MAX = 5000 };

static uint64_t random_state;

static uint32_t random_u32(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 32);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The definition, by sorting. */
static double percentile(const float *sorted, size_t n, double percent)
{
    double position = percent / 100 * (double)(n - 1);
    size_t rank = (size_t)position;
    if (rank + 1 >= n)
        return sorted[n - 1];
    return sorted[rank] + (position - (double)rank) * ((double)sorted[rank + 1] - sorted[rank]);
}

static void apply(const struct normalise_params *params, float *pixels, uint32_t width,
                  uint32_t height, uint32_t bit_depth)
{
    const struct sample_range full_scale = sample_range_of_bits(bit_depth);
    struct error err = {0};
    if (normalise_apply(params, pixels, width, height, &full_scale, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

/* Compares with the definition for several pairs of percentiles. */
static void check_percentiles(const float *pixels, uint32_t n)
{
    static const double pairs[][2] = {{0.5, 99.5}, {0, 100}, {1, 99}, {33.3, 33.4}, {49.9, 90}};
    static float sorted[N_MAX], out[N_MAX];
    memcpy(sorted, pixels, n * sizeof(float));
    qsort(sorted, n, sizeof(float), compare_floats);
    for (size_t p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
        struct normalise_params params = {
            .method = NORMALISE_PERCENTILE, .low = pairs[p][0], .high = pairs[p][1]};
        double low = percentile(sorted, n, params.low);
        double high = percentile(sorted, n, params.high);
        memcpy(out, pixels, n * sizeof(float));
        apply(&params, out, n, 1, 16);
        for (uint32_t i = 0; i < n; i++) {
            double expected =
                high > low ? fmin(fmax((pixels[i] - low) / (high - low), 0), 1) : pixels[i] > low;
            if (!(fabs(out[i] - expected) < 1e-6))
                fail_msg("n %u, %g..%g, pixel %u: %g, not %g", n, params.low, params.high, i,
                         (double)out[i], expected);
        }
    }
}

static void percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    static float pixels[N_MAX];
    static const uint32_t sizes[] = {1, 2, 3, 7, 100, 1001, N_MAX};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        random_state = s;
        for (uint32_t i = 0; i < sizes[s]; i++) /* 16-bit values */
            pixels[i] = (float)(random_u32() >> 16);
        check_percentiles(pixels, sizes[s]);
        for (uint32_t i = 0; i < sizes[s]; i++) /* many ties */
            pixels[i] = (float)(random_u32() % 3);
        check_percentiles(pixels, sizes[s]);
        for (uint32_t i = 0; i < sizes[s]; i++) /* both signs, fractions, keys in one bucket */
            pixels[i] = 1 + (float)random_u32() * 1e-12f * (i % 2 ? 1.0f : -1.0f);
        check_percentiles(pixels, sizes[s]);
        for (uint32_t i = 0; i < sizes[s]; i++)
            pixels[i] = ((float)random_u32() - 2e9f) * (i % 5 == 0 ? 1e-9f : 1e20f);
        check_percentiles(pixels, sizes[s]);
    }
}

static void percentiles_are_numpys(void **state)
{
    (void)state;
    /* numpy.percentile(values, [10, 37.3]) is [1.5, 3.595]. */
    float pixels[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
    apply(&(struct normalise_params){.method = NORMALISE_PERCENTILE, .low = 10, .high = 37.3},
          pixels, 4, 4, 8);
    assert_true(fabs(pixels[0] - (3 - 1.5) / (3.595 - 1.5)) < 1e-6);
    assert_true(fabs(pixels[6] - (2 - 1.5) / (3.595 - 1.5)) < 1e-6);
    assert_true(pixels[1] == 0);
    assert_true(pixels[2] == 1);
}

static void minmax_and_none_scale_as_they_say(void **state)
{
    (void)state;
    float pixels[6] = {10, 20, 30, 40, 60, 50};
    apply(&(struct normalise_params){.method = NORMALISE_MINMAX}, pixels, 3, 2, 8);
    static const float stretched[6] = {0, 0.2f, 0.4f, 0.6f, 1, 0.8f};
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(pixels[i] - stretched[i]) < 1e-6f);
    static const uint32_t bit_depths[] = {1, 2, 4, 8, 16};
    for (int i = 0; i < 5; i++) {
        float full = (float)((1u << bit_depths[i]) - 1);
        float native[3] = {0, full, full / 2};
        apply(&(struct normalise_params){.method = NORMALISE_NONE}, native, 1, 3, bit_depths[i]);
        assert_true(native[0] == 0 && native[1] == 1 && fabsf(native[2] - 0.5f) < 1e-6f);
    }
}

static void flat_images_become_zero(void **state)
{
    (void)state;
    struct normalise_params params = normalise_params_default;
    for (int clahe = 0; clahe < 2; clahe++) {
        params.clahe.enabled = clahe;
        for (int method = NORMALISE_PERCENTILE; method <= NORMALISE_MINMAX; method++) {
            params.method = (enum normalise_method)method;
            float pixels[12];
            for (int i = 0; i < 12; i++)
                pixels[i] = 77;
            apply(&params, pixels, 4, 3, 8);
            for (int i = 0; i < 12; i++)
                assert_true(pixels[i] == 0);
        }
    }
    /* Percentiles that fall together: the few pixels above them still stand out. */
    static float mostly[1000];
    for (int i = 0; i < 1000; i++)
        mostly[i] = i == 500 ? 99 : 7;
    apply(&normalise_params_default, mostly, 100, 10, 8);
    for (int i = 0; i < 1000; i++)
        assert_true(mostly[i] == (i == 500));
}

enum { N_BULK_LEVELS = 61, N_PIXELS = 1000, N_LEVELS = 1 << 16 };

/* Data at 30300 .. 30360 but for `n_hot` pixels at `hot`, of which the first is at `first`. The
 * same range must come of the pixels and of their counts. */
static struct normalise_range find_range(enum normalise_outliers outliers, int n_hot, float hot,
                                         float first)
{
    struct normalise_params params = normalise_params_default;
    const struct sample_range full_scale = sample_type_range(SAMPLE_U16);
    struct normalise_range range, of_levels;
    static float pixels[N_PIXELS];
    static uint32_t counts[N_LEVELS];
    params.outliers = outliers;
    memset(counts, 0, sizeof(counts));
    for (int i = 0; i < N_PIXELS; i++) {
        pixels[i] = i < n_hot ? hot : (float)(30300 + i % N_BULK_LEVELS);
        if (i == 0 && n_hot > 0)
            pixels[i] = first;
        counts[(int)pixels[i]]++;
    }
    assert_int_equal(
        normalise_find_range(&params, pixels, N_PIXELS, 1, &full_scale, NULL, &range, NULL), 0);
    assert_int_equal(
        normalise_find_level_range(&params, counts, SAMPLE_U16, &full_scale, &of_levels, NULL), 0);
    assert_true(range.low == of_levels.low && range.high == of_levels.high);
    assert_int_equal(range.n_outliers, of_levels.n_outliers);
    return range;
}

/* Quartiles are 30315 and 30345 or so: the fences lie 150 and 600 beyond them. */
static void hot_and_dead_pixels_have_no_say(void **state)
{
    (void)state;
    struct normalise_range range = find_range(NORMALISE_KEEP, 8, 65535, 65535);
    assert_true(range.high == 65535 && range.n_outliers == 0);
    range = find_range(NORMALISE_REPLACE, 8, 65535, 65535);
    assert_int_equal(range.n_outliers, 8);
    assert_true(range.low == 30300 && range.high == 30360);
    range = find_range(NORMALISE_REPLACE, 50, 0, 0);
    assert_int_equal(range.n_outliers, 50);
    assert_true(range.low == 30300 && range.high == 30360);
    range =
        find_range(NORMALISE_REPLACE, 50, 0, 65535); /* both, of which the one is clipped anyway */
    assert_int_equal(range.n_outliers, 50);
    assert_true(range.low == 30300 && range.high == 30360);
}

/* The median of 30300 .. 30310 is 30305, in the middle of the range. */
static void outliers_become_the_median(void **state)
{
    (void)state;
    const struct sample_range full_scale = sample_type_range(SAMPLE_U16);
    float pixels[11 * 9 + 2];
    for (int i = 0; i < 11 * 9; i++)
        pixels[i] = (float)(30300 + i % 11);
    pixels[11 * 9] = 0;
    pixels[11 * 9 + 1] = 65535;
    assert_int_equal(
        normalise_apply(&normalise_params_default, pixels, 11 * 9 + 2, 1, &full_scale, NULL, NULL),
        0);
    assert_true(pixels[0] == 0 && pixels[5] == 0.5f && pixels[10] == 1);
    assert_true(pixels[11 * 9] == 0.5f && pixels[11 * 9 + 1] == 0.5f);
}

static void what_may_be_the_specimen_stays(void **state)
{
    (void)state;
    struct normalise_range range = find_range(NORMALISE_REPLACE, 3, 65535, 65535);
    assert_true(range.high == 30360 && range.n_outliers == 0); /* clipped as of any image */
    range = find_range(NORMALISE_REPLACE, 51, 65535, 65535);
    assert_true(range.high == 65535 && range.n_outliers == 0); /* too many */
    range = find_range(NORMALISE_REPLACE, 50, 30900, 30900);
    assert_true(range.high == 30900 && range.n_outliers == 0); /* not far off */
    range = find_range(NORMALISE_REPLACE, 50, 65535, 30800);
    assert_true(range.high == 65535 && range.n_outliers == 0); /* the edge of a bright thing */
    range = find_range(NORMALISE_REPLACE, 50, 65535, 30400);
    assert_int_equal(range.n_outliers, 49);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct normalise_params params;
        const char *part;
    } cases[] = {
        {{NORMALISE_PERCENTILE, -0.1, 99, NORMALISE_KEEP, {0}, {0}, {0}}, "are -0.1 and 99"},
        {{NORMALISE_PERCENTILE, 1, 100.5, NORMALISE_KEEP, {0}, {0}, {0}}, "are 1 and 100.5"},
        {{NORMALISE_PERCENTILE, 50, 50, NORMALISE_KEEP, {0}, {0}, {0}}, "are 50 and 50"},
        {{NORMALISE_PERCENTILE, NAN, 50, NORMALISE_KEEP, {0}, {0}, {0}}, "normalise.low"},
        {{NORMALISE_PERCENTILE, 1, NAN, NORMALISE_KEEP, {0}, {0}, {0}}, "normalise.high"},
        {{(enum normalise_method)9, 1, 99, NORMALISE_KEEP, {0}, {0}, {0}}, "normalise.method 9"},
        {{NORMALISE_MINMAX, 0, 0, NORMALISE_KEEP, {0}, {true, 0.9, 8}, {0}},
         "clahe.clip_limit must be 1 to 100, but is 0.9"},
        {{NORMALISE_MINMAX, 0, 0, NORMALISE_KEEP, {0}, {true, 101, 8}, {0}}, "clahe.clip_limit"},
        {{NORMALISE_MINMAX, 0, 0, NORMALISE_KEEP, {0}, {true, NAN, 8}, {0}}, "clahe.clip_limit"},
        {{NORMALISE_MINMAX, 0, 0, NORMALISE_KEEP, {0}, {true, 2, 0}, {0}},
         "clahe.tiles must be 1 to 64, but is 0"},
        {{NORMALISE_MINMAX, 0, 0, NORMALISE_KEEP, {0}, {true, 2, 65}, {0}}, "clahe.tiles"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct sample_range full_scale = sample_type_range(SAMPLE_U8);
        struct error err = {0};
        float pixels[4] = {1, 2, 3, 4};
        assert_int_equal(normalise_params_check(&cases[i].params, &err), ERROR_INVALID);
        assert_non_null(strstr(err.message, cases[i].part));
        assert_int_equal(normalise_apply(&cases[i].params, pixels, 2, 2, &full_scale, NULL, &err),
                         ERROR_INVALID);
        assert_true(pixels[0] == 1 && pixels[3] == 4);
    }
    assert_int_equal(normalise_params_check(&normalise_params_default, NULL), 0);
    /* The percentages do not matter to methods that have none. */
    assert_int_equal(normalise_params_check(
                         &(struct normalise_params){.method = NORMALISE_NONE, .low = 9}, NULL),
                     0);
}

static void bad_images_are_refused(void **state)
{
    (void)state;
    static const struct sample_range no_scales[] = {
        {0, 0}, {1, 0}, {0, INFINITY}, {NAN, 1}, {0, NAN}};
    const struct sample_range full_scale = sample_type_range(SAMPLE_U8);
    float pixels[4] = {1, INFINITY, 3, 4};
    struct error err = {0};
    assert_int_equal(
        normalise_apply(&normalise_params_default, pixels, 2, 2, &full_scale, NULL, &err),
        ERROR_INVALID);
    assert_string_equal(err.message, "image: pixel 1 has the value inf");
    pixels[1] = 2;
    assert_int_equal(
        normalise_apply(&normalise_params_default, pixels, 0, 2, &full_scale, NULL, &err),
        ERROR_INVALID);
    for (size_t i = 0; i < sizeof(no_scales) / sizeof(no_scales[0]); i++)
        assert_int_equal(
            normalise_apply(&normalise_params_default, pixels, 2, 2, &no_scales[i], NULL, &err),
            ERROR_INVALID);
}

/* Pixels without a value change nothing for the others, and take their median: the lower of two. */
static void pixels_without_a_value_are_passed_over(void **state)
{
    (void)state;
    enum { N = 600 };
    static const enum normalise_method methods[] = {NORMALISE_PERCENTILE, NORMALISE_MINMAX,
                                                    NORMALISE_NONE};
    for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
        const struct normalise_params params = {.method = methods[m], .low = 5, .high = 90};
        float all[N], some[N];
        uint32_t n = 0;
        random_state = 5;
        for (uint32_t i = 0; i < N; i++) {
            all[i] = i % 3 == 0 ? (i % 2 == 0 ? NAN : -NAN) : (float)(random_u32() % 256) - 100;
            if (i % 3 != 0)
                some[n++] = all[i];
        }
        float sorted[N];
        memcpy(sorted, some, n * sizeof(float));
        qsort(sorted, n, sizeof(float), compare_floats);
        uint32_t median = 0;
        while (some[median] != sorted[(n - 1) / 2])
            median++;
        apply(&params, all, N, 1, 8);
        apply(&params, some, n, 1, 8);
        for (uint32_t i = 0, k = 0; i < N; i++)
            assert_true(all[i] == (i % 3 == 0 ? some[median] : some[k++]));
    }
    float none[4] = {NAN, NAN, NAN, NAN};
    apply(&normalise_params_default, none, 2, 2, 8);
    for (int i = 0; i < 4; i++)
        assert_true(none[i] == 0);
}

static void the_median_level_stands_in_the_middle(void **state)
{
    (void)state;
    uint32_t counts[256] = {[3] = 2, [7] = 1, [200] = 2};
    assert_int_equal(normalise_median_level(counts, 256), 7);
    counts[200] = 3;
    assert_int_equal(normalise_median_level(counts, 256), 7);
    counts[200] = 4;
    assert_int_equal(normalise_median_level(counts, 256), 200);
    memset(counts, 0, sizeof(counts));
    assert_int_equal(normalise_median_level(counts, 256), 0);
}

static void names_parse_back(void **state)
{
    (void)state;
    static const char *const names[] = {"percentile", "minmax", "none"};
    for (int i = 0; i < 3; i++) {
        enum normalise_method method;
        assert_int_equal(normalise_method_parse(names[i], &method, NULL), 0);
        assert_string_equal(normalise_method_name(method), names[i]);
    }
    enum normalise_outliers outliers;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(normalise_outliers_parse(
                             normalise_outliers_name((enum normalise_outliers)i), &outliers, NULL),
                         0);
        assert_int_equal(outliers, i);
    }
    enum normalise_method method;
    struct error err = {0};
    assert_int_equal(normalise_outliers_parse("drop", &outliers, &err), ERROR_INVALID);
    assert_string_equal(err.message, "normalise.outliers must be keep or replace, but is 'drop'");
    assert_int_equal(normalise_method_parse("zscore", &method, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "normalise.method must be percentile, minmax or none, but is 'zscore'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(percentiles_are_numpys),
        cmocka_unit_test(minmax_and_none_scale_as_they_say),
        cmocka_unit_test(flat_images_become_zero),
        cmocka_unit_test(hot_and_dead_pixels_have_no_say),
        cmocka_unit_test(outliers_become_the_median),
        cmocka_unit_test(what_may_be_the_specimen_stays),
        cmocka_unit_test(bad_parameters_are_refused),
        cmocka_unit_test(bad_images_are_refused),
        cmocka_unit_test(pixels_without_a_value_are_passed_over),
        cmocka_unit_test(the_median_level_stands_in_the_middle),
        cmocka_unit_test(names_parse_back),
    };
    return test_run(tests);
}
