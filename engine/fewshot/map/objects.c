/* Region after region by grey levels; then those that are left by the map, all at once. */
#include "engine/fewshot/map/objects.h"

#include <stdlib.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/map/class_map.h"
#include "engine/fewshot/map/grey_objects.h"
#include "engine/fewshot/map/watershed.h"

const char *object_boundary_name(enum object_boundary boundary)
{
    switch (boundary) {
    case OBJECT_GREY:
        return "grey";
    case OBJECT_MAP:
        return "map";
    }
    return "unknown";
}

struct finding {
    const struct objects_source *source;
    const struct objects_filter *filter;
    struct class_map map;
    bool *is_replaced; /* n_regions + 1: the region has objects by grey levels; owned */
    struct objects objects;
    uint32_t n_max; /* that there is room for */
};

/* ---- adding ---- */

static int add(struct finding *finding, const struct object *object, struct error *err)
{
    struct objects *objects = &finding->objects;
    const struct objects_filter *filter = finding->filter;
    if (object->shape.px.area < filter->min_area ||
        (filter->exclude_border && object->touches_border))
        return 0;
    if (objects->n == finding->n_max) {
        const uint32_t n_max = finding->n_max > 0 ? 2 * finding->n_max : 64;
        struct object *items = reallocarray(objects->items, n_max, sizeof(*items));
        if (items == NULL)
            return error_set_nomem(err, "the objects");
        objects->items = items;
        finding->n_max = n_max;
    }
    objects->items[objects->n++] = *object;
    return 0;
}

/* A raster of labels over the map: each of its columns lies on a cell's, and so do its rows. */
struct layer {
    struct shape_raster raster;
    const uint32_t *columns, *rows; /* NULL: the raster's are the map's */
    enum object_boundary boundary;
};

