/* Input is staged in a buffer, so that decoding meets no end of a piece. The buffer goes on behind
 * its valid bytes: decoding looks ahead, and may run over the end; whether it did is asked before
 * anything is given out. Output goes to a window, which is moved on when it is full: the last
 * 32 KiB stay, since matches repeat them.
 */
#include "engine/image/inflate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/give_way.h"
#include "engine/image/inflate_ahead.h"
#include "engine/image/inflate_codes.h"

enum {
    SYMBOLS_LEAST = 257, /* codes of a block */
    SYMBOLS_USED = 286,  /* two more have no meaning */
    DISTANCES_USED = 30,
    LENGTH_CODES = 19, /* of the code that the lengths of codes are in */
    HISTORY = 1 << 15, /* bytes that matches reach back */
    STAGED = 128 * 1024,
    ADLER_LANES = 64,
    ADLER_ROWS = 4096, /* so that sums keep within 32 bits */
};

_Static_assert(STAGED > 2 * AHEAD_REACH, "input is moved seldom");

enum state { STATE_BLOCK, STATE_STORED, STATE_CODES, STATE_END, STATE_BAD };

struct inflater {
    inflate_feed feed;
    void *context;
    enum state state;
    bool is_last; /* the block */
    uint32_t window_size;
    uint32_t adler;
    size_t n_stored;      /* bytes left of a stored block */
    uint64_t n_bits;      /* of the block so far */
    uint64_t n_expected;  /* that it may have: as many as the block before */
    uint64_t position;    /* in `staged` */
    size_t n_staged;      /* valid bytes */
    const uint8_t *piece; /* not yet staged */
    size_t piece_size;
    bool is_fed; /* there are no more pieces */
    size_t window_capacity;
    uint8_t *window; /* history and what was inflated */
    uint8_t *next;   /* in `window`: not given out yet */
    uint8_t *end;
    const uint8_t *goal; /* enough is inflated here */
    struct codes codes;
    struct ahead ahead[AHEAD_STREAMS - 1];
    uint8_t staged[STAGED + AHEAD_REACH];
};

/* ---- input ---- */

static uint32_t take_bits(struct inflater *inflater, uint32_t n)
{
    const uint64_t bits = ahead_peek(inflater->staged, inflater->position);
    inflater->position += n;
    return (uint32_t)(bits & ((UINT64_C(1) << n) - 1));
}

static bool is_overrun(const struct inflater *inflater)
{
    return inflater->position > (uint64_t)inflater->n_staged * 8;
}

/* Makes sure that all that may be looked at is there, as far as the stream goes. */
static void stage(struct inflater *inflater)
{
    const size_t done = (size_t)(inflater->position / 8);
    if (inflater->n_staged - done >= AHEAD_REACH || (inflater->is_fed && inflater->piece_size == 0))
        return;
    inflater->n_staged -= done;
    inflater->position -= done * 8;
    memmove(inflater->staged, inflater->staged + done, inflater->n_staged);
    while (inflater->n_staged < STAGED) {
        if (inflater->piece_size == 0 && !inflater->is_fed)
            inflater->is_fed =
                !inflater->feed(inflater->context, &inflater->piece, &inflater->piece_size);
        if (inflater->is_fed)
            return;
        const size_t room = STAGED - inflater->n_staged;
        const size_t n = inflater->piece_size < room ? inflater->piece_size : room;
        memcpy(inflater->staged + inflater->n_staged, inflater->piece, n);
        inflater->n_staged += n;
        inflater->piece += n;
        inflater->piece_size -= n;
    }
}

/* ---- blocks ---- */

/* Reads the lengths of n codes (RFC 1951, 3.2.7). */
static bool read_lengths(struct inflater *inflater, uint32_t n, uint8_t *lengths)
{
    static const uint8_t order[LENGTH_CODES] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                11, 4,  12, 3, 13, 2, 14, 1, 15};
    uint8_t own[LENGTH_CODES] = {0};
    struct code code;
    const uint32_t n_own = take_bits(inflater, 4) + 4;
    for (uint32_t i = 0; i < n_own; i++)
        own[order[i]] = (uint8_t)take_bits(inflater, 3);
    if (!code_make(&code, own, LENGTH_CODES, false))
        return false;
    for (uint32_t i = 0; i < n;) {
        const uint32_t entry = code_find(&code, ahead_peek(inflater->staged, inflater->position));
        const uint32_t symbol = entry >> 4;
        uint32_t n_times = 1;
        inflater->position += entry & 15;
        if (entry == 0 || (symbol == 16 && i == 0))
            return false;
        const uint8_t length = (uint8_t)(symbol < 16 ? symbol : symbol == 16 ? lengths[i - 1] : 0);
        if (symbol == 16)
            n_times = take_bits(inflater, 2) + 3;
        else if (symbol == 17)
            n_times = take_bits(inflater, 3) + 3;
        else if (symbol == 18)
            n_times = take_bits(inflater, 7) + 11;
        if (n_times > n - i)
            return false;
        memset(lengths + i, length, n_times);
        i += n_times;
    }
    return true;
}

