/* The image data of a PNG: a zlib stream (RFC 1950) of deflated bytes (RFC 1951), given in pieces
 * and taken in blocks. Made for noise, of which micrographs consist: few repetitions, so that the
 * time goes to single codes. Only well-formed streams are inflated; what is wrong with another one
 * is for zlib to say. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_INFLATE_H
#define CHIPSHOT_ENGINE_IMAGE_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Gives the next piece of the stream, which stays where it is until the next call. False: there is
 * none. */
typedef bool (*inflate_feed)(void *context, const uint8_t **piece, size_t *size);

struct inflater;

/* `block_size`: of what is asked for at once, at most. NULL: out of memory. */
struct inflater *inflater_create(size_t block_size, inflate_feed feed, void *context);
void inflater_destroy(struct inflater *inflater);

/* The next `size` bytes, which are there until the next call. NULL: the stream is not well-formed
 * or has no more. */
const uint8_t *inflater_read(struct inflater *inflater, size_t size);

/* Whether nothing is left but the right checksum, and nothing after it. No more is read then. */
bool inflater_ends(struct inflater *inflater);

#endif
