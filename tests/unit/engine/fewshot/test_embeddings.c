/* Embeddings that are read in bands: each once, in order, with the same classification as from
 * memory. */
#include "tests/test.h"

#include <math.h>
#include <stdatomic.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"
#include "engine/random.h"

enum {
    DIMENSION = 4097, /* a block has 512 KiB and a little: seven of them are a band */
    N_BAND = 7 * EMBEDDINGS_BLOCK,
    N_CHIPS = 2 * N_BAND + 3 * EMBEDDINGS_BLOCK + 5,
    CLASSES = 3,
    EXAMPLES = 9,
};

static float *chips; /* N_CHIPS x DIMENSION */

struct source {
    atomic_uint n_reads;
    uint64_t bad_chip; /* reading its block fails; N_CHIPS: none */
};

static int read_chips(void *context, uint64_t first, uint32_t n, float *out, struct error *err)
{
    struct source *source = context;
    atomic_fetch_add(&source->n_reads, 1);
    assert_int_equal(first % EMBEDDINGS_BLOCK, 0);
    assert_int_equal(n, first + EMBEDDINGS_BLOCK <= N_CHIPS ? EMBEDDINGS_BLOCK : N_CHIPS - first);
    if (source->bad_chip / EMBEDDINGS_BLOCK == first / EMBEDDINGS_BLOCK)
        return error_set(err, ERROR_CORRUPT, "block of chip %d", (int)source->bad_chip);
    memcpy(out, chips + first * DIMENSION, (size_t)n * DIMENSION * sizeof(float));
    return 0;
}

static struct embeddings embeddings_of(struct source *source)
{
    *source = (struct source){.bad_chip = UINT64_MAX};
    return (struct embeddings){
        .n_chips = N_CHIPS, .dimension = DIMENSION, .read = read_chips, .context = source};
}

struct visits {
    uint64_t next;
    uint32_t n;
    uint32_t n_wanted; /* then fails */
};

static int visit(void *context, const float *band, uint64_t first, uint64_t n, struct error *err)
{
    struct visits *visits = context;
    assert_int_equal(first, visits->next);
    assert_memory_equal(band, chips + first * DIMENSION, n * DIMENSION * sizeof(float));
    visits->next += n;
    visits->n++;
    return visits->n == visits->n_wanted ? error_set(err, ERROR_BUSY, "enough") : 0;
}

static void chips_come_in_order_and_in_bands(void **state)
{
    (void)state;
    struct source source;
    struct embeddings embeddings = embeddings_of(&source);
    struct visits visits = {0}, some = {.n_wanted = 2};
    assert_int_equal(embeddings_visit(&embeddings, NULL, visit, &visits, NULL), 0);
    assert_int_equal(visits.next, N_CHIPS);
    assert_int_equal(visits.n, 3);
    assert_int_equal(atomic_load(&source.n_reads), 2 * 7 + 4);
    assert_int_equal(embeddings_visit(&embeddings, NULL, visit, &some, NULL), ERROR_BUSY);
    assert_int_equal(some.next, 2 * N_BAND);
    embeddings.values = chips;
    visits = (struct visits){0};
    assert_int_equal(embeddings_visit(&embeddings, NULL, visit, &visits, NULL), 0);
    assert_int_equal(visits.n, 1);
    assert_int_equal(visits.next, N_CHIPS);
}

static bool is_second(void *context)
{
    return ++*(uint32_t *)context == 2;
}

static int count_visit(void *context, const float *band, uint64_t first, uint64_t n,
                       struct error *err)
{
    struct visits *visits = context;
    (void)band, (void)first, (void)err;
    visits->next += n;
    visits->n++;
    return 0;
}

/* Those that are in memory, too: all at once would take seconds. */
static void a_visit_ends_when_it_is_called_off(void **state)
{
    (void)state;
    enum { STEP = EMBEDDINGS_STEP / sizeof(float) };
    struct source source;
    uint32_t n_asked = 0;
    const struct cancel cancel = {is_second, &n_asked};
    struct embeddings embeddings = embeddings_of(&source);
    struct visits visits = {0};
    embeddings.cancel = &cancel;
    assert_int_equal(embeddings_visit(&embeddings, NULL, visit, &visits, NULL), ERROR_CANCELLED);
    assert_int_equal(visits.next, N_BAND);
    float *many = calloc(3 * STEP, sizeof(float));
    assert_non_null(many);
    embeddings = (struct embeddings){
        .n_chips = 3 * STEP / 64, .dimension = 64, .values = many, .cancel = &cancel};
    visits = (struct visits){0};
    n_asked = 0;
    assert_int_equal(embeddings_visit(&embeddings, NULL, count_visit, &visits, NULL),
                     ERROR_CANCELLED);
    assert_int_equal(visits.next, STEP / 64);
    n_asked = 2;
    visits = (struct visits){0};
    assert_int_equal(embeddings_visit(&embeddings, NULL, count_visit, &visits, NULL), 0);
    assert_int_equal(visits.n, 3);
    assert_int_equal(visits.next, embeddings.n_chips);
    free(many);
}

