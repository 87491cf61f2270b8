/* Convolution is a matrix product: rows are output positions (over all chips), columns are output
 * channels. Rows are taken in blocks whose size depends on the layer alone, so that the im2col
 * buffer stays in the cache and the epilogue finds the product there.
 *
 * Loops over channels go in groups of LANES with a fixed trip count, the form that compilers turn
 * into vector code at -O2. */
#include "engine/encoder/ops.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

enum {
    LANES = 16,
    /* A block's im2col rows should fill about this many floats (2 MB), but a product of few rows
     * would spend its time packing the weights. */
    COLUMN_FLOATS_GOAL = 512 * 1024,
    BLOCK_ROWS_MIN = 256,
};

static uint64_t row_size(const struct conv *conv)
{
    return (uint64_t)conv->kernel * conv->kernel * conv->in_channels;
}

static uint64_t block_rows(const struct conv *conv, uint64_t n_positions)
{
    uint64_t rows = COLUMN_FLOATS_GOAL / row_size(conv);
    if (rows < BLOCK_ROWS_MIN)
        rows = BLOCK_ROWS_MIN;
    return rows < n_positions ? rows : n_positions;
}

/* The map itself serves as the im2col matrix. */
static bool is_pointwise(const struct conv *conv)
{
    return conv->kernel == 1 && conv->stride == 1;
}

uint64_t conv_column_floats(const struct conv *conv, uint64_t n_positions)
{
    return is_pointwise(conv) ? 0 : block_rows(conv, n_positions) * row_size(conv);
}

/* The window of one output position of one map; positions outside of the map are zero. */
static void copy_window(const struct conv *conv, const float *map, uint32_t side, uint32_t y,
                        uint32_t x, float *out)
{
    const int32_t kernel = (int32_t)conv->kernel;
    const int32_t limit = (int32_t)side;
    const size_t n_channels = conv->in_channels;
    const int32_t top = (int32_t)(y * conv->stride) - kernel / 2;
    const int32_t left = (int32_t)(x * conv->stride) - kernel / 2;
    const int32_t first = left < 0 ? -left : 0;
    const int32_t last = left + kernel > limit ? limit - left : kernel;
    for (int32_t ky = 0; ky < kernel; ky++, out += (size_t)kernel * n_channels) {
        const int32_t row = top + ky;
        if (row < 0 || row >= limit) {
            memset(out, 0, sizeof(*out) * (size_t)kernel * n_channels);
            continue;
        }
        const float *source = map + ((size_t)row * side + (size_t)(left + first)) * n_channels;
        const size_t n_values = (size_t)(last - first) * n_channels;
        memset(out, 0, sizeof(*out) * (size_t)first * n_channels);
        memcpy(out + (size_t)first * n_channels, source, sizeof(*out) * n_values);
        memset(out + (size_t)last * n_channels, 0,
               sizeof(*out) * (size_t)(kernel - last) * n_channels);
    }
}

static void copy_windows(const struct conv *conv, const float *in, uint32_t side,
                         uint64_t first_row, uint64_t n_rows, float *columns)
{
    const uint32_t out_side = window_output_side(side, conv->kernel, conv->stride);
    const uint64_t positions = (uint64_t)out_side * out_side;
    const size_t map_floats = (size_t)side * side * conv->in_channels;
    const size_t width = row_size(conv);
    uint64_t chip = first_row / positions;
    uint32_t y = (uint32_t)(first_row % positions / out_side);
    uint32_t x = (uint32_t)(first_row % out_side);
    for (uint64_t row = 0; row < n_rows; row++, columns += width) {
        copy_window(conv, in + chip * map_floats, side, y, x, columns);
        if (++x < out_side)
            continue;
        x = 0;
        if (++y < out_side)
            continue;
        y = 0;
        chip++;
    }
}

/* A NaN (from weights that overflow) becomes zero here. */
static inline float relu(float value)
{
    return value > 0.0f ? value : 0.0f;
}

static void add_bias(float *restrict row, const float *restrict bias, size_t n)
{
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            row[c + lane] += bias[c + lane];
    }
    for (; c < n; c++)
        row[c] += bias[c];
}

static void add_bias_relu(float *restrict row, const float *restrict bias, size_t n)
{
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            row[c + lane] = relu(row[c + lane] + bias[c + lane]);
    }
    for (; c < n; c++)
        row[c] = relu(row[c] + bias[c]);
}

static void add_residual_relu(float *restrict row, const float *restrict bias,
                              const float *restrict residual, size_t n)
{
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            row[c + lane] = relu(row[c + lane] + bias[c + lane] + residual[c + lane]);
    }
    for (; c < n; c++)
        row[c] = relu(row[c] + bias[c] + residual[c]);
}

