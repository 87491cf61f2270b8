#include "tests/test.h"

#include <math.h>
#include <stdbool.h>

#include "engine/simulate/scene.h"

static struct scene draw_dose(const char *name, uint64_t seed, double dose)
{
    struct scene scene;
    struct error err = {0};
    int rc = scene_draw(name, &(struct scene_params){.seed = seed, .dose = dose}, &scene, &err);
    if (rc != 0)
        fail_msg("%s, seed %llu: %s", name, (unsigned long long)seed, err.message);
    return scene;
}

static struct scene draw(const char *name, uint64_t seed)
{
    return draw_dose(name, seed, 0.0);
}

static void a_seed_decides_every_byte(void **state)
{
    (void)state;
    for (const char *const *name = scene_names(); *name != NULL; name++) {
        struct scene a = draw(*name, 5), b = draw(*name, 5), c = draw(*name, 6);
        size_t n_pixels = (size_t)a.width * a.height;
        size_t n_chips = (size_t)a.rows * a.columns;
        assert_memory_equal(a.pixels, b.pixels, n_pixels * sizeof(*a.pixels));
        assert_memory_equal(a.truth, b.truth, n_chips * sizeof(*a.truth));
        assert_int_equal(a.n_examples, b.n_examples);
        for (uint32_t i = 0; i < a.n_examples; i++) {
            assert_int_equal(a.examples[i].x, b.examples[i].x);
            assert_int_equal(a.examples[i].y, b.examples[i].y);
        }
        assert_memory_not_equal(a.pixels, c.pixels, n_pixels * sizeof(*a.pixels));
        scene_clear(&a);
        scene_clear(&b);
        scene_clear(&c);
        scene_clear(&c);
    }
}

static void check_examples(const struct scene *scene)
{
    assert_int_equal(scene->n_examples, 5 * scene->n_classes);
    uint32_t counts[8] = {0};
    for (uint32_t i = 0; i < scene->n_examples; i++) {
        const struct scene_example *e = &scene->examples[i];
        assert_int_equal(e->x % scene->chip, 0);
        assert_int_equal(e->y % scene->chip, 0);
        uint32_t row = e->y / scene->chip, column = e->x / scene->chip;
        assert_true(row < scene->rows && column < scene->columns);
        assert_int_equal(scene->truth[row * scene->columns + column], e->class_index);
        counts[e->class_index]++;
        for (uint32_t j = 0; j < i; j++)
            assert_false(scene->examples[j].x == e->x && scene->examples[j].y == e->y);
    }
    for (uint32_t c = 0; c < scene->n_classes; c++)
        assert_int_equal(counts[c], 5);
}

static void truth_and_examples_are_well_formed_for_many_seeds(void **state)
{
    (void)state;
    for (const char *const *name = scene_names(); *name != NULL; name++) {
        assert_non_null(scene_description(*name));
        for (uint64_t seed = 0; seed < 6; seed++) {
            struct scene s = draw(*name, seed * 1000003);
            assert_string_equal(s.name, *name);
            assert_int_equal(s.rows * s.chip, s.height);
            assert_int_equal(s.columns * s.chip, s.width);
            assert_in_range(s.n_classes, 3, 8);
            uint32_t counts[8] = {0}, mixed = 0;
            for (uint32_t i = 0; i < s.rows * s.columns; i++) {
                assert_true(s.truth[i] < s.n_classes || s.truth[i] == SCENE_MIXED);
                if (s.truth[i] == SCENE_MIXED)
                    mixed++;
                else
                    counts[s.truth[i]]++;
            }
            for (uint32_t c = 0; c < s.n_classes; c++)
                assert_true(counts[c] >= 20);
            assert_true(mixed > 0 && mixed < s.rows * s.columns / 3);
            check_examples(&s);
            scene_clear(&s);
        }
    }
}

/* A chip with a truth has nearly all of its pixels in that class, and classes have borders within
 * the chips that have none. */
static void the_truth_of_pixels_is_that_of_chips(void **state)
{
    (void)state;
    for (const char *const *name = scene_names(); *name != NULL; name++) {
        struct scene s = draw(*name, 3);
        uint32_t n_parted = 0;
        for (uint32_t i = 0; i < s.rows * s.columns; i++) {
            const size_t x0 = (size_t)(i % s.columns) * s.chip, y0 = i / s.columns * s.chip;
            uint32_t counts[8] = {0}, most = 0;
            for (size_t k = 0; k < (size_t)s.chip * s.chip; k++) {
                const size_t at = (y0 + k / s.chip) * s.width + x0 + k % s.chip;
                assert_true(s.pixel_truth[at] < s.n_classes);
                counts[s.pixel_truth[at]]++;
            }
            for (uint32_t c = 0; c < s.n_classes; c++)
                most = counts[c] > most ? counts[c] : most;
            if (s.truth[i] != SCENE_MIXED)
                assert_true(counts[s.truth[i]] >= 0.95 * s.chip * s.chip);
            else
                n_parted += most < s.chip * s.chip;
        }
        assert_true(n_parted > 0);
        scene_clear(&s);
    }
}

