/* The bytes that a connection received, beside the HTTP library, and where its requests begin and
 * end among them.
 *
 * libmicrohttpd keeps no copy of what it parses and takes more than RFC 9112 allows: heads
 * (head_check.h) and, in chunked bodies, lines that end in a bare LF, which is enough to make two
 * readers disagree on where the next request begins. So whatever is received is fed here first. A
 * head waits until the library has read it too, and is compared; the bytes of a body are counted,
 * or its chunks read strictly; and what comes behind is the next head. Once anything is wrong the
 * connection is good for one refusal only.
 *
 * Memory: what has come of heads, at most WIRE_MAX_HELD, freed when there is none.
 * Used by one thread at a time, the one that reads the connection.
 */
#ifndef CHIPSHOT_SERVER_WIRE_H
#define CHIPSHOT_SERVER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "server/http/head_check.h"

enum {
    WIRE_MAX_HELD = 256 * 1024,   /* above what the library holds of a connection */
    WIRE_MAX_CHUNK_LINE = 1024,   /* a chunk's size with its extension */
    WIRE_MAX_TRAILERS = 8 * 1024, /* all trailers of a body */
    WIRE_MAX_CHUNK_SIZE_DIGITS = 16,
};

enum wire_state {
    WIRE_HEAD,      /* bytes are kept until wire_take_head */
    WIRE_BODY,      /* `left` bytes by Content-Length */
    WIRE_SIZE,      /* of a chunk: digits */
    WIRE_EXTENSION, /* behind them */
    WIRE_SIZE_END,  /* LF */
    WIRE_DATA,      /* `left` bytes of a chunk */
    WIRE_DATA_CR,   /* behind them */
    WIRE_DATA_LF,
    WIRE_TRAILER, /* the first byte of a line */
    WIRE_TRAILER_REST,
    WIRE_TRAILER_END, /* LF of a trailer */
    WIRE_BODY_END,    /* LF of the empty line */
    WIRE_BROKEN,      /* see `fault` */
};

/* Zeroed: nothing has come yet. */
struct wire {
    enum wire_state state;
    const char *fault; /* static; NULL while all is well */
    char *held;        /* owned */
    size_t held_size;
    size_t held_capacity;
    uint64_t left;
    uint32_t n_digits;  /* of the chunk's size */
    uint32_t line_size; /* of the line of a chunk's size, or of all trailers */
};

void wire_clear(struct wire *wire);

/* More has come. */
void wire_feed(struct wire *wire, const char *bytes, size_t size);

/* The library has read a head: NULL when it is the next one here, else why not, in one line. */
const char *wire_take_head(struct wire *wire, const struct head *head);

enum wire_body {
    WIRE_BODY_COUNTED, /* `size` bytes, 0 for none */
    WIRE_BODY_CHUNKED,
};

/* After wire_take_head: what follows the head, before the next one. */
void wire_expect_body(struct wire *wire, enum wire_body body, uint64_t size);

/* The library has read the body to its end: NULL when it ends here too, else why not, the same
 * however often it is asked before the next head is taken. */
const char *wire_end_body(struct wire *wire);

#endif
