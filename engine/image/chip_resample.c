/* Antialiased bilinear resampling of one window, in two separable passes: every row of the window
 * is first brought to the output's width (into scratch), then columns to its height. Rows are
 * taken in blocks, so that what is added at once lies side by side in both passes. Every sum has
 * its terms in the same order, without fused operations: the bytes are the same on any processor.
 *
 * Output sample i of an axis has its centre at (i + 0.5) * scale in the input, scale = in / out,
 * and is the sum over the inputs within max(1, scale) of that centre, weighted by a triangle of
 * that half-width; the weights of each output are divided by their sum, so that a constant stays
 * that constant. Weights are computed in double, once a plan, and kept as float.
 */
#include "engine/image/chip_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUAD = 4,
    BLOCK_ROWS = 2 * QUAD, /* rows of the window that are brought to the output's width at once */
    STRIDE = 4 * QUAD,     /* rows in scratch have a multiple of that many floats */
};

typedef float quad __attribute__((vector_size(QUAD * sizeof(float))));

/* All outputs have n_taps weights, so that no loop's length depends on the output: where fewer
 * would do, the others are 0, which changes no sum of finite samples. */
struct axis {
    uint32_t *first; /* n_out: the first input sample; first + n_taps <= n_in */
    float *weights;  /* n_out x n_taps */
    uint32_t n_taps;
    uint32_t n_in;
    uint32_t n_out;
};

struct chip_resampler {
    struct axis horizontal;
    struct axis vertical;
};

/* Input samples that may weigh something, [*first, *last), and the sum of their weights. */
static double find_window(uint32_t n_in, double centre, double half_width, uint32_t *first,
                          uint32_t *last)
{
    double lowest = floor(centre - half_width + 0.5);
    double end = floor(centre + half_width + 0.5);
    double sum = 0;
    *first = lowest > 0 ? (uint32_t)lowest : 0;
    *last = end < n_in ? (uint32_t)end : n_in;
    for (uint32_t j = *first; j < *last; j++)
        sum += fmax(0, 1 - fabs((j + 0.5 - centre) / half_width));
    return sum;
}

/* Samples at the very edge of the triangle weigh nothing: an unscaled axis becomes a copy. Returns
 * the number of the others, of which *first is the first; weights (NULL: not wanted) are theirs. */
static uint32_t plan_taps(uint32_t n_in, double centre, double half_width, uint32_t *first,
                          float *weights)
{
    uint32_t begin, end, n = 0;
    const double sum = find_window(n_in, centre, half_width, &begin, &end);
    for (uint32_t j = begin; j < end; j++) {
        double weight = fmax(0, 1 - fabs((j + 0.5 - centre) / half_width)) / sum;
        if (weight == 0)
            continue;
        if (n == 0)
            *first = j;
        if (weights != NULL)
            weights[n] = (float)weight;
        n++;
    }
    return n;
}

static int axis_init(struct axis *axis, uint32_t n_in, uint32_t n_out, struct error *err)
{
    const double scale = (double)n_in / n_out;
    const double half_width = fmax(1, scale);
    axis->n_in = n_in;
    axis->n_out = n_out;
    axis->first = calloc(n_out, sizeof(*axis->first));
    if (axis->first == NULL)
        return error_set_nomem(err, "the resampling weights");
    for (uint32_t i = 0; i < n_out; i++) {
        const uint32_t n = plan_taps(n_in, (i + 0.5) * scale, half_width, &axis->first[i], NULL);
        axis->n_taps = n > axis->n_taps ? n : axis->n_taps;
    }
    axis->weights = calloc((size_t)n_out * axis->n_taps, sizeof(*axis->weights));
    if (axis->weights == NULL)
        return error_set_nomem(err, "the resampling weights");
    for (uint32_t i = 0; i < n_out; i++) {
        /* At the far edge the weights of 0 come first. */
        const uint32_t room = n_in - axis->n_taps;
        const uint32_t shift = axis->first[i] > room ? axis->first[i] - room : 0;
        plan_taps(n_in, (i + 0.5) * scale, half_width, &axis->first[i],
                  axis->weights + (size_t)i * axis->n_taps + shift);
        axis->first[i] -= shift;
    }
    return 0;
}

static void axis_clear(struct axis *axis)
{
    free(axis->first);
    free(axis->weights);
}

static int check_side(const char *name, uint32_t value, struct error *err)
{
    if (value >= 1 && value <= CHIP_SIDE_MAX)
        return 0;
    return error_set(err, ERROR_INVALID, "resampling: %s must be 1 to %d pixels, but is %u", name,
                     CHIP_SIDE_MAX, value);
}

int chip_resampler_create(struct chip_resampler **out, uint32_t width, uint32_t height,
                          uint32_t out_width, uint32_t out_height, struct error *err)
{
    int rc;
    if ((rc = check_side("width", width, err)) != 0 ||
        (rc = check_side("height", height, err)) != 0 ||
        (rc = check_side("output width", out_width, err)) != 0 ||
        (rc = check_side("output height", out_height, err)) != 0)
        return rc;
    struct chip_resampler *resampler = calloc(1, sizeof(*resampler));
    if (resampler == NULL)
        return error_set_nomem(err, "the resampler");
    rc = axis_init(&resampler->horizontal, width, out_width, err);
    if (rc == 0)
        rc = axis_init(&resampler->vertical, height, out_height, err);
    if (rc != 0) {
        chip_resampler_destroy(resampler);
        return rc;
    }
    *out = resampler;
    return 0;
}

