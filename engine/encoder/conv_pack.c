/* Weights in the order in which the kernels read them. */
#include "engine/encoder/conv.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/encoder/kernels/winograd_matrices.h"

_Static_assert((int)MEMORY_ALIGNMENT >= (int)KERNEL_ALIGNMENT, "memory suits the kernels");

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

/* The weights of one Winograd tile; NULL: out of memory. */
static float *make_winograd(const struct conv *conv, enum winograd_tile tile)
{
    const uint32_t p = winograd_outputs(tile) + 2;
    const uint32_t n_out = conv->out_channels;
    const uint32_t padded = padded_channels(n_out);
    const uint64_t matrix_floats = (uint64_t)conv->in_channels * padded;
    float *packed = allocate_bytes(conv_winograd_bytes(conv, tile));
    if (packed == NULL)
        return NULL;
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
    return packed;
}

/* The nearest bfloat16, ties to even; what is too large becomes infinite, as in the kernels. */
static uint32_t bfloat16_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* Writes a panel of depth x width as words of two rows; returns the end of what was written. */
static float *pair_panel(const float *panel, uint32_t depth, uint32_t width, float *out)
{
    for (uint32_t k = 0; k < depth; k += 2) {
        const float *row = panel + (size_t)k * width;
        for (uint32_t column = 0; column < width; column++, out++) {
            const uint32_t low = bfloat16_bits(row[column]);
            const uint32_t high = k + 1 < depth ? bfloat16_bits(row[width + column]) : 0;
            const uint32_t word = high << 16 | low;
            memcpy(out, &word, sizeof(*out));
        }
    }
    return out;
}

/* How the panels of several matrices lie: one matrix after the other, or one panel after the other
 * with the matrices (taps) within. */
enum panel_order { MATRIX_BY_MATRIX, PANEL_BY_PANEL };

/* The panels of n_matrices in pairs; NULL: out of memory. */
static float *make_pairs(const struct conv *conv, const float *panels, uint64_t n_matrices,
                         enum panel_order order)
{
    const uint32_t padded = padded_channels(conv->out_channels);
    const uint32_t depth = conv->in_channels;
    const uint32_t n_words = (depth + 1) / 2;
    float *pairs = allocate_floats(n_matrices * n_words * padded);
    float *next = pairs;
    const uint64_t n_outside = order == PANEL_BY_PANEL ? 1 : n_matrices;
    const uint64_t n_inside = order == PANEL_BY_PANEL ? n_matrices : 1;
    for (uint64_t i = 0; i < n_outside && pairs != NULL; i++) {
        for (uint32_t column = 0; column < padded; column += panel_width(column, padded)) {
            const uint32_t width = panel_width(column, padded);
            for (uint64_t k = 0; k < n_inside; k++, panels += (size_t)depth * width)
                next = pair_panel(panels, depth, width, next);
        }
    }
    return pairs;
}

/* Made by one of the two above. */
static int keep(float **place, float *made, struct error *err)
{
    *place = made;
    return made == NULL ? error_set_nomem(err, "a convolution's weights") : 0;
}

int conv_prepare(struct conv *conv, enum conv_algorithm algorithm, struct error *err)
{
    if (algorithm == CONV_INT8_DIRECT)
        return conv_prepare_int8(conv, err);
    const enum conv_algorithm scheme = conv_scheme(algorithm);
    const bool reduced = conv_is_bfloat16(algorithm);
    if (scheme == CONV_DIRECT) {
        if (!reduced || conv->panel_pairs != NULL)
            return 0;
        return keep(
            &conv->panel_pairs,
            make_pairs(conv, conv->panels, (uint64_t)conv->kernel * conv->kernel, PANEL_BY_PANEL),
            err);
    }
    const enum winograd_tile tile = (enum winograd_tile)scheme;
    float **place = reduced ? &conv->winograd_pairs : &conv->winograd[tile];
    if (*place != NULL)
        return 0;
    float *made = make_winograd(conv, tile);
    if (reduced && made != NULL) {
        const uint64_t p = winograd_outputs(tile) + 2;
        float *pairs = make_pairs(conv, made, p * p, MATRIX_BY_MATRIX);
        free(made);
        made = pairs;
    }
    return keep(place, made, err);
}

void conv_clear(struct conv *conv)
{
    free(conv->panels);
    free(conv->bias);
    free(conv->panel_pairs);
    free(conv->winograd_pairs);
    free(conv->panel_quads);
    free(conv->weight_steps);
    for (uint32_t tile = 0; tile < WINOGRAD_TILES; tile++)
        free(conv->winograd[tile]);
    *conv = (struct conv){0};
}
