#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/heads/ridge.h"
#include "engine/random.h"

enum { N = 9, CLASSES = 3, DIMENSION_MAX = 12 };

struct rig {
    float vectors[N * DIMENSION_MAX];
    uint32_t class_of[N];
    double centre[DIMENSION_MAX];
    struct examples examples;
};

/* Examples of classes that have 2, 3 and 4, less one of them: `without` of N leaves out none. */
static void set_up(struct rig *rig, uint32_t dimension, uint32_t without)
{
    static const uint32_t classes[N] = {0, 1, 2, 1, 2, 0, 2, 1, 2};
    struct random random;
    random_seed(&random, 5, dimension);
    uint32_t n = 0;
    for (uint32_t i = 0; i < N; i++) {
        for (uint32_t d = 0; d < dimension; d++)
            rig->vectors[n * dimension + d] =
                (float)(random_normal(&random) + (d % CLASSES == classes[i] ? 1.0 : 0.0));
        rig->class_of[n] = classes[i];
        n += i != without;
    }
    for (uint32_t d = 0; d < dimension; d++)
        rig->centre[d] = 0.1 * d;
    const struct support support = {rig->vectors, rig->class_of, n, CLASSES, dimension};
    assert_int_equal(examples_init(&rig->examples, &support, NULL), 0);
}

static double weight_of(const struct examples *examples, uint32_t example)
{
    return (double)examples->n / (CLASSES * examples->counts[examples->class_of[example]]);
}

static double answer_of(const double *weights, const double *x, const double *centre,
                        uint32_t dimension)
{
    double sum = 0.0;
    for (uint32_t d = 0; d < dimension; d++)
        sum += weights[d] * (x[d] - centre[d]);
    return sum;
}

/* At the least of the sum in ridge.h its slope is 0, whichever system was solved. */
static void weights_are_at_the_least(void **state)
{
    (void)state;
    static const double penalty = 0.3;
    static const uint32_t dimensions[] = {1, 4, N, DIMENSION_MAX};
    for (int t = 0; t < 4; t++) {
        static struct rig rig;
        struct ridge ridge;
        const uint32_t dimension = dimensions[t];
        set_up(&rig, dimension, N);
        const struct examples *examples = &rig.examples;
        assert_int_equal(ridge_fit(examples, rig.centre, penalty, &ridge, NULL), 0);
        double size = 0.0;
        for (uint32_t i = 0; i < N; i++) {
            for (uint32_t d = 0; d < dimension; d++)
                size += weight_of(examples, i) / N *
                        pow(examples_vector(examples, i)[d] - rig.centre[d], 2);
        }
        for (uint32_t k = 0; k < CLASSES; k++) {
            const double *weights = ridge.weights + k * dimension;
            for (uint32_t d = 0; d < dimension; d++) {
                double slope = penalty * size * weights[d];
                for (uint32_t i = 0; i < N; i++) {
                    const double *x = examples_vector(examples, i);
                    const double target = (examples->class_of[i] == k) - 1.0 / CLASSES;
                    slope += weight_of(examples, i) *
                             (answer_of(weights, x, rig.centre, dimension) - target) *
                             (x[d] - rig.centre[d]);
                }
                assert_true(fabs(slope) < 1e-12);
            }
        }
        ridge_clear(&ridge);
        examples_clear(&rig.examples);
    }
}

/* One class: an example left out of a fit with one weight, by hand: x = 1, 2, 3, all weigh 1.
 * Targets of one class are 0 throughout, so two classes of equal numbers are taken: x = 1, 3 and
 * -1, -2 in one dimension; S = 15, P = 15 / 4, and the fit without x_i has S - x_i^2. */
static void an_example_left_out_is_answered_by_the_others(void **state)
{
    (void)state;
    static const float x[] = {1, 3, -1, -2};
    static const uint32_t class_of[] = {0, 0, 1, 1};
    const struct support support = {x, class_of, 4, 2, 1};
    struct examples examples;
    struct ridge ridge;
    const double centre = 0.0, penalty = 0.4;
    assert_int_equal(examples_init(&examples, &support, NULL), 0);
    assert_int_equal(ridge_fit(&examples, &centre, penalty, &ridge, NULL), 0);
    const double lambda = penalty * 15.0 / 4;
    for (int i = 0; i < 4; i++) {
        double xx = lambda, xy = 0.0;
        for (int j = 0; j < 4; j++) {
            if (j == i)
                continue;
            xx += (double)(x[j] * x[j]);
            xy += (double)x[j] * (class_of[j] == 0 ? 0.5 : -0.5);
        }
        const double answer = (double)x[i] * xy / xx;
        assert_true(fabs(ridge.held_out[2 * i] - answer) < 1e-14);
        assert_true(fabs(ridge.held_out[2 * i + 1] + answer) < 1e-14);
    }
    ridge_clear(&ridge);
    examples_clear(&examples);
}

/* Examples that are all one answer nothing instead of failing. */
static void equal_examples_give_zeros(void **state)
{
    (void)state;
    static const float x[] = {1, 2, 1, 2, 1, 2, 1, 2};
    static const uint32_t class_of[] = {0, 0, 1, 1};
    static const double centre[] = {1, 2};
    const struct support support = {x, class_of, 4, 2, 2};
    struct examples examples;
    struct ridge ridge;
    assert_int_equal(examples_init(&examples, &support, NULL), 0);
    assert_int_equal(ridge_fit(&examples, centre, 1.0, &ridge, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_true(ridge.weights[i] == 0.0 && ridge.held_out[2 * i] == 0.0);
    ridge_clear(&ridge);
    examples_clear(&examples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_at_the_least),
        cmocka_unit_test(an_example_left_out_is_answered_by_the_others),
        cmocka_unit_test(equal_examples_give_zeros),
    };
    return test_run(tests);
}
