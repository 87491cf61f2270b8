#include "tests/test.h"

#include <math.h>

#include "engine/image/mask/mask.h"

enum { WIDTH = 150, HEIGHT = 90 };

/* The slow way: a byte a pixel. */
static bool is_set(const struct mask *mask, uint32_t x, uint32_t y)
{
    return (mask->bits[y * mask->n_words + x / 64] >> (x % 64) & 1) != 0;
}

static uint64_t count(const struct mask *mask, uint32_t x, uint32_t y, uint32_t width,
                      uint32_t height)
{
    uint64_t n = 0;
    for (uint32_t j = y; j < y + height; j++) {
        for (uint32_t i = x; i < x + width; i++)
            n += is_set(mask, i, j);
    }
    return n;
}

static struct mask make(void)
{
    struct mask mask;
    assert_int_equal(mask_init(&mask, WIDTH, HEIGHT, NULL), 0);
    return mask;
}

static void rectangles_leave_out_their_pixels(void **state)
{
    (void)state;
    struct mask mask = make();
    mask_add_rectangle(&mask, &(struct chip_rect){60, 10, 70, 5});
    assert_int_equal(mask.n_pixels, 350);
    assert_int_equal(count(&mask, 60, 10, 70, 5), 350);
    mask_add_rectangle(&mask, &(struct chip_rect){60, 12, 70, 5}); /* 3 rows are there already */
    assert_int_equal(mask.n_pixels, 490);
    /* Only what lies in the image; nothing that begins beyond it. */
    mask_add_rectangle(&mask, &(struct chip_rect){140, 80, 4000, UINT32_MAX});
    assert_int_equal(mask.n_pixels, 590);
    mask_add_rectangle(&mask, &(struct chip_rect){WIDTH, 0, 5, 5});
    mask_add_rectangle(&mask, &(struct chip_rect){0, UINT32_MAX, 5, 5});
    assert_int_equal(mask.n_pixels, 590);
    mask_clear(&mask);
    mask_clear(&mask);
}

static void polygons_leave_out_the_centres_that_they_hold(void **state)
{
    (void)state;
    /* A rectangle by its corners, whichever way round. */
    const struct mask_point corners[] = {{3, 4}, {3, 14}, {80, 14}, {80, 4}};
    struct mask mask = make();
    assert_int_equal(mask_add_polygon(&mask, corners, 4, NULL, NULL), 0);
    assert_int_equal(mask.n_pixels, 770);
    assert_int_equal(count(&mask, 3, 4, 77, 10), 770);
    mask_clear(&mask);
    /* A triangle with right angle and legs of 40: row y has those whose centre is left of 40 - y.
     */
    const struct mask_point triangle[] = {{0, 0}, {40, 0}, {0, 40}};
    mask = make();
    assert_int_equal(mask_add_polygon(&mask, triangle, 3, NULL, NULL), 0);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++)
            assert_int_equal(is_set(&mask, x, y), x + 0.5 < 40 - (y + 0.5));
    }
    mask_clear(&mask);
    /* A square twice round a smaller one: the even-odd rule leaves that in. Beyond the image. */
    const struct mask_point ring[] = {{-10, -10}, {30, -10}, {30, 30}, {-10, 30}, {-10, -10},
                                      {10, 10},   {20, 10},  {20, 20}, {10, 20},  {10, 10}};
    mask = make();
    assert_int_equal(mask_add_polygon(&mask, ring, 10, NULL, NULL), 0);
    assert_int_equal(mask.n_pixels, 30 * 30 - 10 * 10);
    assert_int_equal(count(&mask, 10, 10, 10, 10), 0);
    mask_clear(&mask);
}

/* Edges that cross each other, in any order: a pixel is inside when the number of edges left of its
 * centre is odd. */
