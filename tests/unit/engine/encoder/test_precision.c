/* Reduced precision: its names, its kernels against the scalar ones, and its embeddings against
 * float32's. What needs instructions that the processor lacks is skipped. */
#include "tests/test.h"

#include "engine/encoder/conv.h"
#include "engine/encoder/encoder.h"
#include "engine/encoder/memory.h"
#include "engine/encoder/precision.h"
#include "tests/unit/engine/encoder/weights.h"

#include <math.h>

static void skip_without_bfloat16(void)
{
    if (kernels_bfloat16() == NULL)
        skip();
}

static void names_are_known_and_offers_depend_on_the_processor(void **state)
{
    (void)state;
    struct error err = {0};
    enum precision precision = PRECISION_BFLOAT16;
    assert_int_equal(precision_parse("float32", &precision, &err), 0);
    assert_int_equal(precision, PRECISION_FLOAT32);
    assert_int_equal(precision_parse("bfloat16", &precision, &err), 0);
    assert_int_equal(precision, PRECISION_BFLOAT16);
    assert_int_equal(precision_parse("int8", &precision, &err), ERROR_INVALID);
    assert_string_equal(err.message, "precision 'int8' is not float32 or bfloat16");
    assert_int_equal(precision, PRECISION_BFLOAT16);
    for (int has = 0; has <= 1; has++) {
        assert_int_equal(precision_check_on(PRECISION_FLOAT32, has, &err), 0);
        assert_int_equal(precision_check_on(PRECISION_BFLOAT16, has, &err),
                         has ? 0 : ERROR_INVALID);
    }
    assert_non_null(strstr(err.message, "'bfloat16' is not offered here"));
    assert_non_null(strstr(err.message, "AVX512_BF16"));
}

/* ---- convolutions ---- */

struct shape {
    uint32_t in, out, kernel, stride, side, n;
};

/* One convolution with its maps. Values are small whole numbers, so that nothing is rounded in
 * either precision and the results must be equal. */
struct example {
    struct shape shape;
    struct conv conv;
    float *in, *residual, *out;
    uint64_t n_out;
    struct conv_scratch scratch;
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 16;
}

/* Whole numbers in -range..range; zero in the padding of the channels. */
static float *make_maps(uint64_t n_positions, uint32_t channels, int range, uint32_t seed)
{
    const uint32_t padded = padded_channels(channels);
    float *maps = allocate_floats(n_positions * padded);
    assert_non_null(maps);
    for (uint64_t i = 0; i < n_positions * padded; i++) {
        const int value = (int)(next_random(&seed) % (uint32_t)(2 * range + 1)) - range;
        maps[i] = i % padded < channels ? (float)value : 0.0f;
    }
    return maps;
}

static void example_init(struct example *example, const struct shape *shape)
{
    const uint32_t out_side = window_output_side(shape->side, shape->kernel, shape->stride);
    const uint64_t n_weights = (uint64_t)shape->kernel * shape->kernel * shape->in * shape->out;
    uint32_t seed = 7 * shape->in + shape->out;
    float *weights = calloc(n_weights, sizeof(*weights));
    float *bias = calloc(shape->out, sizeof(*bias));
    assert_true(weights != NULL && bias != NULL);
    for (uint64_t i = 0; i < n_weights; i++)
        weights[i] = (float)((int)(next_random(&seed) % 7) - 3);
    for (uint32_t i = 0; i < shape->out; i++)
        bias[i] = (float)(next_random(&seed) % 9);
    *example = (struct example){.shape = *shape,
                                .conv = {.in_channels = shape->in,
                                         .out_channels = shape->out,
                                         .kernel = shape->kernel,
                                         .stride = shape->stride}};
    assert_int_equal(conv_pack(&example->conv, weights, bias, NULL), 0);
    free(weights);
    free(bias);
    const uint64_t n_positions = (uint64_t)shape->n * out_side * out_side;
    example->in = make_maps((uint64_t)shape->n * shape->side * shape->side, shape->in, 15, 1);
    example->residual = make_maps(n_positions, shape->out, 100, 2);
    example->n_out = n_positions * padded_channels(shape->out);
    example->out = allocate_floats(example->n_out);
    example->scratch.zeros = allocate_floats(1024);
    assert_true(example->out != NULL && example->scratch.zeros != NULL);
    memset(example->scratch.zeros, 0, 1024 * sizeof(float));
}

