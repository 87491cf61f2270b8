#include "tests/test.h"

#include <math.h>

#include "api/message/body_writer.h"

static void numbers_and_fields_are_written_plainly(void **state)
{
    (void)state;
    struct body_writer writer = {0};
    struct error err;
    body_write_uint(&writer, 0);
    body_write(&writer, " ", 1);
    body_write_uint(&writer, UINT64_MAX);
    const double fractions[] = {0, 1, 0.5, 0.1234565, 0.9999996, 1e-9, -0.5, 7, NAN};
    for (int i = 0; i < 9; i++) {
        body_write(&writer, " ", 1);
        body_write_fraction(&writer, fractions[i]);
    }
    const double numbers[] = {0, 1, 12.3456785, 0.9999996, 1e18, -3, NAN, 1e300};
    for (int i = 0; i < 8; i++) {
        body_write(&writer, " ", 1);
        body_write_number(&writer, numbers[i]);
    }
    static const char *const fields[] = {"plain", "a b", "a,b", "say \"hi\"", "two\nlines", "\""};
    for (int i = 0; i < 6; i++) {
        body_write(&writer, ";", 1);
        body_write_csv(&writer, fields[i]);
    }
    body_write(&writer, "", 1);
    assert_int_equal(body_writer_check(&writer, &err), 0);
    assert_string_equal(writer.buffer,
                        "0 18446744073709551615 0.000000 1.000000 0.500000 0.123457 1.000000 "
                        "0.000000 0.000000 1.000000 0.000000"
                        " 0.000000 1.000000 12.345679 1.000000 1000000000000000000.000000 0.000000 "
                        "0.000000 9223372036854775808.000000"
                        ";plain;a b;\"a,b\";\"say \"\"hi\"\"\";\"two\nlines\";\"\"\"\"");
    body_writer_clear(&writer);
}

static void a_rewound_writer_begins_anew(void **state)
{
    (void)state;
    struct body_writer writer = {0};
    for (int i = 0; i < 10000; i++)
        body_write_text(&writer, "0123456789");
    assert_int_equal(writer.size, 100000);
    body_writer_rewind(&writer);
    assert_int_equal(writer.size, 0);
    body_write_text(&writer, "again");
    assert_int_equal(writer.size, 5);
    assert_memory_equal(writer.buffer, "again", 5);
    assert_int_equal(body_writer_check(&writer, NULL), 0);
    body_writer_clear(&writer);
    assert_null(writer.buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_fields_are_written_plainly),
        cmocka_unit_test(a_rewound_writer_begins_anew),
    };
    return test_run(tests);
}
