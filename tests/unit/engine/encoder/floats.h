/* Arrays of floats for tests of the kernels: aligned as the kernels want them and not a float
 * longer than asked for, so that the address sanitizer sees every access beside them. Failures fail
 * the test that calls. */
#ifndef CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_FLOATS_H
#define CHIPSHOT_TESTS_UNIT_ENGINE_ENCODER_FLOATS_H

#include <stddef.h>
#include <stdint.h>

/* Stands where nothing may be written; no computed value of a test equals it. */
static const float FLOATS_GUARD = -98765.5f;

/* To be freed, as all of these. */
float *floats_filled(size_t n, float value);
/* Uniform in low..high; the same for the same seed. */
float *floats_random(size_t n, uint32_t seed, float low, float high);
float *floats_copy(const float *values, size_t n);
/* n maps of side x side positions: uniform values in -1..1, and zeros in the padding channels. */
float *floats_random_maps(uint32_t n, uint32_t side, uint32_t n_channels, uint32_t seed);

/* The largest difference over the largest wanted value. Infinite where only one of the two is the
 * guard, or where a value is not a number. Differences below what float32 can hold count as none.
 */
double floats_error(const float *wanted, const float *found, size_t n);
/* The magnitude of the largest value that is not the guard. */
double floats_largest(const float *values, size_t n);

#endif
