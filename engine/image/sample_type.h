/* The types that an image's samples have in memory: real types in the processor's byte order,
 * whatever the file's. */
#ifndef CHIPSHOT_ENGINE_IMAGE_SAMPLE_TYPE_H
#define CHIPSHOT_ENGINE_IMAGE_SAMPLE_TYPE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum sample_type {
    SAMPLE_BIT, /* one bit a sample in the file; a byte, 0 or 1, in memory */
    SAMPLE_U8,
    SAMPLE_U16,
    SAMPLE_I16,
    SAMPLE_U32,
    SAMPLE_I32,
    SAMPLE_F32,
    SAMPLE_F64,
};

/* The processor's byte order. */
enum { SAMPLES_ARE_LITTLE_ENDIAN = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ };

/* "bit", "u8", "i16", "f32", ... */
const char *sample_type_name(enum sample_type type);
/* Bytes of a sample in memory. */
uint32_t sample_type_size(enum sample_type type);

/* The values that mean black and white when nothing is stretched. */
struct sample_range {
    double low, high;
};

/* The smallest and the largest value of the type; of floats, which have no such bounds, 0..1. */
struct sample_range sample_type_range(enum sample_type type);
/* 0 .. 2^n_bits - 1, for 0 to 32 bits. */
struct sample_range sample_range_of_bits(uint32_t n_bits);

/* How many values a sample may have, where these are few enough to be counted one by one; 0: too
 * many, or (SAMPLE_BIT) too few to be worth it. Level k is the value sample_type_range().low + k.
 */
enum { SAMPLE_LEVELS_MAX = 1 << 16 };
uint32_t sample_type_n_levels(enum sample_type type);

/* Adds n samples of a type that has levels to `counts`, one for each level. */
void samples_add_counts(enum sample_type type, const void *samples, size_t n, uint32_t *counts);

/* The entry of each of n samples of a type that has levels in a table with one for each level. */
void samples_look_up(enum sample_type type, const void *samples, size_t n, const uint8_t *table,
                     uint8_t *out);

/* n samples as floats of the same value, rounded to the nearest where a float holds less: beyond
 * 2^24, and infinite beyond its range. */
void samples_to_floats(enum sample_type type, const void *samples, size_t n, float *out);

/* Keys of floats compare as the floats do (-0 just below 0); NaN is behind all. */
static inline uint32_t sample_float_key(float value)
{
    uint32_t bits;
    if (isnan(value))
        return UINT32_MAX;
    memcpy(&bits, &value, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static inline float sample_key_float(uint32_t key)
{
    uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

#endif
