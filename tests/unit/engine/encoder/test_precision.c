/* Reduced precision: its names, its kernels against the scalar ones, and its embeddings against
 * float32's. What needs instructions that the processor lacks is skipped. */
#include "tests/test.h"

#include "base/memory.h"
#include "engine/encoder/conv.h"
#include "engine/encoder/encoder.h"
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
    static const char *const instructions[PRECISIONS] = {"", "AVX512_BF16", "AVX512_VNNI"};
    struct error err = {0};
    enum precision precision = PRECISIONS;
    for (enum precision i = 0; i < PRECISIONS; i++) {
        assert_int_equal(precision_parse(precision_name(i), &precision, &err), 0);
        assert_int_equal(precision, i);
    }
    assert_string_equal(precision_name(PRECISION_INT8), "int8");
    assert_int_equal(precision_parse("int4", &precision, &err), ERROR_INVALID);
    assert_string_equal(err.message, "precision 'int4' is not float32, bfloat16 or int8");
    assert_int_equal(precision, PRECISION_INT8);
    for (enum precision i = 0; i < PRECISIONS; i++) {
        const bool always = i == PRECISION_FLOAT32;
        assert_int_equal(precision_check_on(i, true, &err), 0);
        assert_int_equal(precision_check_on(i, false, &err), always ? 0 : ERROR_INVALID);
        assert_true(always || strstr(err.message, "is not offered here") != NULL);
        assert_true(always || strstr(err.message, precision_name(i)) != NULL);
        assert_true(always || strstr(err.message, instructions[i]) != NULL);
    }
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
    bool in_place; /* the residual lies where the output will be */
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

/* Makes the largest value of each map 255 steps and the largest weight of each output channel 127,
 * with steps of powers of two, so that int8 rounds nothing either. */
static void make_int8_exact(struct example *example)
{
    const struct shape *shape = &example->shape;
    const size_t map_floats = (size_t)shape->side * shape->side * padded_channels(shape->in);
    for (uint32_t map = 0; map < shape->n; map++) {
        float *values = example->in + map * map_floats;
        for (size_t i = 0; i < map_floats; i++)
            values[i] = ldexpf(fabsf(values[i]), (int)(map % 3));
        values[map % shape->in] = ldexpf(255.0f, (int)(map % 3));
    }
    const uint32_t padded = padded_channels(shape->out);
    const uint64_t n_rows = (uint64_t)shape->kernel * shape->kernel * shape->in;
    float *panel = example->conv.panels;
    for (uint32_t column = 0; column < padded; column += panel_width(column, padded)) {
        const uint32_t width = panel_width(column, padded);
        for (uint32_t k = 0; k < width && column + k < shape->out; k++) {
            panel[k % n_rows * width + k] = k % 2 == 0 ? 127.0f : -127.0f;
            for (uint64_t row = 0; row < n_rows; row++)
                panel[row * width + k] *= ldexpf(1.0f, -(int)(k % 4));
        }
        panel += n_rows * width;
    }
}

/* The convolution's maps; to be freed. */
static float *apply(struct example *example, enum conv_algorithm algorithm, bool relu)
{
    const struct shape *shape = &example->shape;
    struct conv_scratch *scratch = &example->scratch;
    scratch->kernels = kernels_named("scalar");
    scratch->bfloat16 = kernels_bfloat16();
    if (scratch->int8 == NULL)
        scratch->int8 = &int8_scalar;
    scratch->planes =
        allocate_floats(1 + conv_plane_floats(&example->conv, algorithm, shape->side, shape->n));
    scratch->words =
        allocate_floats(1 + conv_map_words(&example->conv, algorithm, shape->side, shape->n));
    float *out = malloc(example->n_out * sizeof(*out));
    assert_true(scratch->planes != NULL && scratch->words != NULL && out != NULL);
    assert_int_equal(conv_prepare(&example->conv, algorithm, NULL), 0);
    memcpy(example->out, example->residual, example->n_out * sizeof(*out));
    const struct conv_call call = {
        .conv = &example->conv,
        .algorithm = algorithm,
        .n = shape->n,
        .side = shape->side,
        .in = example->in,
        .out = example->out,
        .residual = !relu               ? NULL
                    : example->in_place ? example->out
                                        : example->residual,
        .relu = relu,
    };
    conv_apply(scratch, &call);
    memcpy(out, example->out, example->n_out * sizeof(*out));
    free(scratch->planes);
    free(scratch->words);
    return out;
}

