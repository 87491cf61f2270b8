#include "tests/test.h"

#include "api/job/suggestions_text.h"

static void suggestions_come_back_with_their_places(void **state)
{
    (void)state;
    const struct grid_params params = {.chip_width = 8, .chip_height = 4};
    struct suggestion items[2] = {{7, 1, 0.1F, -0.25F, 1.0F / 3}, {0, 0, 3e-9F, 1, 0}};
    const struct suggestions suggestions = {items, 2}, none = {NULL, 0};
    struct suggestion_stored read[SUGGESTIONS_MAX];
    struct grid grid;
    uint32_t n = 0;
    assert_int_equal(grid_plan(&params, 40, 30, 1000, &grid, NULL), 0); /* 5 columns */
    char *text = suggestions_text_create(&suggestions, &grid);
    assert_int_equal(suggestions_text_read(text, 2, read, &n, NULL), 0);
    assert_int_equal(n, 2);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(read[i].suggestion.chip, items[i].chip);
        assert_int_equal(read[i].suggestion.class_index, items[i].class_index);
        assert_true(read[i].suggestion.distance == items[i].distance);
        assert_true(read[i].suggestion.cosine == items[i].cosine);
        assert_true(read[i].suggestion.score == items[i].score);
    }
    assert_int_equal(read[0].x, 16);
    assert_int_equal(read[0].y, 4);
    /* Of a set with fewer classes it cannot be. */
    assert_int_equal(suggestions_text_read(text, 1, read, &n, NULL), ERROR_CORRUPT);
    free(text);
    text = suggestions_text_create(&none, &grid);
    assert_string_equal(text, "[]");
    assert_int_equal(suggestions_text_read(text, 2, read, &n, NULL), 0);
    assert_int_equal(n, 0);
    free(text);
}

static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{}",
        "[1]",
        "[[1,2,3,0,0.5,0.5]]",
        "[[-1,2,3,0,0.5,0.5,0.5]]",
        "[[1,2,4294967296,0,0.5,0.5,0.5]]",
        "[[1,2,3,0,\"x\",0.5,0.5]]",
        "[[1,2,3,0,1e300,0.5,0.5]]",
    };
    struct suggestion_stored read[SUGGESTIONS_MAX];
    uint32_t n = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (suggestions_text_read(texts[i], 2, read, &n, NULL) != ERROR_CORRUPT)
            fail_msg("%s was taken", texts[i]);
    }
    char many[8000] = "[";
    size_t length = 1;
    for (int i = 0; i < SUGGESTIONS_MAX + 1; i++)
        length += (size_t)snprintf(many + length, sizeof(many) - length, "%s[1,2,3,0,0.5,0.5,0.5]",
                                   i == 0 ? "" : ",");
    snprintf(many + length, sizeof(many) - length, "]");
    assert_int_equal(suggestions_text_read(many, 2, read, &n, NULL), ERROR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suggestions_come_back_with_their_places),
        cmocka_unit_test(what_is_damaged_is_refused),
    };
    return test_run(tests);
}