static bool begin_fixed(struct inflater *inflater)
{
    uint8_t lengths[CODE_SYMBOLS_MAX + CODE_DISTANCES_MAX];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    memset(lengths + CODE_SYMBOLS_MAX, 5, CODE_DISTANCES_MAX);
    return codes_make(&inflater->codes, lengths, CODE_SYMBOLS_MAX, CODE_DISTANCES_MAX);
}

static bool begin_dynamic(struct inflater *inflater)
{
    uint8_t lengths[CODE_SYMBOLS_MAX + CODE_DISTANCES_MAX] = {0};
    const uint32_t n_symbols = take_bits(inflater, 5) + SYMBOLS_LEAST;
    const uint32_t n_distances = take_bits(inflater, 5) + 1;
    return n_symbols <= SYMBOLS_USED && n_distances <= DISTANCES_USED &&
           read_lengths(inflater, n_symbols + n_distances, lengths) &&
           codes_make(&inflater->codes, lengths, n_symbols, n_distances);
}

static bool begin_stored(struct inflater *inflater)
{
    inflater->position = (inflater->position + 7) / 8 * 8;
    const uint32_t n = take_bits(inflater, 16), complement = take_bits(inflater, 16);
    inflater->n_stored = n;
    return (n ^ complement) == 0xffff;
}

static enum state begin_block(struct inflater *inflater)
{
    inflater->is_last = take_bits(inflater, 1) == 1;
    inflater->n_expected = inflater->n_bits;
    inflater->n_bits = 0;
    switch (take_bits(inflater, 2)) {
    case 0:
        return begin_stored(inflater) ? STATE_STORED : STATE_BAD;
    case 1:
        return begin_fixed(inflater) ? STATE_CODES : STATE_BAD;
    case 2:
        return begin_dynamic(inflater) ? STATE_CODES : STATE_BAD;
    }
    return STATE_BAD;
}

static enum state end_block(const struct inflater *inflater)
{
    return inflater->is_last ? STATE_END : STATE_BLOCK;
}

static enum state copy_stored(struct inflater *inflater)
{
    const size_t begin = (size_t)(inflater->position / 8);
    size_t n = (size_t)(inflater->goal - inflater->end);
    n = inflater->n_stored < n ? inflater->n_stored : n;
    n = inflater->n_staged - begin < n ? inflater->n_staged - begin : n;
    if (n == 0 && inflater->n_stored > 0)
        return STATE_BAD; /* the input has ended */
    memcpy(inflater->end, inflater->staged + begin, n);
    inflater->end += n;
    inflater->position += n * 8;
    inflater->n_stored -= n;
    return inflater->n_stored > 0 ? STATE_STORED : end_block(inflater);
}

/* So that all streams together reach the block's end, if it is as long as the one before. */
static uint64_t choose_span(const struct inflater *inflater)
{
    const uint64_t left =
        inflater->n_expected > inflater->n_bits ? inflater->n_expected - inflater->n_bits : 0;
    const uint64_t n_rounds = left / (AHEAD_STREAMS * AHEAD_SPAN_MAX) + 1;
    const uint64_t span = left / (AHEAD_STREAMS * n_rounds) + AHEAD_SPAN_MIN / 8;
    if (span > AHEAD_SPAN_MAX)
        return AHEAD_SPAN_MAX;
    return span < AHEAD_SPAN_MIN ? AHEAD_SPAN_MIN : span;
}

static enum state inflate_codes(struct inflater *inflater)
{
    const struct block block = {.codes = &inflater->codes,
                                .staged = inflater->staged,
                                .window = inflater->window,
                                .window_size = inflater->window_size,
                                .goal = inflater->goal,
                                .ahead = inflater->ahead};
    const uint64_t begin = inflater->position;
    const enum taken taken =
        ahead_run(&block, choose_span(inflater), &inflater->position, &inflater->end);
    inflater->n_bits += inflater->position - begin;
    if (taken == TAKEN_NONE)
        return STATE_BAD;
    return taken == TAKEN_END ? end_block(inflater) : STATE_CODES;
}

/* ---- checksum ---- */

/* Of whole rows of ADLER_LANES bytes: the sum of each lane, and the sum of what that was before
 * each row. */
VECTOR_CLONES static void sum_rows(const uint8_t *data, size_t n_rows, uint32_t *restrict sums,
                                   uint32_t *restrict sums_before)
{
    uint32_t a[ADLER_LANES] = {0}, b[ADLER_LANES] = {0};
    for (size_t i = 0; i < n_rows; i++, data += ADLER_LANES) {
        for (size_t k = 0; k < ADLER_LANES; k++) {
            b[k] += a[k];
            a[k] += data[k];
        }
    }
    memcpy(sums, a, sizeof(a));
    memcpy(sums_before, b, sizeof(b));
}

