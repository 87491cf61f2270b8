#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/image/grey/flatten.h"
#include "engine/random.h"

enum { WIDTH = 300, HEIGHT = 220, N = WIDTH * HEIGHT };

static float image[N], other[N];

/* Noise with bright discs, a tenth of the area. */
static void draw(float *out, double noise)
{
    struct random random;
    random_seed(&random, 11, 0);
    for (int i = 0; i < N; i++) {
        const double x = i % WIDTH % 60 - 29.5, y = i / WIDTH % 60 - 29.5;
        out[i] =
            (float)(100.0 + (hypot(x, y) < 11.0 ? 40.0 : 0.0) + noise * random_normal(&random));
    }
}

static void add_polynomial(float *out, double x1, double y1, double xx, double xy, double yyy)
{
    for (int i = 0; i < N; i++) {
        const double x = (i % WIDTH + 0.5) / WIDTH - 0.5, y = (i / WIDTH + 0.5) / HEIGHT - 0.5;
        out[i] += (float)(x1 * x + y1 * y + xx * x * x + xy * x * y + yyy * y * y * y);
    }
}

static void flatten(enum flatten_method method, uint32_t order, uint32_t scale, float *pixels)
{
    const struct flatten_params params = {method, order, scale};
    assert_int_equal(flatten_params_check(&params, NULL), 0);
    assert_int_equal(flatten_apply(&params, pixels, WIDTH, HEIGHT, NULL, NULL), 0);
}

static double mean_of(const float *pixels)
{
    double sum = 0.0;
    for (int i = 0; i < N; i++)
        sum += (double)pixels[i];
    return sum / N;
}

/* The largest difference, but for one of the means. */
static double difference(const float *a, const float *b)
{
    const double shift = mean_of(a) - mean_of(b);
    double most = 0.0;
    for (int i = 0; i < N; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i] - shift));
    return most;
}

/* A plane 80 grey levels high is gone to a thousandth of a level, whatever else is in the image. */
static void a_plane_is_taken_out(void **state)
{
    (void)state;
    draw(image, 5.0);
    draw(other, 5.0);
    add_polynomial(other, 60.0, -20.0, 0.0, 0.0, 0.0);
    const double mean = mean_of(other);
    assert_true(difference(image, other) > 30.0);
    flatten(FLATTEN_PLANE, 0, 0, image);
    flatten(FLATTEN_PLANE, 0, 0, other);
    assert_true(difference(image, other) < 1e-3);
    assert_float_equal(mean_of(other), mean, 0.5);
}

static void a_flat_image_stays_as_it_is(void **state)
{
    (void)state;
    draw(image, 5.0);
    memcpy(other, image, sizeof(image));
    flatten(FLATTEN_PLANE, 0, 0, image);
    assert_true(difference(image, other) < 1.0); /* a fifth of the noise, a fortieth of a disc */
    for (int i = 0; i < N; i++)
        image[i] = 7.0f;
    memcpy(other, image, sizeof(image));
    for (int i = 0; i < 3; i++)
        flatten(FLATTEN_PLANE + i, 4, 64, image);
    assert_true(difference(image, other) < 1e-5);
}

static void polynomials_bend(void **state)
{
    (void)state;
    draw(image, 5.0);
    for (uint32_t order = 2; order <= 4; order++) {
        draw(other, 5.0);
        add_polynomial(other, 30.0, 10.0, 120.0, -50.0, order >= 3 ? 300.0 : 0.0);
        float *flat = calloc(N, sizeof(*flat));
        assert_non_null(flat);
        memcpy(flat, image, sizeof(image));
        flatten(FLATTEN_POLYNOMIAL, order, 0, flat);
        flatten(FLATTEN_POLYNOMIAL, order, 0, other);
        assert_true(difference(flat, other) < 1e-3);
        free(flat);
    }
    draw(other, 5.0);
    add_polynomial(other, 0.0, 0.0, 200.0, 0.0, 0.0);
    flatten(FLATTEN_PLANE, 0, 0, image);
    flatten(FLATTEN_PLANE, 0, 0, other);
    assert_true(difference(image, other) > 20.0);
}

/* One corner that has nothing to do with the background does not tilt it. */
static void what_is_far_off_has_no_say(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        image[i] = (float)(i % WIDTH) * 0.1f;
        if (i % WIDTH < 30 && i / WIDTH < 30)
            image[i] += 500.0f;
    }
    flatten(FLATTEN_PLANE, 0, 0, image);
    const double level = (double)image[N - 1];
    for (int i = 0; i < N; i++) {
        const bool is_corner = i % WIDTH < 30 && i / WIDTH < 30;
        assert_float_equal((double)image[i], level + (is_corner ? 500.0 : 0.0), 1e-3);
    }
}

