#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/evaluate.h"
#include "engine/random.h"

enum { DIMENSION = 16 };

static const struct evaluate_params params = {
    .shots = {5},
    .n_shots = 1,
    .episodes = 20,
    .seed = 0,
    .classifier = {CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_L2, 1.0}};

/* Chips in the given order of classes; `apart` standard deviations between class centres. */
static float *draw(const uint32_t *class_of, uint32_t n, double apart)
{
    float *embeddings = calloc((size_t)n * DIMENSION, sizeof(*embeddings));
    struct random random;
    random_seed(&random, 11, 0);
    for (uint32_t i = 0; i < n * DIMENSION; i++)
        embeddings[i] = (float)(random_normal(&random) +
                                (i % DIMENSION == class_of[i / DIMENSION] ? apart : 0.0));
    return embeddings;
}

static void separable_groups_score_one_and_noise_scores_chance(void **state)
{
    (void)state;
    enum { N = 120 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 3;
    struct evaluate_group group;
    float *far = draw(class_of, N, 40.0);
    assert_int_equal(evaluate_group(&params, far, class_of, N, 3, DIMENSION, &group, NULL, NULL),
                     0);
    assert_true(group.score == 1.0 && group.spread == 0.0);
    assert_int_equal(group.n_classes, 3);
    assert_int_equal(group.n_chips, N);
    float *noise = draw(class_of, N, 0.0);
    assert_int_equal(evaluate_group(&params, noise, class_of, N, 3, DIMENSION, &group, NULL, NULL),
                     0);
    assert_true(fabs(group.score - 1.0 / 3.0) < 0.08);
    assert_true(group.spread > 0.0 && group.spread < 0.2);
    free(far);
    free(noise);
}

/* 100 chips of one class and 12 of another that cannot be told apart: mean recall stays at a half,
 * whatever the shares. */
static void score_is_balanced(void **state)
{
    (void)state;
    enum { N = 112 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i < 12;
    float *noise = draw(class_of, N, 0.0);
    struct evaluate_group group;
    struct evaluate_params many = params;
    many.episodes = 200;
    assert_int_equal(evaluate_group(&many, noise, class_of, N, 2, DIMENSION, &group, NULL, NULL),
                     0);
    assert_true(fabs(group.score - 0.5) < 0.08);
    free(noise);
}

static void small_classes_are_left_out_and_lonely_groups_skipped(void **state)
{
    (void)state;
    enum { N = 12 + 12 + 11 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i < 12 ? 7 : i < 24 ? 2 : 5; /* class indices need not be dense */
    float *far = draw(class_of, N, 40.0);
    struct evaluate_group group;
    assert_int_equal(evaluate_group(&params, far, class_of, N, 9, DIMENSION, &group, NULL, NULL),
                     0);
    assert_int_equal(group.n_classes, 2);
    assert_int_equal(group.n_chips, 24);
    assert_true(group.score == 1.0);
    assert_int_equal(evaluate_group(&params, far, class_of, 20, 9, DIMENSION, &group, NULL, NULL),
                     0);
    assert_int_equal(group.n_classes, 1);
    assert_true(isnan(group.score));
    assert_int_equal(evaluate_group(&params, far, class_of, 0, 9, DIMENSION, &group, NULL, NULL),
                     0);
    assert_int_equal(group.n_classes, 0);
    free(far);
}

static void seeds_decide_the_draws(void **state)
{
    (void)state;
    enum { N = 60 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 2;
    float *near = draw(class_of, N, 1.0);
    struct evaluate_group a, b, c;
    struct evaluate_params other = params;
    other.seed = 1;
    assert_int_equal(evaluate_group(&params, near, class_of, N, 2, DIMENSION, &a, NULL, NULL), 0);
    assert_int_equal(evaluate_group(&params, near, class_of, N, 2, DIMENSION, &b, NULL, NULL), 0);
    assert_int_equal(evaluate_group(&other, near, class_of, N, 2, DIMENSION, &c, NULL, NULL), 0);
    assert_true(a.score == b.score && a.spread == b.spread);
    assert_true(a.score != c.score);
    free(near);
}

/* With embeddings that name the chip and 11 of 12 chips as shots, the one asked is right only when
 * no chip serves twice: the prototype of the others must not contain it. */
static void shots_are_drawn_without_replacement(void **state)
{
    (void)state;
    enum { N = 24 };
    uint32_t class_of[N];
    float embeddings[N];
    for (uint32_t i = 0; i < N; i++) {
        class_of[i] = i / 12;
        /* One outlier a class lies on the other's side: asked, it is wrong; else all is right. */
        embeddings[i] = (i / 12 == 0 ? -1.0f : 1.0f) * (i % 12 == 0 ? -3.0f : 1.0f);
    }
    struct evaluate_params all = {
        .shots = {11}, .n_shots = 1, .episodes = 1200, .seed = 3, .classifier = params.classifier};
    all.classifier.transform = CLASSIFIER_TRANSFORM_NONE;
    struct evaluate_group group;
    assert_int_equal(evaluate_group(&all, embeddings, class_of, N, 2, 1, &group, NULL, NULL), 0);
    /* Each class is asked its outlier in one draw of twelve. */
    assert_true(fabs(group.score - 11.0 / 12.0) < 0.03);
}

/* Clouds that overlap, one right temperature: what is said with probability p is right so often. A
 * tenth of that temperature says everything too surely. */
static void probabilities_are_held_against_what_is_right(void **state)
{
    (void)state;
    enum { N = 600 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 2;
    float *near = draw(class_of, N, 1.2);
    struct evaluate_params some = params;
    some.shots[0] = 11;
    some.classifier.transform = CLASSIFIER_TRANSFORM_NONE;
    some.classifier.temperature = 2.0; /* twice the variance of a dimension */
    struct evaluate_group group;
    struct evaluate_calibration right = {0}, sure = {0}, none = {0};
    assert_int_equal(evaluate_group(&some, near, class_of, N, 2, DIMENSION, &group, &right, NULL),
                     0);
    some.classifier.temperature = 0.2;
    assert_int_equal(evaluate_group(&some, near, class_of, N, 2, DIMENSION, &group, &sure, NULL),
                     0);
    uint64_t n = 0, n_right = 0;
    for (int bin = 0; bin < EVALUATE_BINS; bin++) {
        n += right.n[bin];
        n_right += right.n_right[bin];
        assert_true(right.n_right[bin] <= right.n[bin]);
        assert_true(bin >= EVALUATE_BINS / 2 || right.n[bin] == 0); /* of two classes */
    }
    assert_int_equal(n, 20 * (N - 22));
    assert_true(fabs((double)n_right / (double)n - group.score) < 0.02);
    assert_true(evaluate_calibration_error(&sure) > 0.1);
    assert_true(evaluate_calibration_error(&right) < evaluate_calibration_error(&sure) / 2);
    assert_true(isnan(evaluate_calibration_error(&none)));
    free(near);
}

/* One example of one class and five of the other, in turn. */
static void numbers_of_shots_may_differ(void **state)
{
    (void)state;
    enum { N = 24 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 2;
    float *far = draw(class_of, N, 40.0);
    struct evaluate_params some = params;
    some.shots[0] = 1;
    some.shots[1] = 5;
    some.n_shots = 2;
    some.episodes = 3;
    struct evaluate_group group;
    struct evaluate_calibration asked = {0};
    assert_int_equal(evaluate_group(&some, far, class_of, N, 2, DIMENSION, &group, &asked, NULL),
                     0);
    uint64_t n = 0;
    for (int bin = 0; bin < EVALUATE_BINS; bin++)
        n += asked.n[bin];
    assert_int_equal(n, 3 * (N - 6));
    assert_true(group.score == 1.0);
    free(far);
}

/* A group that is asked lies apart from the one that gives examples. Measured each by itself they
 * are alike; with two views, the second of which is nearer, all episodes take that. */
static void groups_are_asked_by_examples_of_another(void **state)
{
    (void)state;
    enum { N = 60, TO = 45 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 3;
    float *from = draw(class_of, N, 12.0), *to = draw(class_of, TO, 12.0);
    float *apart = calloc((size_t)TO * DIMENSION, sizeof(float));
    for (uint32_t i = 0; i < TO * DIMENSION; i++)
        apart[i] = to[i] + (i % 2 == 0 ? 30.0f : -30.0f);
    const struct embeddings of_from = {.n_chips = N, .dimension = DIMENSION, .values = from};
    const struct embeddings of_to = {.n_chips = TO, .dimension = DIMENSION, .values = apart};
    struct reference a = {0}, b = {0};
    assert_int_equal(reference_take(&a, &of_from, NULL, NULL), 0);
    assert_int_equal(reference_take(&b, &of_to, NULL, NULL), 0);
    struct evaluate_params some = params;
    some.classifier.transform = CLASSIFIER_TRANSFORM_STANDARDISE;
    struct evaluate_pair pair = {.from_classes = class_of,
                                 .to_classes = class_of,
                                 .n_from = N,
                                 .n_to = TO,
                                 .n_classes = 3,
                                 .dimension = DIMENSION,
                                 .views = {{from, apart, &a, &b}, {from, to, &a, &a}},
                                 .n_views = 1};
    struct evaluate_group group;
    assert_int_equal(evaluate_across(&some, &pair, &group, NULL, NULL), 0);
    assert_int_equal(group.n_classes, 3);
    assert_int_equal(group.n_chips, TO);
    assert_true(group.score > 0.95 && group.second == 0.0);
    /* By the other group's the chips lie somewhere else. */
    pair.views[0].to_reference = &a;
    assert_int_equal(evaluate_across(&some, &pair, &group, NULL, NULL), 0);
    assert_true(group.score < 0.9);
    pair.n_views = 2;
    assert_int_equal(evaluate_across(&some, &pair, &group, NULL, NULL), 0);
    assert_true(group.score > 0.95 && group.second == 1.0);
    reference_clear(&a);
    reference_clear(&b);
    free(from);
    free(to);
    free(apart);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    const uint32_t class_of[] = {0, 3};
    const float embeddings[2] = {0};
    struct evaluate_params bad = params;
    struct evaluate_group group;
    struct error err;
    bad.shots[0] = EVALUATE_MIN_CLASS_SIZE;
    assert_int_equal(evaluate_group(&bad, embeddings, class_of, 2, 4, 1, &group, NULL, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message, "shots: 12, from 1 to 11 are allowed");
    bad = params;
    bad.episodes = 0;
    assert_int_equal(evaluate_group(&bad, embeddings, class_of, 2, 4, 1, &group, NULL, &err),
                     ERROR_INVALID);
    assert_int_equal(evaluate_group(&params, embeddings, class_of, 2, 3, 1, &group, NULL, &err),
                     ERROR_INVALID);
}

struct seen {
    uint32_t n_episodes, n_asked, n_right;
};

static int watch(void *context, const struct evaluate_episode *episode, struct error *err)
{
    (void)err;
    struct seen *seen = context;
    assert_int_equal(episode->seed, 7 + seen->n_episodes++);
    for (uint64_t i = 0; i < episode->chips->n_chips; i++) {
        seen->n_asked += episode->truths[i] != EVALUATE_NOT_ASKED;
        seen->n_right += episode->truths[i] == episode->chips->labels[i];
    }
    return 0;
}

/* 2 x 20 chips less 2 x 5 shots, and 5 of a class that is too small. */
static void who_watches_sees_what_was_asked(void **state)
{
    (void)state;
    enum { N = 45 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i < 5 ? 0 : 1 + i % 2;
    struct seen seen = {0};
    struct evaluate_params watched = params;
    struct evaluate_group group;
    watched.episodes = 3;
    watched.seed = 7;
    watched.watch = watch;
    watched.watch_context = &seen;
    float *far = draw(class_of, N, 40.0);
    assert_int_equal(evaluate_group(&watched, far, class_of, N, 3, DIMENSION, &group, NULL, NULL),
                     0);
    assert_int_equal(seen.n_episodes, 3);
    assert_int_equal(seen.n_asked, 3 * 30);
    assert_int_equal(seen.n_right, 3 * 30);
    free(far);
}

/* ---- unknown classes ---- */

static void the_area_under_the_curve_counts_pairs(void **state)
{
    (void)state;
    double high[] = {3, 5, 4}, low[] = {1, 2, 0, 2}, some[] = {2, 1}, same[] = {2, 2, 1, 0};
    assert_true(evaluate_auroc(high, 3, low, 4) == 1.0);
    assert_true(evaluate_auroc(low, 4, high, 3) == 0.0);
    /* 2: two equal, two below; 1: one equal, one below. */
    assert_true(evaluate_auroc(some, 2, same, 4) == (1.0 + 2.0 + 0.5 + 1.0) / 8.0);
    assert_true(isnan(evaluate_auroc(some, 2, same, 0)));
    assert_true(isnan(evaluate_auroc(some, 0, same, 4)));
}

static void a_class_without_examples_is_found(void **state)
{
    (void)state;
    enum { N = 120 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 3;
    struct evaluate_unknown group;
    float *far = draw(class_of, N, 40.0), *noise = draw(class_of, N, 0.0);
    assert_int_equal(evaluate_unknown(&params, far, class_of, N, 3, DIMENSION, &group, NULL), 0);
    assert_int_equal(group.n_classes, 3);
    assert_true(group.novelty == 1.0 && group.unknown_unknown == 1.0);
    assert_true(group.known_unknown < 0.3);
    assert_int_equal(evaluate_unknown(&params, noise, class_of, N, 3, DIMENSION, &group, NULL), 0);
    assert_true(fabs(group.novelty - 0.5) < 0.1 && fabs(group.probability - 0.5) < 0.1);
    assert_true(fabs(group.known_unknown - group.unknown_unknown) < 0.1);
    free(far);
    free(noise);
}

/* With two classes one is left, and no probability tells anything; a single one is skipped. */
static void one_class_may_be_left(void **state)
{
    (void)state;
    enum { N = 40 };
    uint32_t class_of[N];
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 2;
    struct evaluate_unknown group;
    struct error err;
    float *far = draw(class_of, N, 40.0);
    assert_int_equal(evaluate_unknown(&params, far, class_of, N, 2, DIMENSION, &group, NULL), 0);
    assert_true(group.novelty == 1.0 && isnan(group.probability));
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = 0;
    assert_int_equal(evaluate_unknown(&params, far, class_of, N, 1, DIMENSION, &group, NULL), 0);
    assert_int_equal(group.n_classes, 1);
    assert_true(isnan(group.novelty));

    struct evaluate_params few = params;
    few.shots[0] = 4;
    for (uint32_t i = 0; i < N; i++)
        class_of[i] = i % 2;
    assert_int_equal(evaluate_unknown(&few, far, class_of, N, 2, DIMENSION, &group, &err),
                     ERROR_INVALID);
    free(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(separable_groups_score_one_and_noise_scores_chance),
        cmocka_unit_test(score_is_balanced),
        cmocka_unit_test(small_classes_are_left_out_and_lonely_groups_skipped),
        cmocka_unit_test(seeds_decide_the_draws),
        cmocka_unit_test(shots_are_drawn_without_replacement),
        cmocka_unit_test(probabilities_are_held_against_what_is_right),
        cmocka_unit_test(numbers_of_shots_may_differ),
        cmocka_unit_test(groups_are_asked_by_examples_of_another),
        cmocka_unit_test(bad_parameters_are_refused),
        cmocka_unit_test(who_watches_sees_what_was_asked),
        cmocka_unit_test(the_area_under_the_curve_counts_pairs),
        cmocka_unit_test(a_class_without_examples_is_found),
        cmocka_unit_test(one_class_may_be_left),
    };
    return test_run(tests);
}
