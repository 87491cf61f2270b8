#include "engine/dense/windows.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clones.h"
#include "engine/dense/half.h"

enum {
    BLOCK = 128,      /* channels whose sums are held while the positions pass */
    LANES = 16,       /* of them at least: channels are padded to it */
    SQUARES = 9,      /* of stage 0, along each axis */
    LINE_VECTORS = 3, /* that hold a value of each */
    CELLS_MAX = DENSE_INPUT_MAX / DENSE_CELL + 3, /* that a window sees along an axis */
};

/* Of four numbers. */
typedef double four __attribute__((vector_size(4 * sizeof(double))));

/* A number of each square along an axis; the last ones are 0. */
union line {
    double of[4 * LINE_VECTORS];
    four vectors[LINE_VECTORS];
};

#define INLINE static inline __attribute__((always_inline))

/* The positions of a window; `rows` points at its first column. */
struct positions {
    const uint16_t *rows[CELLS_MAX];
    uint32_t stride; /* values from column to column */
    const struct dense_span *y, *x;
};

/* Of n channels, a multiple of LANES, at one position: adds w v and w v^2. A value's bits as those
 * of a float are 2^-112 of it (half.h): the weight makes up for that, which changes no digit. */
INLINE void add_position(const uint16_t *restrict at, uint32_t n, double weight,
                         double *restrict means, double *restrict squares)
{
    for (uint32_t i = 0; i < n / LANES * LANES; i++) {
        const uint32_t bits = (uint32_t)at[i] << 13;
        float value;
        memcpy(&value, &bits, sizeof(value));
        const double wide = (double)value, weighted = wide * weight;
        means[i] += weighted;
        squares[i] += weighted * wide;
    }
}

INLINE void add_positions(const struct positions *positions, uint32_t channel, uint32_t n,
                          double means[BLOCK], double squares[BLOCK])
{
    for (uint32_t y = 0; y < positions->y->n; y++) {
        const uint16_t *at = positions->rows[y] + channel;
        const double row_weight = positions->y->weights[y] * 0x1p112;
        for (uint32_t x = 0; x < positions->x->n; x++, at += positions->stride)
            add_position(at, n, row_weight * positions->x->weights[x], means, squares);
    }
}

INLINE void put_means(const double *means, uint32_t n, float *restrict out)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = (float)means[i];
}

INLINE void put_deviations(const double *means, double *squares, uint32_t n, float *restrict out)
{
    for (uint32_t i = 0; i < n; i++) {
        const double variance = squares[i] * 0x1p112 - means[i] * means[i];
        squares[i] = variance > 0 ? variance : 0;
    }
    for (uint32_t i = 0; i < n; i++)
        out[i] = (float)sqrt(squares[i]);
}

/* Divides by the vector's length. */
INLINE void normalise(float *vector, uint32_t n)
{
    double squares[LANES] = {0}, square = 0;
    uint32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (uint32_t k = 0; k < LANES; k++)
            squares[k] += (double)vector[i + k] * (double)vector[i + k];
    }
    for (; i < n; i++)
        square += (double)vector[i] * (double)vector[i];
    for (uint32_t k = 0; k < LANES; k++)
        square += squares[k];
    const double length = fmax(sqrt(square), 1e-12);
    for (i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] / length);
}

/* means, deviations: n_channels each, or NULL. */
VECTOR_CLONES
static void pool_positions(const struct positions *positions, uint32_t n_channels, bool normalised,
                           float *means, float *deviations)
{
    for (uint32_t first = 0; first < n_channels; first += BLOCK) {
        double mean[BLOCK] = {0}, square[BLOCK] = {0};
        const uint32_t n = n_channels - first < BLOCK ? n_channels - first : BLOCK;
        add_positions(positions, first, (n + LANES - 1) / LANES * LANES, mean, square);
        if (means != NULL)
            put_means(mean, n, means + first);
        if (deviations != NULL)
            put_deviations(mean, square, n, deviations + first);
    }
    if (normalised && means != NULL)
        normalise(means, n_channels);
    if (normalised && deviations != NULL)
        normalise(deviations, n_channels);
}

static bool pools_one_vector(const struct encoder_info *info)
{
    uint32_t n_stages = 0;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++)
        n_stages += info->pool_stages[stage] ? 1 : 0;
    return n_stages == 1 && !(info->pool_mean && info->pool_std);
}

static float *pool_stage(const struct dense_maps *maps, const struct encoder_info *info,
                         uint32_t stage, double x, double y, float *out)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const uint32_t n_channels = info->widths[stage - 1];
    struct dense_span columns, rows;
    dense_span_find(geometry, &geometry->x, stage, x, geometry->input, &columns);
    dense_span_find(geometry, &geometry->y, stage, y, geometry->input, &rows);
    struct positions positions = {.stride = maps->n_channels[stage], .y = &rows, .x = &columns};
    for (uint32_t i = 0; i < rows.n; i++)
        positions.rows[i] = dense_maps_row(maps, stage, rows.first + i) +
                            (size_t)(columns.first - maps->first_column[stage]) * positions.stride;
    float *means = info->pool_mean ? out : NULL;
    float *deviations = !info->pool_std ? NULL : info->pool_mean ? out + n_channels : out;
    pool_positions(&positions, n_channels, !pools_one_vector(info), means, deviations);
    return out + (info->pool_mean ? n_channels : 0) + (info->pool_std ? n_channels : 0);
}

