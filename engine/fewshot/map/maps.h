/* Pictures of a result: label map, overlay and probability maps, each of the map of fine_map.h,
 * with one label a cell. What stops its making stops theirs. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_MAPS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_MAPS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"
#include "engine/image/png_write.h"

/* Colour of class `index` when the user chose none: a colour-blind-safe qualitative palette (Okabe
 * and Ito 2008) first, then further distinct hues. */
struct rgb maps_default_color(uint32_t index);

/* Indexed PNG, one pixel a cell, palette = class colours (n_classes, borrowed); 253 (light
 * grey) is undecided, 254 (grey) unknown, 255 (black) not analysed. */
int maps_labels(const struct fine_source *source, const struct rgb *colors, struct png_bytes *out,
                struct error *err);

/* The same laid over the image, of the size that preview_size gives for max_side: each pixel has
 * the label of the cell that covers its centre, 255 where there is none. */
int maps_labels_laid(const struct fine_source *source, const struct rgb *colors, uint32_t max_side,
                     struct png_bytes *out, struct error *err);

/* 8-bit grey PNG, one pixel a cell: the probability of one class, 0..255. */
int maps_probability(const struct fine_source *source, uint32_t class_index, struct png_bytes *out,
                     struct error *err);

/* The labels as maps_labels_laid lays them, blended (opacity 0.4) over the normalised image: `grey`
 * is its preview, borrowed, of the same size. A pixel that no cell covers keeps its grey, and so
 * does one that was not analysed. */
int maps_overlay(const struct fine_source *source, const uint8_t *grey, const struct rgb *colors,
                 uint32_t max_side, struct png_bytes *out, struct error *err);

#endif
