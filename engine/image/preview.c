/* Area averaging with exact weights: along an axis, output i covers the image's pixels from
 * i * n_in / n_out to (i + 1) * n_in / n_out, and pixel j of level k those from j * 2^k to
 * (j + 1) * 2^k, or to the end; in units of 1 / n_out of a pixel these bounds are whole numbers,
 * and so is what two of them share. Columns are gathered first, whole rows at a time, then the row
 * is shrunk. The rows come in bands as high as a tile: an output row begins no higher than in the
 * band in which the one before it ends.
 */
#include "engine/image/preview.h"

#include <stdlib.h>
#include <string.h>

#include "base/clones.h"

enum { OVERSAMPLING = 2 };

void preview_size(uint32_t width, uint32_t height, uint32_t max_side, uint32_t *out_width,
                  uint32_t *out_height)
{
    uint32_t longer = width > height ? width : height;
    uint32_t limit = max_side > 0 ? max_side : 1;
    *out_width = width;
    *out_height = height;
    if (longer <= limit)
        return;
    uint64_t small_width = ((uint64_t)width * limit + longer / 2) / longer;
    uint64_t small_height = ((uint64_t)height * limit + longer / 2) / longer;
    *out_width = small_width > 0 ? (uint32_t)small_width : 1;
    *out_height = small_height > 0 ? (uint32_t)small_height : 1;
}

/* One axis of the picture. */
struct axis {
    uint64_t n_in;  /* pixels of the image */
    uint64_t n_out; /* of the picture */
    uint32_t k;     /* the level that is read */
};

/* The inputs of an output of a row: the first and the last are cut, those between them are whole.
 */
