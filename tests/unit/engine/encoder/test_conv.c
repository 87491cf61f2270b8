/* Convolutions by every algorithm against the definition in double precision. */
#include "tests/test.h"

#include <math.h>

#include "engine/encoder/conv.h"
#include "tests/unit/engine/encoder/floats.h"

enum { MAPS = 5, ALGORITHMS = CONV_DIRECT + 1, GUARDS = KERNEL_LANES };

/* Of the sum of the magnitudes of an output's terms. Winograd's larger tiles subtract what is large
 * to get what is small. */
static const double tolerances[ALGORITHMS] = {
    [CONV_WINOGRAD_2] = 5e-7, [CONV_WINOGRAD_3] = 1.5e-6, [CONV_WINOGRAD_4] = 5e-6,
    [CONV_WINOGRAD_5] = 8e-6, [CONV_WINOGRAD_6] = 1e-5,   [CONV_DIRECT] = 5e-7,
};

/* A convolution, maps for it and what comes out of it. */
struct fixture {
    struct conv conv;
    float *weights; /* [kernel][kernel][in][out] */
    float *bias;
    uint32_t side;
    uint32_t out_side;
    float *in; /* MAPS maps, as all these */
    float *residual;
    float *sums; /* by the definition, before residual and ReLU */
    size_t map_floats;
    double scale; /* what errors are measured by: see tolerances */
    struct conv_scratch scratch;
};

static double window_sum(const struct fixture *fixture, uint32_t map, uint32_t y, uint32_t x,
                         uint32_t out, double *magnitudes)
{
    const struct conv *conv = &fixture->conv;
    const uint32_t padding = conv->kernel / 2;
    const uint32_t in_stride = padded_channels(conv->in_channels);
    double sum = (double)fixture->bias[out];
    *magnitudes = fabs(sum);
    for (uint32_t tap = 0; tap < conv->kernel * conv->kernel; tap++) {
        const uint32_t row = y * conv->stride + tap / conv->kernel;
        const uint32_t column = x * conv->stride + tap % conv->kernel;
        if (row < padding || row >= fixture->side + padding || column < padding ||
            column >= fixture->side + padding)
            continue;
        const float *values =
            fixture->in +
            (((size_t)map * fixture->side + row - padding) * fixture->side + column - padding) *
                in_stride;
        const float *weights =
            fixture->weights + (size_t)tap * conv->in_channels * conv->out_channels + out;
        for (uint32_t in = 0; in < conv->in_channels; in++) {
            const double term =
                (double)values[in] * (double)weights[(size_t)in * conv->out_channels];
            sum += term;
            *magnitudes += fabs(term);
        }
    }
    return sum;
}

static void sum_by_definition(struct fixture *fixture)
{
    const uint32_t out_stride = padded_channels(fixture->conv.out_channels);
    const uint32_t n_positions = fixture->out_side * fixture->out_side;
    fixture->sums = floats_filled(MAPS * fixture->map_floats, 0.0f);
    for (uint32_t i = 0; i < MAPS * n_positions; i++) {
        const uint32_t in_map = i % n_positions;
        for (uint32_t out = 0; out < fixture->conv.out_channels; out++) {
            double magnitudes;
            fixture->sums[(size_t)i * out_stride + out] =
                (float)window_sum(fixture, i / n_positions, in_map / fixture->out_side,
                                  in_map % fixture->out_side, out, &magnitudes);
            fixture->scale = fmax(fixture->scale, magnitudes);
        }
    }
}

static void make_fixture(struct fixture *fixture, uint32_t in, uint32_t out, uint32_t kernel,
                         uint32_t stride, uint32_t side)
{
    *fixture = (struct fixture){
        .conv = {.in_channels = in, .out_channels = out, .kernel = kernel, .stride = stride},
        .weights = floats_random((size_t)kernel * kernel * in * out, in + out, -1.0f, 1.0f),
        .bias = floats_random(out, out, -1.0f, 1.0f),
        .side = side,
        .out_side = window_output_side(side, kernel, stride),
        .in = floats_random_maps(MAPS, side, in, side),
        .scratch.kernels = kernels_best(),
        .scratch.zeros = floats_filled(padded_channels(in), 0.0f),
    };
    fixture->residual = floats_random_maps(MAPS, fixture->out_side, out, side + 1);
    fixture->map_floats = (size_t)fixture->out_side * fixture->out_side * padded_channels(out);
    sum_by_definition(fixture);
    assert_int_equal(conv_pack(&fixture->conv, fixture->weights, fixture->bias, NULL), 0);
}

static void clear_fixture(struct fixture *fixture)
{
    conv_clear(&fixture->conv);
    assert_null(fixture->conv.panels);
    free(fixture->weights);
    free(fixture->bias);
    free(fixture->in);
    free(fixture->residual);
    free(fixture->sums);
    free(fixture->scratch.zeros);
}

