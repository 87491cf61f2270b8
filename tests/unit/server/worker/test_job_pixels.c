/* The ways of an image's pixels into a job: as samples row by row when its counts are known, as
 * samples at once, as a band of samples, as floats. All give the same bytes. */
#include "tests/unit/server/worker/rig.h"

#include "api/job/image_counts.h"
#include "api/job/job_params.h"
#include "engine/image/png_write.h"
#include "engine/random.h"
#include "server/worker/job_pixels.h"

enum { MIDDLE = RIG_WIDTH / 2, HEIGHT = 3 * RIG_HEIGHT };

static uint8_t grey[HEIGHT * RIG_WIDTH];

static void fill(void)
{
    struct random random;
    random_seed(&random, 5, 0);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < RIG_WIDTH; x++) {
            uint32_t stripe = x >= MIDDLE && x / 2 % 2 == 0 ? 160 : 0;
            grey[y * RIG_WIDTH + x] = (uint8_t)(40 + random_below(&random, 50) + stripe);
        }
    }
}

static struct png_bytes as_grey(void)
{
    struct png_bytes png = {0};
    assert_ok(png_write_grey8(grey, RIG_WIDTH, HEIGHT, &png, NULL));
    return png;
}

static struct png_bytes as_rgb(void)
{
    static uint8_t rgb[3 * HEIGHT * RIG_WIDTH];
    struct png_bytes png = {0};
    for (size_t i = 0; i < sizeof(rgb); i++)
        rgb[i] = grey[i / 3];
    assert_ok(png_write_rgb8(rgb, RIG_WIDTH, HEIGHT, &png, NULL));
    return png;
}

/* Normalisations that look at places. */
enum over_places { NONE, CLAHE, FLATTENED };

/* What a job of one image gives in a fresh rig. `counts`: stored before, NULL: none. `small_size`:
 * of an image that is held as a whole; 0: the default. */
