/* One pass adds up what is a sum, a second one finds how far each shape reaches in each of its
 * rows, of which its convex hull is made. Sums are of whole numbers and exact, but for the second
 * moments, which are taken about the centre of the raster.
 */
#include "engine/fewshot/map/object_shape.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { DIRECTIONS = 4 }; /* along x, along y, down right, down left */

static const double PI = 3.14159265358979323846;

struct sums {
    uint64_t area;
    double x, y, xx, yy, xy;        /* about the raster's middle, pixels' own extent included */
    uint64_t crossings[DIRECTIONS]; /* of the outline by the raster's lines */
    uint32_t first_row, last_row;   /* of cells */
    uint32_t left, right;           /* of cells: left .. right - 1 */
    uint32_t first_column;
    uint64_t first_extent;
};

/* Of a row of a shape, in pixels. */
struct extent {
    uint32_t left, right;
};

struct point {
    double x, y;
};

struct measuring {
    const struct shape_raster *raster;
    uint32_t n_shapes;
    double middle_x, middle_y;
    struct sums *sums;      /* n_shapes; owned */
    struct extent *extents; /* each shape's rows; owned */
    struct point *hull;     /* room for the largest one; owned */
    struct point *scaled;   /* the same in another unit; owned */
};

/* ---- sums ---- */

static uint32_t label_at(const struct shape_raster *raster, int64_t x, int64_t y)
{
    if (x < 0 || y < 0 || x >= raster->n_x || y >= raster->n_y)
        return 0;
    return raster->labels[(size_t)y * raster->n_x + (size_t)x];
}

static void count_crossings(const struct shape_raster *raster, uint32_t x, uint32_t y,
                            uint64_t crossings[DIRECTIONS])
{
    static const int steps[DIRECTIONS][2] = {{1, 0}, {0, 1}, {1, 1}, {-1, 1}};
    const uint32_t label = raster->labels[(size_t)y * raster->n_x + x];
    for (int i = 0; i < DIRECTIONS; i++) {
        const int dx = steps[i][0], dy = steps[i][1];
        crossings[i] += label_at(raster, (int64_t)x + dx, (int64_t)y + dy) != label;
        crossings[i] += label_at(raster, (int64_t)x - dx, (int64_t)y - dy) != label;
    }
}

static void add_cell(struct measuring *measuring, uint32_t x, uint32_t y)
{
    const struct shape_raster *raster = measuring->raster;
    struct sums *sums = &measuring->sums[raster->labels[(size_t)y * raster->n_x + x] - 1];
    const double width = raster->x_edges[x + 1] - raster->x_edges[x];
    const double height = raster->y_edges[y + 1] - raster->y_edges[y];
    const double cx = raster->x_edges[x] + 0.5 * width - measuring->middle_x;
    const double cy = raster->y_edges[y] + 0.5 * height - measuring->middle_y;
    const double area = width * height;
    if (sums->area == 0) {
        sums->first_row = y;
        sums->first_column = sums->left = x;
    }
    sums->area += (uint64_t)area;
    sums->x += area * cx;
    sums->y += area * cy;
    sums->xx += area * (cx * cx + width * width / 12.0);
    sums->yy += area * (cy * cy + height * height / 12.0);
    sums->xy += area * cx * cy;
    sums->last_row = y;
    sums->left = x < sums->left ? x : sums->left;
    sums->right = x + 1 > sums->right ? x + 1 : sums->right;
    count_crossings(raster, x, y, sums->crossings);
}

static int add_cells(struct measuring *measuring, const struct cancel *cancel, struct error *err)
{
    const struct shape_raster *raster = measuring->raster;
    for (uint32_t y = 0; y < raster->n_y; y++) {
        if (cancel_is_asked(cancel))
            return error_set(err, ERROR_CANCELLED, "the objects were no longer wanted");
        for (uint32_t x = 0; x < raster->n_x; x++) {
            if (raster->labels[(size_t)y * raster->n_x + x] > 0)
                add_cell(measuring, x, y);
        }
    }
    return 0;
}

/* ---- extents ---- */

