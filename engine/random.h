/* Seeded random numbers that are the same everywhere: xoshiro256** 1.0 (Blackman and Vigna,
 * Scrambled linear pseudorandom number generators, ACM TOMS 47, 2021), its state filled from the
 * seed by SplitMix64 as its authors advise. For drawing scenes and episodes; never for secrets. */
#ifndef CHIPSHOT_ENGINE_RANDOM_H
#define CHIPSHOT_ENGINE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state[4];
};

/* Different (seed, stream) pairs give unrelated sequences. */
void random_seed(struct random *random, uint64_t seed, uint64_t stream);
uint64_t random_next(struct random *random);
/* Uniform in [0, 1), 53 bits. */
double random_uniform(struct random *random);
/* Uniform in 0 .. bound-1 without bias; bound > 0. */
uint32_t random_below(struct random *random, uint32_t bound);
uint64_t random_below_64(struct random *random, uint64_t bound);
/* Standard normal (Marsaglia's polar method). */
double random_normal(struct random *random);
/* Poisson with the given mean >= 0: products of uniforms for small means, PTRS (Hörmann, The
 * transformed rejection method for generating Poisson random variables, 1993) for large ones. */
uint32_t random_poisson(struct random *random, double mean);
/* The logarithm of a gamma variate of scale 1 and the given shape > 0 (Marsaglia and Tsang, A
 * simple method for generating gamma variables, ACM TOMS 26, 2000): small shapes give variates that
 * no double holds. */
double random_log_gamma(struct random *random, double shape);

#endif
