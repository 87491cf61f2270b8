/* Synthetic atomic-resolution STEM images with known truth per chip, by incoherent imaging:
 * projected columns with Z^1.7 contrast (Pennycook and Jesson 1991; Krivanek et al. 2010) convolved
 * with a probe, then scan jitter, drift and Poisson noise. Deterministic by seed. */
#ifndef CHIPSHOT_ENGINE_SIMULATE_SCENE_H
#define CHIPSHOT_ENGINE_SIMULATE_SCENE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct scene_example {
    uint32_t class_index;
    uint32_t x, y;
};

struct scene {
    const char *name;
    uint32_t width, height;
    double pixel_size_nm;
    uint16_t *pixels; /* height x width; owned */
    uint32_t chip;    /* chip side in pixels: truth is given on the grid of this size and stride */
    uint32_t rows, columns;
    uint32_t n_classes;
    const char *const *class_names; /* n_classes; static */
    uint16_t *truth;                /* rows x columns: class index, or SCENE_MIXED; owned */
    uint8_t *pixel_truth;           /* height x width: class index; owned */
    struct scene_example *examples; /* five a class, on the grid; owned */
    uint32_t n_examples;
};

/* A chip that holds a boundary between classes, or between two domains of one class: not scored. A
 * chip counts as pure when one region covers at least 95 percent of it. */
enum { SCENE_MIXED = 65535 };

/* Names of the scenes that can be drawn, NULL-terminated. */
const char *const *scene_names(void);
/* One sentence of what a scene shows, NULL for an unknown name. */
const char *scene_description(const char *name);

struct scene_params {
    uint64_t seed;
    /* Electrons detected a pixel where the scattering is the scene's reference (about that of its
     * crystal); 0 means the scene's own. The gain stays the scene's while the detector has room and
     * falls with the dose beyond, as an operator would turn it; the dark level and the read noise
     * stay. One seed has the same specimen at every dose. */
    double dose;
};

#define SCENE_DOSE_MIN 1e-3
#define SCENE_DOSE_MAX 1e5

/* ERROR_NOT_FOUND: no such scene; the message lists the names. ERROR_INVALID: a dose outside
 * SCENE_DOSE_MIN..MAX. ERROR_NOMEM. */
int scene_draw(const char *name, const struct scene_params *params, struct scene *out,
               struct error *err);
void scene_clear(struct scene *scene);

#endif
