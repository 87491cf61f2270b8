/* Jobs at one input size and at several, in each encoding and in each precision: right labels, and
 * cached embeddings that are never taken for those of another choice. */
#include "tests/test.h"

#include "api/job/job_params.h"
#include "tests/unit/server/worker/rig.h"

enum { SPLIT = 4 * RIG_CHIP, OWN_SIZE = 40 /* of the default encoder */ };

static const char *const encoded = "chipshot_chips_encoded_total";

/* Runs a job over the image at these sizes (none: left out, as in old texts). */
static void run_at(struct rig *rig, const char *set, const char *image,
                   const struct input_sizes *sizes, enum encoding encoding,
                   enum precision precision, struct db_result *out)
{
    char id[DB_ID_SIZE], images[1][DB_ID_SIZE];
    const struct job_params params = {
        .grid = {.chip_width = RIG_CHIP,
                 .chip_height = RIG_CHIP,
                 .stride_x = RIG_CHIP,
                 .stride_y = RIG_CHIP},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .input_sizes = *sizes,
        .encoding = encoding,
        .precision = precision,
    };
    char *text = job_params_to_text(&params);
    assert_non_null(text);
    memcpy(images[0], image, DB_ID_SIZE);
    rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, 1, text, RIG_CHIPS, id);
    free(text);
    worker_notify(rig->worker, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, image, out);
    /* Beside the border a chip of a dense job sees the other side, too. */
    assert_true(encoding == ENCODING_DENSE || rig_accuracy(out, SPLIT) == 1);
}

static void sizes_have_embeddings_of_their_own(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    static const struct {
        struct input_sizes sizes;
        bool encodes;
        size_t same_as; /* the run whose bytes it has */
    } runs[] = {
        {{0, {0}}, true, 0},       {{1, {OWN_SIZE}}, false, 0}, {{1, {32}}, true, 2},
        {{2, {32, 48}}, true, 3},  {{1, {48}}, true, 4},        {{3, {16, 32, 48}}, true, 5},
        {{2, {32, 48}}, false, 3},
    };
    enum { RUNS = sizeof(runs) / sizeof(runs[0]) };
    struct db_result results[RUNS] = {{.rows = 0}};
    rig_add_image(rig, 1, SPLIT, image);
    rig_add_plain_set(rig, image, set);
    rig_start(rig, 1);
    for (size_t i = 0; i < RUNS; i++) {
        double before = rig_metric(rig, encoded);
        run_at(rig, set, image, &runs[i].sizes, ENCODING_CHIPS, PRECISION_FLOAT32, &results[i]);
        assert_true(rig_metric(rig, encoded) - before == (runs[i].encodes ? RIG_CHIPS : 0));
        rig_assert_same(&results[i], &results[runs[i].same_as]);
        for (size_t k = 0; k < i; k++)
            assert_true(
                runs[k].same_as == runs[i].same_as ||
                memcmp(results[i].distances, results[k].distances, RIG_CHIPS * sizeof(float)) != 0);
    }
    for (size_t i = 0; i < RUNS; i++)
        db_result_clear(&results[i]);
}

/* Dense embeddings are never taken for those of chips, nor the other way round; either are found
 * again. */
static void encodings_have_embeddings_of_their_own(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    const struct input_sizes sizes = {1, {32}};
    struct db_result results[2 * ENCODINGS] = {{.rows = 0}};
    rig_add_image(rig, 1, SPLIT, image);
    rig_add_plain_set(rig, image, set);
    rig_start(rig, 1);
    for (size_t i = 0; i < 2 * ENCODINGS; i++) {
        const enum encoding encoding = (enum encoding)(i % ENCODINGS);
        double before = rig_metric(rig, encoded);
        run_at(rig, set, image, &sizes, encoding, PRECISION_FLOAT32, &results[i]);
        assert_int_equal(rig_metric(rig, encoded) > before, i < ENCODINGS);
    }
    for (size_t i = 0; i < ENCODINGS; i++)
        rig_assert_same(&results[i], &results[ENCODINGS + i]);
    for (size_t i = 0; i < 2 * ENCODINGS; i++)
        db_result_clear(&results[i]);
}

