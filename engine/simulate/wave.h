/* Smooth random curves, which the scenes' boundaries follow. Internal to engine/simulate. */
#ifndef CHIPSHOT_ENGINE_SIMULATE_WAVE_H
#define CHIPSHOT_ENGINE_SIMULATE_WAVE_H

#include "engine/random.h"

/* A smooth closed curve's height over 0..1: `amplitude` times a sum of four harmonics. */
struct wave {
    double amplitude;
    double phases[4];
};

void wave_draw(struct wave *wave, double amplitude, struct random *random);
double wave_at(const struct wave *wave, double position);

#endif
