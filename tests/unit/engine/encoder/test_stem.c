/* The first convolution with the normalisation folded in and its pool, against the definition in
 * double precision: chips are normalised, replicated to the input channels and padded with zeros.
 */
#include "tests/test.h"

#include <float.h>
#include <math.h>

#include "engine/encoder/stem.h"
#include "tests/unit/engine/encoder/floats.h"

enum { CHIPS = 2, SIZE_MAX_TESTED = 33 };

/* Of the largest output: the folded mean is subtracted again. */
static const double TOLERANCE = 5e-6;

static const float mean[] = {0.485f, 0.456f, 0.406f};
static const float deviation[] = {0.229f, 0.224f, 0.225f};

struct fixture {
    struct stem stem;
    struct stem_plan plan;
    float *weights; /* [kernel][kernel][in][out] */
    float *bias;
    float *chips;
    uint32_t pooled_side;
    size_t n_out;
};

static void make_stem(struct fixture *fixture, uint32_t in, uint32_t out, uint32_t kernel)
{
    const size_t n_weights = (size_t)kernel * kernel * in * out;
    *fixture = (struct fixture){
        .weights = floats_random(n_weights, kernel, -1.0f, 1.0f),
        .bias = floats_random(out, in, -1.0f, 1.0f),
    };
    fixture->stem = (struct stem){
        .in_channels = in,
        .out_channels = out,
        .kernel = kernel,
        .weights = floats_copy(fixture->weights, n_weights),
        .bias = floats_copy(fixture->bias, out),
    };
}

static void clear_fixture(struct fixture *fixture)
{
    stem_plan_clear(&fixture->plan);
    stem_clear(&fixture->stem);
    free(fixture->weights);
    free(fixture->bias);
    free(fixture->chips);
}

static double window_sum(const struct fixture *fixture, const float *chip, uint32_t y, uint32_t x,
                         uint32_t out)
{
    const struct stem *stem = &fixture->stem;
    const uint32_t size = fixture->plan.size;
    const uint32_t padding = stem->kernel / 2;
    double sum = (double)fixture->bias[out];
    for (uint32_t tap = 0; tap < stem->kernel * stem->kernel; tap++) {
        const uint32_t row = y * STEM_STRIDE + tap / stem->kernel;
        const uint32_t column = x * STEM_STRIDE + tap % stem->kernel;
        if (row < padding || row >= size + padding || column < padding || column >= size + padding)
            continue;
        const double value = (double)chip[(size_t)(row - padding) * size + column - padding];
        for (uint32_t in = 0; in < stem->in_channels; in++) {
            const size_t at = ((size_t)tap * stem->in_channels + in) * stem->out_channels + out;
            sum +=
                (value - (double)mean[in]) / (double)deviation[in] * (double)fixture->weights[at];
        }
    }
    return sum;
}

/* Of the convolution, after ReLU. */
static float *by_definition_unpooled(const struct fixture *fixture, const float *chip)
{
    const uint32_t side = fixture->plan.side, channels = fixture->stem.out_channels;
    float *map = floats_filled((size_t)side * side * channels, 0.0f);
    for (uint32_t i = 0; i < side * side * channels; i++) {
        const uint32_t at = i / channels;
        map[i] = (float)fmax(0.0, window_sum(fixture, chip, at / side, at % side, i % channels));
    }
    return map;
}

static float window_maximum(const struct fixture *fixture, const float *map, uint32_t y, uint32_t x,
                            uint32_t channel)
{
    const uint32_t side = fixture->plan.side, channels = fixture->stem.out_channels;
    float maximum = 0.0f;
    for (uint32_t row = y > 0 ? 2 * y - 1 : 0; row < smaller(2 * y + 2, side); row++) {
        for (uint32_t column = x > 0 ? 2 * x - 1 : 0; column < smaller(2 * x + 2, side); column++)
            maximum = fmaxf(maximum, map[((size_t)row * side + column) * channels + channel]);
    }
    return maximum;
}

/* To be freed. */
static float *by_definition(const struct fixture *fixture)
{
    const struct stem_plan *plan = &fixture->plan;
    const uint32_t padded = padded_channels(fixture->stem.out_channels);
    const uint32_t side = fixture->pooled_side, n_positions = side * side;
    float *maps = floats_filled(fixture->n_out, 0.0f);
    for (uint32_t chip = 0; chip < CHIPS; chip++) {
        float *map = by_definition_unpooled(fixture, fixture->chips +
                                                         (size_t)chip * plan->size * plan->size);
        for (uint32_t at = 0; at < n_positions; at++) {
            float *out = maps + ((size_t)chip * n_positions + at) * padded;
            for (uint32_t channel = 0; channel < fixture->stem.out_channels; channel++)
                out[channel] = window_maximum(fixture, map, at / side, at % side, channel);
        }
        free(map);
    }
    return maps;
}

