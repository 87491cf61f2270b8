#include "db/settings.h"

#include <string.h>

#include "tests/unit/db/fixture.h"

static void a_setting_is_kept_and_replaced(void **state)
{
    struct fixture *f = *state;
    char value[DB_SETTING_SIZE] = "untouched";
    assert_int_equal(db_setting_get(f->db, "colour", value, &f->err), ERROR_NOT_FOUND);
    assert_string_equal(value, "untouched");
    assert_ok(db_setting_set(f->db, "colour", "grey", &f->err));
    assert_ok(db_setting_set(f->db, "shape", "round", &f->err));
    assert_ok(db_setting_get(f->db, "colour", value, &f->err));
    assert_string_equal(value, "grey");
    assert_ok(db_setting_set(f->db, "colour", "", &f->err));
    assert_ok(db_setting_get(f->db, "colour", value, &f->err));
    assert_string_equal(value, "");
    assert_ok(db_setting_get(f->db, "shape", value, &f->err));
    assert_string_equal(value, "round");
}

static void a_value_that_is_too_long_is_refused(void **state)
{
    struct fixture *f = *state;
    char value[DB_SETTING_SIZE], text[DB_SETTING_SIZE + 1];
    memset(text, 'x', sizeof(text));
    text[DB_SETTING_SIZE] = '\0';
    assert_int_equal(db_setting_set(f->db, "colour", text, &f->err), ERROR_INVALID);
    assert_non_null(strstr(f->err.message, "128 bytes, the limit is 127"));
    text[DB_SETTING_SIZE - 1] = '\0';
    assert_ok(db_setting_set(f->db, "colour", text, &f->err));
    assert_ok(db_setting_get(f->db, "colour", value, &f->err));
    assert_string_equal(value, text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_setting_is_kept_and_replaced),
        TEST(a_value_that_is_too_long_is_refused),
    };
    return test_run(tests);
}
