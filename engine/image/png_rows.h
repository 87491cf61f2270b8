/* The rows of a plain grey PNG (8 or 16 bits, not interlaced) without libpng, whose way of undoing
 * the Paeth filter takes longer than inflating. Only well-formed files are read here; what is wrong
 * with another one is for libpng to say. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/image/image.h"

enum png_rows_end {
    PNG_ROWS_DONE,
    PNG_ROWS_STOPPED,   /* progress said so */
    PNG_ROWS_IRREGULAR, /* not well-formed, or out of memory; the first *n_rows rows are whole */
};

/* What is read, and where to. */
struct png_rows {
    size_t row_size;
    uint32_t bytes_per_pixel;
    uint32_t height;
    uint32_t n_held; /* as in struct samples */
    uint8_t *out;    /* n_held x row_size bytes */
    samples_progress progress;
    void *context;
};

/* `data` begins with a signature and an IHDR chunk that were checked. Progress as in samples_read;
 * *n_rows are the rows told of. */
enum png_rows_end png_rows_read(const uint8_t *data, size_t size, const struct png_rows *rows,
                                uint32_t *n_rows);

#endif
