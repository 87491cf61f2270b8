#include "engine/fewshot/map/grey_background.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REACH_MAX = 64, WEIGHT_BITS = 15, FRACTION_BITS = 8 };

_Static_assert(1 << FRACTION_BITS == GREY_ONE, "steps of a level");

/* Standard deviations from the plane before. */
static const double OUTLIER = 2.5;

/* ---- smoothing ---- */

struct kernel {
    uint32_t reach;
    uint32_t weights[REACH_MAX + 1]; /* of the pixel, of the next ones on both sides, ...: together
                                        1 << WEIGHT_BITS */
};

static void make_kernel(double sigma, struct kernel *out)
{
    double weights[REACH_MAX + 1], sum = 0.0;
    const double reach = fmin(ceil(3.0 * sigma), REACH_MAX);
    out->reach = (uint32_t)reach;
    for (uint32_t i = 0; i <= out->reach; i++) {
        weights[i] = exp(-0.5 * i * i / (sigma * sigma));
        sum += i > 0 ? 2.0 * weights[i] : weights[i];
    }
    out->weights[0] = 1u << WEIGHT_BITS;
    for (uint32_t i = 1; i <= out->reach; i++) {
        out->weights[i] = (uint32_t)(weights[i] / sum * (1 << WEIGHT_BITS) + 0.5);
        out->weights[0] -= 2 * out->weights[i];
    }
}

static uint32_t clamp(int64_t place, uint32_t n)
{
    return place < 0 ? 0 : place >= n ? n - 1 : (uint32_t)place;
}

/* Along x: levels in, steps out. */
static void smooth_row(const struct kernel *kernel, const uint8_t *row, uint32_t width,
                       uint16_t *out)
{
    const uint32_t half = 1u << (WEIGHT_BITS - FRACTION_BITS - 1);
    for (uint32_t x = 0; x < width; x++) {
        uint32_t sum = kernel->weights[0] * row[x] + half;
        for (uint32_t i = 1; i <= kernel->reach; i++)
            sum += kernel->weights[i] * ((uint32_t)row[clamp((int64_t)x - i, width)] +
                                         row[clamp((int64_t)x + i, width)]);
        out[x] = (uint16_t)(sum >> (WEIGHT_BITS - FRACTION_BITS));
    }
}

/* A row of the result, from the rows of `plane` around it. */
static void smooth_column(const struct kernel *kernel, const uint16_t *plane, uint32_t width,
                          uint32_t height, uint32_t y, uint16_t *out)
{
    const uint32_t half = 1u << (WEIGHT_BITS - 1);
    const uint16_t *row = plane + (size_t)y * width;
    for (uint32_t x = 0; x < width; x++) {
        uint32_t sum = kernel->weights[0] * row[x] + half;
        for (uint32_t i = 1; i <= kernel->reach; i++)
            sum += kernel->weights[i] *
                   ((uint32_t)plane[(size_t)clamp((int64_t)y - i, height) * width + x] +
                    plane[(size_t)clamp((int64_t)y + i, height) * width + x]);
        out[x] = (uint16_t)(sum >> WEIGHT_BITS);
    }
}

int grey_smooth(const uint8_t *grey, uint32_t width, uint32_t height, double sigma,
                const struct cancel *cancel, uint16_t *out, struct error *err)
{
    struct kernel kernel;
    make_kernel(sigma, &kernel);
    uint16_t *plane = malloc(((size_t)width * height + 1) * sizeof(*plane));
    if (plane == NULL)
        return error_set_nomem(err, "a part of the image");
    for (uint32_t y = 0; y < height; y++)
        smooth_row(&kernel, grey + (size_t)y * width, width, plane + (size_t)y * width);
    int rc = 0;
    for (uint32_t y = 0; y < height && rc == 0; y++) {
        smooth_column(&kernel, plane, width, height, y, out + (size_t)y * width);
        if (cancel_is_asked(cancel))
            rc = error_set(err, ERROR_CANCELLED, "the objects were no longer wanted");
    }
    free(plane);
    return rc;
}

/* ---- the plane ---- */

/* How many; of places x, y; of steps g; and of their products. */
enum { SUM_N, SUM_X, SUM_Y, SUM_XX, SUM_YY, SUM_XY, SUM_G, SUM_GX, SUM_GY, SUM_GG };

void grey_background_add(struct grey_background *background, const uint16_t *grey,
                         const uint8_t *is_background, uint32_t width, uint32_t row)
{
    double *sums = background->sums;
    const double y = row;
    for (uint32_t x = 0; x < width; x++) {
        if (!is_background[x])
            continue;
        if (background->is_fitted &&
            fabs(grey_above(background, grey[x], x, row)) > OUTLIER * background->spread)
            continue;
        const double g = grey[x];
        sums[SUM_N] += 1.0;
        sums[SUM_X] += x;
        sums[SUM_Y] += y;
        sums[SUM_XX] += (double)x * x;
        sums[SUM_YY] += y * y;
        sums[SUM_XY] += x * y;
        sums[SUM_G] += g;
        sums[SUM_GX] += g * x;
        sums[SUM_GY] += g * y;
        sums[SUM_GG] += g * g;
    }
}

/* Normal equations about the mean; a plane that they do not determine is level. */
void grey_background_fit(struct grey_background *background)
{
    const double *sums = background->sums;
    const double n = sums[SUM_N];
    if (!(n > 0.0))
        return;
    const double x = sums[SUM_X] / n, y = sums[SUM_Y] / n, g = sums[SUM_G] / n;
    const double xx = sums[SUM_XX] / n - x * x, yy = sums[SUM_YY] / n - y * y;
    const double xy = sums[SUM_XY] / n - x * y;
    const double gx = sums[SUM_GX] / n - g * x, gy = sums[SUM_GY] / n - g * y;
    const double determinant = xx * yy - xy * xy;
    const bool is_determined = determinant > 1e-6 * (xx + yy) * (xx + yy);
    background->slope_x = is_determined ? (gx * yy - gy * xy) / determinant : 0.0;
    background->slope_y = is_determined ? (gy * xx - gx * xy) / determinant : 0.0;
    background->level = g - background->slope_x * x - background->slope_y * y;
    const double rest =
        sums[SUM_GG] / n - g * g - background->slope_x * gx - background->slope_y * gy;
    background->spread = fmax(sqrt(fmax(rest, 0.0)), 0.5 * GREY_ONE);
    background->is_fitted = true;
    memset(background->sums, 0, sizeof(background->sums));
}
