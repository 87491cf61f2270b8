/* Where tiles, positions and windows lie, for images from one chip up to the largest. */
#include "tests/test.h"

#include <math.h>

#include "tests/unit/engine/dense/plain.h"

static const uint32_t inputs[] = {16, 17, 32, 40, 47, 48, 64, 65, 96, 128, 224, 255, 384};
static const uint32_t chips[] = {4, 7, 48, 64, 95, 1000, 4096};

enum {
    N_INPUTS = sizeof(inputs) / sizeof(inputs[0]),
    N_CHIPS = sizeof(chips) / sizeof(chips[0]),
    LENGTHS = 7,
    LENGTH_MAX = 100000,
};

/* Lengths of an axis: one chip, a little more, some, the most. */
static uint32_t length_of(uint32_t chip, uint32_t which)
{
    const uint32_t lengths[LENGTHS] = {chip,         chip + 1, 2 * chip - 1, 2 * chip,
                                       5 * chip + 3, 12345,    LENGTH_MAX};
    return lengths[which] < chip ? chip : lengths[which];
}

typedef void (*geometry_check)(const struct dense_geometry *geometry);

static void check_all(geometry_check check)
{
    uint32_t random = 1;
    for (uint32_t i = 0; i < N_INPUTS * N_CHIPS * LENGTHS; i++) {
        const uint32_t chip = chips[i / LENGTHS % N_CHIPS];
        const uint32_t other = chips[plain_random(&random, N_CHIPS)];
        const struct plain_sizes sizes = {length_of(chip, i % LENGTHS),
                                          length_of(other, plain_random(&random, LENGTHS)), chip,
                                          other, inputs[i / (LENGTHS * N_CHIPS)]};
        const struct dense_geometry geometry = plain_geometry(&sizes);
        check(&geometry);
    }
}

static void check_axis(const struct dense_geometry *geometry, const struct dense_axis *axis)
{
    const uint64_t scaled = (uint64_t)axis->n_pixels * geometry->input;
    assert_true((uint64_t)axis->n_scaled * axis->chip >= scaled);
    assert_true(((uint64_t)axis->n_scaled - 1) * axis->chip < scaled);
    assert_true((uint64_t)axis->n_tiles * geometry->core >= axis->n_scaled);
    assert_true(((uint64_t)axis->n_tiles - 1) * geometry->core < axis->n_scaled);
}

static void check_limits(const struct dense_geometry *geometry)
{
    check_axis(geometry, &geometry->x);
    check_axis(geometry, &geometry->y);
    assert_true(4 * geometry->margin >= geometry->input);
    assert_true(4 * geometry->margin < geometry->input + 4 * 16);
    assert_int_equal(geometry->margin % 16, 0);
    assert_true(geometry->core >= 64);
    assert_int_equal(geometry->core % DENSE_STRIP, 0);
    assert_int_equal(geometry->side, geometry->core + 2 * geometry->margin);
    assert_in_range(geometry->side, ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
    assert_true(geometry->n_strips * DENSE_STRIP >= geometry->y.n_scaled);
    assert_true((geometry->n_strips - 1) * DENSE_STRIP < geometry->y.n_scaled);
}

static void sizes_are_within_limits(void **state)
{
    (void)state;
    check_all(check_limits);
}

/* Every position of every tile's map, by its centre: it counts in the tile whose core holds it, if
 * it lies on the image; the first one in any case. */
static void check_positions_along(const struct dense_geometry *geometry,
                                  const struct dense_axis *axis, uint32_t stage)
{
    const int64_t step = 2 << stage, core = geometry->core, margin = geometry->margin;
    const int64_t n_of_tile = (geometry->side + step - 1) / step;
    uint32_t n_seen = 0;
    for (int64_t tile = 0; tile < axis->n_tiles; tile++) {
        for (int64_t i = 0; i < n_of_tile; i++) {
            const int64_t pixel = tile * core - margin + step * i; /* that it is centred on */
            if (pixel < tile * core || pixel >= (tile + 1) * core ||
                (pixel >= axis->n_scaled && n_seen > 0))
                continue;
            assert_true(dense_first_centre(geometry, stage) + (double)n_seen * (double)step ==
                        (double)pixel + 0.5);
            assert_int_equal(i, dense_margin_positions(geometry, stage) + n_seen -
                                    tile * (core / step));
            n_seen++;
        }
    }
    assert_int_equal(n_seen, axis->n_positions[stage]);
}

static void check_positions(const struct dense_geometry *geometry)
{
    assert_int_equal(geometry->x.n_positions[0], (geometry->x.n_scaled + 3) / 4);
    assert_int_equal(geometry->y.n_positions[0], (geometry->y.n_scaled + 3) / 4);
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        assert_int_equal(dense_step(stage), 2 << stage);
        if (geometry->x.n_scaled < LENGTH_MAX)
            check_positions_along(geometry, &geometry->x, stage);
        if (geometry->y.n_scaled < LENGTH_MAX)
            check_positions_along(geometry, &geometry->y, stage);
    }
}

static void cores_hold_each_position_once(void **state)
{
    (void)state;
    check_all(check_positions);
}

static void check_span(const struct dense_geometry *geometry, const struct dense_axis *axis,
                       uint32_t stage, double begin, double length)
{
    struct dense_span span;
    dense_span_find(geometry, axis, stage, begin, length, &span);
    assert_in_range(span.n, 1, sizeof(span.weights) / sizeof(span.weights[0]));
    assert_true(span.first + span.n <= axis->n_positions[stage]);
    double sum = 0, sum_of_plain = 0;
    /* Others beside it, too, which see nothing of the window. */
    const uint32_t before = span.first < 3 ? span.first : 3;
    for (uint32_t i = span.first - before;
         i < span.first + span.n + 3 && i < axis->n_positions[stage]; i++) {
        const bool is_in = i >= span.first && i < span.first + span.n;
        const double weight = is_in ? span.weights[i - span.first] : 0;
        const double plain = plain_weight(geometry, axis, stage, i, begin, length);
        assert_true(weight >= 0 && fabs(weight - plain) < 1e-9);
        sum += weight;
        sum_of_plain += plain;
    }
    assert_true(fabs(sum - 1) < 1e-9 && fabs(sum_of_plain - 1) < 1e-9);
}

