/* The Huffman codes of a deflated block (RFC 1951, 3.2) as tables. Internal to engine/image. */
#ifndef CHIPSHOT_ENGINE_IMAGE_INFLATE_CODES_H
#define CHIPSHOT_ENGINE_IMAGE_INFLATE_CODES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CODES_TABLE_BITS = 12, /* of the codes that are looked up; longer ones are rare */
    CODES_TABLE_SIZE = 1 << CODES_TABLE_BITS,
    CODES_TABLE_MASK = CODES_TABLE_SIZE - 1,
    CODE_BITS_MAX = 15,
    CODE_SYMBOLS_MAX = 288,
    CODE_DISTANCES_MAX = 32,
    CODE_END_OF_BLOCK = 256, /* symbols below are literals, those above are lengths of matches */
};

/* A canonical code: how many codes of each length there are, and the symbols in their order. */
struct code {
    uint16_t counts[CODE_BITS_MAX + 1];
    uint16_t symbols[CODE_SYMBOLS_MAX];
};

/* Indexed by the bits to come. A symbol's entry is symbol << 4 | length; 0: a longer code, or none.
 * An entry of literals (little-endian) has up to three of them in its first bytes, and in the last
 * one the bits that they take and above the lower six of these how many there are; 0: no literal,
 * or a longer code. */
struct codes {
    uint32_t literals[CODES_TABLE_SIZE];
    uint16_t symbols[CODES_TABLE_SIZE];
    uint16_t distances[CODES_TABLE_SIZE];
    struct code symbol_code;
    struct code distance_code;
};

/* A code from the lengths of n symbols' codes (0: it has none). False: there are more than fit, or
 * fewer, but for a single code of one bit where that is allowed, or none. */
bool code_make(struct code *code, const uint8_t *lengths, uint32_t n, bool may_be_one);
/* The entry of the code that the bits begin with; 0: there is none. */
uint32_t code_find(const struct code *code, uint64_t bits);

/* The codes of a block, from the lengths of n_symbols codes and behind them n_distances. */
bool codes_make(struct codes *codes, const uint8_t *lengths, uint32_t n_symbols,
                uint32_t n_distances);

#endif
