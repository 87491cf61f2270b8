/* Inflating what zlib deflated, in every way it knows, against zlib itself: the same bytes, and
 * nothing accepted that zlib refuses. */
#include "tests/test.h"

#include <zlib.h>

#include "engine/image/inflate.h"

enum { LARGE = 700000, SMALL = 3000 };

enum kind {
    KIND_NOISE,  /* as of a filtered micrograph */
    KIND_SKEWED, /* codes of all lengths, also those longer than a table's index */
    KIND_RANDOM, /* cannot be compressed */
    KIND_ZEROS,
    KIND_REPEATS, /* at all distances */
    KINDS,
};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void fill(enum kind kind, uint8_t *bytes, size_t n)
{
    uint32_t state = 5;
    for (size_t i = 0; i < n; i++) {
        const uint32_t x = next_random(&state);
        const size_t back = 1 + (x >> 4) % 32768;
        switch (kind) {
        case KIND_NOISE:
            bytes[i] = (uint8_t)(x % 7 + (x >> 3) % 7 + (x >> 6) % 7 - 9);
            break;
        case KIND_SKEWED:
            bytes[i] = (uint8_t)(__builtin_ctz(x | 1u << 20) * 12 + (x >> 21) % 3);
            break;
        case KIND_RANDOM:
            bytes[i] = (uint8_t)x;
            break;
        case KIND_ZEROS:
        case KINDS:
            bytes[i] = 0;
            break;
        case KIND_REPEATS:
            bytes[i] =
                i >= back && i % 100 > 10 ? bytes[i - 1 - (i / 100 * 37) % back] : (uint8_t)x;
            break;
        }
    }
}

struct deflated {
    uint8_t *data;
    size_t size;
};

static struct deflated deflate_bytes(const uint8_t *bytes, size_t n, int level, int strategy,
                                     int window_bits)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, window_bits, 8, strategy), Z_OK);
    struct deflated made = {.size = deflateBound(&stream, n)};
    made.data = malloc(made.size);
    assert_non_null(made.data);
    stream.next_in = (uint8_t *)(uintptr_t)bytes;
    stream.avail_in = (uInt)n;
    stream.next_out = made.data;
    stream.avail_out = (uInt)made.size;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    made.size = stream.total_out;
    deflateEnd(&stream);
    return made;
}

struct source {
    const uint8_t *data;
    size_t left;
    size_t piece_size;
};

/* Each piece in memory of its own, so that reading past its end is found. */
static bool give(void *context, const uint8_t **piece, size_t *size)
{
    struct source *source = context;
    if (source->left == 0)
        return false;
    *size = source->left < source->piece_size ? source->left : source->piece_size;
    *piece = source->data;
    source->data += *size;
    source->left -= *size;
    return true;
}

/* All n bytes, in blocks; false: not well-formed. */
static bool inflate_bytes(const struct deflated *deflated, size_t piece_size, size_t block_size,
                          uint8_t *out, size_t n)
{
    uint8_t *exact = malloc(deflated->size > 0 ? deflated->size : 1);
    assert_non_null(exact);
    memcpy(exact, deflated->data, deflated->size);
    struct source source = {exact, deflated->size, piece_size};
    struct inflater *inflater = inflater_create(block_size, give, &source);
    assert_non_null(inflater);
    bool good = true;
    for (size_t i = 0; i < n && good; i += block_size) {
        const size_t size = n - i < block_size ? n - i : block_size;
        const uint8_t *block = inflater_read(inflater, size);
        good = block != NULL;
        if (good)
            memcpy(out + i, block, size);
    }
    good = good && inflater_ends(inflater);
    inflater_destroy(inflater);
    free(exact);
    return good;
}

static void expect_same(const uint8_t *bytes, size_t n, const struct deflated *deflated,
                        size_t piece_size, size_t block_size)
{
    uint8_t *out = malloc(n + 1);
    assert_non_null(out);
    memset(out, 0xa5, n + 1);
    assert_true(inflate_bytes(deflated, piece_size, block_size, out, n));
    assert_memory_equal(out, bytes, n);
    free(out);
}

static void every_way_of_deflating_is_inflated(void **state)
{
    (void)state;
    static const int strategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE,
                                     Z_FIXED};
    uint8_t *bytes = malloc(LARGE);
    assert_non_null(bytes);
    for (int kind = 0; kind < KINDS; kind++) {
        fill((enum kind)kind, bytes, LARGE);
        for (size_t s = 0; s < sizeof(strategies) / sizeof(strategies[0]); s++) {
            for (int level = 0; level <= 9; level += 3) {
                struct deflated deflated = deflate_bytes(bytes, LARGE, level, strategies[s], 15);
                expect_same(bytes, LARGE, &deflated, 65536, 97376);
                free(deflated.data);
            }
        }
    }
    free(bytes);
}

static void pieces_blocks_and_windows_may_have_any_size(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 31, 1000, 33333, LARGE};
    uint8_t *bytes = malloc(LARGE);
    assert_non_null(bytes);
    for (int kind = 0; kind < KINDS; kind++) {
        fill((enum kind)kind, bytes, LARGE);
        for (int window_bits = 9; window_bits <= 15; window_bits += 3) {
            struct deflated deflated =
                deflate_bytes(bytes, LARGE, 6, Z_DEFAULT_STRATEGY, window_bits);
            for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                expect_same(bytes, LARGE, &deflated, sizes[i], 5000);
                expect_same(bytes, LARGE, &deflated, 10000, sizes[i] < 31 ? 31 : sizes[i]);
            }
            free(deflated.data);
        }
    }
    for (size_t n = 0; n < 70; n++) {
        struct deflated deflated = deflate_bytes(bytes, n, 6, Z_DEFAULT_STRATEGY, 15);
        expect_same(bytes, n, &deflated, 3, 7);
        free(deflated.data);
    }
    free(bytes);
}

