#include "tests/unit/server/worker/rig.h"

#include "api/job/job_params.h"
#include "db/image_masks.h"
#include "engine/fewshot/labels.h"
#include "engine/image/png_write.h"
#include "engine/random.h"
#include "tests/unit/engine/image/png_builder.h"

enum {
    HEIGHT = RIG_HEIGHT,
    MIDDLE = RIG_WIDTH / 2,
    BAR_Y = 4 * RIG_CHIP, /* what is below is no specimen */
    CHIPS = RIG_WIDTH / RIG_CHIP * (HEIGHT / RIG_CHIP),
    BAR_CHIPS = RIG_WIDTH / RIG_CHIP * 2,
};

static uint8_t grey[HEIGHT * RIG_WIDTH];

/* Noise left, stripes right; below, saturated things of some kind. */
static void draw(uint64_t kind)
{
    struct random random, other;
    random_seed(&random, 11, 0);
    random_seed(&other, kind, 0);
    for (uint32_t y = 0; y < HEIGHT; y++) {
        for (uint32_t x = 0; x < RIG_WIDTH; x++) {
            const uint32_t stripe = x >= MIDDLE && x / 2 % 2 == 0 ? 160 : 0;
            const uint8_t specimen = (uint8_t)(40 + random_below(&random, 50) + stripe);
            grey[y * RIG_WIDTH + x] =
                y < BAR_Y ? specimen : (uint8_t)(random_below(&other, 2) * 255);
        }
    }
}

static struct png_bytes make_png(bool is_rgb)
{
    static uint8_t rgb[3 * HEIGHT * RIG_WIDTH];
    struct png_bytes png = {0};
    for (size_t i = 0; i < sizeof(rgb); i++)
        rgb[i] = grey[i / 3];
    assert_ok(is_rgb ? png_write_rgb8(rgb, RIG_WIDTH, HEIGHT, &png, NULL)
                     : png_write_grey8(grey, RIG_WIDTH, HEIGHT, &png, NULL));
    return png;
}

static void add_drawn(struct rig *rig, uint64_t kind, bool is_rgb, char id[DB_ID_SIZE])
{
    draw(kind);
    struct png_bytes png = make_png(is_rgb);
    rig_add_file(rig, png.data, png.size, RIG_WIDTH, HEIGHT, id);
    png_bytes_clear(&png);
}

/* Examples above the bar. */
static void add_set(struct rig *rig, const char *image, char id[DB_ID_SIZE])
{
    struct rig_example examples[6];
    for (uint32_t i = 0; i < 6; i++)
        examples[i] = (struct rig_example){i % 2, image, i % 2 == 0 ? RIG_CHIP : 6 * RIG_CHIP,
                                           i / 2 * RIG_CHIP};
    rig_add_set(rig, examples, 6, id);
}

static void put_mask(struct rig *rig, const char *image, const char *shapes, const char *picture)
{
    struct db_image_mask mask = {0}, row = {.shapes = (char *)shapes};
    assert_ok(db_image_mask_get(rig->db, image, DB_MASKS_ALL, &mask, &rig->err));
    const uint32_t version = mask.version;
    db_image_mask_clear(&mask);
    snprintf(row.image_id, sizeof(row.image_id), "%s", image);
    snprintf(row.picture_sha256, sizeof(row.picture_sha256), "%s", picture);
    assert_ok(db_image_mask_insert(rig->db, rig->store, &row, version, &rig->err));
}

static const char bar_rectangle[] =
    "{\"rectangles\":[{\"x\":0,\"y\":64,\"width\":128,\"height\":32}]}";

static struct job_params make_params(void)
{
    return (struct job_params){
        .grid = {RIG_CHIP, RIG_CHIP, RIG_CHIP, RIG_CHIP, 0, 0, GRID_EDGE_DROP},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
    };
}

static void insert(struct rig *rig, const struct job_params *params, const char *set,
                   const char *image, char id[DB_ID_SIZE])
{
    char images[1][DB_ID_SIZE];
    char *text = job_params_to_text(params);
    assert_non_null(text);
    snprintf(images[0], sizeof(images[0]), "%s", image);
    rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, 1, text, CHIPS, id);
    free(text);
}

