/* The int8 kernels for AVX-512 with VNNI: four products of bytes a lane, summed in 32 bits. */
#if defined(__x86_64__)

#include "engine/encoder/kernels/int8.h"

#include <immintrin.h>

typedef __m512 vec;

#define VECTOR_LANES     16
#define TILE_VECTORS     4
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_max(a, b)    _mm512_max_ps(a, b)
#define vec_set(x)       _mm512_set1_ps(x)
#define vec_dot(a, b, c) ((vec)_mm512_dpbusd_epi32((__m512i)(c), (__m512i)(a), (__m512i)(b)))
#define vec_total(gemm, row, at, sum)                                                              \
    (_mm512_cvtepi32_ps((__m512i)(sum)) *                                                          \
     (vec_set((gemm)->row_scales[row]) * load((gemm)->column_scales + (at))))

#include "engine/encoder/kernels/vector_products.inc"

static float maximum(const float *values, size_t n)
{
    vec found[4] = {vec_set(0.0f), vec_set(0.0f), vec_set(0.0f), vec_set(0.0f)};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        UNROLL for (int k = 0; k < 4; k++) found[k] = vec_max(load(values + i + 16 * k), found[k]);
    }
    for (; i < n; i += 16)
        found[0] = vec_max(load(values + i), found[0]);
    return _mm512_reduce_max_ps(vec_max(vec_max(found[0], found[1]), vec_max(found[2], found[3])));
}

static void quantise(const float *values, size_t n, float factor, float *words)
{
    uint8_t *bytes = (uint8_t *)words;
    const vec factors = vec_set(factor);
    for (size_t i = 0; i < n; i += 16) {
        const __m512i whole = _mm512_cvtps_epi32(load(values + i) * factors);
        _mm_store_si128((__m128i *)(bytes + i), _mm512_cvtusepi32_epi8(whole));
    }
}

const struct int8_kernels int8_avx512_vnni = {
    .name = "avx512_vnni", .gemm = multiply, .maximum = maximum, .quantise = quantise};

#endif
