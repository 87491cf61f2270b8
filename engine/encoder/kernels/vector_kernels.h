/* The kernels over vectors of VECTOR_LANES floats. A file for one instruction set defines
 *   vec, VECTOR_LANES, vec_fma(a, b, c) = a x b + c, vec_max(a, b), vec_set(x), TILE_VECTORS
 * and KERNELS, the name of the table, and includes this once.
 *
 * The product's tile is 6 rows x TILE_VECTORS vectors of sums (8 rows of fewer vectors), which with
 * one row of the panel fill the registers. Functions take their sizes as constants and are inlined,
 * so that the loops over them unroll and the arrays become registers. */
#include <string.h>

#include "engine/encoder/kernels/kernels.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const float *from)
{
    return *(const vec *)from;
}

INLINE void store(float *to, vec value)
{
    *(vec *)to = value;
}

/* A NaN (from weights that overflow) becomes zero here: the second argument is taken then. */
INLINE vec relu(vec value)
{
    return vec_max(value, vec_set(0.0f));
}

/* ---- products ---- */

INLINE void finish_row(const struct gemm *gemm, uint32_t row, uint32_t column, vec *sums,
                       const unsigned n_vectors)
{
    const float *residual = gemm->residual == NULL ? NULL : gemm->residual[row];
    UNROLL for (unsigned j = 0; j < n_vectors; j++)
    {
        const uint32_t at = column + j * VECTOR_LANES;
        vec value = sums[j] + load(gemm->bias + at);
        if (residual != NULL)
            value += load(residual + gemm->column + at);
        sums[j] = gemm->relu ? relu(value) : value;
    }
}

INLINE void multiply_tile(const struct gemm *gemm, uint32_t row, uint32_t column,
                          const uint32_t width, const unsigned n_rows, const unsigned n_vectors)
{
    vec sums[8][TILE_VECTORS];
    UNROLL for (unsigned i = 0; i < n_rows; i++)
    {
        const float *begin = gemm->out[row + i] + gemm->column + column;
        UNROLL for (unsigned j = 0; j < n_vectors; j++) sums[i][j] =
            gemm->accumulate ? load(begin + j * VECTOR_LANES) : vec_set(0.0f);
    }
    const uint32_t depth = gemm->depth;
    for (uint32_t tap = 0; tap < gemm->n_taps; tap++) {
        const float *panel = gemm->panels[tap] + column;
        const float *from[8];
        UNROLL for (unsigned i = 0; i < n_rows; i++) from[i] =
            gemm->rows[(size_t)tap * gemm->n_rows + row + i];
        for (uint32_t k = 0; k < depth; k++, panel += width) {
            vec weights[TILE_VECTORS];
            UNROLL for (unsigned j = 0; j < n_vectors; j++) weights[j] =
                load(panel + j * VECTOR_LANES);
            UNROLL for (unsigned i = 0; i < n_rows; i++)
            {
                const vec value = vec_set(from[i][k]);
                UNROLL for (unsigned j = 0; j < n_vectors; j++) sums[i][j] =
                    vec_fma(value, weights[j], sums[i][j]);
            }
        }
    }
    UNROLL for (unsigned i = 0; i < n_rows; i++)
    {
        if (gemm->finish)
            finish_row(gemm, row + i, column, sums[i], n_vectors);
        float *to = gemm->out[row + i] + gemm->column + column;
        UNROLL for (unsigned j = 0; j < n_vectors; j++) store(to + j * VECTOR_LANES, sums[i][j]);
    }
}

/* Each tile's height and width has a function of its own: registers are then its alone. */
#define TILE_FUNCTION(n_rows, n_vectors, width)                                                    \
    static __attribute__((noinline)) void multiply_##n_rows##_##n_vectors(                         \
        const struct gemm *gemm, uint32_t row, uint32_t column)                                    \
    {                                                                                              \
        multiply_tile(gemm, row, column, width, n_rows, n_vectors);                                \
    }
#define TILE_FUNCTIONS_6(n_vectors, width)                                                         \
    TILE_FUNCTION(1, n_vectors, width)                                                             \
    TILE_FUNCTION(2, n_vectors, width)                                                             \
    TILE_FUNCTION(3, n_vectors, width)                                                             \
    TILE_FUNCTION(4, n_vectors, width)                                                             \
    TILE_FUNCTION(5, n_vectors, width)                                                             \
    TILE_FUNCTION(6, n_vectors, width)
