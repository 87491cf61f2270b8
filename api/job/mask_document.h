/* What users say is left out of an image, as JSON: what they send and get, and what is stored with
 * a version of an image's mask (db/image_masks.h). */
#ifndef CHIPSHOT_API_MASK_DOCUMENT_H
#define CHIPSHOT_API_MASK_DOCUMENT_H

#include "api/message/json_read.h"
#include "engine/image/image.h"
#include "engine/image/mask/mask_parts.h"

/* What it is about. */
struct mask_frame {
    uint32_t width, height; /* of the image */
    uint32_t n_proposals;   /* of what was found in it */
};

struct mask_document {
    struct chip_rect *rectangles; /* n_rectangles; owned, as all that follows */
    size_t n_rectangles;
    struct mask_point *points; /* of all polygons; n_points */
    size_t n_points;
    size_t *polygons; /* n_polygons: how many points each has */
    size_t n_polygons;
    uint32_t accepted, refused; /* bit i: proposal i */
    uint64_t picture_pixels;    /* that the picture leaves out, where there is one */
};

/* Reads {"rectangles": [{"x","y","width","height"}, ...], "polygons": [[[x, y], ...], ...],
 * "accepted": [index, ...], "refused": [index, ...], "picture": null}; all may be absent.
 * *no_picture becomes true where the picture is taken away. Faults are recorded at `at`.
 * ERROR_NOMEM. To be released with mask_document_clear. */
int mask_document_read(json_t *value, const struct json_at *at, const struct mask_frame *frame,
                       struct mask_document *out, bool *no_picture, struct error *err);
void mask_document_clear(struct mask_document *document);

/* The same members; the caller's. NULL when out of memory. */
json_t *mask_document_json(const struct mask_document *document);
/* With "picture_pixels" as malloc'd text, canonical. NULL when out of memory. */
char *mask_document_to_text(const struct mask_document *document);
/* Reads a stored text; NULL: an empty document. ERROR_CORRUPT, ERROR_NOMEM. */
int mask_document_from_text(const char *text, const struct mask_frame *frame,
                            struct mask_document *out, struct error *err);

/* ---- what a look at an image's pixels told ---- */

/* What was found, and pixels without a value, as malloc'd text. NULL when out of memory. */
char *image_look_to_text(const struct image_look *look);
/* NULL: nothing was found. There are no counts. ERROR_CORRUPT, ERROR_NOMEM. */
int image_look_from_text(const char *text, uint32_t width, uint32_t height, struct image_look *out,
                         struct error *err);

#endif
