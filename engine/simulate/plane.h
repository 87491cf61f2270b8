/* Gaussian blur of a plane, for probe tails, speckle and rough borders. Internal to
 * engine/simulate. */
#ifndef CHIPSHOT_ENGINE_SIMULATE_PLANE_H
#define CHIPSHOT_ENGINE_SIMULATE_PLANE_H

#include <stdint.h>

#include "base/error.h"

/* Blurs height x width values in place by a Gaussian of `sigma` pixels cut at three of them; beyond
 * the border the plane goes on with its border values. ERROR_NOMEM. */
int plane_blur(float *plane, uint32_t width, uint32_t height, double sigma, struct error *err);

#endif
