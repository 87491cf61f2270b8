#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/heads/head.h"
#include "engine/pool.h"
#include "engine/random.h"

enum { DIMENSION = 40, CHIPS = 600, PER_CLASS_MAX = 12 };

/* Two classes of equal numbers that differ in two dimensions of many, and chips of both in turn. */
struct rig {
    float chips[CHIPS * DIMENSION];
    float vectors[2 * PER_CLASS_MAX * DIMENSION];
    uint32_t class_of[2 * PER_CLASS_MAX];
    struct support support;
    struct embeddings embeddings;
    struct classifier_params params;
};

static void draw(float *out, uint32_t class_index, struct random *random)
{
    for (uint32_t d = 0; d < DIMENSION; d++)
        out[d] = (float)(random_normal(random) + (d < 2 && class_index == 1 ? 2.5 : 0.0));
}

static void set_up_drawn(struct rig *rig, uint32_t n_first, uint32_t n_second,
                         const struct head *head, uint64_t seed)
{
    struct random random;
    random_seed(&random, seed, 0);
    for (uint32_t i = 0; i < CHIPS; i++)
        draw(rig->chips + (size_t)i * DIMENSION, i % 2, &random);
    for (uint32_t i = 0; i < n_first + n_second; i++) {
        rig->class_of[i] = i >= n_first;
        draw(rig->vectors + (size_t)i * DIMENSION, rig->class_of[i], &random);
    }
    rig->support = (struct support){rig->vectors, rig->class_of, n_first + n_second, 2, DIMENSION};
    rig->embeddings =
        (struct embeddings){.n_chips = CHIPS, .dimension = DIMENSION, .values = rig->chips};
    rig->params = classifier_params_default;
    rig->params.head = head;
}

static void set_up(struct rig *rig, uint32_t n_first, uint32_t n_second, const struct head *head)
{
    set_up_drawn(rig, n_first, n_second, head, 11);
}

static struct classification run(const struct rig *rig, struct pool_lane *lane)
{
    struct classification out;
    struct error err = {0};
    if (classifier_run(&rig->params, &rig->support, &rig->embeddings, lane, &out, &err) != 0)
        fail_msg("%s", err.message);
    for (uint64_t i = 0; i < out.n_chips; i++) {
        const float *row = out.probabilities + 2 * i;
        assert_true(fabsf(row[0] + row[1] - 1.0f) < 1e-6f);
        assert_true(row[out.labels[i]] >= row[1 - out.labels[i]]);
        assert_true(isfinite(out.distances[i]) && out.distances[i] >= 0.0f);
    }
    return out;
}

static double share_right(const struct classification *c)
{
    uint32_t n = 0;
    for (uint64_t i = 0; i < c->n_chips; i++)
        n += c->labels[i] == i % 2;
    return (double)n / (double)c->n_chips;
}

static void dimensions_that_tell_classes_apart_count_more(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, 10, 10, &head_prototypes);
    struct classification prototypes = run(&rig, NULL);
    rig.params.head = &head_ridge;
    struct classification ridge = run(&rig, NULL);
    assert_ptr_equal(prototypes.head, &head_prototypes);
    assert_ptr_equal(ridge.head, &head_ridge);
    print_message("note: prototypes %.3f, ridge %.3f\n", share_right(&prototypes),
                  share_right(&ridge));
    assert_true(share_right(&ridge) > share_right(&prototypes));
    classification_clear(&prototypes);
    classification_clear(&ridge);
}

static void auto_takes_ridge_from_five_examples_on(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, second;
        enum classifier_distance distance;
        const struct head *head;
    } cases[] = {
        {5, 5, CLASSIFIER_SQUARED_EUCLIDEAN, &head_ridge},
        {4, 12, CLASSIFIER_SQUARED_EUCLIDEAN, &head_prototypes},
        {5, 5, CLASSIFIER_COSINE, &head_prototypes},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static struct rig rig;
        set_up(&rig, cases[i].first, cases[i].second, &head_auto);
        rig.params.distance = cases[i].distance;
        struct classification chosen = run(&rig, NULL);
        assert_ptr_equal(chosen.head, cases[i].head);
        rig.params.head = cases[i].head;
        struct classification same = run(&rig, NULL);
        assert_memory_equal(chosen.probabilities, same.probabilities,
                            2 * CHIPS * sizeof(*same.probabilities));
        classification_clear(&chosen);
        classification_clear(&same);
    }
}

