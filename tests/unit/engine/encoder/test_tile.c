/* The network on a tile: its maps against convolutions in double precision in the plainest way, and
 * what is pooled from them against encoder_embed. */
#include "tests/test.h"

#include <math.h>

#include "engine/encoder/encoder.h"
#include "tests/unit/engine/encoder/weights.h"

static const struct weights_shape shapes[] = {
    {.in_channels = 1, .kernel = 7, .widths = {8, 16, 24, 32}, .depths = {1, 2, 1, 1}},
    {.bottleneck = true,
     .in_channels = 1,
     .kernel = 7,
     .widths = {16, 20, 24, 40},
     .depths = {1, 1, 2, 1}},
};

static const char metadata[] =
    "{\"format\": 1, \"input_size\": 48, \"mean\": [0.4], \"std\": [0.3], "
    "\"pool\": {\"stages\": [1, 2, 3, 4], \"statistics\": [\"mean\", \"std\"]}}";

static struct encoder *make_encoder(struct weights *weights)
{
    struct encoder *encoder = NULL;
    size_t size = 0;
    weights->metadata = metadata;
    uint8_t *data = weights_write(weights, &size);
    assert_int_equal(encoder_create(&encoder, data, size, NULL), 0);
    free(data);
    return encoder;
}

/* ---- the network, plainly ---- */

struct plain_map {
    uint32_t side, n_channels;
    double *values; /* side x side x n_channels; owned */
};

static struct plain_map plain_map_create(uint32_t side, uint32_t n_channels)
{
    struct plain_map map = {side, n_channels,
                            calloc((size_t)side * side * n_channels, sizeof(double))};
    assert_non_null(map.values);
    return map;
}

/* 0 beyond the map. */
static double value_at(const struct plain_map *map, int64_t y, int64_t x, uint32_t channel)
{
    if (y < 0 || x < 0 || y >= map->side || x >= map->side)
        return 0;
    return map->values[((size_t)y * map->side + (size_t)x) * map->n_channels + channel];
}

static double sum_at(const struct plain_map *in, const struct weights_tensor *weight, uint32_t out,
                     int64_t top, int64_t left)
{
    const uint32_t kernel = weight->shape[2];
    const float *values = weight->values + (size_t)out * in->n_channels * kernel * kernel;
    double sum = 0;
    for (uint32_t c = 0; c < in->n_channels; c++) {
        for (uint32_t i = 0; i < kernel * kernel; i++)
            sum += (double)*values++ * value_at(in, top + i / kernel, left + i % kernel, c);
    }
    return sum;
}

/* A convolution, its batch norm, and ReLU after `residual` is added where there is one. */
static struct plain_map convolve(struct weights *weights, const char *conv, const char *norm,
                                 const struct plain_map *in, uint32_t stride,
                                 const struct plain_map *residual)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    const float *norms[4];
    char name[128];
    snprintf(name, sizeof(name), "%s.weight", conv);
    const struct weights_tensor *weight = weights_find(weights, name);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s.%s", norm, parts[i]);
        norms[i] = weights_find(weights, name)->values;
    }
    const int64_t padding = weight->shape[2] / 2;
    struct plain_map out = plain_map_create((in->side + stride - 1) / stride, weight->shape[0]);
    assert_int_equal(weight->shape[1], in->n_channels);
    for (size_t i = 0; i < (size_t)out.side * out.side * out.n_channels; i++) {
        const uint32_t c = i % out.n_channels;
        const int64_t y = (int64_t)(i / out.n_channels / out.side),
                      x = (int64_t)(i / out.n_channels % out.side);
        const double sum = sum_at(in, weight, c, y * stride - padding, x * stride - padding);
        out.values[i] =
            (sum - (double)norms[2][c]) / sqrt((double)norms[3][c] + 1e-5) * (double)norms[0][c] +
            (double)norms[1][c];
        if (residual != NULL)
            out.values[i] += residual->values[i];
    }
    return out;
}

static void cut_negative(struct plain_map *map)
{
    for (size_t i = 0; i < (size_t)map->side * map->side * map->n_channels; i++)
        map->values[i] = fmax(0, map->values[i]);
}

