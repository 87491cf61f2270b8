/* Sums run in double precision: a standard deviation is a small difference of large numbers. */
#include "engine/encoder/pooling.h"

#include <math.h>
#include <string.h>

void channel_means(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                   double *means)
{
    memset(means, 0, sizeof(*means) * n_channels);
    for (uint32_t position = 0; position < n_positions; position++, in += stride) {
        for (uint32_t c = 0; c < n_channels; c++)
            means[c] += (double)in[c];
    }
    for (uint32_t c = 0; c < n_channels; c++)
        means[c] /= n_positions;
}

void channel_deviations(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        const double *means, double *squares, float *deviations)
{
    memset(squares, 0, sizeof(*squares) * n_channels);
    for (uint32_t position = 0; position < n_positions; position++, in += stride) {
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