static void tangles_follow_the_even_odd_rule(void **state)
{
    (void)state;
    enum { N = 301 };
    struct mask_point points[N];
    for (int i = 0; i < N; i++)
        points[i] =
            (struct mask_point){(i * 37 % 101) * WIDTH / 100.0, (i * 53 % 97) * HEIGHT / 96.0};
    struct mask mask = make();
    assert_int_equal(mask_add_polygon(&mask, points, N, NULL, NULL), 0);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            bool inside = false;
            for (int i = 0; i < N; i++) {
                const struct mask_point *p = &points[i], *q = &points[(i + 1) % N];
                const double height = y + 0.5;
                if ((p->y <= height) != (q->y <= height))
                    inside ^= p->x + (height - p->y) * (q->x - p->x) / (q->y - p->y) <= x + 0.5;
            }
            assert_int_equal(is_set(&mask, x, y), inside);
        }
    }
    mask_clear(&mask);
}

static void flat_polygons_leave_out_nothing(void **state)
{
    (void)state;
    const struct mask_point line[] = {{3, 4}, {80, 4}, {50, 4}};
    struct mask mask = make();
    assert_int_equal(mask_add_polygon(&mask, line, 3, NULL, NULL), 0);
    assert_int_equal(mask_add_polygon(&mask, line, 1, NULL, NULL), 0);
    assert_int_equal(mask_add_polygon(&mask, line, 0, NULL, NULL), 0);
    assert_int_equal(mask.n_pixels, 0);
    mask_clear(&mask);
}

static bool yes(void *context)
{
    (void)context;
    return true;
}

static void polygons_can_be_called_off(void **state)
{
    (void)state;
    const struct cancel cancel = {.is_asked = yes};
    const struct mask_point triangle[] = {{0, 0}, {40, 0}, {0, 40}};
    struct mask mask = make();
    assert_int_equal(mask_add_polygon(&mask, triangle, 3, &cancel, NULL), ERROR_CANCELLED);
    mask_clear(&mask);
}

static void values_say_what_is_left_out(void **state)
{
    (void)state;
    float row[WIDTH], plane[WIDTH * HEIGHT];
    struct mask mask = make();
    for (uint32_t x = 0; x < WIDTH; x++)
        row[x] = x % 3 == 0 ? NAN : x % 3 == 1 ? 0 : 7;
    mask_add_missing(&mask, 5, row);
    assert_int_equal(mask.n_pixels, 50);
    mask_add_zeros(&mask, 5, row);
    mask_add_zeros(&mask, 6, row);
    assert_int_equal(mask.n_pixels, 150);
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
        plane[i] = 1;
    mask_apply(&mask, plane);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < WIDTH; x++) {
            const bool is_out = (y == 5 && x % 3 < 2) || (y == 6 && x % 3 == 1);
            assert_int_equal(isnan(plane[y * WIDTH + x]), is_out);
        }
    }
    mask_clear(&mask);
}

static void bits_from_elsewhere_are_counted(void **state)
{
    (void)state;
    struct mask mask = make();
    memset(mask.bits, 0xff, HEIGHT * mask.n_words * sizeof(*mask.bits));
    mask_count_rows(&mask);
    assert_int_equal(mask.n_pixels, WIDTH * HEIGHT);
    uint32_t first = 0, end = 0;
    assert_true(mask_next_run(&mask, 7, &first, &end));
    assert_int_equal(end, WIDTH);
    mask_clear(&mask);
}

static void runs_are_whole(void **state)
{
    (void)state;
    struct mask mask = make();
    uint32_t first = 0, end = 0;
    assert_false(mask_next_run(&mask, 3, &first, &end));
    mask_add_rectangle(&mask, &(struct chip_rect){0, 3, 2, 1});
    mask_add_rectangle(&mask, &(struct chip_rect){60, 3, 75, 1}); /* over two words' ends */
    mask_add_rectangle(&mask, &(struct chip_rect){149, 3, 1, 1});
    static const uint32_t runs[][2] = {{0, 2}, {60, 135}, {149, 150}};
    for (size_t i = 0; i < 3; i++, first = end) {
        assert_true(mask_next_run(&mask, 3, &first, &end));
        assert_int_equal(first, runs[i][0]);
        assert_int_equal(end, runs[i][1]);
    }
    assert_false(mask_next_run(&mask, 3, &first, &end));
    mask_clear(&mask);
}

