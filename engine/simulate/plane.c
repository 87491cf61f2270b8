/* A separable kernel, rows first, then columns; beyond the edge the outermost value goes on. */
#include "engine/simulate/plane.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 2 * radius + 1 weights of sum 1. */
static void fill_kernel(float *kernel, uint32_t radius, double sigma)
{
    double sum = 0.0;
    for (uint32_t i = 0; i <= 2 * radius; i++) {
        double distance = (double)i - radius;
        sum += exp(-0.5 * distance * distance / (sigma * sigma));
    }
    for (uint32_t i = 0; i <= 2 * radius; i++) {
        double distance = (double)i - radius;
        kernel[i] = (float)(exp(-0.5 * distance * distance / (sigma * sigma)) / sum);
    }
}

/* `padded` holds width + 2 * radius values. */
static void blur_row(float *row, uint32_t width, const float *kernel, uint32_t radius,
                     float *padded)
{
    for (uint32_t i = 0; i < radius; i++) {
        padded[i] = row[0];
        padded[radius + width + i] = row[width - 1];
    }
    memcpy(padded + radius, row, width * sizeof(*row));
    for (uint32_t x = 0; x < width; x++) {
        /* The kernel is symmetric: one multiplication for two samples. */
        const float *centre = padded + radius + x;
        float sum = kernel[radius] * centre[0];
        for (uint32_t i = 1; i <= radius; i++)
            sum += kernel[radius + i] * (*(centre - i) + centre[i]);
        row[x] = sum;
    }
}

static uint32_t clamped(int64_t y, uint32_t height)
{
    if (y < 0)
        return 0;
    return y >= (int64_t)height ? height - 1 : (uint32_t)y;
}

static void blur_columns(const float *in, float *out, uint32_t width, uint32_t height,
                         const float *kernel, uint32_t radius)
{
    for (uint32_t y = 0; y < height; y++) {
        float *sums = out + (size_t)y * width;
        const float *centre = in + (size_t)y * width;
        for (uint32_t x = 0; x < width; x++)
            sums[x] = kernel[radius] * centre[x];
        for (uint32_t i = 1; i <= radius; i++) {
            const float *above = in + (size_t)clamped((int64_t)y - i, height) * width;
            const float *below = in + (size_t)clamped((int64_t)y + i, height) * width;
            float weight = kernel[radius + i];
            for (uint32_t x = 0; x < width; x++)
                sums[x] += weight * (above[x] + below[x]);
        }
    }
}

int plane_blur(float *plane, uint32_t width, uint32_t height, double sigma, struct error *err)
{
    uint32_t radius = (uint32_t)ceil(3.0 * sigma);
    size_t n_pixels = (size_t)width * height;
    float *kernel = calloc(2 * (size_t)radius + 1, sizeof(*kernel));
    float *padded = calloc((size_t)width + 2 * (size_t)radius, sizeof(*padded));
    float *copy = calloc(n_pixels, sizeof(*copy));
    int rc = 0;
    if (kernel == NULL || padded == NULL || copy == NULL) {
        rc = error_set_nomem(err, "a blurred plane");
        goto out;
    }
    fill_kernel(kernel, radius, sigma);
    memcpy(copy, plane, n_pixels * sizeof(*plane));
    for (uint32_t y = 0; y < height; y++)
        blur_row(copy + (size_t)y * width, width, kernel, radius, padded);
    blur_columns(copy, plane, width, height, kernel, radius);
out:
    free(kernel);
    free(padded);
    free(copy);
    return rc;
}