static void finish_rows(const struct conv *conv, float *out, const float *residual,
                        enum conv_activation activation, uint64_t n_rows)
{
    const size_t n = conv->out_channels;
    for (uint64_t row = 0; row < n_rows; row++, out += n) {
        if (residual != NULL) {
            add_residual_relu(out, conv->bias, residual, n);
            residual += n;
        } else if (activation == CONV_RELU) {
            add_bias_relu(out, conv->bias, n);
        } else {
            add_bias(out, conv->bias, n);
        }
    }
}

void conv_apply(const struct conv *conv, const float *in, uint32_t n, uint32_t side, float *out,
                const float *residual, enum conv_activation activation, float *columns)
{
    const uint32_t out_side = window_output_side(side, conv->kernel, conv->stride);
    const uint64_t n_positions = (uint64_t)n * out_side * out_side;
    const uint64_t rows = block_rows(conv, n_positions);
    const int width = (int)row_size(conv);
    const int n_out = (int)conv->out_channels;
    for (uint64_t first = 0; first < n_positions; first += rows) {
        const uint64_t n_rows = n_positions - first < rows ? n_positions - first : rows;
        const float *matrix = in + first * (size_t)width;
        if (!is_pointwise(conv)) {
            copy_windows(conv, in, side, first, n_rows, columns);
            matrix = columns;
        }
        float *block = out + first * (size_t)n_out;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n_rows, n_out, width, 1.0f,
                    matrix, width, conv->weights, n_out, 0.0f, block, n_out);
        finish_rows(conv, block, residual == NULL ? NULL : residual + first * (size_t)n_out,
                    activation, n_rows);
    }
}

static void raise_to(float *restrict maxima, const float *restrict values, size_t n)
{
    size_t c = 0;
    for (; c + LANES <= n; c += LANES) {
        for (size_t lane = 0; lane < LANES; lane++)
            maxima[c + lane] =
                maxima[c + lane] > values[c + lane] ? maxima[c + lane] : values[c + lane];
    }
    for (; c < n; c++)
        maxima[c] = maxima[c] > values[c] ? maxima[c] : values[c];
}

void max_pool_apply(const float *in, uint32_t n, uint32_t side, uint32_t n_channels, float *out)
{
    const uint32_t out_side = window_output_side(side, 3, 2);
    const size_t n_out = n_channels;
    for (uint32_t chip = 0; chip < n; chip++, in += (size_t)side * side * n_out) {
        for (uint32_t position = 0; position < out_side * out_side; position++, out += n_out) {
            const uint32_t y = position / out_side * 2;
            const uint32_t x = position % out_side * 2;
            const uint32_t bottom = y + 1 < side ? y + 1 : y;
            const uint32_t right = x + 1 < side ? x + 1 : x;
            /* No value is negative, so zero stands for the padding's minus infinity. */
            memset(out, 0, sizeof(*out) * n_out);
            for (uint32_t row = y > 0 ? y - 1 : 0; row <= bottom; row++) {
                for (uint32_t column = x > 0 ? x - 1 : 0; column <= right; column++)
                    raise_to(out, in + ((size_t)row * side + column) * n_out, n_out);
            }
        }
    }
}

void channel_means(const float *in, uint32_t n_positions, uint32_t n_channels, double *means)
{
    memset(means, 0, sizeof(*means) * n_channels);
    for (uint32_t position = 0; position < n_positions; position++, in += n_channels) {
        for (uint32_t c = 0; c < n_channels; c++)
            means[c] += (double)in[c];
    }
    for (uint32_t c = 0; c < n_channels; c++)
        means[c] /= n_positions;
}

void channel_deviations(const float *in, uint32_t n_positions, uint32_t n_channels,
                        const double *means, double *squares, float *deviations)
{
    memset(squares, 0, sizeof(*squares) * n_channels);
    for (uint32_t position = 0; position < n_positions; position++, in += n_channels) {
        for (uint32_t c = 0; c < n_channels; c++) {
            const double difference = (double)in[c] - means[c];
            squares[c] += difference * difference;
        }
    }
    for (uint32_t c = 0; c < n_channels; c++)
        deviations[c] = (float)sqrt(squares[c] / n_positions);
}

void l2_normalise(float *vector, uint32_t n)
{
    double square = 0.0;
    for (uint32_t i = 0; i < n; i++)
        square += (double)vector[i] * (double)vector[i];
    const double norm = fmax(sqrt(square), 1e-12);
    for (uint32_t i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] / norm);
}
