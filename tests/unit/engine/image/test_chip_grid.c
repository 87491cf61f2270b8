#include "tests/test.h"

#include "engine/image/chip_grid.h"

static struct grid plan(struct grid_params params, uint32_t width, uint32_t height)
{
    struct grid grid;
    struct error err = {0};
    if (grid_plan(&params, width, height, UINT64_MAX, &grid, &err) != 0)
        fail_msg("%s", err.message);
    return grid;
}

static void check_chip(const struct grid *grid, uint64_t index, uint32_t x, uint32_t y)
{
    struct chip_rect rect = grid_chip(grid, index);
    assert_int_equal(rect.x, x);
    assert_int_equal(rect.y, y);
    assert_int_equal(rect.width, grid->params.chip_width);
    assert_int_equal(rect.height, grid->params.chip_height);
    assert_true(grid_find(grid, &rect) == (int64_t)index);
}

static void drop_keeps_whole_chips_only(void **state)
{
    (void)state;
    /* The STO/Ge micrograph and its authors' chips: 32 x 32 of them. */
    struct grid grid = plan((struct grid_params){.chip_width = 95, .chip_height = 95}, 3042, 3044);
    assert_int_equal(grid.columns, 32);
    assert_int_equal(grid.rows, 32);
    assert_int_equal(grid.params.stride_x, 95);
    assert_int_equal(grid.params.stride_y, 95);
    assert_true(grid_n_chips(&grid) == 1024);
    check_chip(&grid, 0, 0, 0);
    check_chip(&grid, 33, 95, 95);
    check_chip(&grid, 1023, 2945, 2945);
}

static void cover_adds_a_shifted_row_and_column(void **state)
{
    (void)state;
    const struct grid_params params = {
        .chip_width = 34, .chip_height = 35, .edge = GRID_EDGE_COVER};
    struct grid grid = plan(params, 100, 105); /* 105 = 3 x 35: no further row is needed */
    assert_int_equal(grid.columns, 3);
    assert_int_equal(grid.rows, 3);
    check_chip(&grid, 0, 0, 0);
    check_chip(&grid, 1, 34, 0);
    check_chip(&grid, 2, 66, 0);
    check_chip(&grid, 8, 66, 70);
    grid = plan(params, 34, 35);
    assert_true(grid_n_chips(&grid) == 1);
    check_chip(&grid, 0, 0, 0);
}

static void every_chip_is_inside_found_again_and_with_cover_covers_all(void **state)
{
    (void)state;
    enum { WIDTH = 41, HEIGHT = 29 };
    for (uint32_t stride = 1; stride <= 7; stride++) {
        for (int edge = GRID_EDGE_DROP; edge <= GRID_EDGE_COVER; edge++) {
            struct grid grid = plan((struct grid_params){.chip_width = 7,
                                                         .chip_height = 8,
                                                         .stride_x = stride,
                                                         .stride_y = stride + 1,
                                                         .offset_x = 3,
                                                         .offset_y = 2,
                                                         .edge = (enum grid_edge)edge},
                                    WIDTH, HEIGHT);
            uint8_t covered[HEIGHT][WIDTH] = {{0}};
            struct chip_rect last = {0};
            for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
                struct chip_rect rect = grid_chip(&grid, i);
                assert_int_equal(chip_rect_check(&rect, WIDTH, HEIGHT, NULL), 0);
                assert_true(grid_find(&grid, &rect) == (int64_t)i);
                assert_true(i == 0 || rect.y > last.y || (rect.y == last.y && rect.x > last.x));
                last = rect;
                for (uint32_t y = 0; y < 8; y++)
                    memset(&covered[rect.y + y][rect.x], 1, 7);
            }
            uint32_t n_covered = 0;
            for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
                n_covered += covered[i / WIDTH][i % WIDTH];
            uint32_t n_all = (WIDTH - 3) * (HEIGHT - 2);
            if (edge == GRID_EDGE_COVER)
                assert_int_equal(n_covered, n_all);
            else
                assert_true(n_covered <= n_all);
        }
    }
}

