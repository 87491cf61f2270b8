/* Borders are rough because each material's coverage is a blurred plane, kept at a quarter of the
 * image's resolution and read between its samples; a column of atoms is as bright as it is covered.
 */
#include "engine/simulate/specimen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/simulate/plane.h"

enum { COARSE = 4 }; /* pixels a coverage sample: finer than any border's roughness */

double specimen_scattering(uint32_t z)
{
    return pow(z, 1.7);
}

double specimen_crystal_density(const struct crystal *crystal)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < crystal->n_sites; i++)
        sum += crystal->sites[i].atoms * specimen_scattering(crystal->sites[i].z);
    return sum / (crystal->width * crystal->height * crystal->repeat);
}

int specimen_init(struct specimen *specimen, struct error *err)
{
    specimen->coarse_width = specimen->width / COARSE + 1;
    specimen->coarse_height = specimen->height / COARSE + 1;
    size_t n_coarse = (size_t)specimen->coarse_width * specimen->coarse_height;
    specimen->regions = calloc((size_t)specimen->width * specimen->height, 1);
    specimen->coverage = calloc(n_coarse * specimen->n_materials, sizeof(*specimen->coverage));
    if (specimen->regions == NULL || specimen->coverage == NULL) {
        specimen_clear(specimen);
        return error_set_nomem(err, "a scene's regions");
    }
    return 0;
}

void specimen_clear(struct specimen *specimen)
{
    free(specimen->regions);
    free(specimen->coverage);
    memset(specimen, 0, sizeof(*specimen));
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

int specimen_cover(struct specimen *specimen, double roughness, struct error *err)
{
    size_t n_coarse = (size_t)specimen->coarse_width * specimen->coarse_height;
    for (uint32_t m = 0; m < specimen->n_materials; m++) {
        float *plane = specimen->coverage + m * n_coarse;
        for (uint32_t y = 0; y < specimen->coarse_height; y++) {
            size_t row = (size_t)smaller(y * COARSE, specimen->height - 1) * specimen->width;
            for (uint32_t x = 0; x < specimen->coarse_width; x++) {
                uint8_t region = specimen->regions[row + smaller(x * COARSE, specimen->width - 1)];
                plane[(size_t)y * specimen->coarse_width + x] = region == m ? 1.0f : 0.0f;
            }
        }
        int rc = plane_blur(plane, specimen->coarse_width, specimen->coarse_height,
                            roughness / specimen->pixel_size / COARSE, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

double specimen_coverage(const struct specimen *specimen, uint32_t material, double x, double y)
{
    uint32_t width = specimen->coarse_width, height = specimen->coarse_height;
    const float *plane = specimen->coverage + (size_t)material * width * height;
    double cx = fmin(fmax(x / COARSE, 0.0), width - 1.001);
    double cy = fmin(fmax(y / COARSE, 0.0), height - 1.001);
    uint32_t ix = (uint32_t)cx, iy = (uint32_t)cy;
    double fx = cx - ix, fy = cy - iy;
    const float *above = plane + (size_t)iy * width + ix;
    const float *below = above + width;
    return (1.0 - fy) * ((1.0 - fx) * above[0] + fx * above[1]) +
           fy * ((1.0 - fx) * below[0] + fx * below[1]);
}
