#include "tests/test.h"

#include "base/error.h"

#include <errno.h>

static void set_returns_the_code_and_writes_one_line(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set(&err, ERROR_INVALID, "width: %d\nis too large", 7), ERROR_INVALID);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_string_equal(err.message, "width: 7 is too large");
}

static void set_accepts_no_error(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERROR_BUSY, "full"), ERROR_BUSY);
    assert_int_equal(error_set_errno(NULL, ENOSPC, "write"), ERROR_FULL);
}

static void long_messages_are_cut_not_overrun(void **state)
{
    (void)state;
    struct error err = {0};
    error_set(&err, ERROR_INVALID, "%*s", 2000, "x");
    assert_int_equal(strlen(err.message), ERROR_MESSAGE_SIZE - 1);
}

static void errno_maps_to_codes(void **state)
{
    (void)state;
    struct error err = {0};
    assert_int_equal(error_set_errno(&err, ENOENT, "open %s", "x"), ERROR_NOT_FOUND);
    assert_string_equal(err.message, "open x: No such file or directory");
    assert_int_equal(error_set_errno(&err, EROFS, "open"), ERROR_IO);
    assert_int_equal(error_set_errno(&err, EDQUOT, "open"), ERROR_FULL);
    assert_int_equal(error_set_errno(&err, ENOMEM, "open"), ERROR_NOMEM);
}

/* What the system refuses now and may grant later is told from what is wrong and stays so. */
static void some_failures_may_pass(void **state)
{
    (void)state;
    static const int passing[] = {EIO, EMFILE, ENFILE, ENOMEM, EAGAIN, EACCES, ESTALE};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        assert_true(error_is_transient(error_set_errno(NULL, passing[i], "open")));
    assert_true(error_is_transient(ERROR_BUSY));
    static const int lasting[] = {
        0,          ERROR_INVALID, ERROR_NOT_FOUND, ERROR_CONFLICT, ERROR_CANCELLED,
        ERROR_FULL, ERROR_CORRUPT};
    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
        assert_false(error_is_transient(lasting[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_the_code_and_writes_one_line),
        cmocka_unit_test(set_accepts_no_error),
        cmocka_unit_test(long_messages_are_cut_not_overrun),
        cmocka_unit_test(errno_maps_to_codes),
        cmocka_unit_test(some_failures_may_pass),
    };
    return test_run(tests);
}
