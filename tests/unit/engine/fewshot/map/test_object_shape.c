#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/map/object_shape.h"

enum { SIDE = 200 };

static const double PI = 3.14159265358979323846;

struct drawing {
    uint32_t labels[SIDE * SIDE];
    uint32_t edges[SIDE + 1];
};

static struct drawing drawing;

static void clear(void)
{
    memset(&drawing, 0, sizeof(drawing));
    for (uint32_t i = 0; i <= SIDE; i++)
        drawing.edges[i] = i;
}

/* Pixels whose centres lie in an ellipse. */
static void draw_ellipse(double x, double y, double a, double b, double angle, uint32_t label)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        const double dx = i % SIDE + 0.5 - x, dy = i / SIDE + 0.5 - y;
        const double u = dx * cos(angle) + dy * sin(angle), v = dy * cos(angle) - dx * sin(angle);
        if (u * u / (a * a) + v * v / (b * b) <= 1.0)
            drawing.labels[i] = label;
    }
}

static void draw_rectangle(uint32_t x, uint32_t y, uint32_t width, uint32_t height, uint32_t label)
{
    for (uint32_t j = y; j < y + height; j++) {
        for (uint32_t i = x; i < x + width; i++)
            drawing.labels[j * SIDE + i] = label;
    }
}

static void measure(uint32_t n, double width_nm, double height_nm, struct shape *out)
{
    const struct shape_raster raster = {.n_x = SIDE,
                                        .n_y = SIDE,
                                        .labels = drawing.labels,
                                        .x_edges = drawing.edges,
                                        .y_edges = drawing.edges,
                                        .step_x = 1.0,
                                        .step_y = 1.0};
    assert_int_equal(shapes_measure(&raster, n, width_nm, height_nm, NULL, out, NULL), 0);
}

static void assert_near(double value, double expected, double relative)
{
    if (fabs(value - expected) > relative * expected)
        fail_msg("%g is not within %g of %g", value, relative, expected);
}

static void a_rectangle_is_exact_but_for_its_perimeter(void **state)
{
    (void)state;
    struct shape shape;
    clear();
    draw_rectangle(10, 20, 40, 30, 1);
    measure(1, 0, 0, &shape);
    assert_float_equal(shape.px.area, 1200.0, 0);
    assert_float_equal(shape.px.equivalent_diameter, sqrt(4 * 1200 / PI), 1e-9);
    assert_float_equal(shape.px.feret_max, 50.0, 1e-9);
    assert_float_equal(shape.px.feret_min, 30.0, 1e-9);
    assert_float_equal(shape.centroid_x, 30.0, 1e-9);
    assert_float_equal(shape.centroid_y, 35.0, 1e-9);
    /* Variances of the sides: 40^2 / 12 and 30^2 / 12. */
    assert_float_equal(shape.eccentricity, sqrt(1.0 - 900.0 / 1600.0), 1e-9);
    assert_int_equal(shape.left, 10);
    assert_int_equal(shape.top, 20);
    assert_int_equal(shape.right, 50);
    assert_int_equal(shape.bottom, 50);
    /* 60 lines along x, 80 along y, 69 of the raster's lines along each diagonal, all crossing
     * twice: pi / 8 (2 x 30 + 2 x 40 + 2 x 2 x 69 / sqrt 2). */
    assert_float_equal(shape.px.perimeter, PI / 8 * (60 + 80 + 276 / sqrt(2)), 1e-9);
    assert_near(shape.px.perimeter, 140.0, 0.06);
    assert_true(isnan(shape.nm.area) && isnan(shape.nm.feret_max) && isnan(shape.nm.perimeter));
}

static void a_disc_is_round(void **state)
{
    (void)state;
    struct shape shape;
    for (int i = 0; i < 20; i++) {
        const double radius = 8.0 + 4.3 * i;
        clear();
        draw_ellipse(100.0 + 0.05 * i, 99.3, radius, radius, 0.0, 1);
        measure(1, 0, 0, &shape);
        assert_near(shape.px.area, PI * radius * radius, 0.02);
        assert_near(shape.px.perimeter, 2 * PI * radius, 0.025);
        assert_near(shape.px.feret_max, 2 * radius + 0.5, 0.05);
        assert_near(shape.px.feret_min, 2 * radius, 0.05);
        assert_float_equal(shape.centroid_x, 100.0 + 0.05 * i, 0.1);
        assert_float_equal(shape.centroid_y, 99.3, 0.1);
        assert_true(shape.eccentricity < 0.2);
    }
}

