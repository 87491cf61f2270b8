/* Candidates are what stands out of its surroundings, split at necks. Then they are judged, all of
 * a region together.
 */
#include "engine/fewshot/map/grey_objects.h"

#include <math.h>
#include <stdlib.h>

#include "engine/fewshot/map/grey_background.h"
#include "engine/fewshot/map/grey_basins.h"
#include "engine/fewshot/map/watershed.h"

/* Of the shorter side of a chip: the smoothing. */
static const double SIGMA = 0.05, SIGMA_MIN = 0.7, SIGMA_MAX = 4.0;
/* Spreads of the background beyond which a pixel is something else. */
static const double FAR = 1.6;
/* Smoothed pixels are independent of each other from so many sigmas on. */
static const double APART = 3.0;
static const double PI = 3.14159265358979323846;
/* What is around an object: behind as much as the smoothing spreads, a ring as wide as a part of
 * the shorter side of a chip. */
static const double RING_BEGIN = 3.0, RING_WIDTH = 0.125;
/* Of a chip's area: the least object. */
static const double OBJECT_MIN = 1.0 / 128.0;
/* Of an object's outline: what it may share with others. */
static const double SHARED_MAX = 0.5;
/* Of a region's cells, how many must see an object. */
static const double SEEN_MIN = 0.9;
/* Of what lies deeper than so many chips in a region, far from any background, what objects must
 * cover; and of the candidates of a region that is as thick, half must have so much of a chip's
 * area: the others would be its texture. */
static const double DEEP_CHIPS = 1.5, DEEP_MIN = 0.8, SOLID_MIN = 0.25;
/* Candidates around the region, to an area, against those in it. */
static const double AROUND_MAX = 0.5;

enum { RING_WIDTH_MIN = 3 };

/* What a cell is to the region. */
enum place {
    PLACE_OUTSIDE, /* not looked at: not analysed, too far away, another region */
    PLACE_AROUND,  /* of other classes */
    PLACE_WITHIN,  /* the region's */
};

static const struct watershed_params necks = {.ratio = OBJECT_NECK, .depth = WATERSHED_PIXEL};

struct candidate {
    uint64_t n_pixels, n_within; /* within: on the region's cells */
    uint64_t n_edges, n_shared;  /* of pixels, to what is not the candidate; to another one */
    bool is_cut;                 /* by the end of what is looked at, beyond which there is more */
    uint32_t number;             /* as an object; 0: it is none */
};

struct search {
    struct grey_window *window;
    const struct class_map *map;
    const struct cancel *cancel;
    uint32_t region;
    struct cell_box box; /* of the cells that are looked at */
    uint8_t *places;     /* enum place of the box's cells; owned */
    struct grey_background background;
    double sign;                  /* 1: the class is brighter; -1: darker */
    double sigma;                 /* of the smoothing */
    uint16_t *grey;               /* smoothed, until there are: */
    int16_t *heights;             /* above the background, or below it; owned, as `grey` */
    struct candidate *candidates; /* window->n_objects + 1; owned */
};

static uint32_t box_width(const struct search *search)
{
    return search->box.right - search->box.left;
}

/* Where a pixel's cell stands in the box. */
static size_t cell_of(const struct search *search, uint32_t x, uint32_t y)
{
    const struct grey_window *window = search->window;
    return (size_t)(window->rows[y] - search->box.top) * box_width(search) +
           (window->columns[x] - search->box.left);
}

/* ---- cells ---- */

static uint32_t before(uint32_t first, uint32_t reach)
{
    return first > reach ? first - reach : 0;
}

static uint32_t behind(uint32_t end, uint32_t reach, uint32_t n)
{
    return n - end > reach ? end + reach : n;
}

