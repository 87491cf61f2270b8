/* Sums run in double precision: a standard deviation is a small difference of large numbers. Each
 * channel adds its positions in order, whatever the width of the vectors. */
#include "engine/encoder/pooling.h"

#include <math.h>
#include <string.h>

#include "base/clones.h"
#include "engine/encoder/kernels/kernels.h"

enum {
    BLOCK = KERNEL_LANES
}; /* channels whose sums are held in registers while the positions pass */

typedef float block __attribute__((vector_size(BLOCK * sizeof(float))));
typedef double sums __attribute__((vector_size(BLOCK * sizeof(double))));

static inline __attribute__((always_inline)) sums load_block(const float *from)
{
    block values;
    memcpy(&values, from, sizeof(values));
    return __builtin_convertvector(values, sums);
}

VECTOR_CLONES
static void block_statistics(const float *in, uint32_t n_positions, uint32_t stride, double *means,
                             double *squares)
{
    sums mean = {0}, square = {0};
    for (uint32_t position = 0; position < n_positions; position++)
        mean += load_block(in + (size_t)position * stride);
    mean /= (double)n_positions;
    memcpy(means, &mean, sizeof(mean));
    if (squares == NULL)
        return;
    for (uint32_t position = 0; position < n_positions; position++) {
        const sums difference = load_block(in + (size_t)position * stride) - mean;
        square += difference * difference;
    }
    square /= (double)n_positions;
    memcpy(squares, &square, sizeof(square));
}

void channel_statistics(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        float *means, float *deviations)
{
    double mean[BLOCK], square[BLOCK];
    for (uint32_t first = 0; first < n_channels; first += BLOCK) {
        const uint32_t n = n_channels - first < BLOCK ? n_channels - first : BLOCK;
        block_statistics(in + first, n_positions, stride, mean, deviations == NULL ? NULL : square);
        for (uint32_t c = 0; c < n && means != NULL; c++)
            means[first + c] = (float)mean[c];
        for (uint32_t c = 0; c < n && deviations != NULL; c++)
            deviations[first + c] = (float)sqrt(square[c]);
    }
}

VECTOR_CLONES
void plane_statistics(const float *in, uint32_t n, float *mean, float *deviation)
{
    /* Partial sums, always the same ones, let the processor overlap the additions. */
    double sum[BLOCK] = {0}, square[BLOCK] = {0};
    for (uint32_t i = 0; i < n; i++)
        sum[i % BLOCK] += (double)in[i];
    for (uint32_t k = 1; k < BLOCK; k++)
        sum[0] += sum[k];
    const double middle = sum[0] / (double)n;
    for (uint32_t i = 0; i < n; i++) {
        const double difference = (double)in[i] - middle;
        square[i % BLOCK] += difference * difference;
    }
    for (uint32_t k = 1; k < BLOCK; k++)
        square[0] += square[k];
    *mean = (float)middle;
    *deviation = (float)sqrt(square[0] / (double)n);
}

VECTOR_CLONES
void l2_normalise(float *vector, uint32_t n)
{
    double square = 0.0;
    for (uint32_t i = 0; i < n; i++)
        square += (double)vector[i] * (double)vector[i];
    const double norm = fmax(sqrt(square), 1e-12);
    for (uint32_t i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] / norm);
}
