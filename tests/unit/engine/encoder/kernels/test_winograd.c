/* Winograd's transforms of each instruction set that this processor has against the plain loops.
 * That these compute convolutions is tested in test_conv.c. */
#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#include "engine/encoder/kernels/kernels.h"
#include "tests/unit/engine/encoder/floats.h"

enum { SIDE_MAX = 13, MAPS = 2 };

static const char *const sets[] = {"avx512", "avx2", "neon", "portable", "scalar"};
enum { SETS = sizeof(sets) / sizeof(sets[0]), VECTOR_SETS = SETS - 1 };

static const double TOLERANCE = 2e-6;

/* A range of the tiles of some maps, with what the transforms read and write. */
struct fixture {
    enum winograd_tile tile;
    struct winograd call; /* of both transforms, less what to do at the end */
    uint32_t n_planes;
    size_t map_floats;   /* of all maps */
    size_t plane_floats; /* of all planes */
    float *maps;
    float *residual;
    float *bias;
};

static uint32_t n_tiles_of(enum winograd_tile tile, uint32_t side)
{
    const uint32_t a_side = (side + winograd_outputs(tile) - 1) / winograd_outputs(tile);
    return MAPS * a_side * a_side;
}

static void make_fixture(struct fixture *fixture, enum winograd_tile tile, uint32_t side,
                         uint32_t channels, uint32_t first, uint32_t n_tiles, float scale)
{
    const uint32_t p = winograd_outputs(tile) + 2;
    const size_t map_floats = (size_t)MAPS * side * side * channels;
    const size_t plane_stride = (size_t)n_tiles * channels + KERNEL_LANES;
    *fixture = (struct fixture){
        .tile = tile,
        .n_planes = p * p,
        .map_floats = map_floats,
        .plane_floats = p * p * plane_stride,
        .maps = floats_random(map_floats, side, -scale, scale),
        .residual = floats_random(map_floats, side + 1, -scale, scale),
        .bias = floats_random(channels, channels, -scale, scale),
    };
    fixture->call = (struct winograd){
        .side = side,
        .channels = channels,
        .first = first,
        .n_tiles = n_tiles,
        .in = fixture->maps,
        .plane_stride = plane_stride,
        .bias = fixture->bias,
    };
}

static void clear_fixture(struct fixture *fixture)
{
    free(fixture->maps);
    free(fixture->residual);
    free(fixture->bias);
}

static void fail_with(const struct fixture *fixture, const char *name, const char *what,
                      double error)
{
    const struct winograd *call = &fixture->call;
    fail_msg("%s: F(%u), side %u, %u channels, tiles %u + %u: %s: error %g", name,
             winograd_outputs(fixture->tile), call->side, call->channels, call->first,
             call->n_tiles, what, error);
}

/* The planes, with guards wherever nothing was written; to be freed. `together`: or tile by tile.
 */
static float *transform_input(const struct kernels *kernels, const struct fixture *fixture,
                              bool together)
{
    float *planes = floats_filled(fixture->plane_floats, FLOATS_GUARD);
    struct winograd call = fixture->call;
    if (!together)
        call.n_tiles = 1;
    for (uint32_t i = 0; i < (together ? 1 : fixture->call.n_tiles); i++) {
        call.first = fixture->call.first + i;
        call.planes = planes + (size_t)i * call.channels;
        kernels->winograd_input[fixture->tile](&call);
    }
    return planes;
}

static float *transform_output(const struct kernels *kernels, const struct fixture *fixture,
                               const float *planes, bool together)
{
    float *copy = floats_copy(planes, fixture->plane_floats);
    float *maps = floats_filled(fixture->map_floats, FLOATS_GUARD);
    struct winograd call = fixture->call;
    call.in = NULL;
    call.out = maps;
    if (!together)
        call.n_tiles = 1;
    for (uint32_t i = 0; i < (together ? 1 : fixture->call.n_tiles); i++) {
        call.first = fixture->call.first + i;
        call.planes = copy + (size_t)i * call.channels;
        kernels->winograd_output[fixture->tile](&call);
    }
    assert_memory_equal(copy, planes, fixture->plane_floats * sizeof(*copy));
    free(copy);
    return maps;
}

static void compare_input(const struct kernels *kernels, const struct fixture *fixture)
{
    float *wanted = transform_input(kernels_named("scalar"), fixture, true);
    float *found = transform_input(kernels, fixture, true);
    float *alone = transform_input(kernels, fixture, false);
    const double error = floats_error(wanted, found, fixture->plane_floats);
    if (!(error < TOLERANCE))
        fail_with(fixture, kernels->name, "input", error);
    if (memcmp(found, alone, fixture->plane_floats * sizeof(*found)) != 0)
        fail_with(fixture, kernels->name, "input: a tile alone has other bytes", 0.0);
    /* What lies between the planes was left alone. */
    const size_t used = (size_t)fixture->call.n_tiles * fixture->call.channels;
    for (size_t i = 0; i < fixture->plane_floats; i++)
        assert_int_equal(found[i] == FLOATS_GUARD, i % fixture->call.plane_stride >= used);
    free(wanted);
    free(found);
    free(alone);
}

static void compare_output(const struct kernels *kernels, const struct fixture *fixture,
                           float scale)
{
    float *planes = floats_random(fixture->plane_floats, fixture->call.side, -scale, scale);
    float *wanted = transform_output(kernels_named("scalar"), fixture, planes, true);
    float *found = transform_output(kernels, fixture, planes, true);
    float *alone = transform_output(kernels, fixture, planes, false);
    const double error = floats_error(wanted, found, fixture->map_floats);
    if (!(error < TOLERANCE))
        fail_with(fixture, kernels->name, "output", error);
    if (memcmp(found, alone, fixture->map_floats * sizeof(*found)) != 0)
        fail_with(fixture, kernels->name, "output: a tile alone has other bytes", 0.0);
    free(planes);
    free(wanted);
    free(found);
    free(alone);
}