/* The region's cells, and the others up to a chip away from it that are not of the class. */
static int find_places(struct search *search, struct error *err)
{
    const struct class_map *map = search->map;
    const struct cell_box *box = &search->box;
    const uint32_t reach_x = class_map_reach(&map->map.x, map->map.x.chip);
    const uint32_t reach_y = class_map_reach(&map->map.y, map->map.y.chip);
    const struct cell_box *own = &map->boxes[search->region];
    search->box = (struct cell_box){before(own->left, reach_x), before(own->top, reach_y),
                                    behind(own->right, reach_x, map->n_x),
                                    behind(own->bottom, reach_y, map->n_y)};
    const uint32_t n_x = box_width(search), n_y = box->bottom - box->top;
    search->places = calloc((size_t)n_x * n_y, sizeof(*search->places));
    if (search->places == NULL)
        return error_set_nomem(err, "a part of the map");
    for (uint32_t y = 0; y < n_y; y++) {
        const uint32_t *regions = map->regions + (size_t)(box->top + y) * map->n_x + box->left;
        for (uint32_t x = 0; x < n_x; x++)
            search->places[(size_t)y * n_x + x] = regions[x] == search->region;
    }
    int rc = class_map_widen(search->places, n_x, n_y, reach_x, reach_y, err);
    for (uint32_t y = 0; rc == 0 && y < n_y; y++) {
        const size_t first = (size_t)(box->top + y) * map->n_x + box->left;
        for (uint32_t x = 0; x < n_x; x++) {
            uint8_t *place = &search->places[(size_t)y * n_x + x];
            if (map->regions[first + x] == search->region)
                *place = PLACE_WITHIN;
            else
                *place = *place != 0 && map->cells[first + x] == CELL_OTHER ? PLACE_AROUND
                                                                            : PLACE_OUTSIDE;
        }
    }
    return rc;
}

/* ---- pixels ---- */

static uint32_t *find_cells(const uint32_t *edges, uint32_t first, uint32_t end)
{
    uint32_t *cells = malloc(((size_t)edges[end] - edges[first]) * sizeof(*cells));
    for (uint32_t cell = first; cells != NULL && cell < end; cell++) {
        for (uint32_t i = edges[cell]; i < edges[cell + 1]; i++)
            cells[i - edges[first]] = cell;
    }
    return cells;
}

static int read_window(struct search *search, const struct objects_source *source,
                       struct error *err)
{
    struct grey_window *window = search->window;
    const struct fine_map *map = &search->map->map;
    const size_t n = (size_t)window->rect.width * window->rect.height;
    const uint32_t side = map->x.chip < map->y.chip ? map->x.chip : map->y.chip;
    uint8_t *grey = malloc(n);
    search->sigma = fmin(fmax(SIGMA * side, SIGMA_MIN), SIGMA_MAX);
    search->grey = malloc(n * sizeof(*search->grey));
    search->heights = malloc(n * sizeof(*search->heights));
    window->labels = malloc(n * sizeof(*window->labels));
    window->columns = find_cells(search->map->x_edges, search->box.left, search->box.right);
    window->rows = find_cells(search->map->y_edges, search->box.top, search->box.bottom);
    int rc = grey == NULL || search->grey == NULL || search->heights == NULL ||
                     window->labels == NULL || window->columns == NULL || window->rows == NULL
                 ? error_set_nomem(err, "a part of the image")
                 : source->read_grey(source->context, &window->rect, grey, err);
    if (rc == 0)
        rc = grey_smooth(grey, window->rect.width, window->rect.height, search->sigma,
                         search->cancel, search->grey, err);
    free(grey);
    return rc;
}

static int fit_background(struct search *search, struct error *err)
{
    const struct grey_window *window = search->window;
    const uint32_t width = window->rect.width;
    uint8_t *is_background = malloc(width);
    if (is_background == NULL)
        return error_set_nomem(err, "a part of the image");
    for (int turn = 0; turn < GREY_TURNS; turn++) {
        for (uint32_t y = 0; y < window->rect.height; y++) {
            for (uint32_t x = 0; x < width; x++)
                is_background[x] = search->places[cell_of(search, x, y)] == PLACE_AROUND;
            grey_background_add(&search->background, search->grey + (size_t)y * width,
                                is_background, width, y);
        }
        grey_background_fit(&search->background);
    }
    free(is_background);
    return 0;
}

/* Whether there is more of the region far above the background or far below it. */
/* Whether there is more of the region far above the background or far below it. */
static void find_sign(struct search *search)
{
    const struct grey_window *window = search->window;
    const double far = FAR * search->background.spread;
    double above = 0.0, below = 0.0;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            if (search->places[cell_of(search, x, y)] != PLACE_WITHIN)
                continue;
            const uint16_t grey = search->grey[(size_t)y * window->rect.width + x];
            const double height = grey_above(&search->background, grey, x, y);
            above += fmax(height - far, 0.0);
            below += fmax(-height - far, 0.0);
        }
    }
    search->sign = above >= below ? 1.0 : -1.0;
}

