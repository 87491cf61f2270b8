#include "tests/test.h"

#include <string.h>

#include "server/http/wire.h"

#define HEAD "POST /x HTTP/1.1\r\nA: b\r\n\r\n"
#define NEXT "GET /y HTTP/1.1\r\n\r\n"

static const struct head_field fields[] = {{.name = {"A", 1}, .value = {"b", 1}}};
static const struct head head = {
    .method = {"POST", 4},
    .target = {"/x", 2},
    .version = {"HTTP/1.1", 8},
    .fields = fields,
    .n_fields = 1,
    .size = sizeof(HEAD) - 1,
};
static const struct head next = {
    .method = {"GET", 3},
    .target = {"/y", 2},
    .version = {"HTTP/1.1", 8},
    .size = sizeof(NEXT) - 1,
};

/* A body, and what comes behind it, in pieces of `piece` bytes; the end must be where NEXT is. */
static const char *read_body(enum wire_body kind, uint64_t length, const char *body, size_t size,
                             size_t piece)
{
    char text[16384];
    assert_true(size + sizeof(HEAD NEXT) <= sizeof(text));
    memcpy(text, HEAD, sizeof(HEAD) - 1);
    memcpy(text + sizeof(HEAD) - 1, body, size);
    memcpy(text + sizeof(HEAD) - 1 + size, NEXT, sizeof(NEXT) - 1);
    size_t all = sizeof(HEAD) - 1 + size + sizeof(NEXT) - 1;
    struct wire wire = {0};
    const char *fault = NULL;
    bool has_head = false;
    for (size_t at = 0; at < all; at += piece) {
        size_t n = piece < all - at ? piece : all - at;
        wire_feed(&wire, text + at, n);
        if (!has_head && at + n >= sizeof(HEAD) - 1) {
            assert_null(wire_take_head(&wire, &head));
            wire_expect_body(&wire, kind, length);
            has_head = true;
        }
    }
    fault = wire_end_body(&wire);
    if (fault == NULL)
        fault = wire_take_head(&wire, &next);
    wire_clear(&wire);
    return fault;
}

#define BYTES(text) text, sizeof(text) - 1

static void bodies_end_where_they_should(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        size_t size;
    } chunked[] = {
        {BYTES("0\r\n\r\n")},
        {BYTES("5\r\nhello\r\n0\r\n\r\n")},
        {BYTES("5\r\n\0\r\n\n:\r\n0\r\n\r\n")},
        {BYTES("00000000000000000000000005\r\nhello\r\n000\r\n\r\n")},
        {BYTES("A;a=\"b\"; c\r\n0123456789\r\nb\r\n0123456789a\r\n0;x\r\n\r\n")},
        {BYTES("0\r\nA: b\r\nContent-Length: 3\r\n\r\n")},
    };
    for (size_t piece = 1; piece < 80; piece++) {
        assert_null(read_body(WIRE_BODY_COUNTED, 0, "", 0, piece));
        assert_null(read_body(WIRE_BODY_COUNTED, 12, BYTES("\0\n\r\n\r\nhello!"), piece));
        for (size_t i = 0; i < sizeof(chunked) / sizeof(chunked[0]); i++) {
            const char *fault =
                read_body(WIRE_BODY_CHUNKED, 0, chunked[i].body, chunked[i].size, piece);
            if (fault != NULL)
                fail_msg("body %zu in pieces of %zu: %s", i, piece, fault);
        }
    }
}

