#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/coverage.h"

enum { N = 200 };

/* Two classes of a hundred chips each, a tenth of either with the other's label, and probabilities
 * that say so. */
static void what_a_classifier_that_errs_does_to_fractions(void **state)
{
    (void)state;
    uint16_t labels[N];
    uint32_t truths[N];
    float probabilities[2 * N], distances[N] = {0};
    for (uint32_t i = 0; i < N; i++) {
        truths[i] = i % 2;
        labels[i] = (uint16_t)(i / 2 % 10 == 0 ? 1 - i % 2 : i % 2);
        probabilities[2 * i] = labels[i] == 0 ? 0.9F : 0.1F;
        probabilities[2 * i + 1] = 1 - probabilities[2 * i];
    }
    const struct classification chips = {.n_chips = N,
                                         .n_classes = 2,
                                         .temperature = 1.0,
                                         .labels = labels,
                                         .probabilities = probabilities,
                                         .distances = distances};
    struct coverage coverage = {0};
    for (uint64_t seed = 0; seed < 40; seed++) {
        const struct evaluate_episode episode = {&chips, truths, seed};
        assert_int_equal(coverage_watch(&coverage, &episode, NULL), 0);
    }
    const struct coverage_sums *rare = coverage.rare;
    for (int m = 0; m < COVERAGE_METHODS; m++) {
        assert_int_equal(rare[m].n, 80);
        assert_int_equal(coverage.all[m].n, 160);
    }
    /* Of a tenth, 0.9 are found, and a tenth of the rest joins them: 0.18. */
    assert_true(fabs(rare[COVERAGE_COUNTING].error / 80 - 0.08) < 0.005);
    assert_int_equal(rare[COVERAGE_COUNTING].n_covered, 0);
    assert_true(fabs(rare[COVERAGE_PRIOR].error / 80) < 0.01);
    assert_true(fabs(rare[COVERAGE_VERIFIED].error / 80) < 0.02);
    assert_true(rare[COVERAGE_VERIFIED].n_covered >= 72);
    assert_true(rare[COVERAGE_SIMPLE].n_covered >= 72);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_classifier_that_errs_does_to_fractions),
    };
    return test_run(tests);
}
