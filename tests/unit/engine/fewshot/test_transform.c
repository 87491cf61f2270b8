#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/classifier.h"
#include "engine/random.h"

/* Gaussian clouds around one corner of a cube a class; returns n x dimension values. */
static float *draw_clouds(uint32_t n_classes, uint32_t per_class, uint32_t dimension, double apart,
                          uint64_t seed, uint32_t *class_of)
{
    float *vectors = calloc((size_t)n_classes * per_class * dimension, sizeof(*vectors));
    struct random random;
    random_seed(&random, seed, 0);
    for (uint32_t i = 0; i < n_classes * per_class; i++) {
        uint32_t c = i / per_class;
        if (class_of != NULL)
            class_of[i] = c;
        for (uint32_t d = 0; d < dimension; d++)
            vectors[(size_t)i * dimension + d] =
                (float)(1.0 + (d % n_classes == c ? apart : 0.0) + random_normal(&random));
    }
    return vectors;
}

/* Two images of the same clouds, the other one brighter and of three times the contrast. Measured
 * by its own image an example of that one stands for its class as if it came from here. */
static void examples_are_measured_by_their_own_image(void **state)
{
    (void)state;
    enum { N = 60, DIMENSION = 8, SHOTS = 3 };
    uint32_t class_of[N], classes[2 * SHOTS];
    float *chips = draw_clouds(2, N / 2, DIMENSION, 6.0, 4, class_of);
    float others[N * DIMENSION], examples[2 * SHOTS * DIMENSION];
    for (uint32_t i = 0; i < N * DIMENSION; i++)
        others[i] = 3.0f * chips[i] + 50.0f;
    for (uint32_t i = 0; i < 2 * SHOTS; i++) {
        /* The first example of each class is of this image, the others are of the other one. */
        const uint32_t chip = i * (N / 2 / SHOTS);
        classes[i] = class_of[chip];
        memcpy(examples + (size_t)i * DIMENSION,
               (i % SHOTS == 0 ? chips : others) + (size_t)chip * DIMENSION,
               DIMENSION * sizeof(float));
    }
    const struct embeddings here = {.n_chips = N, .dimension = DIMENSION, .values = chips};
    const struct embeddings there = {.n_chips = N, .dimension = DIMENSION, .values = others};
    struct reference own = {0}, other = {0};
    assert_int_equal(reference_take(&own, &here, NULL, NULL), 0);
    assert_int_equal(reference_take(&other, &there, NULL, NULL), 0);
    const struct reference *of_examples[2 * SHOTS];
    for (uint32_t i = 0; i < 2 * SHOTS; i++)
        of_examples[i] = i % SHOTS == 0 ? &own : &other;
    const struct references references = {&own, of_examples};
    struct classifier_params params = classifier_params_default;
    const struct support support = {examples, classes, 2 * SHOTS, 2, DIMENSION};
    struct classification c;
    params.references = &references;
    assert_int_equal(classifier_run(&params, &support, &here, NULL, &c, NULL), 0);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(c.labels[i], class_of[i]);
    classification_clear(&c);
    reference_clear(&own);
    reference_clear(&other);
    free(chips);
}

/* What is given in place of what would be learned changes no byte. */
static void the_chips_own_reference_may_be_given(void **state)
{
    (void)state;
    enum { N = 50, DIMENSION = 40, SHOTS = 4 };
    uint32_t class_of[N], classes[2 * SHOTS];
    float *chips = draw_clouds(2, N / 2, DIMENSION, 1.0, 6, class_of);
    float examples[2 * SHOTS * DIMENSION];
    for (uint32_t i = 0; i < 2 * SHOTS; i++) {
        classes[i] = class_of[i * 6];
        memcpy(examples + (size_t)i * DIMENSION, chips + (size_t)i * 6 * DIMENSION,
               DIMENSION * sizeof(float));
    }
    const struct embeddings here = {.n_chips = N, .dimension = DIMENSION, .values = chips};
    const struct support support = {examples, classes, 2 * SHOTS, 2, DIMENSION};
    struct reference own = {0};
    assert_int_equal(reference_take(&own, &here, NULL, NULL), 0);
    const struct reference *of_examples[2 * SHOTS];
    for (uint32_t i = 0; i < 2 * SHOTS; i++)
        of_examples[i] = &own;
    const struct references references = {&own, of_examples};
    struct classifier_params params = classifier_params_default;
    struct classification learned, given;
    assert_int_equal(classifier_run(&params, &support, &here, NULL, &learned, NULL), 0);
    params.references = &references;
    assert_int_equal(classifier_run(&params, &support, &here, NULL, &given, NULL), 0);
    assert_memory_equal(learned.probabilities, given.probabilities, N * 2 * sizeof(float));
    assert_memory_equal(learned.distances, given.distances, N * sizeof(float));
    classification_clear(&given);
    /* Chips that were not looked at are. */
    struct error err;
    chips[7] = NAN;
    assert_int_equal(classifier_run(&params, &support, &here, NULL, &given, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "chip 0"));
    classification_clear(&learned);
    reference_clear(&own);
    free(chips);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_measured_by_their_own_image),
        cmocka_unit_test(the_chips_own_reference_may_be_given),
    };
    return test_run(tests);
}
