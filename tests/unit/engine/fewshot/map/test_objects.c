#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/map/objects.h"
#include "engine/random.h"

enum { SIDE = 384, CHIP = 32, CHIPS_MAX = 50 * 50 };

static const double PI = 3.14159265358979323846;

/* An image with objects, and the map that a classifier makes of it which takes a chip for one of
 * the class from a tenth on that they cover of it. */
struct scene {
    uint8_t mask[SIDE * SIDE];
    uint8_t grey[SIDE * SIDE];
    struct grid grid;
    uint16_t labels[CHIPS_MAX];
    float probabilities[CHIPS_MAX * 2];
    struct fine_source map;
    struct objects_source source;
};

static struct scene scene;

static int read_grey(void *context, const struct chip_rect *window, uint8_t *out, struct error *err)
{
    const struct scene *from = context;
    (void)err;
    assert_true(window->x + window->width <= SIDE && window->y + window->height <= SIDE);
    for (uint32_t y = 0; y < window->height; y++)
        memcpy(out + (size_t)y * window->width,
               from->grey + (size_t)(window->y + y) * SIDE + window->x, window->width);
    return 0;
}

static void clear(void)
{
    memset(&scene, 0, sizeof(scene));
}

static void draw_disc(double x, double y, double radius)
{
    for (int i = 0; i < SIDE * SIDE; i++) {
        if (hypot(i % SIDE + 0.5 - x, i / SIDE + 0.5 - y) <= radius)
            scene.mask[i] = 1;
    }
}

static void draw_rectangle(int x, int y, int width, int height)
{
    for (int j = y; j < y + height; j++)
        memset(scene.mask + (size_t)j * SIDE + x, 1, (size_t)width);
}

static void classify(void)
{
    for (uint64_t i = 0; i < grid_n_chips(&scene.grid); i++) {
        const struct chip_rect rect = grid_chip(&scene.grid, i);
        uint32_t n = 0;
        for (uint32_t y = rect.y; y < rect.y + CHIP; y++) {
            for (uint32_t x = rect.x; x < rect.x + CHIP; x++)
                n += scene.mask[y * SIDE + x];
        }
        const double part = (double)n / (CHIP * CHIP);
        const double probability = 1.0 / (1.0 + exp(-40.0 * (part - 0.1)));
        scene.labels[i] = probability > 0.5;
        scene.probabilities[2 * i] = (float)(1.0 - probability);
        scene.probabilities[2 * i + 1] = (float)probability;
    }
}

/* Background of 90 with a slope, objects brighter by `contrast`, normal noise. */
static void finish(uint32_t stride, double contrast, double noise)
{
    const struct grid_params params = {
        .chip_width = CHIP, .chip_height = CHIP, .stride_x = stride, .stride_y = stride};
    struct random random;
    random_seed(&random, 7, 0);
    assert_int_equal(grid_plan(&params, SIDE, SIDE, CHIPS_MAX, &scene.grid, NULL), 0);
    for (int i = 0; i < SIDE * SIDE; i++) {
        const double grey = 90.0 + 0.05 * (i % SIDE) - 0.03 * (i / SIDE) +
                            contrast * scene.mask[i] + noise * random_normal(&random);
        scene.grey[i] = (uint8_t)fmin(fmax(grey + 0.5, 0.0), 255.0);
    }
    classify();
    scene.map = (struct fine_source){.grid = &scene.grid,
                                     .labels = scene.labels,
                                     .probabilities = scene.probabilities,
                                     .n_classes = 2};
    scene.source =
        (struct objects_source){.map = &scene.map, .read_grey = read_grey, .context = &scene};
}

static const struct objects_filter all = {0};

static struct objects find(const struct objects_filter *filter)
{
    struct objects objects = {0};
    assert_int_equal(objects_find(&scene.source, 1, filter, &objects, NULL), 0);
    return objects;
}

static double sum_area(const struct objects *objects)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < objects->n; i++)
        sum += objects->items[i].shape.px.area;
    return sum;
}

