/* Threads that embed, classify or decode give way to requests in the midst of it, and their results
 * are the same. */
#include "tests/test.h"

#include "engine/give_way.h"
#include "engine/embed.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/image.h"
#include "engine/image/png_write.h"
#include "engine/image/samples.h"
#include "tests/unit/engine/yields.h"
#include "tests/unit/engine/encoder/weights.h"

enum { CHIP = 64, N_CHIPS = 16, DIMENSION = 64 };

/* Its first convolution has more than a million products a chip. */
static const struct weights_shape shape = {
    .in_channels = 1, .kernel = 7, .widths = {32, 32, 48, DIMENSION}, .depths = {1, 1, 1, 1}};

static struct encoder *encoder;
static float *chips;

static int set_up(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&shape);
    weights->metadata = "{\"format\":1,\"input_size\":64,\"mean\":[0.4],\"std\":[0.3]}";
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    int rc = encoder_create(&encoder, data, size, NULL);
    free(data);
    weights_destroy(weights);
    chips = weights_noise(N_CHIPS, CHIP, 1);
    return rc;
}

static int tear_down(void **state)
{
    (void)state;
    encoder_destroy(encoder);
    free(chips);
    return 0;
}

static void a_batch_is_interrupted(void **state)
{
    (void)state;
    struct encoder_workspace *workspace = NULL;
    float calm[N_CHIPS * DIMENSION], disturbed[N_CHIPS * DIMENSION];
    assert_int_equal(encoder_info(encoder)->dimension, DIMENSION);
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, CHIP, PRECISION_FLOAT32, NULL, NULL), 0);
    yields_take();
    encoder_embed(encoder, workspace, chips, N_CHIPS, calm);
    assert_int_equal(yields_take(), 0);
    give_way_ask();
    encoder_embed(encoder, workspace, chips, N_CHIPS, disturbed);
    assert_true(yields_take() >= N_CHIPS);
    assert_memory_equal(calm, disturbed, sizeof(calm));
    yields_advance_clock(GIVE_WAY_MS);
    encoder_embed(encoder, workspace, chips, N_CHIPS, calm);
    assert_int_equal(yields_take(), 0);
    encoder_workspace_destroy(workspace);
}

/* Cutting chips out of an image is interrupted too: each is one more occasion. */
static void a_grid_is_interrupted(void **state)
{
    (void)state;
    const struct grid_params params = {.chip_width = CHIP, .chip_height = CHIP};
    struct grid grid;
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    float vectors[N_CHIPS * DIMENSION];
    /* The chips as one image, a column of them. */
    assert_int_equal(grid_plan(&params, CHIP, CHIP * N_CHIPS, N_CHIPS, &grid, NULL), 0);
    assert_int_equal(pool_create(&pool, 1, 8, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(embedder_create(&embedder, pool, encoder, NULL, ENCODING_CHIPS,
                                     PRECISION_FLOAT32, NULL, NULL),
                     0);
    struct encoder_workspace *workspace = NULL;
    float embedded[N_CHIPS * DIMENSION];
    assert_int_equal(
        encoder_workspace_create(&workspace, encoder, CHIP, PRECISION_FLOAT32, NULL, NULL), 0);
    give_way_ask();
    yields_take();
    encoder_embed(encoder, workspace, chips, N_CHIPS, embedded);
    const uint64_t n_encoding = yields_take();
    assert_int_equal(embed_grid(embedder, lane, chips, &grid, NULL, NULL, vectors, NULL), 0);
    assert_true(yields_take() >= n_encoding + N_CHIPS);
    yields_advance_clock(GIVE_WAY_MS);
    encoder_workspace_destroy(workspace);
    embedder_destroy(embedder);
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

static void classifying_is_interrupted(void **state)
{
    (void)state;
    enum { N = 512, WIDTH = 8 };
    float *vectors = weights_noise(N, WIDTH, 2); /* of WIDTH x WIDTH */
    const uint32_t class_of[] = {0, 1, 0, 1};
    const struct support support = {.embeddings = vectors,
                                    .class_of = class_of,
                                    .n_examples = 4,
                                    .n_classes = 2,
                                    .dimension = WIDTH * WIDTH};
    const struct embeddings embeddings = {
        .n_chips = N, .dimension = WIDTH * WIDTH, .values = vectors};
    struct classification calm = {0}, disturbed = {0};
    yields_take();
    assert_int_equal(
        classifier_run(&classifier_params_default, &support, &embeddings, NULL, &calm, NULL), 0);
    assert_int_equal(yields_take(), 0);
    give_way_ask();
    assert_int_equal(
        classifier_run(&classifier_params_default, &support, &embeddings, NULL, &disturbed, NULL),
        0);
    /* The chips' statistics, then their classes. */
    assert_true(yields_take() >= 2 * N / 32);
    yields_advance_clock(GIVE_WAY_MS);
    assert_memory_equal(calm.probabilities, disturbed.probabilities,
                        N * 2 * sizeof(*calm.probabilities));
    classification_clear(&calm);
    classification_clear(&disturbed);
    free(vectors);
}

static void decoding_is_interrupted(void **state)
{
    (void)state;
    enum { SIDE = 512 };
    uint8_t *pixels = calloc(SIDE, SIDE);
    struct png_bytes png = {0};
    assert_non_null(pixels);
    assert_int_equal(png_write_grey8(pixels, SIDE, SIDE, &png, NULL), 0);
    free(pixels);
    struct image_source source = {.reader = NULL};
    struct samples samples = {0};
    assert_int_equal(image_open(&(struct image_request){.data = png.data,
                                                        .size = png.size,
                                                        .limits = &image_limits_default,
                                                        .trust = IMAGE_CHECKED},
                                &source, NULL),
                     0);
    assert_int_equal(samples_create(&source.info, SIDE, &samples, NULL), 0);
    give_way_ask();
    yields_take();
    while (source.n_rows < SIDE)
        assert_int_equal(samples_read(&samples, &source, NULL), 0);
    /* Blocks of 64 rows at most, once while they are inflated and once behind each. */
    assert_true(yields_take() >= SIDE / 32);
    yields_advance_clock(GIVE_WAY_MS);
    image_source_close(&source);
    samples_clear(&samples);
    png_bytes_clear(&png);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_interrupted),
        cmocka_unit_test(a_grid_is_interrupted),
        cmocka_unit_test(classifying_is_interrupted),
        cmocka_unit_test(decoding_is_interrupted),
    };
    return test_run_with(tests, set_up, tear_down);
}