static void the_detector_is_not_saturated(void **state)
{
    (void)state;
    for (const char *const *name = scene_names(); *name != NULL; name++) {
        struct scene s = draw(*name, 1);
        size_t n_pixels = (size_t)s.width * s.height, clipped = 0, bright = 0;
        for (size_t i = 0; i < n_pixels; i++) {
            clipped += s.pixels[i] == 0 || s.pixels[i] == 65535;
            bright += s.pixels[i] > 16384;
        }
        assert_true(clipped < n_pixels / 10000);
        assert_true(bright > n_pixels / 100); /* the 16 bits are used */
        scene_clear(&s);
    }
}

static uint32_t class_named(const struct scene *scene, const char *name)
{
    for (uint32_t c = 0; c < scene->n_classes; c++) {
        if (strcmp(scene->class_names[c], name) == 0)
            return c;
    }
    fail_msg("%s has no class %s", scene->name, name);
    return 0;
}

static double mean_brightness(const struct scene *scene, const char *class_name)
{
    uint32_t class_index = class_named(scene, class_name);
    double sum = 0.0;
    size_t n = 0;
    for (size_t y = 0; y < scene->height; y++) {
        for (size_t x = 0; x < scene->width; x++) {
            size_t chip = y / scene->chip * scene->columns + x / scene->chip;
            if (scene->truth[chip] != class_index)
                continue;
            sum += scene->pixels[y * scene->width + x];
            n++;
        }
    }
    return sum / (double)n;
}

/* Z^1.7 summed over the cell, per volume: 15,990 for germanium, 13,090 for SrTiO3, 2,100 for the
 * carbon; the detector's dark level of 1,500 is the documented one. */
static void brightness_follows_the_scattering(void **state)
{
    (void)state;
    struct scene s = draw("perovskite-on-diamond", 2);
    double substrate = mean_brightness(&s, "substrate") - 1500.0;
    double film = mean_brightness(&s, "film") - 1500.0;
    double cap = mean_brightness(&s, "amorphous-germanium") - 1500.0;
    double carbon = mean_brightness(&s, "carbon") - 1500.0;
    /* The wedge of the thickness allows 6 percent either way. */
    assert_true(fabs(substrate / film - 15990.0 / 13090.0) < 0.12);
    assert_true(fabs(cap / substrate - 0.95) < 0.1);
    assert_true(fabs(carbon / substrate - 2100.0 / 15990.0) < 0.03);
    scene_clear(&s);
}

/* Mean brightness does not tell the oxide's classes apart. */
static void ordering_keeps_the_mean(void **state)
{
    (void)state;
    struct scene s = draw("ordered-oxide", 2);
    double disordered = mean_brightness(&s, "disordered");
    assert_true(fabs(mean_brightness(&s, "ordered-horizontal") / disordered - 1.0) < 0.1);
    assert_true(fabs(mean_brightness(&s, "ordered-vertical") / disordered - 1.0) < 0.1);
    scene_clear(&s);
}

/* Autocorrelation along rows of a run of columns, summed over all rows between y0 and y1. */
static double autocorrelation(const struct scene *scene, uint32_t x0, uint32_t x1, uint32_t y0,
                              uint32_t y1, uint32_t lag, bool down)
{
    double mean = 0.0, sum = 0.0;
    for (uint32_t y = y0; y < y1; y++) {
        for (uint32_t x = x0; x < x1; x++)
            mean += scene->pixels[(size_t)y * scene->width + x];
    }
    mean /= (double)(x1 - x0) * (y1 - y0);
    size_t n = 0;
    for (uint32_t y = y0; y < y1 - (down ? lag : 0); y++) {
        for (uint32_t x = x0; x < x1 - (down ? 0 : lag); x++) {
            size_t i = (size_t)y * scene->width + x;
            size_t shifted = i + (down ? (size_t)lag * scene->width : lag);
            sum += (scene->pixels[i] - mean) * (scene->pixels[shifted] - mean);
            n++;
        }
    }
    return sum / (double)n;
}