static uint32_t count(const struct objects *objects, enum object_boundary boundary)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < objects->n; i++)
        n += objects->items[i].boundary == boundary;
    return n;
}

/* Pairs 24 pixels apart, which chips of 32 cannot part, bright and dark, at any stride. */
static void objects_smaller_than_chips_have_their_own_size(void **state)
{
    (void)state;
    static const uint32_t strides[] = {32, 16, 8};
    for (int i = 0; i < 6; i++) {
        clear();
        for (int k = 0; k < 9; k++) {
            const double x = 66.0 + 118.0 * (k % 3), y = 66.0 + 118.0 * (k / 3);
            const double angle = 0.7 * k;
            draw_disc(x + 26.0 * cos(angle), y + 26.0 * sin(angle), 14.0);
            draw_disc(x - 26.0 * cos(angle), y - 26.0 * sin(angle), 14.0);
        }
        finish(strides[i / 2], i % 2 == 0 ? 80.0 : -60.0, 8.0);
        struct objects objects = find(&all);
        assert_int_equal(objects.n, 18);
        assert_int_equal(count(&objects, OBJECT_GREY), 18);
        assert_float_equal(sum_area(&objects) / (18 * PI * 14 * 14), 1.0, 0.05);
        for (uint32_t k = 0; k < objects.n; k++) {
            const struct object *object = &objects.items[k];
            assert_float_equal(object->shape.px.feret_max, 28.5, 2.5);
            assert_true(object->mean_probability > 0.5 && object->mean_probability <= 1.0);
            assert_false(object->touches_border);
        }
        objects_clear(&objects);
    }
}

static void touching_discs_are_two_objects(void **state)
{
    (void)state;
    clear();
    draw_disc(180.0, 190.0, 20.0);
    draw_disc(214.0, 196.0, 20.0);
    finish(16, 90.0, 6.0);
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 2);
    for (int i = 0; i < 2; i++)
        assert_float_equal(objects.items[i].shape.px.area / (PI * 400), 0.97, 0.06);
    assert_float_equal(objects.items[0].shape.centroid_x, 180.0, 1.5);
    assert_float_equal(objects.items[1].shape.centroid_x, 214.0, 1.5);
    objects_clear(&objects);
}

/* Lobes, a bay and arms, none of which has a neck. */
static void a_large_irregular_object_stays_one(void **state)
{
    (void)state;
    clear();
    draw_disc(150.0, 190.0, 60.0);
    draw_disc(200.0, 170.0, 55.0);
    draw_disc(240.0, 200.0, 50.0);
    draw_rectangle(120, 150, 140, 70);
    draw_rectangle(180, 60, 30, 130);
    uint32_t n = 0;
    for (int i = 0; i < SIDE * SIDE; i++)
        n += scene.mask[i];
    finish(16, 90.0, 6.0);
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 1);
    assert_int_equal(objects.items[0].boundary, OBJECT_GREY);
    assert_float_equal(objects.items[0].shape.px.area / n, 1.0, 0.03);
    objects_clear(&objects);
}

/* Particles on a support whose clouds are as bright as they are, with edges that are none. */
static void clouds_of_the_background_are_no_objects(void **state)
{
    (void)state;
    clear();
    for (int k = 0; k < 9; k++)
        draw_disc(66.0 + 118.0 * (k % 3), 66.0 + 118.0 * (k / 3), 10.0);
    finish(16, 60.0, 3.0);
    for (int i = 0; i < SIDE * SIDE; i++) {
        const double cloud = 25.0 * sin(i % SIDE / 21.0) * cos(i / SIDE / 17.0);
        scene.grey[i] = (uint8_t)fmin(fmax(scene.grey[i] + cloud, 0.0), 255.0);
    }
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 9);
    assert_true(count(&objects, OBJECT_GREY) >= 8);
    for (uint32_t k = 0; k < objects.n; k++) {
        if (objects.items[k].boundary == OBJECT_GREY)
            assert_float_equal(objects.items[k].shape.px.area / (PI * 100), 1.0, 0.1);
    }
    objects_clear(&objects);
}