static const struct shape shapes[] = {
    {1, 1, 1, 1, 1, 1},    {3, 5, 3, 1, 5, 3},     {16, 16, 3, 1, 2, 2},  {17, 33, 3, 2, 7, 5},
    {31, 64, 1, 2, 9, 2},  {40, 80, 1, 1, 4, 32},  {64, 48, 3, 1, 16, 1}, {5, 130, 3, 1, 3, 7},
    {96, 112, 3, 2, 8, 3}, {130, 20, 3, 1, 1, 13}, {64, 64, 3, 1, 8, 9},  {520, 64, 3, 1, 3, 2},
};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void products_of_whole_numbers_are_exact(void **state)
{
    (void)state;
    skip_without_bfloat16();
    for (size_t i = 0; i < SHAPES; i++) {
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

static void expect_int8_exact(struct example *example, const struct int8_kernels *kernels,
                              size_t number)
{
    example->scratch.int8 = kernels;
    for (int way = 0; way < 3; way++) {
        const bool relu = way > 0;
        example->in_place = false;
        float *wanted = apply(example, CONV_DIRECT, relu);
        example->in_place = way == 2;
        float *found = apply(example, CONV_INT8_DIRECT, relu);
        for (uint64_t k = 0; k < example->n_out; k++) {
            if (wanted[k] != found[k])
                fail_msg("shape %zu, %s, value %zu: %g, not %g", number, kernels->name, (size_t)k,
                         (double)found[k], (double)wanted[k]);
        }
        free(wanted);
        free(found);
    }
}

static void int8_products_of_whole_numbers_are_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        struct example example;
        example_init(&example, &shapes[i]);
        make_int8_exact(&example);
        expect_int8_exact(&example, &int8_scalar, i);
        if (int8_kernels() != NULL)
            expect_int8_exact(&example, int8_kernels(), i);
        example_clear(&example);
    }
}

/* A map of zeros has no step, and neither have maps or weights that are next to nothing. */
static void int8_of_next_to_nothing(void **state)
{
    (void)state;
    static const float factors[] = {0.0f, 0x1p-149f, 0x1p-130f};
    static const struct shape shape = {20, 33, 3, 1, 4, 2};
    for (size_t i = 0; i < 6; i++) {
        struct example example;
        example_init(&example, &shape);
        make_int8_exact(&example);
        float *values = i < 3 ? example.in : example.conv.panels;
        const uint64_t n =
            i < 3 ? (uint64_t)shape.n * shape.side * shape.side * 32 : 9 * (uint64_t)shape.in * 48;
        for (uint64_t k = 0; k < n; k++)
            values[k] *= factors[i % 3];
        float *found = apply(&example, CONV_INT8_DIRECT, false);
        for (uint64_t k = 0; k < example.n_out; k++)
            assert_true(fabsf(found[k] - example.conv.bias[k % 48]) < 1e-30f);
        if (int8_kernels() != NULL) {
            example.scratch.int8 = int8_kernels();
            float *again = apply(&example, CONV_INT8_DIRECT, false);
            assert_memory_equal(again, found, example.n_out * sizeof(*found));
            free(again);
        }
        free(found);
        example_clear(&example);
    }
}

/* Weights that overflowed when batch norm was folded in have no steps; other channels keep theirs.
 */
static void int8_of_weights_that_overflowed(void **state)
{
    (void)state;
    static const struct shape shape = {20, 33, 1, 1, 4, 2};
    enum { CHANNEL = 3, WIDTH = 32 };
    struct example example;
    example_init(&example, &shape);
    make_int8_exact(&example);
    float *wanted = apply(&example, CONV_DIRECT, false);
    example.conv.panels[5 * WIDTH + CHANNEL] = INFINITY;
    float *found = apply(&example, CONV_INT8_DIRECT, false);
    const int8_t *quads = (const int8_t *)example.conv.panel_quads;
    for (uint32_t k = 0; k < shape.in; k++)
        assert_int_equal(quads[(k / 4 * WIDTH + CHANNEL) * 4 + k % 4], 0);
    for (uint64_t k = 0; k < example.n_out; k++)
        assert_true(k % 48 == CHANNEL || found[k] == wanted[k]);
    free(found);
    free(wanted);
    example_clear(&example);
}