/* Position of the autocorrelation's peak near `expected` pixels, by a parabola through its top. */
static double peak_near(const struct scene *scene, uint32_t x0, uint32_t x1, uint32_t y0,
                        uint32_t y1, double expected, bool down)
{
    double best = -INFINITY, left = 0.0, right = 0.0;
    uint32_t at = 0;
    for (uint32_t lag = (uint32_t)(expected * 0.97); lag <= (uint32_t)(expected * 1.03) + 1;
         lag++) {
        double value = autocorrelation(scene, x0, x1, y0, y1, lag, down);
        if (value > best) {
            best = value;
            at = lag;
        }
    }
    left = autocorrelation(scene, x0, x1, y0, y1, at - 1, down);
    right = autocorrelation(scene, x0, x1, y0, y1, at + 1, down);
    assert_true(best > left && best > right);
    return at + 0.5 * (left - right) / (left - 2.0 * best + right);
}

/* Ten periods measured in a window of the picture where the class is known to be, in nm. */
static void check_period(const struct scene *scene, uint32_t x0, uint32_t x1, uint32_t y0,
                         uint32_t y1, double period_nm, bool down)
{
    double expected = 10.0 * period_nm / scene->pixel_size_nm;
    double found = peak_near(scene, x0, x1, y0, y1, expected, down);
    if (!(fabs(found / expected - 1.0) < 0.01))
        fail_msg("%s: period %.4f nm, expected %.4f", scene->name,
                 found * scene->pixel_size_nm / 10.0, period_nm);
}

static void lattice_periods_are_the_documented_ones(void **state)
{
    (void)state;
    struct scene s = draw("perovskite-on-diamond", 3);
    check_period(&s, 0, 700, 560, 800, 0.3905, false);             /* SrTiO3 a */
    check_period(&s, 0, 1280, 900, 1280, 0.5658 / sqrt(2), false); /* Ge a / sqrt(2) */
    check_period(&s, 0, 1280, 880, 1280, 0.5658, true);            /* Ge a */
    scene_clear(&s);
    s = draw("ordered-oxide", 3);
    check_period(&s, 460, 1000, 360, 850, 0.38751, false); /* disordered: one cell */
    /* Ordered: rows repeat after two cells and not after one. */
    double one = 0.775591 / 2.0 / s.pixel_size_nm;
    double half = autocorrelation(&s, 0, 300, 400, 800, (uint32_t)(one + 0.5), true);
    double whole = autocorrelation(&s, 0, 300, 400, 800, (uint32_t)(2.0 * one + 0.5), true);
    assert_true(whole > 2.0 * half);
    scene_clear(&s);
}

/* Folding the film by its cell in windows of three cells (drift and strain are small there) gives a
 * mean cell in which the strontium column is the brightest and titanium, half a cell away in both
 * directions, comes next. */
static void heavier_columns_are_brighter(void **state)
{
    (void)state;
    struct scene s = draw("perovskite-on-diamond", 4);
    const double cell = 0.3905 / s.pixel_size_nm;
    enum { X0 = 200, Y0 = 600, CELLS = 6 };
    double strontium = 0.0, titanium = 0.0, oxygen = 0.0;
    int at_x = 0, at_y = 0;
    for (int dy = 0; dy < (int)cell; dy++) {
        for (int dx = 0; dx < (int)cell; dx++) {
            double values[3] = {0.0};
            for (int k = 0; k < CELLS * CELLS; k++) {
                double x = X0 + dx + k % CELLS * cell, y = Y0 + dy + (int)(k / CELLS) * cell;
                for (int place = 0; place < 3; place++) {
                    size_t row = (size_t)(y + (place >= 1 ? 0.5 * cell : 0.0) + 0.5);
                    size_t column = (size_t)(x + (place == 1 ? 0.5 * cell : 0.0) + 0.5);
                    values[place] += s.pixels[row * s.width + column];
                }
            }
            if (values[0] > strontium) {
                strontium = values[0];
                titanium = values[1];
                oxygen = values[2];
                at_x = dx;
                at_y = dy;
            }
        }
    }
    if (!(strontium > 1.3 * titanium && titanium > 1.3 * oxygen))
        fail_msg("Sr %.0f, Ti %.0f, O %.0f at %d, %d", strontium, titanium, oxygen, at_x, at_y);
    scene_clear(&s);
}

/* Mean and variance of the differences between neighbouring rows' pixels in the carbon, where there
 * is no lattice, in electrons. */
