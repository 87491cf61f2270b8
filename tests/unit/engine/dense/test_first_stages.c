/* Dense encoding by a network that has only the first stages: the vectors are those of the network
 * that has all of them and pools the same ones. */
#include "tests/test.h"

#include "engine/embed.h"
#include "tests/unit/engine/encoder/weights.h"

#include <math.h>

enum { SIDE = 150, CHIP = 40, N = 3, COPIES = 3 + 5, DIMENSION = COPIES + 2 * (4 + 6) };

static const struct chip_rect rects[N] = {
    {0, 0, CHIP, CHIP}, {SIDE - CHIP, 7, CHIP, CHIP}, {55, SIDE - CHIP, CHIP, CHIP}};

static struct encoder *make_encoder(const struct weights_shape *shape)
{
    struct weights *weights = weights_create(shape);
    weights->metadata = "{\"format\": 1, \"input_size\": 32, \"encoding\": \"dense\", "
                        "\"pool\": {\"stages\": [0, 1, 2], \"statistics\": [\"mean\", \"std\"], "
                        "\"chip_copies\": [3, 5]}}";
    size_t size = 0;
    uint8_t *data = weights_write(weights, &size);
    struct encoder *encoder = NULL;
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    assert_int_equal(encoder_info(encoder)->dimension, DIMENSION);
    free(data);
    weights_destroy(weights);
    return encoder;
}

/* Of the rects of an image of noise; to be freed. */
static float *embed(const struct encoder *encoder, const float *pixels)
{
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    assert_int_equal(pool_create(&pool, 2, 64, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    assert_int_equal(embedder_create(&embedder, pool, encoder, NULL, ENCODING_OWN,
                                     PRECISION_FLOAT32, NULL, NULL),
                     0);
    float *out = calloc((size_t)N * DIMENSION, sizeof(*out));
    assert_non_null(out);
    assert_int_equal(
        embed_rects(embedder, lane, pixels, SIDE, SIDE, rects, N, ENCODER_BATCH, NULL, out, NULL),
        0);
    embedder_destroy(embedder);
    pool_lane_destroy(lane);
    pool_destroy(pool);
    return out;
}

static void stages_that_are_not_pooled_may_be_absent(void **state)
{
    (void)state;
    struct weights_shape shape = {
        .in_channels = 1, .kernel = 5, .widths = {4, 6, 8, 10}, .depths = {1, 1, 1, 1}};
    struct encoder *whole = make_encoder(&shape);
    shape.depths[2] = shape.depths[3] = 0;
    struct encoder *first = make_encoder(&shape);
    float *pixels = weights_noise(1, SIDE, 21);
    float *expected = embed(whole, pixels), *found = embed(first, pixels);
    assert_memory_equal(found, expected, (size_t)N * DIMENSION * sizeof(float));
    free(found);
    free(expected);
    free(pixels);
    encoder_destroy(first);
    encoder_destroy(whole);
}

/* Each copy times the root of their number is the number itself: 0.25, and the half of the chip
 * that is brighter by 0.5. */
static void stage_0_stands_there_as_often_as_the_file_says(void **state)
{
    (void)state;
    const struct weights_shape shape = {
        .in_channels = 1, .kernel = 5, .widths = {4, 6, 0, 0}, .depths = {1, 1, 0, 0}};
    struct encoder *encoder = make_encoder(&shape);
    float *pixels = calloc((size_t)SIDE * SIDE, sizeof(*pixels));
    assert_non_null(pixels);
    for (uint32_t i = 0; i < SIDE * SIDE; i++)
        pixels[i] = i / SIDE < CHIP / 2 ? 0.5f : 0.0f;
    float *vectors = embed(encoder, pixels);
    for (uint32_t i = 0; i < COPIES; i++) {
        const double n_copies = i < 3 ? 3 : 5;
        assert_true(fabs((double)vectors[i] * sqrt(n_copies) - (i < 3 ? 0.25 : 0.5)) < 1e-4);
    }
    free(vectors);
    free(pixels);
    encoder_destroy(encoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_that_are_not_pooled_may_be_absent),
        cmocka_unit_test(stage_0_stands_there_as_often_as_the_file_says),
    };
    return test_run(tests);
}
