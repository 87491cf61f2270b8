#include "engine/image/mask/mask_parts.h"

#include <math.h>
#include <stdlib.h>

const char *mask_kind_name(enum mask_kind kind)
{
    switch (kind) {
    case MASK_RECTANGLE:
        return "rectangle";
    case MASK_POLYGON:
        return "polygon";
    case MASK_PICTURE:
        return "picture";
    case MASK_TRANSPARENT:
        return "transparent";
    case MASK_BORDER:
        return "border";
    case MASK_BAR:
        return "bar";
    }
    return "unknown";
}

const char *mask_status_name(enum mask_status status)
{
    switch (status) {
    case MASK_GIVEN:
        return "given";
    case MASK_PROPOSED:
        return "proposed";
    case MASK_ACCEPTED:
        return "accepted";
    case MASK_REFUSED:
        return "refused";
    }
    return "unknown";
}

int mask_parts_init(struct mask_parts *out, size_t n_max, size_t n_points_max, struct error *err)
{
    /* Never nothing: NULL would mean that memory is short. */
    struct mask_parts parts = {.items = calloc(n_max + 1, sizeof(*parts.items)),
                               .points = calloc(n_points_max + 1, sizeof(*parts.points))};
    if (parts.items == NULL || parts.points == NULL) {
        mask_parts_clear(&parts);
        return error_set_nomem(err, "a mask");
    }
    *out = parts;
    return 0;
}

void mask_parts_clear(struct mask_parts *parts)
{
    free(parts->items);
    free(parts->points);
    *parts = (struct mask_parts){0};
}

void mask_parts_add(struct mask_parts *parts, const struct mask_part *part)
{
    parts->items[parts->n++] = *part;
}

void mask_parts_add_bar(struct mask_parts *parts, const struct bar *bar, enum mask_status status)
{
    const struct mask_part part = {.kind = bar->kind == BAR_BORDER ? MASK_BORDER : MASK_BAR,
                                   .status = status,
                                   .rect = bar->rect};
    mask_parts_add(parts, &part);
}

void mask_parts_add_polygon(struct mask_parts *parts, const struct mask_point *points,
                            size_t n_points)
{
    double left = INFINITY, top = INFINITY, right = 0, bottom = 0;
    for (size_t i = 0; i < n_points; i++) {
        left = fmin(left, floor(points[i].x));
        top = fmin(top, floor(points[i].y));
        right = fmax(right, ceil(points[i].x));
        bottom = fmax(bottom, ceil(points[i].y));
    }
    const struct mask_part part = {
        .kind = MASK_POLYGON,
        .rect = {(uint32_t)left, (uint32_t)top, (uint32_t)(right - left), (uint32_t)(bottom - top)},
        .points = points,
        .n_points = n_points};
    mask_parts_add(parts, &part);
}

void mask_parts_keep(struct mask_parts *parts, enum mask_proposals proposals)
{
    size_t n = 0;
    for (size_t i = 0; i < parts->n; i++) {
        const enum mask_status status = parts->items[i].status;
        if (status == MASK_REFUSED ||
            (status == MASK_PROPOSED && proposals == MASK_WITHOUT_PROPOSED))
            continue;
        parts->items[n++] = parts->items[i];
    }
    parts->n = n;
}

static int draw_part(struct mask *mask, const struct mask_part *part, const struct cancel *cancel,
                     struct error *err)
{
    switch (part->kind) {
    case MASK_RECTANGLE:
    case MASK_BORDER:
    case MASK_BAR:
        mask_add_rectangle(mask, &part->rect);
        return 0;
    case MASK_POLYGON:
        return mask_add_polygon(mask, part->points, part->n_points, cancel, err);
    case MASK_PICTURE:
    case MASK_TRANSPARENT:
        break;
    }
    return 0;
}

int mask_parts_draw(const struct mask_parts *parts, struct mask *mask, const struct cancel *cancel,
                    struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < parts->n && rc == 0; i++)
        rc = draw_part(mask, &parts->items[i], cancel, err);
    return rc;
}
