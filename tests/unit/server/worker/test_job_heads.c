#include "tests/unit/server/worker/rig.h"

#include "api/job/job_params.h"
#include "engine/fewshot/heads/head.h"

enum { MIDDLE = RIG_WIDTH / 2, PER_CLASS = 6, COLUMNS = RIG_WIDTH / RIG_CHIP };

/* Noise left, stripes right; one example of the left class lies on the right. */
static void add_set(struct rig *rig, const char *image, char id[DB_ID_SIZE])
{
    struct rig_example examples[2 * PER_CLASS];
    for (uint32_t i = 0; i < PER_CLASS; i++) {
        examples[i] = (struct rig_example){0, image, RIG_CHIP, i * RIG_CHIP};
        examples[PER_CLASS + i] = (struct rig_example){1, image, 6 * RIG_CHIP, i * RIG_CHIP};
    }
    examples[0].x = 5 * RIG_CHIP;
    rig_add_set(rig, examples, 2 * PER_CLASS, id);
}

static void run(struct rig *rig, const struct head *head, enum smoothing smoothing, const char *set,
                const char *image, struct db_result *out)
{
    struct job_params params = {
        .grid = {RIG_CHIP, RIG_CHIP, RIG_CHIP, RIG_CHIP, 0, 0, GRID_EDGE_DROP},
        .normalise = normalise_params_default,
        .classifier = classifier_params_default,
        .smoothing = smoothing,
    };
    char images[1][DB_ID_SIZE], id[DB_ID_SIZE];
    params.classifier.head = head;
    char *text = job_params_to_text(&params);
    assert_non_null(text);
    snprintf(images[0], sizeof(images[0]), "%s", image);
    rig_insert_params(rig, set, (const char(*)[DB_ID_SIZE])images, 1, text, RIG_CHIPS, id);
    free(text);
    worker_notify(rig->worker, id);
    rig_wait(rig, id, DB_JOB_SUCCEEDED);
    rig_result(rig, id, image, out);
}

static void assert_same_bytes(const struct db_result *a, const struct db_result *b)
{
    assert_memory_equal(a->labels, b->labels, RIG_CHIPS * sizeof(*a->labels));
    assert_memory_equal(a->distances, b->distances, RIG_CHIPS * sizeof(*a->distances));
    assert_memory_equal(a->probabilities, b->probabilities,
                        (size_t)2 * RIG_CHIPS * sizeof(*a->probabilities));
    assert_string_equal(a->analysis, b->analysis);
}

/* As another job, after the service was started anew. */
static void a_head_replays_to_the_byte(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result results[2], prototypes;
    rig_add_image(rig, 1, MIDDLE, image);
    add_set(rig, image, set);
    for (uint32_t i = 0; i < 2; i++) {
        rig_start(rig, 1);
        run(rig, &head_auto, SMOOTHING_ON, set, image, &results[i]);
        if (i == 1)
            run(rig, &head_prototypes, SMOOTHING_ON, set, image, &prototypes);
        rig_stop(rig, 0);
    }
    assert_same_bytes(&results[0], &results[1]);
    assert_non_null(strstr(results[0].analysis, "\"head\":\"ridge\""));
    assert_non_null(strstr(prototypes.analysis, "\"head\":\"prototypes\""));
    assert_non_null(strstr(prototypes.analysis, "\"smoothing\":{\"done\":true,"));
    assert_memory_not_equal(results[0].probabilities, prototypes.probabilities,
                            (size_t)2 * RIG_CHIPS * sizeof(float));
    db_result_clear(&results[0]);
    db_result_clear(&results[1]);
    db_result_clear(&prototypes);
}

/* And what the classifier made of the wrong example stays beside it. */
static void examples_keep_their_classes(void **state)
{
    struct rig *rig = *state;
    char image[DB_ID_SIZE], set[DB_ID_SIZE];
    struct db_result result;
    rig_add_image(rig, 1, MIDDLE, image);
    add_set(rig, image, set);
    rig_start(rig, 1);
    run(rig, &head_prototypes, SMOOTHING_ON, set, image, &result);
    for (uint32_t row = 0; row < PER_CLASS; row++) {
        const uint32_t left = row * COLUMNS + (row == 0 ? 5 : 1);
        assert_int_equal(result.labels[left], 0);
        assert_true(result.probabilities[(size_t)2 * left] == 1.0f);
        assert_int_equal(result.labels[row * COLUMNS + 6], 1);
    }
    assert_true(result.has_raw_labels);
    db_result_clear(&result);
    rig_stop(rig, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, rig_set_up, rig_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_head_replays_to_the_byte),
        TEST(examples_keep_their_classes),
    };
    return test_run(tests);
}
