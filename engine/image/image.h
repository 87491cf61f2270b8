/* Uploaded micrographs: bytes of any format of the table in, rows or one float32 grey plane with
 * the file's native values out.
 *
 * A file may hold several images, its frames, numbered from 0. Every input is hostile (format.h).
 * What a request points to is borrowed for the call, or until a source is closed.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_IMAGE_H
#define CHIPSHOT_ENGINE_IMAGE_IMAGE_H

#include "engine/image/source.h"

/* The table of formats; *n entries. */
const struct image_format *const *image_formats(size_t *n);
/* By the name in rows and answers; NULL: none of them. */
const struct image_format *image_format_find(const char *name);
/* Tells formats apart by their first bytes, never by a name. ERROR_INVALID: none of them; the
 * message says what the file looks like. */
int image_format_identify(const void *data, size_t size, const struct image_format **out,
                          struct error *err);

/* Reads the headers alone, of any frame. ERROR_INVALID: not a supported format, or over a limit;
 * the message names the field, the limit and the value. ERROR_CANCELLED: the request's cancel was
 * asked. Release with image_frames_clear. */
int image_probe(const struct image_request *request, struct image_frames *out, struct error *err);

/* Opens a frame to be read row by row. ERROR_INVALID as above, and when there is no such frame.
 * Close with image_source_close. */
int image_open(const struct image_request *request, struct image_source *out, struct error *err);

/* Decodes a whole frame. On success `out` is to be released with image_clear.
 * ERROR_INVALID: not an image, corrupt, truncated or over a limit. ERROR_CANCELLED. ERROR_NOMEM. */
int image_decode(const struct image_request *request, struct image *out, struct error *err);

/* Checks that a whole frame decodes, in less memory than image_decode where the format allows it
 * (row by row). Same errors. */
int image_verify(const struct image_request *request, struct image_info *out, struct error *err);

/* What a look at all pixels tells of an image. */
struct image_look {
    uint32_t *counts;  /* SAMPLE_LEVELS_MAX, zeroed by the caller, whose it is: of the values of an
                          image whose type has levels (sample_type.h) */
    uint32_t n_levels; /* of them; 0: the type has none */
    struct bar bars[BARS_MAX];
    uint32_t n_bars;
    uint64_t n_missing; /* pixels without a value (struct image) */
};

/* As image_verify, and looks at the pixels. */
int image_scan(const struct image_request *request, struct image_info *info, struct image_look *out,
               struct error *err);

#endif
