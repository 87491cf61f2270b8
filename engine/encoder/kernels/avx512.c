/* Kernels for AVX-512: 32 registers of 16 floats. */
#if defined(__x86_64__)

#include <immintrin.h>

typedef __m512 vec;

#define KERNELS          kernels_avx512
#define KERNELS_NAME     "avx512"
#define VECTOR_LANES     16
#define TILE_VECTORS     4
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_max(a, b)    _mm512_max_ps(a, b)
#define vec_set(x)       _mm512_set1_ps(x)

#include "engine/encoder/kernels/vector_kernels.inc"

#endif
