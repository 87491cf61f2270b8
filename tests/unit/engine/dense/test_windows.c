/* Maps and the windows pooled from them, against sums over all positions in the plainest way. */
#include "tests/test.h"

#include <math.h>

#include "engine/dense/half.h"
#include "engine/dense/windows.h"
#include "tests/unit/engine/dense/plain.h"

static const struct encoder_info pools[] = {
    {.pool_stages = {true, true, true, true, true}, .pool_mean = true, .pool_std = true},
    {.pool_stages = {true, true, true, true, false}, .pool_mean = true, .pool_std = true},
    {.pool_stages = {false, true, false, true, false}, .pool_std = true},
    {.pool_stages = {true, false, true, false, false}, .pool_mean = true},
    {.pool_stages = {false, false, false, true, false}, .pool_std = true},
    {.pool_stages = {false, false, false, false, true}, .pool_mean = true},
};

static const struct plain_sizes cases[] = {
    {260, 700, 20, 20, 32},  /* windows begin at tenths of a cell */
    {150, 500, 30, 70, 48},  /* each axis at its own */
    {900, 1400, 48, 48, 48}, /* at quarters */
    {400, 300, 95, 95, 40},  {4, 900, 4, 4, 32},     {48, 48, 48, 48, 48}, /* one window */
    {4, 7, 4, 4, 16}, /* one position of the last stage, beyond the image */
    {9, 9, 4, 4, 384},       {333, 777, 64, 64, 65},
};

enum { N_POOLS = sizeof(pools) / sizeof(pools[0]), N_CASES = sizeof(cases) / sizeof(cases[0]) };

static struct encoder_info info_of(uint32_t pool)
{
    struct encoder_info info = pools[pool];
    static const uint32_t widths[ENCODER_STAGES] = {5, 16, 17, 40};
    memcpy(info.widths, widths, sizeof(widths));
    info.chip_copies[ENCODER_MEAN] = 24;
    info.chip_copies[ENCODER_STD] = 31;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        if (!info.pool_stages[stage])
            continue;
        info.dimension += info.pool_mean ? encoder_stage_width(&info, stage, ENCODER_MEAN) : 0;
        info.dimension += info.pool_std ? encoder_stage_width(&info, stage, ENCODER_STD) : 0;
    }
    return info;
}

/* ---- an image's maps ---- */

/* What the network would make of the image, and the scaled image. */
struct plain_maps {
    struct dense_geometry geometry;
    struct encoder_info info;
    float *stages[ENCODER_POOLED]; /* rows x columns x width; stage 0: n_scaled x n_scaled pixels */
};

static size_t pixels_across(const struct dense_geometry *geometry, uint32_t stage)
{
    return stage == 0 ? geometry->x.n_scaled : geometry->x.n_positions[stage];
}

static size_t pixels_down(const struct dense_geometry *geometry, uint32_t stage)
{
    return stage == 0 ? geometry->y.n_scaled : geometry->y.n_positions[stage];
}

static uint32_t width_of(const struct encoder_info *info, uint32_t stage)
{
    return stage == 0 ? 1 : info->widths[stage - 1];
}

/* Values of 0..4, a third of which are 0 as after ReLU, and pixels of 0..1. */
static struct plain_maps plain_maps_create(uint32_t which, uint32_t pool)
{
    struct plain_maps maps = {.geometry = plain_geometry(&cases[which]), .info = info_of(pool)};
    uint32_t random = which;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        const size_t n = pixels_across(&maps.geometry, stage) * pixels_down(&maps.geometry, stage) *
                         width_of(&maps.info, stage);
        maps.stages[stage] = malloc(n * sizeof(float));
        assert_non_null(maps.stages[stage]);
        for (size_t i = 0; i < n; i++) {
            const float value = (float)plain_random(&random, 1 << 20) / (1 << 20);
            maps.stages[stage][i] = stage == 0 ? value : fmaxf(0, 6 * value - 2);
        }
    }
    return maps;
}

static void plain_maps_clear(struct plain_maps *maps)
{
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++)
        free(maps->stages[stage]);
}

/* The value of a stage's map at a position; not a number where the image has none. */
static float value_at(const struct plain_maps *plain, uint32_t stage, int64_t row, int64_t column,
                      uint32_t channel)
{
    const int64_t n_columns = (int64_t)pixels_across(&plain->geometry, stage);
    const uint32_t width = width_of(&plain->info, stage);
    if (row < 0 || column < 0 || column >= n_columns ||
        row >= (int64_t)pixels_down(&plain->geometry, stage))
        return NAN;
    return plain->stages[stage][(row * n_columns + column) * width + channel];
}

