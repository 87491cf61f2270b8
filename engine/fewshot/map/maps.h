/* Maps of a result as pictures, of the map of fine_map.h: one pixel a cell, or laid over the image
 * (laid.h), up to its own size. What stops their making stops them. Rows are compressed as they are
 * made. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_MAPS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_MAPS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"
#include "engine/image/png_write.h"

enum { MAPS_SIZE_OF_IMAGE = INT32_MAX }; /* as `max_side`: not made smaller */

/* Of a label that is no class (laid.h): light grey undecided, grey unknown, black not analysed. */
struct rgb maps_no_class_color(uint8_t label);

/* Indexed PNG, one pixel a cell, palette = class colours (n_classes, borrowed); 253 is undecided,
 * 254 unknown, 255 not analysed. */
int maps_labels(const struct fine_source *source, const struct rgb *colors, struct png_bytes *out,
                struct error *err);
/* The same laid over the image, of the size that preview_size gives for max_side; 255 also where no
 * window covers the image. */
int maps_labels_laid(const struct fine_source *source, const struct rgb *colors, uint32_t max_side,
                     struct png_bytes *out, struct error *err);

/* 8-bit grey PNG, one pixel a cell: the probability of one class, 0..255. */
int maps_probability(const struct fine_source *source, uint32_t class_index, struct png_bytes *out,
                     struct error *err);
/* The same laid over the image; 0 where there is none. */
int maps_probability_laid(const struct fine_source *source, uint32_t class_index, uint32_t max_side,
                          struct png_bytes *out, struct error *err);

#endif
