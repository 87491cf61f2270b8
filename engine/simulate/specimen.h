/* What lies under the probe: materials, and which pixel belongs to which. Internal to
 * engine/simulate.
 *
 * Lengths are nanometres, x to the right and y down, from the image's top left corner. Scattering
 * is in units of Z^1.7 per nanometre along the beam.
 */
#ifndef CHIPSHOT_ENGINE_SIMULATE_SPECIMEN_H
#define CHIPSHOT_ENGINE_SIMULATE_SPECIMEN_H

#include <stdint.h>

#include "base/error.h"

enum { SPECIMEN_MATERIALS_MAX = 8 };

/* One element of a column. */
struct site {
    double u, v;  /* place in the cell, fractions of its two edges */
    uint32_t z;   /* atomic number */
    double atoms; /* per repeat along the beam */
};

/* A crystal seen along a zone axis: a rectangular cell of columns. */
struct crystal {
    double width, height; /* of the cell */
    double repeat;        /* along the beam */
    const struct site *sites;
    uint32_t n_sites;
};

struct material {
    uint32_t class_index;
    const struct crystal *crystal; /* NULL: amorphous */
    double origin_x, origin_y;     /* of the lattice */
    double density;                /* amorphous: sum of Z^1.7 per nm^3 */
    double speckle;                /* amorphous: relative standard deviation */
};

struct specimen {
    uint32_t width, height; /* pixels */
    double pixel_size;      /* nm */
    uint32_t n_materials;
    struct material materials[SPECIMEN_MATERIALS_MAX];
    uint8_t *regions; /* height x width: index of a material; owned */
    /* Coverage: regions blurred by the roughness of their borders along the beam, sampled coarsely.
     * n_materials planes of coarse_height x coarse_width; owned. */
    uint32_t coarse_width, coarse_height;
    float *coverage;
};

/* Scattering of an element relative to a free electron's: Z^1.7 (Krivanek et al., Nature 464, 571,
 * 2010, measured 1.64 for medium-angle ADF; 1.7 is usual for HAADF, Pennycook and Nellist 2011). */
double specimen_scattering(uint32_t z);

/* Mean scattering of a crystal per nm^3, what an amorphous layer of the same composition has too.
 */
double specimen_crystal_density(const struct crystal *crystal);

/* Allocates the region map of a specimen with its sizes and materials filled in. ERROR_NOMEM. */
int specimen_init(struct specimen *specimen, struct error *err);
void specimen_clear(struct specimen *specimen);

/* Derives the coverage from the region map; `roughness` is a standard deviation in nm. */
int specimen_cover(struct specimen *specimen, double roughness, struct error *err);

/* Share 0..1 of a material at a place in pixels, interpolated. */
double specimen_coverage(const struct specimen *specimen, uint32_t material, double x, double y);

#endif
