#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/help/suggestions.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/space.h"
#include "engine/random.h"

enum { DIMENSION = 3, CHIPS = 60, EXAMPLES = 4 };

struct scene {
    float chips[CHIPS * DIMENSION];
    uint8_t skip[CHIPS];
    struct support support;
    struct embeddings embeddings;
    struct space space;
    struct classification classification;
};

static const uint32_t classes[EXAMPLES] = {0, 0, 1, 1};

/* Chips around two points, of which the first four are the examples. */
static void make(struct scene *scene)
{
    struct classifier_params params = classifier_params_default;
    struct random random;
    params.transform = CLASSIFIER_TRANSFORM_NONE;
    random_seed(&random, 7, 0);
    memset(scene, 0, sizeof(*scene));
    for (int i = 0; i < CHIPS; i++) {
        const bool is_second = i < EXAMPLES ? classes[i] == 1 : i % 3 == 0;
        for (int d = 0; d < DIMENSION; d++)
            scene->chips[i * DIMENSION + d] =
                (float)(random_normal(&random) + (is_second == (d == 0) ? 6 : 1));
    }
    scene->support = (struct support){scene->chips, classes, EXAMPLES, 2, DIMENSION};
    scene->embeddings = (struct embeddings){
        .n_chips = CHIPS, .dimension = DIMENSION, .values = scene->chips, .skip = scene->skip};
    scene->skip[10] = 1;
    assert_int_equal(classifier_run_in(&scene->space, &params, &scene->support, &scene->embeddings,
                                       NULL, &scene->classification, NULL),
                     0);
}

static void clear(struct scene *scene)
{
    space_clear(&scene->space);
    classification_clear(&scene->classification);
}

static double product(const float *a, const float *b)
{
    double sum = 0;
    for (int d = 0; d < DIMENSION; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

static double squared_distance(const float *a, const float *b)
{
    return product(a, a) + product(b, b) - 2 * product(a, b);
}

static double mean_of_five(const struct scene *scene, int chip)
{
    double left[CHIPS], sum = 0;
    const float *vector = scene->chips + chip * DIMENSION;
    for (int i = 0; i < CHIPS; i++) {
        const float *other = scene->chips + i * DIMENSION;
        left[i] =
            i == chip || scene->skip[i]
                ? -2
                : product(vector, other) / sqrt(product(vector, vector) * product(other, other));
    }
    for (int n = 0; n < 5; n++) {
        int best = 0;
        for (int i = 1; i < CHIPS; i++)
            best = left[i] > left[best] ? i : best;
        sum += left[best];
        left[best] = -2;
    }
    return sum / 5;
}

/* The best chip of a class, by the definition of the header; `taken` of those before it. */
static int best_of(const struct scene *scene, uint32_t k, const int *taken, int n_taken,
                   double *score)
{
    double low = INFINITY, high = -INFINITY;
    int best = -1;
    *score = -1;
    for (int i = 0; i < CHIPS; i++) {
        if (scene->classification.labels[i] != k)
            continue;
        low = fmin(low, mean_of_five(scene, i));
        high = fmax(high, mean_of_five(scene, i));
    }
    for (int i = 0; i < CHIPS; i++) {
        const float *vector = scene->chips + i * DIMENSION;
        double nearest = INFINITY;
        if (scene->classification.labels[i] != k)
            continue;
        for (int e = 0; e < EXAMPLES; e++)
            nearest = fmin(nearest, squared_distance(vector, scene->chips + e * DIMENSION));
        for (int e = 0; e < n_taken; e++)
            nearest = fmin(nearest, squared_distance(vector, scene->chips + taken[e] * DIMENSION));
        const double of = nearest * (mean_of_five(scene, i) - low) / (high - low);
        if (of > *score) {
            *score = of;
            best = i;
        }
    }
    return best;
}

static void the_farthest_of_the_typical_come_first(void **state)
{
    (void)state;
    struct scene scene;
    struct suggestions suggestions;
    make(&scene);
    assert_int_equal(suggestions_make(&scene.space, &scene.classification, &scene.embeddings,
                                      &suggestions, NULL),
                     0);
    uint32_t at = 0;
    for (uint32_t k = 0; k < 2; k++) {
        int taken[5];
        for (int n = 0; n < 5; n++, at++) {
            double score;
            taken[n] = best_of(&scene, k, taken, n, &score);
            assert_int_equal(suggestions.items[at].class_index, k);
            assert_int_equal(suggestions.items[at].chip, taken[n]);
            assert_float_equal((double)suggestions.items[at].score, score, 1e-3);
        }
        while (at < suggestions.n && suggestions.items[at].class_index == k)
            at++;
    }
    for (uint32_t i = 0; i < suggestions.n; i++) {
        assert_true(suggestions.items[i].chip >= EXAMPLES && suggestions.items[i].chip != 10);
        if (i > 0 && suggestions.items[i].class_index == suggestions.items[i - 1].class_index)
            assert_true(suggestions.items[i].score <= suggestions.items[i - 1].score);
    }
    suggestions_clear(&suggestions);
    suggestions_clear(&suggestions);
    clear(&scene);
}

/* Of a large image no more is looked at, and no more comes. */
static void a_large_image_has_as_many(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    struct classifier_params params = classifier_params_default;
    struct suggestions suggestions;
    struct classification classification;
    struct space space;
    struct random random;
    float *chips = calloc(MANY * DIMENSION, sizeof(float));
    random_seed(&random, 1, 0);
    for (int i = 0; i < MANY * DIMENSION; i++)
        chips[i] = (float)random_normal(&random);
    const struct support support = {chips, classes, EXAMPLES, 2, DIMENSION};
    const struct embeddings embeddings = {.n_chips = MANY, .dimension = DIMENSION, .values = chips};
    assert_int_equal(
        classifier_run_in(&space, &params, &support, &embeddings, NULL, &classification, NULL), 0);
    assert_int_equal(suggestions_make(&space, &classification, &embeddings, &suggestions, NULL), 0);
    assert_int_equal(suggestions.n, SUGGESTIONS_MAX);
    assert_int_equal(suggestions.items[SUGGESTIONS_MAX / 2 - 1].class_index, 0);
    assert_int_equal(suggestions.items[SUGGESTIONS_MAX / 2].class_index, 1);
    suggestions_clear(&suggestions);
    /* Chips without a class are no candidates. */
    for (int i = 0; i < MANY; i++)
        classification.labels[i] = i % 2 == 0 ? LABEL_UNKNOWN : LABEL_NOT_ANALYSED;
    assert_int_equal(suggestions_make(&space, &classification, &embeddings, &suggestions, NULL), 0);
    assert_int_equal(suggestions.n, 0);
    suggestions_clear(&suggestions);
    classification_clear(&classification);
    space_clear(&space);
    free(chips);
}

static void the_class_with_the_fewest_examples_is_next(void **state)
{
    (void)state;
    const uint32_t left[3] = {1, 1, 1}, none[3] = {0}, last[3] = {0, 0, 2};
    assert_int_equal(suggestions_next_class((const uint32_t[]){3, 2, 2}, left, 3), 1);
    assert_int_equal(suggestions_next_class((const uint32_t[]){2, 2, 3}, left, 3), 0);
    assert_int_equal(suggestions_next_class((const uint32_t[]){1, 1, 3}, last, 3), 2);
    assert_int_equal(suggestions_next_class((const uint32_t[]){1, 1, 3}, none, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_farthest_of_the_typical_come_first),
        cmocka_unit_test(a_large_image_has_as_many),
        cmocka_unit_test(the_class_with_the_fewest_examples_is_next),
    };
    return test_run(tests);
}
