#include "engine/image/inflate_codes.h"

#include <endian.h>
#include <string.h>

bool code_make(struct code *code, const uint8_t *lengths, uint32_t n, bool may_be_one)
{
    uint16_t offsets[CODE_BITS_MAX + 2] = {0};
    int32_t n_left = 1;
    memset(code->counts, 0, sizeof(code->counts));
    for (uint32_t i = 0; i < n; i++)
        code->counts[lengths[i]]++;
    const uint32_t n_codes = n - code->counts[0];
    code->counts[0] = 0;
    for (uint32_t length = 1; length <= CODE_BITS_MAX; length++) {
        n_left = 2 * n_left - code->counts[length];
        if (n_left < 0)
            return false;
        offsets[length + 1] = (uint16_t)(offsets[length] + code->counts[length]);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (lengths[i] > 0)
            code->symbols[offsets[lengths[i]]++] = (uint16_t)i;
    }
    return n_left == 0 || (may_be_one && (n_codes == 0 || (n_codes == 1 && code->counts[1] == 1)));
}

/* Codes are stored from their first bit on, so the next one of a length is found by adding at the
 * other end. */
static uint32_t next_reversed(uint32_t code, uint32_t length)
{
    uint32_t bit = UINT32_C(1) << (length - 1);
    while (code & bit)
        bit >>= 1;
    return bit == 0 ? 0 : (code & (bit - 1)) | bit;
}

/* The table of a length's codes is that of the shorter ones twice, and these codes. */
static void make_table(const struct code *code, uint32_t table_bits, uint16_t *table)
{
    const uint16_t *symbol = code->symbols;
    uint32_t reversed = 0;
    table[0] = 0;
    for (uint32_t length = 1; length <= table_bits; length++) {
        const size_t half = (size_t)1 << (length - 1);
        memcpy(table + half, table, half * sizeof(table[0]));
        for (uint32_t i = 0; i < code->counts[length]; i++) {
            table[reversed] = (uint16_t)(*symbol++ << 4 | length);
            reversed = next_reversed(reversed, length);
        }
    }
}

/* What may follow a literal whose code leaves n of the index's bits: up to two more, as what they
 * add to its entry. */
static void make_followers(const uint16_t *symbols, uint32_t n, uint32_t *followers)
{
    for (uint32_t i = 0; i < UINT32_C(1) << n; i++) {
        const uint32_t first = symbols[i], n_first = first & 15;
        const uint32_t second = symbols[i >> n_first], n_both = n_first + (second & 15);
        const bool is_one = first != 0 && n_first <= n && first >> 4 < CODE_END_OF_BLOCK;
        const bool is_two = is_one && second != 0 && n_both <= n && second >> 4 < CODE_END_OF_BLOCK;
        const uint32_t one = (1 << 6 | n_first) << 24 | first >> 4 << 8;
        const uint32_t two = (2 << 6 | n_both) << 24 | second >> 4 << 16 | first >> 4 << 8;
        followers[i] = is_two ? two : is_one ? one : 0;
    }
}

static void make_literals(struct codes *codes)
{
    const struct code *code = &codes->symbol_code;
    const uint16_t *symbol = code->symbols;
    uint32_t *literals = codes->literals, followers[CODES_TABLE_SIZE / 2], reversed = 0;
    memset(literals, 0, sizeof(codes->literals));
    for (uint32_t length = 1; length <= CODES_TABLE_BITS; length++) {
        const uint32_t n_left = CODES_TABLE_BITS - length;
        if (code->counts[length] > 0)
            make_followers(codes->symbols, n_left, followers);
        for (uint32_t i = 0; i < code->counts[length]; i++, symbol++) {
            const uint32_t entry = (1 << 6 | length) << 24 | *symbol;
            for (uint32_t k = 0; *symbol < CODE_END_OF_BLOCK && k < UINT32_C(1) << n_left; k++)
                literals[reversed | k << length] = htole32(entry + followers[k]);
            reversed = next_reversed(reversed, length);
        }
    }
}

uint32_t code_find(const struct code *code, uint64_t bits)
{
    uint32_t value = 0, first = 0, index = 0;
    for (uint32_t length = 1; length <= CODE_BITS_MAX; length++, bits >>= 1) {
        value |= bits & 1;
        const uint32_t count = code->counts[length];
        if (value - first < count)
            return (uint32_t)code->symbols[index + value - first] << 4 | length;
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    return 0;
}

bool codes_make(struct codes *codes, const uint8_t *lengths, uint32_t n_symbols,
                uint32_t n_distances)
{
    if (lengths[CODE_END_OF_BLOCK] == 0 ||
        !code_make(&codes->symbol_code, lengths, n_symbols, true) ||
        !code_make(&codes->distance_code, lengths + n_symbols, n_distances, true))
        return false;
    make_table(&codes->symbol_code, CODES_TABLE_BITS, codes->symbols);
    make_table(&codes->distance_code, CODES_TABLE_BITS, codes->distances);
    make_literals(codes);
    return true;
}