static void run(struct rig *rig, const struct job_params *params, const char *set,
                const char *image, struct db_result *out)
{
    char id[DB_ID_SIZE];
    insert(rig, params, set, image, id);
    worker_notify(rig->worker, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, image, out);
}

static void assert_bar_is_left_out(const struct db_result *result)
{
    for (uint32_t i = 0; i < CHIPS; i++) {
        const uint32_t row = i / (RIG_WIDTH / RIG_CHIP), column = i % (RIG_WIDTH / RIG_CHIP);
        const uint16_t expected =
            row * RIG_CHIP >= BAR_Y ? LABEL_NOT_ANALYSED : column * RIG_CHIP >= MIDDLE;
        assert_int_equal(result->labels[i], expected);
    }
    assert_true(rig_statistic(result, 0, "area_fraction") == 0.5);
    assert_true(rig_statistic(result, -1, "not_analysed_chips") == BAR_CHIPS);
}

/* ---- tests ---- */

/* Whichever way an image is read, what is left out makes no difference to any byte. */
static void what_is_left_out_makes_no_difference(void **state)
{
    (void)state;
    struct db_result results[8] = {{.rows = 0}};
    for (uint32_t way = 0; way < 8; way++) {
        struct rig rig;
        char image[DB_ID_SIZE], set[DB_ID_SIZE];
        struct job_params params = make_params();
        params.normalise.clahe.enabled = way / 2 == 3;
        rig_open(&rig, RIG_CACHE_SIZE);
        rig.small_size = way / 2 == 1 ? 1 : 0; /* a band of rows at a time */
        add_drawn(&rig, way % 2, way / 2 == 2, image);
        add_set(&rig, image, set);
        put_mask(&rig, image, bar_rectangle, "");
        rig_start(&rig, 1);
        run(&rig, &params, set, image, &results[way]);
        assert_bar_is_left_out(&results[way]);
        rig_close(&rig);
    }
    for (uint32_t way = 1; way < 6; way++)
        rig_assert_same(&results[0], &results[way]);
    rig_assert_same(&results[6], &results[7]);
    for (uint32_t way = 0; way < 8; way++)
        db_result_clear(&results[way]);
}

/* Rows that are in the cache as counts, and embeddings that are: the same bytes. */
static void what_is_kept_is_the_masks_own(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result plain = {0}, first = {0}, again = {0}, plain_again = {0};
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, image);
    add_set(rig, image, set);
    rig_start(rig, 1);
    run(rig, &params, set, image, &plain);
    put_mask(rig, image, bar_rectangle, "");
    run(rig, &params, set, image, &first);
    run(rig, &params, set, image, &again);
    put_mask(rig, image, "{}", "");
    run(rig, &params, set, image, &plain_again);
    assert_bar_is_left_out(&first);
    rig_assert_same(&first, &again);
    rig_assert_same(&plain, &plain_again);
    db_result_clear(&plain);
    db_result_clear(&first);
    db_result_clear(&again);
    db_result_clear(&plain_again);
}

static void keep_look(struct rig *rig, const char *image_id, const char *look)
{
    struct db_image image = {0}, row = {0};
    bool existed = false;
    assert_ok(db_image_get(rig->db, image_id, &image, &rig->err));
    row = image;
    row.name = strdup("again.png");
    row.look = strdup(look);
    assert_ok(db_image_insert(rig->db, rig->store, &row, &existed, &rig->err));
    assert_true(existed);
    db_image_clear(&image);
    db_image_clear(&row);
}

