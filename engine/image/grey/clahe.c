/* The image is cut into tiles x tiles contextual regions of equal size (to a pixel). Each has a
 * histogram of 256 bins whose bins are clipped at clip_limit times a flat histogram's bin; what is
 * cut off is spread over the bins below the limit, so that none ends above it. The cumulative sum
 * is the tile's mapping, taken as piecewise linear within a bin so that a float image is not
 * quantised: it leads 0 to 0 and 1 to 1, rises, and is nowhere steeper than clip_limit. A pixel
 * takes the bilinear mean of the mappings of the four tiles whose centres surround it.
 */
#include "engine/image/grey/clahe.h"

#include <math.h>
#include <stdlib.h>

enum { N_BINS = 256, MAP_SIZE = N_BINS + 1 };

/* One axis of the tiling: where a pixel lies between tile centres. */
struct place {
    uint32_t before;  /* tile whose centre is at or before the pixel (or the first tile) */
    uint32_t after;   /* the next tile (or the same at the image's edges) */
    float part_after; /* weight of `after`, 0..1 */
};

struct clahe {
    uint32_t width, height;
    uint32_t tiles_x, tiles_y;
    float *maps; /* tiles_y x tiles_x x MAP_SIZE: the cumulative histogram below each bin's edge */
    struct place *columns; /* width */
    const struct cancel *cancel;
};

static uint32_t tile_start(uint32_t size, uint32_t n_tiles, uint32_t tile)
{
    return (uint32_t)((uint64_t)size * tile / n_tiles);
}

static double tile_centre(uint32_t size, uint32_t n_tiles, uint32_t tile)
{
    return 0.5 * ((double)tile_start(size, n_tiles, tile) + tile_start(size, n_tiles, tile + 1));
}

static struct place find_place(uint32_t size, uint32_t n_tiles, uint32_t pixel)
{
    double position = pixel + 0.5;
    uint32_t after = (uint32_t)((uint64_t)pixel * n_tiles / size);
    while (after > 0 && tile_centre(size, n_tiles, after - 1) > position)
        after--;
    while (after < n_tiles && tile_centre(size, n_tiles, after) <= position)
        after++;
    if (after == 0)
        return (struct place){0, 0, 0};
    if (after == n_tiles)
        return (struct place){n_tiles - 1, n_tiles - 1, 0};
    double low = tile_centre(size, n_tiles, after - 1);
    double high = tile_centre(size, n_tiles, after);
    return (struct place){after - 1, after, (float)((position - low) / (high - low))};
}

/* The bin of a value, and how far within it the value lies. Safe for any float. */
static uint32_t find_bin(float value, float *part)
{
    float scaled = value * N_BINS;
    if (!(scaled > 0)) {
        *part = 0;
        return 0;
    }
    if (scaled >= N_BINS) {
        *part = 1;
        return N_BINS - 1;
    }
    uint32_t bin = (uint32_t)scaled;
    *part = scaled - (float)bin;
    return bin;
}

/* Clips at `limit` and spreads the excess evenly over the bins that are below it, again and again
 * until none is left. Each round fills at least one bin or ends. */
static void clip_histogram(double *histogram, double limit)
{
    double excess = 0;
    for (uint32_t bin = 0; bin < N_BINS; bin++) {
        if (histogram[bin] > limit) {
            excess += histogram[bin] - limit;
            histogram[bin] = limit;
        }
    }
    while (excess > 1e-12) {
        uint32_t n_open = 0;
        for (uint32_t bin = 0; bin < N_BINS; bin++)
            n_open += histogram[bin] < limit;
        if (n_open == 0)
            return;
        double share = excess / n_open;
        for (uint32_t bin = 0; bin < N_BINS; bin++) {
            if (histogram[bin] >= limit)
                continue;
            double added = limit - histogram[bin] <= share ? limit - histogram[bin] : share;
            histogram[bin] = added < share ? limit : histogram[bin] + added;
            excess -= added;
        }
        if (share < 1e-15)
            return;
    }
}

static int check_cancel(const struct clahe *clahe, struct error *err)
{
    if (cancel_is_asked(clahe->cancel))
        return error_set(err, ERROR_CANCELLED, "CLAHE was called off");
    return 0;
}