/* Puts in a tile: what lies in its margin and beyond the image is not a number. */
static void put_stage(struct dense_maps *maps, const struct plain_maps *plain, uint32_t tile_x,
                      uint32_t tile_y, uint32_t stage)
{
    const struct dense_geometry *geometry = &plain->geometry;
    const uint32_t step = stage == 0 ? 1 : dense_step(stage);
    const uint32_t side = (geometry->side + step - 1) / step, core = geometry->core / step;
    const uint32_t margin = stage == 0 ? geometry->margin : dense_margin_positions(geometry, stage);
    const uint32_t width = width_of(&plain->info, stage);
    const uint32_t stride = stage == 0 ? 1 : (width + 15) / 16 * 16;
    float *values = calloc((size_t)side * side * stride, sizeof(float));
    assert_non_null(values);
    for (uint32_t i = 0; i < side * side; i++) {
        const int64_t x = (int64_t)(i % side) - margin, y = (int64_t)(i / side) - margin;
        const bool in_core = x >= 0 && y >= 0 && x < core && y < core;
        for (uint32_t channel = 0; channel < width; channel++)
            values[(size_t)i * stride + channel] =
                in_core ? value_at(plain, stage, (int64_t)tile_y * core + y,
                                   (int64_t)tile_x * core + x, channel)
                        : NAN;
    }
    const struct encoder_map map = {values, side, width, stride};
    if (stage == 0)
        dense_maps_put_pixels(maps, tile_x, tile_y, values);
    else
        dense_maps_put(maps, tile_x, tile_y, stage, &map);
    free(values);
}

static void put_tile(struct dense_maps *maps, const struct plain_maps *plain, uint32_t tile_x,
                     uint32_t tile_y)
{
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        if (plain->info.pool_stages[stage])
            put_stage(maps, plain, tile_x, tile_y, stage);
    }
}

static struct dense_maps make_maps(const struct plain_maps *plain, const struct dense_tiles *tiles)
{
    struct dense_maps maps;
    assert_int_equal(
        dense_maps_init(&maps, &plain->geometry, &plain->info, tiles, UINT32_MAX, NULL), 0);
    assert_int_equal(maps.n_held, maps.n_strips);
    assert_int_equal(dense_maps_size(&plain->geometry, &plain->info, tiles),
                     maps.n_strips * maps.strip_values * sizeof(uint16_t));
    for (uint32_t y = tiles->first_y; y < tiles->end_y; y++) {
        for (uint32_t x = tiles->first_x; x < tiles->end_x; x++)
            put_tile(&maps, plain, x, y);
    }
    return maps;
}

static struct dense_maps make_all(const struct plain_maps *plain)
{
    const struct dense_tiles all = dense_tiles_all(&plain->geometry);
    return make_maps(plain, &all);
}

/* ---- the plain definition ---- */

static double half_of(float value)
{
    uint16_t half;
    half_from_floats(&value, 1, &half);
    return half_value(half);
}

/* The mean of a cell's pixels in steps of 1/65535. */
static double cell_at(const struct plain_maps *plain, uint32_t row, uint32_t column)
{
    const size_t across = plain->geometry.x.n_scaled, down = plain->geometry.y.n_scaled;
    double sum = 0;
    uint32_t n = 0;
    for (size_t y = row * 4; y < row * 4 + 4 && y < down; y++) {
        for (size_t x = column * 4; x < column * 4 + 4 && x < across; x++, n++)
            sum += (double)plain->stages[0][y * across + x];
    }
    return round(65535 * sum / n) / 65535;
}

static double position_at(const struct plain_maps *plain, uint32_t stage, uint32_t row,
                          uint32_t column, uint32_t channel)
{
    return stage == 0 ? cell_at(plain, row, column)
                      : half_of(value_at(plain, stage, row, column, channel));
}

struct window {
    double x, y, width, height; /* scaled pixels */
};