static void bodies_that_end_elsewhere_are_found(void **state)
{
    (void)state;
    assert_non_null(read_body(WIRE_BODY_COUNTED, 4, "hello", 5, 7));
    assert_non_null(read_body(WIRE_BODY_COUNTED, 6, "hello", 5, 7));
    assert_non_null(read_body(WIRE_BODY_COUNTED, 1000, "hello", 5, 7));
    static const struct {
        const char *body;
        size_t size;
    } bad[] = {
        {BYTES("\r\n\r\n")},
        {BYTES("g\r\n\r\n")},
        {BYTES("+5\r\nhello\r\n0\r\n\r\n")},
        {BYTES("0x5\r\nhello\r\n0\r\n\r\n")},
        {BYTES("5 \r\nhello\r\n0\r\n\r\n")},
        {BYTES(";a\r\nhello\r\n0\r\n\r\n")},
        {BYTES("5\nhello\r\n0\r\n\r\n")},
        {BYTES("5\r\rhello\r\n0\r\n\r\n")},
        {BYTES("5;a\nhello\r\n0\r\n\r\n")},
        {BYTES("5;a\0\r\nhello\r\n0\r\n\r\n")},
        {BYTES("5\r\nhello\n0\r\n\r\n")},
        {BYTES("5\r\nhello0\r\n\r\n")},
        {BYTES("5\r\nhello\r\n0\n\r\n")},
        {BYTES("5\r\nhello\r\n0\r\n\n")},
        {BYTES("5\r\nhello\r\n0\r\nA: b\n\r\n")},
        {BYTES("5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n")},
        {BYTES("5\r\nhello\r\n0\r\n: b\r\n\r\n")},
        {BYTES("5\r\nhello\r\n0\r\n\0\r\n\r\n")},
        {BYTES("11111111111111111\r\nhello\r\n0\r\n\r\n")},
        {BYTES("ffffffffffffffff\r\nhello\r\n0\r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (size_t piece = 1; piece < 60; piece++) {
            if (read_body(WIRE_BODY_CHUNKED, 0, bad[i].body, bad[i].size, piece) == NULL)
                fail_msg("body %zu passed in pieces of %zu", i, piece);
        }
    }
}

static void lines_and_trailers_have_bounds(void **state)
{
    (void)state;
    char body[12000];
    memset(body, '0', sizeof(body));
    memcpy(body + WIRE_MAX_CHUNK_LINE - 2, "\r\n\r\n", 4);
    assert_null(read_body(WIRE_BODY_CHUNKED, 0, body, WIRE_MAX_CHUNK_LINE + 2, 100));
    memcpy(body + WIRE_MAX_CHUNK_LINE - 2, "0\r\n\r\n", 5);
    assert_non_null(read_body(WIRE_BODY_CHUNKED, 0, body, WIRE_MAX_CHUNK_LINE + 3, 100));

    memset(body, 'x', sizeof(body));
    memcpy(body, "0\r\n", 3);
    memcpy(body + 3 + WIRE_MAX_TRAILERS - 4, "\r\n\r\n", 4);
    assert_null(read_body(WIRE_BODY_CHUNKED, 0, body, 3 + WIRE_MAX_TRAILERS, 100));
    memcpy(body + 3 + WIRE_MAX_TRAILERS - 4, "x\r\n\r\n", 5);
    assert_non_null(read_body(WIRE_BODY_CHUNKED, 0, body, 3 + WIRE_MAX_TRAILERS + 1, 100));
}

static void what_is_broken_stays_so(void **state)
{
    (void)state;
    struct wire wire = {0};
    wire_feed(&wire, HEAD, sizeof(HEAD) - 1);
    assert_non_null(wire_take_head(&wire, &next));
    wire_feed(&wire, NEXT, sizeof(NEXT) - 1);
    assert_non_null(wire_take_head(&wire, &next));
    wire_expect_body(&wire, WIRE_BODY_CHUNKED, 0);
    assert_non_null(wire_end_body(&wire));
    wire_clear(&wire);

    /* A head that the library has before the body before it ended. */
    wire_feed(&wire, HEAD, sizeof(HEAD) - 1);
    assert_null(wire_take_head(&wire, &head));
    wire_expect_body(&wire, WIRE_BODY_COUNTED, 5);
    assert_non_null(wire_take_head(&wire, &next));
    wire_clear(&wire);

    assert_non_null(wire_take_head(&wire, &head)); /* nothing came */
    wire_clear(&wire);
}

static void what_is_held_has_a_bound(void **state)
{
    (void)state;
    struct wire wire = {0};
    char block[1024];
    memset(block, 'x', sizeof(block));
    for (size_t i = 0; i < WIRE_MAX_HELD / sizeof(block); i++)
        wire_feed(&wire, block, sizeof(block));
    assert_null(wire.fault);
    wire_feed(&wire, block, 1);
    assert_non_null(wire.fault);
    assert_null(wire.held);
    wire_clear(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_end_where_they_should),
        cmocka_unit_test(bodies_that_end_elsewhere_are_found),
        cmocka_unit_test(lines_and_trailers_have_bounds),
        cmocka_unit_test(what_is_broken_stays_so),
        cmocka_unit_test(what_is_held_has_a_bound),
    };
    return test_run(tests);
}
