#include "tests/test.h"

#include "engine/fewshot/help/example_places.h"

enum { PAIRS_MAX = 16 };

struct pairs {
    uint32_t n;
    struct example_place first[PAIRS_MAX], second[PAIRS_MAX];
};

static void note(void *context, const struct example_place *first,
                 const struct example_place *second)
{
    struct pairs *pairs = context;
    assert_true(pairs->n < PAIRS_MAX);
    pairs->first[pairs->n] = *first;
    pairs->second[pairs->n++] = *second;
}

static void assert_place(const struct example_place *place, uint32_t class_index, uint32_t index)
{
    assert_int_equal(place->class_index, class_index);
    assert_int_equal(place->index, index);
}

static void a_repeat_comes_with_the_first_of_its_place(void **state)
{
    (void)state;
    struct example_place places[] = {
        {"b", 1, 2, 0, 0}, {"a", 1, 2, 0, 1}, {"a", 2, 1, 0, 2},
        {"a", 1, 2, 1, 0}, {"b", 1, 3, 1, 1}, {"a", 1, 2, 1, 2},
    };
    struct pairs pairs = {0};
    example_places_visit_repeats(places, 6, note, &pairs);
    assert_int_equal(pairs.n, 2);
    assert_place(&pairs.first[0], 0, 1);
    assert_place(&pairs.second[0], 1, 0);
    assert_place(&pairs.first[1], 0, 1);
    assert_place(&pairs.second[1], 1, 2);
    pairs.n = 0;
    example_places_visit_repeats(places, 0, note, &pairs);
    example_places_visit_repeats(places, 1, note, &pairs);
    assert_int_equal(pairs.n, 0);
}

/* Of chips of 10 x 8, moved by 4 and 2, 6 x 6 of 80 pixels are common: 0.45. */
static void what_overlaps_more_than_a_share_is_found(void **state)
{
    (void)state;
    static const struct example_place given[] = {
        {"a", 104, 52, 0, 0}, {"a", 100, 50, 1, 0}, {"b", 101, 50, 1, 1},
        {"a", 100, 58, 1, 2}, {"a", 90, 50, 1, 3},  {"a", 100, 50, 1, 4},
    };
    struct example_place places[6];
    struct pairs pairs = {0};
    memcpy(places, given, sizeof(given));
    assert_int_equal(example_places_visit_overlaps(places, 6, 10, 8, 0.449, 9, note, &pairs), 2);
    assert_place(&pairs.first[0], 0, 0); /* the order of the set, and not that of the places */
    assert_place(&pairs.second[0], 1, 0);
    assert_place(&pairs.second[1], 1, 4);
    assert_int_equal(example_places_visit_overlaps(places, 6, 10, 8, 0.449, 1, note, &pairs), 1);
    assert_int_equal(example_places_visit_overlaps(places, 6, 10, 8, 0.45, 9, note, &pairs), 0);
    /* 52 to 58: 2 rows of 6 columns, 0.15. */
    assert_int_equal(example_places_visit_overlaps(places, 6, 10, 8, 0.1, 9, note, &pairs), 3);
    assert_int_equal(example_places_visit_overlaps(places, 0, 10, 8, 0, 9, note, &pairs), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_comes_with_the_first_of_its_place),
        cmocka_unit_test(what_overlaps_more_than_a_share_is_found),
    };
    return test_run(tests);
}
