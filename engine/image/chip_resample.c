/* Antialiased bilinear resampling of one window, in two separable passes: every row of the window
 * is first brought to the output's width (into scratch), then columns to its height.
 *
 * Output sample i of an axis has its centre at (i + 0.5) * scale in the input, scale = in / out,
 * and is the sum over the inputs within max(1, scale) of that centre, weighted by a triangle of
 * that half-width; the weights of each output are divided by their sum, so that a constant stays
 * that constant. Weights are computed in double, once a plan, and kept as float.
 */
#include "engine/image/chip_grid.h"

#include <math.h>
#include <stdlib.h>

struct taps {
    uint32_t first;  /* first input sample */
    uint32_t n;      /* input samples, at least 1; first + n <= the axis's input size */
    uint32_t offset; /* index of the first weight in axis.weights */
};

struct axis {
    struct taps *taps; /* n_out */
    float *weights;    /* those of all outputs, one after the other */
    uint32_t n_in;
    uint32_t n_out;
};

struct chip_resampler {
    struct axis horizontal;
    struct axis vertical;
};

/* Weights of one output into `weights` (room for 2 * half_width + 2 of them). */
static void plan_taps(uint32_t n_in, double centre, double half_width, struct taps *taps,
                      float *weights)
{
    double lowest = floor(centre - half_width + 0.5);
    double end = floor(centre + half_width + 0.5);
    uint32_t first = lowest > 0 ? (uint32_t)lowest : 0;
    uint32_t last = end < n_in ? (uint32_t)end : n_in;
    double sum = 0;
    for (uint32_t j = first; j < last; j++)
        sum += fmax(0, 1 - fabs((j + 0.5 - centre) / half_width));
    /* Samples at the very edge of the triangle weigh nothing: an unscaled axis becomes a copy. */
    taps->n = 0;
    for (uint32_t j = first; j < last; j++) {
        double weight = fmax(0, 1 - fabs((j + 0.5 - centre) / half_width)) / sum;
        if (weight == 0)
            continue;
        if (taps->n == 0)
            taps->first = j;
        weights[taps->n++] = (float)weight;
    }
}

static int axis_init(struct axis *axis, uint32_t n_in, uint32_t n_out, struct error *err)
{
    double scale = (double)n_in / n_out;
    double half_width = fmax(1, scale);
    size_t max_taps = (size_t)(2 * half_width) + 2;
    axis->n_in = n_in;
    axis->n_out = n_out;
    axis->taps = calloc(n_out, sizeof(*axis->taps));
    axis->weights = calloc(n_out * max_taps, sizeof(*axis->weights));
    if (axis->taps == NULL || axis->weights == NULL)
        return error_set_nomem(err, "the resampling weights");
    uint32_t n_weights = 0;
    for (uint32_t i = 0; i < n_out; i++) {
        axis->taps[i].offset = n_weights;
        plan_taps(n_in, (i + 0.5) * scale, half_width, &axis->taps[i], axis->weights + n_weights);
        n_weights += axis->taps[i].n;
    }
    return 0;
}

static void axis_clear(struct axis *axis)
{
    free(axis->taps);
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

size_t chip_resampler_scratch(const struct chip_resampler *resampler)
{
    return (size_t)resampler->vertical.n_in * resampler->horizontal.n_out +
           resampler->horizontal.n_in;
}

static void resample_row(const struct axis *axis, const float *in, float *out)
{
    for (uint32_t i = 0; i < axis->n_out; i++) {
        const float *weights = axis->weights + axis->taps[i].offset;
        const float *samples = in + axis->taps[i].first;
        float sum = weights[0] * samples[0];
        for (uint32_t j = 1; j < axis->taps[i].n; j++)
            sum += weights[j] * samples[j];
        out[i] = sum;
    }
}

/* Whole rows are added, so that the inner loop runs along memory. */
static void resample_column(const struct axis *axis, uint32_t i, const float *rows, size_t row_size,
                            float *restrict out)
{
    const float *weights = axis->weights + axis->taps[i].offset;
    const float *row = rows + axis->taps[i].first * row_size;
    for (size_t x = 0; x < row_size; x++)
        out[x] = weights[0] * row[x];
    for (uint32_t j = 1; j < axis->taps[i].n; j++) {
        row += row_size;
        for (size_t x = 0; x < row_size; x++)
            out[x] += weights[j] * row[x];
    }
}

/* One row of a window as floats, in `buffer` where they are not there as such. */
static const float *source_row(const struct chip_source *source, uint32_t x, size_t y, uint32_t n,
                               float *buffer)
{
    const size_t first = y * source->image_width + x;
    if (source->pixels != NULL)
        return source->pixels + first;
    const uint8_t *samples = source->samples + first * source->sample_size;
    if (source->sample_size == 1) {
        for (uint32_t i = 0; i < n; i++)
            buffer[i] = source->levels[samples[i]];
    } else {
        for (uint32_t i = 0; i < n; i++)
            buffer[i] = source->levels[samples[2 * i] << 8 | samples[2 * i + 1]];
    }
    return buffer;
}

void chip_resample_source(const struct chip_resampler *resampler, const struct chip_source *source,
                          uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct axis *horizontal = &resampler->horizontal;
    const struct axis *vertical = &resampler->vertical;
    const size_t row_size = horizontal->n_out;
    float *buffer = scratch + vertical->n_in * row_size;
    for (size_t row = 0; row < vertical->n_in; row++)
        resample_row(horizontal, source_row(source, x, y + row, horizontal->n_in, buffer),
                     scratch + row * row_size);
    for (uint32_t i = 0; i < vertical->n_out; i++)
        resample_column(vertical, i, scratch, row_size, out + i * row_size);
}

void chip_resample(const struct chip_resampler *resampler, const float *pixels,
                   uint32_t image_width, uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct chip_source source = {.pixels = pixels, .image_width = image_width};
    chip_resample_source(resampler, &source, x, y, scratch, out);
}
