#include "tests/test.h"

#include "base/hex.h"

static void bytes_become_lower_case_digits_and_come_back(void **state)
{
    (void)state;
    uint8_t bytes[256], back[256];
    char text[2 * sizeof(bytes) + 1];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    hex_encode(bytes, sizeof(bytes), text);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        char expected[3];
        snprintf(expected, sizeof(expected), "%02zx", i);
        assert_memory_equal(text + 2 * i, expected, 2);
    }
    assert_int_equal(text[sizeof(text) - 1], '\0');
    assert_true(hex_decode(text, sizeof(bytes), back));
    assert_memory_equal(back, bytes, sizeof(bytes));
}

static void digits_of_either_case_are_read(void **state)
{
    (void)state;
    uint8_t bytes[3] = {0};
    assert_true(hex_decode("aBcDe0 and more", 3, bytes));
    assert_memory_equal(bytes, "\xab\xcd\xe0", 3);
}

static void other_text_is_refused_and_writes_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "0",
                                        "012",
                                        "01234",
                                        "0123g5",
                                        "01 345",
                                        "+12345",
                                        "0x1234",
                                        "0123\xff"
                                        "5",
                                        "01234/",
                                        "01234:",
                                        "01234@",
                                        "01234G",
                                        "01234`"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint8_t bytes[3] = {7, 8, 9};
        assert_false(hex_decode(texts[i], 3, bytes));
        assert_memory_equal(bytes, "\7\10\11", 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_lower_case_digits_and_come_back),
        cmocka_unit_test(digits_of_either_case_are_read),
        cmocka_unit_test(other_text_is_refused_and_writes_nothing),
    };
    return test_run(tests);
}
