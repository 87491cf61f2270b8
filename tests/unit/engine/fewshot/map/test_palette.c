#include "tests/test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/fewshot/classifier.h"
#include "engine/fewshot/map/palette.h"

static bool is_same(struct rgb a, struct rgb b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void colors_are_distinct_and_not_lost_on_black(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < CLASSIFIER_CLASSES_MAX; i++) {
        const struct rgb a = palette_color(i);
        assert_true(a.r + a.g + a.b > 90);
        for (uint32_t j = 0; j < i; j++) {
            const struct rgb b = palette_color(j);
            assert_true(abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b) >= 20);
        }
    }
}

static uint32_t find(struct rgb color)
{
    uint32_t i = 0;
    while (!is_same(palette_color(i), color))
        i++;
    return i;
}

static void a_name_has_its_color_wherever_it_stands(void **state)
{
    (void)state;
    const char *const names[] = {"film", "substrate", "vacuum", "interface", "particle"};
    const char *const turned[] = {"particle", "interface", "vacuum", "film", "substrate"};
    const int at[] = {3, 4, 2, 1, 0};
    bool has_color[5] = {false}, has_turned[5] = {false};
    struct rgb colors[5], others[5];
    palette_assign(names, 5, has_color, colors);
    palette_assign(turned, 5, has_turned, others);
    for (int i = 0; i < 5; i++) {
        assert_true(has_color[i] && is_same(colors[i], others[at[i]]));
        assert_true(find(colors[i]) < 8); /* of those that are told apart best */
        for (int j = 0; j < i; j++)
            assert_false(is_same(colors[i], colors[j]));
    }
}

/* Whichever is left out: at most one other class may have given way to it, and then moves. */
static void others_keep_their_colors(void **state)
{
    (void)state;
    const char *const names[] = {"a", "b", "c", "d"};
    bool has_color[4] = {false};
    struct rgb colors[4];
    uint32_t n_kept = 0;
    palette_assign(names, 4, has_color, colors);
    for (int left_out = 0; left_out < 4; left_out++) {
        const char *some[3];
        bool has_some[3] = {false};
        struct rgb some_colors[3];
        for (int i = 0, n = 0; i < 4; i++) {
            if (i != left_out)
                some[n++] = names[i];
        }
        palette_assign(some, 3, has_some, some_colors);
        for (int i = 0, n = 0; i < 4; i++) {
            if (i != left_out)
                n_kept += is_same(some_colors[n++], colors[i]);
        }
    }
    assert_true(n_kept >= 9);
}

static void colors_that_are_there_stay_and_are_not_taken_twice(void **state)
{
    (void)state;
    static char texts[CLASSIFIER_CLASSES_MAX][8];
    const char *names[CLASSIFIER_CLASSES_MAX];
    bool has_color[CLASSIFIER_CLASSES_MAX] = {false};
    struct rgb colors[CLASSIFIER_CLASSES_MAX];
    const struct rgb own = {1, 2, 3};
    for (int i = 0; i < CLASSIFIER_CLASSES_MAX; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%d", i);
        names[i] = texts[i];
    }
    colors[7] = own;
    colors[9] = palette_color(0);
    has_color[7] = has_color[9] = true;
    palette_assign(names, CLASSIFIER_CLASSES_MAX, has_color, colors);
    assert_true(is_same(colors[7], own));
    assert_true(is_same(colors[9], palette_color(0)));
    for (int i = 0; i < CLASSIFIER_CLASSES_MAX; i++) {
        assert_true(has_color[i]);
        for (int j = 0; j < i; j++)
            assert_false(is_same(colors[i], colors[j]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colors_are_distinct_and_not_lost_on_black),
        cmocka_unit_test(a_name_has_its_color_wherever_it_stands),
        cmocka_unit_test(others_keep_their_colors),
        cmocka_unit_test(colors_that_are_there_stay_and_are_not_taken_twice),
    };
    return test_run(tests);
}
