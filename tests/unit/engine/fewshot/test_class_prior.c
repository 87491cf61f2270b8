#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/class_prior.h"
#include "engine/fewshot/labels.h"

enum { N = 100000 };

static uint16_t labels[N];
static float probabilities[2 * N];

static void set(uint32_t chip, float of_first)
{
    probabilities[2 * chip] = of_first;
    probabilities[2 * chip + 1] = 1 - of_first;
    labels[chip] = of_first < 0.5F;
}

static struct class_prior estimate(uint64_t n)
{
    struct class_prior out;
    assert_int_equal(class_prior_estimate(labels, probabilities, n, 2, NULL, &out, NULL), 0);
    assert_true(fabs(out.fractions[0] + out.fractions[1] - 1) < 1e-9);
    return out;
}

/* 30 and 10 chips that are certain, and 5 pseudo-chips of each class. */
static void certain_chips_are_counted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        set(i, i < 30);
    const struct class_prior found = estimate(40);
    assert_int_equal(found.n_chips, 40);
    assert_true(fabs(found.fractions[0] - 35.0 / 50) < 1e-12);
    assert_true(fabs(found.high[1] - 15.0 / 50) < 1e-12);
    assert_true(found.low[1] == 0.25); /* what was counted */
}

/* A fifth of the chips is of the first class, and each chip looks like the other with probability
 * 0.1: 0.26 of the labels are of the first class. The number of labels is binomial and says f =
 * (share - 0.1) / 0.8; the truth itself is known to vary by f (1 - f) / n less. */
static void chips_that_err_are_corrected(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N; i++)
        set(i, i < 0.26 * N ? 0.9F : 0.1F);
    const struct class_prior found = estimate(N);
    assert_true(fabs(found.fractions[0] - 0.2) < 0.001);
    const double deviation = sqrt((0.26 * 0.74 / 0.64 - 0.2 * 0.8) / N);
    assert_true(fabs(found.fractions[0] - found.low[0] - 1.96 * deviation) < 1e-4);
    assert_true(fabs(found.high[1] - found.fractions[1] - 1.96 * deviation) < 1e-4);
    assert_true(found.high[0] == 0.26 && found.low[1] == 0.74);
}

static void chips_that_say_nothing_leave_everything_open(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        set(i, 0.5F);
    const struct class_prior found = estimate(1000);
    assert_true(fabs(found.fractions[0] - 0.5) < 1e-12);
    assert_true(found.low[0] == 0 && found.high[0] == 1);
}

static void chips_without_a_class_are_left_out(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 60; i++)
        set(i, i < 30);
    for (uint32_t i = 40; i < 60; i++)
        labels[i] = i % 2 == 0 ? LABEL_UNKNOWN : LABEL_NOT_ANALYSED;
    const struct class_prior found = estimate(60);
    assert_int_equal(found.n_chips, 40);
    assert_true(fabs(found.fractions[0] - 35.0 / 50) < 1e-12);
    struct class_prior none;
    assert_int_equal(
        class_prior_estimate(labels + 40, probabilities + 80, 20, 2, NULL, &none, NULL), 0);
    assert_int_equal(none.n_chips, 0);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

static void it_can_be_cancelled(void **state)
{
    (void)state;
    const struct cancel cancel = {.is_asked = always};
    struct class_prior out;
    struct error err;
    set(0, 1);
    assert_int_equal(class_prior_estimate(labels, probabilities, 1, 2, &cancel, &out, &err),
                     ERROR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certain_chips_are_counted),
        cmocka_unit_test(chips_that_err_are_corrected),
        cmocka_unit_test(chips_that_say_nothing_leave_everything_open),
        cmocka_unit_test(chips_without_a_class_are_left_out),
        cmocka_unit_test(it_can_be_cancelled),
    };
    return test_run(tests);
}
