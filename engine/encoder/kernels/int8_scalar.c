/* The int8 kernels in plain loops: what the others are tested against. */
#include "engine/encoder/kernels/int8.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static int32_t dot(float values, float weights)
{
    uint8_t left[4];
    int8_t right[4];
    memcpy(left, &values, sizeof(left));
    memcpy(right, &weights, sizeof(right));
    int32_t sum = 0;
    for (int i = 0; i < 4; i++)
        sum += left[i] * right[i];
    return sum;
}

static float finished(const struct gemm *gemm, uint32_t row, uint32_t column, int32_t sum)
{
    float value = (float)sum * (gemm->row_scales[row] * gemm->column_scales[column]);
    value += gemm->bias[column];
    if (gemm->residual != NULL)
        value += gemm->residual[row][gemm->column + column];
    return gemm->relu && !(value > 0.0f) ? 0.0f : value;
}

static void multiply(const struct gemm *gemm)
{
    for (uint32_t row = 0; row < gemm->n_rows; row++) {
        float *out = gemm->out[row] + gemm->column;
        for (uint32_t column = 0; column < gemm->width; column++) {
            int32_t sum = 0;
            if (gemm->accumulate)
                memcpy(&sum, &out[column], sizeof(sum));
            for (uint32_t tap = 0; tap < gemm->n_taps; tap++) {
                const float *values = gemm->rows[(size_t)tap * gemm->n_rows + row];
                const float *panel = gemm->panels[tap] + column;
                for (uint32_t k = 0; k < gemm->depth; k++)
                    sum += dot(values[k], panel[(size_t)k * gemm->width]);
            }
            if (gemm->finish)
                out[column] = finished(gemm, row, column, sum);
            else
                memcpy(&out[column], &sum, sizeof(sum));
        }
    }
}

static float maximum(const float *values, size_t n)
{
    float found = 0.0f;
    for (size_t i = 0; i < n; i++)
        found = values[i] > found ? values[i] : found;
    return found;
}

static void quantise(const float *values, size_t n, float factor, float *words)
{
    uint8_t *bytes = (uint8_t *)words;
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)lrintf(values[i] * factor);
}

const struct int8_kernels int8_scalar = {
    .name = "scalar", .gemm = multiply, .maximum = maximum, .quantise = quantise};