static int plan_tile(const struct clahe *clahe, const float *pixels, double clip_limit,
                     uint32_t tile_x, uint32_t tile_y, struct error *err)
{
    uint32_t x0 = tile_start(clahe->width, clahe->tiles_x, tile_x);
    uint32_t x1 = tile_start(clahe->width, clahe->tiles_x, tile_x + 1);
    uint32_t y0 = tile_start(clahe->height, clahe->tiles_y, tile_y);
    uint32_t y1 = tile_start(clahe->height, clahe->tiles_y, tile_y + 1);
    uint64_t counts[N_BINS] = {0};
    for (size_t y = y0; y < y1; y++) {
        int rc = check_cancel(clahe, err);
        if (rc < 0)
            return rc;
        for (size_t x = x0; x < x1; x++) {
            float part;
            counts[find_bin(pixels[y * clahe->width + x], &part)]++;
        }
    }
    double n_pixels = (double)(x1 - x0) * (y1 - y0);
    double histogram[N_BINS];
    for (uint32_t bin = 0; bin < N_BINS; bin++)
        histogram[bin] = (double)counts[bin] / n_pixels;
    clip_histogram(histogram, clip_limit / N_BINS);

    float *map = clahe->maps + ((size_t)tile_y * clahe->tiles_x + tile_x) * MAP_SIZE;
    double sum = 0;
    for (uint32_t bin = 0; bin < N_BINS; bin++) {
        map[bin] = (float)sum;
        sum += histogram[bin];
    }
    map[N_BINS] = 1;
    return 0;
}

static float look_up(const float *map, uint32_t bin, float part)
{
    return map[bin] + part * (map[bin + 1] - map[bin]);
}

static void map_row(const struct clahe *clahe, struct place row_place, float *row)
{
    size_t row_size = (size_t)clahe->tiles_x * MAP_SIZE;
    const float *above = clahe->maps + row_place.before * row_size;
    const float *below = clahe->maps + row_place.after * row_size;
    for (uint32_t x = 0; x < clahe->width; x++) {
        struct place place = clahe->columns[x];
        size_t left = (size_t)place.before * MAP_SIZE;
        size_t right = (size_t)place.after * MAP_SIZE;
        float part;
        uint32_t bin = find_bin(row[x], &part);
        float top = look_up(above + left, bin, part);
        top += place.part_after * (look_up(above + right, bin, part) - top);
        float bottom = look_up(below + left, bin, part);
        bottom += place.part_after * (look_up(below + right, bin, part) - bottom);
        float value = top + row_place.part_after * (bottom - top);
        row[x] = fminf(fmaxf(value, 0), 1);
    }
}

static int plan(struct clahe *clahe, const struct clahe_params *params, const float *pixels,
                struct error *err)
{
    int rc = 0;
    for (uint32_t x = 0; x < clahe->width; x++)
        clahe->columns[x] = find_place(clahe->width, clahe->tiles_x, x);
    for (uint32_t tile_y = 0; tile_y < clahe->tiles_y; tile_y++) {
        for (uint32_t tile_x = 0; tile_x < clahe->tiles_x && rc == 0; tile_x++)
            rc = plan_tile(clahe, pixels, params->clip_limit, tile_x, tile_y, err);
    }
    return rc;
}

int clahe_apply(const struct clahe_params *params, float *pixels, uint32_t width, uint32_t height,
                const struct cancel *cancel, struct error *err)
{
    if (width == 0 || height == 0)
        return 0;
    struct clahe clahe = {
        .width = width,
        .height = height,
        .tiles_x = params->tiles < width ? params->tiles : width,
        .tiles_y = params->tiles < height ? params->tiles : height,
        .cancel = cancel,
    };
    size_t n_tiles = (size_t)clahe.tiles_x * clahe.tiles_y;
    int rc = 0;
    clahe.maps = calloc(n_tiles * MAP_SIZE, sizeof(*clahe.maps));
    clahe.columns = calloc(width, sizeof(*clahe.columns));
    if (clahe.maps == NULL || clahe.columns == NULL) {
        rc = error_set_nomem(err, "the CLAHE mappings");
        goto out;
    }
    rc = plan(&clahe, params, pixels, err);
    for (uint32_t y = 0; y < height && rc == 0; y++) {
        map_row(&clahe, find_place(height, clahe.tiles_y, y), pixels + (size_t)y * width);
        rc = check_cancel(&clahe, err);
    }
out:
    free(clahe.maps);
    free(clahe.columns);
    return rc;
}