/* Something of every kind, at odd places. */
static struct mask make_mixed(void)
{
    struct mask mask = make();
    const struct mask_point star[] = {{20, 5}, {130, 60}, {10, 70}, {140, 10}, {75, 88}};
    mask_add_rectangle(&mask, &(struct chip_rect){0, 70, WIDTH, 9});
    mask_add_rectangle(&mask, &(struct chip_rect){63, 1, 2, 80});
    assert_int_equal(mask_add_polygon(&mask, star, 5, NULL, NULL), 0);
    return mask;
}

static void windows_are_counted(void **state)
{
    (void)state;
    struct mask mask = make_mixed();
    for (uint32_t side = 1; side < 90; side += 7) {
        for (uint32_t x = 0; x + side <= WIDTH; x += 5) {
            const struct chip_rect rect = {x, (x * 3) % (HEIGHT - side + 1), side, side};
            const uint64_t n = count(&mask, rect.x, rect.y, side, side);
            assert_int_equal(mask_count(&mask, &rect), n);
            assert_int_equal(mask_leaves_out(&mask, &rect), 2 * n > side * side);
        }
    }
    mask_clear(&mask);
}

static void check_chips(const struct mask *mask, uint32_t side, uint32_t stride,
                        enum grid_edge edge)
{
    const struct grid_params params = {.chip_width = side,
                                       .chip_height = side + 2,
                                       .stride_x = stride,
                                       .stride_y = stride + 1,
                                       .offset_x = 3,
                                       .offset_y = 1,
                                       .edge = edge};
    struct grid grid;
    assert_int_equal(grid_plan(&params, WIDTH, HEIGHT, UINT64_MAX, &grid, NULL), 0);
    const uint64_t n_chips = grid_n_chips(&grid);
    uint8_t *skip = malloc(n_chips);
    uint64_t n_left_out = 0, n = 0;
    assert_non_null(skip);
    assert_int_equal(mask_chips(mask, &grid, skip, &n_left_out, NULL), 0);
    for (uint64_t i = 0; i < n_chips; i++) {
        const struct chip_rect chip = grid_chip(&grid, i);
        const uint64_t n_pixels = count(mask, chip.x, chip.y, chip.width, chip.height);
        assert_int_equal(skip[i], 2 * n_pixels > (uint64_t)chip.width * chip.height);
        n += skip[i];
    }
    assert_int_equal(n_left_out, n);
    free(skip);
}

static void chips_are_left_out_that_are_more_than_half_masked(void **state)
{
    (void)state;
    struct mask mask = make_mixed();
    check_chips(&mask, 10, 10, GRID_EDGE_DROP);
    check_chips(&mask, 10, 3, GRID_EDGE_COVER); /* overlapping */
    check_chips(&mask, 16, 1, GRID_EDGE_DROP);
    check_chips(&mask, 6, 25, GRID_EDGE_COVER); /* with gaps */
    check_chips(&mask, 70, 40, GRID_EDGE_COVER);
    mask_clear(&mask);
    /* Exactly half stays. */
    mask = make();
    mask_add_rectangle(&mask, &(struct chip_rect){3, 1, 10, 6});
    const struct chip_rect half = {3, 1, 10, 12};
    assert_false(mask_leaves_out(&mask, &half));
    mask_add_rectangle(&mask, &(struct chip_rect){3, 7, 1, 1});
    assert_true(mask_leaves_out(&mask, &half));
    mask_clear(&mask);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rectangles_leave_out_their_pixels),
        cmocka_unit_test(polygons_leave_out_the_centres_that_they_hold),
        cmocka_unit_test(tangles_follow_the_even_odd_rule),
        cmocka_unit_test(flat_polygons_leave_out_nothing),
        cmocka_unit_test(polygons_can_be_called_off),
        cmocka_unit_test(values_say_what_is_left_out),
        cmocka_unit_test(bits_from_elsewhere_are_counted),
        cmocka_unit_test(runs_are_whole),
        cmocka_unit_test(windows_are_counted),
        cmocka_unit_test(chips_are_left_out_that_are_more_than_half_masked),
    };
    return test_run(tests);
}