/* Sums of 32 bits hold 66,311 products of the largest values. */
static void int8_is_chosen_where_sums_hold(void **state)
{
    (void)state;
    struct conv conv = {.in_channels = 7367, .out_channels = 512, .kernel = 3, .stride = 2};
    assert_int_equal(conv_choose(&conv, 8, 32, WINOGRAD_TILES, PRECISION_INT8), CONV_INT8_DIRECT);
    conv.in_channels = 7369;
    assert_int_equal(conv_choose(&conv, 8, 32, WINOGRAD_TILES, PRECISION_INT8), CONV_DIRECT);
    /* Few channels cost more to round than float32's tiles cost. */
    conv = (struct conv){.in_channels = 32, .out_channels = 32, .kernel = 3, .stride = 1};
    assert_int_equal(conv_scheme(conv_choose(&conv, 12, 32, WINOGRAD_TILES, PRECISION_INT8)),
                     CONV_WINOGRAD_6);
    conv = (struct conv){.in_channels = 256, .out_channels = 256, .kernel = 3, .stride = 1};
    assert_int_equal(conv_choose(&conv, 14, 32, WINOGRAD_TILES, PRECISION_INT8), CONV_INT8_DIRECT);
}

static void bfloat16_values_are_rounded_to_the_nearest_even(void **state)
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
    assert_int_equal(encoder_workspace_create(&workspace, encoder, 48, precision, NULL, NULL), 0);
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

enum { CHIPS = 21 };

/* A chip's bytes are the same after other chips, however bright those are. */
static void expect_independence(const struct encoder *encoder, enum precision precision,
                                const float *chips, const float *embeddings)
{
    enum { CHIP = 7, BRIGHT = 2, AMONG = 5, PIXELS = 48 * 48 };
    const uint32_t dimension = encoder_info(encoder)->dimension;
    float *others = calloc((size_t)AMONG * PIXELS, sizeof(*others));
    assert_non_null(others);
    for (size_t i = 0; i < (size_t)BRIGHT * PIXELS; i++)
        others[i] = 30.0f * chips[i];
    memcpy(others + BRIGHT * PIXELS, chips + CHIP * PIXELS, PIXELS * sizeof(*others));
    float *found = embed(encoder, precision, others, AMONG);
    assert_memory_equal(found + (size_t)BRIGHT * dimension, embeddings + (size_t)CHIP * dimension,
                        dimension * sizeof(*found));
    free(found);
    free(others);
}

static void check_precision(const struct encoder *encoder, enum precision precision,
                            const float *chips, const float *exact)
{
    static const double errors_max[PRECISIONS] = {0.0, 2e-2, 5e-2};
    const size_t n_floats = CHIPS * (size_t)encoder_info(encoder)->dimension;
    float *reduced = embed(encoder, precision, chips, CHIPS);
    float *again = embed(encoder, precision, chips, CHIPS);
    const double error = relative_error(reduced, exact, n_floats);
    assert_true(error > 1e-5 && error < errors_max[precision]);
    assert_memory_equal(again, reduced, n_floats * sizeof(float));
    expect_independence(encoder, precision, chips, reduced);
    /* This precision's weights, made meanwhile, change nothing. */
    free(again);
    again = embed(encoder, PRECISION_FLOAT32, chips, CHIPS);
    assert_memory_equal(again, exact, n_floats * sizeof(float));
    free(again);
    free(reduced);
}

static void embeddings_are_near_those_of_float32(void **state)
{
    (void)state;
    if (precision_check(PRECISION_BFLOAT16, NULL) != 0 &&
        precision_check(PRECISION_INT8, NULL) != 0)
        skip();
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
        float *chips = weights_noise(CHIPS, 48, 3);
        float *exact = embed(encoder, PRECISION_FLOAT32, chips, CHIPS);
        for (enum precision i = PRECISION_BFLOAT16; i < PRECISIONS; i++) {
            if (precision_check(i, NULL) == 0)
                check_precision(encoder, i, chips, exact);
        }
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
        cmocka_unit_test(int8_products_of_whole_numbers_are_exact),
        cmocka_unit_test(int8_of_next_to_nothing),
        cmocka_unit_test(int8_of_weights_that_overflowed),
        cmocka_unit_test(int8_is_chosen_where_sums_hold),
        cmocka_unit_test(bfloat16_values_are_rounded_to_the_nearest_even),
        cmocka_unit_test(embeddings_are_near_those_of_float32),
    };
    return test_run(tests);
}