/* RFC 1950, 8.2. */
static uint32_t add_to_adler(uint32_t adler, const uint8_t *data, size_t n)
{
    uint64_t a = adler & 0xffff, b = adler >> 16;
    while (n >= ADLER_LANES) {
        uint32_t sums[ADLER_LANES], sums_before[ADLER_LANES];
        const size_t n_rows = n / ADLER_LANES < ADLER_ROWS ? n / ADLER_LANES : ADLER_ROWS;
        sum_rows(data, n_rows, sums, sums_before);
        b += a * n_rows * ADLER_LANES;
        for (uint64_t k = 0; k < ADLER_LANES; k++) {
            a += sums[k];
            b += ((uint64_t)sums_before[k] + sums[k]) * ADLER_LANES - k * sums[k];
        }
        a %= 65521;
        b %= 65521;
        data += n_rows * ADLER_LANES;
        n -= n_rows * ADLER_LANES;
    }
    for (size_t i = 0; i < n; i++) {
        a += data[i];
        b += a;
    }
    return (uint32_t)(b % 65521 << 16 | a % 65521);
}

/* ---- the whole stream ---- */

struct inflater *inflater_create(size_t block_size, inflate_feed feed, void *context)
{
    if (block_size > SIZE_MAX / 4)
        return NULL;
    struct inflater *inflater = calloc(1, sizeof(*inflater));
    const size_t capacity = HISTORY + block_size + AHEAD_SLACK;
    uint8_t *window = malloc(capacity);
    if (inflater == NULL || window == NULL) {
        free(inflater);
        free(window);
        return NULL;
    }
    inflater->feed = feed;
    inflater->context = context;
    inflater->adler = 1;
    inflater->window_capacity = capacity;
    inflater->window = inflater->next = inflater->end = window;
    stage(inflater);
    const uint32_t method = take_bits(inflater, 8), flags = take_bits(inflater, 8);
    const bool is_zlib = (method & 15) == 8 && method >> 4 <= 7 && (flags & 0x20) == 0 &&
                         (method << 8 | flags) % 31 == 0 && !is_overrun(inflater);
    inflater->window_size = UINT32_C(1) << (8 + (method >> 4));
    inflater->state = is_zlib ? STATE_BLOCK : STATE_BAD;
    return inflater;
}

void inflater_destroy(struct inflater *inflater)
{
    if (inflater == NULL)
        return;
    free(inflater->window);
    free(inflater);
}

static void advance(struct inflater *inflater)
{
    stage(inflater);
    switch (inflater->state) {
    case STATE_BLOCK:
        inflater->state = begin_block(inflater);
        break;
    case STATE_STORED:
        inflater->state = copy_stored(inflater);
        break;
    case STATE_CODES:
        inflater->state = inflate_codes(inflater);
        break;
    case STATE_END:
    case STATE_BAD:
        break;
    }
    if (is_overrun(inflater))
        inflater->state = STATE_BAD;
}

/* Makes room for `size` bytes from `next` on. */
static void make_room(struct inflater *inflater, size_t size)
{
    const size_t begin = (size_t)(inflater->next - inflater->window);
    if (begin + size + AHEAD_SLACK <= inflater->window_capacity)
        return;
    const size_t shift = begin > HISTORY ? begin - HISTORY : 0;
    memmove(inflater->window, inflater->window + shift,
            (size_t)(inflater->end - inflater->window) - shift);
    inflater->next -= shift;
    inflater->end -= shift;
}

static bool is_over(const struct inflater *inflater)
{
    return inflater->state == STATE_END || inflater->state == STATE_BAD;
}

const uint8_t *inflater_read(struct inflater *inflater, size_t size)
{
    make_room(inflater, size);
    assert((size_t)(inflater->next - inflater->window) + size + AHEAD_SLACK <=
           inflater->window_capacity);
    inflater->goal = inflater->next + size;
    while (inflater->end < inflater->goal && !is_over(inflater)) {
        advance(inflater);
        give_way();
    }
    if (inflater->state == STATE_BAD || inflater->end < inflater->goal)
        return NULL;
    const uint8_t *bytes = inflater->next;
    inflater->next += size;
    inflater->adler = add_to_adler(inflater->adler, bytes, size);
    return bytes;
}

bool inflater_ends(struct inflater *inflater)
{
    /* One byte more would be too much. */
    make_room(inflater, 1);
    inflater->goal = inflater->next + 1;
    while (inflater->end < inflater->goal && !is_over(inflater))
        advance(inflater);
    if (inflater->state != STATE_END || inflater->end != inflater->next)
        return false;
    stage(inflater);
    inflater->position = (inflater->position + 7) / 8 * 8;
    uint32_t adler = 0;
    for (int i = 0; i < 4; i++)
        adler = adler << 8 | take_bits(inflater, 8);
    return adler == inflater->adler && inflater->position == (uint64_t)inflater->n_staged * 8 &&
           inflater->piece_size == 0;
}