/* Both accept n bytes, and the same ones, or both refuse. */
static bool compare(const struct deflated *deflated, size_t n)
{
    uint8_t *found = malloc(n), *expected = malloc(n + 1);
    assert_true(found != NULL && expected != NULL);
    uLongf size = n + 1;
    uLong used = deflated->size;
    const bool is_right = uncompress2(expected, &size, deflated->data, &used) == Z_OK &&
                          size == n && used == deflated->size;
    assert_true(inflate_bytes(deflated, 1000, 777, found, n) == is_right);
    if (is_right)
        assert_memory_equal(found, expected, n);
    free(found);
    free(expected);
    return is_right;
}

static void damage_is_found_as_by_zlib(void **state)
{
    (void)state;
    uint8_t bytes[SMALL];
    for (int kind = 0; kind < KINDS; kind++) {
        for (int level = 0; level <= 6; level += 6) {
            fill((enum kind)kind, bytes, SMALL);
            struct deflated deflated = deflate_bytes(bytes, SMALL, level, Z_DEFAULT_STRATEGY, 15);
            assert_true(compare(&deflated, SMALL));
            for (size_t i = 0; i < deflated.size; i++) {
                const uint8_t change = (uint8_t)(1u << i % 8);
                deflated.data[i] ^= change;
                compare(&deflated, SMALL);
                deflated.data[i] ^= change;
            }
            const size_t size = deflated.size;
            for (deflated.size = 0; deflated.size < size; deflated.size += 1 + deflated.size / 9)
                compare(&deflated, SMALL);
            free(deflated.data);
        }
    }
}

/* The checksum is put right, so that it is the data that must be judged. */
static void damage_behind_a_right_checksum_is_judged_as_by_zlib(void **state)
{
    (void)state;
    enum { TRIALS = 3000 };
    uint8_t bytes[SMALL], *out = malloc(4 * SMALL);
    uint32_t random = 3, n_taken = 0;
    assert_non_null(out);
    fill(KIND_SKEWED, bytes, SMALL);
    struct deflated deflated = deflate_bytes(bytes, SMALL, 6, Z_DEFAULT_STRATEGY, 15);
    struct deflated changed = {malloc(deflated.size), deflated.size};
    assert_non_null(changed.data);
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        memcpy(changed.data, deflated.data, deflated.size);
        /* Half of the changes within the lengths of the codes. */
        const size_t range = trial % 2 == 0 ? 60 : deflated.size - 6;
        changed.data[2 + next_random(&random) % range] ^= (uint8_t)(1u << random % 8);
        z_stream stream = {.next_in = changed.data, .avail_in = (uInt)changed.size - 4};
        stream.next_out = out;
        stream.avail_out = 4 * SMALL;
        assert_int_equal(inflateInit(&stream), Z_OK);
        const int rc = inflate(&stream, Z_SYNC_FLUSH);
        const size_t n = stream.total_out;
        /* All of the data was read, and the checksum is awaited. */
        const bool is_whole = rc == Z_OK && stream.avail_in == 0 && stream.avail_out > 0 && n > 0;
        inflateEnd(&stream);
        if (!is_whole)
            continue;
        const uint32_t adler = (uint32_t)adler32(1, out, (uInt)n);
        for (int i = 0; i < 4; i++)
            changed.data[changed.size - 4 + (size_t)i] = (uint8_t)(adler >> (24 - 8 * i));
        uint8_t *found = malloc(n);
        assert_non_null(found);
        uint8_t *whole = malloc(4 * SMALL);
        assert_non_null(whole);
        uLongf whole_size = 4 * SMALL;
        const bool is_taken = uncompress(whole, &whole_size, changed.data, changed.size) == Z_OK;
        const bool is_found = inflate_bytes(&changed, 100, 500, found, n);
        n_taken += is_taken ? 1 : 0;
        assert_true(is_found == is_taken);
        if (is_found) {
            assert_int_equal(whole_size, n);
            assert_memory_equal(found, whole, n);
        }
        free(whole);
        free(found);
    }
    assert_true(n_taken > 100);
    free(changed.data);
    free(deflated.data);
    free(out);
}

static void headers_are_checked(void **state)
{
    (void)state;
    uint8_t bytes[SMALL], out[SMALL];
    fill(KIND_NOISE, bytes, SMALL);
    struct deflated deflated = deflate_bytes(bytes, SMALL, 6, Z_DEFAULT_STRATEGY, 15);
    for (uint32_t header = 0; header < 1 << 16; header++) {
        deflated.data[0] = (uint8_t)(header >> 8);
        deflated.data[1] = (uint8_t)header;
        if (!inflate_bytes(&deflated, 1000, 1000, out, SMALL))
            continue;
        uLongf size = SMALL;
        assert_int_equal(uncompress(out, &size, deflated.data, deflated.size), Z_OK);
    }
    free(deflated.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_of_deflating_is_inflated),
        cmocka_unit_test(pieces_blocks_and_windows_may_have_any_size),
        cmocka_unit_test(damage_is_found_as_by_zlib),
        cmocka_unit_test(damage_behind_a_right_checksum_is_judged_as_by_zlib),
        cmocka_unit_test(headers_are_checked),
    };
    return test_run(tests);
}
