/* Statistics of maps, as pooled into embeddings. Maps: NHWC with `stride` floats from position to
 * position. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_POOLING_H
#define CHIPSHOT_ENGINE_ENCODER_POOLING_H

#include <stdint.h>

/* Mean and population standard deviation of each channel over the positions of one map; either may
 * be NULL. The stride is n_channels padded to KERNEL_LANES, all of which are read. */
void channel_statistics(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        float *means, float *deviations);

/* Of a chip of side x side floats: its mean, and its slow contrast, the difference between the
 * brightest and the darkest window. A window is side / 3 pixels wide, rounded; 9 x 9 of them are
 * spread evenly, the first and the last at the edges. */
void chip_statistics(const float *chip, uint32_t side, float *mean, float *contrast);

/* Divides the vector by max(its Euclidean norm, 1e-12). */
void l2_normalise(float *vector, uint32_t n);

#endif
