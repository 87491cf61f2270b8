/* Statistics of maps, as pooled into embeddings. Maps: NHWC with `stride` floats from position to
 * position. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_POOLING_H
#define CHIPSHOT_ENGINE_ENCODER_POOLING_H

#include <stdint.h>

/* Mean and population standard deviation of each channel over the positions of one map; either may
 * be NULL. The stride is n_channels padded to KERNEL_LANES, all of which are read. */
void channel_statistics(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        float *means, float *deviations);

/* The same of the n values of one plane. */
void plane_statistics(const float *in, uint32_t n, float *mean, float *deviation);

/* Divides the vector by max(its Euclidean norm, 1e-12). */
void l2_normalise(float *vector, uint32_t n);

#endif