/* ---- stage 0 ---- */

static double weigh_row(const uint16_t *row, const struct dense_span *span)
{
    double sum = 0;
    for (uint32_t i = 0; i < span->n; i++)
        sum += span->weights[i] * row[span->first + i];
    return sum;
}

/* The weights of each cell of an axis that the window sees: 0 in squares that do not see it. */
struct square_weights {
    uint32_t first, n; /* cells */
    union line lines[CELLS_MAX];
};

static void weigh_squares(const struct dense_geometry *geometry, const struct dense_axis *axis,
                          double begin, struct square_weights *out)
{
    const double width = (geometry->input + 1) / 3;
    const double step = (geometry->input - width) / (SQUARES - 1);
    out->n = 0;
    for (uint32_t square = 0; square < SQUARES; square++) {
        struct dense_span span;
        dense_span_find(geometry, axis, 0, begin + square * step, width, &span);
        out->first = square == 0 ? span.first : out->first;
        const uint32_t at = span.first - out->first;
        for (; out->n < at + span.n; out->n++)
            out->lines[out->n] = (union line){{0}};
        for (uint32_t i = 0; i < span.n; i++)
            out->lines[at + i].of[square] = span.weights[i];
    }
}

/* The sums over each square: rows of cells are weighed for each place of the squares along them,
 * then added. */
VECTOR_CLONES
static void add_squares(const struct square_weights *columns, const struct square_weights *rows,
                        const uint16_t *const *cells, union line out[SQUARES])
{
    memset(out, 0, SQUARES * sizeof(out[0]));
    for (uint32_t y = 0; y < rows->n; y++) {
        four weighed[LINE_VECTORS] = {{0}};
        for (uint32_t x = 0; x < columns->n; x++) {
            for (uint32_t i = 0; i < LINE_VECTORS; i++)
                weighed[i] += columns->lines[x].vectors[i] * (double)cells[y][x];
        }
        for (uint32_t square = 0; square < SQUARES; square++) {
            for (uint32_t i = 0; i < LINE_VECTORS; i++)
                out[square].vectors[i] += weighed[i] * rows->lines[y].of[square];
        }
    }
}

/* The difference between the brightest and the darkest of the squares of a third of the window. */
static double slow_contrast(const struct dense_maps *maps, double x, double y)
{
    struct square_weights columns, rows;
    weigh_squares(&maps->geometry, &maps->geometry.x, x, &columns);
    weigh_squares(&maps->geometry, &maps->geometry.y, y, &rows);
    const uint16_t *cells[CELLS_MAX];
    for (uint32_t i = 0; i < rows.n; i++)
        cells[i] = dense_maps_row(maps, 0, rows.first + i) + columns.first - maps->first_column[0];
    union line squares[SQUARES];
    add_squares(&columns, &rows, cells, squares);
    double darkest = INFINITY, brightest = -INFINITY;
    for (uint32_t i = 0; i < SQUARES * SQUARES; i++) {
        const double sum = squares[i / SQUARES].of[i % SQUARES];
        darkest = sum < darkest ? sum : darkest;
        brightest = sum > brightest ? sum : brightest;
    }
    return (brightest - darkest) / UINT16_MAX;
}

static double mean_of_cells(const struct dense_maps *maps, double x, double y)
{
    const struct dense_geometry *geometry = &maps->geometry;
    struct dense_span columns, rows;
    dense_span_find(geometry, &geometry->x, 0, x, geometry->input, &columns);
    dense_span_find(geometry, &geometry->y, 0, y, geometry->input, &rows);
    columns.first -= maps->first_column[0];
    double sum = 0;
    for (uint32_t i = 0; i < rows.n; i++)
        sum += rows.weights[i] * weigh_row(dense_maps_row(maps, 0, rows.first + i), &columns);
    return sum / UINT16_MAX;
}

static float *repeat(float *out, uint32_t n_copies, double number)
{
    const float copy = (float)number / sqrtf((float)n_copies);
    for (uint32_t i = 0; i < n_copies; i++)
        *out++ = copy;
    return out;
}

static float *pool_pixels(const struct dense_maps *maps, const struct encoder_info *info, double x,
                          double y, float *out)
{
    if (info->pool_mean)
        out = repeat(out, info->chip_copies[ENCODER_MEAN], mean_of_cells(maps, x, y));
    if (info->pool_std)
        out = repeat(out, info->chip_copies[ENCODER_STD], slow_contrast(maps, x, y));
    return out;
}

void dense_pool_window(const struct dense_maps *maps, const struct encoder_info *info, uint32_t x,
                       uint32_t y, float *out)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const double left = dense_scaled(geometry, &geometry->x, x);
    const double top = dense_scaled(geometry, &geometry->y, y);
    if (info->pool_stages[0])
        out = pool_pixels(maps, info, left, top, out);
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        if (info->pool_stages[stage])
            out = pool_stage(maps, info, stage, left, top, out);
    }
}
