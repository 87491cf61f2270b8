#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/space.h"
#include "engine/fewshot/unknown.h"
#include "engine/random.h"

static const struct classifier_params as_they_are = {.transform = CLASSIFIER_TRANSFORM_NONE};

static struct embeddings in_memory(const float *values, uint64_t n, uint32_t dimension)
{
    return (struct embeddings){.n_chips = n, .dimension = dimension, .values = values};
}

/* Two classes: the corners of a square of side 2 and its middle, 10 apart. */
enum { EXAMPLES = 10 };
static const float examples[2 * EXAMPLES] = {0,  0, 2,  0, 0,  2, 2,  2, 1,  1,
                                             10, 0, 12, 0, 10, 2, 12, 2, 11, 1};
static const uint32_t class_of[EXAMPLES] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1};
static const struct support support = {examples, class_of, EXAMPLES, 2, 2};

static int compute(const struct support *of, const float *chips, uint64_t n, const uint8_t *skip,
                   struct novelty *out, struct error *err)
{
    struct embeddings embeddings = in_memory(chips, n, of->dimension);
    struct space space;
    embeddings.skip = skip;
    assert_int_equal(space_init(&space, &as_they_are, of, &embeddings, NULL, err), 0);
    int rc = novelty_compute(&space, &embeddings, NULL, out, err);
    space_clear(&space);
    return rc;
}

/* The squares about the mean are 8 for 4 degrees of freedom in each class: v = 2, and a squared
 * distance is measured by 2 (1 + 1/5) = 2.4. */
static void distances_are_measured_by_the_variance_within_classes(void **state)
{
    (void)state;
    const float chips[] = {4, 5};
    struct novelty novelty;
    assert_int_equal(compute(&support, chips, 1, NULL, &novelty, NULL), 0);
    assert_true(fabs((double)novelty.values[0] - 25.0 / 2.4) < 1e-5);
    novelty_clear(&novelty);
}

static double square(double x)
{
    return x * x;
}

/* r of an example by its definition, all sums taken anew without it. */
static double left_out(uint32_t index)
{
    double means[2][2] = {{0}}, squares[2] = {0}, least = INFINITY;
    uint32_t counts[2] = {0};
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        if (i == index)
            continue;
        counts[class_of[i]]++;
        for (int d = 0; d < 2; d++)
            means[class_of[i]][d] += (double)examples[2 * i + (uint32_t)d];
    }
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < 2; d++)
            means[k][d] /= counts[k];
    for (uint32_t i = 0; i < EXAMPLES; i++)
        for (int d = 0; d < 2 && i != index; d++)
            squares[class_of[i]] +=
                square((double)examples[2 * i + (uint32_t)d] - means[class_of[i]][d]);
    for (int k = 0; k < 2; k++) {
        const double v = 0.5 * squares[k] / (counts[k] - 1) +
                         0.5 * (squares[0] + squares[1]) / (EXAMPLES - 1 - 2);
        const double d = square((double)examples[2 * index] - means[k][0]) +
                         square((double)examples[2 * index + 1] - means[k][1]);
        least = fmin(least, d / (v * (1.0 + 1.0 / counts[k])));
    }
    return least;
}

static void the_threshold_is_what_the_examples_have_when_left_out(void **state)
{
    (void)state;
    const float chips[] = {4, 5};
    struct novelty novelty;
    double sum = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < EXAMPLES; i++)
        sum += left_out(i);
    for (uint32_t i = 0; i < EXAMPLES; i++)
        squares += square(left_out(i) - sum / EXAMPLES);
    assert_int_equal(compute(&support, chips, 1, NULL, &novelty, NULL), 0);
    assert_true(fabs(novelty.threshold - (sum / EXAMPLES + 1.64 * sqrt(squares / (EXAMPLES - 1)))) <
                1e-9);
    novelty_clear(&novelty);
}

static void half_of_a_chip_is_what_the_others_like_it_have(void **state)
{
    (void)state;
    const float chips[] = {4, 5, 1, 1, 11, 4};
    const uint8_t skip[] = {1, 0, 0};
    struct novelty novelty;
    assert_int_equal(compute(&support, chips, 3, NULL, &novelty, NULL), 0);
    assert_true(fabs((double)novelty.values[0] - 0.5 * (25.0 + 9.0 / 2.0) / 2.4) < 1e-4);
    assert_true(fabs((double)novelty.values[1] - 0.5 * ((25.0 + 9.0) / 2.0) / 2.4) < 1e-4);
    assert_true(fabs((double)novelty.values[2] - 0.5 * (9.0 + 25.0 / 2.0) / 2.4) < 1e-4);
    novelty_clear(&novelty);

    assert_int_equal(compute(&support, chips, 3, skip, &novelty, NULL), 0);
    assert_true(novelty.values[0] == 0.0f);
    assert_true(fabs((double)novelty.values[1] - 0.5 * 9.0 / 2.4) < 1e-4);
    assert_true(fabs((double)novelty.values[2] - 0.5 * 9.0 / 2.4) < 1e-4);
    novelty_clear(&novelty);
}

