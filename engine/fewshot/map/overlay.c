/* What a pixel becomes depends on its label and its grey alone: that is one table, of places in a
 * palette or of colours. Contours and stamps are put over a row when it is otherwise done; for
 * contours, some rows of labels before and behind are kept.
 */
#include "engine/fewshot/map/overlay.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/map/laid.h"
#include "engine/fewshot/map/legend.h"
#include "engine/fewshot/map/maps.h"

enum {
    N_LABELS = 256,
    N_GREYS = 256,
    PALETTE_SIZE = 256,
    LEVELS_MIN = 24,        /* greys that are few enough to be rounded to */
    SIDE_PER_CONTOUR = 400, /* of the picture, for each pixel of a contour on either side */
    N_ENTRIES = CLASSIFIER_CLASSES_MAX + 2, /* of the legend */
};

struct painting {
    const struct overlay *overlay;
    bool has_label[N_LABELS]; /* which occur in the map, and LAID_NONE */
    struct rgb solid[N_LABELS];
    bool is_indexed;
    uint32_t n_colors;
    struct rgb palette[PALETTE_SIZE];
    uint8_t solid_index[N_LABELS];
    uint8_t index[N_LABELS][N_GREYS];
    struct rgb color[N_LABELS][N_GREYS]; /* when it is not indexed */
    uint32_t reach;                      /* of contours, on either side; 0: a tint */
    uint32_t n_rows;                     /* of labels that came */
    uint8_t *labels;                     /* 2 x reach + 1 rows, in a ring; owned */
    uint8_t *edges;                      /* of a row, where contours are; owned */
    uint8_t *row;                        /* as it is written; owned */
    struct stamp legend, scale;          /* owned */
    struct png_writer *writer;           /* owned */
};

const char *overlay_style_name(enum overlay_style style)
{
    switch (style) {
    case OVERLAY_TINT:
        return "tint";
    case OVERLAY_CONTOUR:
        return "contour";
    }
    return "unknown";
}