static void plain_statistics(const struct plain_maps *plain, uint32_t stage, uint32_t channel,
                             const struct window *window, double *mean, double *deviation)
{
    const struct dense_geometry *geometry = &plain->geometry;
    double sum = 0, squares = 0;
    for (uint32_t row = 0; row < geometry->y.n_positions[stage]; row++) {
        const double down =
            plain_weight(geometry, &geometry->y, stage, row, window->y, window->height);
        for (uint32_t column = 0; column < geometry->x.n_positions[stage] && down > 0; column++) {
            const double weight = down * plain_weight(geometry, &geometry->x, stage, column,
                                                      window->x, window->width);
            const double value = weight > 0 ? position_at(plain, stage, row, column, channel) : 0;
            sum += weight * value;
            squares += weight * value * value;
        }
    }
    *mean = sum;
    *deviation = sqrt(fmax(0, squares - sum * sum));
}

static double plain_contrast(const struct plain_maps *plain, const struct window *window)
{
    const uint32_t input = plain->geometry.input, side = (input + 1) / 3;
    double darkest = INFINITY, brightest = -INFINITY, deviation;
    for (uint32_t i = 0; i < 81; i++) {
        const struct window square = {window->x + (i % 9) * (input - side) / 8.0,
                                      window->y + (i / 9) * (input - side) / 8.0, side, side};
        double mean;
        plain_statistics(plain, 0, 0, &square, &mean, &deviation);
        darkest = fmin(darkest, mean);
        brightest = fmax(brightest, mean);
    }
    return brightest - darkest;
}

static double *append(double *out, const double *part, uint32_t n, bool normalised)
{
    double squares = 0;
    for (uint32_t i = 0; i < n; i++)
        squares += part[i] * part[i];
    const double norm = normalised ? fmax(sqrt(squares), 1e-12) : 1;
    for (uint32_t i = 0; i < n; i++)
        *out++ = part[i] / norm;
    return out;
}

static double *append_copies(double *out, uint32_t n, double number)
{
    for (uint32_t i = 0; i < n; i++)
        *out++ = number / sqrt(n);
    return out;
}

/* A part that is alone is not normalised. */
static bool is_one_part(const struct encoder_info *info)
{
    uint32_t n_parts = 0;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++)
        n_parts += info->pool_stages[stage] * (info->pool_mean + info->pool_std);
    return n_parts == 1;
}

/* The embedding by its definition; to be freed. */
static double *plain_embedding(const struct plain_maps *plain, uint32_t x, uint32_t y)
{
    const struct dense_geometry *geometry = &plain->geometry;
    const struct encoder_info *info = &plain->info;
    const double input = geometry->input;
    const struct window window = {x * input / geometry->x.chip, y * input / geometry->y.chip, input,
                                  input};
    const bool normalised = !is_one_part(info);
    double *embedding = calloc(info->dimension, sizeof(double)), *out = embedding;
    assert_non_null(out);
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        double means[40], deviations[40];
        const uint32_t width = width_of(info, stage);
        for (uint32_t channel = 0; channel < width && info->pool_stages[stage]; channel++)
            plain_statistics(plain, stage, channel, &window, &means[channel], &deviations[channel]);
        if (!info->pool_stages[stage])
            continue;
        if (info->pool_mean)
            out = stage == 0 ? append_copies(out, 24, means[0])
                             : append(out, means, width, normalised);
        if (info->pool_std)
            out = stage == 0 ? append_copies(out, 31, plain_contrast(plain, &window))
                             : append(out, deviations, width, normalised);
    }
    assert_int_equal(out - embedding, info->dimension);
    return embedding;
}

/* ---- tests ---- */

static uint32_t place(uint32_t which, uint32_t n_pixels, uint32_t chip, uint32_t *random)
{
    return which == 0   ? 0
           : which == 1 ? n_pixels - chip
                        : plain_random(random, n_pixels - chip + 1);
}

static void windows_are_weighted_sums_over_positions(void **state)
{
    (void)state;
    uint32_t random = 17;
    for (uint32_t i = 0; i < N_CASES * N_POOLS; i++) {
        struct plain_maps plain = plain_maps_create(i % N_CASES, i / N_CASES);
        struct dense_maps maps = make_all(&plain);
        const struct plain_sizes *sizes = &cases[i % N_CASES];
        float *found = malloc(plain.info.dimension * sizeof(float));
        for (uint32_t k = 0; k < 3; k++) {
            const uint32_t x = place(k, sizes->width, sizes->chip_width, &random);
            const uint32_t y = place((k + i) % 3, sizes->height, sizes->chip_height, &random);
            double *wanted = plain_embedding(&plain, x, y);
            dense_pool_windows(&maps, &plain.info, &(struct chip_rect){.x = x, .y = y}, 1, 0,
                               found);
            for (uint32_t c = 0; c < plain.info.dimension; c++) {
                if (!(fabs((double)found[c] - wanted[c]) < 1e-6 * fmax(1, wanted[c])))
                    fail_msg("case %u, pool %u, window %u, %u: value %u is %.9g, not %.9g",
                             i % N_CASES, i / N_CASES, x, y, c, (double)found[c], wanted[c]);
            }
            free(wanted);
        }
        free(found);
        dense_maps_clear(&maps);
        plain_maps_clear(&plain);
    }
}

