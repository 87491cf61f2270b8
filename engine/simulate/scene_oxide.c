/* Vacancy-ordered domains in a strontium ferrite film: oxygen-rich perovskite SrFeO3 beside
 * brownmillerite SrFeO2.5, in which layers of octahedra alternate with layers of tetrahedra that
 * lack every second oxygen, and an inclusion with too much strontium, the layered Sr2FeO4. The
 * order of the vacancies doubles the period and shows as stripes: the strontium planes on both
 * sides of a tetrahedral layer move apart and the iron in it is split. Brownmillerite has
 * translation domains half a period apart, with antiphase boundaries between them. The edge towards
 * the vacuum is amorphised by the ion beam. All have nearly the same mean brightness.
 *
 * SrFeO3: Pm-3m, a = 0.3851 nm (Hodges et al., J. Solid State Chem. 151, 190, 2000).
 * Sr2Fe2O5: a = 0.55298, b = 1.55875, c = 0.56687 nm (D'Hondt et al., Chem. Mater. 20, 7188, 2008);
 * along a pseudocubic axis the cell is sqrt(ac)/sqrt(2) = 0.3959 nm wide and b/2 = 0.77938 nm high.
 * In brownmillerites the large cation lies about 0.11 b from the octahedral plane (ideal 0.125),
 * the apical oxygen at 0.14 b, and the tetrahedral cation is displaced by about 0.07 a along its
 * chain (Colville and Geller, Acta Cryst. B 27, 2311, 1971, for Ca2FeAlO5); chains of both senses
 * under the probe put half of it on either side. Sr2FeO4: I4/mmm, K2NiF4 type, a = 0.3864, c
 * = 1.2397 nm (Dann, Weller, Currie, J. Solid State Chem. 92, 237, 1991); Sr at 0.357 c, apical O
 * at 0.158 c. Microscope as in scene_perovskite.c.
 */
#include <math.h>

#include "engine/simulate/scene_specimens.h"

enum { CLASS_AMORPHOUS, CLASS_PEROVSKITE, CLASS_BROWNMILLERITE, N_CLASSES };
enum { AMORPHOUS, PEROVSKITE, BROWNMILLERITE, ANTIPHASE, N_MATERIALS };

static const char *const class_names[N_CLASSES] = {"amorphous", "perovskite", "brownmillerite"};

#define SRFEO3_A     0.3851
#define BROWN_WIDTH  0.3959
#define BROWN_HEIGHT 0.77938
#define CHAIN_SHIFT  0.069 /* 0.07 x 0.553 nm / sqrt(2), as a fraction of the width */

static const struct site perovskite_sites[] = {
    {0.0, 0.0, 38, 1.0},                     /* Sr */
    {0.5, 0.5, 26, 1.0},                     /* Fe, and O behind it */
    {0.5, 0.5, 8, 1.0},  {0.5, 0.0, 8, 1.0}, /* O */
    {0.0, 0.5, 8, 1.0},
};
static const struct crystal perovskite = {SRFEO3_A, SRFEO3_A, SRFEO3_A, perovskite_sites, 5};

static const struct site brownmillerite_sites[] = {
    {0.5, 0.0, 26, 1.0}, /* the octahedral layer: Fe, O behind it, O beside it */
    {0.5, 0.0, 8, 1.0},
    {0.0, 0.0, 8, 1.0},
    {0.0, 0.22, 38, 1.0}, /* Sr */
    {0.0, 0.78, 38, 1.0},
    {0.5, 0.28, 8, 1.0}, /* apical O */
    {0.5, 0.72, 8, 1.0},
    {0.5 - CHAIN_SHIFT, 0.5, 26, 0.5}, /* the tetrahedral layer: split Fe, half of the O */
    {0.5 + CHAIN_SHIFT, 0.5, 26, 0.5},
    {0.5, 0.5, 8, 0.5},
    {0.0, 0.5, 8, 0.5},
};
static const struct crystal brownmillerite = {BROWN_WIDTH, BROWN_HEIGHT, BROWN_WIDTH,
                                              brownmillerite_sites, 11};

static const double AMORPHOUS_DENSITY = 0.93; /* of brownmillerite's */
static const double BORDER_ROUGHNESS = 0.2;   /* nm */
static const double EDGE_END = 0.19;          /* fraction of the height that is amorphous */

