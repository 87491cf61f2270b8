/* Weights in the order in which the kernels read them. */
#include "engine/encoder/conv.h"

#include <stdlib.h>
#include <string.h>

#include "engine/encoder/kernels/winograd_matrices.h"
#include "engine/encoder/memory.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* A matrix [n_rows][n_columns] panel by panel; the columns beyond it are zero. */
static void pack_panels(const float *matrix, uint64_t n_rows, uint32_t n_columns, float *panels)
{
    const uint32_t padded = padded_channels(n_columns);
    for (uint32_t column = 0; column < padded; column += panel_width(column, padded)) {
        const uint32_t width = panel_width(column, padded);
        const uint32_t n_used = smaller(n_columns - column, width);
        for (uint64_t row = 0; row < n_rows; row++, panels += width) {
            memcpy(panels, matrix + row * n_columns + column, n_used * sizeof(*panels));
            memset(panels + n_used, 0, (width - n_used) * sizeof(*panels));
        }
    }
}

int conv_pack(struct conv *conv, const float *weights, const float *bias, struct error *err)
{
    const uint32_t padded = padded_channels(conv->out_channels);
    const uint64_t n_rows = (uint64_t)conv->kernel * conv->kernel * conv->in_channels;
    conv->panels = allocate_floats(n_rows * padded);
    conv->bias = allocate_floats(padded);
    if (conv->panels == NULL || conv->bias == NULL)
        return error_set_nomem(err, "a convolution's weights");
    pack_panels(weights, n_rows, conv->out_channels, conv->panels);
    memset(conv->bias, 0, padded * sizeof(*conv->bias));
    memcpy(conv->bias, bias, conv->out_channels * sizeof(*bias));
    return 0;
}

/* G g G^T for one pair of channels: `values` are p x p. */
static void transform_weights(const struct winograd_matrices *matrices, uint32_t p,
                              const float taps[9], float *values)
{
    double half[WINOGRAD_SIDE_MAX][3];
    for (uint32_t i = 0; i < p; i++) {
        for (uint32_t x = 0; x < 3; x++) {
            half[i][x] = 0.0;
            for (uint32_t y = 0; y < 3; y++)
                half[i][x] += matrices->weights[i][y] * (double)taps[3 * y + x];
        }
    }
    for (uint32_t i = 0; i < p; i++) {
        for (uint32_t k = 0; k < p; k++) {
            double sum = 0.0;
            for (uint32_t x = 0; x < 3; x++)
                sum += half[i][x] * matrices->weights[k][x];
            values[i * p + k] = (float)sum;
        }
    }
}

uint64_t conv_winograd_bytes(const struct conv *conv, enum winograd_tile tile)
{
    const uint64_t p = winograd_outputs(tile) + 2;
    return p * p * conv->in_channels * padded_channels(conv->out_channels) * sizeof(float);
}

int conv_pack_winograd(struct conv *conv, enum winograd_tile tile, struct error *err)
{
    if (conv->winograd[tile] != NULL)
        return 0;
    const uint32_t p = winograd_outputs(tile) + 2;
    const uint32_t n_out = conv->out_channels;
    const uint32_t padded = padded_channels(n_out);
    const uint64_t matrix_floats = (uint64_t)conv->in_channels * padded;
    float *packed = allocate_bytes(conv_winograd_bytes(conv, tile));
    if (packed == NULL)
        return error_set_nomem(err, "a convolution's transformed weights");
    memset(packed, 0, conv_winograd_bytes(conv, tile));
    for (uint32_t out = 0; out < n_out; out++) {
        uint32_t column = 0;
        while (column + panel_width(column, padded) <= out)
            column += panel_width(column, padded);
        const uint32_t width = panel_width(column, padded);
        const uint64_t tap_floats = (uint64_t)conv->in_channels * width;
        const float *weights =
            conv->panels + 9 * (uint64_t)conv->in_channels * column + out - column;
        float *place = packed + (uint64_t)conv->in_channels * column + out - column;
        for (uint32_t in = 0; in < conv->in_channels; in++, weights += width, place += width) {
            float taps[9];
            float values[WINOGRAD_SIDE_MAX * WINOGRAD_SIDE_MAX];
            for (uint32_t tap = 0; tap < 9; tap++)
                taps[tap] = weights[tap * tap_floats];
            transform_weights(&winograd_matrices[tile], p, taps, values);
            for (uint32_t i = 0; i < p * p; i++)
                place[i * matrix_floats] = values[i];
        }
    }
    conv->winograd[tile] = packed;
    return 0;
}

void conv_clear(struct conv *conv)
{
    free(conv->panels);
    free(conv->bias);
    for (uint32_t tile = 0; tile < WINOGRAD_TILES; tile++)
        free(conv->winograd[tile]);
    *conv = (struct conv){0};
}
