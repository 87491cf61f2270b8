#include "tests/test.h"

#include <math.h>

#include "engine/fewshot/labels.h"
#include "engine/fewshot/smoothing.h"
#include "engine/pool.h"
#include "engine/random.h"

enum { ROWS = 24, COLUMNS = 30, CHIPS = ROWS * COLUMNS, CLASSES = 2 };

struct rig {
    struct grid grid;
    uint16_t labels[CHIPS];
    float probabilities[CHIPS * CLASSES], distances[CHIPS];
    struct classification chips;
    struct smoothing_input input;
};

static void set_up(struct rig *rig, enum smoothing smoothing)
{
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 8, .stride_y = 8};
    assert_int_equal(grid_plan(&params, 8 * COLUMNS, 8 * ROWS, CHIPS, &rig->grid, NULL), 0);
    rig->chips = (struct classification){.n_chips = CHIPS,
                                         .n_classes = CLASSES,
                                         .temperature = 0.5,
                                         .labels = rig->labels,
                                         .probabilities = rig->probabilities,
                                         .distances = rig->distances};
    rig->input = (struct smoothing_input){.smoothing = smoothing, .grid = &rig->grid};
}

/* A chip of the class with this probability, at a distance of 1. */
static void set(struct rig *rig, uint32_t row, uint32_t column, uint16_t label, float probability)
{
    const uint32_t chip = row * COLUMNS + column;
    rig->labels[chip] = label;
    rig->distances[chip] = 1.0f;
    rig->probabilities[2 * chip + label] = probability;
    rig->probabilities[2 * chip + 1 - label] = 1.0f - probability;
}

/* Left half class 0, right half class 1. */
static void set_halves(struct rig *rig)
{
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t column = 0; column < COLUMNS; column++)
            set(rig, row, column, column >= COLUMNS / 2, 0.9f);
    }
}

static struct smoothing_outcome run(struct rig *rig, struct pool_lane *lane)
{
    struct smoothing_outcome outcome;
    assert_int_equal(smoothing_apply(&rig->input, lane, &rig->chips, &outcome, NULL), 0);
    return outcome;
}

static void a_doubtful_chip_follows_its_neighbours(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, SMOOTHING_AUTO);
    set_halves(&rig);
    set(&rig, 5, 5, 1, 0.6f);
    const struct smoothing_outcome outcome = run(&rig, NULL);
    assert_true(outcome.asked && outcome.done && outcome.information > 0.4);
    assert_int_equal(outcome.n_changed, 1);
    const uint32_t chip = 5 * COLUMNS + 5;
    assert_int_equal(rig.labels[chip], 0);
    assert_true(rig.probabilities[2 * chip] > 0.9f);
    /* exp(-c / T) was 0.4 to 0.6: the new label's cost is T ln(0.6 / 0.4) more. */
    assert_true(fabs(rig.distances[chip] - (1.0 + 0.5 * log(1.5))) < 1e-6);
    for (uint32_t i = 0; i < CHIPS; i++) {
        assert_int_equal(rig.labels[i], i % COLUMNS >= COLUMNS / 2);
        assert_true(fabsf(rig.probabilities[2 * i] + rig.probabilities[2 * i + 1] - 1.0f) < 1e-5f);
    }
}

/* As long as the classifier is sure. */
static void a_class_of_single_chips_keeps_them(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, SMOOTHING_ON);
    uint32_t n = 0;
    for (uint32_t row = 0; row < ROWS; row++) {
        for (uint32_t column = 0; column < COLUMNS; column++) {
            const bool particle = row % 4 == 1 && column % 5 == 2;
            set(&rig, row, column, particle, 0.95f);
            n += particle;
        }
    }
    const struct smoothing_outcome outcome = run(&rig, NULL);
    assert_true(outcome.information < 0.4);
    assert_int_equal(outcome.n_changed, 0);
    for (uint32_t i = 0; i < CHIPS; i++)
        n -= rig.labels[i];
    assert_int_equal(n, 0);
}