static void fail_with(const struct fixture *fixture, const struct conv_call *call, const char *what,
                      double error)
{
    const struct conv *conv = &fixture->conv;
    fail_msg("%s, %s: %u to %u channels, kernel %u, stride %u, %u maps of side %u, residual %d, "
             "ReLU %d: %s: error %g",
             fixture->scratch.kernels->name, conv_algorithm_name(call->algorithm),
             conv->in_channels, conv->out_channels, conv->kernel, conv->stride, call->n, call->side,
             call->residual != NULL, call->relu, what, error);
}

static void expect_guards(const struct fixture *fixture, const struct conv_call *call,
                          const float *guards, const char *what)
{
    for (uint32_t i = 0; i < GUARDS; i++) {
        if (guards[i] != FLOATS_GUARD)
            fail_with(fixture, call, what, 0.0);
    }
}

/* Applied to the first n maps, with exactly the planes that are promised to suffice for MAPS. */
static float *apply(struct fixture *fixture, struct conv_call *call, bool in_place)
{
    const size_t n_planes = conv_plane_floats(&fixture->conv, call->algorithm, fixture->side, MAPS);
    const size_t n_out = call->n * fixture->map_floats;
    float *planes = floats_filled(n_planes + GUARDS, FLOATS_GUARD);
    float *out = floats_filled(n_out + GUARDS, FLOATS_GUARD);
    fixture->scratch.planes = planes;
    call->out = out;
    const float *residual = call->residual;
    if (in_place && residual != NULL) {
        memcpy(out, residual, n_out * sizeof(*out));
        call->residual = out;
    }
    conv_apply(&fixture->scratch, call);
    call->residual = residual;
    expect_guards(fixture, call, planes + n_planes, "planes overflow");
    expect_guards(fixture, call, out + n_out, "outputs overflow");
    free(planes);
    return out;
}

static void expect_sums(const struct fixture *fixture, const struct conv_call *call,
                        const float *found)
{
    const size_t n = call->n * fixture->map_floats;
    float *wanted = floats_copy(fixture->sums, n);
    for (size_t i = 0; i < n; i++) {
        if (call->residual != NULL)
            wanted[i] += call->residual[i];
        if (call->relu && wanted[i] < 0.0f)
            wanted[i] = 0.0f;
    }
    const double error =
        floats_error(wanted, found, n) * floats_largest(wanted, n) / fixture->scale;
    if (!(error < tolerances[call->algorithm]))
        fail_with(fixture, call, "differs", error);
    const uint32_t padded = padded_channels(fixture->conv.out_channels);
    for (size_t i = 0; i < n; i++) {
        if (i % padded >= fixture->conv.out_channels && found[i] != 0.0f)
            fail_with(fixture, call, "the padding is not zero", (double)found[i]);
    }
    free(wanted);
}

/* Each map alone has the bytes that it has among others. */
static void expect_independent_maps(struct fixture *fixture, const struct conv_call *together,
                                    bool in_place, const float *found)
{
    const size_t in_floats =
        (size_t)fixture->side * fixture->side * padded_channels(fixture->conv.in_channels);
    for (uint32_t map = 0; map < together->n; map++) {
        struct conv_call call = *together;
        call.n = 1;
        call.in += map * in_floats;
        if (call.residual != NULL)
            call.residual += map * fixture->map_floats;
        float *alone = apply(fixture, &call, in_place);
        if (memcmp(alone, found + map * fixture->map_floats,
                   fixture->map_floats * sizeof(*alone)) != 0)
            fail_with(fixture, &call, "a map alone has other bytes", 0.0);
        free(alone);
    }
}

/* in_place: the residual, where there is one, lies where the output will be. */
static void check_algorithm(struct fixture *fixture, enum conv_algorithm algorithm, bool in_place)
{
    if (algorithm != CONV_DIRECT)
        assert_int_equal(conv_prepare(&fixture->conv, algorithm, NULL), 0);
    for (uint32_t n = 1; n <= MAPS; n++) {
        struct conv_call call = {
            .conv = &fixture->conv,
            .algorithm = algorithm,
            .n = n,
            .side = fixture->side,
            .in = fixture->in,
            .residual = n % 2 != 0 ? fixture->residual : NULL,
            .relu = (n / 2 + fixture->side) % 2 == 0,
        };
        float *found = apply(fixture, &call, in_place);
        expect_sums(fixture, &call, found);
        if (n == MAPS)
            expect_independent_maps(fixture, &call, in_place, found);
        free(found);
    }
}

/* By all algorithms that there are for it. */
static void check_conv(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride, uint32_t side,
                       const struct kernels *kernels)
{
    struct fixture fixture;
    make_fixture(&fixture, in, out, kernel, stride, side);
    fixture.scratch.kernels = kernels;
    const bool any = kernel == 3 && stride == 1;
    for (uint32_t i = any ? 0 : CONV_DIRECT; i < ALGORITHMS; i++) {
        check_algorithm(&fixture, (enum conv_algorithm)i, false);
        check_algorithm(&fixture, (enum conv_algorithm)i, true);
    }
    clear_fixture(&fixture);
}

static const uint32_t channels[][2] = {{1, 16},  {3, 20},  {16, 1},  {16, 16}, {20, 33}, {33, 3},
                                       {33, 80}, {64, 64}, {80, 20}, {80, 64}, {1, 1}};
