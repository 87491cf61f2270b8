#include "db/results/map_bytes.h"

#include <stdlib.h>
#include <string.h>

uint8_t *map_encode_u16(const uint16_t *values, uint64_t n)
{
    uint8_t *bytes = reallocarray(NULL, n, 2);
    for (uint64_t i = 0; bytes != NULL && i < n; i++) {
        bytes[2 * i] = (uint8_t)values[i];
        bytes[2 * i + 1] = (uint8_t)(values[i] >> 8);
    }
    return bytes;
}

uint8_t *map_encode_f32(const float *values, uint64_t n)
{
    uint8_t *bytes = reallocarray(NULL, n, 4);
    for (uint64_t i = 0; bytes != NULL && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        for (int k = 0; k < 4; k++)
            bytes[4 * i + (uint64_t)k] = (uint8_t)(bits >> 8 * k);
    }
    return bytes;
}

void map_decode_u16(const uint8_t *bytes, uint64_t n, uint16_t *out)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = (uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8);
}

void map_decode_f32(const uint8_t *bytes, uint64_t n, float *out)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *b = bytes + 4 * i;
        uint32_t bits = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        memcpy(&out[i], &bits, sizeof(bits));
    }
}
