/* Sums run in double precision: a standard deviation is a small difference of large numbers. Each
 * channel adds its positions in order, whatever the width of the vectors. */
#include "engine/encoder/pooling.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/clones.h"
#include "engine/encoder/encoder.h"
#include "engine/encoder/kernels/kernels.h"

enum {
    BLOCK = KERNEL_LANES, /* channels whose sums are held in registers while the positions pass */
    WINDOWS = 9,          /* along each axis of a chip */
};

typedef float block __attribute__((vector_size(BLOCK * sizeof(float))));
typedef double sums __attribute__((vector_size(BLOCK * sizeof(double))));

static inline __attribute__((always_inline)) sums load_block(const float *from)
{
    block values;
    memcpy(&values, from, sizeof(values));
    return __builtin_convertvector(values, sums);
}

VECTOR_CLONES
static void block_statistics(const float *in, uint32_t n_positions, uint32_t stride, double *means,
                             double *squares)
{
    sums mean = {0}, square = {0};
    for (uint32_t position = 0; position < n_positions; position++)
        mean += load_block(in + (size_t)position * stride);
    mean /= (double)n_positions;
    memcpy(means, &mean, sizeof(mean));
    if (squares == NULL)
        return;
    for (uint32_t position = 0; position < n_positions; position++) {
        const sums difference = load_block(in + (size_t)position * stride) - mean;
        square += difference * difference;
    }
    square /= (double)n_positions;
    memcpy(squares, &square, sizeof(square));
}

void channel_statistics(const float *in, uint32_t n_positions, uint32_t stride, uint32_t n_channels,
                        float *means, float *deviations)
{
    double mean[BLOCK], square[BLOCK];
    for (uint32_t first = 0; first < n_channels; first += BLOCK) {
        const uint32_t n = n_channels - first < BLOCK ? n_channels - first : BLOCK;
        block_statistics(in + first, n_positions, stride, mean, deviations == NULL ? NULL : square);
        for (uint32_t c = 0; c < n && means != NULL; c++)
            means[first + c] = (float)mean[c];
        for (uint32_t c = 0; c < n && deviations != NULL; c++)
            deviations[first + c] = (float)sqrt(square[c]);
    }
}

/* Adds rows to the sums of their columns. */
VECTOR_CLONES
static void add_rows(const float *rows, uint32_t n_rows, uint32_t side, double *restrict columns)
{
    for (uint32_t y = 0; y < n_rows; y++, rows += side) {
        for (uint32_t x = 0; x < side; x++)
            columns[x] += (double)rows[x];
    }
}

/* Where windows begin and end along an axis: in order, each place once. */
struct cuts {
    uint32_t n;
    uint32_t at[2 * WINDOWS];
    uint32_t begins[WINDOWS], ends[WINDOWS]; /* of each window: index of the cut */
};

static void cut_windows(struct cuts *cuts, uint32_t side, uint32_t width)
{
    uint32_t begun = 0, ended = 0;
    cuts->n = 0;
    while (ended < WINDOWS) {
        const uint32_t begin = begun * (side - width) / (WINDOWS - 1);
        const uint32_t end = ended * (side - width) / (WINDOWS - 1) + width;
        const bool begins = begun < WINDOWS && begin <= end;
        const uint32_t at = begins ? begin : end;
        if (cuts->n == 0 || cuts->at[cuts->n - 1] != at)
            cuts->at[cuts->n++] = at;
        if (begins)
            cuts->begins[begun++] = cuts->n - 1;
        else
            cuts->ends[ended++] = cuts->n - 1;
    }
}

void chip_statistics(const float *chip, uint32_t side, float *mean, float *contrast)
{
    const uint32_t width = (side + 1) / 3;
    struct cuts cuts;
    cut_windows(&cuts, side, width);
    double columns[ENCODER_INPUT_SIZE_MAX];
    double totals[2 * WINDOWS][2 * WINDOWS]; /* of the pixels above a cut and left of another */
    memset(columns, 0, side * sizeof(*columns));
    memset(totals, 0, sizeof(totals));
    for (uint32_t i = 1; i < cuts.n; i++) {
        const uint32_t top = cuts.at[i - 1];
        add_rows(chip + (size_t)top * side, cuts.at[i] - top, side, columns);
        for (uint32_t j = 1; j < cuts.n; j++) {
            double cell = 0.0;
            for (uint32_t x = cuts.at[j - 1]; x < cuts.at[j]; x++)
                cell += columns[x];
            totals[i][j] = totals[i][j - 1] + cell;
        }
    }
    *mean = (float)(totals[cuts.n - 1][cuts.n - 1] / ((double)side * side));
    double darkest = INFINITY, brightest = -INFINITY;
    for (uint32_t v = 0; v < WINDOWS; v++) {
        const double *above = totals[cuts.begins[v]], *below = totals[cuts.ends[v]];
        for (uint32_t u = 0; u < WINDOWS; u++) {
            const uint32_t left = cuts.begins[u], right = cuts.ends[u];
            const double sum = (below[right] - below[left]) - (above[right] - above[left]);
            darkest = sum < darkest ? sum : darkest;
            brightest = sum > brightest ? sum : brightest;
        }
    }
    *contrast = (float)((brightest - darkest) / ((double)width * width));
}

VECTOR_CLONES
void l2_normalise(float *vector, uint32_t n)
{
    double square = 0.0;
    for (uint32_t i = 0; i < n; i++)
        square += (double)vector[i] * (double)vector[i];
    const double norm = fmax(sqrt(square), 1e-12);
    for (uint32_t i = 0; i < n; i++)
        vector[i] = (float)((double)vector[i] / norm);
}
