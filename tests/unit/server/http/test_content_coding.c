#include "tests/test.h"

#include <stdbool.h>
#include <zlib.h>

#include "server/http/content_coding.h"

static void accept_encoding_is_understood(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "gzip", "GZIP", "deflate, gzip;q=0.5, br", "gzip ; q=0.1", "x-gzip", "*", "br, *;q=0.01"};
    static const char *const no[] = {"",           "identity",       "br",
                                     "gzip;q=0",   "gzip;q=0.000",   "*, gzip;q=0",
                                     "gzip;q=0,*", "gzipped, agzip", "*;q=0"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (!content_coding_accepts_gzip(yes[i]))
            fail_msg("refused: '%s'", yes[i]);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        if (content_coding_accepts_gzip(no[i]))
            fail_msg("taken: '%s'", no[i]);
    }
    assert_false(content_coding_accepts_gzip(NULL));
}

static void only_texts_are_compressed(void **state)
{
    (void)state;
    assert_true(content_coding_is_text("application/json"));
    assert_true(content_coding_is_text("application/problem+json"));
    assert_true(content_coding_is_text("text/csv; charset=utf-8"));
    assert_false(content_coding_is_text("image/png"));
    assert_false(content_coding_is_text("application/octet-stream"));
    assert_false(content_coding_is_text(NULL));
}

static void gzip_comes_back(void **state)
{
    (void)state;
    char text[20000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 17);
    char *packed = NULL;
    size_t size = 0;
    assert_int_equal(content_coding_gzip(text, sizeof(text), &packed, &size, NULL), 0);
    assert_true(size < sizeof(text) / 10);
    char back[20000];
    z_stream stream = {.next_in = (Bytef *)packed,
                       .avail_in = (uInt)size,
                       .next_out = (Bytef *)back,
                       .avail_out = sizeof(back)};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, sizeof(text));
    assert_memory_equal(back, text, sizeof(text));
    inflateEnd(&stream);
    free(packed);
}

static void tags_get_and_lose_the_suffix(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"\"abc\"", "\"abc-gzip\""},
        {"W/\"abc\"", "W/\"abc-gzip\""},
    };
    for (size_t i = 0; i < 2; i++) {
        char *marked = content_coding_add_suffix(pairs[i][0]);
        assert_string_equal(marked, pairs[i][1]);
        bool changed = false;
        char *back = content_coding_drop_suffix(marked, &changed);
        assert_string_equal(back, pairs[i][0]);
        assert_true(changed);
        free(back);
        free(marked);
    }
    bool changed = true;
    char *same = content_coding_drop_suffix("\"a\", *, -gzip", &changed);
    assert_string_equal(same, "\"a\", *, -gzip");
    assert_false(changed);
    free(same);
    char *list = content_coding_drop_suffix("\"a-gzip\", \"b\", W/\"c-gzip\"", NULL);
    assert_string_equal(list, "\"a\", \"b\", W/\"c\"");
    free(list);
    /* Never out of bounds on hostile values. */
    char *odd = content_coding_drop_suffix("-gzip\"-gzip\"-gzip\"", NULL);
    assert_non_null(odd);
    free(odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accept_encoding_is_understood),
        cmocka_unit_test(only_texts_are_compressed),
        cmocka_unit_test(gzip_comes_back),
        cmocka_unit_test(tags_get_and_lose_the_suffix),
    };
    return test_run(tests);
}
