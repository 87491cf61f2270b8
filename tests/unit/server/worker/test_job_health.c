#include "tests/unit/server/worker/rig.h"

#include "api/job/health_text.h"
#include "api/job/job_params.h"
#include "api/job/suggestions_text.h"
#include "db/results/suggestions.h"
#include "db/results/support_health.h"

enum { MIDDLE = RIG_WIDTH / 2, SHOTS = 3 };

/* Three examples a class in an image that is split in the middle; the last of "stripes" is noise
 * where `is_swapped`. The second image has one more example of each. */
static void add_set(struct rig *rig, const char (*images)[DB_ID_SIZE], bool is_swapped,
                    char id[DB_ID_SIZE])
{
    struct rig_example examples[2 * SHOTS + 2];
    for (uint32_t i = 0; i < 2 * SHOTS; i++)
        examples[i] =
            (struct rig_example){i % 2, images[0], i % 2 == 0 ? 0 : 6 * RIG_CHIP, i / 2 * RIG_CHIP};
    if (is_swapped)
        examples[5].x = 2 * RIG_CHIP;
    examples[2 * SHOTS] = (struct rig_example){0, images[1], RIG_CHIP, 0};
    examples[2 * SHOTS + 1] = (struct rig_example){1, images[1], 7 * RIG_CHIP, 0};
    rig_add_set(rig, examples, 2 * SHOTS + 2, id);
}

/* Where `is_of_before`, a job that was stored before there was a choice of the reference. */
static void run(struct rig *rig, const char *set, const char (*images)[DB_ID_SIZE], size_t n,
                bool is_of_before, char id[DB_ID_SIZE])
{
    static const char member[] = "\"reference\":\"auto\",";
    const struct job_params params = {
        .grid = {RIG_CHIP, RIG_CHIP, RIG_CHIP, RIG_CHIP, 0, 0, GRID_EDGE_DROP},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .input_sizes = {.n = 1, .sides = {48}},
    };
    char *text = job_params_to_text(&params);
    char *found = strstr(text, member);
    assert_non_null(found);
    if (is_of_before)
        memmove(found, found + strlen(member), strlen(found + strlen(member)) + 1);
    rig_start(rig, 1);
    rig_insert_params(rig, set, images, n, text, n * RIG_CHIPS, id);
    service_job_changed(&rig->service, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_stop(rig, 0);
    free(text);
}

static void get(struct rig *rig, const char *set, const char *job, struct health_stored *out)
{
    struct db_support_health health;
    assert_ok(db_support_health_get(rig->db, set, 1, &health, &rig->err));
    assert_string_equal(health.job_id, job);
    assert_ok(health_text_read(health.text, 2, 2 * SHOTS + 2, out, &rig->err));
    db_support_health_clear(&health);
}

static void a_job_asks_all_examples(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct health_stored stored;
    rig_add_image(rig, 1, MIDDLE, images[0]);
    rig_add_image(rig, 2, MIDDLE, images[1]);
    add_set(rig, (const char(*)[DB_ID_SIZE])images, true, set);
    run(rig, set, (const char(*)[DB_ID_SIZE])images, 1, false, id);
    get(rig, set, id, &stored);
    assert_int_equal(stored.n_asked, 2 * SHOTS + 2);
    for (uint32_t i = 0; i < stored.n_examples; i++) {
        /* Examples lie class by class: 4 of noise, then 3 + 1 of stripes, the third being noise. */
        const bool is_wrong = i == 6;
        assert_int_equal(health_is_flagged(stored.answers[i].own), is_wrong);
        assert_int_equal(stored.answers[i].likely, i < 4 || is_wrong ? 0 : 1);
    }
    health_stored_clear(&stored);
    /* One that measures examples by the image that is asked asks those alone that lie in it. */
    run(rig, set, (const char(*)[DB_ID_SIZE])(images + 1), 1, true, id);
    get(rig, set, id, &stored);
    assert_int_equal(stored.n_asked, 2);
    health_stored_clear(&stored);
}

struct seen {
    uint32_t n_images, n;
    struct suggestion_stored items[SUGGESTIONS_MAX];
};

static int see(void *context, const struct db_suggestions *image, struct error *err)
{
    struct seen *seen = context;
    seen->n_images++;
    assert_non_null(image->text);
    assert_string_not_equal(image->image_name, "");
    return suggestions_text_read(image->text, 2, seen->items, &seen->n, err);
}

static void a_result_suggests_chips_of_its_image(void **state)
{
    struct rig *rig = *state;
    char images[2][DB_ID_SIZE], set[DB_ID_SIZE], id[DB_ID_SIZE];
    struct seen seen = {0};
    struct db_result result;
    rig_add_image(rig, 1, MIDDLE, images[0]);
    rig_add_image(rig, 2, MIDDLE, images[1]);
    add_set(rig, (const char(*)[DB_ID_SIZE])images, false, set);
    run(rig, set, (const char(*)[DB_ID_SIZE])images, 1, false, id);
    assert_ok(db_suggestions_visit(rig->db, id, see, &seen, &rig->err));
    assert_int_equal(seen.n_images, 1);
    assert_true(seen.n > 0);
    rig_result(rig, id, images[0], &result);
    for (uint32_t i = 0; i < seen.n; i++) {
        const struct suggestion *suggestion = &seen.items[i].suggestion;
        assert_int_equal(result.labels[suggestion->chip], suggestion->class_index);
        assert_int_equal(seen.items[i].x, suggestion->chip % result.columns * RIG_CHIP);
        assert_int_equal(seen.items[i].y, suggestion->chip / result.columns * RIG_CHIP);
        /* No example is suggested. */
        for (uint32_t k = 0; k < 2 * SHOTS; k++)
            assert_false(seen.items[i].x == (k % 2 == 0 ? 0 : 6 * RIG_CHIP) &&
                         seen.items[i].y == k / 2 * RIG_CHIP);
    }
    db_result_clear(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_job_asks_all_examples, rig_set_up, rig_tear_down),
        cmocka_unit_test_setup_teardown(a_result_suggests_chips_of_its_image, rig_set_up,
                                        rig_tear_down),
    };
    return test_run(tests);
}
