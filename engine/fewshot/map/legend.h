/* The stamps of an overlay: which colour is which class, and how long something is. Sizes follow
 * the picture's. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_LEGEND_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_LEGEND_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/stamp.h"

struct legend_entry {
    const char *name; /* borrowed; cut where it is long */
    uint8_t ink;
};

/* In the upper left corner of a width x height picture: a swatch and a name a line, as many as fit;
 * then how many more there are. No stamp where there is no room. ERROR_NOMEM. */
int legend_draw(const struct legend_entry *entries, uint32_t n, uint32_t width, uint32_t height,
                struct stamp *out, struct error *err);

/* In the lower right corner: a bar of 1, 2 or 5 times a power of ten, at most a quarter of the
 * picture long, and its length above it, in pm, nm, um or mm. `pixel_nm`: of the picture's pixel
 * along a row. No stamp where there is no room. ERROR_NOMEM. */
int legend_draw_scale(double pixel_nm, uint32_t width, uint32_t height, struct stamp *out,
                      struct error *err);

#endif
