/* Maps are one pixel a cell; what is laid over the image asks, pixel by pixel, which cell is there.
 * Labels are held as the bytes that an indexed map has. All on the calling thread.
 */
#include "engine/fewshot/map/maps.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/labels.h"
#include "engine/image/preview.h"

/* Okabe and Ito, Color Universal Design, 2008, without black, which cannot be told from a dark
 * micrograph. */
static const struct rgb okabe_ito[] = {
    {230, 159, 0}, {86, 180, 233}, {0, 158, 115},   {240, 228, 66},
    {0, 114, 178}, {213, 94, 0},   {204, 121, 167},
};
enum { N_OKABE_ITO = sizeof(okabe_ito) / sizeof(*okabe_ito) };

/* Chips without a class are no colour. */
static const struct rgb undecided_color = {192, 192, 192}, unknown_color = {128, 128, 128},
                        not_analysed_color = {0, 0, 0};

/* An indexed map holds the low byte of a label: 253 to 255 for chips without a class. */
enum { PALETTE_SIZE = 256, UNDECIDED_INDEX = 253, UNKNOWN_INDEX = 254, NOT_ANALYSED_INDEX = 255 };
_Static_assert((uint8_t)LABEL_UNDECIDED == UNDECIDED_INDEX &&
                   (uint8_t)LABEL_UNKNOWN == UNKNOWN_INDEX &&
                   (uint8_t)LABEL_NOT_ANALYSED == NOT_ANALYSED_INDEX &&
                   (int)CLASSIFIER_CLASSES_MAX <= (int)UNDECIDED_INDEX,
               "each label has a low byte of its own");

static uint8_t to_byte(double value)
{
    return (uint8_t)(fmin(fmax(value, 0.0), 1.0) * 255.0 + 0.5);
}

/* HSV, all in 0..1. */
static struct rgb from_hue(double hue, double saturation, double value)
{
    double channel[3];
    for (int i = 0; i < 3; i++) {
        /* Distance on the colour circle from the channel's own hue, in sixths of the circle. */
        double turn = hue * 6.0 - 2.0 * i;
        double distance = fabs(turn - 6.0 * floor(turn / 6.0 + 0.5));
        double pure = fmin(fmax(2.0 - distance, 0.0), 1.0);
        channel[i] = value * (1.0 - saturation * (1.0 - pure));
    }
    return (struct rgb){to_byte(channel[0]), to_byte(channel[1]), to_byte(channel[2])};
}

struct rgb maps_default_color(uint32_t index)
{
    if (index < N_OKABE_ITO)
        return okabe_ito[index];
    /* Twenty hues around the circle, each in three depths: 60 more colours. */
    static const double saturations[] = {1.0, 0.45, 1.0};
    static const double values[] = {1.0, 1.0, 0.5};
    uint32_t k = (index - N_OKABE_ITO) % 60;
    uint32_t step = k * 7 % 20;
    uint32_t depth = k / 20;
    return from_hue((step + depth / 3.0) / 20.0, saturations[depth], values[depth]);
}

static struct rgb palette_color(const struct rgb *colors, uint8_t index)
{
    switch (index) {
    case UNDECIDED_INDEX:
        return undecided_color;
    case UNKNOWN_INDEX:
        return unknown_color;
    case NOT_ANALYSED_INDEX:
        return not_analysed_color;
    default:
        return colors[index];
    }
}

/* ---- one pixel a cell ---- */

/* The map's cells as a picture is made of them. */
struct cells {
    struct fine_map map;
    uint8_t *bytes; /* rows x columns; owned */
};

static int cells_init(struct cells *cells, const struct fine_source *source, const char *what,
                      struct error *err)
{
    fine_map_plan(source->grid, &cells->map);
    cells->bytes = malloc(fine_map_n_cells(&cells->map));
    return cells->bytes == NULL ? error_set_nomem(err, what) : 0;
}

