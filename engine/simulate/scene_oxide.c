/* Ordered vacancies in lithium lanthanum titanate, the solid electrolyte: a perovskite with
 * lanthanum on little more than half of its A sites. Where they are ordered, layers rich in
 * lanthanum alternate with poor ones, which doubles the period; where they are not, all A columns
 * are alike and the mean brightness is the same. The ordered crystal has domains that share one
 * lattice: stripes one layer apart meet at antiphase boundaries, stripes that turn by 90 degrees
 * are a class of their own. The edge towards the vacuum is amorphised by the ion beam and is nearly
 * as bright.
 *
 * La0.567Li0.3TiO3: a = 0.548027 nm / sqrt(2), c = 0.775591 nm (Sommariva and Catti, Chem. Mater.
 * 18, 2411, 2006); domains and their boundaries: Moriwake et al., J. Power Sources 276, 203, 2015.
 * The shares of lanthanum in rich and poor layers are this scene's choice within the composition.
 * Lithium (Z = 3) scatters too little to be drawn; the tilts of the octahedra are left out.
 * Microscope as in scene_perovskite.c.
 */
#include <math.h>
#include <stdbool.h>

#include "engine/simulate/scene_specimens.h"
#include "engine/simulate/wave.h"

enum { CLASS_AMORPHOUS, CLASS_DISORDERED, CLASS_HORIZONTAL, CLASS_VERTICAL, N_CLASSES };
enum { AMORPHOUS, DISORDERED, HORIZONTAL, ANTIPHASE, VERTICAL, N_MATERIALS };

static const char *const class_names[N_CLASSES] = {[CLASS_AMORPHOUS] = "amorphous",
                                                   [CLASS_DISORDERED] = "disordered",
                                                   [CLASS_HORIZONTAL] = "ordered-horizontal",
                                                   [CLASS_VERTICAL] = "ordered-vertical"};

#define LLTO_A  0.38751
#define LLTO_C  0.775591
#define LA_MEAN 0.567
#define LA_RICH 0.90
#define LA_POOR (2.0 * LA_MEAN - LA_RICH)

/* Two cells of the perovskite, one above the other. */
static const struct site horizontal_sites[] = {
    {0.0, 0.00, 57, LA_RICH}, {0.0, 0.50, 57, LA_POOR},
    {0.5, 0.25, 22, 1.0},     {0.5, 0.75, 22, 1.0}, /* Ti, and O behind it */
    {0.5, 0.25, 8, 1.0},      {0.5, 0.75, 8, 1.0},
    {0.0, 0.25, 8, 1.0},      {0.0, 0.75, 8, 1.0}, /* O */
    {0.5, 0.00, 8, 1.0},      {0.5, 0.50, 8, 1.0},
};
static const struct crystal horizontal = {LLTO_A, LLTO_C, LLTO_A, horizontal_sites, 10};

static const struct site vertical_sites[] = {
    {0.00, 0.0, 57, LA_RICH}, {0.50, 0.0, 57, LA_POOR}, {0.25, 0.5, 22, 1.0}, {0.75, 0.5, 22, 1.0},
    {0.25, 0.5, 8, 1.0},      {0.75, 0.5, 8, 1.0},      {0.25, 0.0, 8, 1.0},  {0.75, 0.0, 8, 1.0},
    {0.00, 0.5, 8, 1.0},      {0.50, 0.5, 8, 1.0},
};
static const struct crystal vertical = {LLTO_C, LLTO_A, LLTO_A, vertical_sites, 10};

static const struct site disordered_sites[] = {
    {0.0, 0.0, 57, LA_MEAN}, {0.5, 0.5, 22, 1.0}, {0.5, 0.5, 8, 1.0},
    {0.5, 0.0, 8, 1.0},      {0.0, 0.5, 8, 1.0},
};
static const struct crystal disordered = {LLTO_A, 0.5 * LLTO_C, LLTO_A, disordered_sites, 5};

static const double AMORPHOUS_DENSITY = 0.96; /* of the crystal's */
static const double BORDER_ROUGHNESS = 0.2;   /* nm */
static const double EDGE_END = 0.19;          /* fraction of the height that is amorphous */

/* Domains are the cells of these seeds (Voronoi), as fractions of width and height. */
static const struct {
    uint8_t material;
    double x, y;
} seeds[] = {
    {HORIZONTAL, 0.12, 0.38}, {DISORDERED, 0.50, 0.38}, {VERTICAL, 0.88, 0.42},
    {DISORDERED, 0.10, 0.82}, {HORIZONTAL, 0.40, 0.84}, {ANTIPHASE, 0.66, 0.86},
    {VERTICAL, 0.92, 0.80},
};
enum { N_SEEDS = sizeof(seeds) / sizeof(*seeds) };

static void place_materials(struct specimen *specimen, struct random *random)
{
    struct material *m = specimen->materials;
    double x = LLTO_C * random_uniform(random), y = LLTO_C * random_uniform(random);
    m[AMORPHOUS] =
        (struct material){.class_index = CLASS_AMORPHOUS,
                          .density = AMORPHOUS_DENSITY * specimen_crystal_density(&disordered),
                          .speckle = 0.14};
    m[DISORDERED] = (struct material){
        .class_index = CLASS_DISORDERED, .crystal = &disordered, .origin_x = x, .origin_y = y};
    m[HORIZONTAL] = (struct material){
        .class_index = CLASS_HORIZONTAL, .crystal = &horizontal, .origin_x = x, .origin_y = y};
    m[ANTIPHASE] = m[HORIZONTAL];
    m[ANTIPHASE].origin_y += 0.5 * LLTO_C;
    m[VERTICAL] = (struct material){
        .class_index = CLASS_VERTICAL, .crystal = &vertical, .origin_x = x, .origin_y = y};
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
    .description = "Lithium lanthanum titanate with ordered vacancies in two orientations and an "
                   "antiphase boundary, beside disordered crystal and an amorphous edge.",
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
                .reference = 14460.0, /* 842 in 0.0582 nm^3 */
                .displacement = 0.004,
                .occupancy = 0.04,
                .jitter_x = 0.5,
                .jitter_y = 0.25,
                .drift_x = -4.0,
                .drift_y = 3.0,
                .wedge = 0.12,
                .damage = 0.05,
                .gain = 320.0,
                .offset = 1500.0,
                .read_noise = 250.0},
    .build = build,
};
