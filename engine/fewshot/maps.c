/* Maps of the grid are one pixel a chip and hold what there is; the overlay is a picture of the
 * image and asks, pixel by pixel, which chip is nearest. All on the calling thread.
 */
#include "engine/fewshot/maps.h"

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
static const struct rgb unknown_color = {128, 128, 128}, not_analysed_color = {0, 0, 0};

/* An indexed map holds the low byte of a label: 254 and 255 for chips without a class. */
enum { PALETTE_SIZE = 256, UNKNOWN_INDEX = 254, NOT_ANALYSED_INDEX = 255 };
_Static_assert((uint8_t)LABEL_UNKNOWN == UNKNOWN_INDEX &&
                   (uint8_t)LABEL_NOT_ANALYSED == NOT_ANALYSED_INDEX &&
                   (int)CLASSIFIER_CLASSES_MAX <= (int)UNKNOWN_INDEX,
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

static int check_classes(uint32_t n_classes, struct error *err)
{
    if (n_classes == 0 || n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_INVALID, "classes: %u, from 1 to %d are allowed", n_classes,
                         CLASSIFIER_CLASSES_MAX);
    return 0;
}

static int check_labels(const struct grid *grid, const uint16_t *labels, uint32_t n_classes,
                        struct error *err)
{
    int rc = check_classes(n_classes, err);
    if (rc < 0)
        return rc;
    return labels_check(labels, 0, grid_n_chips(grid), n_classes, err);
}

int maps_labels(const struct grid *grid, const uint16_t *labels, const struct rgb *colors,
                uint32_t n_classes, struct png_bytes *out, struct error *err)
{
    int rc = check_labels(grid, labels, n_classes, err);
    if (rc < 0)
        return rc;
    uint64_t n_chips = grid_n_chips(grid);
    uint8_t *indices = malloc(n_chips);
    if (indices == NULL)
        return error_set_nomem(err, "the label map");
    struct rgb palette[PALETTE_SIZE] = {0};
    memcpy(palette, colors, n_classes * sizeof(*colors));
    palette[UNKNOWN_INDEX] = unknown_color;
    palette[NOT_ANALYSED_INDEX] = not_analysed_color;
    uint32_t n_colors = n_classes;
    for (uint64_t i = 0; i < n_chips; i++) {
        indices[i] = (uint8_t)labels[i];
        if (labels[i] >= n_classes)
            n_colors = PALETTE_SIZE;
    }
    rc = png_write_indexed(indices, grid->columns, grid->rows, palette, n_colors, out, err);
    free(indices);
    return rc;
}

int maps_probability(const struct grid *grid, const float *probabilities, uint32_t n_classes,
                     uint32_t class_index, struct png_bytes *out, struct error *err)
{
    int rc = check_classes(n_classes, err);
    if (rc < 0)
        return rc;
    if (class_index >= n_classes)
        return error_set(err, ERROR_INVALID, "class: %u, the last one is %u", class_index,
                         n_classes - 1);
    uint64_t n_chips = grid_n_chips(grid);
    uint8_t *grey = malloc(n_chips);
    if (grey == NULL)
        return error_set_nomem(err, "the probability map");
    for (uint64_t i = 0; i < n_chips; i++)
        grey[i] = to_byte(probabilities[i * n_classes + class_index]);
    rc = png_write_grey8(grey, grid->columns, grid->rows, out, err);
    free(grey);
    return rc;
}

/* For each of n_out pixels along one axis of the output: the grid line (column or row) whose chip
 * covers it with the nearest centre, or -1. The grid is a product of its columns and its rows, so
 * the nearest chip is the nearest column in the nearest row. Chips of a line have one size and
 * rising places: nearest centre is first to last in one sweep; a tie goes to the lower index. */
static void nearest_lines(const uint32_t *starts, uint32_t n_lines, uint32_t size,
                          uint32_t image_size, uint32_t n_out, int64_t *lines)
{
    uint32_t line = 0;
    for (uint32_t i = 0; i < n_out; i++) {
        double at = (i + 0.5) * image_size / n_out;
        while (line + 1 < n_lines &&
               fabs(starts[line + 1] + 0.5 * size - at) < fabs(starts[line] + 0.5 * size - at))
            line++;
        bool covered = at >= starts[line] && at < (double)starts[line] + size;
        lines[i] = covered ? (int64_t)line : -1;
    }
}

struct overlay {
    uint32_t width, height;
    int64_t *columns;    /* width: grid column of each output column, or -1; owned */
    int64_t *rows;       /* height; owned */
    const uint8_t *grey; /* height x width; borrowed */
    uint8_t *pixels;     /* height x width x 3; owned */
};

static void overlay_clear(struct overlay *overlay)
{
    free(overlay->columns);
    free(overlay->rows);
    free(overlay->pixels);
}

static int overlay_plan(struct overlay *overlay, const struct grid *grid, struct error *err)
{
    size_t n_pixels = (size_t)overlay->width * overlay->height;
    uint32_t longest = grid->columns > grid->rows ? grid->columns : grid->rows;
    uint32_t *starts = calloc(longest, sizeof(*starts));
    overlay->columns = calloc(overlay->width, sizeof(*overlay->columns));
    overlay->rows = calloc(overlay->height, sizeof(*overlay->rows));
    overlay->pixels = n_pixels <= SIZE_MAX / 3 ? malloc(n_pixels * 3) : NULL;
    if (starts == NULL || overlay->columns == NULL || overlay->rows == NULL ||
        overlay->pixels == NULL) {
        free(starts);
        return error_set_nomem(err, "the overlay");
    }
    for (uint32_t c = 0; c < grid->columns; c++)
        starts[c] = grid_chip(grid, c).x;
    nearest_lines(starts, grid->columns, grid->params.chip_width, grid->image_width, overlay->width,
                  overlay->columns);
    for (uint32_t r = 0; r < grid->rows; r++)
        starts[r] = grid_chip(grid, (uint64_t)r * grid->columns).y;
    nearest_lines(starts, grid->rows, grid->params.chip_height, grid->image_height, overlay->height,
                  overlay->rows);
    free(starts);
    return 0;
}

/* Opacity 0.4, rounded half up. */
static uint8_t blend(uint8_t grey, uint8_t color)
{
    return (uint8_t)((6u * grey + 4u * color + 5u) / 10u);
}

static void overlay_paint(struct overlay *overlay, const struct grid *grid, const uint16_t *labels,
                          const struct rgb *colors)
{
    for (uint32_t y = 0; y < overlay->height; y++) {
        for (uint32_t x = 0; x < overlay->width; x++) {
            size_t i = (size_t)y * overlay->width + x;
            uint8_t grey = overlay->grey[i];
            uint8_t *pixel = overlay->pixels + i * 3;
            pixel[0] = pixel[1] = pixel[2] = grey;
            int64_t row = overlay->rows[y], column = overlay->columns[x];
            if (row < 0 || column < 0)
                continue;
            const uint16_t label = labels[(uint64_t)row * grid->columns + (uint64_t)column];
            if (label == LABEL_NOT_ANALYSED)
                continue;
            const struct rgb color = label == LABEL_UNKNOWN ? unknown_color : colors[label];
            pixel[0] = blend(grey, color.r);
            pixel[1] = blend(grey, color.g);
            pixel[2] = blend(grey, color.b);
        }
    }
}

int maps_overlay(const struct grid *grid, const uint8_t *grey, const uint16_t *labels,
                 const struct rgb *colors, uint32_t n_classes, uint32_t max_side,
                 struct png_bytes *out, struct error *err)
{
    int rc = check_labels(grid, labels, n_classes, err);
    if (rc < 0)
        return rc;
    if (max_side == 0)
        return error_set(err, ERROR_INVALID, "max_side: 0, at least 1 is needed");
    struct overlay overlay = {.grey = grey};
    preview_size(grid->image_width, grid->image_height, max_side, &overlay.width, &overlay.height);
    rc = overlay_plan(&overlay, grid, err);
    if (rc < 0)
        goto out;
    overlay_paint(&overlay, grid, labels, colors);
    rc = png_write_rgb8(overlay.pixels, overlay.width, overlay.height, out, err);
out:
    overlay_clear(&overlay);
    return rc;
}
