/* The operations of a ResNet on NHWC float32 maps. Deterministic: a result depends on the arguments
 * alone. Private to engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_OPS_H
#define CHIPSHOT_ENGINE_ENCODER_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/encoder/resnet.h"

enum conv_activation { CONV_LINEAR, CONV_RELU };

/* Floats of the im2col buffer that conv_apply needs for this many output positions. */
uint64_t conv_column_floats(const struct conv *conv, uint64_t n_positions);

/* out = activation(conv(in) + bias + residual).
 * in: n x side x side x in_channels; out and residual (NULL: none): n x so x so x out_channels with
 * so = window_output_side(side, kernel, stride). `out` overlaps no other argument. */
void conv_apply(const struct conv *conv, const float *in, uint32_t n, uint32_t side, float *out,
                const float *residual, enum conv_activation activation, float *columns);

/* 3x3, stride 2, padding 1, of values that are not negative: in n x side x side x n_channels. */
void max_pool_apply(const float *in, uint32_t n, uint32_t side, uint32_t n_channels, float *out);

/* Mean of each channel over the positions of one map. */
void channel_means(const float *in, uint32_t n_positions, uint32_t n_channels, double *means);

/* Population standard deviation of each channel around those means; squares: scratch of
 * n_channels. */
void channel_deviations(const float *in, uint32_t n_positions, uint32_t n_channels,
                        const double *means, double *squares, float *deviations);

/* Divides the vector by max(its Euclidean norm, 1e-12). */
void l2_normalise(float *vector, uint32_t n);

#endif