/* By the map an object is larger by up to half a chip on each side. */
static void without_contrast_it_is_the_map_that_counts(void **state)
{
    (void)state;
    clear();
    draw_disc(120.0, 190.0, 40.0);
    draw_disc(290.0, 190.0, 40.0);
    for (int i = 0; i < 2; i++) {
        finish(8, i == 0 ? 0.0 : 90.0, 6.0);
        if (i == 1)
            scene.source.read_grey = NULL;
        struct objects objects = find(&all);
        assert_int_equal(objects.n, 2);
        assert_int_equal(count(&objects, OBJECT_MAP), 2);
        for (uint32_t k = 0; k < 2; k++) {
            const double area = objects.items[k].shape.px.area;
            assert_true(area > PI * 40 * 40 && area < PI * 56 * 56);
        }
        objects_clear(&objects);
    }
}

/* A valley of the probability parts what the map alone has. */
static void the_map_is_split_at_a_valley(void **state)
{
    (void)state;
    clear();
    draw_rectangle(100, 150, 180, 80);
    finish(8, 0.0, 6.0);
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 1);
    objects_clear(&objects);
    for (uint64_t i = 0; i < grid_n_chips(&scene.grid); i++) {
        const struct chip_rect rect = grid_chip(&scene.grid, i);
        if (scene.labels[i] != 1)
            continue;
        const double distance = fabs(rect.x + CHIP / 2 - 190.0);
        const double probability = fmin(0.51 + distance / 100.0, 0.99);
        scene.probabilities[2 * i] = (float)(1.0 - probability);
        scene.probabilities[2 * i + 1] = (float)probability;
    }
    objects = find(&all);
    assert_int_equal(objects.n, 2);
    assert_true(objects.items[0].shape.right <= objects.items[1].shape.left);
    objects_clear(&objects);
}

/* Labels without rhyme or reason: as many objects as the map has regions, hardly any of which takes
 * a peak of the noise for its outline. */
static void noise_has_no_objects_by_grey_levels(void **state)
{
    (void)state;
    static const uint32_t strides[] = {32, 16};
    uint32_t n_regions = 0, n_grey = 0;
    for (int turn = 0; turn < 60; turn++) {
        struct random random;
        clear();
        finish(strides[turn % 2], 0.0, 5.0 + turn);
        random_seed(&random, 100, (uint64_t)turn);
        for (uint64_t i = 0; i < grid_n_chips(&scene.grid); i++)
            scene.labels[i] = random_uniform(&random) < 0.15;
        for (uint64_t i = 0; i < grid_n_chips(&scene.grid); i++)
            scene.probabilities[2 * i + 1] = scene.labels[i] ? 0.6f : 0.4f;
        struct objects objects = find(&all);
        n_regions += objects.n;
        n_grey += count(&objects, OBJECT_GREY);
        objects_clear(&objects);
    }
    assert_true(n_regions > 300);
    assert_true(100 * n_grey <= n_regions);
}

/* A lattice of columns, many to a chip: the grain is the object. */
static void a_texture_is_no_swarm_of_objects(void **state)
{
    (void)state;
    clear();
    draw_rectangle(96, 96, 190, 190);
    finish(16, 0.0, 4.0);
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int x = i % SIDE, y = i / SIDE;
        if (scene.mask[i] && hypot(x % 10 - 4.5, y % 10 - 4.5) < 3.5)
            scene.grey[i] = 200;
    }
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 1);
    assert_int_equal(objects.items[0].boundary, OBJECT_MAP);
    objects_clear(&objects);
}

