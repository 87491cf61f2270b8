/* The chunks of a PNG file (W3C PNG Specification, 5. Datastream structure), found without libpng.
 * Internal to engine/image. Stateless; `data` is borrowed. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_CHUNKS_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_CHUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/image/decode_guard.h"

enum { PNG_SIGNATURE_SIZE = 8, PNG_CHUNK_OVERHEAD = 12 /* length, type, checksum */ };

/* Of one chunk: its type, behind which its data are, and their length. */
struct png_chunk {
    const uint8_t *type; /* four letters */
    uint32_t length;
};

/* The big-endian number at `from`. */
uint32_t png_chunk_u32(const uint8_t *from);

/* The chunk that begins at *position, which is moved behind it. False: no whole chunk begins there;
 * `out` and the position stay. */
bool png_chunk_next(const uint8_t *data, size_t size, size_t *position, struct png_chunk *out);

/* `name`: four letters. */
bool png_chunk_is(const struct png_chunk *chunk, const char *name);

/* The image data: the first IDAT chunks that follow each other. */
struct png_image_data {
    size_t end;    /* the file's first byte behind them */
    uint64_t size; /* bytes that they hold; of a chunk that is cut off, those that are there */
};

/* Of a file that begins with a signature. Reads the heads of chunks alone. False: the guard says to
 * stop. */
bool png_image_data_find(const uint8_t *data, size_t size, struct decode_guard *guard,
                         struct png_image_data *out);

/* To be called after functions of ISA-L. Some leave the upper halves of the vector registers in
 * use. Until they are cleared, processors with AVX carry them through each SSE instruction of the
 * thread, whatever it does next: classifying took seven times as long. */
void png_clear_upper_halves(void);

#endif
