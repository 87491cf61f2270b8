#include "engine/simulate/wave.h"

#include <math.h>

void wave_draw(struct wave *wave, double amplitude, struct random *random)
{
    wave->amplitude = amplitude;
    for (int k = 0; k < 4; k++)
        wave->phases[k] = 2.0 * M_PI * random_uniform(random);
}

double wave_at(const struct wave *wave, double position)
{
    double sum = 0.0;
    for (int k = 0; k < 4; k++)
        sum += sin(2.0 * M_PI * (k + 1) * position + wave->phases[k]) / (k + 1);
    return wave->amplitude * sum;
}
