#include "engine/dense/windows.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clones.h"
#include "engine/dense/half.h"

enum {
    LANES = 16,  /* channels whose sums are held in registers while the positions pass */
    SQUARES = 9, /* of stage 0, along each axis */
};

typedef uint16_t halves __attribute__((vector_size(LANES * sizeof(uint16_t))));
typedef uint32_t words __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef double sums __attribute__((vector_size(LANES * sizeof(double))));

/* Of LANES channels over the positions of a window; `rows` points at its first column. */
struct positions {
    const uint16_t *rows[DENSE_INPUT_MAX / DENSE_CELL + 3];
    uint32_t stride; /* values from column to column */
    const struct dense_span *y, *x;
};

VECTOR_CLONES
static void add_positions(const struct positions *positions, uint32_t channel, double *means,
                          double *squares)
{
    sums mean = {0}, square = {0};
    for (uint32_t y = 0; y < positions->y->n; y++) {
        const uint16_t *at = positions->rows[y] + channel;
        const double row_weight = positions->y->weights[y];
        for (uint32_t x = 0; x < positions->x->n; x++, at += positions->stride) {
            halves packed;
            memcpy(&packed, at, sizeof(packed));
            const words bits = __builtin_convertvector(packed, words) << 13;
            floats value;
            memcpy(&value, &bits, sizeof(value));
            const sums wide = __builtin_convertvector(value * 0x1p112f, sums);
            const sums weighted = wide * (row_weight * positions->x->weights[x]);
            mean += weighted;
            square += weighted * wide;
        }
    }
    memcpy(means, &mean, sizeof(mean));
    memcpy(squares, &square, sizeof(square));
}

static void normalise(float *vector, uint32_t n)
{
    double square = 0.0;
    for (uint32_t i = 0; i < n; i++)
        square += (double)vector[i] * (double)vector[i];
    const double norm = fmax(sqrt(square), 1e-12);
    for (uint32_t i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] / norm);
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
    double mean[LANES], square[LANES];
    for (uint32_t first = 0; first < n_channels; first += LANES) {
        const uint32_t n = n_channels - first < LANES ? n_channels - first : LANES;
        add_positions(&positions, first, mean, square);
        for (uint32_t c = 0; c < n && means != NULL; c++)
            means[first + c] = (float)mean[c];
        for (uint32_t c = 0; c < n && deviations != NULL; c++)
            deviations[first + c] = (float)sqrt(fmax(square[c] - mean[c] * mean[c], 0.0));
    }
    const bool normalised = !pools_one_vector(info);
    if (normalised && means != NULL)
        normalise(means, n_channels);
    if (normalised && deviations != NULL)
        normalise(deviations, n_channels);
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

/* The difference between the brightest and the darkest of the squares of a third of the window. */
static double slow_contrast(const struct dense_maps *maps, double x, double y)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const double width = (geometry->input + 1) / 3;
    const double step = (geometry->input - width) / (SQUARES - 1);
    struct dense_span columns[SQUARES], rows[SQUARES];
    for (uint32_t i = 0; i < SQUARES; i++) {
        dense_span_find(geometry, &geometry->x, 0, x + i * step, width, &columns[i]);
        dense_span_find(geometry, &geometry->y, 0, y + i * step, width, &rows[i]);
        columns[i].first -= maps->first_column[0];
    }
    /* Each row of cells is weighed once for each place of the squares along it. */
    double weighed[DENSE_INPUT_MAX / DENSE_CELL + 3][SQUARES];
    const uint32_t first = rows[0].first;
    const uint32_t end = rows[SQUARES - 1].first + rows[SQUARES - 1].n;
    for (uint32_t row = first; row < end; row++) {
        const uint16_t *cells = dense_maps_row(maps, 0, row);
        for (uint32_t u = 0; u < SQUARES; u++)
            weighed[row - first][u] = weigh_row(cells, &columns[u]);
    }
    double darkest = INFINITY, brightest = -INFINITY;
    for (uint32_t v = 0; v < SQUARES; v++) {
        for (uint32_t u = 0; u < SQUARES; u++) {
            double sum = 0;
            for (uint32_t i = 0; i < rows[v].n; i++)
                sum += rows[v].weights[i] * weighed[rows[v].first - first + i][u];
            darkest = fmin(darkest, sum);
            brightest = fmax(brightest, sum);
        }
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