static int make_room(struct measuring *measuring, struct error *err)
{
    uint64_t n_extents = 0, most = 0;
    for (uint32_t i = 0; i < measuring->n_shapes; i++) {
        struct sums *sums = &measuring->sums[i];
        const uint64_t n_rows = sums->last_row - sums->first_row + 1;
        sums->first_extent = n_extents;
        n_extents += n_rows;
        most = n_rows > most ? n_rows : most;
    }
    measuring->extents = calloc(n_extents + 1, sizeof(*measuring->extents));
    measuring->hull = calloc(4 * most + 1, sizeof(*measuring->hull));
    measuring->scaled = calloc(4 * most + 1, sizeof(*measuring->scaled));
    if (measuring->extents == NULL || measuring->hull == NULL || measuring->scaled == NULL)
        return error_set_nomem(err, "the objects' outlines");
    return 0;
}

/* Connected shapes have a cell in each of their rows, so that each extent is filled; `right` is 0
 * until then. */
static void find_extents(struct measuring *measuring)
{
    const struct shape_raster *raster = measuring->raster;
    for (uint32_t y = 0; y < raster->n_y; y++) {
        for (uint32_t x = 0; x < raster->n_x; x++) {
            const uint32_t label = raster->labels[(size_t)y * raster->n_x + x];
            if (label == 0)
                continue;
            const struct sums *sums = &measuring->sums[label - 1];
            struct extent *extent = &measuring->extents[sums->first_extent + (y - sums->first_row)];
            if (extent->right == 0)
                extent->left = raster->x_edges[x];
            extent->right = raster->x_edges[x + 1];
        }
    }
}

/* ---- the hull ---- */

static double cross(struct point a, struct point b, struct point c)
{
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

/* Adds a point of a chain that goes downwards, the left one (`turn` 1) or the right one (-1): of
 * those before it what is not convex any more goes. */
static uint32_t add_point(struct point *chain, uint32_t n, struct point point, double turn)
{
    while (n >= 2 && turn * cross(chain[n - 2], chain[n - 1], point) >= 0.0)
        n--;
    chain[n] = point;
    return n + 1;
}

/* Convex hull of the corners of the cells (Andrew's monotone chain, downwards): the left chain,
 * then the right one from the bottom up. Returns how many points it has. */
static uint32_t find_hull(const struct measuring *measuring, const struct sums *sums)
{
    const uint32_t *y_edges = measuring->raster->y_edges;
    const uint32_t n_rows = sums->last_row - sums->first_row + 1;
    struct point *left = measuring->hull, *right = measuring->scaled;
    uint32_t n_left = 0, n_right = 0;
    for (uint32_t i = 0; i < n_rows; i++) {
        const struct extent *extent = &measuring->extents[sums->first_extent + i];
        for (uint32_t edge = 0; edge < 2; edge++) {
            const double y = y_edges[sums->first_row + i + edge];
            n_left = add_point(left, n_left, (struct point){extent->left, y}, 1.0);
            n_right = add_point(right, n_right, (struct point){extent->right, y}, -1.0);
        }
    }
    for (uint32_t i = n_right; i-- > 0;)
        left[n_left++] = right[i];
    return n_left;
}

/* The greatest distance of two of the hull's points, and the smallest width across one of its
 * sides, where the smallest of all is (Freeman and Shapira 1975). */
static void find_feret(const struct point *hull, uint32_t n, double *longest, double *narrowest)
{
    double most = 0.0, least = INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        const struct point a = hull[i], b = hull[(i + 1) % n];
        const double side = hypot(b.x - a.x, b.y - a.y);
        double height = 0.0;
        for (uint32_t j = 0; j < n; j++) {
            most = fmax(most, (hull[j].x - a.x) * (hull[j].x - a.x) +
                                  (hull[j].y - a.y) * (hull[j].y - a.y));
            height = fmax(height, fabs(cross(a, b, hull[j])));
        }
        if (side > 0.0)
            least = fmin(least, height / side);
    }
    *longest = sqrt(most);
    *narrowest = least;
}

/* ---- sizes ---- */

/* Each direction stands for the angles that are nearer to it than to the others, and its lines are
 * as far apart as the area of a cell allows. */
