/* What of an image's tiles and windows is ready, without any thread: exactly what is there and fits
 * into the ring, and always something until all is done. */
#include "tests/test.h"

#include "engine/dense/pass.h"
#include "tests/unit/engine/dense/plain.h"

static const struct encoder_info info = {.widths = {8, 16, 24, 32},
                                         .pool_stages = {true, true, true, true, true},
                                         .pool_mean = true,
                                         .pool_std = true};

enum { NO_STRIP = UINT32_MAX };

static void make_pass(struct pass *pass, const struct plain_sizes *sizes, uint64_t max_size)
{
    *pass = (struct pass){.geometry = plain_geometry(sizes)};
    const struct dense_tiles tiles = dense_tiles_all(&pass->geometry);
    assert_int_equal(pass_init(pass, &info, &tiles, max_size, NULL, NULL), 0);
    assert_int_equal(pass->n_tiles, tiles.end_x * tiles.end_y);
}

static const struct plain_sizes tall = {330, 3000, 20, 20, 32};

static void a_tile_is_ready_with_its_last_row(void **state)
{
    (void)state;
    struct pass pass;
    make_pass(&pass, &tall, UINT64_MAX);
    assert_int_equal(pass.maps->n_held, pass.maps->n_strips);
    for (uint32_t tile = 0; tile < pass.n_tiles; tile++) {
        uint32_t first, end;
        dense_tile_rows(&pass.geometry, tile / pass.geometry.x.n_tiles, &first, &end);
        assert_true(pass_tile_is_ready(&pass, tile, end, 0));
        assert_false(pass_tile_is_ready(&pass, tile, end - 1, NO_STRIP));
    }
    pass_clear(&pass);
}

/* A row of tiles overwrites the strips that are a ring's length above its own: no window may need
 * them, and no tile still be about to write them. */
static void a_tile_of_a_ring_is_ready_when_nobody_needs_what_it_overwrites(void **state)
{
    (void)state;
    struct pass pass;
    make_pass(&pass, &tall, 1);
    const uint32_t n_held = pass.maps->n_held, a_tile = pass.geometry.core / DENSE_STRIP;
    const uint32_t n_columns = pass_tile_columns(&pass);
    uint32_t n_refused = 0, n_allowed = 0;
    assert_true(n_held < pass.maps->n_strips);
    for (uint32_t n_done = 0; n_done < pass.n_tiles; n_done++) {
        for (uint32_t tile = n_done; tile < pass.n_tiles; tile++) {
            const uint32_t end = (tile / n_columns + 1) * a_tile;
            for (uint32_t needed = 0; needed <= pass.maps->n_strips; needed++) {
                const uint32_t undone = n_done / n_columns * a_tile;
                const uint32_t kept = undone < needed ? undone : needed;
                const bool overwrites = end > n_held && kept < end - n_held;
                n_refused += overwrites;
                n_allowed += !overwrites && end > n_held;
                assert_int_equal(pass_tile_is_ready(&pass, tile, tall.height, needed), !overwrites);
            }
        }
        pass_count_tile(&pass, n_done);
    }
    assert_true(n_refused > 0 && n_allowed > 0);
    pass_clear(&pass);
}

static void windows_and_rows_follow_the_tiles_that_are_done(void **state)
{
    (void)state;
    struct pass pass;
    make_pass(&pass, &tall, UINT64_MAX);
    const uint32_t n_columns = pass_tile_columns(&pass);
    const uint32_t a_tile = pass.geometry.core / DENSE_STRIP;
    assert_true(n_columns > 1 && pass.geometry.y.n_tiles > 3);
    for (uint32_t n_done = 0; n_done < pass.n_tiles; n_done++) {
        const uint32_t row = n_done / n_columns;
        uint32_t first, end;
        for (uint32_t y = 0; y <= tall.height - tall.chip_height; y++) {
            dense_window_strips(&pass.geometry, y, &first, &end);
            assert_int_equal(pass_window_is_ready(&pass, y), end <= row * a_tile);
        }
        dense_tile_rows(&pass.geometry, row, &first, &end);
        assert_false(pass_needs_rows(&pass, first));
        assert_true(pass_needs_rows(&pass, first + 1));
        assert_int_equal(pass_tile_row(&pass, n_done), row);
        assert_int_equal(pass_tile_column(&pass, n_done), n_done % n_columns);
        pass_count_tile(&pass, n_done);
    }
    assert_true(pass_window_is_ready(&pass, tall.height - tall.chip_height));
    assert_false(pass_needs_rows(&pass, tall.height));
    pass_clear(&pass);
}

/* The last tiles of a row may be done before those of the row above. */
static void a_row_is_done_with_the_rows_above_it(void **state)
{
    (void)state;
    struct pass pass;
    make_pass(&pass, &tall, UINT64_MAX);
    for (uint32_t tile = pass.n_tiles - 1; tile > 0; tile--) {
        pass_count_tile(&pass, tile);
        assert_int_equal(pass.n_rows_done, 0);
        assert_true(pass_needs_rows(&pass, 1));
    }
    pass_count_tile(&pass, 0);
    assert_int_equal(pass.n_rows_done, pass.geometry.y.n_tiles);
    pass_clear(&pass);
}

/* ---- a run by one worker ---- */

struct walk {
    struct pass pass;
    struct grid grid;
    uint64_t chip; /* the next one */
    uint32_t tile; /* the next one */
};