#define TILE_FUNCTIONS_8(n_vectors, width)                                                         \
    TILE_FUNCTIONS_6(n_vectors, width)                                                             \
    TILE_FUNCTION(7, n_vectors, width)                                                             \
    TILE_FUNCTION(8, n_vectors, width)

typedef void (*tile_function)(const struct gemm *gemm, uint32_t row, uint32_t column);

/* All rows of one strip of columns, in tiles of nearly equal height: a tile of one row would not
 * fill the multipliers' pipeline. */
static void multiply_strip(const struct gemm *gemm, uint32_t column, uint32_t rows_max,
                           const tile_function *of_rows)
{
    const uint32_t n_tiles = (gemm->n_rows + rows_max - 1) / rows_max;
    uint32_t row = 0;
    for (uint32_t tile = 0; tile < n_tiles; tile++) {
        const uint32_t n_rows = (gemm->n_rows - row + n_tiles - tile - 1) / (n_tiles - tile);
        of_rows[n_rows - 1](gemm, row, column);
        row += n_rows;
    }
}

#if TILE_VECTORS == 4

TILE_FUNCTIONS_6(4, 64)
TILE_FUNCTIONS_8(2, 32)
TILE_FUNCTIONS_8(1, 16)

static void multiply(const struct gemm *gemm)
{
    static const tile_function wide[] = {multiply_1_4, multiply_2_4, multiply_3_4,
                                         multiply_4_4, multiply_5_4, multiply_6_4};
    static const tile_function half[] = {multiply_1_2, multiply_2_2, multiply_3_2, multiply_4_2,
                                         multiply_5_2, multiply_6_2, multiply_7_2, multiply_8_2};
    static const tile_function narrow[] = {multiply_1_1, multiply_2_1, multiply_3_1, multiply_4_1,
                                           multiply_5_1, multiply_6_1, multiply_7_1, multiply_8_1};
    if (gemm->width == 64)
        multiply_strip(gemm, 0, 6, wide);
    else
        multiply_strip(gemm, 0, 8, gemm->width == 32 ? half : narrow);
}

#else

TILE_FUNCTIONS_6(2, gemm->width)

static void multiply(const struct gemm *gemm)
{
    static const tile_function of_rows[] = {multiply_1_2, multiply_2_2, multiply_3_2,
                                            multiply_4_2, multiply_5_2, multiply_6_2};
    for (uint32_t column = 0; column < gemm->width; column += TILE_VECTORS * VECTOR_LANES)
        multiply_strip(gemm, column, 6, of_rows);
}

#endif

/* ---- Winograd's transforms ---- */

INLINE vec scaled(float factor, vec value, vec addend)
{
    return vec_fma(vec_set(factor), value, addend);
}

/* B^T of one column of a tile. The points are 0, infinity and 1, -1 (F(2)); and 2 (F(3)); and 2, -2
 * (F(4)); and 2, -2, 1/2, -1/2 (F(6)). */
INLINE void transform_input(const uint32_t m, const vec *d, vec *r)
{
    if (m == 2) {
        r[0] = d[0] - d[2];
        r[1] = d[1] + d[2];
        r[2] = d[2] - d[1];
        r[3] = d[1] - d[3];
    } else if (m == 3) {
        r[0] = scaled(2.0f, d[0] - d[2], d[3] - d[1]);
        r[1] = scaled(-2.0f, d[1], d[3] - d[2]);
        r[2] = scaled(2.0f, d[1], scaled(-3.0f, d[2], d[3]));
        r[3] = d[3] - d[1];
        r[4] = scaled(2.0f, d[1] - d[3], d[4] - d[2]);
    } else if (m == 4) {
        const vec a = scaled(-4.0f, d[2], d[4]);
        const vec b = scaled(-4.0f, d[1], d[3]);
        const vec c = d[4] - d[2];
        const vec e = vec_set(2.0f) * (d[3] - d[1]);
        r[0] = scaled(4.0f, d[0], scaled(-5.0f, d[2], d[4]));
        r[1] = a + b;
        r[2] = a - b;
        r[3] = c + e;
        r[4] = c - e;
        r[5] = scaled(4.0f, d[1], scaled(-5.0f, d[3], d[5]));
    } else {
        const vec a = scaled(-4.25f, d[4], d[2] + d[6]);
        const vec b = scaled(-4.25f, d[3], d[1] + d[5]);
        const vec c = scaled(0.25f, d[2], scaled(-1.25f, d[4], d[6]));
        const vec e = scaled(0.5f, d[1], scaled(-2.5f, d[3], vec_set(2.0f) * d[5]));
        const vec f = scaled(4.0f, d[2], scaled(-5.0f, d[4], d[6]));
        const vec g = scaled(2.0f, d[1], scaled(-2.5f, d[3], vec_set(0.5f) * d[5]));
        r[0] = scaled(5.25f, d[4] - d[2], d[0] - d[6]);
        r[1] = a + b;
        r[2] = a - b;
        r[3] = c + e;
        r[4] = c - e;
        r[5] = f + g;
        r[6] = f - g;
        r[7] = scaled(5.25f, d[3] - d[5], d[7] - d[1]);
    }
}