static struct plain_map pool_3x3(const struct plain_map *in)
{
    struct plain_map out = plain_map_create((in->side + 1) / 2, in->n_channels);
    for (size_t i = 0; i < (size_t)out.side * out.side * out.n_channels; i++) {
        const int64_t y = (int64_t)(i / out.n_channels / out.side);
        const int64_t x = (int64_t)(i / out.n_channels % out.side);
        for (int64_t k = 0; k < 9; k++)
            out.values[i] = fmax(out.values[i], value_at(in, 2 * y - 1 + k / 3, 2 * x - 1 + k % 3,
                                                         (uint32_t)(i % out.n_channels)));
    }
    return out;
}

static struct plain_map apply_block(struct weights *weights, const struct weights_shape *shape,
                                    const char *block, const struct plain_map *in, uint32_t stride,
                                    bool downsamples)
{
    const uint32_t n_convs = shape->bottleneck ? 3 : 2, strided = shape->bottleneck ? 1 : 0;
    struct plain_map map = *in, residual = *in;
    char conv[80], norm[80];
    snprintf(conv, sizeof(conv), "%s.downsample.0", block);
    snprintf(norm, sizeof(norm), "%s.downsample.1", block);
    if (downsamples)
        residual = convolve(weights, conv, norm, in, stride, NULL);
    for (uint32_t i = 0; i < n_convs; i++) {
        snprintf(conv, sizeof(conv), "%s.conv%u", block, i + 1);
        snprintf(norm, sizeof(norm), "%s.bn%u", block, i + 1);
        struct plain_map next = convolve(weights, conv, norm, &map, i == strided ? stride : 1,
                                         i + 1 == n_convs ? &residual : NULL);
        cut_negative(&next);
        if (i > 0)
            free(map.values);
        map = next;
    }
    if (downsamples)
        free(residual.values);
    return map;
}

/* The maps of stages 1 to 4, to be freed. */
static void run_plainly(struct weights *weights, const struct weights_shape *shape,
                        const float *tile, uint32_t side, struct plain_map maps[ENCODER_STAGES])
{
    struct plain_map chip = plain_map_create(side, 1);
    for (size_t i = 0; i < (size_t)side * side; i++)
        chip.values[i] = ((double)tile[i] - (double)0.4f) / (double)0.3f;
    struct plain_map stem = convolve(weights, "conv1", "bn1", &chip, 2, NULL);
    cut_negative(&stem);
    struct plain_map map = pool_3x3(&stem);
    free(chip.values);
    free(stem.values);
    for (uint32_t stage = 0; stage < ENCODER_STAGES; stage++) {
        for (uint32_t i = 0; i < shape->depths[stage]; i++) {
            char block[64];
            snprintf(block, sizeof(block), "layer%u.%u", stage + 1, i);
            const bool first = i == 0 && stage > 0;
            struct plain_map next = apply_block(weights, shape, block, &map, first ? 2 : 1,
                                                first || map.n_channels != shape->widths[stage]);
            if (i > 0 || stage == 0)
                free(map.values);
            map = next;
        }
        maps[stage] = map;
    }
}

/* ---- maps ---- */

/* What encoder_run_tile hands over. */
struct taken {
    uint32_t n; /* stages */
    struct encoder_map maps[ENCODER_STAGES];
};

static void take(void *context, uint32_t stage, const struct encoder_map *map)
{
    struct taken *taken = context;
    const size_t size = (size_t)map->side * map->side * map->stride * sizeof(float);
    assert_int_equal(stage, taken->n + 1);
    taken->maps[taken->n] = *map;
    float *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, map->values, size);
    taken->maps[taken->n++].values = copy;
}

static void taken_clear(struct taken *taken)
{
    for (uint32_t i = 0; i < taken->n; i++)
        free((float *)taken->maps[i].values);
    taken->n = 0;
}

static struct encoder_workspace *make_workspace(const struct encoder *encoder, uint32_t side,
                                                enum precision precision)
{
    struct encoder_workspace *workspace = NULL;
    assert_int_equal(
        encoder_workspace_create_tile(&workspace, encoder, side, precision, NULL, NULL), 0);
    return workspace;
}

