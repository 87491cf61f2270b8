#include "tests/test.h"

#include <float.h>
#include <math.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/random.h"

static struct classifier_params params_of(enum classifier_distance distance,
                                          enum classifier_transform transform, double temperature)
{
    return (struct classifier_params){
        .distance = distance, .transform = transform, .temperature = temperature};
}

/* Classifies chips that are in memory. */
static int classify(const struct classifier_params *params, const struct support *support,
                    const float *chips, uint64_t n_chips, struct pool_lane *lane,
                    struct classification *out, struct error *err)
{
    const struct embeddings embeddings = {
        .n_chips = n_chips, .dimension = support->dimension, .values = chips};
    return classifier_run(params, support, &embeddings, lane, out, err);
}

/* Every row sums to one, labels are the most probable classes, nothing is NaN. */
static void check_consistent(const struct classification *c)
{
    assert_true(c->temperature > 0.0 && isfinite(c->temperature));
    for (uint64_t i = 0; i < c->n_chips; i++) {
        const float *row = c->probabilities + i * c->n_classes;
        double sum = 0.0;
        for (uint32_t k = 0; k < c->n_classes; k++) {
            assert_true(row[k] >= 0.0f && row[k] <= row[c->labels[i]]);
            sum += row[k];
        }
        assert_true(fabs(sum - 1.0) < 1e-5);
        float margin = classification_margin(c, i);
        assert_true(margin >= 0.0f && margin <= 1.0f);
        assert_true(isfinite(c->distances[i]) && c->distances[i] >= 0.0f);
    }
}

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

static void names_round_trip(void **state)
{
    (void)state;
    for (int i = 0; i <= CLASSIFIER_COSINE; i++) {
        enum classifier_distance distance;
        const char *name = classifier_distance_name((enum classifier_distance)i);
        assert_int_equal(classifier_distance_parse(name, &distance, NULL), 0);
        assert_int_equal(distance, i);
    }
    for (int i = 0; i <= CLASSIFIER_TRANSFORM_STANDARDISE; i++) {
        enum classifier_transform transform;
        const char *name = classifier_transform_name((enum classifier_transform)i);
        assert_int_equal(classifier_transform_parse(name, &transform, NULL), 0);
        assert_int_equal(transform, i);
    }
    struct error err;
    enum classifier_distance untouched = CLASSIFIER_COSINE;
    assert_int_equal(classifier_distance_parse("manhattan", &untouched, &err), ERROR_INVALID);
    assert_int_equal(untouched, CLASSIFIER_COSINE);
    assert_non_null(strstr(err.message, "manhattan"));
}

/* Hand-computed: prototypes (0,1) of two examples and (4,1) of one, chip (1,1): squared distances 1
 * and 9. The variance within a class is (1 + 1) / (3 - 2) = 2, so that 1 and 2 are taken off. */
static void distances_and_probabilities_are_the_formula(void **state)
{
    (void)state;
    const float examples[] = {0, 0, 0, 2, 4, 1};
    const uint32_t class_of[] = {0, 0, 1};
    const struct support support = {examples, class_of, 3, 2, 2};
    const float chips[] = {1, 1, 4, 1, 1.875f, 7, 0, 3};
    struct classifier_params params =
        params_of(CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_NONE, 4.0);
    struct classification c;
    assert_int_equal(classify(&params, &support, chips, 4, NULL, &c, NULL), 0);
    assert_true(fabs(c.probabilities[0] - 1.0 / (1.0 + exp(-7.0 / 4.0))) < 1e-6);
    assert_int_equal(c.labels[0], 0);
    assert_true(c.distances[0] == 0.0f && c.distances[1] == 0.0f); /* never below */
    assert_true(fabsf(c.distances[3] - 3.0f) < 1e-6f);
    assert_int_equal(c.labels[1], 1);
    /* Equally far from both: the lower index, even odds. */
    assert_int_equal(c.labels[2], 0);
    assert_true(c.probabilities[4] == 0.5f && c.probabilities[5] == 0.5f);
    assert_true(classification_margin(&c, 2) == 0.0f);
    classification_clear(&c);

    params = params_of(CLASSIFIER_COSINE, CLASSIFIER_TRANSFORM_NONE, 1.0);
    assert_int_equal(classify(&params, &support, chips, 3, NULL, &c, NULL), 0);
    /* cos of (1,1) with (4,1) is 5 / sqrt(34), with (0,1) it is 1 / sqrt(2). */
    assert_int_equal(c.labels[0], 1);
    assert_true(fabs(c.distances[0] - (1.0 - 5.0 / sqrt(34.0))) < 1e-6);
    classification_clear(&c);
}

