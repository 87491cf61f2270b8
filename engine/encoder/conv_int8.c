/* Convolutions with products of int8: the weights, rounded once, and the maps, rounded when they
 * are read. */
#include "engine/encoder/conv.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A panel of all taps, as conv_pack's. */
struct panel {
    const float *weights; /* [taps * depth][width] */
    float *steps;         /* [width] */
    int8_t *quads;        /* [taps][(depth + 3) / 4][width][4] */
    uint32_t n_taps;
    uint32_t depth;
    uint32_t width;
};

static float larger(float a, float b)
{
    return a > b ? a : b;
}

/* A column's largest weight becomes INT8_WEIGHT_MAX. */
static void find_steps(const struct panel *panel)
{
    for (uint32_t column = 0; column < panel->width; column++) {
        float largest = 0.0f;
        for (uint64_t row = 0; row < (uint64_t)panel->n_taps * panel->depth; row++)
            largest = larger(largest, fabsf(panel->weights[row * panel->width + column]));
        panel->steps[column] = largest / INT8_WEIGHT_MAX;
    }
}

/* Weights so small that their step has lost digits or is zero count as zero, and so do those of a
 * channel that has overflowed. */
static int8_t rounded(float weight, float step)
{
    return step >= FLT_MIN && isfinite(step) ? (int8_t)lrintf(weight / step) : 0;
}

static void round_weights(const struct panel *panel)
{
    const uint32_t n_quads = (panel->depth + 3) / 4;
    const uint32_t width = panel->width;
    memset(panel->quads, 0, (size_t)panel->n_taps * n_quads * width * 4);
    for (uint32_t tap = 0; tap < panel->n_taps; tap++) {
        for (uint32_t k = 0; k < panel->depth; k++) {
            const float *row = panel->weights + ((size_t)tap * panel->depth + k) * width;
            int8_t *quads = panel->quads + ((size_t)tap * n_quads + k / 4) * width * 4 + k % 4;
            for (uint32_t column = 0; column < width; column++)
                quads[column * 4] = rounded(row[column], panel->steps[column]);
        }
    }
}

int conv_prepare_int8(struct conv *conv, struct error *err)
{
    if (conv->panel_quads != NULL)
        return 0;
    const uint32_t padded = padded_channels(conv->out_channels);
    const uint32_t n_taps = conv->kernel * conv->kernel;
    const uint64_t tap_quads = (conv->in_channels + 3) / 4;
    float *quads = allocate_floats(n_taps * tap_quads * padded);
    float *steps = allocate_floats(padded);
    if (quads == NULL || steps == NULL) {
        free(quads);
        free(steps);
        return error_set_nomem(err, "a convolution's weights");
    }
    for (uint32_t column = 0; column < padded; column += panel_width(column, padded)) {
        const struct panel panel = {
            .weights = conv->panels + (uint64_t)n_taps * conv->in_channels * column,
            .steps = steps + column,
            .quads = (int8_t *)(quads + n_taps * tap_quads * column),
            .n_taps = n_taps,
            .depth = conv->in_channels,
            .width = panel_width(column, padded),
        };
        find_steps(&panel);
        round_weights(&panel);
    }
    conv->panel_quads = quads;
    conv->weight_steps = steps;
    return 0;
}

void conv_round_maps(const struct int8_kernels *kernels, const float *maps, uint32_t n,
                     size_t map_floats, float *words, float *steps)
{
    for (uint32_t i = 0; i < n; i++, maps += map_floats, words += map_floats / 4) {
        const float step = kernels->maximum(maps, map_floats) / INT8_VALUE_MAX;
        steps[i] = step;
        kernels->quantise(maps, map_floats, step < FLT_MIN ? 0.0f : 1.0f / step, words);
    }
}
