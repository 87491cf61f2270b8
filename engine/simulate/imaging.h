/* From a specimen to the counts of a HAADF detector. Internal to engine/simulate. */
#ifndef CHIPSHOT_ENGINE_SIMULATE_IMAGING_H
#define CHIPSHOT_ENGINE_SIMULATE_IMAGING_H

#include <stdint.h>

#include "base/error.h"
#include "engine/random.h"
#include "engine/simulate/specimen.h"

struct imaging_params {
    double probe_fwhm;   /* nm; the core of the probe with source size and thermal vibration */
    double tail_share;   /* of the intensity, in the probe's tails and in beam spreading */
    double tail_sigma;   /* nm */
    double electrons;    /* detected a pixel where the scattering is `reference` per nm^3 */
    double reference;    /* Z^1.7 per nm^3 */
    double displacement; /* static displacement of columns, rms, nm an axis */
    double occupancy;    /* relative rms of the columns' brightness */
    double jitter_x;     /* scan error of a row along and across the fast direction, rms, pixels */
    double jitter_y;
    double drift_x; /* of the specimen during the scan, pixels from first to last row */
    double drift_y;
    double wedge;      /* relative change of the thickness across the image */
    double damage;     /* relative rms of the speckle of the amorphous layers on both faces */
    double gain;       /* 16-bit values an electron */
    double offset;     /* the detector's dark level, 16-bit values */
    double read_noise; /* rms, 16-bit values */
};

/* Records the image: `pixels` holds height x width. ERROR_NOMEM. */
int imaging_record(const struct specimen *specimen, const struct imaging_params *params,
                   struct random *random, uint16_t *pixels, struct error *err);

#endif
