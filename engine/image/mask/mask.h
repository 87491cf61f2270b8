/* What of an image is no specimen: a bit for each pixel, set where it is left out of the analysis.
 * Shapes, pictures and pixels without a value are put together into one mask; a chip more than half
 * of which is left out is not analysed.
 *
 * A bit a pixel: 32 MiB for the largest image that the limits admit. A mask that is made does not
 * change: any number of threads may read it. */
#ifndef CHIPSHOT_ENGINE_IMAGE_MASK_H
#define CHIPSHOT_ENGINE_IMAGE_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/error.h"
#include "engine/image/chip_grid.h"

enum { MASK_SHAPES_MAX = 1000, MASK_VERTICES_MAX = 10000 };

struct mask {
    uint32_t width, height; /* the image's */
    size_t n_words;         /* of a row */
    uint64_t *bits;         /* height x n_words; pixel x is bit x % 64 of word x / 64; owned */
    uint32_t *n_of_row;     /* pixels that are left out, of each row; owned */
    uint64_t n_pixels;      /* the same of the image */
};

/* In pixels: (0, 0) is the image's top left corner and pixel x reaches from x to x + 1. */
struct mask_point {
    double x, y;
};

/* With nothing left out. ERROR_NOMEM. To be released with mask_clear, which may be called twice. */
int mask_init(struct mask *out, uint32_t width, uint32_t height, struct error *err);
void mask_clear(struct mask *mask);

/* What of it lies in the image. */
void mask_add_rectangle(struct mask *mask, const struct chip_rect *rect);
/* The pixels whose centres lie inside, by the even-odd rule; the last point is joined to the first.
 * Points may lie outside of the image; they are finite. ERROR_NOMEM, ERROR_CANCELLED when `cancel`
 * (NULL: never) was asked. */
int mask_add_polygon(struct mask *mask, const struct mask_point *points, size_t n_points,
                     const struct cancel *cancel, struct error *err);
/* The pixels of row `y` that have no value: those of an image that are transparent, and the numbers
 * of a file that are none. */
void mask_add_missing(struct mask *mask, uint32_t y, const float *row);
/* The black ones of a picture: those whose value is 0. */
void mask_add_zeros(struct mask *mask, uint32_t y, const float *row);

/* After its bits were written from elsewhere: counts them, but for those beyond the width, which
 * are taken away. */
void mask_count_rows(struct mask *mask);

/* The next pixels of row `y`, from `first` on, that are left out: *first .. *end - 1. False: there
 * are no more. */
bool mask_next_run(const struct mask *mask, uint32_t y, uint32_t *first, uint32_t *end);
/* Takes the values of what is left out away: NaN, which normalise_apply passes over. */
void mask_apply(const struct mask *mask, float *pixels);

/* Pixels of a window, inside the image, that are left out. */
uint64_t mask_count(const struct mask *mask, const struct chip_rect *rect);
/* Whether so much of a window is left out that it is not analysed: more than half of it. */
bool mask_leaves_out(const struct mask *mask, const struct chip_rect *rect);
/* The same of all chips of a grid of this image: 1 for those that are not analysed, 0 for others,
 * in `out` (grid_n_chips). *n_left_out: how many these are. ERROR_NOMEM. */
int mask_chips(const struct mask *mask, const struct grid *grid, uint8_t *out, uint64_t *n_left_out,
               struct error *err);

#endif