/* Domains are the cells of these seeds (Voronoi), as fractions of width and height. */
static const struct {
    uint8_t material;
    double x, y;
} seeds[] = {
    {BROWNMILLERITE, 0.12, 0.38}, {PEROVSKITE, 0.50, 0.38},     {ANTIPHASE, 0.88, 0.42},
    {PEROVSKITE, 0.10, 0.82},     {BROWNMILLERITE, 0.42, 0.84}, {ANTIPHASE, 0.72, 0.86},
};
enum { N_SEEDS = sizeof(seeds) / sizeof(*seeds) };

static void place_materials(struct specimen *specimen, struct random *random)
{
    struct material *m = specimen->materials;
    m[AMORPHOUS] =
        (struct material){.class_index = CLASS_AMORPHOUS,
                          .density = AMORPHOUS_DENSITY * specimen_crystal_density(&brownmillerite),
                          .speckle = 0.14};
    double x = BROWN_HEIGHT * random_uniform(random), y = BROWN_HEIGHT * random_uniform(random);
    m[PEROVSKITE] = (struct material){
        .class_index = CLASS_PEROVSKITE, .crystal = &perovskite, .origin_x = x, .origin_y = y};
    m[BROWNMILLERITE] = (struct material){.class_index = CLASS_BROWNMILLERITE,
                                          .crystal = &brownmillerite,
                                          .origin_x = x,
                                          .origin_y = y};
    m[ANTIPHASE] = m[BROWNMILLERITE];
    m[ANTIPHASE].origin_y += 0.5 * BROWN_HEIGHT;
}

static uint8_t nearest_seed(const double (*places)[2], double x, double y)
{
    double nearest = INFINITY;
    uint8_t material = 0;
    for (uint32_t i = 0; i < N_SEEDS; i++) {
        double dx = x - places[i][0], dy = y - places[i][1];
        double squared = dx * dx + dy * dy;
        if (squared < nearest) {
            nearest = squared;
            material = seeds[i].material;
        }
    }
    return material;
}

static int build(struct specimen *specimen, struct random *random, struct error *err)
{
    specimen->n_materials = N_MATERIALS;
    int rc = specimen_init(specimen, err);
    if (rc < 0)
        return rc;
    place_materials(specimen, random);
    double places[N_SEEDS][2];
    for (uint32_t i = 0; i < N_SEEDS; i++) {
        places[i][0] = seeds[i].x + 0.06 * (random_uniform(random) - 0.5);
        places[i][1] = seeds[i].y + 0.06 * (random_uniform(random) - 0.5);
    }
    struct wave edge, warp_x, warp_y;
    wave_draw(&edge, 0.012, random);
    wave_draw(&warp_x, 0.015, random);
    wave_draw(&warp_y, 0.015, random);
    for (uint32_t y = 0; y < specimen->height; y++) {
        double down = (double)y / specimen->height;
        double warped_x = wave_at(&warp_x, down);
        for (uint32_t x = 0; x < specimen->width; x++) {
            double across = (double)x / specimen->width;
            bool outside = down < EDGE_END + wave_at(&edge, across);
            specimen->regions[(size_t)y * specimen->width + x] =
                outside ? AMORPHOUS
                        : nearest_seed(places, across + warped_x, down + wave_at(&warp_y, across));
        }
    }
    rc = specimen_cover(specimen, BORDER_ROUGHNESS, err);
    if (rc < 0)
        specimen_clear(specimen);
    return rc;
}

const struct scene_recipe scene_ordered_oxide = {
    .name = "ordered-oxide",
    .description = "Vacancy-ordered brownmillerite SrFeO2.5 with antiphase boundaries, beside "
                   "perovskite SrFeO3 and an amorphous edge.",
    .width = 1536,
    .height = 1536,
    .chip = 96,
    .pixel_size = 0.016,
    .n_classes = N_CLASSES,
    .class_names = class_names,
    .imaging = {.probe_fwhm = 0.105,
                .tail_share = 0.5,
                .tail_sigma = 0.16,
                .electrons = 20.0,
                .reference = 13500.0, /* SrFeO2.5: 1,649 in 0.1222 nm^3 */
                .displacement = 0.004,
                .occupancy = 0.04,
                .jitter_x = 0.5,
                .jitter_y = 0.25,
                .drift_x = -4.0,
                .drift_y = 3.0,
                .wedge = 0.12,
                .damage = 0.05,
                .gain = 400.0,
                .offset = 1500.0,
                .read_noise = 250.0},
    .build = build,
};
