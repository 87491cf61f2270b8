#include "engine/dense/windows.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clones.h"
#include "engine/dense/half.h"

enum {
    BLOCK = 64,       /* channels whose sums are held while the positions pass */
    LANES = 16,       /* of them at least: channels are padded to it */
    GROUP_MAX = 32,   /* windows of a row that are pooled together */
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

/* Windows of a row, from the left, in one stage's map. */
struct stage_row {
    const uint16_t *rows[CELLS_MAX]; /* of positions that they see, from the first column held */
    uint32_t stride;                 /* values from column to column */
    uint32_t n_columns;              /* that one window sees at most */
    uint32_t n_windows;
    struct dense_span y;
    struct dense_span x[GROUP_MAX]; /* `first`: among the columns held */
};

/* Sums of w v and w v^2 over a column of positions, w the weight of the row. */
struct column {
    double means[BLOCK], squares[BLOCK];
};

/* Adds one position's n channels, a multiple of LANES. A value's bits as those of a float are
 * 2^-112 of it (half.h): the weight makes up for that, which changes no digit. */
INLINE void add_position(const uint16_t *restrict at, uint32_t n, const double *weight_at,
                         double *restrict means, double *restrict squares)
{
    const double weight = *weight_at * 0x1p112;
    for (uint32_t i = 0; i < n / LANES * LANES; i++) {
        const uint32_t bits = (uint32_t)at[i] << 13;
        float value;
        memcpy(&value, &bits, sizeof(value));
        const double wide = (double)value, weighted = wide * weight;
        means[i] += weighted;
        squares[i] += weighted * wide;
    }
}

INLINE void add_weighted(const double *restrict values, uint32_t n, double weight,
                         double *restrict sums)
{
    for (uint32_t i = 0; i < n / LANES * LANES; i++)
        sums[i] += values[i] * weight;
}

INLINE void sum_column(const struct stage_row *row, uint32_t number, uint32_t channel, uint32_t n,
                       struct column *out)
{
    const size_t at = (size_t)number * row->stride + channel;
    *out = (struct column){{0}, {0}};
    for (uint32_t y = 0; y < row->y.n; y++)
        add_position(row->rows[y] + at, n, &row->y.weights[y], out->means, out->squares);
}

INLINE void sum_window(const struct column *columns, const struct stage_row *row,
                       const struct dense_span *span, uint32_t n, struct column *out)
{
    *out = (struct column){{0}, {0}};
    for (uint32_t x = 0; x < span->n; x++) {
        const struct column *column = &columns[(span->first + x) % row->n_columns];
        add_weighted(column->means, n, span->weights[x], out->means);
        add_weighted(column->squares, n, span->weights[x], out->squares);
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
    const double inverse = 1 / fmax(sqrt(square), 1e-12);
    for (i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] * inverse);
}

/* Where the statistics of a stage go, of windows `row_floats` apart. */
struct stage_output {
    float *means, *deviations; /* NULL: not wanted */
    size_t row_floats;
    uint32_t n_channels;
};

/* Of the channels first .. first + BLOCK - 1. Windows that overlap share their columns' sums. */
VECTOR_CLONES
static void pool_block(const struct stage_row *row, const struct stage_output *output,
                       uint32_t first, struct column *columns)
{
    const uint32_t left = output->n_channels - first, n = left < BLOCK ? left : BLOCK;
    const uint32_t n_padded = (n + LANES - 1) / LANES * LANES;
    uint32_t end = 0; /* of the columns that are summed */
    for (uint32_t i = 0; i < row->n_windows; i++) {
        const struct dense_span *span = &row->x[i];
        struct column window;
        for (end = end > span->first ? end : span->first; end < span->first + span->n; end++)
            sum_column(row, end, first, n_padded, &columns[end % row->n_columns]);
        sum_window(columns, row, span, n_padded, &window);
        if (output->means != NULL)
            put_means(window.means, n, output->means + i * output->row_floats + first);
        if (output->deviations != NULL)
            put_deviations(window.means, window.squares, n,
                           output->deviations + i * output->row_floats + first);
    }
}

VECTOR_CLONES
static void normalise_stage(const struct stage_row *row, const struct stage_output *output)
{
    for (uint32_t i = 0; i < row->n_windows; i++) {
        if (output->means != NULL)
            normalise(output->means + i * output->row_floats, output->n_channels);
        if (output->deviations != NULL)
            normalise(output->deviations + i * output->row_floats, output->n_channels);
    }
}

static void find_row(const struct dense_maps *maps, uint32_t stage, const struct chip_rect *rects,
                     uint32_t n, struct stage_row *out)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const double y = dense_scaled(geometry, &geometry->y, rects[0].y);
    dense_span_find(geometry, &geometry->y, stage, y, geometry->input, &out->y);
    for (uint32_t i = 0; i < out->y.n; i++)
        out->rows[i] = dense_maps_row(maps, stage, out->y.first + i);
    out->stride = maps->n_channels[stage];
    out->n_columns = 1;
    out->n_windows = n;
    for (uint32_t i = 0; i < n; i++) {
        const double x = dense_scaled(geometry, &geometry->x, rects[i].x);
        struct dense_span *span = &out->x[i];
        dense_span_find(geometry, &geometry->x, stage, x, geometry->input, span);
        span->first -= maps->first_column[stage];
        out->n_columns = span->n > out->n_columns ? span->n : out->n_columns;
    }
}

