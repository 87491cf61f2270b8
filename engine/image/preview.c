/* Area averaging with exact weights: along an axis, output i covers the inputs from i * n_in /
 * n_out to (i + 1) * n_in / n_out; in units of 1 / n_out of a pixel these bounds are whole numbers,
 * and so is each pixel's share. Columns are gathered first, whole rows at a time, then the row is
 * shrunk.
 */
#include "engine/image/preview.h"

#include <math.h>
#include <stdlib.h>

void preview_size(uint32_t width, uint32_t height, uint32_t max_side, uint32_t *out_width,
                  uint32_t *out_height)
{
    uint32_t longer = width > height ? width : height;
    uint32_t limit = max_side > 0 ? max_side : 1;
    *out_width = width;
    *out_height = height;
    if (longer <= limit)
        return;
    uint64_t small_width = ((uint64_t)width * limit + longer / 2) / longer;
    uint64_t small_height = ((uint64_t)height * limit + longer / 2) / longer;
    *out_width = small_width > 0 ? (uint32_t)small_width : 1;
    *out_height = small_height > 0 ? (uint32_t)small_height : 1;
}

/* Share of input j in output i, in units of 1 / n_out of a pixel; the shares of an output sum to
 * n_in. */
static double share(uint64_t i, uint64_t j, uint64_t n_in, uint64_t n_out)
{
    uint64_t start = i * n_in > j * n_out ? i * n_in : j * n_out;
    uint64_t end = (i + 1) * n_in < (j + 1) * n_out ? (i + 1) * n_in : (j + 1) * n_out;
    return (double)(end - start);
}

static uint64_t first_input(uint64_t i, uint64_t n_in, uint64_t n_out)
{
    return i * n_in / n_out;
}

/* One past the last input that output i touches. */
static uint64_t end_input(uint64_t i, uint64_t n_in, uint64_t n_out)
{
    return ((i + 1) * n_in + n_out - 1) / n_out;
}

static uint8_t quantise(double value)
{
    double scaled = floor(value * 255 + 0.5);
    if (!(scaled > 0))
        return 0;
    return scaled < 255 ? (uint8_t)scaled : 255;
}

static void gather_rows(const float *window, uint32_t image_width, uint32_t width, uint32_t height,
                        uint32_t row, uint32_t out_height, double *sums)
{
    for (uint32_t x = 0; x < width; x++)
        sums[x] = 0;
    uint64_t end = end_input(row, height, out_height);
    for (uint64_t y = first_input(row, height, out_height); y < end; y++) {
        const float *in = window + (size_t)y * image_width;
        double weight = share(row, y, height, out_height);
        for (uint32_t x = 0; x < width; x++)
            sums[x] += weight * in[x];
    }
}

static void shrink_row(const double *sums, uint32_t width, uint32_t out_width, double area,
                       uint8_t *out)
{
    for (uint32_t i = 0; i < out_width; i++) {
        uint64_t end = end_input(i, width, out_width);
        double sum = 0;
        for (uint64_t x = first_input(i, width, out_width); x < end; x++)
            sum += share(i, x, width, out_width) * sums[x];
        out[i] = quantise(sum / area);
    }
}

int preview_grey8(const float *pixels, uint32_t image_width, uint32_t x, uint32_t y, uint32_t width,
                  uint32_t height, uint32_t out_width, uint32_t out_height, uint8_t *out,
                  struct error *err)
{
    if (width == 0 || height == 0 || out_width == 0 || out_height == 0)
        return error_set(err, ERROR_INVALID,
                         "preview: sizes must be at least 1 pixel, but are %u x %u to %u x %u",
                         width, height, out_width, out_height);
    double *sums = calloc(width, sizeof(*sums));
    if (sums == NULL)
        return error_set_nomem(err, "a preview");
    const float *window = pixels + (size_t)y * image_width + x;
    for (uint32_t row = 0; row < out_height; row++) {
        gather_rows(window, image_width, width, height, row, out_height, sums);
        shrink_row(sums, width, out_width, (double)width * height, out + (size_t)row * out_width);
    }
    free(sums);
    return 0;
}