struct span {
    uint32_t first, last;
    double first_share, last_share; /* the latter 0 where the first is the last */
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What output i and the level's pixel j share, in units of 1 / n_out of a pixel; the shares of an
 * output sum to n_in. */
static double share(const struct axis *axis, uint64_t i, uint64_t j)
{
    const uint64_t out_start = i * axis->n_in, in_start = (j << axis->k) * axis->n_out;
    const uint64_t in_end = smaller((j + 1) << axis->k, axis->n_in) * axis->n_out;
    const uint64_t end = smaller(out_start + axis->n_in, in_end);
    return (double)(end - (out_start > in_start ? out_start : in_start));
}

static uint32_t first_input(const struct axis *axis, uint64_t i)
{
    return (uint32_t)((i * axis->n_in / axis->n_out) >> axis->k);
}

/* One past the last input that output i touches. */
static uint32_t end_input(const struct axis *axis, uint64_t i)
{
    const uint64_t end = ((i + 1) * axis->n_in + axis->n_out - 1) / axis->n_out;
    return (uint32_t)(((end - 1) >> axis->k) + 1);
}

struct drawing {
    const struct pyramid *pyramid;
    pyramid_read_tiles read;
    void *context;
    struct axis x, y;
    uint8_t *band;       /* PYRAMID_TILE_HEIGHT rows of the level; owned */
    uint32_t band_first; /* its first row */
    uint32_t band_end;   /* one past its last row */
    double *sums;        /* a row of the level, gathered; owned */
    struct span *spans;  /* of a row's outputs; owned */
};

static const struct pyramid_level *level_of(const struct drawing *drawing)
{
    return &drawing->pyramid->levels[drawing->x.k];
}

/* Reads the band of row y, unless it is there. */
static int read_band(struct drawing *drawing, uint32_t y, struct error *err)
{
    if (y < drawing->band_end)
        return 0;
    const struct pyramid_level *level = level_of(drawing);
    const uint32_t first = y - y % PYRAMID_TILE_HEIGHT;
    const struct chip_rect window = {0, first, level->width,
                                     (uint32_t)smaller(PYRAMID_TILE_HEIGHT, level->height - first)};
    drawing->band_first = first;
    drawing->band_end = first + window.height;
    return pyramid_read(drawing->pyramid, drawing->x.k, &window, drawing->read, drawing->context,
                        drawing->band, err);
}

VECTOR_CLONES static void add_row(const uint8_t *in, uint32_t width, double weight, double *sums)
{
    for (uint32_t x = 0; x < width; x++)
        sums[x] += weight * in[x];
}

static int gather_rows(struct drawing *drawing, uint32_t row, struct error *err)
{
    const uint32_t width = level_of(drawing)->width, end = end_input(&drawing->y, row);
    int rc = 0;
    memset(drawing->sums, 0, width * sizeof(drawing->sums[0]));
    for (uint32_t y = first_input(&drawing->y, row); rc == 0 && y < end; y++) {
        rc = read_band(drawing, y, err);
        if (rc != 0)
            break;
        const uint8_t *in = drawing->band + (size_t)(y - drawing->band_first) * width;
        const double weight = share(&drawing->y, row, y);
        add_row(in, width, weight, drawing->sums);
    }
    return rc;
}

static void plan_spans(const struct axis *axis, struct span *spans)
{
    for (uint32_t i = 0; i < axis->n_out; i++) {
        const uint32_t first = first_input(axis, i), last = end_input(axis, i) - 1;
        spans[i] = (struct span){first, last, share(axis, i, first),
                                 last > first ? share(axis, i, last) : 0.0};
    }
}

/* All sums are of whole numbers that a double holds: in any order they are the same. */
static void shrink_row(const struct drawing *drawing, uint8_t *out)
{
    const struct axis *axis = &drawing->x;
    const double area = (double)axis->n_in * (double)drawing->y.n_in;
    const double whole = (double)(axis->n_out << axis->k);
    const double *sums = drawing->sums;
    for (uint32_t i = 0; i < axis->n_out; i++) {
        const struct span *span = &drawing->spans[i];
        double between = 0.0;
        for (uint32_t x = span->first + 1; x < span->last; x++)
            between += sums[x];
        const double sum = span->first_share * sums[span->first] + whole * between +
                           span->last_share * sums[span->last];
        out[i] = (uint8_t)(sum / area + 0.5);
    }
}

/* At its own size it is the image. */
static int copy_image(const struct pyramid *pyramid, pyramid_read_tiles read, void *context,
                      uint8_t *out, struct error *err)
{
    const struct pyramid_level *whole = &pyramid->levels[0];
    int rc = 0;
    for (uint32_t y = 0; rc == 0 && y < whole->height; y += PYRAMID_TILE_HEIGHT) {
        const struct chip_rect band = {0, y, whole->width,
                                       (uint32_t)smaller(PYRAMID_TILE_HEIGHT, whole->height - y)};
        rc = pyramid_read(pyramid, 0, &band, read, context, out + (size_t)y * whole->width, err);
    }
    return rc;
}

/* At least OVERSAMPLING pixels of the level a pixel of the picture and side, so that few of them
 * are cut by its edges: the mean is then that over the image, but for a grey or two. */
static uint32_t choose_level(const struct pyramid *pyramid, uint32_t width, uint32_t height)
{
    uint32_t k = 0;
    while (k + 1 < pyramid->n_levels && pyramid->levels[k + 1].width / OVERSAMPLING >= width &&
           pyramid->levels[k + 1].height / OVERSAMPLING >= height)
        k++;
    return k;
}

int preview_draw(const struct pyramid *pyramid, pyramid_read_tiles read, void *context,
                 uint32_t out_width, uint32_t out_height, uint8_t *out, struct error *err)
{
    if (out_width == 0 || out_height == 0)
        return error_set(err, ERROR_INVALID,
                         "preview: sizes must be at least 1 pixel, but are %u x %u", out_width,
                         out_height);
    const uint32_t k = choose_level(pyramid, out_width, out_height);
    const struct pyramid_level *whole = &pyramid->levels[0], *level = &pyramid->levels[k];
    if (out_width == whole->width && out_height == whole->height)
        return copy_image(pyramid, read, context, out, err);
    struct drawing drawing = {.pyramid = pyramid,
                              .read = read,
                              .context = context,
                              .x = {whole->width, out_width, k},
                              .y = {whole->height, out_height, k}};
    drawing.band = malloc((size_t)PYRAMID_TILE_HEIGHT * level->width);
    drawing.sums = malloc(level->width * sizeof(drawing.sums[0]));
    drawing.spans = malloc(out_width * sizeof(drawing.spans[0]));
    int rc = 0;
    if (drawing.band == NULL || drawing.sums == NULL || drawing.spans == NULL)
        rc = error_set_nomem(err, "a preview");
    else
        plan_spans(&drawing.x, drawing.spans);
    for (uint32_t row = 0; rc == 0 && row < out_height; row++) {
        rc = gather_rows(&drawing, row, err);
        if (rc == 0)
            shrink_row(&drawing, out + (size_t)row * out_width);
    }
    free(drawing.band);
    free(drawing.sums);
    free(drawing.spans);
    return rc;
}

/* ---- of a plane ---- */

/* `context`: all tiles. */
static int write_memory(void *context, uint64_t first, uint64_t n, const uint8_t *tiles,
                        struct error *err)
{
    (void)err;
    memcpy((uint8_t *)context + first * PYRAMID_TILE_SIZE, tiles, n * PYRAMID_TILE_SIZE);
    return 0;
}

static int read_memory(void *context, uint64_t first, uint64_t n, uint8_t *tiles, struct error *err)
{
    (void)err;
    memcpy(tiles, (const uint8_t *)context + first * PYRAMID_TILE_SIZE, n * PYRAMID_TILE_SIZE);
    return 0;
}

static int add_plane(struct pyramid_maker *maker, const float *pixels, uint32_t width,
                     uint32_t height, struct error *err)
{
    uint8_t *row = malloc(width);
    int rc = row == NULL ? error_set_nomem(err, "a preview") : 0;
    for (uint32_t y = 0; rc == 0 && y < height; y++) {
        pyramid_quantise(pixels + (size_t)y * width, width, row);
        rc = pyramid_maker_add(maker, row, 1, err);
    }
    free(row);
    return rc;
}

int preview_of_plane(const float *pixels, uint32_t width, uint32_t height, uint32_t out_width,
                     uint32_t out_height, uint8_t *out, struct error *err)
{
    struct pyramid pyramid;
    struct pyramid_maker *maker = NULL;
    pyramid_plan(&pyramid, width, height);
    uint8_t *tiles = malloc(pyramid.n_tiles * PYRAMID_TILE_SIZE);
    int rc = tiles == NULL ? error_set_nomem(err, "a preview")
                           : pyramid_maker_create(&maker, &pyramid, write_memory, tiles, err);
    if (rc == 0)
        rc = add_plane(maker, pixels, width, height, err);
    if (rc == 0)
        rc = preview_draw(&pyramid, read_memory, tiles, out_width, out_height, out, err);
    pyramid_maker_destroy(maker);
    free(tiles);
    return rc;
}
