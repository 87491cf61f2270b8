/* With AVX-512 VBMI a table of 256 bytes fits in four registers, and an instruction looks 64 bytes
 * up in half of it. The floats of 256 levels are four such tables, of their first, second, third
 * and fourth bytes. Sixteen rows of sixteen samples are brought into an order in which the four
 * bytes that are looked up, interleaved, are whole columns.
 */
#include "engine/image/chip_bytes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

enum {
    LEVELS = 256,
    LANE = 16,    /* bytes; a register has four */
    QUARTERS = 4, /* of a table: registers */
};

#define VBMI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi")))
#define VBMI_INLINE                                                                                \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi"), always_inline)) static inline

struct table {
    __m512i quarters[QUARTERS];
};

VBMI static void split(struct chip_bytes *bytes, const float *levels)
{
    for (int i = 0; i < LEVELS; i += LANE) {
        const __m512i values = _mm512_loadu_si512(levels + i);
        for (unsigned k = 0; k < sizeof(float); k++)
            _mm_storeu_si128((__m128i *)(void *)(bytes->tables[k] + i),
                             _mm512_cvtepi32_epi8(_mm512_srli_epi32(values, 8 * k)));
    }
}

VBMI_INLINE __m512i look_up(const struct table *table, __m512i bytes)
{
    const __mmask64 upper = _mm512_movepi8_mask(bytes);
    const __m512i low = _mm512_permutex2var_epi8(table->quarters[0], bytes, table->quarters[1]);
    const __m512i high = _mm512_permutex2var_epi8(table->quarters[2], bytes, table->quarters[3]);
    return _mm512_mask_blend_epi8(upper, low, high);
}

/* Four columns, of which each lane has four rows, one column behind the other. */
VBMI_INLINE void take_four(const struct table tables[sizeof(float)], __m512i bytes,
                           uint32_t *columns)
{
    const __m512i a = look_up(&tables[0], bytes), b = look_up(&tables[1], bytes);
    const __m512i c = look_up(&tables[2], bytes), d = look_up(&tables[3], bytes);
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    _mm512_storeu_si512(columns, _mm512_unpacklo_epi16(ab_low, cd_low));
    _mm512_storeu_si512(columns + CHIP_BYTES_ROWS, _mm512_unpackhi_epi16(ab_low, cd_low));
    _mm512_storeu_si512(columns + 2 * CHIP_BYTES_ROWS, _mm512_unpacklo_epi16(ab_high, cd_high));
    _mm512_storeu_si512(columns + 3 * CHIP_BYTES_ROWS, _mm512_unpackhi_epi16(ab_high, cd_high));
}

/* Of every fourth row, from `rows` on, the samples that the mask admits. */
VBMI_INLINE __m512i load_four(const uint8_t *const *rows, size_t first, __mmask16 mask)
{
    __m512i four = _mm512_castsi128_si512(_mm_maskz_loadu_epi8(mask, rows[0] + first));
    four = _mm512_inserti32x4(four, _mm_maskz_loadu_epi8(mask, rows[4] + first), 1);
    four = _mm512_inserti32x4(four, _mm_maskz_loadu_epi8(mask, rows[8] + first), 2);
    return _mm512_inserti32x4(four, _mm_maskz_loadu_epi8(mask, rows[12] + first), 3);
}

VBMI static void take(const struct chip_bytes *bytes, const uint8_t *const rows[CHIP_BYTES_ROWS],
                      size_t n, uint32_t *columns)
{
    struct table tables[sizeof(float)];
    for (size_t i = 0; i < sizeof(float) * QUARTERS; i++)
        tables[i / QUARTERS].quarters[i % QUARTERS] =
            _mm512_loadu_si512(bytes->tables[i / QUARTERS] + i % QUARTERS * sizeof(__m512i));
    for (size_t i = 0; i < n; i += CHIP_BYTES_COLUMNS) {
        const __mmask16 mask =
            n - i < CHIP_BYTES_COLUMNS ? (__mmask16)((1u << (n - i)) - 1) : 0xffff;
        const __m512i a = load_four(rows, i, mask), b = load_four(rows + 1, i, mask);
        const __m512i c = load_four(rows + 2, i, mask), d = load_four(rows + 3, i, mask);
        const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
        const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
        uint32_t *to = columns + i * CHIP_BYTES_ROWS;
        take_four(tables, _mm512_unpacklo_epi16(ab_low, cd_low), to);
        take_four(tables, _mm512_unpackhi_epi16(ab_low, cd_low), to + 4 * CHIP_BYTES_ROWS);
        take_four(tables, _mm512_unpacklo_epi16(ab_high, cd_high), to + 8 * CHIP_BYTES_ROWS);
        take_four(tables, _mm512_unpackhi_epi16(ab_high, cd_high), to + 12 * CHIP_BYTES_ROWS);
    }
}

bool chip_bytes_init(struct chip_bytes *bytes, const float *levels)
{
    if (!__builtin_cpu_supports("avx512vbmi"))
        return false;
    split(bytes, levels);
    return true;
}

void chip_bytes_take(const struct chip_bytes *bytes, const uint8_t *const rows[CHIP_BYTES_ROWS],
                     size_t n, uint32_t *columns)
{
    take(bytes, rows, n, columns);
}
#else
bool chip_bytes_init(struct chip_bytes *bytes, const float *levels)
{
    (void)bytes;
    (void)levels;
    return false;
}

void chip_bytes_take(const struct chip_bytes *bytes, const uint8_t *const rows[CHIP_BYTES_ROWS],
                     size_t n, uint32_t *columns)
{
    (void)bytes;
    (void)rows;
    (void)n;
    (void)columns;
}
#endif