/* The largest difference over the largest value. */
static double error_of(const struct encoder_map *found, const struct plain_map *wanted)
{
    double largest = 0, difference = 0;
    for (size_t i = 0; i < (size_t)wanted->side * wanted->side; i++) {
        for (uint32_t c = 0; c < wanted->n_channels; c++) {
            const double value = (double)found->values[i * found->stride + c];
            if (!(value >= 0 && isfinite(value)))
                return INFINITY;
            largest = fmax(largest, wanted->values[i * wanted->n_channels + c]);
            difference = fmax(difference, fabs(value - wanted->values[i * wanted->n_channels + c]));
        }
    }
    return difference / largest;
}

static void check_maps(const struct weights_shape *shape, uint32_t side, enum precision precision,
                       double most)
{
    struct weights *weights = weights_create(shape);
    struct encoder *encoder = make_encoder(weights);
    struct encoder_workspace *workspace = make_workspace(encoder, side, precision);
    struct plain_map wanted[ENCODER_STAGES];
    struct taken found = {0};
    float *tile = weights_noise(1, side, side);
    run_plainly(weights, shape, tile, side, wanted);
    encoder_run_tile(encoder, workspace, tile, take, &found);
    assert_int_equal(found.n, ENCODER_STAGES);
    for (uint32_t i = 0; i < ENCODER_STAGES; i++) {
        const uint32_t step = encoder_stage_step(i + 1);
        assert_int_equal(found.maps[i].side, (side + step - 1) / step);
        assert_int_equal(found.maps[i].side, wanted[i].side);
        assert_int_equal(found.maps[i].n_channels, wanted[i].n_channels);
        const double error = error_of(&found.maps[i], &wanted[i]);
        if (!(error < most))
            fail_msg("%u pixels, stage %u, %s: error %g", side, i + 1, precision_name(precision),
                     error);
        free(wanted[i].values);
    }
    taken_clear(&found);
    free(tile);
    encoder_workspace_destroy(workspace);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static void maps_are_those_of_plain_convolutions(void **state)
{
    (void)state;
    static const uint32_t sides[] = {16, 96, 160, 224};
    for (size_t i = 0; i < 4; i++) {
        check_maps(&shapes[0], sides[i], PRECISION_FLOAT32, 1e-5);
        check_maps(&shapes[1], sides[i], PRECISION_FLOAT32, 1e-5);
    }
}

static void maps_of_reduced_precision_are_close(void **state)
{
    (void)state;
    static const enum precision precisions[] = {PRECISION_BFLOAT16, PRECISION_INT8};
    for (size_t i = 0; i < 2; i++) {
        if (precision_check(precisions[i], NULL) != 0) {
            print_message("skipped: %s\n", precision_name(precisions[i]));
            continue;
        }
        check_maps(&shapes[0], 160, precisions[i], 0.05);
        check_maps(&shapes[1], 160, precisions[i], 0.05);
    }
}

/* ---- what is pooled ---- */

static void pool(const struct encoder_map *map, uint32_t channel, double *mean, double *deviation)
{
    const size_t n = (size_t)map->side * map->side;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)map->values[i * map->stride + channel];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double difference = (double)map->values[i * map->stride + channel] - *mean;
        squares += difference * difference;
    }
    *deviation = sqrt(squares / (double)n);
}

static void compare_part(const float *found, const double *wanted, uint32_t n)
{
    double squares = 0;
    for (uint32_t i = 0; i < n; i++)
        squares += wanted[i] * wanted[i];
    const double norm = fmax(sqrt(squares), 1e-12); /* one position deviates by nothing */
    for (uint32_t i = 0; i < n; i++)
        assert_true(fabs((double)found[i] - wanted[i] / norm) < 1e-5);
}

