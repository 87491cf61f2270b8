/* Every switch over the sample types is here, but for the look-up of levels (chip_resample.c). */
#include "engine/image/sample_type.h"

#include <string.h>

const char *sample_type_name(enum sample_type type)
{
    switch (type) {
    case SAMPLE_BIT:
        return "bit";
    case SAMPLE_U8:
        return "u8";
    case SAMPLE_U16:
        return "u16";
    case SAMPLE_I16:
        return "i16";
    case SAMPLE_U32:
        return "u32";
    case SAMPLE_I32:
        return "i32";
    case SAMPLE_F32:
        return "f32";
    case SAMPLE_F64:
        return "f64";
    }
    return "unknown";
}

uint32_t sample_type_size(enum sample_type type)
{
    switch (type) {
    case SAMPLE_BIT:
    case SAMPLE_U8:
        return 1;
    case SAMPLE_U16:
    case SAMPLE_I16:
        return 2;
    case SAMPLE_U32:
    case SAMPLE_I32:
    case SAMPLE_F32:
        return 4;
    case SAMPLE_F64:
        return 8;
    }
    return 0;
}

struct sample_range sample_type_range(enum sample_type type)
{
    switch (type) {
    case SAMPLE_U8:
        return (struct sample_range){0, UINT8_MAX};
    case SAMPLE_U16:
        return (struct sample_range){0, UINT16_MAX};
    case SAMPLE_I16:
        return (struct sample_range){INT16_MIN, INT16_MAX};
    case SAMPLE_U32:
        return (struct sample_range){0, UINT32_MAX};
    case SAMPLE_I32:
        return (struct sample_range){INT32_MIN, INT32_MAX};
    case SAMPLE_BIT:
    case SAMPLE_F32:
    case SAMPLE_F64:
        break;
    }
    return (struct sample_range){0, 1};
}

struct sample_range sample_range_of_bits(uint32_t n_bits)
{
    return (struct sample_range){0, (double)((UINT64_C(1) << n_bits) - 1)};
}

uint32_t sample_type_n_levels(enum sample_type type)
{
    switch (type) {
    case SAMPLE_U8:
        return 1 << 8;
    case SAMPLE_U16:
    case SAMPLE_I16:
        return 1 << 16;
    case SAMPLE_BIT:
    case SAMPLE_U32:
    case SAMPLE_I32:
    case SAMPLE_F32:
    case SAMPLE_F64:
        break;
    }
    return 0;
}

/* Several tables, because equal neighbours would wait for each other's counts. */
static void count_bytes(const uint8_t *data, size_t n, uint32_t *counts)
{
    uint32_t tables[4][256] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        for (size_t k = 0; k < 4; k++)
            tables[k][data[i + k]]++;
    }
    for (; i < n; i++)
        tables[0][data[i]]++;
    for (size_t v = 0; v < 256; v++)
        counts[v] += tables[0][v] + tables[1][v] + tables[2][v] + tables[3][v];
}

void samples_add_counts(enum sample_type type, const void *samples, size_t n, uint32_t *counts)
{
    const uint16_t *u16 = samples;
    if (type == SAMPLE_U8)
        count_bytes(samples, n, counts);
    for (size_t i = 0; type == SAMPLE_U16 && i < n; i++)
        counts[u16[i]]++;
    const int16_t *i16 = samples;
    for (size_t i = 0; type == SAMPLE_I16 && i < n; i++)
        counts[i16[i] - INT16_MIN]++;
}

void samples_look_up(enum sample_type type, const void *samples, size_t n, const uint8_t *table,
                     uint8_t *out)
{
    const uint8_t *u8 = samples;
    for (size_t i = 0; type == SAMPLE_U8 && i < n; i++)
        out[i] = table[u8[i]];
    const uint16_t *u16 = samples;
    for (size_t i = 0; type == SAMPLE_U16 && i < n; i++)
        out[i] = table[u16[i]];
    const int16_t *i16 = samples;
    for (size_t i = 0; type == SAMPLE_I16 && i < n; i++)
        out[i] = table[i16[i] - INT16_MIN];
}

#define CONVERT(from_type)                                                                         \
    do {                                                                                           \
        const from_type *from = samples;                                                           \
        for (size_t i = 0; i < n; i++)                                                             \
            out[i] = (float)from[i];                                                               \
    } while (0)

void samples_to_floats(enum sample_type type, const void *samples, size_t n, float *out)
{
    switch (type) {
    case SAMPLE_BIT:
    case SAMPLE_U8:
        CONVERT(uint8_t);
        return;
    case SAMPLE_U16:
        CONVERT(uint16_t);
        return;
    case SAMPLE_I16:
        CONVERT(int16_t);
        return;
    case SAMPLE_U32:
        CONVERT(uint32_t);
        return;
    case SAMPLE_I32:
        CONVERT(int32_t);
        return;
    case SAMPLE_F32:
        memcpy(out, samples, n * sizeof(float));
        return;
    case SAMPLE_F64:
        CONVERT(double);
        return;
    }
}
