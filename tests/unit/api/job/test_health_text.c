#include "tests/test.h"

#include <math.h>

#include "api/job/health_text.h"

enum { N = 4, N_CLASSES = 3 };
static const uint32_t classes[N] = {0, 1, 1, 2};

static void what_was_measured_is_read_back(void **state)
{
    (void)state;
    static const float rows[2][N_CLASSES] = {{0.25F, 0.5F, 0.25F}, {0.125F, 0.75F, 0.125F}};
    struct health health;
    struct health_stored stored;
    assert_int_equal(health_init(&health, classes, N, N_CLASSES, NULL), 0);
    memcpy(health.probabilities, rows[0], sizeof(rows[0]));
    memcpy(health.probabilities + (ptrdiff_t)2 * N_CLASSES, rows[1], sizeof(rows[1]));
    char *text = health_text_create(&health);
    assert_non_null(text);
    assert_int_equal(health_text_read(text, N_CLASSES, N, &stored, NULL), 0);
    assert_int_equal(stored.n_asked, 2);
    assert_float_equal(stored.answers[0].own, 0.25, 1e-6);
    assert_int_equal(stored.answers[0].likely, 1);
    assert_true(isnan(stored.answers[1].own) && isnan(stored.answers[3].own));
    assert_float_equal(stored.answers[2].own, 0.75, 1e-6);
    assert_int_equal(stored.n_pairs, 3); /* 0 and 1, 0 and 2, 1 and 2 */
    assert_int_equal(stored.pairs[0].b, 1);
    assert_float_equal(stored.pairs[0].confusion, (0.5 + 0.125) / 2, 1e-6);
    assert_float_equal(stored.pairs[1].confusion, 0.25, 1e-6);
    assert_float_equal(stored.pairs[2].confusion, 0.125, 1e-6);
    health_stored_clear(&stored);
    health_stored_clear(&stored);
    free(text);
    health_clear(&health);
}

static void what_is_damaged_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"own\":[1,1,1],\"likely\":[0,0,0],\"confusion\":[]}",
        "{\"own\":[1,1,1,1.5],\"likely\":[0,0,0,0],\"confusion\":[]}",
        "{\"own\":[1,1,1,\"1\"],\"likely\":[0,0,0,0],\"confusion\":[]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,3],\"confusion\":[]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,-1,0],\"confusion\":[]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,0]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,0],\"confusion\":[[1,0,0.5]]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,0],\"confusion\":[[0,3,0.5]]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,0],\"confusion\":[[0,1]]}",
        "{\"own\":[1,1,1,1],\"likely\":[0,0,0,0],\"confusion\":[1,2,3,4]}",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct health_stored stored;
        if (health_text_read(texts[i], N_CLASSES, N, &stored, NULL) != ERROR_CORRUPT)
            fail_msg("%s was taken", texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_measured_is_read_back),
        cmocka_unit_test(what_is_damaged_is_refused),
    };
    return test_run(tests);
}