/* The next chip if it is ready, else the next tile, else nothing. */
static bool step(struct walk *walk)
{
    struct pass *pass = &walk->pass;
    uint32_t first = NO_STRIP, end;
    if (walk->chip < grid_n_chips(&walk->grid)) {
        const uint32_t row = grid_chip(&walk->grid, walk->chip).y;
        dense_window_strips(&pass->geometry, row, &first, &end);
        if (pass_window_is_ready(pass, row)) {
            walk->chip++;
            return true;
        }
    }
    if (walk->tile == pass->n_tiles ||
        !pass_tile_is_ready(pass, walk->tile, pass->geometry.y.n_pixels, first))
        return false;
    pass_count_tile(pass, walk->tile++);
    return true;
}

static uint32_t random_of(uint32_t *random, uint32_t low, uint32_t high)
{
    return low + plain_random(random, high - low + 1);
}

static void a_ring_of_any_image_is_long_enough(void **state)
{
    (void)state;
    uint32_t random = 4, n_rings = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        struct walk walk = {.tile = 0};
        const uint32_t input = random_of(&random, 16, i % 2 == 0 ? 64 : DENSE_INPUT_MAX);
        const uint32_t chip = random_of(&random, 4, 60);
        const struct grid_params params = {.chip_width = random_of(&random, 4, 60),
                                           .chip_height = chip,
                                           .stride_x = random_of(&random, 1, 70),
                                           .stride_y = random_of(&random, 1, 3 * chip),
                                           .edge = i % 3 == 0 ? GRID_EDGE_COVER : GRID_EDGE_DROP};
        const struct plain_sizes sizes = {params.chip_width + random_of(&random, 0, 80),
                                          chip * random_of(&random, 1, 60) + i % 7,
                                          params.chip_width, chip, input};
        assert_int_equal(grid_plan(&params, sizes.width, sizes.height, 100000000, &walk.grid, NULL),
                         0);
        make_pass(&walk.pass, &sizes, 1);
        n_rings += walk.pass.maps->n_held < walk.pass.maps->n_strips;
        while (step(&walk))
            continue;
        if (walk.chip < grid_n_chips(&walk.grid) || walk.tile < walk.pass.n_tiles)
            fail_msg("image %u: %u of %u tiles, %u of %u chips", i, walk.tile, walk.pass.n_tiles,
                     (uint32_t)walk.chip, (uint32_t)grid_n_chips(&walk.grid));
        pass_clear(&walk.pass);
    }
    assert_true(n_rings > 500);
}

/* Nothing is allocated that would not fit: a wide image of small chips at a large input. */
static void more_tiles_than_are_granted_are_refused(void **state)
{
    (void)state;
    static const struct plain_sizes tiny_chips = {2048, 32768, 4, 4, 384};
    struct pass pass = {.geometry = plain_geometry(&tiny_chips)};
    struct error error = {0};
    const struct dense_tiles all = dense_tiles_all(&pass.geometry);
    assert_int_equal(pass_init(&pass, &info, &all, 1, NULL, &error), ERROR_INVALID);
    assert_non_null(strstr(error.message, "2048 x 32768 pixels"));
    assert_non_null(strstr(error.message, "1048576 at most"));
    pass_clear(&pass);
}

static void a_ring_that_is_too_large_is_refused(void **state)
{
    (void)state;
    static const struct plain_sizes wide = {32768, 256, 4, 4, 384};
    struct pass pass = {.geometry = plain_geometry(&wide)};
    struct error error = {0};
    const struct dense_tiles all = dense_tiles_all(&pass.geometry);
    assert_int_equal(pass_init(&pass, &info, &all, 1, NULL, &error), ERROR_INVALID);
    assert_non_null(strstr(error.message, "32768 pixels wide"));
    assert_non_null(strstr(error.message, "2048 at most"));
    assert_null(pass.own.values);
    pass_clear(&pass);
}

/* Windows in two corners of the image, and in one of them alone. */
static void tiles_are_those_that_windows_see(void **state)
{
    (void)state;
    const struct dense_geometry geometry = plain_geometry(&tall);
    const struct chip_rect rects[] = {{tall.width - 20, tall.height - 20, 20, 20}, {0, 0, 20, 20}};
    const struct dense_tiles last = pass_tiles_of(&geometry, &(struct pass_windows){rects, 1});
    const struct dense_tiles both = pass_tiles_of(&geometry, &(struct pass_windows){rects, 2});
    assert_int_equal(last.first_x, geometry.x.n_tiles - 1);
    assert_int_equal(last.end_x, geometry.x.n_tiles);
    assert_int_equal(last.first_y, geometry.y.n_tiles - 1);
    assert_int_equal(last.end_y, geometry.y.n_tiles);
    assert_int_equal(both.first_x, 0);
    assert_int_equal(both.first_y, 0);
    assert_int_equal(both.end_x, geometry.x.n_tiles);
    assert_int_equal(both.end_y, geometry.y.n_tiles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tile_is_ready_with_its_last_row),
        cmocka_unit_test(a_tile_of_a_ring_is_ready_when_nobody_needs_what_it_overwrites),
        cmocka_unit_test(windows_and_rows_follow_the_tiles_that_are_done),
        cmocka_unit_test(a_row_is_done_with_the_rows_above_it),
        cmocka_unit_test(a_ring_of_any_image_is_long_enough),
        cmocka_unit_test(a_ring_that_is_too_large_is_refused),
        cmocka_unit_test(more_tiles_than_are_granted_are_refused),
        cmocka_unit_test(tiles_are_those_that_windows_see),
    };
    return test_run(tests);
}