static void standardise_ignores_scale_offset_and_constant_dimensions(void **state)
{
    (void)state;
    enum { N = 40, DIMENSION = 6 };
    float *chips = draw_clouds(2, N / 2, DIMENSION, 3.0, 3, NULL);
    for (uint32_t i = 0; i < N; i++)
        chips[i * DIMENSION + 5] = 0.1f; /* not a binary fraction: rounding must not matter */
    const uint32_t class_of[] = {0, 1};
    float examples[2 * DIMENSION];
    memcpy(examples, chips, sizeof(examples) / 2);
    memcpy(examples + DIMENSION, chips + (N - 1) * DIMENSION, sizeof(examples) / 2);
    struct support support = {examples, class_of, 2, 2, DIMENSION};
    struct classification plain, scaled;
    assert_int_equal(classify(&classifier_params_default, &support, chips, N, NULL, &plain, NULL),
                     0);
    check_consistent(&plain);
    for (uint32_t i = 0; i < N * DIMENSION; i++)
        chips[i] = i % DIMENSION == 5 ? 0.1f : 1024.0f * chips[i] + 4096.0f;
    for (uint32_t i = 0; i < 2 * DIMENSION; i++)
        examples[i] = i % DIMENSION == 5 ? 0.1f : 1024.0f * examples[i] + 4096.0f;
    /* An example's own offset in a dimension in which the chips do not vary counts for nothing. */
    examples[5] = 77.0f;
    assert_int_equal(classify(&classifier_params_default, &support, chips, N, NULL, &scaled, NULL),
                     0);
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(plain.labels[i], scaled.labels[i]);
        assert_true(fabsf(plain.probabilities[2 * i] - scaled.probabilities[2 * i]) < 1e-3f);
    }
    classification_clear(&plain);
    classification_clear(&scaled);
    free(chips);
}

static void every_transform_and_distance_separates_clouds(void **state)
{
    (void)state;
    enum { CLASSES = 3, PER_CLASS = 60, DIMENSION = 33, SHOTS = 5 };
    uint32_t truth[CLASSES * PER_CLASS], class_of[CLASSES * SHOTS];
    float *chips = draw_clouds(CLASSES, PER_CLASS, DIMENSION, 3.0, 4, truth);
    float *examples = draw_clouds(CLASSES, SHOTS, DIMENSION, 3.0, 5, class_of);
    const struct support support = {examples, class_of, CLASSES * SHOTS, CLASSES, DIMENSION};
    for (int d = 0; d <= CLASSIFIER_COSINE; d++) {
        for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
            struct classifier_params params =
                params_of((enum classifier_distance)d, (enum classifier_transform)t, 0.0);
            struct classification c;
            assert_int_equal(
                classify(&params, &support, chips, CLASSES * PER_CLASS, NULL, &c, NULL), 0);
            check_consistent(&c);
            float most = 0.0f, least = 1.0f;
            for (uint32_t i = 0; i < CLASSES * PER_CLASS; i++) {
                assert_int_equal(c.labels[i], truth[i]);
                most = fmaxf(most, c.probabilities[i * CLASSES + c.labels[i]]);
                least = fminf(least, c.probabilities[i * CLASSES + c.labels[i]]);
            }
            assert_true(most > 0.8f);
            assert_true(least > 0.4f);
            classification_clear(&c);
        }
    }
    free(chips);
    free(examples);
}

