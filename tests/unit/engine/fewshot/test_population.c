#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/population.h"
#include "engine/random.h"

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) < 1e-12))
        fail_msg("%.15g, not %.15g", value, expected);
}

static void ratios_are_of_sums_and_spread_over_images(void **state)
{
    (void)state;
    const double numerators[] = {2, 100, 6, 1}, denominators[] = {4, 0, 4, 2};
    const struct population_series series = {numerators, denominators};
    struct population_summary found;
    assert_int_equal(population_summarise(&series, 1, 4, 1, NULL, &found, NULL), 0);
    assert_int_equal(found.n_images, 3);
    assert_near(found.total, 9);
    assert_near(found.value, 0.9);
    assert_near(found.mean, 2.5 / 3);
    assert_near(found.sd, sqrt(1.0 / 3));
    assert_near(found.least, 0.5);
    assert_near(found.median, 0.5);
    assert_near(found.greatest, 1.5);
    assert_true(isnan(found.low) && isnan(found.high)); /* too few images */
}

static void nothing_is_said_of_no_images(void **state)
{
    (void)state;
    const double zero[] = {0, 0};
    const struct population_series series = {zero, zero};
    struct population_summary found;
    assert_int_equal(population_summarise(&series, 1, 0, 1, NULL, &found, NULL), 0);
    assert_true(found.n_images == 0 && isnan(found.value));
    assert_int_equal(population_summarise(&series, 1, 2, 1, NULL, &found, NULL), 0);
    assert_true(found.n_images == 0 && isnan(found.value) && isnan(found.mean));
}

/* Means of n normal numbers: how often the interval covers the mean that they were drawn with. */
static uint32_t count_covered(size_t n, uint32_t n_sets)
{
    double numerators[200], denominators[200];
    const struct population_series series = {numerators, denominators};
    struct population_summary found;
    struct random random;
    uint32_t n_covered = 0;
    random_seed(&random, 9, 0);
    for (uint32_t set = 0; set < n_sets; set++) {
        for (size_t i = 0; i < n; i++) {
            numerators[i] = 10 + random_normal(&random);
            denominators[i] = 1;
        }
        assert_int_equal(population_summarise(&series, 1, n, set, NULL, &found, NULL), 0);
        n_covered += found.low <= 10 && 10 <= found.high;
    }
    return n_covered;
}

static void intervals_cover_with_few_images_and_with_many(void **state)
{
    (void)state;
    /* 0.95 of 200, more or less three standard deviations of 3.1; 200 images are in groups. */
    assert_in_range(count_covered(6, 200), 180, 199);
    assert_in_range(count_covered(40, 200), 180, 199);
    assert_in_range(count_covered(200, 200), 180, 199);
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    enum { N = 300 };
    double numerators[N], denominators[N];
    const struct population_series series[] = {{numerators, denominators},
                                               {denominators, numerators}};
    struct population_summary a[2], b[2];
    for (int i = 0; i < N; i++) {
        numerators[i] = 1 + i % 7;
        denominators[i] = 1 + i % 5;
    }
    assert_int_equal(population_summarise(series, 2, N, 3, NULL, a, NULL), 0);
    assert_int_equal(population_summarise(series, 2, N, 3, NULL, b, NULL), 0);
    assert_memory_equal(a, b, sizeof(a));
    assert_true(a[0].low < a[0].value && a[0].value < a[0].high);
    assert_int_equal(population_summarise(series, 2, N, 4, NULL, b, NULL), 0);
    assert_true(a[0].low != b[0].low && a[0].value == b[0].value);
}

static void quantiles_lie_within_octaves(void **state)
{
    (void)state;
    const uint64_t counts[] = {0, 0, 4, 4}, none[] = {0, 0};
    assert_near(population_octave_quantile(counts, 4, 0.5), 8);
    assert_near(population_octave_quantile(counts, 4, 0.25), exp2(2.5));
    assert_near(population_octave_quantile(counts, 4, 0.0), 4);
    assert_near(population_octave_quantile(counts, 4, 1.0), 16);
    assert_true(isnan(population_octave_quantile(none, 2, 0.5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ratios_are_of_sums_and_spread_over_images),
        cmocka_unit_test(nothing_is_said_of_no_images),
        cmocka_unit_test(intervals_cover_with_few_images_and_with_many),
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(quantiles_lie_within_octaves),
    };
    return test_run(tests);
}