static void borders_are_flagged_and_filters_filter(void **state)
{
    (void)state;
    clear();
    draw_disc(2.0, 100.0, 25.0);   /* cut by the image */
    draw_disc(200.0, 100.0, 25.0); /* cut by what was not analysed */
    draw_disc(100.0, 300.0, 25.0); /* whole */
    draw_disc(300.0, 300.0, 10.0); /* whole and small */
    finish(32, 90.0, 5.0);
    for (uint64_t i = 0; i < grid_n_chips(&scene.grid); i++) {
        const struct chip_rect rect = grid_chip(&scene.grid, i);
        if (rect.x >= 192 && rect.y < 192)
            scene.labels[i] = LABEL_NOT_ANALYSED;
    }
    struct objects objects = find(&all);
    assert_int_equal(objects.n, 4);
    int n_border = 0;
    for (int i = 0; i < 4; i++) {
        const struct object *object = &objects.items[i];
        assert_int_equal(object->touches_border, object->shape.centroid_y < 192.0);
        n_border += object->touches_border;
    }
    assert_int_equal(n_border, 2);
    objects_clear(&objects);
    const struct objects_filter whole = {.exclude_border = true};
    objects = find(&whole);
    assert_int_equal(objects.n, 2);
    assert_true(objects.items[0].shape.centroid_x < 192.0);
    objects_clear(&objects);
    const struct objects_filter large = {.exclude_border = true, .min_area = 400.0};
    objects = find(&large);
    assert_int_equal(objects.n, 1);
    objects_clear(&objects);
}

static void the_order_is_that_of_their_first_pixels(void **state)
{
    (void)state;
    clear();
    for (int k = 0; k < 16; k++)
        draw_disc(60.0 + 90.0 * (k % 4), 60.0 + 88.0 * (k / 4) - 3.0 * (k % 3), 8.0 + k % 5);
    finish(16, 90.0, 5.0);
    struct objects objects = find(&all), again = find(&all);
    assert_int_equal(objects.n, 16);
    assert_memory_equal(objects.items, again.items, 16 * sizeof(struct object));
    for (int i = 1; i < 16; i++) {
        const struct shape *before = &objects.items[i - 1].shape, *shape = &objects.items[i].shape;
        assert_true(before->first_y < shape->first_y ||
                    (before->first_y == shape->first_y && before->first_x < shape->first_x));
        assert_int_equal(shape->first_y, shape->top);
    }
    objects_clear(&objects);
    objects_clear(&again);
}

static int read_nothing(void *context, const struct chip_rect *window, uint8_t *out,
                        struct error *err)
{
    (void)context;
    (void)window;
    (void)out;
    return error_set(err, ERROR_CORRUPT, "no pixels");
}

static bool always(void *context)
{
    (void)context;
    return true;
}

static void errors_are_passed_on(void **state)
{
    (void)state;
    struct objects objects = {0};
    struct error err;
    clear();
    draw_disc(200.0, 100.0, 25.0);
    finish(32, 90.0, 5.0);
    scene.source.read_grey = read_nothing;
    assert_int_equal(objects_find(&scene.source, 1, &all, &objects, &err), ERROR_CORRUPT);
    assert_string_equal(err.message, "no pixels");
    assert_int_equal(objects_find(&scene.source, 2, &all, &objects, &err), ERROR_INVALID);
    const struct cancel cancel = {.is_asked = always};
    scene.map.cancel = &cancel;
    assert_int_equal(objects_find(&scene.source, 1, &all, &objects, &err), ERROR_CANCELLED);
    assert_null(objects.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_smaller_than_chips_have_their_own_size),
        cmocka_unit_test(touching_discs_are_two_objects),
        cmocka_unit_test(a_large_irregular_object_stays_one),
        cmocka_unit_test(clouds_of_the_background_are_no_objects),
        cmocka_unit_test(without_contrast_it_is_the_map_that_counts),
        cmocka_unit_test(the_map_is_split_at_a_valley),
        cmocka_unit_test(noise_has_no_objects_by_grey_levels),
        cmocka_unit_test(a_texture_is_no_swarm_of_objects),
        cmocka_unit_test(borders_are_flagged_and_filters_filter),
        cmocka_unit_test(the_order_is_that_of_their_first_pixels),
        cmocka_unit_test(errors_are_passed_on),
    };
    return test_run(tests);
}
