/* What stands on a picture beside what it shows: a legend, a scale bar. Pixels are inks: the label
 * of a class or of none (laid.h), whose colour is meant, or one of those below. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_STAMP_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_STAMP_H

#include <stdint.h>

#include "base/error.h"

enum { STAMP_PAPER = 250, STAMP_TEXT = 251 };

struct stamp {
    uint32_t x, y; /* its upper left corner on the picture */
    uint32_t width, height;
    uint8_t *inks; /* height x width; owned. NULL: there is no stamp */
};

/* All paper. ERROR_NOMEM. */
int stamp_init(struct stamp *out, uint32_t width, uint32_t height, struct error *err);
void stamp_clear(struct stamp *stamp);

/* Fills a rectangle; what goes beyond the stamp is left out. */
void stamp_fill(const struct stamp *stamp, uint32_t x, uint32_t y, uint32_t width, uint32_t height,
                uint8_t ink);

#endif
