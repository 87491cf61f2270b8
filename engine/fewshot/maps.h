/* Pictures of a result: label map, overlay and probability maps. `labels` are those of labels.h;
 * ERROR_INVALID: another one. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAPS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAPS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/image/chip_grid.h"
#include "engine/image/png_write.h"

/* Colour of class `index` when the user chose none: a colour-blind-safe qualitative palette (Okabe
 * and Ito 2008) first, then further distinct hues. */
struct rgb maps_default_color(uint32_t index);

/* Indexed PNG, one pixel a chip, palette = class colours; 254 (grey) is unknown, 255 (black) not
 * analysed. */
int maps_labels(const struct grid *grid, const uint16_t *labels, const struct rgb *colors,
                uint32_t n_classes, struct png_bytes *out, struct error *err);

/* 8-bit grey PNG, one pixel a chip: the probability of one class, 0..255. */
int maps_probability(const struct grid *grid, const float *probabilities, uint32_t n_classes,
                     uint32_t class_index, struct png_bytes *out, struct error *err);

/* The labels blended (opacity 0.4) over the normalised image: `grey` is its preview, borrowed, of
 * the size that preview_size gives for max_side. Each pixel takes the label of the chip whose
 * centre is nearest among those that cover it; a pixel that no chip covers keeps its grey, and so
 * does one that was not analysed. */
int maps_overlay(const struct grid *grid, const uint8_t *grey, const uint16_t *labels,
                 const struct rgb *colors, uint32_t n_classes, uint32_t max_side,
                 struct png_bytes *out, struct error *err);

#endif