static void take_labels(void *context, uint32_t row, const uint16_t *labels)
{
    const struct cells *cells = context;
    uint8_t *bytes = cells->bytes + (size_t)row * cells->map.x.n_cells;
    for (uint32_t i = 0; i < cells->map.x.n_cells; i++)
        bytes[i] = (uint8_t)labels[i];
}

static void take_probabilities(void *context, uint32_t row, const float *probabilities)
{
    const struct cells *cells = context;
    uint8_t *bytes = cells->bytes + (size_t)row * cells->map.x.n_cells;
    for (uint32_t i = 0; i < cells->map.x.n_cells; i++)
        bytes[i] = to_byte(probabilities[i]);
}

/* On success the caller frees cells->bytes. */
static int label_cells(const struct fine_source *source, struct cells *cells, struct error *err)
{
    int rc = cells_init(cells, source, "the label map", err);
    if (rc == 0)
        rc = fine_map_visit_labels(source, take_labels, cells, err);
    if (rc < 0)
        free(cells->bytes);
    return rc;
}

static int write_indices(const uint8_t *indices, uint32_t width, uint32_t height,
                         const struct rgb *colors, uint32_t n_classes, struct png_bytes *out,
                         struct error *err)
{
    struct rgb palette[PALETTE_SIZE] = {0};
    memcpy(palette, colors, n_classes * sizeof(*colors));
    palette[UNDECIDED_INDEX] = undecided_color;
    palette[UNKNOWN_INDEX] = unknown_color;
    palette[NOT_ANALYSED_INDEX] = not_analysed_color;
    const size_t n = (size_t)width * height;
    uint32_t n_colors = n_classes;
    for (size_t i = 0; i < n && n_colors < PALETTE_SIZE; i++) {
        if (indices[i] >= n_classes)
            n_colors = PALETTE_SIZE;
    }
    return png_write_indexed(indices, width, height, palette, n_colors, out, err);
}

int maps_labels(const struct fine_source *source, const struct rgb *colors, struct png_bytes *out,
                struct error *err)
{
    struct cells cells;
    int rc = label_cells(source, &cells, err);
    if (rc < 0)
        return rc;
    rc = write_indices(cells.bytes, cells.map.x.n_cells, cells.map.y.n_cells, colors,
                       source->n_classes, out, err);
    free(cells.bytes);
    return rc;
}

int maps_probability(const struct fine_source *source, uint32_t class_index, struct png_bytes *out,
                     struct error *err)
{
    struct cells cells;
    int rc = cells_init(&cells, source, "the probability map", err);
    if (rc < 0)
        return rc;
    rc = fine_map_visit_probability(source, class_index, take_probabilities, &cells, err);
    if (rc == 0)
        rc = png_write_grey8(cells.bytes, cells.map.x.n_cells, cells.map.y.n_cells, out, err);
    free(cells.bytes);
    return rc;
}

/* ---- laid over the image ---- */

/* For each of n_out pixels along one axis of the picture: the cell (column or row) that covers its
 * centre, or -1. Cells rise: one sweep finds them all. */
static void find_cells(const struct fine_axis *axis, uint32_t image_side, uint32_t n_out,
                       int64_t *out)
{
    uint32_t cell = 0;
    for (uint32_t i = 0; i < n_out; i++) {
        const double at = (i + 0.5) * image_side / n_out;
        while (cell + 1 < axis->n_cells && at >= fine_axis_begin(axis, cell + 1))
            cell++;
        const bool covered = at >= fine_axis_begin(axis, cell) && at < fine_axis_end(axis, cell);
        out[i] = covered ? (int64_t)cell : -1;
    }
}

/* A label map as large as the picture. */
struct laid {
    uint32_t width, height;
    uint8_t *indices; /* height x width; owned */
};

