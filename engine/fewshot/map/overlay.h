/* The overlay: a micrograph in grey with the labels of its map laid over it (laid.h). */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_MAP_OVERLAY_H
#define CHIPSHOT_ENGINE_FEWSHOT_MAP_OVERLAY_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/map/fine_map.h"
#include "engine/image/png_write.h"

enum overlay_style {
    OVERLAY_TINT,    /* each pixel blended with its class' colour */
    OVERLAY_CONTOUR, /* the pixels along borders between labels in their class' colour */
};

enum { OVERLAY_OPACITY = 40 /* percent, of a tint, when nobody says otherwise */ };

const char *overlay_style_name(enum overlay_style style);
/* ERROR_INVALID: "style" is neither "tint" nor "contour". */
int overlay_style_parse(const char *name, enum overlay_style *out, struct error *err);

/* All borrowed. */
struct overlay {
    const struct fine_source *source;
    const uint8_t *grey; /* the picture, width x height */
    uint32_t width, height;
    const struct rgb *colors; /* n_classes of the source */
    enum overlay_style style;
    uint32_t opacity;         /* percent */
    const char *const *names; /* of the classes: with a legend; NULL: without */
    double pixel_nm;          /* of the image's pixel along a row: with a scale bar; 0: without */
};

/* An indexed PNG, in which greys are rounded to some 24 levels or more, where colours and greys
 * have room in a palette, which is up to eight labels; RGB, and twice the time, else. A pixel that
 * is not covered or was not analysed keeps its grey. Errors as of laid_visit_labels. */
int overlay_draw(const struct overlay *overlay, struct png_bytes *out, struct error *err);

#endif