static void example_clear(struct example *example)
{
    conv_clear(&example->conv);
    free(example->in);
    free(example->residual);
    free(example->out);
    free(example->scratch.zeros);
}

/* The convolution's maps; to be freed. */
static float *apply(struct example *example, enum conv_algorithm algorithm, bool relu)
{
    const struct shape *shape = &example->shape;
    struct conv_scratch *scratch = &example->scratch;
    scratch->kernels = kernels_named("scalar");
    scratch->reduced = kernels_bfloat16();
    scratch->planes =
        allocate_floats(1 + conv_plane_floats(&example->conv, algorithm, shape->side, shape->n));
    scratch->pairs =
        allocate_floats(1 + conv_pair_words(&example->conv, algorithm, shape->side, shape->n));
    float *out = malloc(example->n_out * sizeof(*out));
    assert_true(scratch->planes != NULL && scratch->pairs != NULL && out != NULL);
    assert_int_equal(conv_prepare(&example->conv, algorithm, NULL), 0);
    const struct conv_call call = {
        .conv = &example->conv,
        .algorithm = algorithm,
        .n = shape->n,
        .side = shape->side,
        .in = example->in,
        .out = example->out,
        .residual = relu ? example->residual : NULL,
        .relu = relu,
    };
    conv_apply(scratch, &call);
    memcpy(out, example->out, example->n_out * sizeof(*out));
    free(scratch->planes);
    free(scratch->pairs);
    return out;
}

static void products_of_whole_numbers_are_exact(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {1, 1, 1, 1, 1, 1},    {3, 5, 3, 1, 5, 3},     {16, 16, 3, 1, 2, 2},  {17, 33, 3, 2, 7, 5},
        {31, 64, 1, 2, 9, 2},  {40, 80, 1, 1, 4, 32},  {64, 48, 3, 1, 16, 1}, {5, 130, 3, 1, 3, 7},
        {96, 112, 3, 2, 8, 3}, {130, 20, 3, 1, 1, 13}, {64, 64, 3, 1, 8, 9},
    };
    skip_without_bfloat16();
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct example example;
        example_init(&example, &shapes[i]);
        const bool winograd = shapes[i].kernel == 3 && shapes[i].stride == 1;
        for (int relu = 0; relu <= 1; relu++) {
            float *wanted = apply(&example, CONV_DIRECT, relu);
            float *direct = apply(&example, CONV_BFLOAT16_DIRECT, relu);
            float *tiled = winograd ? apply(&example, CONV_BFLOAT16_WINOGRAD_2, relu) : NULL;
            for (uint64_t k = 0; k < example.n_out; k++) {
                if (wanted[k] != direct[k] || (winograd && wanted[k] != tiled[k]))
                    fail_msg("shape %zu, value %zu: %g, direct %g, Winograd %g", i, (size_t)k,
                             (double)wanted[k], (double)direct[k],
                             winograd ? (double)tiled[k] : 0.0);
            }
            free(wanted);
            free(direct);
            free(tiled);
        }
        example_clear(&example);
    }
}

