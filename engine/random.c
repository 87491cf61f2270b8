#include "engine/random.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void random_seed(struct random *random, uint64_t seed, uint64_t stream)
{
    /* The stream goes through the mixer first: neighbouring seeds and streams must not meet. */
    uint64_t mixed = stream;
    uint64_t state = seed ^ splitmix64(&mixed);
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&state);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

uint64_t random_next(struct random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

double random_uniform(struct random *random)
{
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

uint64_t random_below_64(struct random *random, uint64_t bound)
{
    /* Values past the last whole multiple of the bound would favour small results. */
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
    uint64_t value;
    do {
        value = random_next(random);
    } while (value >= limit);
    return value % bound;
}

uint32_t random_below(struct random *random, uint32_t bound)
{
    return (uint32_t)random_below_64(random, bound);
}

double random_normal(struct random *random)
{
    double x, squared;
    do {
        x = 2.0 * random_uniform(random) - 1.0;
        double y = 2.0 * random_uniform(random) - 1.0;
        squared = x * x + y * y;
    } while (squared >= 1.0 || squared == 0.0);
    return x * sqrt(-2.0 * log(squared) / squared);
}

static uint32_t poisson_by_products(struct random *random, double mean)
{
    double limit = exp(-mean);
    double product = random_uniform(random);
    uint32_t count = 0;
    while (product > limit) {
        product *= random_uniform(random);
        count++;
    }
    return count;
}

/* Names of the constants as in the paper, algorithm PTRS; valid for means of at least 10. */
static uint32_t poisson_by_rejection(struct random *random, double mean)
{
    double b = 0.931 + 2.53 * sqrt(mean);
    double a = -0.059 + 0.02483 * b;
    double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    double v_r = 0.9277 - 3.6224 / (b - 2.0);
    for (;;) {
        double u = random_uniform(random) - 0.5;
        double v = random_uniform(random);
        double us = 0.5 - fabs(u);
        double k = floor((2.0 * a / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= v_r)
            return (uint32_t)k;
        if (!(k >= 0.0 && k < UINT32_MAX) || (us < 0.013 && v > us))
            continue;
        int sign;
        double log_density = k * log(mean) - mean - lgamma_r(k + 1.0, &sign);
        if (log(v * inverse_alpha / (a / (us * us) + b)) <= log_density)
            return (uint32_t)k;
    }
}

uint32_t random_poisson(struct random *random, double mean)
{
    if (!(mean > 0.0))
        return 0;
    return mean < 12.0 ? poisson_by_products(random, mean) : poisson_by_rejection(random, mean);
}

double random_log_gamma(struct random *random, double shape)
{
    /* Below 1 a variate of the next shape is scaled by a power of a uniform. */
    const double scale = shape < 1.0 ? log(1.0 - random_uniform(random)) / shape : 0.0;
    const double d = (shape < 1.0 ? shape + 1.0 : shape) - 1.0 / 3.0;
    const double c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double x = random_normal(random);
        const double t = 1.0 + c * x;
        const double v = t * t * t;
        if (t > 0.0 && log(1.0 - random_uniform(random)) < 0.5 * x * x + d - d * v + d * log(v))
            return log(d * v) + scale;
    }
}
