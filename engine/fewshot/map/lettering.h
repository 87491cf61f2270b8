/* Text in a built-in font, for what stands on pictures: ASCII, the micro sign, the Greek letters
 * that phases are named by, primes, and subscripts as digits; a character that it does not have is
 * an empty box. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_LETTERING_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_LETTERING_H

#include <stdint.h>

#include "engine/fewshot/map/stamp.h"

enum { LETTERING_WIDTH = 6 /* from letter to letter */, LETTERING_HEIGHT = 7 }; /* at scale 1 */

/* Characters of a text in UTF-8, each of which is as wide as the others. */
uint32_t lettering_count(const char *text);

/* Its first n_max characters, from x, y to the right, each dot scale x scale pixels. What goes
 * beyond the stamp is left out. */
void lettering_draw(const struct stamp *stamp, const char *text, uint32_t n_max, uint32_t x,
                    uint32_t y, uint32_t scale);

#endif
