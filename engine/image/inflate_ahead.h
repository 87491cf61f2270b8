/* The symbols of a deflated block (RFC 1951, 3.2.3), decoded at several places at once. Internal to
 * engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_INFLATE_AHEAD_H
#define CHIPSHOT_ENGINE_IMAGE_INFLATE_AHEAD_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "engine/image/inflate_codes.h"

enum {
    AHEAD_STREAMS = 3,
    AHEAD_SPAN_MAX = 32 * 1024, /* bits between the beginnings of two streams */
    AHEAD_SPAN_MIN = 4 * 1024,

    AHEAD_LOOKUPS = 4, /* of a step, which begins with 57 bits */
    /* At most, with a symbol that is not in the table. */
    AHEAD_STEP_BITS = 48 + AHEAD_LOOKUPS * CODES_TABLE_BITS,
    AHEAD_STEP_LITERALS = AHEAD_LOOKUPS * 3 + 1,
    AHEAD_STEPS_MAX = AHEAD_SPAN_MAX / 24, /* of noise a step takes 40 bits */
    AHEAD_LITERALS_MAX = AHEAD_STEPS_MAX * AHEAD_STEP_LITERALS,
    AHEAD_MARKS = 32, /* steps whose beginnings are remembered */
    AHEAD_TOKENS_MAX = 512,
    AHEAD_COPY = 32, /* bytes that are copied at once */
    AHEAD_MATCH_MAX = 258,

    /* Bytes of input that are looked at, and those that may be put out behind the goal. */
    AHEAD_REACH = (AHEAD_STREAMS * AHEAD_SPAN_MAX + AHEAD_STEPS_MAX * AHEAD_STEP_BITS) / 8 + 64,
    AHEAD_SLACK = AHEAD_LITERALS_MAX + AHEAD_MATCH_MAX + 2 * AHEAD_COPY,
};

/* A match that waits for what it repeats. */
struct token {
    uint64_t position;         /* behind it */
    uint32_t offset;           /* literals before it */
    uint16_t length, distance; /* distance - 1 */
};

/* Where a stream was before a step. */
struct mark {
    uint64_t position;
    uint32_t offset; /* literals before it */
    uint32_t n_tokens;
};

/* What a stream has decoded ahead. */
struct ahead {
    uint32_t n_marks, n_tokens;
    struct mark marks[AHEAD_MARKS];
    struct token tokens[AHEAD_TOKENS_MAX];
    uint8_t literals[AHEAD_LITERALS_MAX + AHEAD_COPY];
};

/* What is decoded, and where to; all borrowed. */
struct block {
    const struct codes *codes;
    const uint8_t *staged; /* AHEAD_REACH bytes can be read from where decoding begins */
    const uint8_t *window; /* matches reach back to here, and no further than window_size */
    uint32_t window_size;
    const uint8_t *goal; /* enough is put out here; behind it are AHEAD_SLACK bytes */
    struct ahead *ahead; /* AHEAD_STREAMS - 1 */
};

enum taken {
    TAKEN,      /* there is more */
    TAKEN_END,  /* the block has ended */
    TAKEN_NONE, /* what comes is no code, or a match that reaches back too far */
};

/* Decodes about AHEAD_STREAMS spans of that many bits, or until the goal. Both positions (in bits
 * of `staged`, and in the window) are moved on. */
enum taken ahead_run(const struct block *block, uint64_t span, uint64_t *position, uint8_t **out);

/* At least 57 bits from a position on. */
static inline uint64_t ahead_peek(const uint8_t *staged, uint64_t position)
{
    uint64_t bits;
    memcpy(&bits, staged + (position >> 3), sizeof(bits));
    return le64toh(bits) >> (position & 7);
}

#endif
