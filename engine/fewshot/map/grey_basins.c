#include "engine/fewshot/map/grey_basins.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/map/watershed.h"

/* Peaks are two if the saddle is below a part of the lower one, and by some spreads. What is looked
 * at is some spreads above the background. */
static const double SADDLE = 0.75, SADDLE_DEPTH = 3.0, FLOOR = 0.5;

enum { TURNS = 2 };

struct basin {
    double level;           /* of the plateau; at first of the peak */
    double base, spread;    /* of the ring */
    double sums[3];         /* pixels, their heights, the squares of these */
    uint64_t n_low, n_high; /* pixels above the two parts of its height between which an edge is */
};

struct cutting {
    const struct basins_plane *plane;
    uint32_t *labels; /* of the basins */
    uint32_t n_basins;
    struct basin *basins; /* n_basins + 1; owned */
    uint32_t *rings;      /* whose ring or thing a pixel is part of, or 0; owned */
    uint32_t *queue;      /* of pixels; owned */
};

static size_t n_pixels(const struct basins_plane *plane)
{
    return (size_t)plane->width * plane->height;
}

static int find_basins(struct cutting *cutting, struct error *err)
{
    const struct basins_plane *plane = cutting->plane;
    const struct watershed_params peaks = {
        .ratio = SADDLE, .depth = (uint16_t)fmin(SADDLE_DEPTH * plane->spread, UINT16_MAX)};
    const double floor_height = fmax(FLOOR * plane->spread, 1.0);
    uint16_t *heights = malloc(n_pixels(plane) * sizeof(*heights));
    if (heights == NULL)
        return error_set_nomem(err, "the objects");
    for (size_t i = 0; i < n_pixels(plane); i++)
        heights[i] = plane->heights[i] > floor_height ? (uint16_t)plane->heights[i] : 0;
    int rc = watershed_label(&peaks, heights, NULL, plane->width, plane->height, plane->cancel,
                             cutting->labels, &cutting->n_basins, err);
    free(heights);
    return rc;
}

/* Whether a pixel is higher than a part of its basin's height. */
static bool is_above(const struct cutting *cutting, size_t i, double part)
{
    const struct basin *basin = &cutting->basins[cutting->labels[i]];
    return cutting->labels[i] > 0 &&
           cutting->plane->heights[i] > basin->base + part * (basin->level - basin->base);
}

/* ---- levels ---- */

static void find_peaks(struct cutting *cutting)
{
    for (size_t i = 0; i < n_pixels(cutting->plane); i++) {
        struct basin *basin = &cutting->basins[cutting->labels[i]];
        if (cutting->labels[i] > 0)
            basin->level = fmax(basin->level, cutting->plane->heights[i]);
    }
}

static void add(struct basin *basin, double height)
{
    basin->sums[0] += 1.0;
    basin->sums[1] += height;
    basin->sums[2] += height * height;
}

static void clear_sums(struct cutting *cutting)
{
    for (uint32_t i = 0; i <= cutting->n_basins; i++)
        memset(cutting->basins[i].sums, 0, sizeof(cutting->basins[i].sums));
}

/* The means of what is above the half. */
static void find_levels(struct cutting *cutting)
{
    clear_sums(cutting);
    for (size_t i = 0; i < n_pixels(cutting->plane); i++) {
        if (is_above(cutting, i, 0.5))
            add(&cutting->basins[cutting->labels[i]], cutting->plane->heights[i]);
    }
    for (uint32_t i = 1; i <= cutting->n_basins; i++) {
        struct basin *basin = &cutting->basins[i];
        if (basin->sums[0] > 0.0)
            basin->level = basin->sums[1] / basin->sums[0];
    }
}

/* ---- rings ---- */

/* The neighbours of queued pixels from `first` to `end` - 1 that are nobody's join the queue, whose
 * new end is returned. */
static size_t grow(struct cutting *cutting, size_t first, size_t end)
{
    const struct basins_plane *plane = cutting->plane;
    size_t next = end;
    for (size_t k = first; k < end; k++) {
        const uint32_t i = cutting->queue[k], x = i % plane->width, y = i / plane->width;
        const uint32_t neighbours[] = {y > 0 ? i - plane->width : i, x > 0 ? i - 1 : i,
                                       x + 1 < plane->width ? i + 1 : i,
                                       y + 1 < plane->height ? i + plane->width : i};
        for (int j = 0; j < 4; j++) {
            const uint32_t other = neighbours[j];
            if (cutting->rings[other] != 0 || plane->heights[other] == BASIN_NOT_LOOKED_AT)
                continue;
            cutting->rings[other] = cutting->rings[i];
            cutting->queue[next++] = other;
        }
    }
    return next;
}

