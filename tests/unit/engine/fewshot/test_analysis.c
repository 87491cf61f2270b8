#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/analysis.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/labels.h"
#include "engine/random.h"

enum { ROWS = 6, COLUMNS = 10, CHIPS = ROWS * COLUMNS, DIMENSION = 20, CLASSES = 2, EXAMPLES = 4 };

/* An image of two halves that differ, and two examples of each. */
struct rig {
    struct grid grid;
    float chips[CHIPS * DIMENSION];
    float examples[EXAMPLES * DIMENSION];
    struct embeddings embeddings;
    struct support support;
    struct analysis_input input;
};

static const uint32_t class_of[EXAMPLES] = {0, 0, 1, 1};

static void set_up(struct rig *rig)
{
    const struct grid_params params = {.chip_width = 4, .chip_height = 4};
    struct random random;
    random_seed(&random, 5, 0);
    assert_int_equal(grid_plan(&params, COLUMNS * 4, ROWS * 4, CHIPS, &rig->grid, NULL), 0);
    for (uint32_t i = 0; i < CHIPS * DIMENSION; i++)
        rig->chips[i] = (float)random_normal(&random) +
                        (i / DIMENSION % COLUMNS < COLUMNS / 2 ? 0.0f : 4.0f * (i % 2 == 0));
    memcpy(rig->examples, rig->chips, 2 * DIMENSION * sizeof(float));
    memcpy(rig->examples + 2 * DIMENSION, rig->chips + (COLUMNS - 2) * DIMENSION,
           2 * DIMENSION * sizeof(float));
    rig->embeddings =
        (struct embeddings){.n_chips = CHIPS, .dimension = DIMENSION, .values = rig->chips};
    rig->support = (struct support){rig->examples, class_of, EXAMPLES, CLASSES, DIMENSION};
    rig->input = (struct analysis_input){.classifier = &classifier_params_default,
                                         .support = &rig->support,
                                         .grid = &rig->grid,
                                         .chips = &rig->embeddings};
}

static double value_of(const struct analysis *analysis, int32_t class_index, const char *name)
{
    const struct statistic *item = statistics_find(&analysis->statistics, class_index, name);
    assert_non_null(item);
    return item->value;
}

static void an_image_of_two_halves_is_analysed(void **state)
{
    (void)state;
    static struct rig rig;
    struct analysis analysis;
    set_up(&rig);
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    for (uint32_t i = 0; i < CHIPS; i++)
        assert_int_equal(analysis.chips.labels[i], i % COLUMNS >= COLUMNS / 2);
    for (int k = 0; k < CLASSES; k++) {
        assert_true(value_of(&analysis, k, STATISTIC_CHIPS) == CHIPS / 2);
        assert_true(value_of(&analysis, k, STATISTIC_AREA_FRACTION) == 0.5);
        assert_true(value_of(&analysis, k, STATISTIC_REGIONS_4) == 1);
        const struct statistic *fraction =
            statistics_find(&analysis.statistics, k, STATISTIC_FRACTION_ESTIMATE);
        assert_true(fabs(fraction->value - 0.5) < 0.01);
        assert_true(fraction->low <= fraction->value && fraction->value <= fraction->high);
    }
    for (size_t i = 1; i < analysis.statistics.n_items; i++)
        assert_true(analysis.statistics.items[i - 1].class_index <=
                    analysis.statistics.items[i].class_index);
    analysis_clear(&analysis);
}

/* What lies in chips that are left out makes no difference: the same bytes as with other values
 * there, and fractions of what is left. */
static void chips_that_are_left_out_enter_nothing(void **state)
{
    (void)state;
    static struct rig rig;
    static uint8_t skip[CHIPS];
    const struct mask_parts parts = {.n = 0};
    struct analysis analysis, other;
    set_up(&rig);
    for (uint32_t i = CHIPS - 2 * COLUMNS; i < CHIPS; i++)
        skip[i] = 1;
    rig.embeddings.skip = skip;
    rig.input.mask = &parts;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    assert_ptr_equal(analysis.mask, &parts);
    for (uint32_t i = (CHIPS - 2 * COLUMNS) * DIMENSION; i < CHIPS * DIMENSION; i++)
        rig.chips[i] = 1000.0f;
    assert_int_equal(analysis_run(&rig.input, NULL, &other, NULL), 0);
    assert_memory_equal(analysis.chips.labels, other.chips.labels, CHIPS * sizeof(uint16_t));
    assert_memory_equal(analysis.chips.probabilities, other.chips.probabilities,
                        CHIPS * CLASSES * sizeof(float));
    for (uint32_t i = 0; i < CHIPS; i++) {
        assert_int_equal(analysis.chips.labels[i],
                         skip[i] != 0 ? LABEL_NOT_ANALYSED : i % COLUMNS >= COLUMNS / 2);
        if (skip[i] != 0)
            assert_true(analysis.chips.probabilities[2 * i] == 0 &&
                        analysis.chips.distances[i] == 0);
    }
    for (int k = 0; k < CLASSES; k++) {
        assert_true(value_of(&analysis, k, STATISTIC_CHIPS) == CHIPS / 2 - COLUMNS);
        assert_true(value_of(&analysis, k, STATISTIC_AREA_FRACTION) == 0.5);
    }
    assert_true(value_of(&analysis, STATISTIC_OF_IMAGE, STATISTIC_NOT_ANALYSED_CHIPS) ==
                2 * COLUMNS);
    analysis_clear(&analysis);
    analysis_clear(&other);
}

