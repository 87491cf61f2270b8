/* The PNG decoder behind png_format.c: the functions of struct image_format (format.h), for a file
 * that has PNG's signature. */
#ifndef CHIPSHOT_ENGINE_IMAGE_PNG_DECODE_H
#define CHIPSHOT_ENGINE_IMAGE_PNG_DECODE_H

#include "engine/image/format.h"

/* The chunks before the image data. */
int png_decode_probe(const struct image_request *request, struct image_info *out,
                     struct error *err);

int png_decode_open(const struct image_request *request, void **reader, struct image_info *info,
                    struct error *err);
/* Interlaced rows are unordered. Where libpng refuses a code in the compressed data that leaves
 * some bits without meaning, a file that was opened as IMAGE_CHECKED, does not use those bits and
 * has the right checksums may be read. */
int png_decode_read(void *reader, uint32_t n_max, void *rows, uint32_t *n_rows, struct error *err);
void png_decode_close(void *reader);

#endif
