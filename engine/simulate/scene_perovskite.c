/* A strontium titanate film on germanium (001) in cross section, as in the micrographs of epitaxial
 * oxides on semiconductors: the film along [100], the substrate along [110], where the diamond
 * structure shows dumbbells. Above the film a protective layer of amorphous germanium, which is as
 * bright as the substrate but has no lattice, then the carbon of the specimen's preparation. The
 * film has an antiphase boundary where the substrate has a step of a quarter of its cell.
 *
 * SrTiO3: Pm-3m, a = 0.3905 nm. Ge: Fd-3m, a = 0.5658 nm (CRC Handbook of Chemistry and Physics).
 * Misfit strain is left out: each crystal has its bulk lattice. Amorphous germanium is a few
 * percent less dense than the crystal; amorphous carbon has 2.0 g/cm^3, 100 atoms/nm^3.
 * Microscope: aberration-corrected, 200 kV. The core of the image of a column is 0.105 nm wide: a
 * probe of 0.08 nm with source size, thermal vibration and residual aberrations added in
 * quadrature. Half of the intensity lies in the tails, which gives the contrast between columns and
 * gaps that such micrographs show. 10 pA and 8 us a pixel are 500 electrons, of which a lamella of
 * 20 nm scatters about 4 percent onto a HAADF detector: 20.
 */
#include <math.h>

#include "engine/simulate/scene_specimens.h"
#include "engine/simulate/wave.h"

enum { CLASS_CARBON, CLASS_CAP, CLASS_FILM, CLASS_SUBSTRATE, N_CLASSES };
enum { CARBON, CAP, FILM_LEFT, FILM_RIGHT, SUBSTRATE, N_MATERIALS };

static const char *const class_names[N_CLASSES] = {[CLASS_CARBON] = "carbon",
                                                   [CLASS_CAP] = "amorphous-germanium",
                                                   [CLASS_FILM] = "film",
                                                   [CLASS_SUBSTRATE] = "substrate"};

#define SRTIO3_A    0.3905
#define GERMANIUM_A 0.5658

static const struct site srtio3_sites[] = {
    {0.0, 0.0, 38, 1.0},                     /* Sr */
    {0.5, 0.5, 22, 1.0},                     /* Ti, and O behind it */
    {0.5, 0.5, 8, 1.0},  {0.5, 0.0, 8, 1.0}, /* O */
    {0.0, 0.5, 8, 1.0},
};
static const struct crystal srtio3 = {SRTIO3_A, SRTIO3_A, SRTIO3_A, srtio3_sites, 5};

/* Along [110] the cell is a / sqrt(2) wide, a high, and repeats every a / sqrt(2). */
static const struct site germanium_sites[] = {
    {0.0, 0.0, 32, 1.0}, {0.0, 0.25, 32, 1.0}, {0.5, 0.5, 32, 1.0}, {0.5, 0.75, 32, 1.0}};
static const struct crystal germanium = {GERMANIUM_A * 0.70710678118654752, GERMANIUM_A,
                                         GERMANIUM_A * 0.70710678118654752, germanium_sites, 4};

static const double CARBON_ATOMS_PER_NM3 = 100.0;
static const double AMORPHOUS_GERMANIUM_DENSITY = 0.95; /* of the crystal's */
static const double BORDER_ROUGHNESS = 0.15;            /* nm */

/* Borders as fractions of the height. */
static const double CARBON_END = 0.18, CAP_END = 0.375, FILM_END = 0.665;
static const double ANTIPHASE_AT = 0.62; /* fraction of the width */

static void place_materials(struct specimen *specimen, struct random *random)
{
    double interface = FILM_END * specimen->height * specimen->pixel_size;
    double film_x = SRTIO3_A * random_uniform(random);
    struct material *m = specimen->materials;
    m[CARBON] = (struct material){.class_index = CLASS_CARBON,
                                  .density = CARBON_ATOMS_PER_NM3 * specimen_scattering(6),
                                  .speckle = 0.12};
    m[CAP] = (struct material){.class_index = CLASS_CAP,
                               .density = AMORPHOUS_GERMANIUM_DENSITY *
                                          specimen_crystal_density(&germanium),
                               .speckle = 0.14};
    /* The lattices start at the interface and are continued upwards by whole cells. */
    double film_y = fmod(interface - 0.2, SRTIO3_A);
    m[FILM_LEFT] = (struct material){
        .class_index = CLASS_FILM, .crystal = &srtio3, .origin_x = film_x, .origin_y = film_y};
    m[FILM_RIGHT] = m[FILM_LEFT];
    m[FILM_RIGHT].origin_y += 0.25 * GERMANIUM_A;
    m[SUBSTRATE] = (struct material){.class_index = CLASS_SUBSTRATE,
                                     .crystal = &germanium,
                                     .origin_x = germanium.width * random_uniform(random),
                                     .origin_y = fmod(interface, GERMANIUM_A)};
}

static int build(struct specimen *specimen, struct random *random, struct error *err)
{
    specimen->n_materials = N_MATERIALS;
    int rc = specimen_init(specimen, err);
    if (rc < 0)
        return rc;
    place_materials(specimen, random);
    struct wave carbon, cap, interface, antiphase;
    wave_draw(&carbon, 0.02, random);
    wave_draw(&cap, 0.008, random);
    wave_draw(&interface, 0.002, random);
    wave_draw(&antiphase, 0.015, random);
    for (uint32_t y = 0; y < specimen->height; y++) {
        double down = (double)y / specimen->height;
        double boundary = ANTIPHASE_AT + wave_at(&antiphase, down);
        for (uint32_t x = 0; x < specimen->width; x++) {
            double across = (double)x / specimen->width;
            uint8_t *region = &specimen->regions[(size_t)y * specimen->width + x];
            if (down < CARBON_END + wave_at(&carbon, across))
                *region = CARBON;
            else if (down < CAP_END + wave_at(&cap, across))
                *region = CAP;
            else if (down < FILM_END + wave_at(&interface, across))
                *region = across < boundary ? FILM_LEFT : FILM_RIGHT;
            else
                *region = SUBSTRATE;
        }
    }
    rc = specimen_cover(specimen, BORDER_ROUGHNESS, err);
    if (rc < 0)
        specimen_clear(specimen);
    return rc;
}

const struct scene_recipe scene_perovskite_on_diamond = {
    .name = "perovskite-on-diamond",
    .description =
        "A SrTiO3 film along [100] on a germanium substrate along [110], under amorphous "
        "germanium and carbon.",
    .width = 1280,
    .height = 1280,
    .chip = 80,
    .pixel_size = 0.015,
    .n_classes = N_CLASSES,
    .class_names = class_names,
    .imaging = {.probe_fwhm = 0.105,
                .tail_share = 0.5,
                .tail_sigma = 0.16,
                .electrons = 20.0,
                .reference = 13000.0, /* SrTiO3: 779 in 0.0595 nm^3 */
                .displacement = 0.004,
                .occupancy = 0.04,
                .jitter_x = 0.5,
                .jitter_y = 0.25,
                .drift_x = 5.0,
                .drift_y = -3.0,
                .wedge = 0.12,
                .damage = 0.05,
                .gain = 400.0,
                .offset = 1500.0,
                .read_noise = 250.0},
    .build = build,
};
