/* The inner loops of int8 convolutions. Values are unsigned, as a convolution's inputs come out of
 * a ReLU, and their steps are found map by map; weights are signed, with a step for each output
 * channel. Products are summed in 32 bits, so exactly, and become float32 at the end. Private to
 * engine/encoder/. */
#ifndef CHIPSHOT_ENGINE_ENCODER_KERNELS_INT8_H
#define CHIPSHOT_ENGINE_ENCODER_KERNELS_INT8_H

#include <stddef.h>

#include "engine/encoder/kernels/kernels.h"

enum { INT8_VALUE_MAX = 255, INT8_WEIGHT_MAX = 127 };

/* A word holds four values or weights of neighbouring channels, the first one in the lowest byte,
 * and has the type float because it takes a float's place. */
struct int8_kernels {
    const char *name;
    /* As kernels' gemm: `rows` and `panels` hold words, whose number is `depth`, and sums that are
     * not finished are integers in out's place. A finished sum counts in steps of row_scales[row] x
     * column_scales[column]. */
    void (*gemm)(const struct gemm *gemm);
    /* Of n values, a multiple of KERNEL_LANES, none negative. */
    float (*maximum)(const float *values, size_t n);
    /* n / 4 words of the values x factor, rounded to the nearest, ties to even. */
    void (*quantise)(const float *values, size_t n, float factor, float *words);
};

extern const struct int8_kernels int8_scalar;
#if defined(__x86_64__)
extern const struct int8_kernels int8_avx512_vnni; /* besides avx512: VNNI */
#endif

/* NULL: none that this processor runs is faster than float32. */
const struct int8_kernels *int8_kernels(void);

#endif
