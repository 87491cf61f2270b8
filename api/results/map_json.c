#include "api/results/map_json.h"

#include <math.h>

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

json_t *map_json_covered(const struct grid *grid, double pixel_area_nm2)
{
    struct fine_map map;
    fine_map_plan(grid, &map);
    const uint64_t n_pixels = fine_map_n_pixels(&map);
    const double n_all = (double)grid->image_width * grid->image_height;
    json_t *area =
        isnan(pixel_area_nm2) ? json_null() : json_real((double)n_pixels * pixel_area_nm2);
    return json_pack("{s:I, s:f, s:o}", "n_pixels", (json_int_t)n_pixels, "fraction",
                     (double)n_pixels / n_all, "area_nm2", area);
}
