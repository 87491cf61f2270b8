#include "tests/test.h"

#include <math.h>

#include "engine/random.h"

/* The first outputs of the authors' reference implementation from the state {1, 2, 3, 4}. */
static void next_follows_the_published_algorithm(void **state)
{
    (void)state;
    struct random random = {{1, 2, 3, 4}};
    assert_true(random_next(&random) == 11520);
    assert_true(random_next(&random) == 0);
    assert_true(random_next(&random) == 1509978240);
    assert_true(random_next(&random) == UINT64_C(1215971899390074240));
}

static void seeds_and_streams_give_different_sequences(void **state)
{
    (void)state;
    struct random a, b, c, d;
    random_seed(&a, 7, 0);
    random_seed(&b, 7, 0);
    random_seed(&c, 8, 0);
    random_seed(&d, 7, 1);
    uint64_t first = random_next(&a);
    assert_true(random_next(&b) == first);
    assert_true(random_next(&c) != first);
    assert_true(random_next(&d) != first);
}

static void below_is_uniform(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 1, 0);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint32_t value = random_below(&random, 7);
        assert_true(value < 7);
        counts[value]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500); /* five standard deviations */
}

static void check_moments(double sum, double squares, int n, double mean, double variance)
{
    double found = sum / n;
    assert_true(fabs(found - mean) < 5.0 * sqrt(variance / n));
    assert_true(fabs(squares / n - found * found - variance) < 0.05 * variance);
}

static void normal_and_poisson_have_their_moments(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 2, 0);
    enum { N = 40000 };
    double sum = 0.0, squares = 0.0;
    for (int i = 0; i < N; i++) {
        double value = random_normal(&random);
        sum += value;
        squares += value * value;
    }
    check_moments(sum, squares, N, 0.0, 1.0);
    const double means[] = {0.3, 5.0, 11.9, 12.1, 40.0, 3000.0};
    for (size_t m = 0; m < sizeof(means) / sizeof(*means); m++) {
        sum = squares = 0.0;
        for (int i = 0; i < N; i++) {
            double value = random_poisson(&random, means[m]);
            sum += value;
            squares += value * value;
        }
        check_moments(sum, squares, N, means[m], means[m]);
    }
    assert_int_equal(random_poisson(&random, 0.0), 0);
    assert_int_equal(random_poisson(&random, -1.0), 0);
}

static void gamma_has_its_moments(void **state)
{
    (void)state;
    struct random random;
    random_seed(&random, 4, 0);
    enum { N = 40000 };
    const double shapes[] = {0.3, 1.0, 2.5, 50.0};
    for (size_t k = 0; k < sizeof(shapes) / sizeof(*shapes); k++) {
        double sum = 0.0, squares = 0.0;
        for (int i = 0; i < N; i++) {
            const double value = exp(random_log_gamma(&random, shapes[k]));
            sum += value;
            squares += value * value;
        }
        check_moments(sum, squares, N, shapes[k], shapes[k]);
    }
    /* The logarithm of a variate of a shape next to 0 is about -1 / shape in the mean. */
    double sum = 0.0;
    for (int i = 0; i < N; i++)
        sum += random_log_gamma(&random, 1e-3) * 1e-3;
    assert_true(fabs(sum / N + 1.0) < 0.03);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_follows_the_published_algorithm),
        cmocka_unit_test(seeds_and_streams_give_different_sequences),
        cmocka_unit_test(below_is_uniform),
        cmocka_unit_test(normal_and_poisson_have_their_moments),
        cmocka_unit_test(gamma_has_its_moments),
    };
    return test_run(tests);
}