/* Places that say nothing: `auto` leaves every byte as it was. */
static void chance_is_left_alone(void **state)
{
    (void)state;
    static struct rig rig, before;
    struct random random;
    random_seed(&random, 3, 0);
    set_up(&rig, SMOOTHING_AUTO);
    for (uint32_t i = 0; i < CHIPS; i++)
        set(&rig, i / COLUMNS, i % COLUMNS, random_below(&random, 2) == 1, 0.6f);
    before = rig;
    const struct smoothing_outcome outcome = run(&rig, NULL);
    assert_true(outcome.asked && !outcome.done);
    assert_true(outcome.information < 0.05);
    assert_memory_equal(rig.probabilities, before.probabilities, sizeof(rig.probabilities));
    assert_memory_equal(rig.labels, before.labels, sizeof(rig.labels));
    rig.input.smoothing = SMOOTHING_OFF;
    assert_false(run(&rig, NULL).asked);
    assert_memory_equal(rig.probabilities, before.probabilities, sizeof(rig.probabilities));
}

/* Halves side by side: of the pairs of neighbours those across the border are of two classes. Of R
 * x C chips R (C - 1) pairs lie side by side, (R - 1) C above each other and 2 (R - 1)(C - 1)
 * across; across the border R + 2 (R - 1) of them. */
static void the_information_is_that_of_neighbours(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, SMOOTHING_AUTO);
    set_halves(&rig);
    const double pairs =
        ROWS * (COLUMNS - 1) + (ROWS - 1) * COLUMNS + 2 * (ROWS - 1) * (COLUMNS - 1);
    const double apart = (ROWS + 2 * (ROWS - 1)) / pairs; /* marginals are 1/2 by symmetry */
    const double information = (1 - apart) * log((1 - apart) / 0.5) + apart * log(apart / 0.5);
    assert_true(fabs(run(&rig, NULL).information - information / log(2)) < 1e-6);
}

static void examples_keep_their_classes(void **state)
{
    (void)state;
    static struct rig rig;
    const struct example_chip example = {5 * COLUMNS + 5, 1};
    set_up(&rig, SMOOTHING_ON);
    set_halves(&rig);
    rig.input.examples = &example;
    rig.input.n_examples = 1;
    assert_int_equal(run(&rig, NULL).n_changed, 1); /* the classifier said otherwise */
    assert_int_equal(rig.labels[example.chip], 1);
    assert_true(rig.probabilities[2 * example.chip + 1] == 1.0f);
}

/* Above a row that is not analysed the left half is class 0, below it class 1: the doubtful chip
 * beside that row goes by those above it alone. */
static void chips_without_a_class_are_no_neighbours(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, SMOOTHING_ON);
    set_halves(&rig);
    for (uint32_t column = 0; column < COLUMNS; column++) {
        for (uint32_t row = 9; row < ROWS; row++)
            set(&rig, row, column, column < COLUMNS / 2, 0.9f);
        rig.labels[8 * COLUMNS + column] = LABEL_NOT_ANALYSED;
        memset(rig.probabilities + (size_t)2 * (8 * COLUMNS + column), 0, 2 * sizeof(float));
    }
    set(&rig, 7, 3, 1, 0.6f);
    assert_int_equal(run(&rig, NULL).n_changed, 1);
    assert_int_equal(rig.labels[7 * COLUMNS + 3], 0);
    for (uint32_t column = 0; column < COLUMNS; column++) {
        assert_int_equal(rig.labels[8 * COLUMNS + column], LABEL_NOT_ANALYSED);
        assert_true(rig.probabilities[2 * (8 * COLUMNS + column)] == 0.0f);
    }
}

/* Chips that overlap by half: a chip between two of another class, which overlap it, goes by those
 * beyond them, that do not. */
static void neighbours_do_not_overlap(void **state)
{
    (void)state;
    static struct rig rig;
    set_up(&rig, SMOOTHING_ON);
    const struct grid_params params = {
        .chip_width = 8, .chip_height = 8, .stride_x = 4, .stride_y = 8};
    assert_int_equal(grid_plan(&params, 4 * COLUMNS + 4, 8 * ROWS, CHIPS, &rig.grid, NULL), 0);
    assert_int_equal(rig.grid.columns, COLUMNS);
    /* Columns in turn: two apart they are alike. */
    for (uint32_t i = 0; i < CHIPS; i++)
        set(&rig, i / COLUMNS, i % COLUMNS, i % 2, 0.9f);
    set(&rig, 10, 10, 1, 0.6f);
    assert_int_equal(run(&rig, NULL).n_changed, 1);
    assert_int_equal(rig.labels[10 * COLUMNS + 10], 0);
}