/* Two prototypes on a line, chips from one to the other: probability falls as distance grows. */
static void probability_is_monotone_in_distance(void **state)
{
    (void)state;
    const float examples[] = {0.1f, -0.1f, 10.1f, 9.9f};
    const uint32_t class_of[] = {0, 0, 1, 1};
    const struct support support = {examples, class_of, 4, 2, 1};
    struct classifier_params params =
        params_of(CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_NONE, 0.0);
    float chips[21];
    for (int i = 0; i < 21; i++)
        chips[i] = 0.5f * (float)i;
    struct classification c;
    assert_int_equal(classify(&params, &support, chips, 21, NULL, &c, NULL), 0);
    check_consistent(&c);
    for (int i = 1; i < 21; i++) {
        const float before = c.probabilities[2 * (i - 1)], now = c.probabilities[2 * i];
        assert_true(now < before || (now == before && (now < 1e-3f || now > 0.999f)));
    }
    assert_true(c.probabilities[0] > 0.7f);
    classification_clear(&c);
}

/* What the temperature minimises, of two classes on a line, each of two examples 2 a apart around
 * -1 and 1: the variance within a class is 2 a^2; left out, an example is 4 a^2 - 2 a^2 from its
 * own class and (2 +- a)^2 - a^2 from the other. Of the squared distance between the prototypes, 4,
 * a^2 + a^2 are by chance. */
static double expected_loss(double temperature, double a)
{
    const double variance = 2 * a * a, own = 2 * a * a;
    const double share = fmax(1 - 2 * a * a / 4, 0.7);
    const double deviations = log(temperature * share / (0.36 * variance)) / 0.5;
    double loss = 0.5 * deviations * deviations;
    for (int side = -1; side <= 1; side += 2)
        loss += 2 * log(1 + exp(-(4 + 4 * side * a - own) / temperature));
    return loss;
}

static void auto_temperature_is_the_minimum(void **state)
{
    (void)state;
    const float spreads[] = {0.125f, 0.5f, 0.75f, 0.875f};
    const uint32_t class_of[] = {0, 0, 1, 1};
    struct classifier_params params =
        params_of(CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_NONE, 0.0);
    for (int i = 0; i < 4; i++) {
        const float a = spreads[i];
        const float examples[] = {-1 - a, -1 + a, 1 - a, 1 + a};
        const struct support support = {examples, class_of, 4, 2, 1};
        struct classification c;
        assert_int_equal(classify(&params, &support, examples, 4, NULL, &c, NULL), 0);
        const double least = expected_loss(c.temperature, (double)a);
        assert_true(least < expected_loss(c.temperature * 1.001, (double)a));
        assert_true(least < expected_loss(c.temperature / 1.001, (double)a));
        classification_clear(&c);
    }
}

/* One class has five examples, the other one: the mean of one lies farther off, and a chip between
 * the two would too often be of the class with five. Clouds of equal spread: half of the chips. */
static void unequal_numbers_of_examples_do_not_decide(void **state)
{
    (void)state;
    enum { DIMENSION = 64, PER_CLASS = 100, MANY = 5, TRIES = 20 };
    const uint32_t class_of[] = {0, 0, 0, 0, 0, 1};
    struct classifier_params params =
        params_of(CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_NONE, 0.0);
    uint32_t n_first = 0;
    for (uint32_t try = 0; try < TRIES; try++) {
        float *drawn = draw_clouds(2, PER_CLASS, DIMENSION, 1.0, 100 + try, NULL);
        float examples[(MANY + 1) * DIMENSION];
        memcpy(examples, drawn, MANY * DIMENSION * sizeof(float));
        memcpy(examples + MANY * DIMENSION, drawn + (size_t)PER_CLASS * DIMENSION,
               DIMENSION * sizeof(float));
        const struct support support = {examples, class_of, MANY + 1, 2, DIMENSION};
        struct classification c;
        assert_int_equal(classify(&params, &support, drawn, 2 * PER_CLASS, NULL, &c, NULL), 0);
        for (uint32_t i = 0; i < 2 * PER_CLASS; i++)
            n_first += c.labels[i] == 0;
        classification_clear(&c);
        free(drawn);
    }
    const double share = (double)n_first / (2 * PER_CLASS * TRIES);
    assert_true(fabs(share - 0.5) < 0.05);
}

/* One dimension of many tells the classes apart, and hardly varies within them. Over the image it
 * varies as much as the others, in which nothing is said: 0.72 of the chips would be right if that
 * alone counted. The examples say what varies within their classes. */