static void run_held(const struct png_bytes *png, const uint32_t *counts, enum over_places over,
                     uint64_t small_size, struct db_result *out)
{
    struct rig rig;
    char images[1][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    rig_open(&rig, RIG_CACHE_SIZE);
    rig_add_file(&rig, png->data, png->size, RIG_WIDTH, HEIGHT, images[0]);
    if (counts != NULL) {
        struct db_image row = {0};
        assert_ok(db_image_get(rig.db, images[0], &row, &rig.err));
        image_counts_put(rig.cache, row.sha256, row.frame, "", counts, 256);
        db_image_clear(&row);
    }
    rig_add_plain_set(&rig, images[0], set);
    struct job_params params = {
        .grid = {.chip_width = RIG_CHIP, .chip_height = RIG_CHIP, .stride_x = 4, .stride_y = 4},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
    };
    params.normalise.clahe.enabled = over == CLAHE;
    params.normalise.flatten.method = over == FLATTENED ? FLATTEN_PLANE : FLATTEN_NONE;
    char *text = job_params_to_text(&params);
    rig.small_size = small_size;
    rig_start(&rig, 1);
    rig_insert_params(&rig, set, (const char(*)[DB_ID_SIZE])images, 1, text, RIG_SOME_CHIPS, id);
    worker_notify(rig.worker, id);
    rig_wait(&rig, id, DB_JOB_SUCCEEDED);
    rig_result(&rig, id, images[0], out);
    free(text);
    rig_close(&rig);
}

static void run(const struct png_bytes *png, const uint32_t *counts, enum over_places over,
                struct db_result *out)
{
    run_held(png, counts, over, 0, out);
}

static void count(uint32_t *counts)
{
    memset(counts, 0, 256 * sizeof(counts[0]));
    for (size_t i = 0; i < sizeof(grey); i++)
        counts[grey[i]]++;
}

static void rows_samples_and_floats_give_the_same_bytes(void **state)
{
    (void)state;
    struct png_bytes plain = as_grey(), rgb = as_rgb();
    struct db_result at_once = {0}, by_rows = {0}, floats = {0};
    uint32_t counts[256];
    count(counts);
    run(&plain, NULL, NONE, &at_once);
    run(&plain, counts, NONE, &by_rows);
    run(&rgb, NULL, NONE, &floats);
    assert_true(rig_accuracy(&at_once, MIDDLE) > 0.95);
    rig_assert_same(&at_once, &by_rows);
    rig_assert_same(&at_once, &floats);
    db_result_clear(&at_once);
    db_result_clear(&by_rows);
    db_result_clear(&floats);
    png_bytes_clear(&plain);
    png_bytes_clear(&rgb);
}

/* 29 chips a row, batches of 32 and two workers: six rows of chips and what is read at once are in
 * memory, a third of the image. */
static void a_band_gives_the_same_bytes(void **state)
{
    (void)state;
    struct png_bytes plain = as_grey();
    struct db_result whole = {0}, counted = {0}, known = {0};
    uint32_t counts[256];
    count(counts);
    run(&plain, counts, NONE, &whole);
    run_held(&plain, NULL, NONE, 1, &counted);
    run_held(&plain, counts, NONE, 1, &known);
    rig_assert_same(&whole, &counted);
    rig_assert_same(&whole, &known);
    db_result_clear(&whole);
    db_result_clear(&counted);
    db_result_clear(&known);
    png_bytes_clear(&plain);
}

/* Counts that cannot be this image's are made anew; those that could be are believed, so that this
 * also shows that stored ones are used. */
static void wrong_counts_are_not_relied_upon(void **state)
{
    (void)state;
    struct png_bytes plain = as_grey();
    struct db_result right = {0}, corrected = {0}, believed = {0};
    uint32_t counts[256] = {0};
    run(&plain, NULL, NONE, &right);
    counts[0] = UINT32_MAX;
    run(&plain, counts, NONE, &corrected);
    rig_assert_same(&right, &corrected);
    counts[0] = RIG_WIDTH * HEIGHT / 2;
    counts[255] = RIG_WIDTH * HEIGHT - counts[0];
    run(&plain, counts, NONE, &believed);
    assert_memory_not_equal(right.probabilities, believed.probabilities,
                            (size_t)right.rows * right.columns * 2 * sizeof(float));
    db_result_clear(&right);
    db_result_clear(&corrected);
    db_result_clear(&believed);
    png_bytes_clear(&plain);
}

static void assert_takes_the_whole_image(enum over_places over)
{
    struct png_bytes plain = as_grey(), rgb = as_rgb();
    struct db_result without = {0}, with = {0}, floats = {0};
    run(&plain, NULL, NONE, &without);
    run(&plain, NULL, over, &with);
    run(&rgb, NULL, over, &floats);
    rig_assert_same(&with, &floats);
    assert_memory_not_equal(without.probabilities, with.probabilities,
                            (size_t)with.rows * with.columns * 2 * sizeof(float));
    db_result_clear(&without);
    db_result_clear(&with);
    db_result_clear(&floats);
    png_bytes_clear(&plain);
    png_bytes_clear(&rgb);
}

static void clahe_and_flattening_take_the_whole_image(void **state)
{
    (void)state;
    assert_takes_the_whole_image(CLAHE);
    assert_takes_the_whole_image(FLATTENED);
}

/* The same with a cache and without. */
static void several_images_are_a_pipeline(void **state)
{
    (void)state;
    struct db_result cached[4], encoded[4];
    memset(cached, 0, sizeof(cached));
    memset(encoded, 0, sizeof(encoded));
    assert_int_equal(rig_run_several(RIG_CACHE_SIZE, 0, RIG_CHIP, cached), 4 * RIG_CHIPS);
    assert_int_equal(rig_run_several(0, 0, RIG_CHIP, encoded), 4 * RIG_CHIPS);
    for (size_t i = 0; i < 4; i++) {
        assert_true(rig_accuracy(&cached[i], MIDDLE) > 0.9);
        rig_assert_same(&cached[i], &encoded[i]);
        db_result_clear(&cached[i]);
        db_result_clear(&encoded[i]);
    }
}

/* Damage at the end of a file is not found by a decode that was called off before. */
static void a_decode_ends_when_its_job_is_to_stop(void **state)
{
    (void)state;
    enum { SIDE = 2048, N_DAMAGED = 64 };
    uint8_t *noise = malloc(SIDE * SIDE);
    struct png_bytes png = {0};
    struct random random;
    struct image pixels;
    assert_non_null(noise);
    random_seed(&random, 9, 0);
    for (size_t i = 0; i < (size_t)SIDE * SIDE; i++)
        noise[i] = (uint8_t)random_below(&random, 256);
    assert_ok(png_write_grey8(noise, SIDE, SIDE, &png, NULL));
    memset(png.data + png.size - 2 * N_DAMAGED, 0, N_DAMAGED);
    struct job_image image = {.row = {.width = SIDE, .height = SIDE}};
    const struct store_file file = {.data = png.data, .size = png.size};
    const struct job_engine engine = {.limits = &api_limits_default};
    struct job_control control = {.stop = JOB_STOP_NONE};
    struct job_state job;
    job_state_init(&job, &engine, NULL, NULL, &control);
    assert_int_equal(job_pixels_decode(&job, &image, NULL, &file, &pixels, NULL), ERROR_INVALID);
    atomic_store(&control.stop, JOB_STOP_CANCEL);
    assert_int_equal(job_pixels_decode(&job, &image, NULL, &file, &pixels, NULL), ERROR_CANCELLED);
    atomic_store(&control.stop, JOB_STOP_SHUTDOWN);
    assert_int_equal(job_pixels_decode(&job, &image, NULL, &file, &pixels, NULL), ERROR_CANCELLED);
    png_bytes_clear(&png);
    free(noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_samples_and_floats_give_the_same_bytes),
        cmocka_unit_test(a_band_gives_the_same_bytes),
        cmocka_unit_test(wrong_counts_are_not_relied_upon),
        cmocka_unit_test(clahe_and_flattening_take_the_whole_image),
        cmocka_unit_test(several_images_are_a_pipeline),
        cmocka_unit_test(a_decode_ends_when_its_job_is_to_stop),
    };
    fill();
    return test_run(tests);
}