/* Two crowds far from the class, one of them twice as far. Each chip of a crowd has the others of
 * its crowd around it, though there are more of the other one. */
static void it_is_the_nearest_that_count(void **state)
{
    (void)state;
    enum { NEAR = 80, FAR = 20, N = NEAR + FAR };
    float chips[2 * N];
    struct novelty novelty;
    for (uint32_t i = 0; i < N; i++) {
        chips[2 * i] = i < NEAR ? 31.0f : 61.0f;
        chips[2 * i + 1] = 1.0f;
    }
    assert_int_equal(compute(&support, chips, N, NULL, &novelty, NULL), 0);
    for (uint32_t i = 0; i < N; i++)
        assert_true(fabs((double)novelty.values[i] - (i < NEAR ? 400.0 : 2500.0) / 2.4) < 1e-2);
    novelty_clear(&novelty);
}

static void too_few_examples_or_equal_ones_are_refused(void **state)
{
    (void)state;
    const float chips[] = {4, 5};
    float equal[2 * EXAMPLES];
    struct novelty novelty;
    struct error err;
    const struct support few = {examples, class_of, EXAMPLES - 2, 2, 2};
    assert_int_equal(compute(&few, chips, 1, NULL, &novelty, &err), ERROR_INVALID);
    assert_string_equal(err.message, "unknown: class 1 has 3 examples, at least 5 are needed");
    for (uint32_t i = 0; i < 2 * EXAMPLES; i++)
        equal[i] = (float)class_of[i / 2] + 1.0f;
    const struct support alike = {equal, class_of, EXAMPLES, 2, 2};
    assert_int_equal(compute(&alike, chips, 1, NULL, &novelty, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "are alike"));
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    enum { N = 1000, DIMENSION = 50 };
    static float chips[N * DIMENSION], shown[EXAMPLES * DIMENSION];
    static uint8_t skip[N];
    struct random random;
    random_seed(&random, 3, 0);
    for (uint32_t i = 0; i < N * DIMENSION; i++)
        chips[i] =
            (float)(random_normal(&random) + (i % DIMENSION % 3 == i / DIMENSION % 3 ? 3 : 0));
    for (uint32_t i = 0; i < EXAMPLES * DIMENSION; i++)
        shown[i] = (float)(random_normal(&random) +
                           (i % DIMENSION % 3 == class_of[i / DIMENSION] ? 3 : 0));
    for (uint32_t i = 0; i < N; i += 7)
        skip[i] = 1;
    const struct support of = {shown, class_of, EXAMPLES, 2, DIMENSION};
    struct embeddings embeddings = in_memory(chips, N, DIMENSION);
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct space space;
    struct novelty alone, shared;
    embeddings.skip = skip;
    assert_int_equal(pool_create(&pool, 3, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(space_init(&space, &classifier_params_default, &of, &embeddings, NULL, NULL),
                     0);
    assert_int_equal(novelty_compute(&space, &embeddings, NULL, &alone, NULL), 0);
    assert_int_equal(novelty_compute(&space, &embeddings, lane, &shared, NULL), 0);
    assert_true(alone.threshold == shared.threshold);
    assert_memory_equal(alone.values, shared.values, N * sizeof(*alone.values));
    /* The third kind is the new one. */
    double sums[3] = {0};
    for (uint32_t i = 0; i < N; i++)
        sums[i % 3] += (double)alone.values[i];
    assert_true(sums[2] > 2.0 * sums[0] && sums[2] > 2.0 * sums[1]);
    novelty_clear(&alone);
    novelty_clear(&shared);
    space_clear(&space);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_measured_by_the_variance_within_classes),
        cmocka_unit_test(the_threshold_is_what_the_examples_have_when_left_out),
        cmocka_unit_test(half_of_a_chip_is_what_the_others_like_it_have),
        cmocka_unit_test(it_is_the_nearest_that_count),
        cmocka_unit_test(too_few_examples_or_equal_ones_are_refused),
        cmocka_unit_test(threads_do_not_change_a_byte),
    };
    return test_run(tests);
}
