/* The specimens of the scenes. Internal to engine/simulate. */
#ifndef CHIPSHOT_ENGINE_SIMULATE_SCENE_SPECIMENS_H
#define CHIPSHOT_ENGINE_SIMULATE_SCENE_SPECIMENS_H

#include <stdint.h>

#include "base/error.h"
#include "engine/random.h"
#include "engine/simulate/imaging.h"
#include "engine/simulate/specimen.h"

struct scene_recipe {
    const char *name;
    const char *description;
    uint32_t width, height; /* pixels */
    uint32_t chip;          /* pixels */
    double pixel_size;      /* nm */
    uint32_t n_classes;
    const char *const *class_names;
    struct imaging_params imaging;
    /* Fills in the materials, allocates the specimen and lays out its regions. */
    int (*build)(struct specimen *specimen, struct random *random, struct error *err);
};

extern const struct scene_recipe scene_perovskite_on_diamond;
extern const struct scene_recipe scene_ordered_oxide;

#endif
