/* What images are measured by: by themselves, by the images that hold the examples, by the series.
 */
#include "tests/unit/server/worker/rig.h"

#include "api/job/job_params.h"
#include "engine/fewshot/labels.h"
#include "engine/fewshot/statistics.h"
#include "engine/image/png_write.h"
#include "engine/random.h"

static const uint32_t middle = RIG_WIDTH / 2;

enum { SMALL = 3 * RIG_CHIP }; /* images of nine chips */

/* Noise left of column `split`, stripes right of it, times `gain`; of no contrast where that is 0.
 */
static void add_image(struct rig *rig, uint64_t seed, uint32_t width, uint32_t height,
                      uint32_t split, double gain, char id[DB_ID_SIZE])
{
    static uint16_t pixels[RIG_HEIGHT * RIG_WIDTH];
    struct random random;
    struct png_bytes png = {0};
    random_seed(&random, seed, 0);
    for (uint32_t i = 0; i < width * height; i++) {
        const uint32_t x = i % width, stripe = x >= split && x / 2 % 2 == 0 ? 40000 : 0;
        pixels[i] = (uint16_t)(10000 + gain * (random_below(&random, 8000) + stripe));
    }
    assert_ok(png_write_grey16(pixels, width, height, 0, &png, &rig->err));
    rig_add_file(rig, png.data, png.size, width, height, id);
    png_bytes_clear(&png);
}

/* `reference`: REFERENCE_TARGET leaves it out, as texts of before there was one do. */
static void run(struct rig *rig, const char *set, const char (*images)[DB_ID_SIZE], size_t n,
                enum reference_choice reference, char id[DB_ID_SIZE])
{
    const struct job_params params = {
        .grid = {RIG_CHIP, RIG_CHIP, RIG_CHIP, RIG_CHIP, 0, 0, GRID_EDGE_DROP},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .input_sizes = {.n = 1, .sides = {48}},
        .reference = reference,
    };
    char *text = job_params_to_text(&params);
    assert_non_null(text);
    if (reference == REFERENCE_TARGET) {
        static const char member[] = "\"reference\":\"target\",";
        char *at = strstr(text, member);
        assert_non_null(at);
        memmove(at, at + sizeof(member) - 1, strlen(at + sizeof(member) - 1) + 1);
    }
    uint64_t n_chips = 0;
    for (size_t i = 0; i < n; i++) {
        struct db_image row = {0};
        assert_ok(db_image_get(rig->db, images[i], &row, &rig->err));
        n_chips += (uint64_t)(row.width / RIG_CHIP) * (row.height / RIG_CHIP);
        db_image_clear(&row);
    }
    rig_insert_params(rig, set, images, n, text, n_chips, id);
    service_job_changed(&rig->service, id);
    free(text);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    struct db_job job = {0};
    rig_get(rig, id, &job);
    assert_int_equal(job.n_chips_done, n_chips);
    db_job_clear(&job);
}

static void run_one(struct rig *rig, const char *set, const char *image,
                    enum reference_choice reference, struct db_result *out)
{
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE];
    memcpy(images[0], image, DB_ID_SIZE);
    run(rig, set, (const char(*)[DB_ID_SIZE])images, 1, reference, id);
    rig_result(rig, id, image, out);
}

static uint32_t count(const struct db_result *result, uint16_t label)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < result->rows * result->columns; i++)
        n += result->labels[i] == label;
    return n;
}

static void assert_used(const struct db_result *result, const char *asked, const char *used)
{
    char text[64];
    snprintf(text, sizeof(text), "\"asked\":\"%s\"", asked);
    assert_non_null(strstr(result->analysis, text));
    snprintf(text, sizeof(text), "\"used\":\"%s\"", used);
    assert_non_null(strstr(result->analysis, text));
}