enum { CHANNEL_PAIRS = sizeof(channels) / sizeof(channels[0]) };
static const uint32_t sides[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 14};
enum { SIDES = sizeof(sides) / sizeof(sides[0]) };

static void check_channels_and_sides(uint32_t kernel, uint32_t stride)
{
    for (uint32_t i = 0; i < CHANNEL_PAIRS * SIDES; i++)
        check_conv(channels[i / SIDES][0], channels[i / SIDES][1], kernel, stride, sides[i % SIDES],
                   kernels_best());
}

static void windows_of_one(void **state)
{
    (void)state;
    check_channels_and_sides(1, 1);
}

static void windows_of_one_with_stride(void **state)
{
    (void)state;
    check_channels_and_sides(1, 2);
}

static void windows_of_three(void **state)
{
    (void)state;
    check_channels_and_sides(3, 1);
}

static void windows_of_three_with_stride(void **state)
{
    (void)state;
    check_channels_and_sides(3, 2);
}

/* So many channels that taps, rows and tiles are taken in several goes. */
static void many_channels(void **state)
{
    (void)state;
    static const uint32_t many_sides[] = {1, 3, 9};
    for (uint32_t i = 0; i < 3; i++) {
        check_conv(160, 64, 3, 1, many_sides[i], kernels_best());
        check_conv(1040, 16, 3, 1, many_sides[i], kernels_best());
        check_conv(1040, 80, 1, 2, many_sides[i], kernels_best());
        check_conv(160, 96, 3, 2, many_sides[i], kernels_best());
    }
}

static void every_set_of_kernels(void **state)
{
    (void)state;
    static const char *const names[] = {"avx512", "avx2", "neon", "portable", "scalar"};
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct kernels *kernels = kernels_named(names[i]);
        if (kernels == NULL)
            continue;
        check_conv(20, 33, 3, 1, 7, kernels);
        check_conv(33, 52, 3, 2, 8, kernels);
        check_conv(33, 80, 1, 1, 3, kernels);
    }
}

/* Weights of an algorithm are made once. */
static void packing_again_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    make_fixture(&fixture, 3, 5, 3, 1, 4);
    assert_int_equal(conv_prepare(&fixture.conv, CONV_WINOGRAD_4, NULL), 0);
    const float *first = fixture.conv.winograd[WINOGRAD_4];
    assert_non_null(first);
    assert_int_equal(conv_prepare(&fixture.conv, CONV_WINOGRAD_4, NULL), 0);
    assert_ptr_equal(fixture.conv.winograd[WINOGRAD_4], first);
    assert_null(fixture.conv.winograd[WINOGRAD_2]);
    clear_fixture(&fixture);
}

/* Winograd's tiles exist for windows of three at stride 1 only; there, large maps profit. */
static void algorithms_are_chosen_by_shape(void **state)
{
    (void)state;
    struct conv conv = {.in_channels = 64, .out_channels = 64, .kernel = 3, .stride = 2};
    assert_int_equal(conv_choose(&conv, 28, 32, WINOGRAD_TILES, PRECISION_FLOAT32), CONV_DIRECT);
    conv = (struct conv){.in_channels = 64, .out_channels = 64, .kernel = 1, .stride = 1};
    assert_int_equal(conv_choose(&conv, 28, 32, WINOGRAD_TILES, PRECISION_FLOAT32), CONV_DIRECT);
    conv.kernel = 3;
    assert_int_not_equal(conv_choose(&conv, 28, 32, WINOGRAD_TILES, PRECISION_FLOAT32),
                         CONV_DIRECT);
    /* As far as tiles are granted: F(6)'s weights are 64 matrices. */
    for (uint32_t n = 1; n <= WINOGRAD_TILES; n++)
        assert_true(conv_choose(&conv, 28, 32, n, PRECISION_FLOAT32) < n);
    assert_int_equal(conv_choose(&conv, 28, 32, 0, PRECISION_FLOAT32), CONV_DIRECT);
    assert_true(conv_winograd_bytes(&conv, WINOGRAD_6) == 64u * 64 * 64 * sizeof(float));
    /* One small map: the transformed weights' way from memory would cost more. */
    conv = (struct conv){.in_channels = 512, .out_channels = 512, .kernel = 3, .stride = 1};
    assert_int_equal(conv_choose(&conv, 1, 1, WINOGRAD_TILES, PRECISION_FLOAT32), CONV_DIRECT);
    assert_int_equal(conv_plane_floats(&conv, CONV_DIRECT, 7, 32), 0);
    for (uint32_t i = 0; i < ALGORITHMS; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_string_not_equal(conv_algorithm_name((enum conv_algorithm)i),
                                    conv_algorithm_name((enum conv_algorithm)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_of_one),
        cmocka_unit_test(windows_of_one_with_stride),
        cmocka_unit_test(windows_of_three),
        cmocka_unit_test(windows_of_three_with_stride),
        cmocka_unit_test(many_channels),
        cmocka_unit_test(every_set_of_kernels),
        cmocka_unit_test(packing_again_changes_nothing),
        cmocka_unit_test(algorithms_are_chosen_by_shape),
    };
    return test_run(tests);
}
