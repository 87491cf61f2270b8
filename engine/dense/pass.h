/* An image at one input size on its way through the network: its tiles and the maps they give. No
 * lock; whoever shares a pass guards it. */
#ifndef CHIPSHOT_ENGINE_DENSE_PASS_H
#define CHIPSHOT_ENGINE_DENSE_PASS_H

#include <stdbool.h>

#include "engine/dense/maps.h"

/* Bytes of a ring. It grows with the image's scaled width: an image of the width and chips of the
 * size that requests may ask for would take more than any machine has. */
#define PASS_RING_SIZE_MAX (UINT64_C(2) << 30)

enum { PASS_TILES_MAX = 1 << 20 };

struct pass {
    struct dense_geometry geometry;
    struct dense_maps *maps;
    struct dense_maps own; /* where maps points when nobody wants them afterwards */
    uint32_t n_tiles;      /* of the maps, numbered row by row */
    uint32_t *n_left;      /* of each row of tiles: those that are not done */
    uint32_t n_rows_done;  /* rows of tiles, from the first */
};

/* Windows of an image, all of the chip's size. */
struct pass_windows {
    const struct chip_rect *rects;
    uint32_t n;
};

/* The tiles that windows see. */
struct dense_tiles pass_tiles_of(const struct dense_geometry *geometry,
                                 const struct pass_windows *windows);

/* `geometry` is filled in. Maps of more than `max_size` bytes lie in a ring: of two rows of tiles
 * and what windows between them see. `kept`: where maps go that are in memory as a whole; NULL:
 * nowhere. ERROR_INVALID: the ring would be larger than PASS_RING_SIZE_MAX, or there are more
 * than PASS_TILES_MAX tiles. ERROR_NOMEM. To be
 * cleared also after a failure. */
int pass_init(struct pass *pass, const struct encoder_info *info, const struct dense_tiles *tiles,
              uint64_t max_size, struct dense_maps *kept, struct error *err);
/* With maps that need no tiles any more. */
void pass_adopt(struct pass *pass, struct dense_maps *maps);
void pass_clear(struct pass *pass);

uint32_t pass_tile_columns(const struct pass *pass);
/* The row and column of tile `tile` among all of the image. */
uint32_t pass_tile_row(const struct pass *pass, uint32_t tile);
uint32_t pass_tile_column(const struct pass *pass, uint32_t tile);
void pass_count_tile(struct pass *pass, uint32_t tile);

/* Whether all is there that a window sees which begins at this row of pixels. */
bool pass_window_is_ready(const struct pass *pass, uint32_t y);
/* Whether the pixels of a tile are there, and room for its maps: windows that are still to be
 * pooled see no strip before `first_needed`, and tiles that are being encoded write none there. */
bool pass_tile_is_ready(const struct pass *pass, uint32_t tile, uint32_t n_rows,
                        uint32_t first_needed);
/* Whether an unfinished tile is made of a row of pixels above this one. */
bool pass_needs_rows(const struct pass *pass, uint32_t first_row);

#endif
