#include "engine/dense/half.h"

#include "base/clones.h"

enum { MANTISSA_CUT = 13, BIAS = 112 };

VECTOR_CLONES
void half_from_floats(const float *values, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float value = values[i] < HALF_MAX ? values[i] : HALF_MAX;
        value = values[i] >= HALF_MIN ? value : HALF_MIN; /* not a number: this one, too */
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        bits -= (uint32_t)BIAS << 23;
        bits += 0xfff + ((bits >> MANTISSA_CUT) & 1);
        out[i] = values[i] >= HALF_MIN ? (uint16_t)(bits >> MANTISSA_CUT) : 0;
    }
}
