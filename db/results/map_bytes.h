/* The values of a result's maps as the bytes of its blobs: little-endian. */
#ifndef CHIPSHOT_DB_RESULTS_MAP_BYTES_H
#define CHIPSHOT_DB_RESULTS_MAP_BYTES_H

#include <stdint.h>

/* malloc'd; NULL: out of memory. */
uint8_t *map_encode_u16(const uint16_t *values, uint64_t n);
uint8_t *map_encode_f32(const float *values, uint64_t n);
/* `bytes` may be where `out` is: each value is read before it is written. */
void map_decode_u16(const uint8_t *bytes, uint64_t n, uint16_t *out);
void map_decode_f32(const uint8_t *bytes, uint64_t n, float *out);

#endif