static void find_knows_only_the_grids_own_chips(void **state)
{
    (void)state;
    struct grid grid = plan((struct grid_params){.chip_width = 10,
                                                 .chip_height = 10,
                                                 .stride_x = 8,
                                                 .offset_x = 1,
                                                 .edge = GRID_EDGE_COVER},
                            31, 20);
    /* Columns at 1, 9, 17 and the shifted 21. */
    assert_int_equal(grid.columns, 4);
    for (uint32_t x = 0; x < 40; x++) {
        int64_t index = x == 1 ? 0 : x == 9 ? 1 : x == 17 ? 2 : x == 21 ? 3 : -1;
        assert_true(grid_find(&grid, &(struct chip_rect){x, 0, 10, 10}) == index);
    }
    assert_true(grid_find(&grid, &(struct chip_rect){1, 10, 10, 10}) == 4);
    assert_true(grid_find(&grid, &(struct chip_rect){1, 5, 10, 10}) == -1);
    assert_true(grid_find(&grid, &(struct chip_rect){1, 0, 11, 10}) == -1);
    assert_true(grid_find(&grid, &(struct chip_rect){1, 0, 10, 9}) == -1);
    assert_true(grid_find(&grid, &(struct chip_rect){UINT32_MAX, UINT32_MAX, 10, 10}) == -1);
}

static void huge_grids_do_not_wrap(void **state)
{
    (void)state;
    struct grid_params params = {
        .chip_width = 4, .chip_height = 4, .stride_x = 1, .stride_y = 1, .edge = GRID_EDGE_COVER};
    struct grid grid = plan(params, 32768, 32768);
    assert_true(grid_n_chips(&grid) == UINT64_C(32765) * 32765);
    check_chip(&grid, grid_n_chips(&grid) - 1, 32764, 32764);
    struct error err = {0};
    assert_int_equal(grid_plan(&params, 32768, 32768, 1000000, &grid, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "the grid has 32765 x 32765 = 1073545225 chips, over the limit "
                        "of 1000000; choose a larger chip or stride");
    grid = plan(params, UINT32_MAX, UINT32_MAX);
    assert_true(grid_n_chips(&grid) == UINT64_C(4294967292) * 4294967292);
    check_chip(&grid, 4294967291, 4294967291, 0);
    params.stride_x = UINT32_MAX;
    params.stride_y = UINT32_MAX;
    grid = plan(params, UINT32_MAX, UINT32_MAX);
    assert_true(grid_n_chips(&grid) == 4);
    check_chip(&grid, 3, 4294967291, 4294967291);
}

static void impossible_grids_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct grid_params params;
        const char *message;
    } cases[] = {
        {{.chip_width = 3, .chip_height = 9}, "chip.width must be 4 to 4096 pixels, but is 3"},
        {{.chip_width = 9, .chip_height = 0}, "chip.height must be 4 to 4096 pixels, but is 0"},
        {{.chip_width = 4097, .chip_height = 9},
         "chip.width must be 4 to 4096 pixels, but is 4097"},
        {{.chip_width = 101, .chip_height = 9},
         "chip.width 101 is larger than the image, which has 100 pixels"},
        {{.chip_width = 9, .chip_height = 51},
         "chip.height 51 is larger than the image, which has 50 pixels"},
        {{.chip_width = 90, .chip_height = 9, .offset_x = 11},
         "offset.x 11 leaves no room for a chip of 90 pixels in an image of 100: the limit is 10"},
        {{.chip_width = 90, .chip_height = 9, .offset_y = UINT32_MAX},
         "offset.y 4294967295 leaves no room for a chip of 9 pixels in an image of 50: the limit "
         "is 41"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        struct grid grid = {.rows = 4711};
        assert_int_equal(grid_plan(&cases[i].params, 100, 50, 1000, &grid, &err), ERROR_INVALID);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(grid.rows, 4711);
    }
}

