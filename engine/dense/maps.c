#include "engine/dense/maps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "engine/dense/half.h"

enum {
    LANES = 16,        /* channels are padded to a multiple of it */
    STRIP_VALUES = 64, /* and strips to one of this: whole words in whole rows of the cache */
};

struct dense_tiles dense_tiles_all(const struct dense_geometry *geometry)
{
    return (struct dense_tiles){0, geometry->x.n_tiles, 0, geometry->y.n_tiles};
}

static uint32_t stage_channels(const struct encoder_info *info, uint32_t stage)
{
    if (!info->pool_stages[stage])
        return 0;
    if (stage == 0)
        return 1;
    return (info->widths[stage - 1] + LANES - 1) / LANES * LANES;
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* All but the values. */
static void lay_out(struct dense_maps *maps, const struct dense_geometry *geometry,
                    const struct encoder_info *info, const struct dense_tiles *tiles)
{
    const uint32_t strips_a_tile = geometry->core / DENSE_STRIP;
    *maps = (struct dense_maps){.geometry = *geometry, .tiles = *tiles};
    maps->first_strip = tiles->first_y * strips_a_tile;
    const uint32_t end = tiles->end_y * strips_a_tile;
    maps->n_strips = (end < geometry->n_strips ? end : geometry->n_strips) - maps->first_strip;
    for (uint32_t stage = 0; stage < ENCODER_POOLED; stage++) {
        const uint32_t a_tile = geometry->core / dense_step(stage);
        const uint32_t first = tiles->first_x * a_tile, all = geometry->x.n_positions[stage];
        const uint32_t last = tiles->end_x * a_tile < all ? tiles->end_x * a_tile : all;
        maps->n_channels[stage] = stage_channels(info, stage);
        maps->first_column[stage] = first;
        maps->n_columns[stage] = last > first ? last - first : 0;
        maps->offsets[stage] = maps->strip_values;
        /* Rows begin at whole vectors, but for stage 0's, which are read one by one. */
        maps->strip_values += round_up((size_t)(DENSE_STRIP / dense_step(stage)) *
                                           maps->n_columns[stage] * maps->n_channels[stage],
                                       STRIP_VALUES);
    }
}

uint64_t dense_maps_size_held(const struct dense_geometry *geometry,
                              const struct encoder_info *info, const struct dense_tiles *tiles,
                              uint32_t n_held)
{
    struct dense_maps maps;
    lay_out(&maps, geometry, info, tiles);
    const uint64_t n_strips = n_held < maps.n_strips ? n_held : maps.n_strips;
    return n_strips * maps.strip_values * sizeof(*maps.values);
}

uint64_t dense_maps_size(const struct dense_geometry *geometry, const struct encoder_info *info,
                         const struct dense_tiles *tiles)
{
    return dense_maps_size_held(geometry, info, tiles, UINT32_MAX);
}

static size_t values_size(const struct dense_maps *maps)
{
    return maps->n_held * maps->strip_values * sizeof(*maps->values);
}

static int allocate(struct dense_maps *out, struct dense_maps made, struct error *err)
{
    made.values = allocate_bytes(values_size(&made));
    if (made.values == NULL)
        return error_set_nomem(err, "an image's feature maps");
    *out = made;
    return 0;
}

int dense_maps_init(struct dense_maps *out, const struct dense_geometry *geometry,
                    const struct encoder_info *info, const struct dense_tiles *tiles,
                    uint32_t n_held, struct error *err)
{
    struct dense_maps made;
    lay_out(&made, geometry, info, tiles);
    made.n_held = n_held < made.n_strips ? n_held : made.n_strips;
    int rc = allocate(out, made, err);
    /* Zeros: of the padding, and of rows that no tile has. */
    if (rc == 0)
        memset(out->values, 0, values_size(out));
    return rc;
}

int dense_maps_init_strips(struct dense_maps *out, const struct dense_geometry *geometry,
                           const struct encoder_info *info, uint32_t first, uint32_t end,
                           struct error *err)
{
    struct dense_maps made;
    const struct dense_tiles tiles = dense_tiles_all(geometry);
    lay_out(&made, geometry, info, &tiles);
    made.first_strip = first;
    made.n_strips = made.n_held = end - first;
    return allocate(out, made, err);
}

void dense_maps_clear(struct dense_maps *maps)
{
    free(maps->values);
    *maps = (struct dense_maps){0};
}

/* The part of a tile's map that is the image's: where it goes, and how many rows and columns. */
struct part {
    uint32_t row, n_rows;
    uint32_t column, n_columns; /* column: among those in memory */
};

static struct part part_of(const struct dense_maps *maps, uint32_t tile_x, uint32_t tile_y,
                           uint32_t stage)
{
    const uint32_t a_tile = maps->geometry.core / dense_step(stage);
    const uint32_t column = tile_x * a_tile - maps->first_column[stage];
    const uint32_t row = tile_y * a_tile, all = maps->geometry.y.n_positions[stage];
    const uint32_t n_columns = maps->n_columns[stage];
    struct part part = {.row = row, .column = column};
    if (row < all)
        part.n_rows = all - row < a_tile ? all - row : a_tile;
    if (column < n_columns)
        part.n_columns = n_columns - column < a_tile ? n_columns - column : a_tile;
    return part;
}

static uint16_t *place_of(struct dense_maps *maps, uint32_t stage, uint32_t row, uint32_t column)
{
    return (uint16_t *)dense_maps_row(maps, stage, row) + (size_t)column * maps->n_channels[stage];
}

void dense_maps_put(struct dense_maps *maps, uint32_t tile_x, uint32_t tile_y, uint32_t stage,
                    const struct encoder_map *map)
{
    const struct part part = part_of(maps, tile_x, tile_y, stage);
    const uint32_t margin = dense_margin_positions(&maps->geometry, stage);
    for (uint32_t y = 0; y < part.n_rows; y++) {
        const size_t at = (size_t)(margin + y) * map->side + margin;
        half_from_floats(map->values + at * map->stride, (size_t)part.n_columns * map->stride,
                         place_of(maps, stage, part.row + y, part.column));
    }
}

/* The mean of a cell's pixels, of which those beyond the image do not count. */
static float cell_mean(const float *pixels, uint32_t stride, uint32_t n_rows, uint32_t n_columns)
{
    float sum = 0;
    for (uint32_t y = 0; y < n_rows; y++) {
        for (uint32_t x = 0; x < n_columns; x++)
            sum += pixels[(size_t)y * stride + x];
    }
    return sum / (float)(n_rows * n_columns);
}

static uint32_t cell_length(uint32_t cell, uint32_t n_scaled)
{
    const uint32_t left = n_scaled - cell * DENSE_CELL;
    return left < DENSE_CELL ? left : DENSE_CELL;
}

void dense_maps_put_pixels(struct dense_maps *maps, uint32_t tile_x, uint32_t tile_y,
                           const float *tile)
{
    if (maps->n_channels[0] == 0)
        return;
    const struct dense_geometry *geometry = &maps->geometry;
    const struct part part = part_of(maps, tile_x, tile_y, 0);
    for (uint32_t y = 0; y < part.n_rows; y++) {
        const uint32_t n_rows = cell_length(part.row + y, geometry->y.n_scaled);
        const float *row =
            tile + (size_t)(geometry->margin + y * DENSE_CELL) * geometry->side + geometry->margin;
        uint16_t *out = place_of(maps, 0, part.row + y, part.column);
        for (uint32_t x = 0; x < part.n_columns; x++) {
            const uint32_t column = maps->first_column[0] + part.column + x;
            const float mean = cell_mean(row + (size_t)x * DENSE_CELL, geometry->side, n_rows,
                                         cell_length(column, geometry->x.n_scaled));
            out[x] = (uint16_t)lrintf(fminf(fmaxf(mean, 0.0f), 1.0f) * 65535.0f);
        }
    }
}