/* A wave longer than a block goes, discs smaller than one stay. */
static void the_large_scale_leaves_what_is_small(void **state)
{
    (void)state;
    draw(image, 0.0);
    memcpy(other, image, sizeof(image));
    for (int i = 0; i < N; i++)
        other[i] += (float)(50.0 * sin(2 * 3.14159265 * (i % WIDTH) / 280.0));
    flatten(FLATTEN_LARGE_SCALE, 0, 40, other);
    double inside = 0.0, outside = 0.0, n_inside = 0.0;
    for (int i = 0; i < N; i++) {
        const bool is_disc = image[i] > 120.0f;
        inside += is_disc ? (double)other[i] : 0.0;
        outside += is_disc ? 0.0 : (double)other[i];
        n_inside += is_disc;
    }
    const double contrast = inside / n_inside - outside / (N - n_inside);
    assert_float_equal(contrast, 40.0, 4.0);
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 45; x < WIDTH - 45; x += 60)
            assert_float_equal((double)other[y * WIDTH + x], outside / (N - n_inside), 15.0);
    }
}

static void missing_pixels_have_no_say_and_stay(void **state)
{
    (void)state;
    for (int method = FLATTEN_PLANE; method <= FLATTEN_LARGE_SCALE; method++) {
        for (int i = 0; i < N; i++) {
            image[i] = (float)(i / WIDTH) * 0.5f;
            if (i % WIDTH >= 240)
                image[i] = NAN;
        }
        flatten((enum flatten_method)method, 2, 20, image);
        for (int i = 0; i < N; i++) {
            assert_int_equal(isnan(image[i]) != 0, i % WIDTH >= 240);
            /* Beyond the middle of the outer blocks the large scale is level. */
            if (i % WIDTH < 240 && i / WIDTH >= 30 && i / WIDTH < HEIGHT - 30)
                assert_float_equal((double)image[i], (double)image[100 * WIDTH], 0.6);
        }
        for (int i = 0; i < N; i++)
            image[i] = NAN;
        flatten((enum flatten_method)method, 2, 20, image);
        assert_true(isnan(image[0]) && isnan(image[N - 1]));
    }
}

static void small_images_are_no_fault(void **state)
{
    (void)state;
    for (int method = FLATTEN_PLANE; method <= FLATTEN_LARGE_SCALE; method++) {
        const struct flatten_params params = {(enum flatten_method)method, 4, 4096};
        float pixels[] = {1.0f, 2.0f, 4.0f};
        assert_int_equal(flatten_apply(&params, pixels, 1, 1, NULL, NULL), 0);
        assert_true(pixels[0] == 1.0f);
        assert_int_equal(flatten_apply(&params, pixels, 3, 1, NULL, NULL), 0);
        assert_true(isfinite(pixels[0]) && pixels[0] < pixels[2]);
    }
}

static void parameters_are_checked(void **state)
{
    (void)state;
    struct error err;
    enum flatten_method method;
    static const struct flatten_params wrong[] = {{FLATTEN_POLYNOMIAL, 1, 0},
                                                  {FLATTEN_POLYNOMIAL, 5, 0},
                                                  {FLATTEN_LARGE_SCALE, 0, 15},
                                                  {FLATTEN_LARGE_SCALE, 0, 4097},
                                                  {(enum flatten_method)9, 2, 256}};
    for (int i = 0; i < 5; i++)
        assert_int_equal(flatten_params_check(&wrong[i], &err), ERROR_INVALID);
    assert_int_equal(flatten_method_parse("none", &method, &err), ERROR_INVALID);
    assert_int_equal(flatten_method_parse("large_scale", &method, &err), 0);
    assert_int_equal(method, FLATTEN_LARGE_SCALE);
    char key[FLATTEN_KEY_SIZE];
    flatten_key(&(struct flatten_params){FLATTEN_NONE, 2, 256}, key);
    assert_string_equal(key, "");
    flatten_key(&(struct flatten_params){FLATTEN_POLYNOMIAL, 3, 256}, key);
    assert_string_equal(key, " polynomial 3");
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
    struct error err;
    for (int method = FLATTEN_PLANE; method <= FLATTEN_LARGE_SCALE; method++) {
        const struct flatten_params params = {(enum flatten_method)method, 2, 64};
        assert_int_equal(flatten_apply(&params, image, WIDTH, HEIGHT, &cancel, &err),
                         ERROR_CANCELLED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plane_is_taken_out),
        cmocka_unit_test(a_flat_image_stays_as_it_is),
        cmocka_unit_test(polynomials_bend),
        cmocka_unit_test(what_is_far_off_has_no_say),
        cmocka_unit_test(the_large_scale_leaves_what_is_small),
        cmocka_unit_test(missing_pixels_have_no_say_and_stay),
        cmocka_unit_test(small_images_are_no_fault),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(it_can_be_called_off),
    };
    return test_run(tests);
}