/* A job in another precision takes nothing from the cache that float32 left there, and twice the
 * same gives the same bytes. */
static void precisions_have_embeddings_of_their_own(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    const struct input_sizes sizes = {1, {32}};
    enum precision offered[PRECISIONS];
    size_t n = 0;
    for (enum precision i = 0; i < PRECISIONS; i++) {
        if (precision_check(i, NULL) == 0)
            offered[n++] = i;
    }
    struct db_result results[2 * PRECISIONS] = {{.rows = 0}};
    if (n == 1)
        skip();
    rig_add_image(rig, 1, SPLIT, image);
    rig_add_plain_set(rig, image, set);
    rig_start(rig, 1);
    for (size_t i = 0; i < 2 * n; i++) {
        double before = rig_metric(rig, encoded);
        run_at(rig, set, image, &sizes, ENCODING_CHIPS, offered[i % n], &results[i]);
        assert_true(rig_metric(rig, encoded) - before == (i < n ? RIG_CHIPS : 0));
    }
    for (size_t i = 0; i < n; i++) {
        rig_assert_same(&results[i], &results[n + i]);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(results[i].distances, results[k].distances,
                                    RIG_CHIPS * sizeof(float));
    }
    for (size_t i = 0; i < 2 * n; i++)
        db_result_clear(&results[i]);
}

/* The same encoder at two choices of sizes shares its weights; each may go before the other. */
static void weights_are_shared_and_freed_last(void **state)
{
    struct rig *rig = *state;
    const struct input_sizes one = {1, {32}}, two = {2, {32, 64}};
    const struct loaded_encoder *a = NULL, *b = NULL, *c = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &one, ENCODING_OWN,
                                               PRECISION_FLOAT32, NULL, &a, NULL),
                         0);
        assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &two, ENCODING_OWN,
                                               PRECISION_FLOAT32, NULL, &b, NULL),
                         0);
        assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &one, ENCODING_OWN,
                                               PRECISION_FLOAT32, NULL, &c, NULL),
                         0);
        assert_ptr_equal(a, c);
        assert_ptr_not_equal(a, b);
        assert_ptr_equal(embedder_encoder(a->embedder), embedder_encoder(b->embedder));
        assert_int_equal(embedder_dimension(b->embedder), 2 * embedder_dimension(a->embedder));
        encoder_store_release(rig->encoders, c);
        /* One idle entry is kept: the second release drops what was used before. */
        encoder_store_release(rig->encoders, i == 0 ? a : b);
        encoder_store_release(rig->encoders, i == 0 ? b : a);
    }
    /* Likewise at two encodings. */
    assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &one, ENCODING_CHIPS,
                                           PRECISION_FLOAT32, NULL, &a, NULL),
                     0);
    assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &one, ENCODING_DENSE,
                                           PRECISION_FLOAT32, NULL, &b, NULL),
                     0);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(embedder_encoder(a->embedder), embedder_encoder(b->embedder));
    assert_int_equal(embedder_encoding(a->embedder), ENCODING_CHIPS);
    assert_int_equal(embedder_encoding(b->embedder), ENCODING_DENSE);
    encoder_store_release(rig->encoders, a);
    encoder_store_release(rig->encoders, b);
    struct error err = {0};
    const struct input_sizes wrong = {1, {513}};
    assert_int_equal(encoder_store_acquire(rig->encoders, rig->encoder_id, &wrong, ENCODING_OWN,
                                           PRECISION_FLOAT32, NULL, &a, &err),
                     ERROR_INVALID);
    assert_non_null(strstr(err.message, "input size 513"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sizes_have_embeddings_of_their_own, rig_set_up,
                                        rig_tear_down),
        cmocka_unit_test_setup_teardown(encodings_have_embeddings_of_their_own, rig_set_up,
                                        rig_tear_down),
        cmocka_unit_test_setup_teardown(precisions_have_embeddings_of_their_own, rig_set_up,
                                        rig_tear_down),
        cmocka_unit_test_setup_teardown(weights_are_shared_and_freed_last, rig_set_up,
                                        rig_tear_down),
    };
    return test_run(tests);
}
