/* The rows of a plain grey PNG (8 or 16 bits, not interlaced) without libpng, whose way of undoing
 * the Paeth filter takes longer than inflating. Only well-formed files are read here; what is wrong
 * with another one is for libpng to say. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/image/decode_guard.h"

struct png_rows;

/* Bytes of the file that may be image data still when the last row is there, beside what libpng has
 * in its buffer, which is as much again: the end of a block, empty blocks and a checksum are some
 * ten, chunks around each byte of them some hundred, and encoders that write a row too many are
 * known. The 17 MB that they may inflate to are the most that is made for nothing. */
enum { PNG_TAIL_MAX = 1 << 13 };

/* `data` (borrowed) begins with a signature and an IHDR chunk that were checked; its image data
 * have at most `data_size_max` bytes: rows of `width` samples of 1 or 2 bytes. `guard` (borrowed)
 * is asked all the while. NULL: out of memory. */
struct png_rows *png_rows_create(const uint8_t *data, size_t size, uint64_t data_size_max,
                                 uint32_t width, uint32_t height, uint32_t sample_size,
                                 struct decode_guard *guard);
/* NULL allowed. */
void png_rows_destroy(struct png_rows *rows);

/* Reads the next rows, 1 to `n_max`, into `out`, 16-bit samples in native order; `out` has room for
 * n_max rows. False: the guard says to stop, or the file is not well-formed; these rows are not to
 * be used, those before are right. Of the last rows it is said when it is known that the file ends
 * well. */
bool png_rows_read(struct png_rows *rows, uint32_t n_max, void *out, uint32_t *n_rows);

#endif