static void what_varies_within_classes_counts_less(void **state)
{
    (void)state;
    enum { N = 600, DIMENSION = 64, SHOTS = 11 };
    uint32_t class_of[2 * SHOTS], n_right = 0;
    float *chips = draw_clouds(1, N, DIMENSION, 0.0, 17, NULL);
    float *examples = draw_clouds(1, 2 * SHOTS, DIMENSION, 0.0, 18, NULL);
    for (uint32_t i = 0; i < N; i++)
        chips[i * DIMENSION] = 0.2f * chips[i * DIMENSION] + (i % 2 == 0 ? 2.0f : 0.0f);
    for (uint32_t i = 0; i < 2 * SHOTS; i++) {
        class_of[i] = i % 2;
        examples[i * DIMENSION] = 0.2f * examples[i * DIMENSION] + (i % 2 == 0 ? 2.0f : 0.0f);
    }
    const struct support support = {examples, class_of, 2 * SHOTS, 2, DIMENSION};
    struct classification c;
    assert_int_equal(classify(&classifier_params_default, &support, chips, N, NULL, &c, NULL), 0);
    for (uint32_t i = 0; i < N; i++)
        n_right += c.labels[i] == i % 2;
    assert_true(n_right > N * 9 / 10);
    classification_clear(&c);
    free(chips);
    free(examples);
}

static void single_examples_and_mixed_counts_work(void **state)
{
    (void)state;
    const float examples[] = {0, 0, 8, 0, 0, 8, 1, 0};
    const uint32_t one_each[] = {0, 1, 2};
    const uint32_t mixed[] = {0, 1, 2, 0};
    struct classifier_params params =
        params_of(CLASSIFIER_SQUARED_EUCLIDEAN, CLASSIFIER_TRANSFORM_NONE, 0.0);
    struct classification c;
    struct support support = {examples, one_each, 3, 3, 2};
    const float chips[] = {1, 0, 8, 2, 0, 9}; /* 1, 4 and 1 from the nearest */
    assert_int_equal(classify(&params, &support, chips, 3, NULL, &c, NULL), 0);
    check_consistent(&c);
    assert_int_equal(c.labels[0], 0);
    assert_true(fabs(c.temperature - 0.3) < 1e-9); /* of the median of these */
    classification_clear(&c);
    support = (struct support){examples, mixed, 4, 3, 2};
    assert_int_equal(classify(&params, &support, examples, 4, NULL, &c, NULL), 0);
    check_consistent(&c);
    classification_clear(&c);
}

/* Support sets without any information: no NaN, no pretended certainty. */
static void indistinguishable_classes_give_even_odds(void **state)
{
    (void)state;
    enum { DIMENSION = 7, N = 30 };
    float *chips = draw_clouds(1, N, DIMENSION, 0.0, 6, NULL);
    float examples[8 * DIMENSION];
    const uint32_t class_of[] = {0, 0, 0, 1, 1, 1, 1, 1};
    for (int i = 0; i < 8; i++)
        memcpy(examples + i * DIMENSION, chips + DIMENSION, DIMENSION * sizeof(float));
    const struct support support = {examples, class_of, 8, 2, DIMENSION};
    for (int d = 0; d <= CLASSIFIER_COSINE; d++) {
        for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
            struct classifier_params params =
                params_of((enum classifier_distance)d, (enum classifier_transform)t, 0.0);
            struct classification c;
            assert_int_equal(classify(&params, &support, chips, N, NULL, &c, NULL), 0);
            check_consistent(&c);
            for (int i = 0; i < 2 * N; i++)
                assert_true(fabsf(c.probabilities[i] - 0.5f) < 1e-3f);
            classification_clear(&c);
        }
    }
    /* All chips alike, all zero. */
    memset(chips, 0, N * DIMENSION * sizeof(*chips));
    memset(examples, 0, sizeof(examples));
    struct classification c;
    assert_int_equal(classify(&classifier_params_default, &support, chips, N, NULL, &c, NULL), 0);
    check_consistent(&c);
    assert_true(c.probabilities[0] == 0.5f);
    classification_clear(&c);
    free(chips);
}

