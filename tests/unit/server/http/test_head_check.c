#include "tests/test.h"

#include <ctype.h>
#include <string.h>

#include "server/http/head_check.h"
#include "tests/unit/server/http/loose_head.h"

enum { MAX_SIZE = 512 };

/* What head_check says of these bytes; "unread" when the reader finds no head in them. */
static const char *verdict_of(struct loose_head *loose, char *copy, const char *bytes, size_t size)
{
    assert_true(size <= MAX_SIZE);
    memcpy(copy, bytes, size);
    if (!loose_head_read(loose, copy, size))
        return "unread";
    size_t end = 0;
    const char *verdict = head_check(&loose->head, bytes, size, &end);
    if (verdict == NULL)
        assert_int_equal(end, loose->end);
    return verdict;
}

/* Without the final NUL. */
#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t size;
} good[] = {
    {BYTES("GET / HTTP/1.1\r\n\r\n")},
    {BYTES("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n")},
    {BYTES("\r\nGET / HTTP/1.1\r\nHost: x\r\nA:\r\nB: \t \r\nC:d\r\n\r\nbody\r\n")},
    {BYTES("GET / HTTP/1.1\r\nHost: x \t\r\nA: b  c \r\n\r\n")},
};

static void whole_heads_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct loose_head loose;
        char copy[MAX_SIZE];
        const char *verdict = verdict_of(&loose, copy, good[i].bytes, good[i].size);
        if (verdict != NULL)
            fail_msg("head %zu: %s", i, verdict);
    }
}

static void heads_that_were_read_otherwise_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {BYTES("GET  / HTTP/1.1\r\n\r\n")},
        {BYTES("GET /\0x HTTP/1.1\r\n\r\n")},
        {BYTES("GET\0 / HTTP/1.1\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\n\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nContent-Length:\r\n 5\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n\t\r\nC: d\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n: c\r\nD: e\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n\0C: d\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\n\0\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\0\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\0\r\n\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\0\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n\0\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\r\n:\n")},
        {BYTES("GET / HTTP/1.1\r\nA: b\n:\r\n")},
        {BYTES("\r\n\r\nGET / HTTP/1.1\r\n\r\n")},
        {BYTES("\nGET / HTTP/1.1\r\n\r\n")},
        {BYTES("\0x\r\nGET / HTTP/1.1\r\n\r\n")},
        {BYTES("GET / HTTP/1.1\r\nTransfer-Encoding: chunked \r\n\r\n")},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct loose_head loose;
        char copy[MAX_SIZE];
        const char *verdict = verdict_of(&loose, copy, bad[i].bytes, bad[i].size);
        if (verdict == NULL || strcmp(verdict, "unread") == 0)
            fail_msg("head %zu: %s", i, verdict == NULL ? "passed" : verdict);
    }
}

static void a_head_that_is_not_all_there_is_refused(void **state)
{
    (void)state;
    static const char bytes[] = "GET / HTTP/1.1\r\nA: b\r\n\r\n";
    const size_t size = sizeof(bytes) - 1;
    struct loose_head loose;
    char copy[MAX_SIZE];
    assert_null(verdict_of(&loose, copy, bytes, size));
    size_t end = 0;
    for (size_t n = 0; n < size; n++)
        assert_non_null(head_check(&loose.head, bytes, n, &end));
    assert_non_null(head_check(&loose.head, NULL, 0, &end));
    loose.head.size++;
    assert_non_null(head_check(&loose.head, bytes, size, &end));
    loose.head.size--;
    loose.head.n_fields--; /* a line that the library did not report */
    assert_non_null(head_check(&loose.head, bytes, size, &end));
    assert_int_equal(end, 0);
}

static size_t put(char *out, size_t at, const char *text, size_t size)
{
    assert_true(at + size <= MAX_SIZE);
    memcpy(out + at, text, size);
    return at + size;
}

