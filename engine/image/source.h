/* Where the rows of an image come from: a file of some format, opened, whose rows are pulled from
 * top to bottom. Order of use: open, read until all rows are there (or not), close. One thread. */
#ifndef CHIPSHOT_ENGINE_IMAGE_SOURCE_H
#define CHIPSHOT_ENGINE_IMAGE_SOURCE_H

#include "engine/image/format.h"
#include "engine/image/mask/bars.h"

/* Rows are read so many at once at most, but for unordered ones. */
enum { SOURCE_BLOCK_ROWS = 64 };

struct image_source {
    struct image_info info;
    uint32_t n_rows; /* that were read, from the top */
    void *reader;    /* the format's; NULL: closed */
};

/* A whole frame as floats. */
struct image {
    struct image_info info;
    float *pixels; /* height x width, row-major, native values (within full_scale when the file's
                      are; luminance is not rounded); NaN where there is none: where the file says
                      that it is transparent, or holds no number; owned */
};

/* Opens a frame of a file of a known format. `request`, but for the struct itself, is borrowed
 * until closed. Errors as image_format's `open`. */
int image_source_open(struct image_source *out, const struct image_format *format,
                      const struct image_request *request, struct error *err);
/* Reads the next rows: 1 to `n_max` of them, all of them from an unordered source. `rows`: n_max x
 * width samples of info.type, or NULL when they need only be checked. To be called while n_rows is
 * less than the height. Errors as image_format's `read`; then the source can only be closed. */
int image_source_read(struct image_source *source, uint32_t n_max, void *rows, uint32_t *n_rows,
                      struct error *err);
/* NULL members allowed: may be closed twice. */
void image_source_close(struct image_source *source);

/* Of a source of which nothing was read yet: */

/* All rows as a plane of floats. On success `out` is to be released with image_clear. */
int image_source_decode(struct image_source *source, struct image *out, struct error *err);
/* Checks that all rows can be read, holding no more than one of them. */
int image_source_verify(struct image_source *source, struct error *err);
/* The same, and looks at them: all go to `scan`, which is new. Of an unordered source all are held.
 * `counts`: NULL, or, of a type that has levels, where its samples are counted. */
int image_source_scan(struct image_source *source, uint32_t *counts, struct bars_scan *scan,
                      struct error *err);

/* Frees the pixels; the struct may be cleared twice. */
void image_clear(struct image *image);

#endif