/* From the left, as a grid's, or in any order, some of them twice. */
static void fill_rects(struct chip_rect *rects, uint32_t n, const struct plain_sizes *sizes,
                       uint32_t which, uint32_t *random)
{
    const uint32_t last = sizes->width - sizes->chip_width;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t step = which == 0 ? 1 : sizes->chip_width / which;
        rects[i] =
            (struct chip_rect){.x = i * (step > 0 ? step : 1) % (last + 1),
                               .y = i / (1 + n / 3) % (sizes->height - sizes->chip_height + 1)};
        if (which == 3)
            rects[i].x = plain_random(random, last + 1);
        if (which == 3 && i % 5 == 4)
            rects[i] = rects[i - 1];
    }
}

static void other_windows_do_not_change_a_window(void **state)
{
    (void)state;
    enum { N = 2 * ENCODER_BATCH + 5, APART = 7 };
    uint32_t random = 29;
    for (uint32_t i = 0; i < 4 * N_CASES; i++) {
        struct plain_maps plain = plain_maps_create(i % N_CASES, i / N_CASES);
        struct dense_maps maps = make_all(&plain);
        struct chip_rect rects[N];
        const size_t dimension = plain.info.dimension, row_floats = dimension + APART;
        float *together = calloc(N, row_floats * sizeof(float));
        float *alone = malloc(dimension * sizeof(float));
        const uint32_t n = 1 + plain_random(&random, N);
        fill_rects(rects, n, &cases[i % N_CASES], i / N_CASES, &random);
        dense_pool_windows(&maps, &plain.info, rects, n, row_floats, together);
        for (uint32_t k = 0; k < n; k++) {
            dense_pool_windows(&maps, &plain.info, &rects[k], 1, 0, alone);
            assert_memory_equal(alone, together + k * row_floats, dimension * sizeof(float));
            for (uint32_t c = 0; c < APART; c++)
                assert_true(together[k * row_floats + dimension + c] == 0);
        }
        free(alone);
        free(together);
        dense_maps_clear(&maps);
        plain_maps_clear(&plain);
    }
}

/* The tiles that hold what a window sees, found position by position. */
static void tiles_along(const struct dense_geometry *geometry, const struct dense_axis *axis,
                        double begin, uint32_t *first, uint32_t *end)
{
    *first = UINT32_MAX;
    *end = 0;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        for (uint32_t i = 0; i < axis->n_positions[stage]; i++) {
            if (plain_weight(geometry, axis, stage, i, begin, geometry->input) == 0)
                continue;
            const uint32_t tile = i / (geometry->core / dense_step(stage));
            *first = tile < *first ? tile : *first;
            *end = tile + 1 > *end ? tile + 1 : *end;
        }
    }
}

static void other_tiles_do_not_change_a_window(void **state)
{
    (void)state;
    uint32_t random = 23, n_smaller = 0;
    for (uint32_t i = 0; i < N_CASES * N_POOLS; i++) {
        struct plain_maps plain = plain_maps_create(i % N_CASES, i / N_CASES);
        const struct dense_geometry *geometry = &plain.geometry;
        struct dense_maps maps = make_all(&plain);
        const struct plain_sizes *sizes = &cases[i % N_CASES];
        float *whole = malloc(plain.info.dimension * sizeof(float));
        float *found = malloc(plain.info.dimension * sizeof(float));
        for (uint32_t k = 0; k < 3; k++) {
            const uint32_t x = place(k, sizes->width, sizes->chip_width, &random);
            const uint32_t y = place((k + i) % 3, sizes->height, sizes->chip_height, &random);
            struct dense_tiles tiles;
            tiles_along(geometry, &geometry->x, dense_scaled(geometry, &geometry->x, x),
                        &tiles.first_x, &tiles.end_x);
            tiles_along(geometry, &geometry->y, dense_scaled(geometry, &geometry->y, y),
                        &tiles.first_y, &tiles.end_y);
            struct dense_maps some = make_maps(&plain, &tiles);
            n_smaller += some.n_strips < maps.n_strips && some.n_columns[3] < maps.n_columns[3];
            dense_pool_windows(&maps, &plain.info, &(struct chip_rect){.x = x, .y = y}, 1, 0,
                               whole);
            dense_pool_windows(&some, &plain.info, &(struct chip_rect){.x = x, .y = y}, 1, 0,
                               found);
            assert_memory_equal(whole, found, plain.info.dimension * sizeof(float));
            dense_maps_clear(&some);
        }
        free(found);
        free(whole);
        dense_maps_clear(&maps);
        plain_maps_clear(&plain);
    }
    assert_true(n_smaller > 0);
}

