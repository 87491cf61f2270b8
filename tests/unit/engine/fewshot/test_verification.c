#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/verification.h"
#include "engine/random.h"

static void shares_are_equal_where_there_are_chips(void **state)
{
    (void)state;
    uint32_t shares[4];
    verification_share((const uint64_t[]){100, 100, 100}, 3, 50, shares);
    assert_memory_equal(shares, ((const uint32_t[]){17, 17, 16}), 3 * sizeof(uint32_t));
    verification_share((const uint64_t[]){5, 100, 0, 100}, 4, 50, shares);
    assert_memory_equal(shares, ((const uint32_t[]){5, 23, 0, 22}), 4 * sizeof(uint32_t));
    verification_share((const uint64_t[]){2, 3}, 2, 50, shares);
    assert_memory_equal(shares, ((const uint32_t[]){2, 3}), 2 * sizeof(uint32_t));
    verification_share((const uint64_t[]){1000, 1000, 1000}, 3, 2, shares);
    assert_memory_equal(shares, ((const uint32_t[]){1, 1, 0}), 3 * sizeof(uint32_t));
}

static void draws_are_distinct_and_even(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 3, 0);
    uint32_t counts[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t drawn[3];
        verification_draw(&random, 7, 3, drawn);
        assert_true(drawn[0] != drawn[1] && drawn[0] != drawn[2] && drawn[1] != drawn[2]);
        for (int k = 0; k < 3; k++) {
            assert_true(drawn[k] < 7);
            counts[drawn[k]]++;
        }
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 2793, 3207); /* five standard deviations of 41 */
    uint64_t all[4], seen = 0;
    verification_draw(&random, 4, 4, all);
    for (int k = 0; k < 4; k++)
        seen |= UINT64_C(1) << all[k];
    assert_true(seen == 15);
}

static struct verification_estimate estimate(const struct verification_counts *counts)
{
    struct verification_estimate out;
    struct error err;
    if (verification_estimate(counts, 1, &out, &err) != 0)
        fail_msg("%s", err.message);
    return out;
}

static void assert_interval(const struct verification_interval *interval, double mean, double low,
                            double high, double tolerance)
{
    if (!(fabs(interval->mean - mean) <= tolerance && fabs(interval->low - low) <= tolerance &&
          fabs(interval->high - high) <= tolerance))
        fail_msg("%g (%g to %g), not %g (%g to %g)", interval->mean, interval->low, interval->high,
                 mean, low, high);
}

/* Labels 0: 3 of 4 right; labels 1: both right; two examples of class 0. */
static void what_was_all_answered_is_certain(void **state)
{
    (void)state;
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = (const uint64_t[]){4, 2, 0},
                                               .n_known = (const uint64_t[]){2, 0},
                                               .answers =
                                                   (const uint32_t[]){3, 1, 0, 0, 2, 0, 0, 0, 0}};
    const struct verification_estimate found = estimate(&counts);
    assert_interval(&found.fractions[0], 5.0 / 8, 5.0 / 8, 5.0 / 8, 1e-12);
    assert_interval(&found.fractions[1], 3.0 / 8, 3.0 / 8, 3.0 / 8, 1e-12);
    assert_interval(&found.fractions[2], 0, 0, 0, 0);
    assert_interval(&found.precision[0], 0.75, 0.75, 0.75, 1e-12);
    assert_interval(&found.precision[1], 1, 1, 1, 1e-12);
    assert_interval(&found.recall[0], 1, 1, 1, 1e-12);
    assert_interval(&found.recall[1], 2.0 / 3, 2.0 / 3, 2.0 / 3, 1e-12);
    assert_interval(&found.accuracy, 5.0 / 6, 5.0 / 6, 5.0 / 6, 1e-12);
}

/* 8 of 10 answers right out of very many chips: Beta(8 + 0.3 + 0.15, 2 + 0.15), whose quantiles
 * were integrated numerically. */
static void one_large_stratum_is_a_beta_distribution(void **state)
{
    (void)state;
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = (const uint64_t[]){1000000000, 0, 0},
                                               .n_known = (const uint64_t[]){0, 0},
                                               .answers =
                                                   (const uint32_t[]){8, 2, 0, 0, 0, 0, 0, 0, 0}};
    const struct verification_estimate found = estimate(&counts);
    assert_int_equal(found.n_draws, 4000);
    assert_interval(&found.fractions[0], 8.45 / 10.6, 0.5224, 0.9682, 0.015);
    assert_true(fabs(found.fractions[0].mean - 8.45 / 10.6) < 0.006);
    assert_true(isnan(found.precision[1].mean));
}

/* 10 of 20 were answered: the other ten are beta-binomial, with mean and standard deviation of all
 * 20 as below. */
static void a_small_stratum_varies_as_its_chips_do(void **state)
{
    (void)state;
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = (const uint64_t[]){20, 0, 0},
                                               .n_known = (const uint64_t[]){0, 0},
                                               .answers =
                                                   (const uint32_t[]){8, 2, 0, 0, 0, 0, 0, 0, 0}};
    const struct verification_estimate found = estimate(&counts);
    assert_true(fabs(found.fractions[0].mean - 0.798585) < 0.006);
    assert_true(found.fractions[0].low >= 0.4 && found.fractions[0].high <= 0.9);
    /* The width of a distribution bounded above: between 3 and 4 standard deviations. */
    const double width = found.fractions[0].high - found.fractions[0].low;
    assert_true(width > 3.0 * 0.084726 && width < 4.0 * 0.084726);
}