static void an_image_that_is_left_out_has_no_classes(void **state)
{
    (void)state;
    static struct rig rig;
    static uint8_t skip[CHIPS];
    struct analysis analysis;
    set_up(&rig);
    memset(skip, 1, sizeof(skip));
    rig.embeddings.skip = skip;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    for (uint32_t i = 0; i < CHIPS; i++)
        assert_int_equal(analysis.chips.labels[i], LABEL_NOT_ANALYSED);
    for (int k = 0; k < CLASSES; k++) {
        assert_true(value_of(&analysis, k, STATISTIC_CHIPS) == 0);
        assert_true(value_of(&analysis, k, STATISTIC_AREA_FRACTION) == 0);
    }
    analysis_clear(&analysis);
}

static void estimates_are_of_the_classes_that_are_counted(void **state)
{
    (void)state;
    static struct rig rig;
    struct analysis analysis;
    set_up(&rig);
    rig.input.uncounted = 1;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    assert_null(statistics_find(&analysis.statistics, 0, STATISTIC_FRACTION_ESTIMATE));
    assert_true(fabs(value_of(&analysis, 1, STATISTIC_FRACTION_ESTIMATE) - 1.0) < 1e-12);
    assert_true(value_of(&analysis, 1, STATISTIC_AREA_FRACTION) == 1.0);
    assert_true(value_of(&analysis, 0, STATISTIC_CHIPS) == CHIPS / 2);
    analysis_clear(&analysis);
}

static void chips_that_are_not_the_grids_are_refused(void **state)
{
    (void)state;
    static struct rig rig;
    struct analysis analysis;
    struct error err;
    set_up(&rig);
    rig.embeddings.n_chips = CHIPS - 1;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, &err), ERROR_INVALID);
    assert_string_equal(err.message, "chips: 59, the grid has 60");
}

/* ---- later steps ---- */

enum { SHOTS = 5 };

static const uint32_t five_of_each[2 * SHOTS] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1};

static void unknown_chips_get_a_label_of_their_own(void **state)
{
    (void)state;
    static struct rig rig;
    static float examples[2 * SHOTS * DIMENSION];
    struct analysis analysis;
    set_up(&rig);
    for (uint32_t i = 0; i < 2 * SHOTS; i++)
        memcpy(examples + (size_t)i * DIMENSION,
               rig.chips + (size_t)(i % SHOTS * COLUMNS + i / SHOTS * 7) * DIMENSION,
               DIMENSION * sizeof(float));
    for (uint32_t d = 0; d < DIMENSION; d++)
        rig.chips[52 * DIMENSION + d] += d % 4 == 1 ? 30.0f : 0.0f;
    rig.support = (struct support){examples, five_of_each, 2 * SHOTS, CLASSES, DIMENSION};
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    assert_null(analysis.chips.raw_labels);
    assert_true(isnan(analysis.unknown_threshold));
    const uint16_t said = analysis.chips.labels[52];
    assert_true(said < CLASSES);
    analysis_clear(&analysis);

    rig.input.unknown = true;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    assert_int_equal(analysis.chips.labels[52], LABEL_UNKNOWN);
    assert_int_equal(analysis.chips.raw_labels[52], said);
    assert_true(analysis.unknown_threshold > 0.0);
    double n_unknown = 0.0;
    for (uint32_t i = 0; i < CHIPS; i++) {
        n_unknown += analysis.chips.labels[i] == LABEL_UNKNOWN;
        if (analysis.chips.labels[i] != LABEL_UNKNOWN)
            assert_int_equal(analysis.chips.labels[i], analysis.chips.raw_labels[i]);
    }
    assert_true(value_of(&analysis, STATISTIC_OF_IMAGE, STATISTIC_UNKNOWN_CHIPS) == n_unknown);
    analysis_clear(&analysis);
}

