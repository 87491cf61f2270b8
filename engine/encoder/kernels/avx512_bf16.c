/* Kernels for AVX-512 with BF16: products of pairs of bfloat16 values, summed in float32. */
#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>

typedef __m512 vec;

/* Two float32 values a lane: rounded to the nearest bfloat16, ties to even. */
static inline void store_pairs(float *to, vec value)
{
    const __m256bh halves = _mm512_cvtneps_pbh(value);
    _mm256_store_si256((__m256i *)to, (__m256i)halves);
}

static void make_pairs(const float *values, size_t n, float *pairs)
{
    for (size_t i = 0; i < n; i += 16)
        store_pairs(pairs + i / 2, _mm512_load_ps(values + i));
}

#define KERNELS                kernels_avx512_bf16
#define KERNELS_NAME           "avx512_bf16"
#define VECTOR_LANES           16
#define TILE_VECTORS           4
#define vec_fma(a, b, c)       _mm512_fmadd_ps(a, b, c)
#define vec_max(a, b)          _mm512_max_ps(a, b)
#define vec_set(x)             _mm512_set1_ps(x)
#define vec_dot(a, b, c)       _mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b))
#define PLANE_WORDS(n)         ((n) / 2)
#define store_plane(to, value) store_pairs(to, value)
#define MAKE_PAIRS             make_pairs

#include "engine/encoder/kernels/vector_kernels.inc"

#endif