/* Label 0 is on 900 chips and right, label 1 on 100 and right half of the time: class 1 has about
 * 50 + 900 (0.15 / 20.6) and not 100 chips. */
static void strata_weigh_as_many_chips_as_they_have(void **state)
{
    (void)state;
    const struct verification_counts counts = {
        .n_classes = 2,
        .n_chips = (const uint64_t[]){900000, 100000, 0},
        .n_known = (const uint64_t[]){0, 0},
        .answers = (const uint32_t[]){20, 0, 0, 10, 10, 0, 0, 0, 0}};
    const struct verification_estimate found = estimate(&counts);
    const double mean = 0.9 * 0.15 / 20.6 + 0.1 * 10.45 / 20.6;
    assert_true(fabs(found.fractions[1].mean - mean) < 0.002);
    assert_true(found.fractions[1].high < 0.15 && found.fractions[1].low > 0.02);
    assert_true(fabs(found.fractions[0].mean + found.fractions[1].mean - 1) < 1e-12);
    assert_true(fabs(found.precision[1].mean - 10.45 / 20.6) < 0.01);
    assert_true(fabs(found.accuracy.mean - (0.9 * 20.45 / 20.6 + 0.1 * 10.45 / 20.6)) < 0.003);
}

static void none_takes_part_once_it_was_answered(void **state)
{
    (void)state;
    uint32_t answers[] = {5, 0, 0, 0, 5, 0, 0, 0, 0};
    const uint64_t n_chips[] = {1000000, 1000000, 0};
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = n_chips,
                                               .n_known = (const uint64_t[]){0, 0},
                                               .answers = answers};
    assert_true(estimate(&counts).fractions[2].high == 0);
    answers[2] = 5;
    const struct verification_estimate found = estimate(&counts);
    /* Shapes of label 0: 5.45, 0.15, 5.15; of label 1: 0.15, 5.45, 0.15. */
    assert_true(fabs(found.fractions[2].mean - (5.15 / 10.75 + 0.15 / 5.75) / 2) < 0.006);
}

/* All answered: 4 chips of class 0, 2 of class 1, 2 of none; class 1 is not counted. */
static void what_is_not_counted_is_in_no_fraction(void **state)
{
    (void)state;
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = (const uint64_t[]){5, 3, 0},
                                               .n_known = (const uint64_t[]){0, 0},
                                               .answers =
                                                   (const uint32_t[]){4, 0, 1, 0, 2, 1, 0, 0, 0},
                                               .uncounted = 2};
    const struct verification_estimate found = estimate(&counts);
    assert_interval(&found.fractions[0], 4.0 / 6, 4.0 / 6, 4.0 / 6, 1e-12);
    assert_interval(&found.fractions[2], 2.0 / 6, 2.0 / 6, 2.0 / 6, 1e-12);
    assert_true(isnan(found.fractions[1].mean));
    assert_interval(&found.shares[0], 0.5, 0.5, 0.5, 1e-12);
    assert_interval(&found.shares[1], 0.25, 0.25, 0.25, 1e-12);
    assert_interval(&found.accuracy, 0.75, 0.75, 0.75, 1e-12);
    /* 4000 equal draws: their mean, rounded, still lies between the ends of the interval. */
    assert_true(found.fractions[0].low <= found.fractions[0].mean);
    assert_true(found.fractions[0].mean <= found.fractions[0].high);
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    const struct verification_counts counts = {.n_classes = 2,
                                               .n_chips = (const uint64_t[]){500, 40, 3},
                                               .n_known = (const uint64_t[]){1, 1},
                                               .answers =
                                                   (const uint32_t[]){20, 1, 0, 3, 10, 1, 0, 1, 0}};
    const struct verification_estimate a = estimate(&counts), b = estimate(&counts);
    assert_memory_equal(a.fractions, b.fractions, 3 * sizeof(a.fractions[0]));
    struct verification_estimate other;
    assert_int_equal(verification_estimate(&counts, 2, &other, NULL), 0);
    assert_memory_not_equal(a.fractions, other.fractions, 3 * sizeof(a.fractions[0]));
    assert_true(fabs(a.fractions[1].low - other.fractions[1].low) < 0.01);
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    struct verification_estimate out;
    struct error err;
    const uint64_t zero[] = {0, 0, 0}, few[] = {2, 2, 0};
    struct verification_counts counts = {.n_classes = 2,
                                         .n_chips = zero,
                                         .n_known = zero,
                                         .answers = (const uint32_t[]){0, 0, 0, 0, 0, 0, 0, 0, 0}};
    assert_int_equal(verification_estimate(&counts, 1, &out, &err), ERROR_INVALID);
    counts.n_chips = few;
    counts.answers = (const uint32_t[]){2, 1, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(verification_estimate(&counts, 1, &out, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "label 0: 3, it has 2"));
    counts.n_classes = CLASSIFIER_CLASSES_MAX + 1;
    assert_int_equal(verification_estimate(&counts, 1, &out, &err), ERROR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_equal_where_there_are_chips),
        cmocka_unit_test(draws_are_distinct_and_even),
        cmocka_unit_test(what_was_all_answered_is_certain),
        cmocka_unit_test(one_large_stratum_is_a_beta_distribution),
        cmocka_unit_test(a_small_stratum_varies_as_its_chips_do),
        cmocka_unit_test(strata_weigh_as_many_chips_as_they_have),
        cmocka_unit_test(none_takes_part_once_it_was_answered),
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(what_is_not_counted_is_in_no_fraction),
    };
    return test_run(tests);
}
