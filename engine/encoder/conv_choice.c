/* Which algorithm computes a convolution. */
#include "engine/encoder/conv.h"

/* A model of the time in cycles of a core with two 16-lane multiply-adds a cycle. Only ratios
 * matter, so it is the same everywhere: results must not depend on the machine's load or on a
 * measurement. The constants were fitted to `chipshot bench encoder --layers`
 * (docs/performance.md). */
static const double products_a_cycle = 28.0;
static const double weight_bytes_a_cycle = 8.0;
static const double transform_cycles = 4.0; /* a vector of 16 channels of one plane */

/* Products of bfloat16 are two an instruction, and their weights half as long; of int8 four. */
static const double gains[PRECISIONS] = {
    [PRECISION_FLOAT32] = 1.0, [PRECISION_BFLOAT16] = 2.0, [PRECISION_INT8] = 4.0};
/* A vector of 16 channels that int8 rounds before the products or scales after them. */
static const double int8_cycles = 7.0;
/* Products that a sum of 32 bits holds, whatever the values. */
static const uint32_t int8_products_max = INT32_MAX / (INT8_VALUE_MAX * INT8_WEIGHT_MAX);

static double products_cycles(double n_products, double n_weights, double gain)
{
    return (n_products / products_a_cycle + n_weights * 4.0 / weight_bytes_a_cycle) / gain;
}

static double direct_cycles(const struct conv *conv, double side, double n,
                            enum precision precision)
{
    const double channels = (double)conv->in_channels * conv->out_channels;
    /* Taps of an axis that see the map: all but one at each end. */
    const double taps = 3.0 * side - 2.0;
    const double vectors = n * side * side * (conv->in_channels + conv->out_channels) / 16.0;
    return products_cycles(n * taps * taps * channels, 9.0 * channels, gains[precision]) +
           (precision == PRECISION_INT8 ? vectors * int8_cycles : 0.0);
}

static double winograd_cycles(const struct conv *conv, enum winograd_tile tile, uint32_t side,
                              double n, double gain)
{
    const uint32_t m = winograd_outputs(tile);
    const double planes = (m + 2.0) * (m + 2.0);
    const double a_side = (side + m - 1) / m;
    const double tiles = n * a_side * a_side;
    const double channels = (double)conv->in_channels * conv->out_channels;
    const double vectors = (conv->in_channels + conv->out_channels) / 16.0;
    return products_cycles(tiles * planes * channels, planes * channels, gain) +
           tiles * planes * vectors * transform_cycles;
}

enum conv_algorithm conv_choose(const struct conv *conv, uint32_t side, uint32_t n,
                                uint32_t n_winograd, enum precision precision)
{
    static const enum conv_algorithm direct[PRECISIONS] = {
        [PRECISION_FLOAT32] = CONV_DIRECT,
        [PRECISION_BFLOAT16] = CONV_BFLOAT16_DIRECT,
        [PRECISION_INT8] = CONV_INT8_DIRECT,
    };
    if (precision == PRECISION_INT8 &&
        conv->kernel * conv->kernel * conv->in_channels > int8_products_max)
        precision = PRECISION_FLOAT32;
    enum conv_algorithm best = direct[precision];
    if (!conv_has_winograd(conv))
        return best;
    double best_cycles = direct_cycles(conv, side, n, precision);
    for (enum winograd_tile tile = WINOGRAD_2; tile < n_winograd; tile++) {
        const double cycles = winograd_cycles(conv, tile, side, n, 1.0);
        if (cycles < best_cycles) {
            best = (enum conv_algorithm)tile;
            best_cycles = cycles;
        }
    }
    /* Larger tiles would magnify the rounding of values and weights. */
    if (precision == PRECISION_BFLOAT16 && n_winograd > WINOGRAD_2 &&
        winograd_cycles(conv, WINOGRAD_2, side, n, gains[precision]) < best_cycles)
        best = CONV_BFLOAT16_WINOGRAD_2;
    return best;
}

const char *conv_algorithm_name(enum conv_algorithm algorithm)
{
    switch (algorithm) {
    case CONV_WINOGRAD_2:
        return "winograd 2x2";
    case CONV_WINOGRAD_3:
        return "winograd 3x3";
    case CONV_WINOGRAD_4:
        return "winograd 4x4";
    case CONV_WINOGRAD_5:
        return "winograd 5x5";
    case CONV_WINOGRAD_6:
        return "winograd 6x6";
    case CONV_DIRECT:
        return "direct";
    case CONV_BFLOAT16_WINOGRAD_2:
        return "bfloat16 winograd 2x2";
    case CONV_BFLOAT16_DIRECT:
        return "bfloat16 direct";
    case CONV_INT8_DIRECT:
        return "int8 direct";
    }
    return "";
}

void conv_apply(struct conv_scratch *scratch, const struct conv_call *call)
{
    if (conv_scheme(call->algorithm) == CONV_DIRECT)
        conv_apply_direct(scratch, call);
    else
        conv_apply_winograd(scratch, call);
}
