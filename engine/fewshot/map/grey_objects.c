/* Peaks above the background have basins; of each, what is higher than half of the peak's plateau
 * is a candidate, split at necks. Then the candidates are judged, all of a region together.
 */
#include "engine/fewshot/map/grey_objects.h"

#include <math.h>
#include <stdlib.h>

#include "engine/fewshot/map/grey_background.h"
#include "engine/fewshot/map/watershed.h"

/* Of the shorter side of a chip: the smoothing. */
static const double SIGMA = 0.05, SIGMA_MIN = 0.7, SIGMA_MAX = 4.0;
/* A plateau above the background, in spreads of it; what is not looked at is below half of that. */
static const double LEVEL_MIN = 4.0;
/* Peaks are two if the saddle is below a part of the lower one, and by some spreads. */
static const double SADDLE = 0.75, SADDLE_DEPTH = 3.0;
/* Of a chip's area: the least object. */
static const double OBJECT_MIN = 1.0 / 128.0;
/* Of an object's outline: what it may share with others. */
static const double SHARED_MAX = 0.5;
/* Of a region's cells, how many must see an object. */
static const double SEEN_MIN = 0.9;
/* Candidates around the region, to an area, against those in it. */
static const double AROUND_MAX = 0.5;

enum { LEVEL_TURNS = 2 };

/* What a cell is to the region. */
enum place {
    PLACE_OUTSIDE, /* not looked at: not analysed, too far away, another region */
    PLACE_AROUND,  /* of other classes */
    PLACE_WITHIN,  /* the region's */
};

static const struct watershed_params necks = {.ratio = OBJECT_NECK, .depth = WATERSHED_PIXEL};

struct basin {
    uint64_t sum, n_pixels; /* of what is higher than half of its level */
    double level;           /* of the plateau, above the background */
};

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
    uint16_t *heights;            /* above the background or below it; owned */
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
    const double sigma = fmin(fmax(SIGMA * side, SIGMA_MIN), SIGMA_MAX);
    uint8_t *grey = malloc(n);
    search->heights = malloc(n * sizeof(*search->heights));
    window->labels = malloc(n * sizeof(*window->labels));
    window->columns = find_cells(search->map->x_edges, search->box.left, search->box.right);
    window->rows = find_cells(search->map->y_edges, search->box.top, search->box.bottom);
    int rc = grey == NULL || search->heights == NULL || window->labels == NULL ||
                     window->columns == NULL || window->rows == NULL
                 ? error_set_nomem(err, "a part of the image")
                 : source->read_grey(source->context, &window->rect, grey, err);
    if (rc == 0)
        rc = grey_smooth(grey, window->rect.width, window->rect.height, sigma, search->cancel,
                         search->heights, err);
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
            grey_background_add(&search->background, search->heights + (size_t)y * width,
                                is_background, width, y);
        }
        grey_background_fit(&search->background);
    }
    free(is_background);
    return 0;
}

/* Whether there is more of the region far above the background or far below it. */
static void find_sign(struct search *search)
{
    const struct grey_window *window = search->window;
    const double far = 0.5 * LEVEL_MIN * search->background.spread;
    double above = 0.0, below = 0.0;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            if (search->places[cell_of(search, x, y)] != PLACE_WITHIN)
                continue;
            const uint16_t grey = search->heights[(size_t)y * window->rect.width + x];
            const double height = grey_above(&search->background, grey, x, y);
            above += fmax(height - far, 0.0);
            below += fmax(-height - far, 0.0);
        }
    }
    search->sign = above >= below ? 1.0 : -1.0;
}

/* Grey levels become heights; 0: not looked at, or so near to the background that it is no part of
 * an object. */
static void make_heights(struct search *search)
{
    const struct grey_window *window = search->window;
    const double far = 0.5 * LEVEL_MIN * search->background.spread;
    for (uint32_t y = 0; y < window->rect.height; y++) {
        for (uint32_t x = 0; x < window->rect.width; x++) {
            uint16_t *height = &search->heights[(size_t)y * window->rect.width + x];
            const double above = search->sign * grey_above(&search->background, *height, x, y);
            const bool is_looked_at = search->places[cell_of(search, x, y)] != PLACE_OUTSIDE;
            *height = is_looked_at && above > far ? (uint16_t)fmin(above, UINT16_MAX) : 0;
        }
    }
}

/* ---- candidates ---- */

/* Each basin's level: half of the highest pixel's is a first threshold, and then half of the mean
 * of what is above the one before. */
static void find_levels(const struct search *search, struct basin *basins, uint32_t n_basins)
{
    const struct grey_window *window = search->window;
    const size_t n = (size_t)window->rect.width * window->rect.height;
    for (size_t i = 0; i < n; i++) {
        struct basin *basin = &basins[window->labels[i]];
        basin->level = fmax(basin->level, search->heights[i]);
    }
    for (int turn = 0; turn < LEVEL_TURNS; turn++) {
        for (size_t i = 0; i < n; i++) {
            struct basin *basin = &basins[window->labels[i]];
            if (search->heights[i] > 0.5 * basin->level) {
                basin->sum += search->heights[i];
                basin->n_pixels++;
            }
        }
        for (uint32_t i = 1; i <= n_basins; i++) {
            basins[i].level = (double)basins[i].sum / (double)basins[i].n_pixels;
            basins[i].sum = basins[i].n_pixels = 0;
        }
    }
}

/* Leaves of each basin what is an object's, if it is high enough. */
static int cut_basins(struct search *search, uint32_t n_basins, struct error *err)
{
    const struct grey_window *window = search->window;
    const size_t n = (size_t)window->rect.width * window->rect.height;
    struct basin *basins = calloc((size_t)n_basins + 1, sizeof(*basins));
    if (basins == NULL)
        return error_set_nomem(err, "the objects");
    find_levels(search, basins, n_basins);
    for (size_t i = 0; i < n; i++) {
        const struct basin *basin = &basins[window->labels[i]];
        if (basin->level < LEVEL_MIN * search->background.spread ||
            search->heights[i] <= 0.5 * basin->level)
            window->labels[i] = 0;
    }
    free(basins);
    return 0;
}

static int find_candidates(struct search *search, struct error *err)
{
    struct grey_window *window = search->window;
    const uint32_t width = window->rect.width, height = window->rect.height;
    const struct watershed_params peaks = {
        .ratio = SADDLE,
        .depth = (uint16_t)fmin(SADDLE_DEPTH * search->background.spread, UINT16_MAX)};
    uint32_t n_basins = 0;
    find_sign(search);
    make_heights(search);
    int rc = watershed_label(&peaks, search->heights, NULL, width, height, search->cancel,
                             window->labels, &n_basins, err);
    if (rc == 0)
        rc = cut_basins(search, n_basins, err);
    if (rc == 0)
        rc = watershed_distances(window->labels, width, height, search->cancel, search->heights,
                                 err);
    if (rc == 0)
        rc = watershed_label(&necks, search->heights, window->labels, width, height, search->cancel,
                             window->labels, &window->n_objects, err);
    return rc;
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
    uint32_t n_around;     /* that might be objects and do not lie on the region */
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
        tally.n_around += is_large && !is_within;
        tally.n_candidates += is_within;
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
static bool are_objects(const struct search *search, const struct tally *tally)
{
    const double within = place_area(search, PLACE_WITHIN);
    const double around = place_area(search, PLACE_AROUND);
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
    count_pixels(search);
    const struct tally tally = count_candidates(search);
    keep_objects(search, tally.n_objects);
    int rc = find_share_seen(search, &seen, err);
    if (rc < 0 || seen < SEEN_MIN || !are_objects(search, &tally))
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
