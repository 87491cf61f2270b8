/* From feature maps to the vectors of windows.
 *
 * Of each pooled stage a window gets the mean and the standard deviation of every channel over the
 * positions it sees, each weighed by the share of the window that lies in its cell (geometry.h):
 * exact for windows that begin anywhere. Sums are in double precision, row by row from the top,
 * within a row from the left: first w v and w v^2 are added over all positions, w the product of
 * the weights of row and column, then the deviation is the root of the mean square less the
 * squared mean. So a window's bytes depend on its maps alone.
 */
#ifndef CHIPSHOT_ENGINE_DENSE_WINDOWS_H
#define CHIPSHOT_ENGINE_DENSE_WINDOWS_H

#include "engine/dense/maps.h"

/* The embedding (encoder_info's dimension floats, laid out as encoder_embed does) of the window of
 * the chip's size whose corner is pixel (x, y) of the image. What it sees is in memory. */
void dense_pool_window(const struct dense_maps *maps, const struct encoder_info *info, uint32_t x,
                       uint32_t y, float *out);

#endif
