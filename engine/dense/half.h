/* Values of a feature map in 16 bits.
 *
 * Maps of stages 1 to 4 are in IEEE binary16 (F16): they are never negative, rounded to nearest
 * even, at most 65504; what is below the smallest normal number, 2^-14, is 0, and so is what is not
 * a number. Stage 0 is in steps of 1/65535 of its range 0..1.
 */
#ifndef CHIPSHOT_ENGINE_DENSE_HALF_H
#define CHIPSHOT_ENGINE_DENSE_HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HALF_MAX 65504.0f
#define HALF_MIN 0x1p-14f

/* Rounds n values. */
void half_from_floats(const float *values, size_t n, uint16_t *out);

/* The value of one. */
static inline float half_value(uint16_t half)
{
    /* The exponent's bias differs by 112, that of a zero too. */
    const uint32_t bits = (uint32_t)half << 13;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value * 0x1p112f;
}

#endif