/* Over many draws: the class with more examples does not get more chips. */
static void unequal_numbers_do_not_sway_it(void **state)
{
    (void)state;
    enum { DRAWS = 40 };
    uint32_t n = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        static struct rig rig;
        set_up_drawn(&rig, 5, 12, &head_ridge, seed);
        struct classification c = run(&rig, NULL);
        for (uint32_t i = 0; i < CHIPS; i++)
            n += c.labels[i];
        classification_clear(&c);
    }
    print_message("note: of %d chips %u of the class with more examples\n", DRAWS * CHIPS, n);
    assert_in_range(n, DRAWS * CHIPS * 2 / 5, DRAWS * CHIPS * 3 / 5);
}

static void a_given_temperature_changes_no_label(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, 8, 8, &head_ridge);
    struct classification fitted = run(&rig, NULL);
    rig.params.temperature = 7.0;
    struct classification given = run(&rig, NULL);
    assert_true(given.temperature == 7.0 && fitted.temperature < 7.0);
    assert_memory_equal(given.labels, fitted.labels, CHIPS * sizeof(*given.labels));
    assert_memory_equal(given.distances, fitted.distances, CHIPS * sizeof(*given.distances));
    classification_clear(&fitted);
    classification_clear(&given);
}

/* Examples that are all alike, within their class or altogether, still give an answer. */
static void equal_examples_are_answered(void **state)
{
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        static struct rig rig;
        set_up(&rig, 5, 5, &head_ridge);
        for (uint32_t i = 1; i < 10; i++) {
            const uint32_t from = apart && i >= 5 ? 5 : 0;
            if (i != from)
                memcpy(rig.vectors + i * DIMENSION, rig.vectors + from * DIMENSION,
                       DIMENSION * sizeof(float));
        }
        struct classification c = run(&rig, NULL);
        assert_true(c.temperature > 0.0 && isfinite(c.temperature));
        classification_clear(&c);
    }
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, 12, 9, &head_ridge);
    struct classification alone = run(&rig, NULL);
    struct pool *pool;
    struct pool_lane *lane;
    assert_int_equal(pool_create(&pool, 5, POOL_LANE_LIMIT, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    struct classification shared = run(&rig, lane);
    assert_memory_equal(alone.labels, shared.labels, CHIPS * sizeof(*alone.labels));
    assert_memory_equal(alone.distances, shared.distances, CHIPS * sizeof(*alone.distances));
    assert_memory_equal(alone.probabilities, shared.probabilities,
                        2 * CHIPS * sizeof(*alone.probabilities));
    classification_clear(&alone);
    classification_clear(&shared);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

static void what_ridge_cannot_do_is_said(void **state)
{
    (void)state;
    static struct rig rig;
    static const char *const names[] = {"film", "gap"};
    static const uint32_t counts[] = {4, 1};
    struct classification out;
    struct error err;
    set_up(&rig, 4, 1, &head_ridge);
    assert_int_equal(classifier_run(&rig.params, &rig.support, &rig.embeddings, NULL, &out, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message, "head ridge needs 2 examples of each class, class '1' has 1");
    assert_int_equal(head_check_examples(&rig.params, counts, 2, names, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "head ridge needs 2 examples of each class, class 'gap' has 1");
    rig.params.distance = CLASSIFIER_COSINE;
    assert_int_equal(head_check_examples(&rig.params, counts, 2, names, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "head ridge needs the distance euclidean, asked for is cosine");
    rig.params.head = &head_auto;
    assert_int_equal(head_check_examples(&rig.params, counts, 2, names, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dimensions_that_tell_classes_apart_count_more),
        cmocka_unit_test(auto_takes_ridge_from_five_examples_on),
        cmocka_unit_test(unequal_numbers_do_not_sway_it),
        cmocka_unit_test(a_given_temperature_changes_no_label),
        cmocka_unit_test(equal_examples_are_answered),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(what_ridge_cannot_do_is_said),
    };
    return test_run(tests);
}