/* Returns the floats that the stage takes in an embedding. */
static uint32_t pool_stage(const struct dense_maps *maps, const struct encoder_info *info,
                           uint32_t stage, const struct chip_rect *rects, uint32_t n,
                           size_t row_floats, float *out)
{
    const uint32_t n_channels = info->widths[stage - 1];
    const struct stage_output output = {
        .means = info->pool_mean ? out : NULL,
        .deviations = !info->pool_std   ? NULL
                      : info->pool_mean ? out + n_channels
                                        : out,
        .row_floats = row_floats,
        .n_channels = n_channels,
    };
    struct stage_row row;
    struct column columns[CELLS_MAX];
    find_row(maps, stage, rects, n, &row);
    for (uint32_t first = 0; first < n_channels; first += BLOCK)
        pool_block(&row, &output, first, columns);
    if (!encoder_pools_one_vector(info))
        normalise_stage(&row, &output);
    return (info->pool_mean ? n_channels : 0) + (info->pool_std ? n_channels : 0);
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
static double slow_contrast(const struct dense_maps *maps, const struct square_weights *rows,
                            double x)
{
    struct square_weights columns;
    weigh_squares(&maps->geometry, &maps->geometry.x, x, &columns);
    const uint16_t *cells[CELLS_MAX];
    for (uint32_t i = 0; i < rows->n; i++)
        cells[i] = dense_maps_row(maps, 0, rows->first + i) + columns.first - maps->first_column[0];
    union line squares[SQUARES];
    add_squares(&columns, rows, cells, squares);
    double darkest = INFINITY, brightest = -INFINITY;
    for (uint32_t i = 0; i < SQUARES * SQUARES; i++) {
        const double sum = squares[i / SQUARES].of[i % SQUARES];
        darkest = sum < darkest ? sum : darkest;
        brightest = sum > brightest ? sum : brightest;
    }
    return (brightest - darkest) / UINT16_MAX;
}

static double mean_of_cells(const struct dense_maps *maps, const struct dense_span *rows, double x)
{
    const struct dense_geometry *geometry = &maps->geometry;
    struct dense_span columns;
    dense_span_find(geometry, &geometry->x, 0, x, geometry->input, &columns);
    columns.first -= maps->first_column[0];
    double sum = 0;
    for (uint32_t i = 0; i < rows->n; i++)
        sum += rows->weights[i] * weigh_row(dense_maps_row(maps, 0, rows->first + i), &columns);
    return sum / UINT16_MAX;
}

/* Returns the floats that stage 0 takes in an embedding. */
static uint32_t pool_pixels(const struct dense_maps *maps, const struct encoder_info *info,
                            const struct chip_rect *rects, uint32_t n, size_t row_floats,
                            float *out)
{
    const struct dense_geometry *geometry = &maps->geometry;
    const double y = dense_scaled(geometry, &geometry->y, rects[0].y);
    struct dense_span rows;
    struct square_weights square_rows;
    dense_span_find(geometry, &geometry->y, 0, y, geometry->input, &rows);
    weigh_squares(geometry, &geometry->y, y, &square_rows);
    for (uint32_t i = 0; i < n; i++) {
        const double x = dense_scaled(geometry, &geometry->x, rects[i].x);
        float *to = out + i * row_floats;
        if (info->pool_mean)
            to = encoder_put_number(info, ENCODER_MEAN, (float)mean_of_cells(maps, &rows, x), to);
        if (info->pool_std)
            encoder_put_number(info, ENCODER_STD, (float)slow_contrast(maps, &square_rows, x), to);
    }
    return (info->pool_mean ? info->chip_copies[ENCODER_MEAN] : 0) +
           (info->pool_std ? info->chip_copies[ENCODER_STD] : 0);
}

static void pool_group(const struct dense_maps *maps, const struct encoder_info *info,
                       const struct chip_rect *rects, uint32_t n, size_t row_floats, float *out)
{
    if (info->pool_stages[0])
        out += pool_pixels(maps, info, rects, n, row_floats, out);
    for (uint32_t stage = 1; stage <= ENCODER_STAGES; stage++) {
        if (info->pool_stages[stage])
            out += pool_stage(maps, info, stage, rects, n, row_floats, out);
    }
}

void dense_pool_windows(const struct dense_maps *maps, const struct encoder_info *info,
                        const struct chip_rect *rects, uint32_t n, size_t row_floats, float *out)
{
    for (uint32_t first = 0, end = 0; first < n; first = end) {
        for (end = first + 1; end < n && end - first < GROUP_MAX &&
                              rects[end].y == rects[first].y && rects[end].x >= rects[end - 1].x;)
            end++;
        pool_group(maps, info, rects + first, end - first, row_floats, out + first * row_floats);
    }
}