static void one_chip_is_got(void **state)
{
    (void)state;
    static const uint64_t some[] = {0, 31, 32, N_BAND + 77, N_CHIPS - 1};
    static float out[DIMENSION];
    struct source source;
    struct embeddings embeddings = embeddings_of(&source);
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        embeddings.values = NULL;
        assert_int_equal(embeddings_get(&embeddings, some[i], out, NULL), 0);
        assert_memory_equal(out, chips + some[i] * DIMENSION, sizeof(out));
        memset(out, 0, sizeof(out));
        embeddings.values = chips;
        assert_int_equal(embeddings_get(&embeddings, some[i], out, NULL), 0);
        assert_memory_equal(out, chips + some[i] * DIMENSION, sizeof(out));
    }
    embeddings.values = NULL;
    source.bad_chip = 40;
    assert_int_equal(embeddings_get(&embeddings, 63, out, NULL), ERROR_CORRUPT);
}

/* ---- classification ---- */

static uint32_t classes[EXAMPLES];
static float examples[EXAMPLES * DIMENSION];

static struct support make_support(void)
{
    for (uint32_t i = 0; i < EXAMPLES; i++) {
        classes[i] = i % CLASSES;
        memcpy(examples + (size_t)i * DIMENSION, chips + (size_t)i * 37 * DIMENSION,
               DIMENSION * sizeof(float));
    }
    return (struct support){examples, classes, EXAMPLES, CLASSES, DIMENSION};
}

static void assert_same(const struct classification *a, const struct classification *b)
{
    assert_int_equal(a->n_chips, b->n_chips);
    assert_true(a->temperature == b->temperature);
    assert_memory_equal(a->labels, b->labels, N_CHIPS * sizeof(*a->labels));
    assert_memory_equal(a->probabilities, b->probabilities, N_CHIPS * CLASSES * sizeof(float));
    assert_memory_equal(a->distances, b->distances, N_CHIPS * sizeof(float));
}

static void bands_are_classified_as_the_whole_is(void **state)
{
    (void)state;
    const struct support support = make_support();
    struct pool *pool = NULL;
    struct pool_lane *lanes[2] = {NULL, NULL}; /* without help, and with it */
    const struct embeddings in_memory = {
        .n_chips = N_CHIPS, .dimension = DIMENSION, .values = chips};
    assert_int_equal(pool_create(&pool, 3, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lanes[1], pool, NULL), 0);
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        for (int d = 0; d <= CLASSIFIER_COSINE; d++) {
            const struct classifier_params params = {.distance = (enum classifier_distance)d,
                                                     .transform = (enum classifier_transform)t};
            struct classification whole = {0};
            assert_int_equal(classifier_run(&params, &support, &in_memory, lanes[1], &whole, NULL),
                             0);
            for (int i = 0; i < 2; i++) {
                struct source source;
                struct classification banded = {0};
                const struct embeddings embeddings = embeddings_of(&source);
                assert_int_equal(
                    classifier_run(&params, &support, &embeddings, lanes[i], &banded, NULL), 0);
                assert_same(&whole, &banded);
                assert_int_equal(atomic_load(&source.n_reads), 2 * (2 * 7 + 4));
                classification_clear(&banded);
            }
            classification_clear(&whole);
        }
    }
    pool_lane_destroy(lanes[1]);
    pool_destroy(pool);
}

static void what_cannot_be_read_is_said(void **state)
{
    (void)state;
    const struct support support = make_support();
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    assert_int_equal(pool_create(&pool, 2, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        const struct classifier_params params = {.transform = (enum classifier_transform)t};
        struct source source;
        struct error err = {0};
        struct classification result = {.n_chips = 99};
        const struct embeddings embeddings = embeddings_of(&source);
        source.bad_chip = N_BAND + 40;
        assert_int_equal(classifier_run(&params, &support, &embeddings, lane, &result, &err),
                         ERROR_CORRUPT);
        assert_string_equal(err.message, "block of chip 264");
        assert_int_equal(err.code, ERROR_CORRUPT);
        assert_int_equal(result.n_chips, 99);
    }
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

static void values_and_dimensions_are_checked(void **state)
{
    (void)state;
    const struct support support = make_support();
    const size_t place = (size_t)(N_BAND + 41) * DIMENSION + 1000;
    const float old = chips[place];
    struct source source;
    struct classification result;
    struct error err = {0};
    struct embeddings embeddings = embeddings_of(&source);
    chips[place] = NAN;
    for (int t = 0; t <= CLASSIFIER_TRANSFORM_STANDARDISE; t++) {
        const struct classifier_params params = {.transform = (enum classifier_transform)t};
        assert_int_equal(classifier_run(&params, &support, &embeddings, NULL, &result, &err),
                         ERROR_INVALID);
        assert_non_null(strstr(err.message, "chip 265:"));
    }
    chips[place] = old;
    embeddings.dimension--;
    assert_int_equal(
        classifier_run(&classifier_params_default, &support, &embeddings, NULL, &result, &err),
        ERROR_INVALID);
    assert_non_null(strstr(err.message, "4096"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chips_come_in_order_and_in_bands),
        cmocka_unit_test(a_visit_ends_when_it_is_called_off),
        cmocka_unit_test(one_chip_is_got),
        cmocka_unit_test(bands_are_classified_as_the_whole_is),
        cmocka_unit_test(what_cannot_be_read_is_said),
        cmocka_unit_test(values_and_dimensions_are_checked),
    };
    struct random random;
    random_seed(&random, 3, 0);
    chips = calloc((size_t)N_CHIPS * DIMENSION, sizeof(*chips));
    for (size_t i = 0; chips != NULL && i < (size_t)N_CHIPS * DIMENSION; i++)
        chips[i] = (float)random_uniform(&random);
    int rc = test_run(tests);
    free(chips);
    return rc;
}