/* Half as many steps as grey levels have, so that both signs fit. */
static void make_heights(struct search *search)
{
    const struct grey_window *window = search->window;
    const double scale = search->sign * BASIN_ONE / GREY_ONE;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            const size_t i = (size_t)y * window->rect.width + x;
            const double height = scale * grey_above(&search->background, search->grey[i], x, y);
            const bool is_looked_at = search->places[cell_of(search, x, y)] != PLACE_OUTSIDE;
            search->heights[i] = is_looked_at
                                     ? (int16_t)floor(fmin(fmax(height, -INT16_MAX), INT16_MAX))
                                     : BASIN_NOT_LOOKED_AT;
        }
    }
}

/* The standard deviation of normal noise with the same differences between pixels of the background
 * that smoothing has nothing to do with each other. */
static double find_noise(const struct search *search)
{
    const struct grey_window *window = search->window;
    const uint32_t apart = (uint32_t)ceil(APART * search->sigma);
    double sum = 0.0, n = 0.0;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        const int16_t *heights = search->heights + (size_t)y * window->rect.width;
        for (uint32_t x = apart; x < window->rect.width; x++) {
            if (search->places[cell_of(search, x, y)] != PLACE_AROUND ||
                search->places[cell_of(search, x - apart, y)] != PLACE_AROUND)
                continue;
            sum += fabs((double)heights[x] - heights[x - apart]);
            n += 1.0;
        }
    }
    return n > 0.0 ? 0.5 * sqrt(PI) * sum / n : 0.0;
}

/* Splits what grey levels give where it has necks. */
static int split_labels(struct search *search, struct error *err)
{
    struct grey_window *window = search->window;
    const uint32_t width = window->rect.width, height = window->rect.height;
    uint16_t *distances = search->grey;
    int rc = watershed_distances(window->labels, width, height, search->cancel, distances, err);
    return rc < 0 ? rc
                  : watershed_label(&necks, distances, window->labels, width, height,
                                    search->cancel, window->labels, &window->n_objects, err);
}

static int find_candidates(struct search *search, struct error *err)
{
    const struct fine_map *map = &search->map->map;
    const uint32_t side = map->x.chip < map->y.chip ? map->x.chip : map->y.chip;
    const double ring_width = fmax(RING_WIDTH * side, RING_WIDTH_MIN);
    find_sign(search);
    make_heights(search);
    const struct basins_plane plane = {
        .heights = search->heights,
        .width = search->window->rect.width,
        .height = search->window->rect.height,
        .spread = search->background.spread * BASIN_ONE / GREY_ONE,
        .noise = find_noise(search),
        .ring_begin = (uint32_t)ceil(RING_BEGIN * search->sigma),
        .ring_width = (uint32_t)ring_width,
        .cancel = search->cancel,
    };
    int rc = grey_basins_find(&plane, search->window->labels, err);
    return rc < 0 ? rc : split_labels(search, err);
}

/* ---- judgement ---- */

static const int steps[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};

/* Whether a neighbour is not looked at although it was analysed. */
static bool is_at_end(const struct search *search, uint32_t x, uint32_t y)
{
    const struct grey_window *window = search->window;
    const struct class_map *map = search->map;
    for (int i = 0; i < 4; i++) {
        const int64_t other_x = (int64_t)x + steps[i][0], other_y = (int64_t)y + steps[i][1];
        if (other_x < 0 || other_y < 0 || other_x >= window->rect.width ||
            other_y >= window->rect.height)
            continue;
        const size_t cell = cell_of(search, (uint32_t)other_x, (uint32_t)other_y);
        const size_t of_map = (size_t)window->rows[other_y] * map->n_x + window->columns[other_x];
        if (search->places[cell] == PLACE_OUTSIDE && map->cells[of_map] != CELL_NOT_ANALYSED)
            return true;
    }
    /* The window ends a chip away from the region, or with the map. */
    const uint32_t column = window->columns[x], row = window->rows[y];
    return (x == 0 && column > 0) || (y == 0 && row > 0) ||
           (x + 1 == window->rect.width && column + 1 < map->n_x) ||
           (y + 1 == window->rect.height && row + 1 < map->n_y);
}