static void carbon_counts(const struct scene *scene, double gain, double *mean, double *variance)
{
    double sum = 0.0, squares = 0.0;
    size_t n = 0;
    for (size_t y = 0; y + 1 < 100; y++) {
        for (size_t x = 0; x < scene->width; x++) {
            double above = scene->pixels[y * scene->width + x];
            double below = scene->pixels[(y + 1) * scene->width + x];
            sum += above;
            squares += (above - below) * (above - below) / 2.0;
            n++;
        }
    }
    *mean = (sum / (double)n - 1500.0) / gain;
    *variance = squares / (double)n / (gain * gain);
}

/* Counting statistics: with the dose grows the signal, and the variance as the signal; the gain of
 * 400 is the scene's own up to its own dose of 20 electrons and falls beyond. Carbon scatters 2,100
 * of the reference's 13,000. */
static void dose_sets_the_counts(void **state)
{
    (void)state;
    const double doses[] = {0.2, 2.0, 20.0, 200.0};
    for (size_t i = 0; i < sizeof(doses) / sizeof(*doses); i++) {
        struct scene s = draw_dose("perovskite-on-diamond", 2, doses[i]);
        double gain = 400.0 * fmin(1.0, 20.0 / doses[i]), mean, variance;
        carbon_counts(&s, gain, &mean, &variance);
        double expected = doses[i] * 2100.0 / 13000.0;
        double read_noise = 250.0 / gain;
        if (!(fabs(mean / expected - 1.0) < 0.15))
            fail_msg("dose %g: %.4f electrons in carbon, expected %.4f", doses[i], mean, expected);
        /* Speckle adds a little between rows, which counts only where counting noise is small. */
        double noise = expected + read_noise * read_noise;
        if (!(variance > 0.9 * noise && variance < 1.2 * noise))
            fail_msg("dose %g: variance %.4f, expected %.4f", doses[i], variance, noise);
        scene_clear(&s);
    }
}

static void dose_leaves_the_specimen_alone(void **state)
{
    (void)state;
    for (const char *const *name = scene_names(); *name != NULL; name++) {
        struct scene own = draw(*name, 7), low = draw_dose(*name, 7, 0.5);
        struct scene same = draw_dose(*name, 7, 20.0); /* both scenes' own dose */
        size_t n_pixels = (size_t)own.width * own.height;
        size_t n_chips = (size_t)own.rows * own.columns;
        assert_memory_equal(own.truth, low.truth, n_chips * sizeof(*own.truth));
        for (uint32_t i = 0; i < own.n_examples; i++) {
            assert_int_equal(own.examples[i].x, low.examples[i].x);
            assert_int_equal(own.examples[i].y, low.examples[i].y);
        }
        assert_memory_equal(own.pixels, same.pixels, n_pixels * sizeof(*own.pixels));
        assert_memory_not_equal(own.pixels, low.pixels, n_pixels * sizeof(*own.pixels));
        scene_clear(&own);
        scene_clear(&low);
        scene_clear(&same);
    }
}

static void impossible_doses_are_refused(void **state)
{
    (void)state;
    const double doses[] = {-1.0, 1e-4, 2e5, INFINITY, NAN};
    for (size_t i = 0; i < sizeof(doses) / sizeof(*doses); i++) {
        struct scene scene;
        struct error err;
        struct scene_params params = {.dose = doses[i]};
        assert_int_equal(scene_draw("ordered-oxide", &params, &scene, &err), ERROR_INVALID);
        assert_non_null(strstr(err.message, "dose"));
    }
}

static void unknown_scenes_are_named(void **state)
{
    (void)state;
    struct scene scene;
    struct error err;
    struct scene_params params = {.seed = 0};
    assert_int_equal(scene_draw("moon", &params, &scene, &err), ERROR_NOT_FOUND);
    for (const char *const *name = scene_names(); *name != NULL; name++)
        assert_non_null(strstr(err.message, *name));
    assert_null(scene_description("moon"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_decides_every_byte),
        cmocka_unit_test(truth_and_examples_are_well_formed_for_many_seeds),
        cmocka_unit_test(the_truth_of_pixels_is_that_of_chips),
        cmocka_unit_test(the_detector_is_not_saturated),
        cmocka_unit_test(brightness_follows_the_scattering),
        cmocka_unit_test(ordering_keeps_the_mean),
        cmocka_unit_test(lattice_periods_are_the_documented_ones),
        cmocka_unit_test(heavier_columns_are_brighter),
        cmocka_unit_test(dose_sets_the_counts),
        cmocka_unit_test(dose_leaves_the_specimen_alone),
        cmocka_unit_test(impossible_doses_are_refused),
        cmocka_unit_test(unknown_scenes_are_named),
    };
    return test_run(tests);
}