static double perimeter(const struct sums *sums, double step_x, double step_y)
{
    const double slope = atan2(step_y, step_x), diagonal = hypot(step_x, step_y);
    const double angles[DIRECTIONS] = {slope, 0.5 * PI - slope, 0.25 * PI, 0.25 * PI};
    const double lengths[DIRECTIONS] = {step_x, step_y, diagonal, diagonal};
    double sum = 0.0;
    for (int i = 0; i < DIRECTIONS; i++)
        sum += angles[i] * (step_x * step_y / lengths[i]) * (double)sums->crossings[i];
    return 0.5 * sum;
}

static void find_size(const struct measuring *measuring, const struct sums *sums, uint32_t n_hull,
                      double unit_x, double unit_y, struct shape_size *out)
{
    const struct shape_raster *raster = measuring->raster;
    for (uint32_t i = 0; i < n_hull; i++)
        measuring->scaled[i] =
            (struct point){unit_x * measuring->hull[i].x, unit_y * measuring->hull[i].y};
    out->area = (double)sums->area * unit_x * unit_y;
    out->equivalent_diameter = 2.0 * sqrt(out->area / PI);
    out->perimeter = perimeter(sums, unit_x * raster->step_x, unit_y * raster->step_y);
    find_feret(measuring->scaled, n_hull, &out->feret_max, &out->feret_min);
}

static double find_eccentricity(double xx, double yy, double xy)
{
    const double mean = 0.5 * (xx + yy), spread = hypot(0.5 * (xx - yy), xy);
    return sqrt(fmax(2.0 * spread / (mean + spread), 0.0));
}

static void describe(const struct measuring *measuring, uint32_t index, double pixel_width_nm,
                     double pixel_height_nm, struct shape *out)
{
    const struct shape_raster *raster = measuring->raster;
    const struct sums *sums = &measuring->sums[index];
    const bool is_calibrated = pixel_width_nm > 0 && pixel_height_nm > 0;
    const double unit_x = is_calibrated ? pixel_width_nm : 1.0;
    const double unit_y = is_calibrated ? pixel_height_nm : 1.0;
    const double area = (double)sums->area, x = sums->x / area, y = sums->y / area;
    const uint32_t n_hull = find_hull(measuring, sums);
    *out = (struct shape){.centroid_x = measuring->middle_x + x,
                          .centroid_y = measuring->middle_y + y,
                          .left = raster->x_edges[sums->left],
                          .right = raster->x_edges[sums->right],
                          .top = raster->y_edges[sums->first_row],
                          .bottom = raster->y_edges[sums->last_row + 1],
                          .first_x = raster->x_edges[sums->first_column],
                          .first_y = raster->y_edges[sums->first_row]};
    out->eccentricity = find_eccentricity((sums->xx / area - x * x) * unit_x * unit_x,
                                          (sums->yy / area - y * y) * unit_y * unit_y,
                                          (sums->xy / area - x * y) * unit_x * unit_y);
    out->nm = (struct shape_size){NAN, NAN, NAN, NAN, NAN};
    find_size(measuring, sums, n_hull, 1.0, 1.0, &out->px);
    if (is_calibrated)
        find_size(measuring, sums, n_hull, unit_x, unit_y, &out->nm);
}

int shapes_measure(const struct shape_raster *raster, uint32_t n_shapes, double pixel_width_nm,
                   double pixel_height_nm, const struct cancel *cancel, struct shape *out,
                   struct error *err)
{
    struct measuring measuring = {.raster = raster, .n_shapes = n_shapes};
    if (n_shapes == 0)
        return 0;
    measuring.middle_x = 0.5 * ((double)raster->x_edges[0] + raster->x_edges[raster->n_x]);
    measuring.middle_y = 0.5 * ((double)raster->y_edges[0] + raster->y_edges[raster->n_y]);
    measuring.sums = calloc(n_shapes, sizeof(*measuring.sums));
    int rc = measuring.sums == NULL ? error_set_nomem(err, "the objects")
                                    : add_cells(&measuring, cancel, err);
    if (rc == 0)
        rc = make_room(&measuring, err);
    if (rc == 0)
        find_extents(&measuring);
    for (uint32_t i = 0; i < n_shapes && rc == 0; i++)
        describe(&measuring, i, pixel_width_nm, pixel_height_nm, &out[i]);
    free(measuring.sums);
    free(measuring.extents);
    free(measuring.hull);
    free(measuring.scaled);
    return rc;
}