/* At the end of the map, or of what was analysed. */
static bool is_at_border(const struct finding *finding, const struct layer *layer, uint32_t x,
                         uint32_t y, size_t cell)
{
    static const int steps[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    const struct class_map *map = &finding->map;
    const struct shape_raster *raster = &layer->raster;
    if (raster->x_edges[x] == map->x_edges[0] || raster->y_edges[y] == map->y_edges[0] ||
        raster->x_edges[x + 1] == map->x_edges[map->n_x] ||
        raster->y_edges[y + 1] == map->y_edges[map->n_y])
        return true;
    for (int i = 0; i < 4; i++) {
        const int64_t other_x = (int64_t)x + steps[i][0], other_y = (int64_t)y + steps[i][1];
        if (other_x < 0 || other_y < 0 || other_x >= raster->n_x || other_y >= raster->n_y)
            continue;
        const size_t column = layer->columns != NULL ? layer->columns[other_x] : (size_t)other_x;
        const size_t row = layer->rows != NULL ? layer->rows[other_y] : (size_t)other_y;
        const size_t other = row * map->n_x + column;
        if (other != cell && map->cells[other] == CELL_NOT_ANALYSED)
            return true;
    }
    return false;
}

/* What is read off the map: probabilities, as a sum over the area, and borders. */
static void read_map(const struct finding *finding, const struct layer *layer,
                     struct object *objects)
{
    const struct shape_raster *raster = &layer->raster;
    for (uint32_t y = 0; y < raster->n_y; y++) {
        const size_t row = layer->rows != NULL ? layer->rows[y] : y;
        const double height = raster->y_edges[y + 1] - raster->y_edges[y];
        for (uint32_t x = 0; x < raster->n_x; x++) {
            const uint32_t label = raster->labels[(size_t)y * raster->n_x + x];
            if (label == 0)
                continue;
            const size_t column = layer->columns != NULL ? layer->columns[x] : x;
            const size_t cell = row * finding->map.n_x + column;
            struct object *object = &objects[label - 1];
            object->mean_probability += (double)finding->map.probabilities[cell] * height *
                                        (raster->x_edges[x + 1] - raster->x_edges[x]);
            if (!object->touches_border)
                object->touches_border = is_at_border(finding, layer, x, y, cell);
        }
    }
}

static int add_layer(struct finding *finding, const struct layer *layer, uint32_t n,
                     struct error *err)
{
    const struct objects_source *source = finding->source;
    struct shape *shapes = calloc((size_t)n + 1, sizeof(*shapes));
    struct object *objects = calloc((size_t)n + 1, sizeof(*objects));
    int rc = shapes == NULL || objects == NULL
                 ? error_set_nomem(err, "the objects")
                 : shapes_measure(&layer->raster, n, source->pixel_width_nm,
                                  source->pixel_height_nm, source->map->cancel, shapes, err);
    if (rc == 0)
        read_map(finding, layer, objects);
    for (uint32_t i = 0; i < n && rc == 0; i++) {
        objects[i].shape = shapes[i];
        objects[i].boundary = layer->boundary;
        objects[i].mean_probability /= shapes[i].px.area;
        rc = add(finding, &objects[i], err);
    }
    free(shapes);
    free(objects);
    return rc;
}

/* ---- by grey levels ---- */

static uint32_t *make_edges(uint32_t first, uint32_t n)
{
    uint32_t *edges = malloc(((size_t)n + 1) * sizeof(*edges));
    for (uint32_t i = 0; edges != NULL && i <= n; i++)
        edges[i] = first + i;
    return edges;
}

static int add_window(struct finding *finding, const struct grey_window *window, struct error *err)
{
    const struct chip_rect *rect = &window->rect;
    uint32_t *x_edges = make_edges(rect->x, rect->width);
    uint32_t *y_edges = make_edges(rect->y, rect->height);
    const struct layer layer = {.raster = {.n_x = rect->width,
                                           .n_y = rect->height,
                                           .labels = window->labels,
                                           .x_edges = x_edges,
                                           .y_edges = y_edges,
                                           .step_x = 1.0,
                                           .step_y = 1.0},
                                .columns = window->columns,
                                .rows = window->rows,
                                .boundary = OBJECT_GREY};
    int rc = x_edges == NULL || y_edges == NULL
                 ? error_set_nomem(err, "the objects")
                 : add_layer(finding, &layer, window->n_objects, err);
    free(x_edges);
    free(y_edges);
    return rc;
}

static int add_by_grey(struct finding *finding, struct error *err)
{
    const struct class_map *map = &finding->map;
    int rc = 0;
    for (uint32_t region = 1; region <= map->n_regions && rc == 0; region++) {
        struct grey_window window = {0};
        rc = grey_objects_find(&window, finding->source, map, region, err);
        if (rc == 0 && window.n_objects > 0)
            rc = add_window(finding, &window, err);
        finding->is_replaced[region] = window.n_objects > 0;
        grey_window_clear(&window);
    }
    return rc;
}

/* ---- by the map ---- */

static void set_heights(const struct finding *finding, bool has_valleys, uint16_t *heights)
{
    const struct class_map *map = &finding->map;
    for (size_t i = 0; i < (size_t)map->n_x * map->n_y; i++) {
        const double height = has_valleys ? 65534.0 * (double)map->probabilities[i] : 0.0;
        const bool is_left = map->regions[i] > 0 && !finding->is_replaced[map->regions[i]];
        heights[i] = is_left ? (uint16_t)(1.0 + height) : 0;
    }
}

static int add_by_map(struct finding *finding, struct error *err)
{
    const struct class_map *map = &finding->map;
    const size_t n = (size_t)map->n_x * map->n_y;
    /* Where windows do not overlap, each cell is another measurement: a lower one is no valley. */
    const bool has_valleys = fine_axis_is_fine(&map->map.x) && fine_axis_is_fine(&map->map.y);
    const struct watershed_params valleys = {.ratio = has_valleys ? OBJECT_NECK : 0.0};
    uint16_t *heights = malloc(n * sizeof(*heights));
    uint32_t *labels = malloc(n * sizeof(*labels)), n_labels = 0;
    int rc = heights == NULL || labels == NULL ? error_set_nomem(err, "the objects") : 0;
    if (rc == 0) {
        set_heights(finding, has_valleys, heights);
        rc = watershed_label(&valleys, heights, NULL, map->n_x, map->n_y,
                             finding->source->map->cancel, labels, &n_labels, err);
    }
    const struct layer layer = {.raster = {.n_x = map->n_x,
                                           .n_y = map->n_y,
                                           .labels = labels,
                                           .x_edges = map->x_edges,
                                           .y_edges = map->y_edges,
                                           .step_x = map->map.x.step,
                                           .step_y = map->map.y.step},
                                .boundary = OBJECT_MAP};
    if (rc == 0)
        rc = add_layer(finding, &layer, n_labels, err);
    free(heights);
    free(labels);
    return rc;
}

/* ---- all ---- */

static int compare(const void *a, const void *b)
{
    const struct object *one = a, *other = b;
    if (one->shape.first_y != other->shape.first_y)
        return one->shape.first_y < other->shape.first_y ? -1 : 1;
    if (one->shape.first_x != other->shape.first_x)
        return one->shape.first_x < other->shape.first_x ? -1 : 1;
    return (int)one->boundary - (int)other->boundary;
}

int objects_find(const struct objects_source *source, uint32_t class_index,
                 const struct objects_filter *filter, struct objects *out, struct error *err)
{
    struct finding finding = {.source = source, .filter = filter};
    int rc = class_map_create(&finding.map, source->map, class_index, err);
    if (rc < 0)
        return rc;
    finding.is_replaced = calloc((size_t)finding.map.n_regions + 1, sizeof(bool));
    if (finding.is_replaced == NULL)
        rc = error_set_nomem(err, "the objects");
    if (rc == 0 && source->read_grey != NULL)
        rc = add_by_grey(&finding, err);
    if (rc == 0)
        rc = add_by_map(&finding, err);
    if (rc == 0 && finding.objects.n > 0)
        qsort(finding.objects.items, finding.objects.n, sizeof(struct object), compare);
    if (rc == 0)
        *out = finding.objects;
    else
        objects_clear(&finding.objects);
    free(finding.is_replaced);
    class_map_clear(&finding.map);
    return rc;
}

void objects_clear(struct objects *objects)
{
    free(objects->items);
    *objects = (struct objects){0};
}