/* A^T of one column of a tile of products. */
INLINE void transform_output(const uint32_t m, const vec *d, vec *r)
{
    if (m == 2) {
        r[0] = d[0] + d[1] + d[2];
        r[1] = d[1] - d[2] - d[3];
    } else if (m == 3) {
        r[0] = d[0] + (d[1] + d[2]) + d[3];
        r[1] = scaled(2.0f, d[3], d[1] - d[2]);
        r[2] = scaled(4.0f, d[3], d[1] + d[2] + d[4]);
    } else if (m == 4) {
        const vec a = d[1] + d[2];
        const vec b = d[1] - d[2];
        const vec c = d[3] + d[4];
        const vec e = d[3] - d[4];
        r[0] = d[0] + a + c;
        r[1] = scaled(2.0f, e, b);
        r[2] = scaled(4.0f, c, a);
        r[3] = scaled(8.0f, e, b + d[5]);
    } else {
        const vec a = d[1] + d[2];
        const vec b = d[1] - d[2];
        const vec c = d[3] + d[4];
        const vec e = d[3] - d[4];
        const vec f = d[5] + d[6];
        const vec g = d[5] - d[6];
        r[0] = d[0] + a + c + f;
        r[1] = scaled(2.0f, e, scaled(0.5f, g, b));
        r[2] = scaled(4.0f, c, scaled(0.25f, f, a));
        r[3] = scaled(8.0f, e, scaled(0.125f, g, b));
        r[4] = scaled(16.0f, c, scaled(0.0625f, f, a));
        r[5] = scaled(32.0f, e, scaled(0.03125f, g, b + d[7]));
    }
}

/* Where a tile lies: the map's rows and columns y, x of its first output. */
struct tile_place {
    uint32_t map;
    uint32_t y;
    uint32_t x;
};

INLINE struct tile_place place_tile(const struct winograd *winograd, uint32_t tile,
                                    const uint32_t m)
{
    const uint32_t a_side = (winograd->side + m - 1) / m;
    const uint32_t in_map = tile % (a_side * a_side);
    return (struct tile_place){tile / (a_side * a_side), in_map / a_side * m, in_map % a_side * m};
}

/* The rows (or columns) first..end of a tile's m + 2 that lie on the map. */
INLINE void clip(uint32_t begin, uint32_t side, const uint32_t m, uint32_t *first, uint32_t *end)
{
    *first = begin == 0 ? 1 : 0;
    *end = begin + m + 1 <= side ? m + 2 : side - begin + 1;
}

INLINE void input_tile(const struct winograd *winograd, uint32_t index, const uint32_t m)
{
    const uint32_t p = m + 2;
    const struct tile_place place = place_tile(winograd, winograd->first + index, m);
    const size_t channels = winograd->channels;
    const size_t row = (size_t)winograd->side * channels;
    const float *map = winograd->in + place.map * (size_t)winograd->side * row;
    uint32_t top, bottom, left, right;
    clip(place.y, winograd->side, m, &top, &bottom);
    clip(place.x, winograd->side, m, &left, &right);
    float *planes = winograd->planes + index * channels;
    for (size_t c = 0; c < channels; c += VECTOR_LANES) {
        vec half[8][8];
        UNROLL for (uint32_t x = 0; x < p; x++)
        {
            vec d[8], r[8];
            UNROLL for (uint32_t y = 0; y < p; y++)
            {
                const bool inside = x >= left && x < right && y >= top && y < bottom;
                d[y] = inside
                           ? load(map + (place.y + y - 1) * row + (place.x + x - 1) * channels + c)
                           : vec_set(0.0f);
            }
            transform_input(m, d, r);
            UNROLL for (uint32_t y = 0; y < p; y++) half[y][x] = r[y];
        }
        float *plane = planes + c;
        UNROLL for (uint32_t y = 0; y < p; y++)
        {
            vec r[8];
            transform_input(m, half[y], r);
            UNROLL for (uint32_t x = 0; x < p; x++, plane += winograd->plane_stride)
                store(plane, r[x]);
        }
    }
}