static void extreme_values_stay_finite(void **state)
{
    (void)state;
    const float examples[] = {FLT_MAX, 0, -FLT_MAX, 0, FLT_MIN, FLT_MAX};
    const uint32_t class_of[] = {0, 1, 1};
    const struct support support = {examples, class_of, 3, 2, 2};
    const double temperatures[] = {0.0, 1e-300, 1e300};
    for (int d = 0; d <= CLASSIFIER_COSINE; d++) {
        for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
            for (int i = 0; i < 3; i++) {
                struct classifier_params params = params_of(
                    (enum classifier_distance)d, (enum classifier_transform)t, temperatures[i]);
                struct classification c;
                assert_int_equal(classify(&params, &support, examples, 3, NULL, &c, NULL), 0);
                check_consistent(&c);
                classification_clear(&c);
            }
        }
    }
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    const float examples[] = {0, 0, 1, 1};
    const uint32_t class_of[] = {0, 1}, one_class[] = {0, 0}, beyond[] = {0, 2};
    const struct support good = {examples, class_of, 2, 2, 2};
    struct classifier_params params = classifier_params_default;
    struct classification c = {.n_chips = 99};
    struct error err;
    float bad[] = {0, 0, NAN, 0};
    assert_int_equal(classify(&params, &good, bad, 2, NULL, &c, &err), ERROR_INVALID);
    assert_string_equal(err.message, "chip 1: the embedding is not finite");
    bad[2] = INFINITY;
    assert_int_equal(classify(&params, &good, bad, 2, NULL, &c, &err), ERROR_INVALID);
    struct support support = good;
    support.embeddings = bad;
    assert_int_equal(classify(&params, &support, examples, 2, NULL, &c, &err), ERROR_INVALID);
    assert_string_equal(err.message, "example 1: the embedding is not finite");
    support = good;
    support.class_of = one_class;
    assert_int_equal(classify(&params, &support, examples, 2, NULL, &c, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "class 1"));
    support.class_of = beyond;
    assert_int_equal(classify(&params, &support, examples, 2, NULL, &c, &err), ERROR_INVALID);
    support = good;
    support.n_classes = 1;
    assert_int_equal(classify(&params, &support, examples, 2, NULL, &c, &err), ERROR_INVALID);
    support.n_classes = CLASSIFIER_CLASSES_MAX + 1;
    assert_int_equal(classify(&params, &support, examples, 2, NULL, &c, &err), ERROR_INVALID);
    assert_int_equal(classify(&params, &good, examples, 0, NULL, &c, &err), ERROR_INVALID);
    assert_int_equal(classify(&params, &good, examples, UINT64_MAX / 2, NULL, &c, &err),
                     ERROR_INVALID);
    const double temperatures[] = {-1.0, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        params.temperature = temperatures[i];
        assert_int_equal(classify(&params, &good, examples, 2, NULL, &c, &err), ERROR_INVALID);
    }
    assert_int_equal(c.n_chips, 99); /* outputs are set only on success */
}

/* Whoever helps: nobody, or pools of different size. The dimensions and the chips fill no whole
 * number of the parts that threads take. */
static void same_input_gives_the_same_bytes(void **state)
{
    (void)state;
    enum { CLASSES = 4, PER_CLASS = 75, DIMENSION = 301, POOLS = 4 };
    static uint32_t class_of[CLASSES * PER_CLASS];
    float *chips = draw_clouds(CLASSES, PER_CLASS, DIMENSION, 1.0, 8, class_of);
    const struct support support = {chips, class_of, CLASSES * PER_CLASS, CLASSES, DIMENSION};
    const size_t n = (size_t)CLASSES * PER_CLASS;
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        const struct classifier_params params =
            params_of(CLASSIFIER_SQUARED_EUCLIDEAN, (enum classifier_transform)t, 0.0);
        struct classification a, b;
        assert_int_equal(classify(&params, &support, chips, n, NULL, &a, NULL), 0);
        for (uint32_t n_workers = 1; n_workers <= POOLS; n_workers++) {
            struct pool *pool = NULL;
            struct pool_lane *lane = NULL;
            assert_int_equal(pool_create(&pool, n_workers, 8, NULL), 0);
            assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
            assert_int_equal(classify(&params, &support, chips, n, lane, &b, NULL), 0);
            assert_true(a.temperature == b.temperature);
            assert_memory_equal(a.labels, b.labels, n * sizeof(*a.labels));
            assert_memory_equal(a.probabilities, b.probabilities, n * CLASSES * sizeof(float));
            assert_memory_equal(a.distances, b.distances, n * sizeof(float));
            classification_clear(&b);
            classification_clear(&b);
            pool_lane_destroy(lane);
            pool_destroy(pool);
        }
        classification_clear(&a);
    }
    free(chips);
}