static void lay_rows(struct laid *laid, const struct cells *cells, const int64_t *rows,
                     const int64_t *columns)
{
    for (uint32_t y = 0; y < laid->height; y++) {
        uint8_t *out = laid->indices + (size_t)y * laid->width;
        if (rows[y] < 0) {
            memset(out, NOT_ANALYSED_INDEX, laid->width);
            continue;
        }
        const uint8_t *row = cells->bytes + (size_t)rows[y] * cells->map.x.n_cells;
        for (uint32_t x = 0; x < laid->width; x++)
            out[x] = columns[x] < 0 ? NOT_ANALYSED_INDEX : row[columns[x]];
    }
}

static int lay_cells(struct laid *laid, const struct grid *grid, const struct cells *cells,
                     struct error *err)
{
    int64_t *columns = calloc(laid->width, sizeof(*columns));
    int64_t *rows = calloc(laid->height, sizeof(*rows));
    laid->indices = malloc((size_t)laid->width * laid->height);
    int rc = 0;
    if (columns == NULL || rows == NULL || laid->indices == NULL) {
        free(laid->indices);
        rc = error_set_nomem(err, "the label map");
        goto out;
    }
    find_cells(&cells->map.x, grid->image_width, laid->width, columns);
    find_cells(&cells->map.y, grid->image_height, laid->height, rows);
    lay_rows(laid, cells, rows, columns);
out:
    free(columns);
    free(rows);
    return rc;
}

/* On success the caller frees out->indices. */
static int lay_labels(const struct fine_source *source, uint32_t max_side, struct laid *out,
                      struct error *err)
{
    const struct grid *grid = source->grid;
    struct cells cells;
    if (max_side == 0)
        return error_set(err, ERROR_INVALID, "max_side: 0, at least 1 is needed");
    int rc = label_cells(source, &cells, err);
    if (rc < 0)
        return rc;
    preview_size(grid->image_width, grid->image_height, max_side, &out->width, &out->height);
    rc = lay_cells(out, grid, &cells, err);
    free(cells.bytes);
    return rc;
}

int maps_labels_laid(const struct fine_source *source, const struct rgb *colors, uint32_t max_side,
                     struct png_bytes *out, struct error *err)
{
    struct laid laid;
    int rc = lay_labels(source, max_side, &laid, err);
    if (rc < 0)
        return rc;
    rc = write_indices(laid.indices, laid.width, laid.height, colors, source->n_classes, out, err);
    free(laid.indices);
    return rc;
}

/* Opacity 0.4, rounded half up. */
static uint8_t blend(uint8_t grey, uint8_t color)
{
    return (uint8_t)((6u * grey + 4u * color + 5u) / 10u);
}

static void paint(const struct laid *laid, const uint8_t *grey, const struct rgb *colors,
                  uint8_t *pixels)
{
    const size_t n = (size_t)laid->width * laid->height;
    for (size_t i = 0; i < n; i++) {
        uint8_t *pixel = pixels + i * 3;
        pixel[0] = pixel[1] = pixel[2] = grey[i];
        if (laid->indices[i] == NOT_ANALYSED_INDEX)
            continue;
        const struct rgb color = palette_color(colors, laid->indices[i]);
        pixel[0] = blend(grey[i], color.r);
        pixel[1] = blend(grey[i], color.g);
        pixel[2] = blend(grey[i], color.b);
    }
}

int maps_overlay(const struct fine_source *source, const uint8_t *grey, const struct rgb *colors,
                 uint32_t max_side, struct png_bytes *out, struct error *err)
{
    struct laid laid;
    int rc = lay_labels(source, max_side, &laid, err);
    if (rc < 0)
        return rc;
    uint8_t *pixels = reallocarray(NULL, (size_t)laid.width * laid.height, 3);
    if (pixels == NULL) {
        rc = error_set_nomem(err, "the overlay");
        goto out;
    }
    paint(&laid, grey, colors, pixels);
    rc = png_write_rgb8(pixels, laid.width, laid.height, out, err);
out:
    free(pixels);
    free(laid.indices);
    return rc;
}
