/* Codes are looked up for several literals at once: an entry has up to three of them and how many
 * bits they take. Each look-up waits for the one before it to know where it begins, which leaves
 * most of the processor idle. So some streams are decoded side by side: the first from where the
 * data was inflated up to, the others from places further on, taken at random. A wrong beginning
 * does no harm, as Huffman codes fall into step by themselves, mostly after a few dozen symbols
 * (Klein and Wiseman, Parallel Huffman decoding with applications to JPEG files, 2003). The first
 * stream, where it comes to the beginning of the next one, goes on symbol by symbol until it meets
 * a place at which that one has been, too: what was decoded from there on is right, and is taken.
 * A stream that is never met was decoded in vain.
 *
 * What is decoded ahead is put aside: literals, and matches as tokens, since what they repeat is
 * not there yet.
 *
 * Positions are bits of the staged input. The buffer goes on behind its valid bytes, so that
 * streams may run over the end; whether the first one did is asked before anything is given out.
 */
#include "engine/image/inflate_ahead.h"

#include <stddef.h>

#include "base/clones.h"

enum {
    FIRST_LENGTH = CODE_END_OF_BLOCK + 1,
    DISTANCES_USED = 30, /* codes; two more have no meaning */
};

_Static_assert(AHEAD_LOOKUPS *CODES_TABLE_BITS <= 57, "a step has its bits");

#define INLINE static inline __attribute__((always_inline)) /* into the clones */

struct stream {
    uint64_t position;
    uint8_t *out;
    struct ahead *ahead; /* NULL: the first stream, which writes to the window */
};

/* ---- symbols ---- */

/* Writes up to AHEAD_COPY - 1 bytes more. */
INLINE void copy_chunks(uint8_t *out, const uint8_t *from, size_t n)
{
    for (size_t i = 0; i < n; i += AHEAD_COPY)
        memcpy(out + i, from + i, AHEAD_COPY);
}

/* False: it reaches back too far. */
INLINE bool copy_match(const struct block *block, uint8_t **out, uint32_t length, uint32_t distance)
{
    uint8_t *to = *out;
    if (distance > (size_t)(to - block->window) || distance > block->window_size)
        return false;
    const uint8_t *from = to - distance;
    if (distance >= AHEAD_COPY)
        copy_chunks(to, from, length);
    else
        for (uint32_t i = 0; i < length; i++)
            to[i] = from[i];
    *out = to + length;
    return true;
}