/* Rows of tiles are put in one after the other; each time the windows are pooled that end there. */
static void check_ring(const struct plain_maps *plain, const struct dense_maps *whole)
{
    const struct dense_geometry *geometry = &plain->geometry;
    const uint32_t strips_a_tile = geometry->core / DENSE_STRIP;
    const uint32_t n_held = strips_a_tile + geometry->input / DENSE_STRIP + 3;
    const size_t size = plain->info.dimension * sizeof(float);
    const struct dense_tiles all = dense_tiles_all(geometry);
    float *wanted = malloc(size), *found = malloc(size);
    struct dense_maps ring;
    uint32_t y = 0;
    assert_int_equal(dense_maps_init(&ring, geometry, &plain->info, &all, n_held, NULL), 0);
    assert_true(ring.n_held <= n_held);
    for (uint32_t tile_y = 0; tile_y < all.end_y; tile_y++) {
        for (uint32_t tile_x = 0; tile_x < all.end_x; tile_x++)
            put_tile(&ring, plain, tile_x, tile_y);
        for (; y + geometry->y.chip <= geometry->y.n_pixels; y++) {
            uint32_t first, end;
            dense_window_strips(geometry, y, &first, &end);
            if (end > (tile_y + 1) * strips_a_tile)
                break;
            const uint32_t x = y % (geometry->x.n_pixels - geometry->x.chip + 1);
            dense_pool_windows(whole, &plain->info, &(struct chip_rect){.x = x, .y = y}, 1, 0,
                               wanted);
            dense_pool_windows(&ring, &plain->info, &(struct chip_rect){.x = x, .y = y}, 1, 0,
                               found);
            assert_memory_equal(wanted, found, size);
        }
    }
    assert_int_equal(y, geometry->y.n_pixels - geometry->y.chip + 1);
    free(wanted);
    free(found);
    dense_maps_clear(&ring);
}

static void a_ring_of_strips_gives_the_same_bytes(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_CASES; i++) {
        struct plain_maps plain = plain_maps_create(i, 0);
        struct dense_maps maps = make_all(&plain);
        check_ring(&plain, &maps);
        dense_maps_clear(&maps);
        plain_maps_clear(&plain);
    }
}

/* Weights that overflow float32 give maps that are not finite, but no such embedding. */
static void embeddings_are_finite(void **state)
{
    (void)state;
    struct plain_maps plain = plain_maps_create(0, 0);
    for (uint32_t stage = 1; stage < ENCODER_POOLED; stage++) {
        const uint32_t width = plain.info.widths[stage - 1];
        const size_t n =
            pixels_across(&plain.geometry, stage) * pixels_down(&plain.geometry, stage) * width;
        for (size_t i = 0; i < n; i++) {
            if (i % width < 3)
                plain.stages[stage][i] = i % width == 0 ? NAN : i % width == 1 ? INFINITY : 1e30f;
        }
    }
    struct dense_maps maps = make_all(&plain);
    float *found = malloc(plain.info.dimension * sizeof(float));
    dense_pool_windows(&maps, &plain.info, &(struct chip_rect){.x = 33, .y = 44}, 1, 0, found);
    for (uint32_t c = 0; c < plain.info.dimension; c++)
        assert_true(isfinite(found[c]) && fabsf(found[c]) <= 1);
    free(found);
    dense_maps_clear(&maps);
    plain_maps_clear(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_weighted_sums_over_positions),
        cmocka_unit_test(other_windows_do_not_change_a_window),
        cmocka_unit_test(other_tiles_do_not_change_a_window),
        cmocka_unit_test(a_ring_of_strips_gives_the_same_bytes),
        cmocka_unit_test(embeddings_are_finite),
    };
    return test_run(tests);
}
