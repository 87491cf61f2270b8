/* The map of a result (fine_map.h) laid over its image, or over a smaller picture of it, row by row
 * of the picture; in memory are two rows of cells.
 *
 * A pixel has the cell that covers its centre. Where that cell has a class, the pixel takes, of the
 * classes of the four cells around it, the one with the highest probability, which is interpolated
 * bilinearly between the cells' centres; of equal ones the lower index. So borders run between the
 * centres and not along the cells' edges, and a cell's centre has the cell's label. Cells without a
 * class keep the pixels that they cover, and lend theirs to no other. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_LAID_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_LAID_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"

/* The low bytes of labels that are no class; below are the classes. */
enum { LAID_UNDECIDED = 253, LAID_UNKNOWN = 254, LAID_NONE = 255 /* not analysed, not covered */ };

/* Takes row `y` of the picture, a byte a pixel; the rows come in order. Borrowed for the call. An
 * error ends the visit. */
typedef int (*laid_take)(void *context, uint32_t y, const uint8_t *pixels, struct error *err);

/* width x height: of the picture. Labels: a class, or one of the above. Errors as of
 * fine_map_visit_cells, and what `take` gave; a cancelled source is noticed at each row. */
int laid_visit_labels(const struct fine_source *source, uint32_t width, uint32_t height,
                      laid_take take, void *context, struct error *err);
/* The probability of one class, 0..255, interpolated likewise between the cells that were analysed;
 * 0 where there is none. */
int laid_visit_probability(const struct fine_source *source, uint32_t class_index, uint32_t width,
                           uint32_t height, laid_take take, void *context, struct error *err);

#endif