/* Windows of pixels, at both edges and anywhere, and of stage 0 its squares. */
static void check_spans(const struct dense_geometry *geometry)
{
    static uint32_t random = 7;
    const struct dense_axis *axes[] = {&geometry->x, &geometry->y};
    const uint32_t input = geometry->input, square = (input + 1) / 3;
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t last = axes[k]->n_pixels - axes[k]->chip;
        for (uint32_t i = 0; i < 6; i++) {
            const uint32_t at = i == 0 ? 0 : i == 1 ? last : plain_random(&random, last + 1);
            const double begin = dense_scaled(geometry, axes[k], at);
            assert_true(fabs(begin - (double)at * input / axes[k]->chip) < 1e-9);
            for (uint32_t stage = 0; stage <= ENCODER_STAGES; stage++)
                check_span(geometry, axes[k], stage, begin, input);
            for (uint32_t u = 0; u < 9; u++)
                check_span(geometry, axes[k], 0, begin + u * (input - square) / 8.0, square);
        }
    }
}

static void weights_are_shares_of_the_window(void **state)
{
    (void)state;
    check_all(check_spans);
}

/* Windows of 48 on cells of 8, of which the first begins at -3.5: by hand. */
static void weights_of_one_window(void **state)
{
    (void)state;
    const struct dense_geometry geometry =
        plain_geometry(&(struct plain_sizes){96, 96, 48, 48, 48});
    struct dense_span span;
    dense_span_find(&geometry, &geometry.x, 2, 24, 48, &span);
    assert_int_equal(span.first, 3);
    assert_int_equal(span.n, 7);
    assert_true(span.weights[0] == 4.5 / 48 && span.weights[1] == 8.0 / 48 &&
                span.weights[6] == 3.5 / 48);
    dense_span_find(&geometry, &geometry.x, 2, 0, 48, &span);
    assert_int_equal(span.first, 0);
    assert_int_equal(span.n, 7);
    assert_true(span.weights[0] == 4.5 / 48 && span.weights[6] == 3.5 / 48);
    dense_span_find(&geometry, &geometry.x, 2, 48, 48, &span);
    assert_int_equal(span.first, 6);
    assert_int_equal(span.n, 6);
    assert_true(span.weights[0] == 4.5 / 48 && span.weights[5] == 11.5 / 48);
    dense_span_find(&geometry, &geometry.x, 0, 48, 48, &span);
    assert_int_equal(span.first, 12);
    assert_int_equal(span.n, 12);
    assert_true(span.weights[0] == 4.0 / 48 && span.weights[11] == 4.0 / 48);
}

/* They hold what has weight, and the first and the last of them something. */
static void check_strips(const struct dense_geometry *geometry)
{
    static uint32_t random = 3;
    const struct dense_axis *axis = &geometry->y;
    for (uint32_t i = 0; i < 4; i++) {
        const uint32_t last = axis->n_pixels - axis->chip;
        const uint32_t y = i == 0 ? 0 : i == 1 ? last : plain_random(&random, last + 1);
        const double begin = (double)y * geometry->input / axis->chip;
        uint32_t first, end, first_seen = UINT32_MAX, end_seen = 0;
        dense_window_strips(geometry, y, &first, &end);
        for (uint32_t stage = 0; stage <= ENCODER_STAGES; stage++) {
            const double step = dense_step(stage), rows_a_strip = DENSE_STRIP / step;
            const uint32_t from = (uint32_t)fmax(0, begin / step - 3);
            for (uint32_t row = from;
                 row < axis->n_positions[stage] && row * step < begin + geometry->input + 64;
                 row++) {
                if (plain_weight(geometry, axis, stage, row, begin, geometry->input) < 1e-9)
                    continue;
                const uint32_t strip = (uint32_t)(row / rows_a_strip);
                first_seen = strip < first_seen ? strip : first_seen;
                end_seen = strip + 1 > end_seen ? strip + 1 : end_seen;
            }
        }
        assert_true(first <= first_seen && first + 1 >= first_seen);
        assert_true(end >= end_seen && end <= end_seen + 1);
        assert_true(end <= geometry->n_strips);
    }
}

static void strips_hold_what_a_window_sees(void **state)
{
    (void)state;
    check_all(check_strips);
}

static void large_inputs_are_refused(void **state)
{
    (void)state;
    const struct grid image = {
        .params = {.chip_width = 64, .chip_height = 64}, .image_width = 640, .image_height = 640};
    struct dense_geometry geometry = {.core = 1};
    struct error err = {0};
    assert_int_equal(dense_geometry_init(&geometry, &image, 385, &err), ERROR_INVALID);
    assert_string_equal(err.message, "an input size of 385 cannot be encoded densely, 384 at most");
    assert_int_equal(geometry.core, 1);
    assert_int_equal(dense_geometry_init(&geometry, &image, 384, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_within_limits),
        cmocka_unit_test(cores_hold_each_position_once),
        cmocka_unit_test(weights_are_shares_of_the_window),
        cmocka_unit_test(weights_of_one_window),
        cmocka_unit_test(strips_hold_what_a_window_sees),
        cmocka_unit_test(large_inputs_are_refused),
    };
    return test_run(tests);
}