static void threads_do_not_change_a_byte(void **state)
{
    (void)state;
    enum { SIDE = 150, MANY = SIDE * SIDE };
    static float probabilities[2][MANY * 3], distances[2][MANY];
    static uint16_t labels[2][MANY];
    struct pool *pool;
    struct pool_lane *lane;
    assert_int_equal(pool_create(&pool, 4, POOL_LANE_LIMIT, NULL), 0);
    assert_int_equal(pool_lane_create(&lane, pool, NULL), 0);
    for (int i = 0; i < 2; i++) {
        const struct grid_params params = {
            .chip_width = 8, .chip_height = 8, .stride_x = 8, .stride_y = 8};
        struct grid grid;
        struct random random;
        random_seed(&random, 9, 0);
        assert_int_equal(grid_plan(&params, 8 * SIDE, 8 * SIDE, MANY, &grid, NULL), 0);
        for (uint32_t chip = 0; chip < MANY; chip++) {
            float *row = probabilities[i] + (size_t)chip * 3;
            const uint32_t region = chip % SIDE / 50;
            float sum = 0.0f;
            for (uint32_t k = 0; k < 3; k++)
                sum += row[k] = (float)(random_uniform(&random) + (k == region ? 0.4 : 0.0));
            for (uint32_t k = 0; k < 3; k++) {
                row[k] /= sum;
                labels[i][chip] = row[k] > row[labels[i][chip]] ? (uint16_t)k : labels[i][chip];
            }
        }
        struct classification chips = {.n_chips = MANY,
                                       .n_classes = 3,
                                       .temperature = 1.0,
                                       .labels = labels[i],
                                       .probabilities = probabilities[i],
                                       .distances = distances[i]};
        const struct smoothing_input input = {.smoothing = SMOOTHING_ON, .grid = &grid};
        struct smoothing_outcome outcome;
        assert_int_equal(smoothing_apply(&input, i == 0 ? NULL : lane, &chips, &outcome, NULL), 0);
        assert_true(outcome.n_changed > 0);
    }
    assert_memory_equal(labels[0], labels[1], sizeof(labels[0]));
    assert_memory_equal(distances[0], distances[1], sizeof(distances[0]));
    assert_memory_equal(probabilities[0], probabilities[1], sizeof(probabilities[0]));
    pool_lane_destroy(lane);
    pool_destroy(pool);
}

static void names_round_trip(void **state)
{
    (void)state;
    for (int i = SMOOTHING_OFF; i <= SMOOTHING_ON; i++) {
        enum smoothing back;
        assert_int_equal(smoothing_parse(smoothing_name((enum smoothing)i), &back, NULL), 0);
        assert_int_equal(back, i);
    }
    enum smoothing untouched = SMOOTHING_AUTO;
    struct error err;
    assert_int_equal(smoothing_parse("potts", &untouched, &err), ERROR_INVALID);
    assert_string_equal(err.message, "smoothing must be off, auto or on, but is 'potts'");
    assert_int_equal(untouched, SMOOTHING_AUTO);
}

static bool is_called_off(void *context)
{
    (void)context;
    return true;
}

static void it_can_be_called_off(void **state)
{
    (void)state;
    static struct rig rig;
    const struct cancel cancel = {is_called_off, NULL};
    struct smoothing_outcome outcome;
    set_up(&rig, SMOOTHING_ON);
    set_halves(&rig);
    rig.input.cancel = &cancel;
    assert_int_equal(smoothing_apply(&rig.input, NULL, &rig.chips, &outcome, NULL),
                     ERROR_CANCELLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_round_trip),
        cmocka_unit_test(a_doubtful_chip_follows_its_neighbours),
        cmocka_unit_test(a_class_of_single_chips_keeps_them),
        cmocka_unit_test(chance_is_left_alone),
        cmocka_unit_test(the_information_is_that_of_neighbours),
        cmocka_unit_test(examples_keep_their_classes),
        cmocka_unit_test(chips_without_a_class_are_no_neighbours),
        cmocka_unit_test(neighbours_do_not_overlap),
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(it_can_be_called_off),
    };
    return test_run(tests);
}
