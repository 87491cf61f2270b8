/* From feature maps to the vectors of windows.
 *
 * Of each pooled stage a window gets the mean and the standard deviation of every channel over the
 * positions it sees, each weighed by the share of the window that lies in its cell (geometry.h):
 * exact for windows that begin anywhere. Sums are in double precision: of each column of positions,
 * from the top, w v and w v^2 with the weights of the rows, then over the columns, from the left,
 * what these sums give with the weights of the columns. The deviation is the root of the mean
 * square less the squared mean. So a window's bytes depend on its maps alone.
 */
#ifndef CHIPSHOT_ENGINE_DENSE_WINDOWS_H
#define CHIPSHOT_ENGINE_DENSE_WINDOWS_H

#include "engine/dense/maps.h"

/* The embeddings (encoder_info's dimension floats, laid out as encoder_embed does, `row_floats`
 * apart) of n windows of the chip's size; of `rects` the corners count. What they see is in memory.
 * Windows of a row that overlap and are given from the left share much of the work. */
void dense_pool_windows(const struct dense_maps *maps, const struct encoder_info *info,
                        const struct chip_rect *rects, uint32_t n, size_t row_floats, float *out);

#endif
