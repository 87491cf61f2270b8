#include "tests/test.h"

#include "engine/fewshot/help/evaluate_help.h"
#include "engine/random.h"

enum { PER_CLASS = 20, CLASSES = 3, CHIPS = PER_CLASS * CLASSES, DIMENSION = 8 };

static float embeddings[CHIPS * DIMENSION];
static uint32_t class_of[CHIPS];

/* Classes `apart` deviations from each other. */
static struct evaluate_chips make(double apart)
{
    struct random random;
    random_seed(&random, 3, 0);
    for (int i = 0; i < CHIPS; i++) {
        class_of[i] = (uint32_t)(i % CLASSES);
        for (int d = 0; d < DIMENSION; d++)
            embeddings[i * DIMENSION + d] =
                (float)(random_normal(&random) + (d == i % CLASSES ? apart : 0));
    }
    return (struct evaluate_chips){embeddings, class_of, CHIPS, CLASSES, DIMENSION};
}

static struct evaluate_params some_params(uint32_t shots)
{
    return (struct evaluate_params){
        .shots = {shots}, .n_shots = 1, .episodes = 10, .classifier = classifier_params_default};
}

static void a_wrong_label_among_separate_classes_is_found(void **state)
{
    (void)state;
    const struct evaluate_chips chips = make(30);
    const struct evaluate_params params = some_params(5);
    struct evaluate_swapped swapped = {0}, again = {0};
    assert_int_equal(evaluate_swapped(&params, &chips, &swapped, NULL), 0);
    assert_int_equal(swapped.n_swapped, 10);
    assert_int_equal(swapped.n_found, 10);
    assert_int_equal(swapped.n_named, 10);
    assert_int_equal(swapped.n_right, 10 * (5 * CLASSES - 1));
    assert_int_equal(swapped.n_false, 0);
    assert_int_equal(evaluate_swapped(&params, &chips, &again, NULL), 0);
    assert_memory_equal(&swapped, &again, sizeof(swapped));
}

static void among_classes_that_are_one_it_is_not(void **state)
{
    (void)state;
    const struct evaluate_chips chips = make(0);
    const struct evaluate_params params = some_params(5);
    struct evaluate_swapped swapped = {0};
    assert_int_equal(evaluate_swapped(&params, &chips, &swapped, NULL), 0);
    const double found = (double)swapped.n_found / (double)swapped.n_swapped;
    const double flagged = (double)swapped.n_false / (double)swapped.n_right;
    assert_true(flagged > 0.2 && found < flagged + 0.5);
}

static void labels_teach(void **state)
{
    (void)state;
    const struct evaluate_chips chips = make(3);
    const struct evaluate_params params = some_params(2);
    struct evaluate_suggested suggested;
    assert_int_equal(evaluate_suggestions(&params, &chips, &suggested, NULL), 0);
    assert_int_equal(suggested.n_episodes, 10);
    assert_true(suggested.before > 0.5 && suggested.before < suggested.random);
    assert_true(suggested.before < suggested.suggested && suggested.suggested <= 1);
}

static void bad_questions_are_refused(void **state)
{
    (void)state;
    struct evaluate_chips chips = make(3);
    struct evaluate_swapped swapped = {0};
    struct evaluate_suggested suggested;
    struct error err = {0};
    struct evaluate_params params = some_params(1);
    assert_int_equal(evaluate_swapped(&params, &chips, &swapped, &err), ERROR_INVALID);
    assert_string_equal(err.message, "shots: 1, from 2 to 11 are allowed");
    params = some_params(5);
    assert_int_equal(evaluate_suggestions(&params, &chips, &suggested, &err), ERROR_INVALID);
    assert_string_equal(err.message, "shots: 5, from 1 to 4 are allowed");
    chips.n_classes = 2;
    assert_int_equal(evaluate_swapped(&params, &chips, &swapped, &err), ERROR_INVALID);
    /* One class that is large enough: there is nothing to tell apart. */
    chips = make(3);
    chips.n_chips = 20;
    for (uint32_t i = 0; i < chips.n_chips; i++)
        class_of[i] = i < 12 ? 0 : 1;
    params = some_params(2);
    assert_int_equal(evaluate_suggestions(&params, &chips, &suggested, &err), 0);
    assert_int_equal(suggested.n_episodes, 0);
    assert_int_equal(evaluate_swapped(&params, &chips, &swapped, &err), 0);
    assert_int_equal(swapped.n_swapped, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_label_among_separate_classes_is_found),
        cmocka_unit_test(among_classes_that_are_one_it_is_not),
        cmocka_unit_test(labels_teach),
        cmocka_unit_test(bad_questions_are_refused),
    };
    return test_run(tests);
}