/* Chips that are left out are as if they were not there: for the statistics of every transform and
 * for the temperature, which single examples leave to the chips. */
static void chips_that_are_left_out_are_as_if_absent(void **state)
{
    (void)state;
    enum { CLASSES = 3, PER_CLASS = 500, N = CLASSES * PER_CLASS, DIMENSION = 9 };
    static const uint32_t class_of[CLASSES] = {0, 1, 2};
    float *all = draw_clouds(CLASSES, PER_CLASS, DIMENSION, 3.0, 11, NULL);
    float *some = calloc((size_t)N * DIMENSION, sizeof(*some));
    uint8_t *skip = calloc(N, 1);
    uint64_t n = 0;
    assert_true(all != NULL && some != NULL && skip != NULL);
    for (uint64_t i = 0; i < N; i++) {
        skip[i] = i % 7 == 0 || (i > 600 && i < 700);
        if (skip[i] == 0)
            memcpy(some + DIMENSION * n++, all + DIMENSION * i, DIMENSION * sizeof(*all));
    }
    const float examples[CLASSES * DIMENSION] = {
        [0] = 4, [DIMENSION + 1] = 4, [2 * DIMENSION + 2] = 4};
    const struct support support = {examples, class_of, CLASSES, CLASSES, DIMENSION};
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        const struct classifier_params params =
            params_of(CLASSIFIER_SQUARED_EUCLIDEAN, (enum classifier_transform)t, 0.0);
        const struct embeddings chips = {
            .n_chips = N, .skip = skip, .dimension = DIMENSION, .values = all};
        struct classification one, other;
        assert_int_equal(classifier_run(&params, &support, &chips, NULL, &one, NULL), 0);
        assert_int_equal(classify(&params, &support, some, n, NULL, &other, NULL), 0);
        assert_true(one.temperature == other.temperature);
        for (uint64_t i = 0, k = 0; i < N; i++) {
            if (skip[i] != 0) {
                assert_int_equal(one.labels[i], LABEL_NOT_ANALYSED);
                assert_true(classification_probability(&one, i) == 0.0f);
                continue;
            }
            assert_int_equal(one.labels[i], other.labels[k]);
            assert_memory_equal(one.probabilities + CLASSES * i, other.probabilities + CLASSES * k,
                                CLASSES * sizeof(float));
            k++;
        }
        classification_clear(&one);
        classification_clear(&other);
    }
    free(all);
    free(some);
    free(skip);
}

static void something_must_be_analysed(void **state)
{
    (void)state;
    static const uint8_t skip[2] = {1, 1};
    static const float values[2] = {1, 2};
    static const uint32_t class_of[2] = {0, 1};
    const struct support support = {values, class_of, 2, 2, 1};
    const struct embeddings chips = {.n_chips = 2, .skip = skip, .dimension = 1, .values = values};
    struct classification out;
    struct error err;
    assert_int_equal(classifier_run(&classifier_params_default, &support, &chips, NULL, &out, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message, "chips: 0 of 2 are analysed, at least 1 is needed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(distances_and_probabilities_are_the_formula),
        cmocka_unit_test(standardise_ignores_scale_offset_and_constant_dimensions),
        cmocka_unit_test(every_transform_and_distance_separates_clouds),
        cmocka_unit_test(probability_is_monotone_in_distance),
        cmocka_unit_test(auto_temperature_is_the_minimum),
        cmocka_unit_test(unequal_numbers_of_examples_do_not_decide),
        cmocka_unit_test(what_varies_within_classes_counts_less),
        cmocka_unit_test(single_examples_and_mixed_counts_work),
        cmocka_unit_test(indistinguishable_classes_give_even_odds),
        cmocka_unit_test(extreme_values_stay_finite),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(chips_that_are_left_out_are_as_if_absent),
        cmocka_unit_test(something_must_be_analysed),
        cmocka_unit_test(same_input_gives_the_same_bytes),
    };
    return test_run(tests);
}
