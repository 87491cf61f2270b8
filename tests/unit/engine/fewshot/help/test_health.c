#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/heads/examples.h"
#include "engine/fewshot/help/health.h"

enum { N = 7 };

/* On a line: class 0 at 0, 2 and 1; class 1 at 10, 12 and, by mistake, 2.5; class 2 alone at 40. */
static const float places[N] = {0, 2, 1, 10, 12, 2.5F, 40};
static const uint32_t classes[N] = {0, 0, 0, 1, 1, 1, 2};

static void measure(double temperature, const float *embeddings, struct health *out)
{
    const struct support support = {embeddings, classes, N, 3, 1};
    struct classifier_params params = classifier_params_default;
    struct examples examples;
    params.temperature = temperature;
    assert_int_equal(examples_init(&examples, &support, NULL), 0);
    assert_int_equal(health_measure(&params, &examples, out, NULL), 0);
    examples_clear(&examples);
}

/* The cost of class k for example i, which is left out of its own; `v` as of all examples. */
static double cost_of(uint32_t i, uint32_t k, double v)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t j = 0; j < N; j++) {
        if (classes[j] != k || j == i)
            continue;
        sum += (double)places[j];
        n++;
    }
    const double apart = (double)places[i] - sum / n;
    return apart * apart - v / n;
}

static void an_example_is_asked_without_itself(void **state)
{
    (void)state;
    struct health health;
    /* Means 1, 49/6 and 40: squares 2 and 51.1667, over 7 - 3. */
    const double v =
        (2 + (11.0 / 6) * (11.0 / 6) + (23.0 / 6) * (23.0 / 6) + (17.0 / 3) * (17.0 / 3)) / 4;
    const double temperature = 20;
    measure(temperature, places, &health);
    for (uint32_t i = 0; i < N - 1; i++) {
        double weights[3], sum = 0;
        for (uint32_t k = 0; k < 3; k++) {
            weights[k] = exp(-cost_of(i, k, v) / temperature);
            sum += weights[k];
        }
        assert_true(health_was_asked(&health, i));
        assert_float_equal(health_own(&health, i), weights[classes[i]] / sum, 1e-6);
    }
    assert_false(health_was_asked(&health, N - 1));
    assert_true(isnan(health_own(&health, N - 1)));
    assert_false(health_is_flagged(health_own(&health, N - 1)));
    /* 2.5 lies with class 0. */
    assert_true(health_is_flagged(health_own(&health, 5)));
    assert_int_equal(health_likely(&health, 5), 0);
    assert_false(health_is_flagged(health_own(&health, 0)));
    assert_int_equal(health_likely(&health, 0), 0);
    health_clear(&health);
    health_clear(&health);
}

static void confusion_is_the_mean_of_both_directions(void **state)
{
    (void)state;
    struct health health;
    assert_int_equal(health_init(&health, classes, N, 3, NULL), 0);
    assert_true(isnan(health_confusion(&health, 0, 1)));
    const float rows[2][3] = {{0.5F, 0.25F, 0.25F}, {0.75F, 0.25F, 0}};
    memcpy(health.probabilities, rows[0], sizeof(rows[0]));
    assert_float_equal(health_confusion(&health, 0, 1), 0.25, 1e-9); /* of class 1 none was asked */
    memcpy(health.probabilities + 3, rows[1], sizeof(rows[1]));
    memcpy(health.probabilities + (ptrdiff_t)3 * 3, rows[1], sizeof(rows[1]));
    assert_float_equal(health_confusion(&health, 0, 1), (0.25 + 0.75) / 2, 1e-9);
    assert_float_equal(health_confusion(&health, 1, 0), (0.25 + 0.75) / 2, 1e-9);
    assert_float_equal(health_confusion(&health, 0, 2), 0.125, 1e-9); /* class 2 was not asked */
    health_clear(&health);
}

static void answers_come_from_several_measurements(void **state)
{
    (void)state;
    struct health health, measured;
    assert_int_equal(health_init(&health, classes, N, 3, NULL), 0);
    measure(0, places, &measured);
    health_take(&health, &measured, 5);
    assert_true(health_own(&health, 5) == health_own(&measured, 5));
    assert_false(health_was_asked(&health, 4));
    health_clear(&measured);
    health_clear(&health);
}

static void equal_examples_say_nothing(void **state)
{
    (void)state;
    static const float alike[N] = {1, 1, 1, 2, 2, 2, 3};
    struct health health;
    measure(0, alike, &health);
    for (uint32_t i = 0; i < N; i++)
        assert_false(health_was_asked(&health, i));
    health_clear(&health);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_example_is_asked_without_itself),
        cmocka_unit_test(confusion_is_the_mean_of_both_directions),
        cmocka_unit_test(answers_come_from_several_measurements),
        cmocka_unit_test(equal_examples_say_nothing),
    };
    return test_run(tests);
}
