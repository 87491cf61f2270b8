#include "tests/test.h"

#include "engine/encoding.h"

static void names_are_known(void **state)
{
    (void)state;
    struct error err = {0};
    enum encoding encoding = ENCODING_OWN;
    for (enum encoding i = 0; i < ENCODINGS; i++) {
        assert_int_equal(encoding_parse(encoding_name(i), &encoding, &err), 0);
        assert_int_equal(encoding, i);
        assert_true(strlen(encoding_name(i)) < ENCODING_NAME_SIZE);
    }
    assert_string_equal(encoding_name(ENCODING_CHIPS), "chips");
    assert_string_equal(encoding_name(ENCODING_DENSE), "dense");
    static const char *const wrong[] = {"", "Dense", "chip", "dense "};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char message[100];
        snprintf(message, sizeof(message), "encoding '%s' is not chips or dense", wrong[i]);
        assert_int_equal(encoding_parse(wrong[i], &encoding, &err), ERROR_INVALID);
        assert_string_equal(err.message, message);
        assert_int_equal(encoding, ENCODING_DENSE);
    }
}

static void large_inputs_are_encoded_as_chips_alone(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(encoding_check_side(ENCODING_DENSE, 16, &err), 0);
    assert_int_equal(encoding_check_side(ENCODING_DENSE, 384, &err), 0);
    assert_int_equal(encoding_check_side(ENCODING_CHIPS, 385, &err), 0);
    assert_int_equal(encoding_check_side(ENCODING_DENSE, 385, &err), ERROR_INVALID);
    assert_string_equal(err.message,
                        "input size 385 is above 384, the largest that dense encoding takes");
}

/* The step of the finest map in pixels of the image: 4 x chip / input, which is not rounded. */
static void strides_below_the_finest_step_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct grid_params grid;
        uint32_t side;
        const char *message; /* NULL: allowed */
    } cases[] = {
        {{.chip_width = 64, .chip_height = 64, .stride_x = 6, .stride_y = 6}, 48, NULL},
        {{.chip_width = 64, .chip_height = 64, .stride_x = 5, .stride_y = 6},
         48,
         "5 pixels along x is below the finest step of dense encoding, 5.33 pixels for 64 pixel "
         "chips"},
        {{.chip_width = 48, .chip_height = 48, .stride_x = 4, .stride_y = 4}, 48, NULL},
        {{.chip_width = 48, .chip_height = 48, .stride_x = 4, .stride_y = 3},
         48,
         "3 pixels along y is below the finest step of dense encoding, 4.00 pixels for 48 pixel "
         "chips"},
        {{.chip_width = 48, .chip_height = 48, .stride_x = 2, .stride_y = 2}, 96, NULL},
        {{.chip_width = 8, .chip_height = 4096, .stride_x = 1, .stride_y = 341},
         48,
         "341 pixels along y is below the finest step of dense encoding, 341.33 pixels for 4096 "
         "pixel chips"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        assert_int_equal(encoding_check_stride(ENCODING_DENSE, &cases[i].grid, cases[i].side, &err),
                         cases[i].message == NULL ? 0 : ERROR_INVALID);
        if (cases[i].message != NULL)
            assert_string_equal(err.message, cases[i].message);
        assert_int_equal(encoding_check_stride(ENCODING_CHIPS, &cases[i].grid, cases[i].side, &err),
                         0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_known),
        cmocka_unit_test(large_inputs_are_encoded_as_chips_alone),
        cmocka_unit_test(strides_below_the_finest_step_are_refused),
    };
    return test_run(tests);
}
