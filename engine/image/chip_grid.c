/* Chip positions along one axis: regular ones at offset + i * stride for as long as the chip fits;
 * with GRID_EDGE_COVER one more, flush with the image's far edge, unless the last regular one is.
 * So a position is min(offset + i * stride, image size - chip size) in both policies.
 */
#include "engine/image/chip_grid.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

/* Of n chips along an axis the first begins at the offset, the last but one at a regular place, and
 * all lie inside the image. */
static bool axis_check(uint32_t n, uint32_t offset, uint32_t stride, uint32_t image_side,
                       uint32_t chip_side)
{
    if (n == 0 || stride == 0 || chip_side > image_side || offset > image_side - chip_side)
        return false;
    const uint64_t room = image_side - chip_side - offset;
    return (uint64_t)(n - 1) * stride < room + stride;
}

static bool grid_check(const struct grid *grid)
{
    const struct grid_params *params = &grid->params;
    return axis_check(grid->columns, params->offset_x, params->stride_x, grid->image_width,
                      params->chip_width) &&
           axis_check(grid->rows, params->offset_y, params->stride_y, grid->image_height,
                      params->chip_height);
}

const char *grid_edge_name(enum grid_edge edge)
{
    switch (edge) {
    case GRID_EDGE_DROP:
        return "drop";
    case GRID_EDGE_COVER:
        return "cover";
    }
    return "unknown";
}

int grid_edge_parse(const char *name, enum grid_edge *out, struct error *err)
{
    static const enum grid_edge all[] = {GRID_EDGE_DROP, GRID_EDGE_COVER};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(name, grid_edge_name(all[i])) == 0) {
            *out = all[i];
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "edge must be drop or cover, but is '%.40s'", name);
}

struct axis {
    const char *side_name;   /* of the chip's size, for messages */
    const char *offset_name; /* of the offset */
    uint32_t image_side;
    uint32_t chip_side;
    uint32_t stride;
    uint32_t offset;
};

static int check_chip_side(const char *name, uint32_t side, uint32_t image_side, struct error *err)
{
    if (side < CHIP_SIDE_MIN || side > CHIP_SIDE_MAX)
        return error_set(err, ERROR_INVALID, "%s must be %d to %d pixels, but is %u", name,
                         CHIP_SIDE_MIN, CHIP_SIDE_MAX, side);
    if (side > image_side)
        return error_set(err, ERROR_INVALID, "%s %u is larger than the image, which has %u pixels",
                         name, side, image_side);
    return 0;
}

static int plan_axis(const struct axis *axis, enum grid_edge edge, uint32_t *out, struct error *err)
{
    int rc = check_chip_side(axis->side_name, axis->chip_side, axis->image_side, err);
    if (rc != 0)
        return rc;
    uint32_t room = axis->image_side - axis->chip_side;
    if (axis->offset > room)
        return error_set(err, ERROR_INVALID,
                         "%s %u leaves no room for a chip of %u pixels in an image of %u: the "
                         "limit is %u",
                         axis->offset_name, axis->offset, axis->chip_side, axis->image_side, room);
    uint32_t steps = (room - axis->offset) / axis->stride;
    bool flush = (room - axis->offset) % axis->stride == 0;
    *out = steps + 1 + (edge == GRID_EDGE_COVER && !flush ? 1 : 0);
    return 0;
}

int grid_plan(const struct grid_params *params, uint32_t image_width, uint32_t image_height,
              uint64_t max_chips, struct grid *out, struct error *err)
{
    struct grid grid = {
        .params = *params, .image_width = image_width, .image_height = image_height};
    if (grid.params.stride_x == 0)
        grid.params.stride_x = params->chip_width;
    if (grid.params.stride_y == 0)
        grid.params.stride_y = params->chip_height;
    const struct axis horizontal = {
        .side_name = "chip.width",
        .offset_name = "offset.x",
        .image_side = image_width,
        .chip_side = params->chip_width,
        .stride = grid.params.stride_x,
        .offset = params->offset_x,
    };
    const struct axis vertical = {
        .side_name = "chip.height",
        .offset_name = "offset.y",
        .image_side = image_height,
        .chip_side = params->chip_height,
        .stride = grid.params.stride_y,
        .offset = params->offset_y,
    };
    int rc;
    if ((rc = plan_axis(&horizontal, params->edge, &grid.columns, err)) != 0 ||
        (rc = plan_axis(&vertical, params->edge, &grid.rows, err)) != 0)
        return rc;
    uint64_t n_chips = grid_n_chips(&grid);
    if (n_chips > max_chips)
        return error_set(err, ERROR_INVALID,
                         "the grid has %u x %u = %llu chips, over the limit of %llu; choose a "
                         "larger chip or stride",
                         grid.columns, grid.rows, (unsigned long long)n_chips,
                         (unsigned long long)max_chips);
    assert(grid_check(&grid));
    *out = grid;
    return 0;
}

