#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/drift.h"

static struct drift measure(const float *examples, const uint32_t *class_of, uint32_t n_examples,
                            const float *chips, uint64_t n_chips)
{
    const struct support support = {examples, class_of, n_examples, 2, 1};
    const struct embeddings embeddings = {.n_chips = n_chips, .dimension = 1, .values = chips};
    const struct classifier_params params = {.transform = CLASSIFIER_TRANSFORM_NONE};
    struct drift drift;
    assert_int_equal(drift_measure(&params, &support, &embeddings, NULL, &drift, NULL), 0);
    return drift;
}

/* Classes around 1 and 11, each of two examples 1 off its mean: v = 4 / (4 - 2) = 2, and r is the
 * squared distance over 2 (1 + 1/2) = 3. Left out, an example lies 2 from the other: r = 4 / 2 / 2
 * = 1 for each, without spread. */
static void the_distance_is_measured_in_what_another_example_would_have(void **state)
{
    (void)state;
    const float examples[] = {0, 2, 10, 12};
    const uint32_t class_of[] = {0, 0, 1, 1};
    const float near[] = {1, 0.5f, 11.5f, 12, 9}; /* squares 0, 0.25, 0.25, 1, 4 */
    struct drift drift = measure(examples, class_of, 4, near, 5);
    assert_true(fabs(drift.nearest - 0.25) < 1e-6);
    assert_true(fabs(drift.distance - 0.25 / 3.0) < 1e-6);
    assert_true(fabs(drift.limit - 1.0) < 1e-9);
    assert_false(drift_is_flagged(&drift));
    assert_true(drift_is_near(&drift));
    const float far[] = {6, 5, 7, 6}; /* squares 25, 16, 16, 25 */
    drift = measure(examples, class_of, 4, far, 4);
    assert_true(fabs(drift.distance - 20.5 / 3.0) < 1e-6);
    assert_true(drift_is_flagged(&drift));
    assert_true(drift_is_undecided(&drift));
    assert_false(drift_is_near(&drift));
}

/* A class of one example is compared by 1 + 1/1, and of the other class two say the variance. */
static void classes_count_by_their_examples(void **state)
{
    (void)state;
    const float examples[] = {0, 2, 11};
    const uint32_t class_of[] = {0, 0, 1};
    const float chips[] = {12};
    struct drift drift = measure(examples, class_of, 3, chips, 1); /* v = 2 / (3 - 2) */
    assert_true(fabs(drift.distance - 1.0 / (2.0 * 2.0)) < 1e-6);
}

static void one_example_a_class_says_nearest_alone(void **state)
{
    (void)state;
    const float examples[] = {0, 10};
    const uint32_t class_of[] = {0, 1};
    const float chips[] = {3, 8};
    struct drift drift = measure(examples, class_of, 2, chips, 2);
    assert_true(fabs(drift.nearest - 6.5) < 1e-6);
    assert_true(isnan(drift.distance));
    assert_false(drift_is_near(&drift));
    assert_false(drift_is_flagged(&drift));
    assert_true(drift_is_undecided(&drift));
    assert_false(drift_is_undecided(&(struct drift){.nearest = 1.4, .distance = NAN}));
}

static void the_support_is_preferred_where_it_is_much_nearer(void **state)
{
    (void)state;
    const struct drift own = {.nearest = 1.0, .distance = 2.0};
    assert_true(drift_prefers_support(&own, &(struct drift){.nearest = 1.0, .distance = 1.59}));
    assert_false(drift_prefers_support(&own, &(struct drift){.nearest = 0.1, .distance = 1.61}));
    const struct drift unknown = {.nearest = 1.0, .distance = NAN};
    assert_true(drift_prefers_support(&unknown, &(struct drift){.nearest = 0.79, .distance = NAN}));
    assert_false(
        drift_prefers_support(&unknown, &(struct drift){.nearest = 0.81, .distance = NAN}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_distance_is_measured_in_what_another_example_would_have),
        cmocka_unit_test(classes_count_by_their_examples),
        cmocka_unit_test(one_example_a_class_says_nearest_alone),
        cmocka_unit_test(the_support_is_preferred_where_it_is_much_nearer),
    };
    return test_run(tests);
}
