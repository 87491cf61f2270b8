/* Incoherent imaging (Pennycook and Jesson 1991; Nellist and Pennycook 1999): the image is the
 * scattering projected along the beam, convolved with the intensity of the probe; channelling is
 * left out. The probe is a Gaussian core and a wider Gaussian for what residual aberrations, source
 * demagnification and beam spreading put between the columns.
 *
 * The scan is distorted as it happens: each row has an offset of its own (row-to-row jitter with
 * memory, Jones and Nellist 2013) and the specimen drifts meanwhile. Columns are drawn where the
 * distorted probe meets them, row by row, so that nothing is resampled and the noise of pixels
 * stays independent: Poisson counts of electrons, a gain, a dark level and Gaussian read noise.
 */
#include "engine/simulate/imaging.h"

#include <math.h>
#include <stdlib.h>

#include "engine/simulate/plane.h"

static const double FWHM_TO_SIGMA = 0.42466090014400953; /* 1 / (2 sqrt(2 ln 2)) */
static const double JITTER_MEMORY = 0.5;                 /* correlation of neighbouring rows */
static const double PI = 3.14159265358979323846;

/* Where each row of the scan really lies, relative to its nominal place, in pixels. */
struct scan {
    double *dx; /* height; owned */
    double *dy; /* height; owned */
};

static int scan_init(struct scan *scan, const struct imaging_params *params, uint32_t height,
                     struct random *random, struct error *err)
{
    scan->dx = calloc(height, sizeof(*scan->dx));
    scan->dy = calloc(height, sizeof(*scan->dy));
    if (scan->dx == NULL || scan->dy == NULL)
        return error_set_nomem(err, "the scan of a scene");
    double fresh = sqrt(1.0 - JITTER_MEMORY * JITTER_MEMORY);
    double x = random_normal(random), y = random_normal(random);
    for (uint32_t row = 0; row < height; row++) {
        double time = (double)row / height - 0.5;
        scan->dx[row] = params->jitter_x * x + params->drift_x * time;
        scan->dy[row] = params->jitter_y * y + params->drift_y * time;
        x = JITTER_MEMORY * x + fresh * random_normal(random);
        y = JITTER_MEMORY * y + fresh * random_normal(random);
    }
    return 0;
}

static void scan_clear(struct scan *scan)
{
    free(scan->dx);
    free(scan->dy);
}

/* Adds one column: a Gaussian of volume `weight` (per nm^2) at (x, y) pixels. */
static void add_column(float *plane, const struct specimen *specimen, const struct scan *scan,
                       double x, double y, double sigma, double weight)
{
    double reach = 4.0 * sigma + 2.0; /* the two pixels are for the jitter */
    double peak = weight / (2.0 * PI * sigma * sigma * specimen->pixel_size * specimen->pixel_size);
    double narrow = -0.5 / (sigma * sigma);
    /* Drift moves a row by several pixels: look around where the row is. */
    int64_t nearest = (int64_t)fmin(fmax(y, 0.0), specimen->height - 1.0);
    double centre = y - scan->dy[nearest];
    int64_t first = (int64_t)fmax(ceil(centre - reach), 0.0);
    int64_t last = (int64_t)fmin(floor(centre + reach), specimen->height - 1.0);
    for (int64_t row = first; row <= last; row++) {
        double down = (double)row + scan->dy[row] - y;
        double across = x - scan->dx[row];
        double row_peak = peak * exp(narrow * down * down);
        int64_t left = (int64_t)fmax(ceil(across - reach), 0.0);
        int64_t right = (int64_t)fmin(floor(across + reach), specimen->width - 1.0);
        float *pixels = plane + (size_t)row * specimen->width;
        for (int64_t i = left; i <= right; i++) {
            double distance = (double)i - across;
            pixels[i] += (float)(row_peak * exp(narrow * distance * distance));
        }
    }
}

static void add_crystal(float *plane, const struct specimen *specimen, uint32_t index,
                        const struct imaging_params *params, const struct scan *scan,
                        struct random *random)
{
    const struct material *material = &specimen->materials[index];
    const struct crystal *crystal = material->crystal;
    double pixel = specimen->pixel_size;
    double sigma = params->probe_fwhm * FWHM_TO_SIGMA / pixel;
    double longest = fmax(specimen->width, specimen->height) * pixel + 1.0;
    int64_t n_across = (int64_t)ceil(longest / crystal->width) + 1;
    int64_t n_down = (int64_t)ceil(longest / crystal->height) + 1;
    for (int64_t j = -2; j < n_down; j++) {
        for (int64_t i = -2; i < n_across; i++) {
            for (uint32_t s = 0; s < crystal->n_sites; s++) {
                const struct site *site = &crystal->sites[s];
                double along = ((double)i + site->u) * crystal->width;
                double down = ((double)j + site->v) * crystal->height;
                double x = material->origin_x + along;
                double y = material->origin_y + down;
                double share = specimen_coverage(specimen, index, x / pixel, y / pixel);
                /* A column at a border is a shorter column. */
                if (share < 0.02 || x < -0.5 || y < -0.5 || x > longest || y > longest)
                    continue;
                double atoms = site->atoms / crystal->repeat;
                double weight = share * atoms * specimen_scattering(site->z) *
                                fmax(1.0 + params->occupancy * random_normal(random), 0.0);
                x += params->displacement * random_normal(random);
                y += params->displacement * random_normal(random);
                add_column(plane, specimen, scan, x / pixel, y / pixel, sigma, weight);
            }
        }
    }
}