/* Ramanujan's perimeter. */
static void an_ellipse_may_lie_at_any_angle(void **state)
{
    (void)state;
    const double a = 60.0, b = 30.0;
    const double perimeter = PI * (3 * (a + b) - sqrt((3 * a + b) * (a + 3 * b)));
    struct shape shape;
    for (int i = 0; i < 12; i++) {
        clear();
        draw_ellipse(100.0, 100.0, a, b, PI / 12 * i, 1);
        measure(1, 0, 0, &shape);
        assert_near(shape.px.area, PI * a * b, 0.01);
        assert_near(shape.px.perimeter, perimeter, 0.03);
        assert_near(shape.px.feret_max, 2 * a, 0.02);
        assert_near(shape.px.feret_min, 2 * b, 0.03);
        assert_float_equal(shape.eccentricity, sqrt(0.75), 0.01);
    }
}

/* Pixels of 1 x 2 nm: what is a circle in nm is an ellipse of pixels. */
static void pixels_may_be_higher_than_wide(void **state)
{
    (void)state;
    struct shape shape;
    clear();
    draw_ellipse(100.0, 100.0, 80.0, 40.0, 0.0, 1);
    measure(1, 1.0, 2.0, &shape);
    assert_near(shape.nm.area, PI * 80 * 80, 0.01);
    assert_near(shape.nm.equivalent_diameter, 160.0, 0.01);
    assert_near(shape.nm.perimeter, 2 * PI * 80, 0.02);
    assert_near(shape.nm.feret_max, 160.0, 0.02);
    assert_near(shape.nm.feret_min, 160.0, 0.02);
    assert_true(shape.eccentricity < 0.1);
    assert_near(shape.px.feret_max, 160.0, 0.02);
    assert_near(shape.px.feret_min, 80.0, 0.02);
}

/* The same square of pixels, and of cells of 4 x 4 of them, the last column cut to one pixel. */
static void cells_may_be_larger_than_pixels(void **state)
{
    (void)state;
    const uint32_t labels[] = {0, 0, 0, 0, /**/ 0, 1, 1, 1, /**/ 0, 1, 1, 1};
    const uint32_t x_edges[] = {3, 7, 11, 15, 16}, y_edges[] = {0, 4, 8, 12};
    const struct shape_raster raster = {.n_x = 4,
                                        .n_y = 3,
                                        .labels = labels,
                                        .x_edges = x_edges,
                                        .y_edges = y_edges,
                                        .step_x = 4.0,
                                        .step_y = 4.0};
    struct shape cells, pixels;
    assert_int_equal(shapes_measure(&raster, 1, 0, 0, NULL, &cells, NULL), 0);
    clear();
    draw_rectangle(7, 4, 9, 8, 1);
    measure(1, 0, 0, &pixels);
    assert_float_equal(cells.px.area, pixels.px.area, 0);
    assert_float_equal(cells.centroid_x, pixels.centroid_x, 1e-9);
    assert_float_equal(cells.centroid_y, pixels.centroid_y, 1e-9);
    assert_float_equal(cells.px.feret_max, hypot(9, 8), 1e-9);
    assert_float_equal(cells.px.feret_min, 8.0, 1e-9);
    assert_float_equal(cells.eccentricity, pixels.eccentricity, 1e-9);
    assert_int_equal(cells.first_x, 7);
    assert_int_equal(cells.first_y, 4);
}

/* The hull bridges what is hollow, and shapes do not disturb each other. */
static void shapes_may_be_hollow_and_near(void **state)
{
    (void)state;
    struct shape shapes[2];
    clear();
    draw_rectangle(50, 50, 100, 100, 1);
    draw_rectangle(60, 60, 90, 90, 0);
    draw_rectangle(61, 61, 20, 20, 2);
    measure(2, 0, 0, shapes);
    assert_float_equal(shapes[0].px.area, 1900.0, 0); /* an L of 10 pixels' width */
    assert_float_equal(shapes[0].px.feret_max, hypot(100, 100), 1e-9);
    /* Across the L: from its corner to the line between its ends. */
    assert_float_equal(shapes[0].px.feret_min, 110.0 / sqrt(2), 1e-9);
    assert_float_equal(shapes[1].px.area, 400.0, 0);
    assert_float_equal(shapes[1].px.feret_min, 20.0, 1e-9);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

static void it_can_be_called_off(void **state)
{
    (void)state;
    const struct cancel cancel = {.is_asked = always};
    const uint32_t labels[] = {1}, edges[] = {0, 1};
    const struct shape_raster raster = {
        .n_x = 1, .n_y = 1, .labels = labels, .x_edges = edges, .y_edges = edges};
    struct shape shape;
    struct error err;
    assert_int_equal(shapes_measure(&raster, 1, 0, 0, &cancel, &shape, &err), ERROR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rectangle_is_exact_but_for_its_perimeter),
        cmocka_unit_test(a_disc_is_round),
        cmocka_unit_test(an_ellipse_may_lie_at_any_angle),
        cmocka_unit_test(pixels_may_be_higher_than_wide),
        cmocka_unit_test(cells_may_be_larger_than_pixels),
        cmocka_unit_test(shapes_may_be_hollow_and_near),
        cmocka_unit_test(it_can_be_called_off),
    };
    return test_run(tests);
}
