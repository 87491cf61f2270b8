/* The objects of one region of a class (class_map.h) by the grey levels of the image, as objects.h
 * says. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_OBJECTS_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_GREY_OBJECTS_H

#include "engine/fewshot/map/class_map.h"
#include "engine/fewshot/map/objects.h"

/* The pixels of a region's cells and of those around it; owned. */
struct grey_window {
    struct chip_rect rect;
    uint32_t *labels;  /* 0, or 1 .. n_objects */
    uint32_t *columns; /* rect.width: the cell of each column */
    uint32_t *rows;    /* rect.height */
    uint32_t n_objects;
};

/* Reads the pixels and finds the objects in them; none where grey levels do not tell. Errors as
 * objects_find. Clear in any case. */
int grey_objects_find(struct grey_window *out, const struct objects_source *source,
                      const struct class_map *map, uint32_t region, struct error *err);
void grey_window_clear(struct grey_window *window);

#endif