/* A field of mean 0 and variance 1 with the probe's correlation: many atoms under the probe at
 * random places give Gaussian speckle. */
static int draw_speckle(float *field, const struct specimen *specimen, double sigma,
                        struct random *random, struct error *err)
{
    size_t n_pixels = (size_t)specimen->width * specimen->height;
    /* Blurring white noise leaves 1 / (4 pi sigma^2) of its variance. */
    double rms = 2.0 * sigma * sqrt(PI);
    for (size_t i = 0; i < n_pixels; i++)
        field[i] = (float)(rms * random_normal(random));
    return plane_blur(field, specimen->width, specimen->height, sigma, err);
}

static void add_amorphous(float *plane, const struct specimen *specimen,
                          const struct imaging_params *params, const float *speckle)
{
    for (uint32_t y = 0; y < specimen->height; y++) {
        for (uint32_t x = 0; x < specimen->width; x++) {
            size_t i = (size_t)y * specimen->width + x;
            double value = plane[i] + params->reference * params->damage * speckle[i];
            for (uint32_t m = 0; m < specimen->n_materials; m++) {
                const struct material *material = &specimen->materials[m];
                if (material->crystal != NULL)
                    continue;
                double share = specimen_coverage(specimen, m, x, y);
                value += share * material->density * (1.0 + material->speckle * speckle[i]);
            }
            plane[i] = (float)value;
        }
    }
}

/* plane becomes core + tails; `tails` is scratch. */
static int spread_probe(float *plane, float *tails, const struct specimen *specimen,
                        const struct imaging_params *params, struct error *err)
{
    size_t n_pixels = (size_t)specimen->width * specimen->height;
    for (size_t i = 0; i < n_pixels; i++)
        tails[i] = plane[i];
    double core = params->probe_fwhm * FWHM_TO_SIGMA;
    double added = sqrt(params->tail_sigma * params->tail_sigma - core * core);
    int rc =
        plane_blur(tails, specimen->width, specimen->height, added / specimen->pixel_size, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n_pixels; i++)
        plane[i] = (float)((1.0 - params->tail_share) * plane[i] + params->tail_share * tails[i]);
    return 0;
}

static void detect(const float *plane, const struct specimen *specimen,
                   const struct imaging_params *params, struct random *random, uint16_t *pixels)
{
    /* The thickness rises along a direction of its own. */
    double direction = 2.0 * PI * random_uniform(random);
    double slope_x = params->wedge * cos(direction) / specimen->width;
    double slope_y = params->wedge * sin(direction) / specimen->height;
    for (uint32_t y = 0; y < specimen->height; y++) {
        for (uint32_t x = 0; x < specimen->width; x++) {
            size_t i = (size_t)y * specimen->width + x;
            double thickness = 1.0 + slope_x * (x - 0.5 * specimen->width) +
                               slope_y * (y - 0.5 * specimen->height);
            double mean = params->electrons * thickness * plane[i] / params->reference;
            double value = params->offset + params->gain * random_poisson(random, mean) +
                           params->read_noise * random_normal(random);
            pixels[i] = (uint16_t)fmin(fmax(floor(value + 0.5), 0.0), 65535.0);
        }
    }
}

int imaging_record(const struct specimen *specimen, const struct imaging_params *params,
                   struct random *random, uint16_t *pixels, struct error *err)
{
    size_t n_pixels = (size_t)specimen->width * specimen->height;
    struct scan scan = {0};
    float *plane = calloc(n_pixels, sizeof(*plane));
    float *scratch = calloc(n_pixels, sizeof(*scratch));
    int rc = 0;
    if (plane == NULL || scratch == NULL) {
        rc = error_set_nomem(err, "the image of a scene");
        goto out;
    }
    rc = scan_init(&scan, params, specimen->height, random, err);
    if (rc < 0)
        goto out;
    for (uint32_t m = 0; m < specimen->n_materials; m++) {
        if (specimen->materials[m].crystal != NULL)
            add_crystal(plane, specimen, m, params, &scan, random);
    }
    double sigma = params->probe_fwhm * FWHM_TO_SIGMA / specimen->pixel_size;
    rc = draw_speckle(scratch, specimen, sigma, random, err);
    if (rc < 0)
        goto out;
    add_amorphous(plane, specimen, params, scratch);
    rc = spread_probe(plane, scratch, specimen, params, err);
    if (rc < 0)
        goto out;
    detect(plane, specimen, params, random, pixels);
out:
    free(plane);
    free(scratch);
    scan_clear(&scan);
    return rc;
}