static void count_edges(const struct grey_window *window, uint32_t x, uint32_t y,
                        struct candidate *candidate)
{
    const uint32_t width = window->rect.width, label = window->labels[(size_t)y * width + x];
    for (int i = 0; i < 4; i++) {
        const int64_t other_x = (int64_t)x + steps[i][0], other_y = (int64_t)y + steps[i][1];
        if (other_x < 0 || other_y < 0 || other_x >= width || other_y >= window->rect.height)
            continue;
        const uint32_t other = window->labels[(size_t)other_y * width + (size_t)other_x];
        candidate->n_edges += other != label;
        candidate->n_shared += other != label && other != 0;
    }
}

static void count_pixels(struct search *search)
{
    const struct grey_window *window = search->window;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            const uint32_t label = window->labels[(size_t)y * window->rect.width + x];
            if (label == 0)
                continue;
            struct candidate *candidate = &search->candidates[label];
            candidate->n_pixels++;
            candidate->n_within += search->places[cell_of(search, x, y)] == PLACE_WITHIN;
            count_edges(window, x, y, candidate);
            if (!candidate->is_cut)
                candidate->is_cut = is_at_end(search, x, y);
        }
    }
}

static double chip_area(const struct search *search)
{
    return (double)search->map->map.x.chip * search->map->map.y.chip;
}

struct tally {
    uint32_t n_objects;    /* candidates that may be objects */
    uint32_t n_candidates; /* on the region, also those that are too small */
    uint32_t n_solid;      /* of them not much smaller than a chip */
    uint32_t n_around;     /* that might be objects, whole, and do not lie on the region */
};

/* Numbers the candidates that may be objects. */
static struct tally count_candidates(struct search *search)
{
    const double least = OBJECT_MIN * chip_area(search);
    struct tally tally = {0};
    for (uint32_t i = 1; i <= search->window->n_objects; i++) {
        struct candidate *candidate = &search->candidates[i];
        const bool is_large = (double)candidate->n_pixels >= least;
        const bool is_within = 2 * candidate->n_within >= candidate->n_pixels;
        tally.n_around += is_large && !is_within && !candidate->is_cut;
        tally.n_candidates += is_within;
        tally.n_solid += is_within && (double)candidate->n_pixels >= SOLID_MIN * chip_area(search);
        const bool is_free = (double)candidate->n_shared <= SHARED_MAX * (double)candidate->n_edges;
        if (is_large && is_within && is_free && !candidate->is_cut)
            candidate->number = ++tally.n_objects;
    }
    return tally;
}

/* Takes what is no object out of the labels. */
static void keep_objects(struct search *search, uint32_t n)
{
    struct grey_window *window = search->window;
    for (size_t i = 0; i < (size_t)window->rect.width * window->rect.height; i++)
        window->labels[i] = search->candidates[window->labels[i]].number;
    window->n_objects = n;
}

struct depth {
    uint64_t n_pixels, n_covered; /* that lie deep in the region; of them by objects */
};

static int find_depth(const struct search *search, struct depth *out, struct error *err)
{
    const struct fine_axis *x_axis = &search->map->map.x, *y_axis = &search->map->map.y;
    const struct grey_window *window = search->window;
    const uint32_t n_x = box_width(search), n_y = search->box.bottom - search->box.top;
    struct depth depth = {0};
    uint8_t *is_near = malloc((size_t)n_x * n_y);
    if (is_near == NULL)
        return error_set_nomem(err, "the objects");
    for (size_t i = 0; i < (size_t)n_x * n_y; i++)
        is_near[i] = search->places[i] != PLACE_WITHIN;
    int rc = class_map_widen(is_near, n_x, n_y,
                             class_map_reach(x_axis, (uint32_t)(DEEP_CHIPS * x_axis->chip)),
                             class_map_reach(y_axis, (uint32_t)(DEEP_CHIPS * y_axis->chip)), err);
    for (uint32_t y = 0; y < window->rect.height && rc == 0; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            const bool is_deep = is_near[cell_of(search, x, y)] == 0;
            depth.n_pixels += is_deep;
            depth.n_covered += is_deep && window->labels[(size_t)y * window->rect.width + x] > 0;
        }
    }
    free(is_near);
    *out = depth;
    return rc;
}

/* The share of the region's cells whose windows see an object: that it is at most half a chip away
 * from. */
