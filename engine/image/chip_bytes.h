/* The value of each level for 8-bit samples, many at once. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_CHIP_BYTES_H
#define CHIPSHOT_ENGINE_IMAGE_CHIP_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHIP_BYTES_ROWS = 16, CHIP_BYTES_COLUMNS = 16 };

/* The first, second, third and fourth bytes of the levels' values. */
struct chip_bytes {
    uint8_t tables[sizeof(float)][256];
};

/* `levels`: 256 floats. False: the processor has no instruction for this. */
bool chip_bytes_init(struct chip_bytes *bytes, const float *levels);

/* Takes n samples of CHIP_BYTES_ROWS rows as columns of floats, one behind the other. n columns,
 * rounded up to a multiple of CHIP_BYTES_COLUMNS, are written. */
void chip_bytes_take(const struct chip_bytes *bytes, const uint8_t *const rows[CHIP_BYTES_ROWS],
                     size_t n, uint32_t *columns);

#endif