/* `entry` was looked up for `bits`, which are from the stream's position on. */
static enum taken take_match(const struct block *block, struct stream *stream, uint64_t bits,
                             uint32_t entry)
{
    static const uint16_t lengths[] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
                                       15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
                                       67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t length_bits[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                          2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distances[] = {
        1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
        193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    const uint32_t index = (entry >> 4) - FIRST_LENGTH;
    if (index >= sizeof(length_bits))
        return TAKEN_NONE;
    uint32_t n = entry & 15;
    uint64_t rest = bits >> n;
    const uint32_t length = lengths[index] + (rest & ((1u << length_bits[index]) - 1));
    n += length_bits[index];
    rest >>= length_bits[index];
    uint32_t found = block->codes->distances[rest & CODES_TABLE_MASK];
    if (found == 0)
        found = code_find(&block->codes->distance_code, rest);
    const uint32_t code = found >> 4;
    if (found == 0 || code >= DISTANCES_USED)
        return TAKEN_NONE;
    const uint32_t distance_bits = code < 2 ? 0 : code / 2 - 1;
    n += (found & 15) + distance_bits;
    rest >>= found & 15;
    const uint32_t distance = distances[code] + (rest & ((1u << distance_bits) - 1));
    struct ahead *ahead = stream->ahead;
    if (ahead == NULL) {
        if (!copy_match(block, &stream->out, length, distance))
            return TAKEN_NONE;
    } else {
        if (ahead->n_tokens == AHEAD_TOKENS_MAX)
            return TAKEN_NONE;
        ahead->tokens[ahead->n_tokens++] =
            (struct token){.position = stream->position + n,
                           .offset = (uint32_t)(stream->out - ahead->literals),
                           .length = (uint16_t)length,
                           .distance = (uint16_t)(distance - 1)};
    }
    stream->position += n;
    return TAKEN;
}

/* The end of a block is taken by the first stream alone. */
static enum taken take_symbol(const struct block *block, struct stream *stream)
{
    const uint64_t bits = ahead_peek(block->staged, stream->position);
    uint32_t entry = block->codes->symbols[bits & CODES_TABLE_MASK];
    if (entry == 0)
        entry = code_find(&block->codes->symbol_code, bits);
    if (entry == 0)
        return TAKEN_NONE;
    const uint32_t symbol = entry >> 4;
    if (symbol > CODE_END_OF_BLOCK)
        return take_match(block, stream, bits, entry);
    if (symbol == CODE_END_OF_BLOCK && stream->ahead != NULL)
        return TAKEN_NONE;
    stream->position += entry & 15;
    if (symbol == CODE_END_OF_BLOCK)
        return TAKEN_END;
    *stream->out++ = (uint8_t)symbol;
    return TAKEN;
}

/* ---- streams ---- */

static void set_mark(const struct stream *stream, uint64_t position, const uint8_t *out)
{
    struct ahead *ahead = stream->ahead;
    ahead->marks[ahead->n_marks++] = (struct mark){
        .position = position,
        .offset = (uint32_t)(out - ahead->literals),
        .n_tokens = ahead->n_tokens,
    };
}

/* Decodes n streams until the first one is at `until` or has put out enough, or cannot go on. */
INLINE enum taken run(const struct block *block, struct stream *streams, size_t n, uint64_t until)
{
    const uint8_t *staged = block->staged;
    const uint32_t *literals = block->codes->literals;
    uint64_t positions[AHEAD_STREAMS];
    uint8_t *outs[AHEAD_STREAMS];
    uint32_t parked[AHEAD_STREAMS] = {0};
    for (size_t k = 0; k < n; k++) {
        positions[k] = streams[k].position;
        outs[k] = streams[k].out;
    }
    enum taken taken = TAKEN;
    for (uint32_t steps = 0; steps < AHEAD_STEPS_MAX; steps++) {
        uint32_t entries[AHEAD_STREAMS], stuck = 0;
        for (size_t k = 1; k < n && steps < AHEAD_MARKS; k++)
            set_mark(&streams[k], positions[k], outs[k]);
#pragma GCC unroll 8
        for (size_t k = 0; k < n; k++) {
            uint64_t bits = ahead_peek(staged, positions[k]);
            uint32_t entry = 0, sum = 0;
#pragma GCC unroll 8
            for (size_t i = 0; i < AHEAD_LOOKUPS; i++) {
                entry = literals[bits & CODES_TABLE_MASK];
                bits >>= le32toh(entry) >> 24 & 63;
                memcpy(outs[k] + (sum >> 6), &entry, sizeof(entry));
                sum += le32toh(entry) >> 24;
            }
            positions[k] += sum & 63;
            outs[k] += sum >> 6;
            entries[k] = entry;
            stuck |= (entry | parked[k]) == 0;
        }
        if (stuck != 0) {
#pragma GCC unroll 8
            for (size_t k = 0; k < n; k++) {
                if ((entries[k] | parked[k]) != 0)
                    continue;
                streams[k].position = positions[k];
                streams[k].out = outs[k];
                const enum taken one = take_symbol(block, &streams[k]);
                positions[k] = streams[k].position;
                outs[k] = streams[k].out;
                parked[k] = one != TAKEN;
                taken = k == 0 ? one : taken;
            }
            if (taken != TAKEN)
                break;
        }
        if (positions[0] >= until || outs[0] >= block->goal)
            break;
    }
    for (size_t k = 0; k < n; k++) {
        streams[k].position = positions[k];
        streams[k].out = outs[k];
    }
    return taken;
}

VECTOR_CLONES static enum taken run_all(const struct block *block, struct stream *streams,
                                        uint64_t until)
{
    return run(block, streams, AHEAD_STREAMS, until);
}

VECTOR_CLONES static enum taken run_first(const struct block *block, struct stream *stream,
                                          uint64_t until)
{
    return run(block, stream, 1, until);
}

/* The first stream takes what another one decoded from a place on at which both have been. */
static enum taken take_ahead(const struct block *block, struct stream *first,
                             const struct stream *other, const struct mark *mark)
{
    const struct ahead *ahead = other->ahead;
    uint32_t offset = mark->offset;
    for (uint32_t i = mark->n_tokens; i < ahead->n_tokens; i++) {
        const struct token *token = &ahead->tokens[i];
        copy_chunks(first->out, ahead->literals + offset, token->offset - offset);
        first->out += token->offset - offset;
        offset = token->offset;
        if (!copy_match(block, &first->out, token->length, token->distance + 1u))
            return TAKEN_NONE;
        first->position = token->position;
        if (first->out >= block->goal)
            return TAKEN;
    }
    const uint32_t end = (uint32_t)(other->out - ahead->literals);
    copy_chunks(first->out, ahead->literals + offset, end - offset);
    first->out += end - offset;
    first->position = other->position;
    return TAKEN;
}

/* Looks for such a place, symbol by symbol. */
static enum taken join(const struct block *block, struct stream *first, const struct stream *other)
{
    const struct mark *mark = other->ahead->marks, *end = mark + other->ahead->n_marks;
    while (first->out < block->goal) {
        while (mark < end && mark->position < first->position)
            mark++;
        if (mark == end)
            return TAKEN;
        if (mark->position == first->position)
            return take_ahead(block, first, other, mark);
        const enum taken taken = take_symbol(block, first);
        if (taken != TAKEN)
            return taken;
    }
    return TAKEN;
}

enum taken ahead_run(const struct block *block, uint64_t span, uint64_t *position, uint8_t **out)
{
    struct stream streams[AHEAD_STREAMS] = {{.position = *position, .out = *out}};
    struct stream *first = &streams[0];
    const uint64_t begin = *position;
    for (size_t k = 1; k < AHEAD_STREAMS; k++) {
        struct ahead *ahead = &block->ahead[k - 1];
        ahead->n_marks = ahead->n_tokens = 0;
        streams[k] = (struct stream){begin + k * span, ahead->literals, ahead};
    }
    enum taken taken = run_all(block, streams, begin + span);
    for (size_t k = 1; k < AHEAD_STREAMS && taken == TAKEN; k++) {
        if (first->position < begin + k * span)
            taken = run_first(block, first, begin + k * span);
        if (taken == TAKEN && first->position >= begin + k * span)
            taken = join(block, first, &streams[k]);
    }
    *position = first->position;
    *out = first->out;
    return taken;
}