static void rects_are_checked_without_wrapping(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(chip_rect_check(&(struct chip_rect){90, 40, 10, 10}, 100, 50, &err), 0);
    assert_int_equal(chip_rect_check(&(struct chip_rect){91, 40, 10, 10}, 100, 50, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message,
                        "x 91 with width 10 ends outside the image, which has 100 pixels");
    assert_int_equal(chip_rect_check(&(struct chip_rect){90, 41, 10, 10}, 100, 50, &err),
                     ERROR_INVALID);
    assert_int_equal(chip_rect_check(&(struct chip_rect){UINT32_MAX, 0, 10, 10}, 100, 50, &err),
                     ERROR_INVALID);
    assert_int_equal(chip_rect_check(&(struct chip_rect){8, 0, UINT32_MAX - 4, 10}, 100, 50, &err),
                     ERROR_INVALID);
    assert_int_equal(chip_rect_check(&(struct chip_rect){0, 0, 10, 3}, 100, 50, &err),
                     ERROR_INVALID);
    assert_string_equal(err.message, "height must be at least 4 pixels, but is 3");
}

static void edge_names_parse_back(void **state)
{
    (void)state;
    enum grid_edge edge;
    assert_int_equal(grid_edge_parse("cover", &edge, NULL), 0);
    assert_int_equal(edge, GRID_EDGE_COVER);
    assert_int_equal(grid_edge_parse(grid_edge_name(GRID_EDGE_DROP), &edge, NULL), 0);
    assert_int_equal(edge, GRID_EDGE_DROP);
    struct error err = {0};
    assert_int_equal(grid_edge_parse("Drop", &edge, &err), ERROR_INVALID);
    assert_string_equal(err.message, "edge must be drop or cover, but is 'Drop'");
}

/* By looking at every chip, over the edges and strides where the last row may be shifted. */
static void chips_within_rows_are_counted(void **state)
{
    (void)state;
    for (uint32_t trial = 0; trial < 200; trial++) {
        const struct grid_params params = {
            .chip_width = 5,
            .chip_height = 4 + trial % 4,
            .stride_x = 5,
            .stride_y = 1 + trial % 11,
            .offset_y = trial % 3,
            .edge = trial % 2 == 0 ? GRID_EDGE_DROP : GRID_EDGE_COVER,
        };
        struct grid grid = plan(params, 12, 20 + trial % 13);
        for (uint32_t n_rows = 0; n_rows <= grid.image_height; n_rows++) {
            uint64_t expected = 0, above = 0;
            for (uint64_t i = 0; i < grid_n_chips(&grid); i++) {
                struct chip_rect rect = grid_chip(&grid, i);
                expected += rect.y + rect.height <= n_rows ? 1 : 0;
                above += rect.y < n_rows ? 1 : 0;
            }
            if (grid_chips_above(&grid, n_rows) != above)
                fail_msg("trial %u, %u rows: %llu chips begin above, not %llu", trial, n_rows,
                         (unsigned long long)grid_chips_above(&grid, n_rows),
                         (unsigned long long)above);
            if (grid_chips_within(&grid, n_rows) != expected)
                fail_msg("trial %u, %u rows: %llu chips, not %llu", trial, n_rows,
                         (unsigned long long)grid_chips_within(&grid, n_rows),
                         (unsigned long long)expected);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drop_keeps_whole_chips_only),
        cmocka_unit_test(cover_adds_a_shifted_row_and_column),
        cmocka_unit_test(every_chip_is_inside_found_again_and_with_cover_covers_all),
        cmocka_unit_test(find_knows_only_the_grids_own_chips),
        cmocka_unit_test(huge_grids_do_not_wrap),
        cmocka_unit_test(impossible_grids_are_refused),
        cmocka_unit_test(rects_are_checked_without_wrapping),
        cmocka_unit_test(edge_names_parse_back),
        cmocka_unit_test(chips_within_rows_are_counted),
    };
    return test_run(tests);
}