int overlay_style_parse(const char *name, enum overlay_style *out, struct error *err)
{
    for (int i = OVERLAY_TINT; i <= OVERLAY_CONTOUR; i++) {
        if (strcmp(name, overlay_style_name((enum overlay_style)i)) == 0) {
            *out = (enum overlay_style)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "style must be tint or contour, but is '%.40s'", name);
}

/* ---- colours ---- */

/* Rounded half up. */
static uint8_t blend(uint32_t grey, uint32_t color, uint32_t opacity)
{
    return (uint8_t)(((100 - opacity) * grey + opacity * color + 50) / 100);
}

static struct rgb tint(const struct painting *painting, uint32_t label, uint8_t grey)
{
    const struct rgb color = painting->solid[label];
    const uint32_t opacity = painting->overlay->opacity;
    if (label == LAID_NONE || painting->reach > 0)
        return (struct rgb){grey, grey, grey};
    return (struct rgb){blend(grey, color.r, opacity), blend(grey, color.g, opacity),
                        blend(grey, color.b, opacity)};
}

static void find_solids(struct painting *painting)
{
    for (uint32_t i = 0; i < painting->overlay->source->n_classes; i++)
        painting->solid[i] = painting->overlay->colors[i];
    for (int i = LAID_UNDECIDED; i <= LAID_NONE; i++)
        painting->solid[i] = maps_no_class_color((uint8_t)i);
    painting->solid[STAMP_PAPER] = (struct rgb){16, 16, 16};
    painting->solid[STAMP_TEXT] = (struct rgb){255, 255, 255};
}

static void mark_labels(void *context, uint32_t row, const uint16_t *labels)
{
    struct painting *painting = context;
    struct fine_map map;
    (void)row;
    fine_map_plan(painting->overlay->source->grid, &map);
    for (uint32_t i = 0; i < map.x.n_cells; i++)
        painting->has_label[(uint8_t)labels[i]] = true;
}

/* ---- a palette ---- */

static bool has_solids(const struct painting *painting)
{
    return painting->reach > 0 || painting->legend.inks != NULL || painting->scale.inks != NULL;
}

/* Puts the inks of contours and stamps into the palette. */
static void add_solids(struct painting *painting)
{
    const uint32_t n_classes = painting->overlay->source->n_classes;
    for (uint32_t i = 0; i < N_LABELS && has_solids(painting); i++) {
        if (i >= n_classes && i < STAMP_PAPER)
            continue;
        painting->palette[painting->n_colors] = painting->solid[i];
        painting->solid_index[i] = (uint8_t)painting->n_colors++;
    }
}

/* Rounds the greys of the picture to n levels at most, each the mean of those that it stands for.
 */
static uint32_t round_greys(const struct overlay *overlay, uint32_t n, uint8_t level_of[N_GREYS],
                            uint8_t levels[N_GREYS])
{
    uint64_t counts[N_GREYS] = {0}, n_pixels[N_GREYS] = {0}, sums[N_GREYS] = {0};
    uint32_t n_used = 0, low = N_GREYS, high = 0, n_levels = 0;
    for (size_t i = 0; i < (size_t)overlay->width * overlay->height; i++)
        counts[overlay->grey[i]]++;
    for (uint32_t grey = 0; grey < N_GREYS; grey++) {
        if (counts[grey] == 0)
            continue;
        n_used++;
        low = grey < low ? grey : low;
        high = grey;
    }
    for (uint32_t grey = low; grey <= high; grey++) {
        if (counts[grey] == 0)
            continue;
        const uint32_t level = n_used <= n ? n_levels++ : (grey - low) * n / (high - low + 1);
        level_of[grey] = (uint8_t)level;
        n_pixels[level] += counts[grey];
        sums[level] += grey * counts[grey];
    }
    for (uint32_t level = 0; level < N_GREYS; level++)
        levels[level] = n_pixels[level] == 0
                            ? 0
                            : (uint8_t)((sums[level] + n_pixels[level] / 2) / n_pixels[level]);
    return n_used <= n ? n_levels : n;
}

/* Whether there is room for one. */
static bool make_palette(struct painting *painting)
{
    uint8_t level_of[N_GREYS] = {0}, levels[N_GREYS];
    uint32_t n_tints = 0;
    add_solids(painting);
    for (uint32_t i = 0; i < N_LABELS; i++)
        n_tints += painting->has_label[i] && (painting->reach == 0 || i == LAID_NONE);
    const uint32_t n_room = (PALETTE_SIZE - painting->n_colors) / n_tints;
    if (n_room < LEVELS_MIN)
        return false;
    const uint32_t n_levels = round_greys(painting->overlay, n_room, level_of, levels);
    for (uint32_t i = N_LABELS; i-- > 0;) {
        const bool is_bare = i == LAID_NONE || painting->reach > 0;
        if (is_bare && i != LAID_NONE) {
            memcpy(painting->index[i], painting->index[LAID_NONE], N_GREYS);
            continue;
        }
        if (!painting->has_label[i])
            continue;
        for (uint32_t grey = 0; grey < N_GREYS; grey++)
            painting->index[i][grey] = (uint8_t)(painting->n_colors + level_of[grey]);
        for (uint32_t level = 0; level < n_levels; level++)
            painting->palette[painting->n_colors++] = tint(painting, i, levels[level]);
    }
    return true;
}

static void make_colors(struct painting *painting)
{
    for (uint32_t i = 0; i < N_LABELS; i++) {
        for (uint32_t grey = 0; grey < N_GREYS; grey++)
            painting->color[i][grey] = tint(painting, i, (uint8_t)grey);
    }
}

/* ---- stamps ---- */

static int make_stamps(struct painting *painting, struct error *err)
{
    const struct overlay *overlay = painting->overlay;
    const uint32_t n_classes = overlay->source->n_classes;
    struct legend_entry entries[N_ENTRIES];
    uint32_t n = 0;
    int rc = 0;
    if (overlay->names != NULL) {
        for (; n < n_classes; n++)
            entries[n] = (struct legend_entry){overlay->names[n], (uint8_t)n};
        if (painting->has_label[LAID_UNDECIDED])
            entries[n++] = (struct legend_entry){"undecided", LAID_UNDECIDED};
        if (painting->has_label[LAID_UNKNOWN])
            entries[n++] = (struct legend_entry){"unknown", LAID_UNKNOWN};
        rc = legend_draw(entries, n, overlay->width, overlay->height, &painting->legend, err);
    }
    if (rc == 0 && overlay->pixel_nm > 0)
        rc = legend_draw_scale(overlay->pixel_nm * overlay->source->grid->image_width /
                                   overlay->width,
                               overlay->width, overlay->height, &painting->scale, err);
    return rc;
}

static void put(const struct painting *painting, uint32_t x, uint8_t ink)
{
    if (painting->is_indexed)
        painting->row[x] = painting->solid_index[ink];
    else
        memcpy(painting->row + (size_t)3 * x, &painting->solid[ink], 3);
}

static void put_stamp(const struct painting *painting, const struct stamp *stamp, uint32_t y)
{
    if (stamp->inks == NULL || y < stamp->y || y - stamp->y >= stamp->height)
        return;
    const uint8_t *inks = stamp->inks + (size_t)(y - stamp->y) * stamp->width;
    for (uint32_t x = 0; x < stamp->width; x++)
        put(painting, stamp->x + x, inks[x]);
}

/* ---- rows ---- */

static uint8_t *labels_of(const struct painting *painting, uint32_t y)
{
    return painting->labels + (size_t)(y % (2 * painting->reach + 1)) * painting->overlay->width;
}

static void mark_edges(uint8_t *edges, const uint8_t *labels, const uint8_t *others, size_t n)
{
    for (size_t i = 0; i < n; i++)
        edges[i] |= (uint8_t)(labels[i] != others[i]);
}

/* Rows up to `reach` behind it have come, as far as there are. */
static void put_contours(const struct painting *painting, uint32_t y)
{
    const struct overlay *overlay = painting->overlay;
    const uint32_t width = overlay->width;
    const uint8_t *labels = labels_of(painting, y);
    memset(painting->edges, 0, width);
    for (uint32_t k = 1; k <= painting->reach; k++) {
        if (y >= k)
            mark_edges(painting->edges, labels, labels_of(painting, y - k), width);
        if (y + k < overlay->height)
            mark_edges(painting->edges, labels, labels_of(painting, y + k), width);
        if (k < width) {
            mark_edges(painting->edges, labels, labels + k, width - k);
            mark_edges(painting->edges + k, labels + k, labels, width - k);
        }
    }
    for (uint32_t x = 0; x < width; x++) {
        if (painting->edges[x] != 0 && labels[x] != LAID_NONE)
            put(painting, x, labels[x]);
    }
}

static int write_row(const struct painting *painting, uint32_t y, struct error *err)
{
    const uint32_t width = painting->overlay->width;
    const uint8_t *labels = labels_of(painting, y);
    const uint8_t *grey = painting->overlay->grey + (size_t)y * width;
    uint8_t *row = painting->row;
    if (painting->is_indexed) {
        for (uint32_t x = 0; x < width; x++)
            row[x] = painting->index[labels[x]][grey[x]];
    } else {
        for (uint32_t x = 0; x < width; x++)
            memcpy(row + (size_t)3 * x, &painting->color[labels[x]][grey[x]], 3);
    }
    if (painting->reach > 0)
        put_contours(painting, y);
    put_stamp(painting, &painting->legend, y);
    put_stamp(painting, &painting->scale, y);
    return png_writer_add(painting->writer, row, err);
}

static int take_labels(void *context, uint32_t y, const uint8_t *labels, struct error *err)
{
    struct painting *painting = context;
    memcpy(labels_of(painting, y), labels, painting->overlay->width);
    painting->n_rows = y + 1;
    return y < painting->reach ? 0 : write_row(painting, y - painting->reach, err);
}

/* Those that waited for rows behind them. */
static int write_last_rows(const struct painting *painting, struct error *err)
{
    const uint32_t n = painting->n_rows, reach = painting->reach;
    int rc = 0;
    for (uint32_t y = n > reach ? n - reach : 0; rc == 0 && y < n; y++)
        rc = write_row(painting, y, err);
    return rc;
}

/* ---- the picture ---- */

static int begin(struct painting *painting, struct error *err)
{
    const struct overlay *overlay = painting->overlay;
    const size_t width = overlay->width;
    painting->is_indexed = make_palette(painting);
    if (!painting->is_indexed)
        make_colors(painting);
    painting->labels = malloc((2 * (size_t)painting->reach + 1) * width);
    painting->edges = malloc(width);
    painting->row = malloc(3 * width);
    if (painting->labels == NULL || painting->edges == NULL || painting->row == NULL)
        return error_set_nomem(err, "an overlay");
    const struct png_head head = {.kind = painting->is_indexed ? PNG_KIND_INDEXED : PNG_KIND_RGB8,
                                  .width = overlay->width,
                                  .height = overlay->height,
                                  .palette = painting->palette,
                                  .n_colors = painting->n_colors};
    return png_writer_create(&painting->writer, &head, err);
}

static void painting_destroy(struct painting *painting)
{
    png_writer_destroy(painting->writer);
    stamp_clear(&painting->legend);
    stamp_clear(&painting->scale);
    free(painting->labels);
    free(painting->edges);
    free(painting->row);
    free(painting);
}

static uint32_t reach_of(const struct overlay *overlay)
{
    const uint32_t side = overlay->width < overlay->height ? overlay->width : overlay->height;
    return overlay->style == OVERLAY_CONTOUR ? 1 + side / SIDE_PER_CONTOUR : 0;
}

int overlay_draw(const struct overlay *overlay, struct png_bytes *out, struct error *err)
{
    struct painting *painting = calloc(1, sizeof(*painting));
    if (painting == NULL)
        return error_set_nomem(err, "an overlay");
    painting->overlay = overlay;
    painting->reach = reach_of(overlay);
    painting->has_label[LAID_NONE] = true;
    find_solids(painting);
    int rc = fine_map_visit_labels(overlay->source, mark_labels, painting, err);
    if (rc == 0)
        rc = make_stamps(painting, err);
    if (rc == 0)
        rc = begin(painting, err);
    if (rc == 0)
        rc = laid_visit_labels(overlay->source, overlay->width, overlay->height, take_labels,
                               painting, err);
    if (rc == 0)
        rc = write_last_rows(painting, err);
    if (rc == 0)
        rc = png_writer_finish(painting->writer, out, err);
    painting_destroy(painting);
    return rc;
}
