/* Maps are one pixel a cell, or one a pixel of the image. Labels are held as the bytes that an
 * indexed map has (laid.h). All on the calling thread.
 */
#include "engine/fewshot/map/maps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/map/laid.h"
#include "engine/image/preview.h"

enum { PALETTE_SIZE = 256 };

struct rgb maps_no_class_color(uint8_t label)
{
    static const struct rgb undecided = {192, 192, 192}, unknown = {128, 128, 128}, none = {0};
    return label == LAID_UNDECIDED ? undecided : label == LAID_UNKNOWN ? unknown : none;
}

static uint8_t to_byte(float value)
{
    return (uint8_t)(fminf(fmaxf(value, 0.0f), 1.0f) * 255.0f + 0.5f);
}

/* ---- a picture that is written row by row ---- */

struct drawing {
    struct fine_map map;
    struct png_writer *writer; /* owned */
    uint8_t *row;              /* as wide as the map; owned */
    int rc;
    struct error *err;
};

static void drawing_clear(struct drawing *drawing)
{
    png_writer_destroy(drawing->writer);
    free(drawing->row);
}

/* Colours of classes, then black up to those of labels that are none. Whether these occur is known
 * when the picture is done, so all palettes are whole. */
static int begin_labels(struct drawing *drawing, const struct fine_source *source,
                        const struct rgb *colors, uint32_t width, uint32_t height,
                        struct error *err)
{
    struct rgb palette[PALETTE_SIZE] = {0};
    if (source->n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, at most %d are allowed",
                         source->n_classes, CLASSIFIER_CLASSES_MAX);
    memcpy(palette, colors, source->n_classes * sizeof(*colors));
    for (int i = LAID_UNDECIDED; i <= LAID_NONE; i++)
        palette[i] = maps_no_class_color((uint8_t)i);
    const struct png_head head = {.kind = PNG_KIND_INDEXED,
                                  .width = width,
                                  .height = height,
                                  .palette = palette,
                                  .n_colors = PALETTE_SIZE};
    return png_writer_create(&drawing->writer, &head, err);
}

static int begin_probability(struct drawing *drawing, uint32_t width, uint32_t height,
                             struct error *err)
{
    const struct png_head head = {.kind = PNG_KIND_GREY8, .width = width, .height = height};
    return png_writer_create(&drawing->writer, &head, err);
}

/* ---- one pixel a cell ---- */

static int prepare_cells(struct drawing *drawing, const struct fine_source *source,
                         struct error *err)
{
    fine_map_plan(source->grid, &drawing->map);
    drawing->err = err;
    drawing->row = malloc(drawing->map.x.n_cells);
    return drawing->row == NULL ? error_set_nomem(err, "a map") : 0;
}

static void add_row(struct drawing *drawing)
{
    if (drawing->rc == 0)
        drawing->rc = png_writer_add(drawing->writer, drawing->row, drawing->err);
}

static void take_labels(void *context, uint32_t row, const uint16_t *labels)
{
    struct drawing *drawing = context;
    (void)row;
    for (uint32_t i = 0; i < drawing->map.x.n_cells; i++)
        drawing->row[i] = (uint8_t)labels[i];
    add_row(drawing);
}

static void take_probabilities(void *context, uint32_t row, const float *probabilities)
{
    struct drawing *drawing = context;
    (void)row;
    for (uint32_t i = 0; i < drawing->map.x.n_cells; i++)
        drawing->row[i] = to_byte(probabilities[i]);
    add_row(drawing);
}

static int finish(struct drawing *drawing, int rc, struct png_bytes *out, struct error *err)
{
    if (rc == 0)
        rc = drawing->rc;
    if (rc == 0)
        rc = png_writer_finish(drawing->writer, out, err);
    drawing_clear(drawing);
    return rc;
}

int maps_labels(const struct fine_source *source, const struct rgb *colors, struct png_bytes *out,
                struct error *err)
{
    struct drawing drawing = {0};
    int rc = prepare_cells(&drawing, source, err);
    if (rc == 0)
        rc = begin_labels(&drawing, source, colors, drawing.map.x.n_cells, drawing.map.y.n_cells,
                          err);
    if (rc == 0)
        rc = fine_map_visit_labels(source, take_labels, &drawing, err);
    return finish(&drawing, rc, out, err);
}

int maps_probability(const struct fine_source *source, uint32_t class_index, struct png_bytes *out,
                     struct error *err)
{
    struct drawing drawing = {0};
    int rc = prepare_cells(&drawing, source, err);
    if (rc == 0)
        rc = begin_probability(&drawing, drawing.map.x.n_cells, drawing.map.y.n_cells, err);
    if (rc == 0)
        rc = fine_map_visit_probability(source, class_index, take_probabilities, &drawing, err);
    return finish(&drawing, rc, out, err);
}

/* ---- laid over the image ---- */

static int take_pixels(void *context, uint32_t y, const uint8_t *pixels, struct error *err)
{
    const struct drawing *drawing = context;
    (void)y;
    return png_writer_add(drawing->writer, pixels, err);
}

/* 0 is no size, and refused by what is asked for a picture of it. */
static void size_of(const struct fine_source *source, uint32_t max_side, uint32_t *width,
                    uint32_t *height)
{
    const struct grid *grid = source->grid;
    preview_size(grid->image_width, grid->image_height, max_side, width, height);
}

int maps_labels_laid(const struct fine_source *source, const struct rgb *colors, uint32_t max_side,
                     struct png_bytes *out, struct error *err)
{
    struct drawing drawing = {0};
    uint32_t width, height;
    size_of(source, max_side, &width, &height);
    int rc = begin_labels(&drawing, source, colors, width, height, err);
    if (rc == 0)
        rc = laid_visit_labels(source, width, height, take_pixels, &drawing, err);
    return finish(&drawing, rc, out, err);
}

int maps_probability_laid(const struct fine_source *source, uint32_t class_index, uint32_t max_side,
                          struct png_bytes *out, struct error *err)
{
    struct drawing drawing = {0};
    uint32_t width, height;
    size_of(source, max_side, &width, &height);
    int rc = begin_probability(&drawing, width, height, err);
    if (rc == 0)
        rc = laid_visit_probability(source, class_index, width, height, take_pixels, &drawing, err);
    return finish(&drawing, rc, out, err);
}