static void proposals_are_left_out_and_said(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result = {0};
    struct job_params params = make_params();
    add_drawn(rig, 0, false, image);
    add_set(rig, image, set);
    keep_look(rig, image,
              "{\"found\":[{\"kind\":\"bar\",\"x\":0,\"y\":64,\"width\":128,\"height\":32}],"
              "\"n_missing\":0}");
    rig_start(rig, 1);
    run(rig, &params, set, image, &result);
    assert_bar_is_left_out(&result);
    assert_non_null(strstr(result.analysis,
                           "\"not_analysed\":[{\"height\":32,\"kind\":\"bar\",\"status\":"
                           "\"proposed\",\"width\":128,\"x\":0,\"y\":64}]"));
    assert_non_null(strstr(result.analysis, "\"version\":0"));
    db_result_clear(&result);
    /* One parameter keeps them, */
    params.proposals = MASK_WITHOUT_PROPOSED;
    run(rig, &params, set, image, &result);
    assert_null(strstr(result.analysis, "not_analysed"));
    assert_int_not_equal(result.labels[CHIPS - 1], LABEL_NOT_ANALYSED);
    db_result_clear(&result);
    /* unless they are accepted; */
    put_mask(rig, image, "{\"accepted\":[0]}", "");
    run(rig, &params, set, image, &result);
    assert_bar_is_left_out(&result);
    assert_non_null(strstr(result.analysis, "\"status\":\"accepted\""));
    db_result_clear(&result);
    /* and so does a refusal. */
    put_mask(rig, image, "{\"refused\":[0]}", "");
    params.proposals = MASK_WITH_PROPOSED;
    run(rig, &params, set, image, &result);
    assert_null(strstr(result.analysis, "not_analysed"));
    assert_non_null(strstr(result.analysis, "\"mask\":{\"sha256\":null,\"version\":2}"));
    assert_int_not_equal(result.labels[CHIPS - 1], LABEL_NOT_ANALYSED);
    db_result_clear(&result);
}

/* The drawn image with alpha 0 below, where its colours are others. */
static void add_transparent(struct rig *rig, char id[DB_ID_SIZE])
{
    static uint16_t samples[4 * HEIGHT * RIG_WIDTH];
    draw(1);
    for (size_t i = 0; i < HEIGHT * RIG_WIDTH; i++) {
        for (size_t k = 0; k < 3; k++)
            samples[4 * i + k] = grey[i];
        samples[4 * i + 3] = i / RIG_WIDTH < BAR_Y ? 255 : 0;
    }
    const struct png_pixels pixels = {.width = RIG_WIDTH,
                                      .height = HEIGHT,
                                      .bit_depth = 8,
                                      .color_type = PNG_RGBA,
                                      .samples = samples};
    struct png_file file = png_build(&pixels);
    rig_add_file(rig, file.data, file.size, RIG_WIDTH, HEIGHT, id);
    png_file_clear(&file);
    keep_look(rig, id, "{\"found\":[],\"n_missing\":4096}");
}

static void transparent_pixels_are_left_out(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result by_shape = {0}, by_alpha = {0}, again = {0};
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, images[0]);
    add_transparent(rig, images[1]);
    put_mask(rig, images[0], bar_rectangle, "");
    rig_start(rig, 1);
    add_set(rig, images[0], set);
    run(rig, &params, set, images[0], &by_shape);
    add_set(rig, images[1], set);
    run(rig, &params, set, images[1], &by_alpha);
    run(rig, &params, set, images[1], &again);
    rig_assert_same(&by_shape, &by_alpha);
    rig_assert_same(&by_shape, &again);
    assert_non_null(strstr(by_alpha.analysis, "\"not_analysed\":[{\"kind\":\"transparent\","
                                              "\"n_pixels\":4096,\"status\":\"given\"}]"));
    db_result_clear(&by_shape);
    db_result_clear(&by_alpha);
    db_result_clear(&again);
}

