/* The rows of a plain grey PNG (8 or 16 bits, not interlaced) without libpng, whose way of undoing
 * the Paeth filter takes longer than inflating. Only well-formed files are read here; what is wrong
 * with another one is for libpng to say. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct png_rows;

/* `data` (borrowed) begins with a signature and an IHDR chunk that were checked: rows of `width`
 * samples of 1 or 2 bytes. NULL: out of memory. */
struct png_rows *png_rows_create(const uint8_t *data, size_t size, uint32_t width, uint32_t height,
                                 uint32_t sample_size);
/* NULL allowed. */
void png_rows_destroy(struct png_rows *rows);

/* Reads the next rows, 1 to `n_max`, into `out`, 16-bit samples in native order; `out` has room for
 * n_max rows. False: the file is not well-formed, and these rows are not to be used; those before
 * are right. Of the last rows it is said when it is known that the file ends well. */
bool png_rows_read(struct png_rows *rows, uint32_t n_max, void *out, uint32_t *n_rows);

#endif
