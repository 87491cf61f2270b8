#include "api/results/map_json.h"

#include "engine/fewshot/map/fine_map.h"

json_t *map_json_create(const struct grid *grid)
{
    struct fine_map map;
    fine_map_plan(grid, &map);
    return json_pack("{s:I, s:I, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}}", "rows",
                     (json_int_t)map.y.n_cells, "columns", (json_int_t)map.x.n_cells, "origin", "x",
                     (json_int_t)map.x.origin, "y", (json_int_t)map.y.origin, "step", "x",
                     (json_int_t)map.x.step, "y", (json_int_t)map.y.step, "cell", "width",
                     (json_int_t)fine_axis_cell_size(&map.x), "height",
                     (json_int_t)fine_axis_cell_size(&map.y), "end", "x", (json_int_t)map.x.end,
                     "y", (json_int_t)map.y.end);
}