static void check_pooled(const struct weights_shape *shape, uint32_t side)
{
    struct weights *weights = weights_create(shape);
    struct encoder *encoder = make_encoder(weights);
    struct encoder_workspace *tiles = make_workspace(encoder, side, PRECISION_FLOAT32), *chips;
    struct taken taken = {0};
    float *chip = weights_noise(1, side, side + 1);
    float *embedding = calloc(encoder_info(encoder)->dimension, sizeof(float)), *part = embedding;
    assert_int_equal(encoder_workspace_create(&chips, encoder, side, PRECISION_FLOAT32, NULL, NULL),
                     0);
    encoder_embed(encoder, chips, chip, 1, embedding);
    encoder_run_tile(encoder, tiles, chip, take, &taken);
    for (uint32_t i = 0; i < ENCODER_STAGES; i++) {
        const uint32_t n = taken.maps[i].n_channels;
        double means[64], deviations[64];
        for (uint32_t c = 0; c < n; c++)
            pool(&taken.maps[i], c, &means[c], &deviations[c]);
        compare_part(part, means, n);
        compare_part(part + n, deviations, n);
        part += 2 * n;
    }
    taken_clear(&taken);
    free(embedding);
    free(chip);
    encoder_workspace_destroy(tiles);
    encoder_workspace_destroy(chips);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static void what_is_pooled_is_what_chips_get(void **state)
{
    (void)state;
    static const uint32_t sides[] = {16, 48, 96, 288, 512};
    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++) {
        check_pooled(&shapes[0], sides[i]);
        check_pooled(&shapes[1], sides[i]);
    }
}

/* ---- a tile alone ---- */

static void earlier_tiles_do_not_change_the_bytes(void **state)
{
    (void)state;
    enum { SIDE = 96 };
    struct weights *weights = weights_create(&shapes[0]);
    struct encoder *encoder = make_encoder(weights);
    struct encoder_workspace *fresh = make_workspace(encoder, SIDE, PRECISION_FLOAT32);
    struct encoder_workspace *used = make_workspace(encoder, SIDE, PRECISION_FLOAT32);
    float *tiles = weights_noise(2, SIDE, 1);
    struct taken wanted = {0}, found = {0};
    encoder_run_tile(encoder, fresh, tiles + SIDE * SIDE, take, &wanted);
    encoder_run_tile(encoder, used, tiles, take, &found);
    taken_clear(&found);
    encoder_run_tile(encoder, used, tiles + SIDE * SIDE, take, &found);
    for (uint32_t i = 0; i < ENCODER_STAGES; i++) {
        const struct encoder_map *map = &wanted.maps[i];
        assert_memory_equal(map->values, found.maps[i].values,
                            (size_t)map->side * map->side * map->stride * sizeof(float));
    }
    taken_clear(&wanted);
    taken_clear(&found);
    free(tiles);
    encoder_workspace_destroy(fresh);
    encoder_workspace_destroy(used);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

static bool is_over(void *n_no)
{
    return --*(int *)n_no < 0;
}

/* No map is handed over once it is called off. */
static void a_tile_is_left_when_it_is_called_off(void **state)
{
    (void)state;
    struct weights *weights = weights_create(&shapes[0]);
    struct encoder *encoder = make_encoder(weights);
    struct encoder_workspace *workspace = make_workspace(encoder, 96, PRECISION_FLOAT32);
    float *tile = weights_noise(1, 96, 1);
    uint32_t n_before = 0;
    for (int n_no = 0; n_before < ENCODER_STAGES; n_no++) {
        int left = n_no;
        const struct cancel cancel = {is_over, &left};
        struct taken taken = {0};
        encoder_workspace_set_cancel(workspace, &cancel);
        encoder_run_tile(encoder, workspace, tile, take, &taken);
        assert_in_range(taken.n, n_before, n_before + 1);
        n_before = taken.n;
        assert_true(n_no < 100 && (n_no > 2 || taken.n == 0));
        taken_clear(&taken);
    }
    free(tile);
    encoder_workspace_destroy(workspace);
    encoder_destroy(encoder);
    weights_destroy(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_are_those_of_plain_convolutions),
        cmocka_unit_test(maps_of_reduced_precision_are_close),
        cmocka_unit_test(what_is_pooled_is_what_chips_get),
        cmocka_unit_test(earlier_tiles_do_not_change_the_bytes),
        cmocka_unit_test(a_tile_is_left_when_it_is_called_off),
    };
    return test_run(tests);
}