static void values_are_rounded_to_the_nearest_even(void **state)
{
    (void)state;
    skip_without_bfloat16();
    _Alignas(64) float values[KERNEL_LANES] = {
        1.0f,     1.00390625f, 1.01171875f, 1.0039064f, -2.0234f, 0x1p-130f, -0x1p-140f, 0.0f,
        INFINITY, 3.0e38f,     0x1p-126f,   -0.0f,      255.0f,   256.0f,    257.0f,     259.0f};
    static const float rounded[KERNEL_LANES] = {
        1.0f,     1.0f,         1.015625f, 1.0078125f, -2.015625f, 0.0f,   0.0f,   0.0f,
        INFINITY, 0x1.c4p+127f, 0x1p-126f, 0.0f,       255.0f,     256.0f, 256.0f, 260.0f};
    _Alignas(64) float pairs[KERNEL_LANES / 2];
    kernels_bfloat16()->make_pairs(values, KERNEL_LANES, pairs);
    for (size_t i = 0; i < KERNEL_LANES; i++) {
        uint32_t word;
        float value;
        memcpy(&word, &pairs[i / 2], sizeof(word));
        word = i % 2 == 0 ? word << 16 : word & 0xffff0000;
        memcpy(&value, &word, sizeof(value));
        if (value != rounded[i])
            fail_msg("%zu: %a gives %a, not %a", i, (double)values[i], (double)value,
                     (double)rounded[i]);
    }
}

/* ---- embeddings ---- */

static float *embed(const struct encoder *encoder, enum precision precision, const float *chips,
                    uint32_t n)
{
    struct encoder_workspace *workspace = NULL;
    float *out = calloc((size_t)n * encoder_info(encoder)->dimension, sizeof(*out));
    assert_non_null(out);
    assert_int_equal(encoder_workspace_create(&workspace, encoder, 48, precision, NULL), 0);
    encoder_embed(encoder, workspace, chips, n, out);
    encoder_workspace_destroy(workspace);
    return out;
}

static double relative_error(const float *found, const float *wanted, size_t n)
{
    double squares = 0.0, error = 0.0;
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)found[i] - (double)wanted[i];
        squares += (double)wanted[i] * (double)wanted[i];
        error += difference * difference;
    }
    return sqrt(error / squares);
}

static void embeddings_are_near_those_of_float32(void **state)
{
    (void)state;
    enum { CHIPS = 21 };
    skip_without_bfloat16();
    for (int bottleneck = 0; bottleneck <= 1; bottleneck++) {
        const struct weights_shape shape = {.bottleneck = bottleneck,
                                            .in_channels = 1,
                                            .kernel = 7,
                                            .widths = {16, 24, 40, 72},
                                            .depths = {2, 1, 2, 1}};
        struct weights *weights = weights_create(&shape);
        size_t size = 0;
        uint8_t *data = weights_write(weights, &size);
        struct encoder *encoder = NULL;
        assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
        const size_t n_floats = CHIPS * (size_t)encoder_info(encoder)->dimension;
        float *chips = weights_noise(CHIPS, 48, 3);
        float *exact = embed(encoder, PRECISION_FLOAT32, chips, CHIPS);
        float *reduced = embed(encoder, PRECISION_BFLOAT16, chips, CHIPS);
        float *again = embed(encoder, PRECISION_BFLOAT16, chips, CHIPS);
        const double error = relative_error(reduced, exact, n_floats);
        assert_true(error > 1e-5 && error < 2e-2);
        assert_memory_equal(again, reduced, n_floats * sizeof(float));
        /* The other precision's weights, made meanwhile, change nothing. */
        free(again);
        again = embed(encoder, PRECISION_FLOAT32, chips, CHIPS);
        assert_memory_equal(again, exact, n_floats * sizeof(float));
        free(again);
        free(reduced);
        free(exact);
        free(chips);
        encoder_destroy(encoder);
        free(data);
        weights_destroy(weights);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_known_and_offers_depend_on_the_processor),
        cmocka_unit_test(products_of_whole_numbers_are_exact),
        cmocka_unit_test(values_are_rounded_to_the_nearest_even),
        cmocka_unit_test(embeddings_are_near_those_of_float32),
    };
    return test_run(tests);
}
