#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/reference.h"
#include "engine/random.h"

enum { DIMENSION = 5 };

static struct reference take(const float *chips, uint64_t n)
{
    struct reference out = {0};
    const struct embeddings embeddings = {.n_chips = n, .dimension = DIMENSION, .values = chips};
    assert_int_equal(reference_take(&out, &embeddings, NULL, NULL), 0);
    return out;
}

static void fill(float *chips, uint64_t n, uint64_t seed, double mean)
{
    struct random random;
    random_seed(&random, seed, 0);
    for (uint64_t i = 0; i < n * DIMENSION; i++)
        chips[i] = (float)(mean + random_normal(&random));
}

/* 1, 2 and 6 have the mean 3 and the population's variance (4 + 1 + 9) / 3. */
static void mean_and_variance_are_the_populations(void **state)
{
    (void)state;
    const float chips[3 * DIMENSION] = {1, 7, 0, 0, 0, 2, 7, 0, 0, 0, 6, 7};
    struct reference reference = take(chips, 3);
    assert_int_equal(reference.n_chips, 3);
    assert_true(fabs(reference.mean[0] - 3.0) < 1e-12);
    assert_true(fabs(reference_variance(&reference, 0) - 14.0 / 3.0) < 1e-12);
    assert_true(reference.mean[1] == 7.0 && reference_variance(&reference, 1) == 0.0);
    reference_clear(&reference);
}

static void images_are_added_as_if_taken_together(void **state)
{
    (void)state;
    enum { A = 40, B = 7, ALL = A + B };
    float chips[ALL * DIMENSION];
    fill(chips, A, 1, 3.0);
    fill(chips + A * DIMENSION, B, 2, -5.0);
    struct reference a = take(chips, A), b = take(chips + A * DIMENSION, B);
    struct reference all = take(chips, ALL), sum = {0};
    assert_int_equal(reference_init(&sum, DIMENSION, NULL), 0);
    reference_add(&sum, &a);
    assert_memory_equal(sum.mean, a.mean, DIMENSION * sizeof(double));
    assert_memory_equal(sum.squares, a.squares, DIMENSION * sizeof(double));
    reference_add(&sum, &b);
    assert_int_equal(sum.n_chips, ALL);
    for (uint32_t d = 0; d < DIMENSION; d++) {
        assert_true(fabs(sum.mean[d] - all.mean[d]) < 1e-12);
        assert_true(fabs(reference_variance(&sum, d) - reference_variance(&all, d)) < 1e-11);
    }
    reference_clear(&a);
    reference_clear(&b);
    reference_clear(&all);
    reference_clear(&sum);
}

static void one_chip_and_equal_chips_do_not_vary(void **state)
{
    (void)state;
    float chips[4 * DIMENSION];
    for (uint32_t i = 0; i < 4 * DIMENSION; i++)
        chips[i] = 0.1f * (float)(i % DIMENSION);
    struct reference reference = take(chips, 1);
    assert_false(reference_varies(&reference));
    reference_clear(&reference);
    reference = take(chips, 4);
    assert_false(reference_varies(&reference));
    reference_clear(&reference);
    chips[2] += 0.1f;
    reference = take(chips, 4);
    assert_true(reference_varies(&reference));
    reference_clear(&reference);
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    float chips[3 * DIMENSION] = {0};
    const struct embeddings embeddings = {.n_chips = 3, .dimension = DIMENSION, .values = chips};
    struct reference reference = {0};
    struct error err;
    chips[2 * DIMENSION + 1] = INFINITY;
    assert_int_equal(reference_take(&reference, &embeddings, NULL, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "chip 2"));
    assert_null(reference.mean);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_variance_are_the_populations),
        cmocka_unit_test(images_are_added_as_if_taken_together),
        cmocka_unit_test(one_chip_and_equal_chips_do_not_vary),
        cmocka_unit_test(values_that_are_not_finite_are_refused),
    };
    return test_run(tests);
}