static int find_share_seen(const struct search *search, double *out, struct error *err)
{
    const struct fine_axis *x_axis = &search->map->map.x, *y_axis = &search->map->map.y;
    const struct grey_window *window = search->window;
    const uint32_t n_x = box_width(search), n_y = search->box.bottom - search->box.top;
    uint8_t *sees = calloc((size_t)n_x * n_y, sizeof(*sees));
    if (sees == NULL)
        return error_set_nomem(err, "the objects");
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            if (window->labels[(size_t)y * window->rect.width + x] > 0)
                sees[cell_of(search, x, y)] = 1;
        }
    }
    int rc = class_map_widen(sees, n_x, n_y, class_map_reach(x_axis, (x_axis->chip + 1) / 2),
                             class_map_reach(y_axis, (y_axis->chip + 1) / 2), err);
    uint64_t n_cells = 0, n_seen = 0;
    for (size_t i = 0; i < (size_t)n_x * n_y; i++) {
        n_cells += search->places[i] == PLACE_WITHIN;
        n_seen += search->places[i] == PLACE_WITHIN && sees[i] != 0;
    }
    free(sees);
    *out = (double)n_seen / (double)n_cells;
    return rc;
}

/* In pixels. */
static double place_area(const struct search *search, enum place place)
{
    const struct class_map *map = search->map;
    const struct cell_box *box = &search->box;
    double area = 0.0;
    for (uint32_t y = box->top; y < box->bottom; y++) {
        for (uint32_t x = box->left; x < box->right; x++) {
            if (search->places[(size_t)(y - box->top) * box_width(search) + x - box->left] == place)
                area += (double)(map->x_edges[x + 1] - map->x_edges[x]) *
                        (map->y_edges[y + 1] - map->y_edges[y]);
        }
    }
    return area;
}

/* Whether the candidates are objects, and what makes the region the class's. */
static bool are_objects(const struct search *search, const struct tally *tally,
                        const struct depth *depth)
{
    const double within = place_area(search, PLACE_WITHIN);
    const double around = place_area(search, PLACE_AROUND);
    if (depth->n_pixels > 0 && ((double)depth->n_covered < DEEP_MIN * (double)depth->n_pixels ||
                                2 * tally->n_solid < tally->n_candidates))
        return false;
    return tally->n_candidates <= 1.0 + within / chip_area(search) &&
           tally->n_around * within <= AROUND_MAX * tally->n_objects * around;
}

static int choose_objects(struct search *search, struct error *err)
{
    struct grey_window *window = search->window;
    search->candidates = calloc((size_t)window->n_objects + 1, sizeof(*search->candidates));
    if (search->candidates == NULL)
        return error_set_nomem(err, "the objects");
    double seen = 0.0;
    struct depth depth = {0};
    count_pixels(search);
    const struct tally tally = count_candidates(search);
    keep_objects(search, tally.n_objects);
    int rc = find_share_seen(search, &seen, err);
    if (rc == 0)
        rc = find_depth(search, &depth, err);
    if (rc < 0 || seen < SEEN_MIN || !are_objects(search, &tally, &depth))
        window->n_objects = 0;
    return rc;
}

int grey_objects_find(struct grey_window *out, const struct objects_source *source,
                      const struct class_map *map, uint32_t region, struct error *err)
{
    struct search search = {
        .window = out, .map = map, .cancel = source->map->cancel, .region = region};
    *out = (struct grey_window){0};
    int rc = find_places(&search, err);
    const struct cell_box *box = &search.box;
    out->rect = (struct chip_rect){.x = map->x_edges[box->left],
                                   .y = map->y_edges[box->top],
                                   .width = map->x_edges[box->right] - map->x_edges[box->left],
                                   .height = map->y_edges[box->bottom] - map->y_edges[box->top]};
    if (rc == 0 && (uint64_t)out->rect.width * out->rect.height <= OBJECTS_WINDOW_MAX) {
        rc = read_window(&search, source, err);
        if (rc == 0)
            rc = fit_background(&search, err);
        const bool is_fitted = search.background.is_fitted;
        if (rc == 0 && is_fitted)
            rc = find_candidates(&search, err);
        if (rc == 0 && is_fitted)
            rc = choose_objects(&search, err);
    }
    free(search.grey);
    free(search.heights);
    free(search.candidates);
    free(search.places);
    return rc;
}

void grey_window_clear(struct grey_window *window)
{
    free(window->labels);
    free(window->columns);
    free(window->rows);
    *window = (struct grey_window){0};
}
