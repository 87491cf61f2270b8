#include "tests/test.h"

#include "base/utf8.h"

static void characters_are_counted(void **state)
{
    (void)state;
    assert_int_equal(utf8_length("a\xc3\xa4\xf0\x9f\x98\x80", 7), 3);
    assert_int_equal(utf8_length("\xc3", 1), -1);
    assert_int_equal(utf8_length("\xf4\x90\x80\x80", 4), -1);
    assert_int_equal(utf8_length("\xe0\x80\x80", 3), -1);
    assert_int_equal(utf8_length("\x80", 1), -1);
    assert_int_equal(utf8_prefix("\xc3\xa4\xc3\xb6x", 2), 4);
    assert_int_equal(utf8_prefix("ab", 5), 2);
}

/* The code point of four bytes that may or may not be UTF-8, written as RFC 3629 defines it. */
static size_t size_by_code_point(const unsigned char *bytes)
{
    static const uint32_t lowest[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (bytes[0] < 0x80)
        return 1;
    const size_t n = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : bytes[0] >= 0xc0 ? 2 : 0;
    if (n == 0 || bytes[0] > 0xf7)
        return 0;
    uint32_t code = bytes[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < lowest[n] || code > 0x10ffff || surrogate ? 0 : n;
}

static void every_lead_is_judged_as_the_standard_has_it(void **state)
{
    (void)state;
    static const unsigned char more[] = {0x00, 0x41, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    for (int lead = 0; lead < 256; lead++) {
        for (int second = 0; second < 256; second++) {
            for (size_t i = 0; i < sizeof(more) * sizeof(more); i++) {
                const unsigned char bytes[4] = {(unsigned char)lead, (unsigned char)second,
                                                more[i / sizeof(more)], more[i % sizeof(more)]};
                const size_t n = size_by_code_point(bytes);
                assert_int_equal(utf8_character_size((const char *)bytes, 4), n);
                if (n > 1)
                    assert_int_equal(utf8_character_size((const char *)bytes, n - 1), 0);
            }
        }
    }
}

static void a_text_holds_no_nul(void **state)
{
    (void)state;
    assert_true(utf8_is_text("a\xc3\xa4", 3));
    assert_true(utf8_is_text("", 0));
    assert_false(utf8_is_text("a\0b", 3));
    assert_false(utf8_is_text("a\xc3", 2));
    assert_int_equal(utf8_length("a\0b", 3), 3);
}

static void what_is_not_utf8_is_repaired(void **state)
{
    (void)state;
    char text[] = "a\xc3\xa4\xc3";
    utf8_repair(text);
    assert_string_equal(text, "a\xc3\xa4?");
}

static void a_copy_ends_after_a_whole_character(void **state)
{
    (void)state;
    char out[8];
    utf8_copy("a\xc3\xa4z", out, 5);
    assert_string_equal(out, "a\xc3\xa4z");
    utf8_copy("a\xc3\xa4z", out, 4);
    assert_string_equal(out, "a\xc3\xa4");
    utf8_copy("a\xc3\xa4z", out, 3);
    assert_string_equal(out, "a");
    utf8_copy("\xff\xc3z", out, sizeof(out));
    assert_string_equal(out, "??z");
    utf8_copy("abc", out, 1);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(characters_are_counted),
        cmocka_unit_test(every_lead_is_judged_as_the_standard_has_it),
        cmocka_unit_test(a_text_holds_no_nul),
        cmocka_unit_test(what_is_not_utf8_is_repaired),
        cmocka_unit_test(a_copy_ends_after_a_whole_character),
    };
    return test_run(tests);
}