/* Steps from all things at once: a pixel is in the ring of the thing that comes first. */
static int find_rings(struct cutting *cutting, struct error *err)
{
    const struct basins_plane *plane = cutting->plane;
    size_t first = 0, end = 0;
    for (size_t i = 0; i < n_pixels(plane); i++) {
        cutting->rings[i] = is_above(cutting, i, 0.5) ? cutting->labels[i] : 0;
        if (cutting->rings[i] > 0)
            cutting->queue[end++] = (uint32_t)i;
    }
    clear_sums(cutting);
    for (uint32_t step = 1; step <= plane->ring_begin + plane->ring_width; step++) {
        const size_t next = grow(cutting, first, end);
        first = end;
        end = next;
        for (size_t k = first; k < end && step > plane->ring_begin; k++)
            add(&cutting->basins[cutting->rings[cutting->queue[k]]],
                plane->heights[cutting->queue[k]]);
        if (cancel_is_asked(plane->cancel))
            return error_set(err, ERROR_CANCELLED, "the objects were no longer wanted");
    }
    return 0;
}

/* Without a ring, as in a plateau that fills all that is looked at, there is no thing. */
static void find_bases(struct cutting *cutting)
{
    for (uint32_t i = 1; i <= cutting->n_basins; i++) {
        struct basin *basin = &cutting->basins[i];
        const double n = basin->sums[0];
        if (!(n > 0.0)) {
            basin->base = basin->level;
            continue;
        }
        basin->base = basin->sums[1] / n;
        basin->spread = sqrt(fmax(basin->sums[2] / n - basin->base * basin->base, 0.0));
    }
}

/* ---- things ---- */

static void measure_edges(struct cutting *cutting)
{
    for (size_t i = 0; i < n_pixels(cutting->plane); i++) {
        struct basin *basin = &cutting->basins[cutting->labels[i]];
        basin->n_low += cutting->rings[i] > 0 && is_above(cutting, i, BASIN_EDGE_LOW);
        basin->n_high += is_above(cutting, i, BASIN_EDGE_HIGH);
    }
}

static bool is_thing(const struct basins_plane *plane, const struct basin *basin)
{
    /* A ring may be even by chance. A step that one level of grey makes is none. */
    const double spread = fmax(fmax(basin->spread, plane->noise), 0.5 * BASIN_ONE);
    return basin->level - basin->base >= BASIN_LEVEL_MIN * spread &&
           (double)basin->n_low <= BASIN_EDGE_GROWTH * (double)basin->n_high;
}

static int cut(struct cutting *cutting, struct error *err)
{
    find_peaks(cutting);
    find_levels(cutting);
    for (int turn = 0; turn < TURNS; turn++) {
        int rc = find_rings(cutting, err);
        if (rc < 0)
            return rc;
        find_bases(cutting);
        find_levels(cutting);
    }
    measure_edges(cutting);
    for (size_t i = 0; i < n_pixels(cutting->plane); i++) {
        const bool is_part = is_above(cutting, i, 0.5);
        cutting->rings[i] =
            is_part && is_thing(cutting->plane, &cutting->basins[cutting->labels[i]])
                ? cutting->labels[i]
                : 0;
    }
    memcpy(cutting->labels, cutting->rings, n_pixels(cutting->plane) * sizeof(*cutting->labels));
    return 0;
}

int grey_basins_find(const struct basins_plane *plane, uint32_t *labels, struct error *err)
{
    struct cutting cutting = {.plane = plane, .labels = labels};
    int rc = find_basins(&cutting, err);
    if (rc < 0)
        return rc;
    cutting.basins = calloc((size_t)cutting.n_basins + 1, sizeof(*cutting.basins));
    cutting.rings = malloc(n_pixels(plane) * sizeof(*cutting.rings));
    cutting.queue = malloc(n_pixels(plane) * sizeof(*cutting.queue));
    rc = cutting.basins == NULL || cutting.rings == NULL || cutting.queue == NULL
             ? error_set_nomem(err, "the objects")
             : cut(&cutting, err);
    free(cutting.basins);
    free(cutting.rings);
    free(cutting.queue);
    return rc;
}
