/* Where the examples of a support set lie: chips that stand in it twice, and chips that overlap. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_HELP_EXAMPLE_PLACES_H
#define CHIPSHOT_ENGINE_FEWSHOT_HELP_EXAMPLE_PLACES_H

#include <stdint.h>

struct example_place {
    const char *image_id; /* borrowed */
    uint32_t x, y;        /* top left corner in pixels */
    uint32_t class_index;
    uint32_t index; /* among the examples of its class, as the client numbers them */
};

/* Two examples; `first` comes first in the support set. */
typedef void (*example_pair_visit)(void *context, const struct example_place *first,
                                   const struct example_place *second);

/* Calls `visit` for each example that is the same chip as an earlier one, with the first of them.
 * Sorts `places` (n of them) by image, y and x. */
void example_places_visit_repeats(struct example_place *places, uint32_t n,
                                  example_pair_visit visit, void *context);

/* Calls `visit` for pairs of examples that share more than `share` of a chip's area (0..1), and
 * not all of it; `n_max` pairs at most, by image, y and x. Sorts `places` likewise. Returns how
 * many pairs were visited. */
uint32_t example_places_visit_overlaps(struct example_place *places, uint32_t n,
                                       uint32_t chip_width, uint32_t chip_height, double share,
                                       uint32_t n_max, example_pair_visit visit, void *context);

#endif