/* Between the halves a column that is a bit of both, of which a third class has an example. */
static void mixtures_are_assigned_and_what_was_said_is_kept(void **state)
{
    (void)state;
    static const uint32_t three[] = {0, 0, 1, 1, 2};
    static struct rig rig;
    static float examples[5 * DIMENSION];
    const struct classifier_params params = {.transform = CLASSIFIER_TRANSFORM_NONE,
                                             .temperature = 1.0};
    struct analysis analysis;
    set_up(&rig);
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t d = 0; d < DIMENSION; d++)
            rig.chips[(row * COLUMNS + 5) * DIMENSION + d] = d % 2 == 0 ? 2.4f : 0.0f;
    }
    memcpy(examples, rig.examples, sizeof(rig.examples));
    for (uint32_t d = 0; d < DIMENSION; d++)
        examples[4 * DIMENSION + d] = (d % 2 == 0 ? 2.4f : 0.0f) + (d % 5 == 0 ? 2.5f : 0.0f);
    rig.support = (struct support){examples, three, 5, 3, DIMENSION};
    rig.input.classifier = &params;
    rig.input.borders = BORDERS_ASSIGN;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    double n_third = 0.0;
    for (uint32_t i = 0; i < CHIPS; i++)
        n_third += analysis.chips.raw_labels[i] == 2;
    assert_true(value_of(&analysis, 2, STATISTIC_CHIPS) == n_third - ROWS);
    assert_int_equal(analysis.n_assigned, ROWS);
    for (uint32_t row = 0; row < ROWS; row++) {
        assert_int_equal(analysis.chips.raw_labels[row * COLUMNS + 5], 2);
        assert_int_equal(analysis.chips.labels[row * COLUMNS + 5], 1);
    }
    analysis_clear(&analysis);
}

/* ---- heads ---- */

static void heads_are_found_by_their_names(void **state)
{
    (void)state;
    static const struct head *const all[] = {&head_auto, &head_prototypes, &head_ridge};
    const struct head *found = NULL;
    struct error err;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_int_equal(head_parse(head_name(all[i]), &found, NULL), 0);
        assert_ptr_equal(found, all[i]);
    }
    assert_string_equal(head_name(NULL), "prototypes");
    assert_int_equal(head_parse("ridg", &found, &err), ERROR_INVALID);
    assert_string_equal(err.message, "head must be auto, prototypes or ridge, but is 'ridg'");
    assert_ptr_equal(found, &head_ridge);
}

/* A head that looks at one dimension: class 1 is dear where it is small. */
static uint32_t n_freed;
static const struct head one_dimension;

static int fit(const struct classifier_params *params, const struct examples *examples,
               struct head_fit *out, struct error *err)
{
    if (params->distance == CLASSIFIER_COSINE)
        return error_set(err, ERROR_INVALID, "no angles here");
    uint32_t *dimension = calloc(1, sizeof(*dimension));
    *dimension = examples->dimension;
    *out = (struct head_fit){&one_dimension, dimension, 2.0};
    return 0;
}

static void score(const void *model, const double *embeddings, uint32_t n, double *costs)
{
    const uint32_t *dimension = model;
    assert_true(n >= 1 && n <= HEAD_CHIPS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        costs[i * CLASSES] = 1.0;
        costs[i * CLASSES + 1] = 1.0 - embeddings[(size_t)i * *dimension];
    }
}

static void free_model(void *model)
{
    n_freed += model != NULL;
    free(model);
}

static const struct head one_dimension = {
    .name = "one dimension", .fit = fit, .score = score, .free = free_model};

static void any_head_classifies(void **state)
{
    (void)state;
    static struct rig rig;
    struct analysis analysis;
    struct classifier_params params = {.head = &one_dimension,
                                       .transform = CLASSIFIER_TRANSFORM_NONE};
    struct error err;
    set_up(&rig);
    rig.input.classifier = &params;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, NULL), 0);
    assert_true(analysis.chips.temperature == 2.0);
    assert_ptr_equal(analysis.chips.head, &one_dimension);
    for (uint32_t i = 0; i < CHIPS; i++) {
        const double x = (double)rig.chips[(size_t)i * DIMENSION];
        assert_int_equal(analysis.chips.labels[i], x > 0.0);
        assert_true(fabs(analysis.chips.distances[i] - (x > 0.0 ? fmax(1.0 - x, 0.0) : 1.0)) <
                    1e-6);
        assert_true(fabs(analysis.chips.probabilities[2 * i + 1] - 1.0 / (1.0 + exp(-x / 2.0))) <
                    1e-6);
    }
    analysis_clear(&analysis);
    assert_int_equal(n_freed, 1);
    params.distance = CLASSIFIER_COSINE;
    assert_int_equal(analysis_run(&rig.input, NULL, &analysis, &err), ERROR_INVALID);
    assert_string_equal(err.message, "no angles here");
    assert_int_equal(n_freed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_of_two_halves_is_analysed),
        cmocka_unit_test(chips_that_are_left_out_enter_nothing),
        cmocka_unit_test(an_image_that_is_left_out_has_no_classes),
        cmocka_unit_test(estimates_are_of_the_classes_that_are_counted),
        cmocka_unit_test(chips_that_are_not_the_grids_are_refused),
        cmocka_unit_test(unknown_chips_get_a_label_of_their_own),
        cmocka_unit_test(mixtures_are_assigned_and_what_was_said_is_kept),
        cmocka_unit_test(heads_are_found_by_their_names),
        cmocka_unit_test(any_head_classifies),
    };
    return test_run(tests);
}
