/* Kernels for AVX2 with FMA: 16 registers of 8 floats. */
#if defined(__x86_64__)

#include <immintrin.h>

typedef __m256 vec;

#define KERNELS          kernels_avx2
#define KERNELS_NAME     "avx2"
#define VECTOR_LANES     8
#define TILE_VECTORS     2
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_max(a, b)    _mm256_max_ps(a, b)
#define vec_set(x)       _mm256_set1_ps(x)

#include "engine/encoder/kernels/vector_kernels.inc"

#endif