INLINE void output_tile(const struct winograd *winograd, uint32_t index, const uint32_t m)
{
    const uint32_t p = m + 2;
    const struct tile_place place = place_tile(winograd, winograd->first + index, m);
    const size_t channels = winograd->channels;
    const size_t row = (size_t)winograd->side * channels;
    const size_t map = (place.map * (size_t)winograd->side + place.y) * row + place.x * channels;
    const uint32_t height = winograd->side - place.y < m ? winograd->side - place.y : m;
    const uint32_t width = winograd->side - place.x < m ? winograd->side - place.x : m;
    const float *planes = winograd->planes + index * channels;
    for (size_t c = 0; c < channels; c += VECTOR_LANES) {
        vec half[6][8];
        UNROLL for (uint32_t x = 0; x < p; x++)
        {
            vec d[8], r[6];
            UNROLL for (uint32_t y = 0; y < p; y++) d[y] =
                load(planes + (y * p + x) * winograd->plane_stride + c);
            transform_output(m, d, r);
            UNROLL for (uint32_t y = 0; y < m; y++) half[y][x] = r[y];
        }
        const vec bias = load(winograd->bias + c);
        for (uint32_t y = 0; y < height; y++) {
            vec r[6];
            transform_output(m, half[y], r);
            for (uint32_t x = 0; x < width; x++) {
                const size_t at = map + y * row + x * channels + c;
                vec value = r[x] + bias;
                if (winograd->residual != NULL)
                    value += load(winograd->residual + at);
                store(winograd->out + at, winograd->relu ? relu(value) : value);
            }
        }
    }
}

#define WINOGRAD_FUNCTIONS(m)                                                                      \
    static void winograd_input_##m(const struct winograd *winograd)                                \
    {                                                                                              \
        for (uint32_t i = 0; i < winograd->n_tiles; i++)                                           \
            input_tile(winograd, i, m);                                                            \
    }                                                                                              \
    static void winograd_output_##m(const struct winograd *winograd)                               \
    {                                                                                              \
        for (uint32_t i = 0; i < winograd->n_tiles; i++)                                           \
            output_tile(winograd, i, m);                                                           \
    }

WINOGRAD_FUNCTIONS(2)
WINOGRAD_FUNCTIONS(3)
WINOGRAD_FUNCTIONS(4)
WINOGRAD_FUNCTIONS(6)

/* ---- pooling ---- */

static void max_pool(const float *in, uint32_t n, uint32_t side, uint32_t channels, float *out)
{
    const uint32_t out_side = (side - 1) / 2 + 1;
    const size_t row = (size_t)side * channels;
    for (uint32_t map = 0; map < n; map++, in += side * row) {
        for (uint32_t y = 0; y < out_side; y++) {
            const uint32_t top = y > 0 ? 2 * y - 1 : 0;
            const uint32_t bottom = 2 * y + 2 < side ? 2 * y + 2 : side;
            for (uint32_t x = 0; x < out_side; x++, out += channels) {
                const uint32_t left = x > 0 ? 2 * x - 1 : 0;
                const uint32_t right = 2 * x + 2 < side ? 2 * x + 2 : side;
                for (uint32_t c = 0; c < channels; c += VECTOR_LANES) {
                    /* No value is negative: zero stands for the padding's minus infinity. */
                    vec maximum = vec_set(0.0f);
                    for (uint32_t v = top; v < bottom; v++) {
                        for (uint32_t u = left; u < right; u++)
                            maximum =
                                vec_max(load(in + v * row + u * (size_t)channels + c), maximum);
                    }
                    store(out + c, maximum);
                }
            }
        }
    }
}

const struct kernels KERNELS = {
    .name = KERNELS_NAME,
    .gemm = multiply,
    .winograd_input = {winograd_input_2, winograd_input_3, winograd_input_4, winograd_input_6},
    .winograd_output = {winograd_output_2, winograd_output_3, winograd_output_4, winograd_output_6},
    .max_pool = max_pool,
};
