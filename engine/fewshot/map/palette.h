/* Colours of classes for which the user chose none: by their names, so that a class looks alike in
 * each support set, wherever it stands. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_PALETTE_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_PALETTE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/image/png_write.h"

/* The default colours, of which the first eight are told apart on any micrograph and by
 * colour-blind eyes, the others less and less. */
struct rgb palette_color(uint32_t index);

/* Gives a colour to each of n classes (at most CLASSIFIER_CLASSES_MAX; their names differ) that has
 * none, and sets has_color. The choice depends on the set of names and on the colours that are
 * there, not on the order. Where two names want the same one, the same of the two gives way in each
 * set: it alone may change when the other comes or goes. */
void palette_assign(const char *const *names, uint32_t n, bool *has_color, struct rgb *colors);

#endif
