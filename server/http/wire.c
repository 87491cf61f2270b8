#include "server/http/wire.h"

#include <stdlib.h>
#include <string.h>

static void drop_held(struct wire *wire)
{
    free(wire->held);
    wire->held = NULL;
    wire->held_size = wire->held_capacity = 0;
}

void wire_clear(struct wire *wire)
{
    drop_held(wire);
    *wire = (struct wire){0};
}

static void fail(struct wire *wire, const char *fault)
{
    drop_held(wire);
    wire->state = WIRE_BROKEN;
    wire->fault = fault;
}

static void hold(struct wire *wire, const char *bytes, size_t size)
{
    if (size > WIRE_MAX_HELD - wire->held_size) {
        fail(wire, "more has come than a head may have");
        return;
    }
    size_t needed = wire->held_size + size, capacity = wire->held_capacity;
    while (capacity < needed)
        capacity = capacity == 0 ? 1024 : capacity * 2;
    if (capacity != wire->held_capacity) {
        char *grown = realloc(wire->held, capacity);
        if (grown == NULL) {
            fail(wire, "no memory for the head");
            return;
        }
        wire->held = grown;
        wire->held_capacity = capacity;
    }
    memcpy(wire->held + wire->held_size, bytes, size);
    wire->held_size = needed;
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Neither a line's end nor a control character but the tab. */
static bool is_text(char c)
{
    return c == '\t' || ((unsigned char)c >= 0x20 && c != 0x7f);
}

static void begin_size(struct wire *wire)
{
    wire->state = WIRE_SIZE;
    wire->left = wire->n_digits = wire->line_size = 0;
}

static void read_size(struct wire *wire, char c)
{
    int digit = digit_of(c);
    if (digit >= 0 && wire->n_digits < WIRE_MAX_CHUNK_SIZE_DIGITS) {
        wire->left = wire->left * 16 + (uint64_t)digit;
        /* Zeros before the size are none of its digits. */
        wire->n_digits += wire->left > 0 || wire->n_digits > 0;
        return;
    }
    if (wire->line_size == 1 || digit >= 0)
        fail(wire, "the size of a chunk is no hexadecimal number of at most 16 digits");
    else if (c == ';')
        wire->state = WIRE_EXTENSION;
    else if (c == '\r')
        wire->state = WIRE_SIZE_END;
    else
        fail(wire, "the size of a chunk does not end with CR LF or an extension");
}

static void read_extension(struct wire *wire, char c)
{
    if (c == '\r')
        wire->state = WIRE_SIZE_END;
    else if (!is_text(c))
        fail(wire, "the extension of a chunk has control characters or ends without CR LF");
}

/* The line of a chunk's size, a byte of it. */
static void read_size_line(struct wire *wire, char c)
{
    if (++wire->line_size > WIRE_MAX_CHUNK_LINE) {
        fail(wire, "the line of a chunk's size is longer than 1024 bytes");
        return;
    }
    if (wire->state == WIRE_SIZE)
        read_size(wire, c);
    else if (wire->state == WIRE_EXTENSION)
        read_extension(wire, c);
    else if (c != '\n')
        fail(wire, "the size of a chunk ends without CR LF");
    else {
        wire->state = wire->left > 0 ? WIRE_DATA : WIRE_TRAILER;
        wire->line_size = 0;
    }
}

/* A trailer's line is not used, but where it ends is agreed on. */
static void read_trailer(struct wire *wire, char c)
{
    if (++wire->line_size > WIRE_MAX_TRAILERS) {
        fail(wire, "the trailers have more than 8192 bytes");
        return;
    }
    bool is_first = wire->state == WIRE_TRAILER;
    if (wire->state == WIRE_TRAILER_END || wire->state == WIRE_BODY_END) {
        if (c != '\n')
            fail(wire, "a trailer ends without CR LF");
        else
            wire->state = wire->state == WIRE_BODY_END ? WIRE_HEAD : WIRE_TRAILER;
    } else if (c == '\r') {
        wire->state = is_first ? WIRE_BODY_END : WIRE_TRAILER_END;
    } else if (!is_text(c) || (is_first && (c == ' ' || c == '\t' || c == ':'))) {
        fail(wire, "a trailer is folded, has no name, ends without CR LF or has control "
                   "characters");
    } else {
        wire->state = WIRE_TRAILER_REST;
    }
}

/* Takes at least one byte, and returns how many. */
static size_t feed_some(struct wire *wire, const char *bytes, size_t size)
{
    size_t n = 1;
    switch (wire->state) {
    case WIRE_HEAD:
        hold(wire, bytes, size);
        return size;
    case WIRE_BODY:
    case WIRE_DATA:
        n = wire->left < size ? (size_t)wire->left : size;
        wire->left -= n;
        if (wire->left == 0)
            wire->state = wire->state == WIRE_BODY ? WIRE_HEAD : WIRE_DATA_CR;
        break;
    case WIRE_SIZE:
    case WIRE_EXTENSION:
    case WIRE_SIZE_END:
        read_size_line(wire, *bytes);
        break;
    case WIRE_DATA_CR:
        if (*bytes == '\r')
            wire->state = WIRE_DATA_LF;
        else
            fail(wire, "a chunk ends without CR LF");
        break;
    case WIRE_DATA_LF:
        if (*bytes == '\n')
            begin_size(wire);
        else
            fail(wire, "a chunk ends without CR LF");
        break;
    case WIRE_TRAILER:
    case WIRE_TRAILER_REST:
    case WIRE_TRAILER_END:
    case WIRE_BODY_END:
        read_trailer(wire, *bytes);
        break;
    case WIRE_BROKEN:
        return size;
    }
    return n;
}

void wire_feed(struct wire *wire, const char *bytes, size_t size)
{
    while (size > 0) {
        size_t n = feed_some(wire, bytes, size);
        bytes += n;
        size -= n;
    }
}

const char *wire_take_head(struct wire *wire, const struct head *head)
{
    size_t end = 0;
    if (wire->state == WIRE_HEAD) {
        const char *fault = head_check(head, wire->held, wire->held_size, &end);
        if (fault != NULL)
            fail(wire, fault);
    } else if (wire->state != WIRE_BROKEN) {
        fail(wire, "the request begins before the one before it ends");
    }
    if (wire->fault != NULL)
        return wire->fault;
    memmove(wire->held, wire->held + end, wire->held_size - end);
    wire->held_size -= end;
    return NULL;
}

void wire_expect_body(struct wire *wire, enum wire_body body, uint64_t size)
{
    if (wire->state != WIRE_HEAD)
        return;
    if (body == WIRE_BODY_CHUNKED) {
        begin_size(wire);
    } else if (size > 0) {
        wire->state = WIRE_BODY;
        wire->left = size;
    }
    /* What came with the head. */
    char *rest = wire->held;
    size_t rest_size = wire->held_size;
    wire->held = NULL;
    wire->held_size = wire->held_capacity = 0;
    wire_feed(wire, rest, rest_size);
    free(rest);
}

const char *wire_end_body(struct wire *wire)
{
    if (wire->state != WIRE_HEAD && wire->state != WIRE_BROKEN)
        fail(wire, "the body ends elsewhere than its length or its chunks say");
    return wire->fault;
}