void chip_resampler_destroy(struct chip_resampler *resampler)
{
    if (resampler == NULL)
        return;
    axis_clear(&resampler->horizontal);
    axis_clear(&resampler->vertical);
    free(resampler);
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* Rows of the output's width, then the columns of a block. */
static size_t rows_size(const struct chip_resampler *resampler)
{
    return round_up(resampler->vertical.n_in, BLOCK_ROWS) *
           round_up(resampler->horizontal.n_out, STRIDE);
}

size_t chip_resampler_scratch(const struct chip_resampler *resampler)
{
    return rows_size(resampler) + (size_t)resampler->horizontal.n_in * BLOCK_ROWS;
}

static quad load(const float *from)
{
    quad value;
    memcpy(&value, from, sizeof(value));
    return value;
}

static void store(float *to, quad value)
{
    memcpy(to, &value, sizeof(value));
}

/* One row of a window as floats, BLOCK_ROWS apart. */
static void source_row(const struct chip_source *source, uint32_t x, size_t y, uint32_t n,
                       float *columns)
{
    const size_t first = y * source->image_width + x;
    const uint8_t *samples = source->samples;
    const float *levels = source->levels;
    if (source->pixels != NULL) {
        for (size_t i = 0; i < n; i++)
            columns[i * BLOCK_ROWS] = source->pixels[first + i];
    } else if (source->sample_size == 1) {
        samples += first;
        for (size_t i = 0; i < n; i++)
            columns[i * BLOCK_ROWS] = levels[samples[i]];
    } else {
        samples += 2 * first;
        for (size_t i = 0; i < n; i++)
            columns[i * BLOCK_ROWS] = levels[samples[2 * i] << 8 | samples[2 * i + 1]];
    }
}

/* Four columns of four rows, as rows. */
static void store_rows(quad a, quad b, quad c, quad d, size_t stride, float *out)
{
    const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(out, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store(out + stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store(out + 2 * stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store(out + 3 * stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* A block of rows, given as columns: the same output of all of them is made at once. The last one
 * is repeated up to the stride. */
static void resample_block(const struct axis *axis, const float *columns, size_t stride, float *out)
{
    const size_t n_taps = axis->n_taps;
    for (size_t i = 0; i < stride; i += QUAD) {
        quad upper[QUAD], lower[QUAD];
        for (size_t k = 0; k < QUAD; k++) {
            const size_t output = i + k < axis->n_out ? i + k : axis->n_out - 1u;
            const float *weights = axis->weights + output * n_taps;
            const float *samples = columns + (size_t)axis->first[output] * BLOCK_ROWS;
            quad a = weights[0] * load(samples), b = weights[0] * load(samples + QUAD);
            for (size_t j = 1; j < n_taps; j++) {
                samples += BLOCK_ROWS;
                a += weights[j] * load(samples);
                b += weights[j] * load(samples + QUAD);
            }
            upper[k] = a;
            lower[k] = b;
        }
        store_rows(upper[0], upper[1], upper[2], upper[3], stride, out + i);
        store_rows(lower[0], lower[1], lower[2], lower[3], stride, out + QUAD * stride + i);
    }
}

/* A row of the output, of `width` floats, from rows that are `stride` apart. */
static void resample_column(const struct axis *axis, size_t output, const float *rows,
                            size_t stride, size_t width, float *out)
{
    const float *weights = axis->weights + output * axis->n_taps;
    rows += axis->first[output] * stride;
    for (size_t x = 0; x < width; x += STRIDE) {
        const float *row = rows + x;
        float made[STRIDE];
        quad a = weights[0] * load(row), b = weights[0] * load(row + QUAD);
        quad c = weights[0] * load(row + 2 * QUAD), d = weights[0] * load(row + 3 * QUAD);
        for (size_t j = 1; j < axis->n_taps; j++) {
            row += stride;
            a += weights[j] * load(row);
            b += weights[j] * load(row + QUAD);
            c += weights[j] * load(row + 2 * QUAD);
            d += weights[j] * load(row + 3 * QUAD);
        }
        float *to = width - x >= STRIDE ? out + x : made;
        store(to, a);
        store(to + QUAD, b);
        store(to + 2 * QUAD, c);
        store(to + 3 * QUAD, d);
        if (to == made)
            memcpy(out + x, made, (width - x) * sizeof(float));
    }
}

void chip_resample_source(const struct chip_resampler *resampler, const struct chip_source *source,
                          uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct axis *horizontal = &resampler->horizontal;
    const struct axis *vertical = &resampler->vertical;
    const size_t width = horizontal->n_out, stride = round_up(width, STRIDE);
    const size_t height = vertical->n_in;
    float *columns = scratch + rows_size(resampler);
    for (size_t row = 0; row < height; row += BLOCK_ROWS) {
        /* Past the window's end its last row is taken once more, to be used by nothing. */
        for (size_t r = 0; r < BLOCK_ROWS; r++)
            source_row(source, x, y + (row + r < height ? row + r : height - 1), horizontal->n_in,
                       columns + r);
        resample_block(horizontal, columns, stride, scratch + row * stride);
    }
    for (size_t i = 0; i < vertical->n_out; i++)
        resample_column(vertical, i, scratch, stride, width, out + i * width);
}

void chip_resample(const struct chip_resampler *resampler, const float *pixels,
                   uint32_t image_width, uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct chip_source source = {.pixels = pixels, .image_width = image_width};
    chip_resample_source(resampler, &source, x, y, scratch, out);
}
