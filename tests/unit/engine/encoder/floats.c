#include "tests/unit/engine/encoder/floats.h"

#include <float.h>
#include <math.h>

#include "engine/encoder/kernels/kernels.h"
#include "tests/test.h"

/* Sums of a hundred products, each rounded to a multiple of the smallest denormal. */
static const double SMALLEST_DIFFERENCE = 100 * (double)FLT_TRUE_MIN;

static float *allocate(size_t n)
{
    void *memory = NULL;
    assert_int_equal(posix_memalign(&memory, KERNEL_ALIGNMENT, n * sizeof(float)), 0);
    return memory;
}

float *floats_filled(size_t n, float value)
{
    float *values = allocate(n);
    for (size_t i = 0; i < n; i++)
        values[i] = value;
    return values;
}

float *floats_random(size_t n, uint32_t seed, float low, float high)
{
    float *values = allocate(n);
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = low + (high - low) * ((float)(state >> 8) / (float)(1u << 24));
    }
    return values;
}

float *floats_copy(const float *values, size_t n)
{
    float *copy = allocate(n);
    memcpy(copy, values, n * sizeof(*copy));
    return copy;
}

float *floats_random_maps(uint32_t n, uint32_t side, uint32_t n_channels, uint32_t seed)
{
    const uint32_t padded = padded_channels(n_channels);
    const size_t n_floats = (size_t)n * side * side * padded;
    float *maps = floats_random(n_floats, seed, -1.0f, 1.0f);
    for (size_t i = 0; i < n_floats; i++) {
        if (i % padded >= n_channels)
            maps[i] = 0.0f;
    }
    return maps;
}

double floats_largest(const float *values, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (values[i] != FLOATS_GUARD)
            largest = fmax(largest, fabs((double)values[i]));
    }
    return largest;
}

double floats_error(const float *wanted, const float *found, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        if ((wanted[i] == FLOATS_GUARD) != (found[i] == FLOATS_GUARD) || isnan(wanted[i]) ||
            isnan(found[i]))
            return INFINITY;
        largest = fmax(largest, fabs((double)wanted[i] - (double)found[i]));
    }
    return largest <= SMALLEST_DIFFERENCE ? 0.0 : largest / floats_largest(wanted, n);
}