/* Both transforms, the second with the four combinations of residual and ReLU. */
static void compare(const struct kernels *kernels, enum winograd_tile tile, uint32_t side,
                    uint32_t channels, uint32_t first, uint32_t n_tiles)
{
    struct fixture fixture;
    make_fixture(&fixture, tile, side, channels, first, n_tiles, 1.0f);
    compare_input(kernels, &fixture);
    for (uint32_t options = 0; options < 4; options++) {
        fixture.call.residual = options & 1 ? fixture.residual : NULL;
        fixture.call.relu = options & 2;
        compare_output(kernels, &fixture, 1.0f);
    }
    clear_fixture(&fixture);
}

static void compare_sides(enum winograd_tile tile)
{
    for (size_t set = 0; set < VECTOR_SETS; set++) {
        const struct kernels *kernels = kernels_named(sets[set]);
        for (uint32_t side = 1; kernels != NULL && side <= SIDE_MAX; side++) {
            const uint32_t n = n_tiles_of(tile, side);
            const uint32_t channels = (1 + side % 3) * KERNEL_LANES;
            compare(kernels, tile, side, channels, 0, n);
            /* From the middle of the first map on into the second, and the last tile. */
            compare(kernels, tile, side, channels, n / 3, n - n / 3 - n / 4);
            compare(kernels, tile, side, channels, n - 1, 1);
        }
    }
}

static void transforms_of_2x2_outputs(void **state)
{
    (void)state;
    compare_sides(WINOGRAD_2);
}

static void transforms_of_3x3_outputs(void **state)
{
    (void)state;
    compare_sides(WINOGRAD_3);
}

static void transforms_of_4x4_outputs(void **state)
{
    (void)state;
    compare_sides(WINOGRAD_4);
}

static void transforms_of_5x5_outputs(void **state)
{
    (void)state;
    compare_sides(WINOGRAD_5);
}

static void transforms_of_6x6_outputs(void **state)
{
    (void)state;
    compare_sides(WINOGRAD_6);
}

/* Tiles of a map that lie beside others' must not be written, nor a whole other map. */
static void output_writes_its_tiles_alone(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SETS * WINOGRAD_TILES; i++) {
        const struct kernels *kernels = kernels_named(sets[i / WINOGRAD_TILES]);
        if (kernels == NULL)
            continue;
        const enum winograd_tile tile = (enum winograd_tile)(i % WINOGRAD_TILES);
        const uint32_t m = winograd_outputs(tile);
        const uint32_t side = 2 * m + 1; /* three tiles a row, the last one wide */
        struct fixture fixture;
        make_fixture(&fixture, tile, side, KERNEL_LANES, 5, 1, 1.0f);
        float *planes = floats_random(fixture.plane_floats, 1, -1.0f, 1.0f);
        float *maps = transform_output(kernels, &fixture, planes, true);
        for (size_t k = 0; k < fixture.map_floats; k++) {
            const size_t position = k / KERNEL_LANES;
            const size_t y = position / side;
            const size_t x = position % side;
            assert_int_equal(maps[k] != FLOATS_GUARD, y >= m && y < 2 * m && x == 2 * m);
        }
        free(maps);
        free(planes);
        clear_fixture(&fixture);
    }
}

static void transforms_of_denormal_numbers(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < VECTOR_SETS * WINOGRAD_TILES; i++) {
        const struct kernels *kernels = kernels_named(sets[i / WINOGRAD_TILES]);
        if (kernels == NULL)
            continue;
        const enum winograd_tile tile = (enum winograd_tile)(i % WINOGRAD_TILES);
        struct fixture fixture;
        make_fixture(&fixture, tile, 7, KERNEL_LANES, 0, n_tiles_of(tile, 7), 1e-41f);
        float *planes = transform_input(kernels_named("scalar"), &fixture, true);
        const double largest = floats_largest(planes, fixture.plane_floats);
        assert_true(largest > 1e-42 && largest < (double)FLT_MIN);
        compare_input(kernels, &fixture);
        compare_output(kernels, &fixture, 1e-42f);
        free(planes);
        clear_fixture(&fixture);
    }
}

static void relu_makes_zero_of_what_is_not_a_number(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SETS * WINOGRAD_TILES; i++) {
        const struct kernels *kernels = kernels_named(sets[i / WINOGRAD_TILES]);
        if (kernels == NULL)
            continue;
        struct fixture fixture;
        const enum winograd_tile tile = (enum winograd_tile)(i % WINOGRAD_TILES);
        make_fixture(&fixture, tile, 5, KERNEL_LANES, 0, n_tiles_of(tile, 5), 1.0f);
        fixture.call.relu = true;
        float *planes = floats_filled(fixture.plane_floats, NAN);
        float *maps = transform_output(kernels, &fixture, planes, true);
        for (size_t k = 0; k < fixture.map_floats; k++)
            assert_true(maps[k] == 0.0f);
        free(maps);
        free(planes);
        clear_fixture(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transforms_of_2x2_outputs),
        cmocka_unit_test(transforms_of_3x3_outputs),
        cmocka_unit_test(transforms_of_4x4_outputs),
        cmocka_unit_test(transforms_of_5x5_outputs),
        cmocka_unit_test(transforms_of_6x6_outputs),
        cmocka_unit_test(output_writes_its_tiles_alone),
        cmocka_unit_test(transforms_of_denormal_numbers),
        cmocka_unit_test(relu_makes_zero_of_what_is_not_a_number),
    };
    return test_run(tests);
}