/* Of an image of noise alone its own stretch makes contrasts that the examples' image has not. */
static void an_image_of_one_class_is_measured_by_the_support(void **state)
{
    struct rig *rig = *state;
    char support[DB_ID_SIZE], noise[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result = {0}, explicit = {0};
    add_image(rig, 1, RIG_WIDTH, RIG_HEIGHT, middle, 1, support);
    add_image(rig, 2, RIG_WIDTH, RIG_HEIGHT, RIG_WIDTH, 1, noise);
    rig_add_plain_set(rig, support, set);
    rig_start(rig, 1);
    run_one(rig, set, noise, REFERENCE_AUTO, &result);
    assert_used(&result, "auto", "support");
    assert_int_equal(count(&result, 0), RIG_CHIPS);
    const double own = rig_statistic(&result, -1, STATISTIC_SUPPORT_DISTANCE_OWN);
    const double shared = rig_statistic(&result, -1, STATISTIC_SUPPORT_DISTANCE_SUPPORT);
    assert_true(shared < 0.8 * own);
    run_one(rig, set, noise, REFERENCE_SUPPORT, &explicit);
    assert_used(&explicit, "support", "support");
    rig_assert_same(&result, &explicit);
    db_result_clear(&explicit);
    db_result_clear(&result);
    run_one(rig, set, noise, REFERENCE_IMAGE, &result);
    assert_used(&result, "image", "image");
    assert_true(count(&result, 0) < RIG_CHIPS);
    db_result_clear(&result);
}

/* The same scene of half the contrast is the same by itself, and all noise beside the other one. */
static void an_image_like_the_examples_is_measured_by_itself(void **state)
{
    struct rig *rig = *state;
    char support[DB_ID_SIZE], pale[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result = {0}, other = {0};
    add_image(rig, 1, RIG_WIDTH, RIG_HEIGHT, middle, 1, support);
    add_image(rig, 3, RIG_WIDTH, RIG_HEIGHT, middle, 0.1, pale);
    rig_add_plain_set(rig, support, set);
    rig_start(rig, 1);
    run_one(rig, set, pale, REFERENCE_AUTO, &result);
    assert_used(&result, "auto", "image");
    assert_true(rig_accuracy(&result, middle) == 1);
    run_one(rig, set, pale, REFERENCE_IMAGE, &other);
    rig_assert_same(&result, &other);
    db_result_clear(&other);
    run_one(rig, set, pale, REFERENCE_SUPPORT, &other);
    assert_true(rig_accuracy(&other, middle) < 1);
    db_result_clear(&other);
    db_result_clear(&result);
    /* The one that holds the examples is itself in all ways, and as it was before there was one. */
    run_one(rig, set, support, REFERENCE_AUTO, &result);
    assert_used(&result, "auto", "image");
    for (enum reference_choice choice = REFERENCE_IMAGE; choice <= REFERENCE_TARGET; choice++) {
        run_one(rig, set, support, choice, &other);
        rig_assert_same(&result, &other);
        assert_true((strstr(other.analysis, "reference") == NULL) == (choice == REFERENCE_TARGET));
        db_result_clear(&other);
    }
    db_result_clear(&result);
}

/* A chip alone has no spread of its own, and an image without contrast shows nothing. */
static void what_does_not_vary_is_measured_by_the_support(void **state)
{
    struct rig *rig = *state;
    char support[DB_ID_SIZE], set[DB_ID_SIZE], images[2][DB_ID_SIZE];
    struct db_result result = {0};
    add_image(rig, 1, RIG_WIDTH, RIG_HEIGHT, middle, 1, support);
    add_image(rig, 4, RIG_CHIP, RIG_CHIP, 0, 1, images[0]);
    add_image(rig, 5, SMALL, SMALL, 0, 0, images[1]);
    rig_add_plain_set(rig, support, set);
    rig_start(rig, 1);
    for (enum reference_choice choice = REFERENCE_AUTO; choice <= REFERENCE_SUPPORT; choice++) {
        char id[DB_ID_SIZE];
        run(rig, set, (const char(*)[DB_ID_SIZE])images, 2, choice, id);
        rig_result(rig, id, images[0], &result);
        assert_used(&result, reference_choice_name(choice), "support");
        assert_int_equal(count(&result, 1), 1);
        db_result_clear(&result);
        rig_result(rig, id, images[1], &result);
        assert_int_equal(count(&result, LABEL_UNDECIDED), 9);
        assert_non_null(strstr(result.analysis, "\"undecided\":{\"reason\":\"the image does not"));
        db_result_clear(&result);
    }
}

/* Examples in one chip alone: nothing says what its vector is to be measured by. */
static void what_nothing_measures_is_undecided(void **state)
{
    struct rig *rig = *state;
    char chips[2][DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result = {0};
    add_image(rig, 6, RIG_CHIP + 1, RIG_CHIP, 0, 1, chips[0]);
    add_image(rig, 7, RIG_CHIP, RIG_CHIP, 0, 1, chips[1]);
    rig_add_set(rig, (struct rig_example[]){{0, chips[0], 0, 0}, {1, chips[0], 1, 0}}, 2, set);
    rig_start(rig, 1);
    run_one(rig, set, chips[1], REFERENCE_AUTO, &result);
    assert_int_equal(count(&result, LABEL_UNDECIDED), 1);
    assert_non_null(strstr(result.analysis, "neither the image varies nor"));
    db_result_clear(&result);
}

/* Examples in images of two contrasts; each of three images in each place of the job, whatever the
 * cache has. */
static void the_order_of_images_changes_no_byte(void **state)
{
    (void)state;
    enum { N = 3 };
    static const size_t orders[][N] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}};
    static const enum reference_choice choices[] = {REFERENCE_AUTO, REFERENCE_SUPPORT,
                                                    REFERENCE_SERIES};
    struct db_result first[3][N] = {{{.rows = 0}}};
    for (size_t o = 0; o < 3; o++) {
        struct rig rig;
        char support[2][DB_ID_SIZE], images[N][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
        rig_open(&rig, o == 1 ? 0 : RIG_CACHE_SIZE);
        add_image(&rig, 1, RIG_WIDTH, RIG_HEIGHT, middle, 1, support[0]);
        add_image(&rig, 2, RIG_WIDTH, RIG_HEIGHT, middle, 0.5, support[1]);
        for (size_t k = 0; k < N; k++) {
            const size_t i = orders[o][k];
            add_image(&rig, 10 + i, RIG_WIDTH, RIG_HEIGHT, i == 2 ? RIG_WIDTH : middle,
                      i == 1 ? 0.7 : 1, images[k]);
        }
        const struct rig_example examples[] = {{0, support[0], 16, 16}, {0, support[1], 16, 16},
                                               {0, support[0], 3, 5},   {1, support[0], 96, 16},
                                               {1, support[1], 96, 16}, {1, support[1], 70, 40}};
        rig_add_set(&rig, examples, 6, set);
        rig_start(&rig, 1);
        for (size_t c = 0; c < 3; c++) {
            run(&rig, set, (const char(*)[DB_ID_SIZE])images, N, choices[c], id);
            for (size_t k = 0; k < N; k++) {
                struct db_result result = {0};
                rig_result(&rig, id, images[k], &result);
                if (o == 0) {
                    first[c][orders[o][k]] = result;
                    continue;
                }
                rig_assert_same(&first[c][orders[o][k]], &result);
                assert_string_equal(first[c][orders[o][k]].analysis, result.analysis);
                db_result_clear(&result);
            }
        }
        rig_close(&rig);
    }
    assert_used(&first[2][0], "series", "series");
    assert_true(rig_accuracy(&first[0][0], middle) == 1 && rig_accuracy(&first[0][1], middle) == 1);
    assert_int_equal(count(&first[0][2], 0), RIG_CHIPS);
    for (size_t c = 0; c < 3; c++) {
        for (size_t k = 0; k < N; k++)
            db_result_clear(&first[c][k]);
    }
}

/* What an image is measured by is in the cache: asked once more, nothing is encoded. */
static void a_second_job_encodes_nothing(void **state)
{
    struct rig *rig = *state;
    static const char encoded[] = "chipshot_chips_encoded_total";
    char support[DB_ID_SIZE], noise[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result results[2];
    add_image(rig, 1, RIG_WIDTH, RIG_HEIGHT, middle, 1, support);
    add_image(rig, 2, RIG_WIDTH, RIG_HEIGHT, RIG_WIDTH, 1, noise);
    rig_add_plain_set(rig, support, set);
    rig_start(rig, 1);
    run_one(rig, set, noise, REFERENCE_AUTO, &results[0]);
    const double n = rig_metric(rig, encoded);
    run_one(rig, set, noise, REFERENCE_AUTO, &results[1]);
    assert_true(rig_metric(rig, encoded) == n);
    rig_assert_same(&results[0], &results[1]);
    db_result_clear(&results[0]);
    db_result_clear(&results[1]);
}

#define with_rig(test) cmocka_unit_test_setup_teardown(test, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(an_image_of_one_class_is_measured_by_the_support),
        with_rig(an_image_like_the_examples_is_measured_by_itself),
        with_rig(what_does_not_vary_is_measured_by_the_support),
        with_rig(what_nothing_measures_is_undecided),
        cmocka_unit_test(the_order_of_images_changes_no_byte),
        with_rig(a_second_job_encodes_nothing),
    };
    return test_run(tests);
}
