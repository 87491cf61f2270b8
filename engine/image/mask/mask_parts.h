/* What a mask is put together from, and why each part of it is left out: for the mask itself, and
 * for those who are told of it. */
#ifndef CHIPSHOT_ENGINE_IMAGE_MASK_PARTS_H
#define CHIPSHOT_ENGINE_IMAGE_MASK_PARTS_H

#include "engine/image/mask/bars.h"
#include "engine/image/mask/mask.h"

enum mask_kind {
    MASK_RECTANGLE,
    MASK_POLYGON,
    MASK_PICTURE,     /* the black pixels of a picture of the image's size */
    MASK_TRANSPARENT, /* pixels of the image that have no value */
    MASK_BORDER,      /* found, as the next (bars.h) */
    MASK_BAR,
};

/* "rectangle", "polygon", "picture", "transparent", "border", "bar" */
const char *mask_kind_name(enum mask_kind kind);

enum mask_status {
    MASK_GIVEN,    /* by the user, or by the file */
    MASK_PROPOSED, /* found, and neither accepted nor refused */
    MASK_ACCEPTED,
    MASK_REFUSED, /* it stays in */
};

/* "given", "proposed", "accepted", "refused" */
const char *mask_status_name(enum mask_status status);

struct mask_part {
    enum mask_kind kind;
    enum mask_status status;
    struct chip_rect rect;           /* what it is, or what is around it */
    const struct mask_point *points; /* of a polygon, borrowed from the parts */
    size_t n_points;
    uint64_t n_pixels; /* of a picture and of transparent ones: how many are left out */
};

enum { MASK_NAME_SIZE = 65 };

struct mask_parts {
    struct mask_part *items; /* n; owned */
    size_t n;
    struct mask_point *points; /* of all polygons; owned */
    uint32_t version;          /* of the image's mask; 0: there is none */
    char name[MASK_NAME_SIZE]; /* of what is left out, among all masks; "": it has none */
};

/* Room for `n_max` parts and the points of their polygons. ERROR_NOMEM. To be released with
 * mask_parts_clear, which may be called twice. */
int mask_parts_init(struct mask_parts *out, size_t n_max, size_t n_points_max, struct error *err);
void mask_parts_clear(struct mask_parts *parts);

/* Adds a part where there is room. */
void mask_parts_add(struct mask_parts *parts, const struct mask_part *part);
void mask_parts_add_bar(struct mask_parts *parts, const struct bar *bar, enum mask_status status);
/* Adds a polygon, whose points lie in parts->points. */
void mask_parts_add_polygon(struct mask_parts *parts, const struct mask_point *points,
                            size_t n_points);

/* Which of the parts that were found are left out when nobody has decided. */
enum mask_proposals { MASK_WITH_PROPOSED, MASK_WITHOUT_PROPOSED };

/* Takes away the parts that are not left out: those that were refused, and, as asked for, those
 * that are only proposed. */
void mask_parts_keep(struct mask_parts *parts, enum mask_proposals proposals);

/* Adds all shapes to a mask; a picture and transparent pixels are the caller's to add. ERROR_NOMEM,
 * ERROR_CANCELLED. */
int mask_parts_draw(const struct mask_parts *parts, struct mask *mask, const struct cancel *cancel,
                    struct error *err);

#endif