uint64_t grid_n_chips(const struct grid *grid)
{
    return (uint64_t)grid->rows * grid->columns;
}

static uint32_t position(uint32_t index, uint32_t offset, uint32_t stride, uint32_t image_side,
                         uint32_t chip_side)
{
    uint64_t regular = offset + (uint64_t)index * stride;
    uint32_t last = image_side - chip_side;
    return regular < last ? (uint32_t)regular : last;
}

static uint32_t column_x(const struct grid *grid, uint32_t column)
{
    return position(column, grid->params.offset_x, grid->params.stride_x, grid->image_width,
                    grid->params.chip_width);
}

static uint32_t row_y(const struct grid *grid, uint32_t row)
{
    return position(row, grid->params.offset_y, grid->params.stride_y, grid->image_height,
                    grid->params.chip_height);
}

struct chip_rect grid_chip(const struct grid *grid, uint64_t index)
{
    assert(grid_check(grid) && index < grid_n_chips(grid));
    return (struct chip_rect){
        .x = column_x(grid, (uint32_t)(index % grid->columns)),
        .y = row_y(grid, (uint32_t)(index / grid->columns)),
        .width = grid->params.chip_width,
        .height = grid->params.chip_height,
    };
}

uint64_t grid_chips_within(const struct grid *grid, uint32_t n_rows)
{
    assert(grid_check(grid));
    const uint32_t height = grid->params.chip_height;
    if (n_rows < height + grid->params.offset_y)
        return 0;
    uint32_t rows = (n_rows - height - grid->params.offset_y) / grid->params.stride_y + 1;
    /* A last row that was shifted inwards ends with the image. */
    if (rows >= grid->rows || n_rows >= grid->image_height)
        rows = n_rows >= row_y(grid, grid->rows - 1) + height ? grid->rows : grid->rows - 1;
    return (uint64_t)rows * grid->columns;
}

uint64_t grid_chips_above(const struct grid *grid, uint32_t y)
{
    assert(grid_check(grid));
    const uint32_t offset = grid->params.offset_y;
    if (y <= offset)
        return 0;
    uint64_t rows = (uint64_t)(y - offset - 1) / grid->params.stride_y + 1;
    /* A last row that was shifted inwards begins earlier than at its regular place. */
    if (row_y(grid, grid->rows - 1) < y)
        rows = grid->rows;
    return rows * grid->columns;
}

/* The index at or before `place` along an axis, or one more when only the shifted last chip can be
 * there. `place` >= offset. */
static uint32_t nearest_index(uint32_t place, uint32_t offset, uint32_t stride, uint32_t n)
{
    uint32_t index = (place - offset) / stride + ((place - offset) % stride != 0 ? 1 : 0);
    return index < n ? index : n - 1;
}

int64_t grid_find(const struct grid *grid, const struct chip_rect *rect)
{
    assert(grid_check(grid));
    const struct grid_params *params = &grid->params;
    if (rect->width != params->chip_width || rect->height != params->chip_height ||
        rect->x < params->offset_x || rect->y < params->offset_y)
        return -1;
    uint32_t column = nearest_index(rect->x, params->offset_x, params->stride_x, grid->columns);
    uint32_t row = nearest_index(rect->y, params->offset_y, params->stride_y, grid->rows);
    if (column_x(grid, column) != rect->x || row_y(grid, row) != rect->y)
        return -1;
    return (int64_t)((uint64_t)row * grid->columns + column);
}

static int check_span(const char *side_name, const char *place_name, uint32_t place, uint32_t side,
                      uint32_t image_side, struct error *err)
{
    if (side < CHIP_SIDE_MIN)
        return error_set(err, ERROR_INVALID, "%s must be at least %d pixels, but is %u", side_name,
                         CHIP_SIDE_MIN, side);
    if ((uint64_t)place + side > image_side)
        return error_set(err, ERROR_INVALID,
                         "%s %u with %s %u ends outside the image, which has %u pixels", place_name,
                         place, side_name, side, image_side);
    return 0;
}

int chip_rect_check(const struct chip_rect *rect, uint32_t image_width, uint32_t image_height,
                    struct error *err)
{
    int rc = check_span("width", "x", rect->x, rect->width, image_width, err);
    return rc != 0 ? rc : check_span("height", "y", rect->y, rect->height, image_height, err);
}
