/* Statistics of maps, as pooled into embeddings. Maps: NHWC with `stride` floats from position to
 * position. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_POOLING_H
#define CHIPSHOT_ENGINE_ENCODER_POOLING_H

#include <stdint.h>

/* Mean of each channel over the positions of one map. */
void channel_means(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                   double *means);

/* Population standard deviation of each channel around those means; squares: scratch of
 * n_channels. */
void channel_deviations(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        const double *means, double *squares, float *deviations);

/* Divides the vector by max(its Euclidean norm, 1e-12). */
void l2_normalise(float *vector, uint32_t n);

#endif
