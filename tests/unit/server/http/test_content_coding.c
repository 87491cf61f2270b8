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

/* Counts up to `size` bytes in pieces of `piece`. */
struct counter {
    size_t size, piece, at;
    int code; /* instead of the end */
    int n_closed;
};

static int count_next(void *context, char *buffer, size_t size, size_t *n, struct error *err)
{
    struct counter *counter = context;
    if (counter->at == counter->size && counter->code != 0)
        return error_set(err, counter->code, "gone");
    *n = 0;
    while (*n < size && *n < counter->piece && counter->at < counter->size) {
        buffer[(*n)++] = (char)('a' + counter->at * counter->at % 19 + counter->at / 977 % 7);
        counter->at++;
    }
    return 0;
}

static void count_close(void *context)
{
    ((struct counter *)context)->n_closed++;
}

/* The compressed stream, read in pieces of `size`; returns its length. */
static size_t pack(struct counter *counter, size_t size, char *out, size_t out_size)
{
    struct api_stream stream = {.context = counter, .next = count_next, .close = count_close};
    assert_int_equal(content_coding_gzip_stream(&stream, NULL), 0);
    size_t total = 0, n = 0;
    do {
        assert_true(total + size <= out_size);
        assert_int_equal(stream.next(stream.context, out + total, size, &n, NULL), 0);
        assert_true(n <= size);
        total += n;
    } while (n > 0);
    assert_int_equal(counter->n_closed, 0);
    stream.close(stream.context);
    assert_int_equal(counter->n_closed, 1);
    return total;
}

static void a_stream_comes_back_however_it_is_cut(void **state)
{
    (void)state;
    enum { SIZE = 300000, ROOM = 1 << 20 };
    char *wanted = malloc(SIZE), *back = malloc(SIZE), *first = malloc(ROOM), *out = malloc(ROOM);
    assert_true(wanted != NULL && back != NULL && first != NULL && out != NULL);
    static const size_t pieces[][2] = {
        {1 << 20, 1 << 16}, {1, 1000}, {65536, 65536}, {100, 1}, {65537, 100}};
    size_t n_wanted = 0, first_size = 0;
    count_next(&(struct counter){.size = SIZE, .piece = SIZE}, wanted, SIZE, &n_wanted, NULL);
    assert_int_equal(n_wanted, SIZE);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct counter counter = {.size = SIZE, .piece = pieces[i][0]};
        size_t size = pack(&counter, pieces[i][1], i == 0 ? first : out, ROOM);
        if (i == 0)
            first_size = size;
        else
            assert_memory_equal(out, first, first_size);
        assert_int_equal(size, first_size);
    }
    z_stream stream = {.next_in = (Bytef *)first,
                       .avail_in = (uInt)first_size,
                       .next_out = (Bytef *)back,
                       .avail_out = SIZE};
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, SIZE);
    assert_memory_equal(back, wanted, SIZE);
    inflateEnd(&stream);
    free(wanted);
    free(back);
    free(first);
    free(out);
}

static void a_streams_fault_comes_through(void **state)
{
    (void)state;
    struct counter counter = {.size = 100000, .piece = 5000, .code = ERROR_NOT_FOUND};
    struct api_stream stream = {.context = &counter, .next = count_next, .close = count_close};
    char buffer[1 << 16];
    size_t n = 1;
    int rc = 0;
    struct error err;
    assert_int_equal(content_coding_gzip_stream(&stream, NULL), 0);
    while (rc == 0 && n > 0)
        rc = stream.next(stream.context, buffer, sizeof(buffer), &n, &err);
    assert_int_equal(rc, ERROR_NOT_FOUND);
    assert_string_equal(err.message, "gone");
    stream.close(stream.context);
    assert_int_equal(counter.n_closed, 1);
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
        cmocka_unit_test(a_stream_comes_back_however_it_is_cut),
        cmocka_unit_test(a_streams_fault_comes_through),
        cmocka_unit_test(tags_get_and_lose_the_suffix),
    };
    return test_run(tests);
}