/* To be freed. `n` chips from `chips` on. */
static float *apply(const struct fixture *fixture, const struct kernels *kernels,
                    const float *chips, uint32_t n)
{
    const struct stem_plan *plan = &fixture->plan;
    struct conv_scratch scratch = {
        .kernels = kernels,
        .zeros = floats_filled(padded_channels(fixture->stem.out_channels), 0.0f),
    };
    float *padded = floats_filled((size_t)plan->padded_size * plan->padded_size, 0.0f);
    float *rows = floats_filled(
        (size_t)STEM_ROWS * plan->side * padded_channels(fixture->stem.out_channels), 0.0f);
    float *out = floats_filled(fixture->n_out, FLOATS_GUARD);
    stem_apply(&fixture->stem, plan, &scratch, chips, n, padded, rows, out);
    free(rows);
    free(padded);
    free(scratch.zeros);
    return out;
}

static void compare(const struct fixture *fixture, const char *name)
{
    const struct stem *stem = &fixture->stem;
    const struct kernels *kernels = kernels_named(name);
    if (kernels == NULL)
        return;
    float *wanted = by_definition(fixture);
    float *found = apply(fixture, kernels, fixture->chips, CHIPS);
    const double error = floats_error(wanted, found, fixture->n_out);
    if (!(error < TOLERANCE))
        fail_msg("%s: %u to %u channels, kernel %u, size %u: error %g", name, stem->in_channels,
                 stem->out_channels, stem->kernel, fixture->plan.size, error);
    for (size_t i = 0; i < fixture->n_out; i++) {
        if (i % padded_channels(stem->out_channels) >= stem->out_channels)
            assert_true(found[i] == 0.0f);
    }
    /* The last chip alone: the same bytes, and nothing written beyond its map. */
    const size_t map_floats = fixture->n_out / CHIPS;
    float *alone = apply(fixture, kernels,
                         fixture->chips + (CHIPS - 1) * fixture->plan.size * fixture->plan.size, 1);
    assert_memory_equal(alone, found + (CHIPS - 1) * map_floats, map_floats * sizeof(*alone));
    for (size_t i = map_floats; i < fixture->n_out; i++)
        assert_true(alone[i] == FLOATS_GUARD);
    free(alone);
    free(found);
    free(wanted);
}

static void check_stem(uint32_t in, uint32_t out, uint32_t kernel, uint32_t size)
{
    static const char *const names[] = {"avx512", "avx2", "neon", "portable", "scalar"};
    struct fixture fixture;
    make_stem(&fixture, in, out, kernel);
    assert_int_equal(stem_fold(&fixture.stem, mean, deviation, NULL), 0);
    assert_null(fixture.stem.weights);
    assert_int_equal(stem_plan_init(&fixture.plan, &fixture.stem, size, NULL), 0);
    assert_int_equal(fixture.plan.side, (size + 1) / 2);
    fixture.chips = floats_random((size_t)CHIPS * size * size, size, 0.0f, 1.0f);
    fixture.pooled_side = (fixture.plan.side + 1) / 2;
    fixture.n_out =
        (size_t)CHIPS * fixture.pooled_side * fixture.pooled_side * padded_channels(out);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        compare(&fixture, names[i]);
    clear_fixture(&fixture);
}

static const uint32_t kernel_sides[] = {3, 7, 15};
static const uint32_t sizes[] = {16, 17, SIZE_MAX_TESTED};

static void check_shapes(uint32_t in, uint32_t out)
{
    for (uint32_t i = 0; i < 9; i++)
        check_stem(in, out, kernel_sides[i / 3], sizes[i % 3]);
}

static void grey_stems(void **state)
{
    (void)state;
    check_shapes(1, 20);
}

static void colour_stems(void **state)
{
    (void)state;
    check_shapes(3, 5);
    check_stem(3, 112, 7, 17);
}

/* The widest maps that there are: positions of a row fill the scratch's lists. */
static void largest_chips(void **state)
{
    (void)state;
    check_stem(1, 1, CONV_KERNEL_MAX, ENCODER_INPUT_SIZE_MAX - 1);
    check_stem(1, 1, 3, ENCODER_INPUT_SIZE_MAX);
}

static void refuses_weights_that_overflow(void **state)
{
    (void)state;
    struct fixture fixture;
    make_stem(&fixture, 3, 4, 3);
    for (size_t i = 0; i < (size_t)3 * 3 * 3 * 4; i++)
        fixture.stem.weights[i] = FLT_MAX / 2;
    struct error err = {0};
    assert_int_equal(stem_fold(&fixture.stem, mean, deviation, &err), ERROR_INVALID);
    assert_non_null(strstr(err.message, "overflows float32"));
    clear_fixture(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_stems),
        cmocka_unit_test(colour_stems),
        cmocka_unit_test(largest_chips),
        cmocka_unit_test(refuses_weights_that_overflow),
    };
    return test_run(tests);
}
