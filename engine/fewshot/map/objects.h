/* Objects of a class: particles, pores, precipitates, each with its place and size.
 *
 * They begin as the connected regions (8-neighbour) of the class on the map (fine_map.h). Two
 * outlines are possible, and each object says which one it has:
 *
 * - OBJECT_GREY: within the region and a chip's length around it, by the grey levels of the image,
 *   where these part the class from what is around it: half way between an object and its
 *   surroundings (grey_basins.h), split at necks narrower than OBJECT_NECK of the smaller part. At
 *   least half of an object lies on windows of the class, nine windows of ten of the region see
 *   one, and there are not more than the area of the region is that of chips, and one: these would
 *   be a texture. In a region that is thick, objects are, too.
 * - OBJECT_MAP: all other regions: what the map says, and so up to half a chip larger than the
 *   object on each side. Split where windows overlap and the class's probability has a valley below
 *   OBJECT_NECK of the lower peak.
 *
 * Grey levels add no object to a region without contrast, and none away from the class's windows;
 * a region is never lost: one that has no object by its grey levels is one by the map. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_OBJECTS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"
#include "engine/fewshot/map/object_shape.h"

#define OBJECT_NECK 0.75

/* Pixels of a region and what is around it up to which the image is looked at: 24 bytes each. */
enum { OBJECTS_WINDOW_MAX = 1 << 23 };

enum object_boundary { OBJECT_GREY, OBJECT_MAP };

const char *object_boundary_name(enum object_boundary boundary); /* "grey", "map" */

struct object {
    struct shape shape;
    double mean_probability; /* of the class, over the object's area */
    enum object_boundary boundary;
    bool touches_border; /* of the image, or of what was analysed of it */
};

/* Reads a window of the normalised image in 8 bits of grey, row by row, into `out`. 0 or an error
 * code. */
typedef int (*objects_read_grey)(void *context, const struct chip_rect *window, uint8_t *out,
                                 struct error *err);

/* All borrowed. */
struct objects_source {
    const struct fine_source *map;
    objects_read_grey read_grey; /* NULL: all are OBJECT_MAP */
    void *context;
    double pixel_width_nm, pixel_height_nm; /* 0: not known */
};

/* What is left out. */
struct objects_filter {
    double min_area; /* pixels */
    bool exclude_border;
};

/* In the order in which rows of pixels from the top meet them. */
struct objects {
    struct object *items; /* owned */
    uint32_t n;
};

/* On the calling thread; deterministic. Takes memory for the map (30 bytes a cell) and for a window
 * at a time. ERROR_INVALID: as fine_map_visit_labels; ERROR_CANCELLED when the map's cancel is
 * asked, ERROR_NOMEM, and what reading the image gave. */
int objects_find(const struct objects_source *source, uint32_t class_index,
                 const struct objects_filter *filter, struct objects *out, struct error *err);
void objects_clear(struct objects *objects);

#endif