/* The head that has these parts, as a strict client writes it, with as many blanks. */
static size_t write_strictly(const struct head *head, char *out)
{
    size_t at = put(out, 0, head->method.text, head->method.size);
    at = put(out, put(out, at, " ", 1), head->target.text, head->target.size);
    at = put(out, put(out, at, " ", 1), head->version.text, head->version.size);
    at = put(out, at, "\r\n", 2);
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct head_part *name = &head->fields[i].name, *value = &head->fields[i].value;
        const char *colon = name->text + name->size;
        at = put(out, put(out, at, name->text, name->size), ":", 1);
        at = put(out, at, colon + 1, (size_t)(value->text - (colon + 1)));
        at = put(out, put(out, at, value->text, value->size), "\r\n", 2);
    }
    return put(out, at, "\r\n", 2);
}

/* The check has passed: then a strict client that sends these parts sends these bytes. */
static void compare_readers(const char *bytes, size_t size, size_t *n_passed)
{
    struct loose_head loose;
    char copy[MAX_SIZE], strict[MAX_SIZE];
    if (verdict_of(&loose, copy, bytes, size) != NULL)
        return;
    (*n_passed)++;
    const char *head = bytes + loose.end - loose.head.size;
    bool same = write_strictly(&loose.head, strict) == loose.head.size &&
                memcmp(strict, head, loose.head.size) == 0 &&
                memchr(strict, '\0', loose.head.size) == NULL;
    if (!same) {
        for (size_t i = 0; i < size; i++)
            print_message(isprint((unsigned char)bytes[i]) ? "%c" : "\\x%02x",
                          (unsigned char)bytes[i]);
        fail_msg("a head passed that is another one to a strict reader");
    }
}

/* Every change of one byte, and every byte more or less, of each good head; and two of them. */
static void what_passes_is_the_same_to_a_strict_reader(void **state)
{
    (void)state;
    static const char marks[] = "\0\r\n \t:x";
    size_t n_passed = 0, n_tried = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        for (size_t at = 0; at < good[i].size; at++) {
            for (size_t m = 0; m < sizeof(marks) - 1; m++) {
                char bytes[MAX_SIZE];
                memcpy(bytes, good[i].bytes, at);
                bytes[at] = marks[m];
                memcpy(bytes + at + 1, good[i].bytes + at, good[i].size - at);
                compare_readers(bytes, good[i].size + 1, &n_passed);
                for (size_t second = at + 1; second <= good[i].size; second++) {
                    char kept = bytes[second];
                    for (size_t k = 0; k < sizeof(marks) - 1; k++, n_tried++) {
                        bytes[second] = marks[k];
                        compare_readers(bytes, good[i].size + 1, &n_passed);
                    }
                    bytes[second] = kept;
                }
                memcpy(bytes + at, good[i].bytes + at, good[i].size - at);
                bytes[at] = marks[m];
                compare_readers(bytes, good[i].size, &n_passed);
            }
            char bytes[MAX_SIZE];
            memcpy(bytes, good[i].bytes, at);
            memcpy(bytes + at, good[i].bytes + at + 1, good[i].size - at - 1);
            compare_readers(bytes, good[i].size - 1, &n_passed);
        }
    }
    assert_true(n_tried > 100000 && n_passed > 1000);
}

static void fields_are_copied_without_their_last_blanks(void **state)
{
    (void)state;
    struct loose_head loose;
    char copy[MAX_SIZE];
    assert_null(verdict_of(&loose, copy,
                           BYTES("GET / HTTP/1.1\r\nHost: x \t\r\nA: b  c \r\nB: \t "
                                 "\r\nC:\r\n\r\n")));
    struct api_header *headers = head_copy_fields(&loose.head);
    assert_non_null(headers);
    memset(copy, 'x', sizeof(copy)); /* they are copies */
    static const char *const expected[] = {"Host", "x", "A", "b  c", "B", "", "C", ""};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(headers[i].name, expected[2 * i]);
        assert_string_equal(headers[i].value, expected[2 * i + 1]);
    }
    free(headers);
    loose.head.n_fields = 0;
    headers = head_copy_fields(&loose.head);
    assert_non_null(headers);
    free(headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_heads_pass),
        cmocka_unit_test(heads_that_were_read_otherwise_are_refused),
        cmocka_unit_test(a_head_that_is_not_all_there_is_refused),
        cmocka_unit_test(what_passes_is_the_same_to_a_strict_reader),
        cmocka_unit_test(fields_are_copied_without_their_last_blanks),
    };
    return test_run(tests);
}
