/* Fuzz target: the bytes of a connection beside a reader as loose as libmicrohttpd 0.9.75: heads
 * (head_check.h, request_check.h), bodies and where the next request begins (wire.h).
 *
 * Input: two bytes, the sizes of the pieces in which the rest arrives, in turn; 0: all that is
 * left. What passes must be what a strict reading of all bytes at once finds there, and must not
 * depend on the pieces. What a strict reading finds must pass. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/http/request_check.h"
#include "server/http/wire.h"
#include "tests/unit/server/http/loose_head.h"

enum {
    INPUT_MAX = 32 * 1024,
    REQUESTS_MAX = 32,
};

/* ---- the strict reading, of all bytes at once ---- */

struct strict {
    struct head_part method, target, version;
    struct head_field fields[LOOSE_HEAD_MAX_FIELDS];
    size_t n_fields;
    bool blank_encoding; /* blanks behind Transfer-Encoding: head_check.h refuses that */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The line at `*at` without its CR LF. False when it ends otherwise, has control characters or is
 * not all there. */
static bool strict_line(struct head_part all, size_t *at, struct head_part *line)
{
    for (size_t i = *at; i + 1 < all.size; i++) {
        const unsigned char c = (unsigned char)all.text[i];
        if (c == '\r' && all.text[i + 1] == '\n') {
            *line = (struct head_part){all.text + *at, i - *at};
            *at = i + 2;
            return true;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return false;
}

/* Up to the next `end`, which must be there, and goes. */
static bool strict_cut(struct head_part *rest, char end, struct head_part *out)
{
    const char *found = rest->size == 0 ? NULL : memchr(rest->text, end, rest->size);
    if (found == NULL || found == rest->text)
        return false;
    *out = (struct head_part){rest->text, (size_t)(found - rest->text)};
    *rest = (struct head_part){found + 1, rest->size - out->size - 1};
    return true;
}

static struct head_part strict_trim(struct head_part text)
{
    while (text.size > 0 && is_blank(text.text[text.size - 1]))
        text.size--;
    while (text.size > 0 && is_blank(*text.text)) {
        text.text++;
        text.size--;
    }
    return text;
}

static bool is_named(struct head_part name, const char *text)
{
    return name.size == strlen(text) && strncasecmp(name.text, text, name.size) == 0;
}

static bool strict_field(struct strict *out, struct head_part line)
{
    struct head_field field;
    if (out->n_fields == LOOSE_HEAD_MAX_FIELDS || !strict_cut(&line, ':', &field.name))
        return false;
    for (size_t i = 0; i < field.name.size; i++) {
        if (is_blank(field.name.text[i]))
            return false;
    }
    field.value = strict_trim(line);
    if (is_named(field.name, "Transfer-Encoding") && line.size > 0 &&
        is_blank(line.text[line.size - 1]) && field.value.size > 0)
        out->blank_encoding = true;
    out->fields[out->n_fields++] = field;
    return true;
}

static bool strict_head(struct head_part all, size_t *at, struct strict *out)
{
    struct head_part line;
    memset(out, 0, sizeof(*out));
    if (!strict_line(all, at, &line) || (line.size == 0 && !strict_line(all, at, &line)))
        return false;
    if (!strict_cut(&line, ' ', &out->method) || !strict_cut(&line, ' ', &out->target) ||
        line.size != strlen("HTTP/1.1") || memchr(line.text, ' ', line.size) != NULL)
        return false;
    out->version = line;
    while (strict_line(all, at, &line)) {
        if (line.size == 0)
            return true;
        if (!strict_field(out, line))
            return false;
    }
    return false;
}

/* The size of a chunk, from its line. */
static bool strict_size(struct head_part line, uint64_t *out)
{
    uint64_t size = 0;
    size_t i = 0, n_digits = 0;
    for (; i < line.size && strchr("0123456789abcdefABCDEF", line.text[i]) != NULL; i++) {
        const char digit[] = {line.text[i], '\0'};
        n_digits += size > 0 || digit[0] != '0';
        size = size * 16 + strtoull(digit, NULL, 16);
    }
    *out = size;
    return i > 0 && n_digits <= WIRE_MAX_CHUNK_SIZE_DIGITS &&
           line.size + 2 <= WIRE_MAX_CHUNK_LINE && (i == line.size || line.text[i] == ';');
}

static bool strict_trailers(struct head_part all, size_t *at)
{
    const size_t begin = *at;
    struct head_part line;
    while (strict_line(all, at, &line) && *at - begin <= WIRE_MAX_TRAILERS) {
        if (line.size == 0)
            return true;
        if (is_blank(*line.text) || *line.text == ':')
            return false;
    }
    return false;
}

static bool strict_body(struct head_part all, size_t *at, const struct request_facts *facts)
{
    struct head_part line;
    uint64_t size = facts->content_length;
    if (!facts->chunked) {
        const bool is_there = size <= all.size - *at;
        *at += is_there ? (size_t)size : 0;
        return is_there;
    }
    while (strict_line(all, at, &line) && strict_size(line, &size)) {
        if (size == 0)
            return strict_trailers(all, at);
        if (size >= all.size - *at)
            return false;
        *at += (size_t)size;
        if (!strict_line(all, at, &line) || line.size > 0)
            return false;
    }
    return false;
}

/* ---- the library ---- */

enum reading { READING_MORE, READING_DONE, READING_BAD };

/* The line at `*at`, whatever ends it: its size without the end. */
static bool loose_line(struct head_part all, size_t *at, size_t *size)
{
    const char *line = all.text + *at;
    const char *end = *at < all.size ? memchr(line, '\n', all.size - *at) : NULL;
    if (end == NULL)
        return false;
    *at = (size_t)(end - all.text) + 1;
    *size = (size_t)(end - line) - (end > line && end[-1] == '\r');
    return true;
}

static enum reading loose_chunks(struct head_part all, size_t *end)
{
    size_t at = *end, begin = at, line_size = 0;
    uint64_t size = 1;
    while (size > 0) {
        begin = at;
        if (!loose_line(all, &at, &line_size))
            return READING_MORE;
        if (!strict_size((struct head_part){all.text + begin, line_size}, &size))
            return READING_BAD;
        if (size == 0)
            break;
        if (size >= all.size - at)
            return READING_MORE;
        at += (size_t)size;
        if (all.text[at] != '\n' && all.text[at] != '\r')
            return READING_BAD;
        if (!loose_line(all, &at, &line_size))
            return READING_MORE;
        if (line_size > 0)
            return READING_BAD;
    }
    do {
        begin = at;
        if (!loose_line(all, &at, &line_size))
            return READING_MORE;
    } while (line_size > 0 && all.text[begin] != '\0');
    *end = at;
    return READING_DONE;
}

static enum reading loose_body(struct head_part all, size_t *end, const struct request_facts *facts)
{
    if (facts->chunked)
        return loose_chunks(all, end);
    if (facts->content_length > all.size - *end)
        return READING_MORE;
    *end += (size_t)facts->content_length;
    return READING_DONE;
}

/* ---- a connection ---- */

struct connection {
    struct wire wire;
    struct head_part all; /* of the input */
    size_t received;
    size_t at; /* where the request begins or, once its head is read, its body */
    bool has_head;
    struct request_facts facts;
    bool refused;
    size_t ends[REQUESTS_MAX]; /* of the requests that passed */
    size_t n_ends;
};

static void refuse(struct connection *connection, const char *reason)
{
    fuzz_expect(reason == NULL || *reason != '\0');
    connection->refused = true;
}

static bool is_same(struct head_part one, struct head_part other)
{
    return one.size == other.size && memcmp(one.text, other.text, one.size) == 0;
}

static bool is_text(struct head_part part, const char *text)
{
    return is_same(part, (struct head_part){text, strlen(text)});
}

static void compare_heads(const struct strict *strict, const struct head *head,
                          const struct api_header *headers)
{
    fuzz_expect(is_same(strict->method, head->method) && is_same(strict->target, head->target) &&
                is_same(strict->version, head->version) && strict->n_fields == head->n_fields);
    for (size_t i = 0; i < strict->n_fields; i++)
        fuzz_expect(is_text(strict->fields[i].name, headers[i].name) &&
                    is_text(strict->fields[i].value, headers[i].value));
}

/* Whether the head's fields are good as well. */
static bool check_request(struct connection *connection, const struct head *head,
                          const struct api_header *headers)
{
    char detail[256] = "";
    const struct api_request request = {.method = head->method.text,
                                        .target = head->target.text,
                                        .headers = headers,
                                        .n_headers = head->n_fields};
    int status = request_check(&request, head->version.text, head->size, &connection->facts, detail,
                               sizeof(detail));
    if (status != 0)
        refuse(connection, detail);
    return status == 0;
}

static void use_head(struct connection *connection, const struct loose_head *loose)
{
    struct strict strict;
    size_t end = connection->at;
    const bool is_strict = strict_head(connection->all, &end, &strict);
    const char *fault = wire_take_head(&connection->wire, &loose->head);
    if (fault != NULL) {
        fuzz_expect(!is_strict || strict.blank_encoding);
        refuse(connection, fault);
        return;
    }
    struct api_header *headers = head_copy_fields(&loose->head);
    fuzz_expect(headers != NULL);
    if (check_request(connection, &loose->head, headers)) {
        fuzz_expect(is_strict && end == connection->at + loose->end);
        compare_heads(&strict, &loose->head, headers);
        wire_expect_body(&connection->wire,
                         connection->facts.chunked ? WIRE_BODY_CHUNKED : WIRE_BODY_COUNTED,
                         connection->facts.content_length);
        connection->has_head = true;
        connection->at += loose->end;
    }
    free(headers);
}

/* Returns whether there was a head. */
static bool read_head(struct connection *connection)
{
    static struct loose_head loose;
    const size_t size = connection->received - connection->at;
    char *copy = malloc(size + 1);
    fuzz_expect(copy != NULL);
    memcpy(copy, connection->all.text + connection->at, size);
    const bool is_read = loose_head_read(&loose, copy, size);
    if (is_read)
        use_head(connection, &loose);
    free(copy);
    return is_read;
}

/* Returns whether the body is at its end. */
static bool read_body(struct connection *connection)
{
    size_t end = connection->at, strict_end = connection->at;
    enum reading reading = loose_body(
        (struct head_part){connection->all.text, connection->received}, &end, &connection->facts);
    if (reading == READING_MORE)
        return false;
    const bool is_strict = strict_body(connection->all, &strict_end, &connection->facts);
    const char *fault = reading == READING_BAD ? "bad" : wire_end_body(&connection->wire);
    fuzz_expect((fault == NULL) == is_strict);
    fuzz_expect(!is_strict || strict_end == end);
    if (fault != NULL)
        refuse(connection, fault);
    connection->has_head = false;
    connection->at = end;
    if (fault == NULL)
        connection->ends[connection->n_ends++] = end;
    return true;
}

static void check_wire(const struct wire *wire)
{
    fuzz_expect((wire->state == WIRE_BROKEN) == (wire->fault != NULL));
    fuzz_expect(wire->held_size <= wire->held_capacity && wire->held_size <= WIRE_MAX_HELD);
    fuzz_expect((wire->held == NULL) == (wire->held_capacity == 0));
    fuzz_expect(wire->held_size == 0 || wire->state == WIRE_HEAD);
}

static bool goes_on(const struct connection *connection)
{
    return !connection->refused && connection->n_ends < REQUESTS_MAX;
}

static void receive(struct connection *connection, size_t size)
{
    const char *piece = connection->all.text + connection->received;
    bool is_read = connection->has_head || memchr(piece, '\n', size) != NULL;
    wire_feed(&connection->wire, piece, size);
    check_wire(&connection->wire);
    connection->received += size;
    while (is_read && goes_on(connection)) {
        is_read = connection->has_head ? read_body(connection) : read_head(connection);
        check_wire(&connection->wire);
    }
}

/* All of the input, in pieces of these sizes in turn. */
static void run(struct connection *connection, struct head_part all, const uint8_t sizes[2])
{
    *connection = (struct connection){.all = all};
    for (size_t i = 0; connection->received < all.size && goes_on(connection); i++) {
        const size_t left = all.size - connection->received, size = sizes[i % 2];
        receive(connection, size == 0 || size > left ? left : size);
    }
    size_t end = connection->at;
    if (connection->has_head && goes_on(connection))
        fuzz_expect(!strict_body(all, &end, &connection->facts));
    wire_clear(&connection->wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t at_once[2] = {0, 0};
    static struct connection pieces, whole;
    if (size < sizeof(at_once) || size > INPUT_MAX)
        return 0;
    const struct head_part all = {(const char *)data + 2, size - 2};
    run(&pieces, all, data);
    run(&whole, all, at_once);
    fuzz_expect(pieces.refused == whole.refused && pieces.n_ends == whole.n_ends);
    fuzz_expect(memcmp(pieces.ends, whole.ends, sizeof(pieces.ends)) == 0);
    return 0;
}