/* A picture leaves out what a rectangle does. */
static void pictures_are_masks(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE], picture_id[DB_ID_SIZE];
    struct db_result by_shape = {0}, by_picture = {0}, again = {0};
    struct db_image picture = {0};
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, image);
    add_set(rig, image, set);
    for (uint32_t i = 0; i < HEIGHT * RIG_WIDTH; i++)
        grey[i] = i / RIG_WIDTH < BAR_Y ? 1 : 0;
    struct png_bytes png = make_png(false);
    rig_add_file(rig, png.data, png.size, RIG_WIDTH, HEIGHT, picture_id);
    png_bytes_clear(&png);
    assert_ok(db_image_get(rig->db, picture_id, &picture, &rig->err));
    rig_start(rig, 1);
    put_mask(rig, image, bar_rectangle, "");
    run(rig, &params, set, image, &by_shape);
    put_mask(rig, image, "{\"picture_pixels\":4096}", picture.sha256);
    run(rig, &params, set, image, &by_picture);
    run(rig, &params, set, image, &again); /* with what the cache has of it */
    rig_assert_same(&by_shape, &by_picture);
    rig_assert_same(&by_shape, &again);
    assert_non_null(strstr(by_picture.analysis, "\"not_analysed\":[{\"kind\":\"picture\","
                                                "\"n_pixels\":4096,\"status\":\"given\"}]"));
    db_image_clear(&picture);
    db_result_clear(&by_shape);
    db_result_clear(&by_picture);
    db_result_clear(&again);
}

static void a_job_keeps_the_mask_of_its_time(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE], before[DB_ID_SIZE], after[DB_ID_SIZE];
    struct db_result results[2] = {{.rows = 0}};
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, image);
    add_set(rig, image, set);
    insert(rig, &params, set, image, before);
    put_mask(rig, image, bar_rectangle, "");
    insert(rig, &params, set, image, after);
    put_mask(rig, image, "{}", "");
    rig_start(rig, 1);
    worker_notify(rig->worker, before);
    rig_wait(rig, before, DB_JOB_SUCCEEDED);
    rig_wait(rig, after, DB_JOB_SUCCEEDED);
    rig_result(rig, before, image, &results[0]);
    rig_result(rig, after, image, &results[1]);
    assert_int_not_equal(results[0].labels[CHIPS - 1], LABEL_NOT_ANALYSED);
    assert_bar_is_left_out(&results[1]);
    assert_non_null(strstr(results[1].analysis, "\"version\":1"));
    db_result_clear(&results[0]);
    db_result_clear(&results[1]);
}

/* In an image of the job, and in another one. */
static void an_example_that_is_left_out_is_named(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, images[0]);
    add_drawn(rig, 1, false, images[1]);
    const struct rig_example examples[] = {{0, images[0], 16, 0}, {1, images[0], 96, 57}};
    rig_add_set(rig, examples, 2, set);
    put_mask(rig, images[0], bar_rectangle, "");
    rig_start(rig, 1);
    for (int i = 0; i < 2; i++) {
        struct db_job job;
        insert(rig, &params, set, images[i], id);
        worker_notify(rig->worker, id);
        rig_wait(rig, id, DB_JOB_FAILED);
        rig_get(rig, id, &job);
        assert_string_equal(job.error_code, "invalid");
        assert_non_null(strstr(job.error_message, "class 'stripes', at 96, 57 of image img_"));
        assert_non_null(strstr(job.error_message, "more than half of it is not analysed"));
        db_job_clear(&job);
    }
}

static void an_image_may_be_left_out_as_a_whole(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result = {0};
    const struct job_params params = make_params();
    add_drawn(rig, 0, false, images[0]);
    add_drawn(rig, 1, false, images[1]);
    add_set(rig, images[0], set);
    put_mask(rig, images[1], "{\"rectangles\":[{\"x\":0,\"y\":0,\"width\":128,\"height\":96}]}",
             "");
    rig_start(rig, 1);
    run(rig, &params, set, images[1], &result);
    for (uint32_t i = 0; i < CHIPS; i++)
        assert_int_equal(result.labels[i], LABEL_NOT_ANALYSED);
    assert_true(rig_statistic(&result, 0, "n_chips") == 0);
    assert_true(rig_statistic(&result, 1, "area_fraction") == 0);
    db_result_clear(&result);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out_makes_no_difference),
        TEST(what_is_kept_is_the_masks_own),
        TEST(proposals_are_left_out_and_said),
        TEST(transparent_pixels_are_left_out),
        TEST(pictures_are_masks),
        TEST(a_job_keeps_the_mask_of_its_time),
        TEST(an_example_that_is_left_out_is_named),
        TEST(an_image_may_be_left_out_as_a_whole),
    };
    return test_run(tests);
}
