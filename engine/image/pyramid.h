/* A normalised image in 8 bits of grey, and the same at a half, a quarter, ... of its size, in
 * tiles: a picture of any part of it, at any scale, is made of about as many bytes as it has
 * pixels, however large the image is.
 *
 * Level k has ceil(width / 2^k) x ceil(height / 2^k) pixels. Its pixel (x, y) is the mean, rounded
 * half up, of level 0 over the columns x * 2^k .. (x + 1) * 2^k - 1 and the rows likewise, as far
 * as there are any: it is rounded once, whatever k is. The last level is the first that one tile
 * holds, or the PYRAMID_LEVELS_MAXth.
 *
 * The bytes: tiles of PYRAMID_TILE_WIDTH x PYRAMID_TILE_HEIGHT pixels, each row after row; the
 * tiles of a level from the left to the right, then downwards; one level after another, level 0
 * first. What of a tile lies outside the image is 0. There is no header, since everything follows
 * from the image's size: whoever keeps the tiles keeps that with them, and tells damage.
 *
 * Where the tiles are kept is the business of two functions. A maker belongs to one thread at a
 * time; the plan of a pyramid is never changed.
 */
#ifndef CHIPSHOT_ENGINE_IMAGE_PYRAMID_H
#define CHIPSHOT_ENGINE_IMAGE_PYRAMID_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/image/chip_grid.h"

enum {
    PYRAMID_TILE_WIDTH = 128,
    PYRAMID_TILE_HEIGHT = 64,
    PYRAMID_TILE_SIZE = PYRAMID_TILE_WIDTH * PYRAMID_TILE_HEIGHT, /* bytes */
    PYRAMID_LEVELS_MAX = 13, /* so that the sum over a pixel's area fits into 32 bits */
};

struct pyramid_level {
    uint32_t width, height; /* pixels */
    uint32_t columns, rows; /* tiles */
    uint64_t first;         /* its first tile */
};

struct pyramid {
    uint32_t n_levels;
    uint64_t n_tiles; /* of all levels */
    struct pyramid_level levels[PYRAMID_LEVELS_MAX];
};

/* The levels of a width x height image, both at least 1. */
void pyramid_plan(struct pyramid *out, uint32_t width, uint32_t height);

/* Values 0..1 as 0..255, rounded half up and clipped; what is no number is 0. */
void pyramid_quantise(const float *values, size_t n, uint8_t *out);

/* ---- making ---- */

/* Keeps n tiles, from `first` on: a whole row of a level's tiles, each row once, those of a level
 * from the top. Returns 0 or an error code. */
typedef int (*pyramid_write_tiles)(void *context, uint64_t first, uint64_t n, const uint8_t *tiles,
                                   struct error *err);

struct pyramid_maker;

/* `pyramid` and `context` are borrowed until destroyed. The maker takes about 128 bytes of memory
 * for a column of the image. ERROR_NOMEM. */
int pyramid_maker_create(struct pyramid_maker **out, const struct pyramid *pyramid,
                         pyramid_write_tiles write, void *context, struct error *err);
/* The next n rows of level 0, from the top; never more than there are. With the last one all tiles
 * are written. Errors are those of writing. */
int pyramid_maker_add(struct pyramid_maker *maker, const uint8_t *rows, uint32_t n,
                      struct error *err);
/* NULL allowed. */
void pyramid_maker_destroy(struct pyramid_maker *maker);

/* ---- reading ---- */

/* Reads n tiles, from `first` on, of one row of a level's tiles. Returns 0 or an error code. */
typedef int (*pyramid_read_tiles)(void *context, uint64_t first, uint64_t n, uint8_t *tiles,
                                  struct error *err);

/* The pixels of a window, which lies inside the level, row after row, into `out` (height x width).
 * ERROR_NOMEM, or an error of reading. */
int pyramid_read(const struct pyramid *pyramid, uint32_t level, const struct chip_rect *window,
                 pyramid_read_tiles read, void *context, uint8_t *out, struct error *err);

#endif
