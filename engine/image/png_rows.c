/* Rows are inflated a block at a time and unfiltered from there into their place (W3C PNG
 * Specification, 9. Filtering). ISA-L inflates: as a stream, like zlib, but over twice as fast. A
 * Paeth byte waits for its left neighbour; so sixteen Paeth rows are undone at once, each row one
 * pixel behind the one above it: then all that a step needs of the row above was made by the step
 * before. A block is four times sixteen rows.
 */
#include "engine/image/png_rows.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/give_way.h"
#include "engine/image/png_chunks.h"
#include "engine/image/source.h"

enum {
    LANES = 16,
    RUNS = 4,
    WIDTH_MIN = (2 * RUNS + 1) * LANES,
    BLOCK_ROWS = SOURCE_BLOCK_ROWS,
    PART_SIZE = 1 << 16, /* of the image data, after which the guard is asked */
    FILTER_NONE = 0,
    FILTER_SUB = 1,
    FILTER_UP = 2,
    FILTER_AVERAGE = 3,
    FILTER_PAETH = 4,
};

_Static_assert(BLOCK_ROWS == RUNS * LANES, "groups of rows follow each other");

typedef uint8_t bytes __attribute__((vector_size(LANES)));

struct png_rows {
    const uint8_t *data;
    size_t size;
    size_t next;          /* where the next chunk begins */
    bool fed;             /* there was image data */
    uint32_t n_unfed;     /* bytes of an IDAT chunk that follow what the stream has */
    uint64_t n_data_left; /* bytes that the image data may still have */
    struct decode_guard *guard;
    size_t row_size;
    uint32_t sample_size;
    uint32_t height;
    uint32_t n_rows; /* that were read */
    uint8_t *block;  /* BLOCK_ROWS filtered rows, each behind the byte that names its filter */
    uint8_t *above;  /* the last row that was read, as in the file; zeros before the first */
    struct inflate_state stream;
};

/* ---- chunks ---- */

static bool next_chunk(struct png_rows *rows, struct png_chunk *chunk)
{
    return png_chunk_next(rows->data, rows->size, &rows->next, chunk);
}

static bool has_checksum(const struct png_chunk *chunk)
{
    const uint32_t checksum = crc32_gzip_refl(0, chunk->type, 4 + (uint64_t)chunk->length);
    png_clear_upper_halves();
    return checksum == png_chunk_u32(chunk->type + 4 + chunk->length);
}

/* Goes to the next IDAT chunk. */
static bool next_data(struct png_rows *rows)
{
    struct png_chunk chunk;
    do {
        if (!next_chunk(rows, &chunk) || !decode_guard_pass(rows->guard, PNG_CHUNK_OVERHEAD))
            return false;
        /* Once there was image data, it goes on to its end. */
        if (rows->fed && !png_chunk_is(&chunk, "IDAT"))
            return false;
    } while (!png_chunk_is(&chunk, "IDAT"));
    if (chunk.length > rows->n_data_left)
        return false;
    rows->n_data_left -= chunk.length;
    rows->fed = true;
    rows->stream.next_in = (uint8_t *)(uintptr_t)(chunk.type + 4);
    rows->n_unfed = chunk.length;
    return has_checksum(&chunk);
}

/* Gives the stream the next part of the image data, which has used up the one before. */
static bool feed(struct png_rows *rows)
{
    if (rows->n_unfed == 0 && !next_data(rows))
        return false;
    const uint32_t n = rows->n_unfed < PART_SIZE ? rows->n_unfed : PART_SIZE;
    rows->stream.avail_in = n;
    rows->n_unfed -= n;
    return decode_guard_pass(rows->guard, n);
}

static bool run_stream(struct inflate_state *stream)
{
    const int code = isal_inflate(stream);
    png_clear_upper_halves();
    return code == ISAL_DECOMP_OK;
}

static bool has_ended(const struct png_rows *rows)
{
    return rows->stream.block_state == ISAL_BLOCK_FINISH;
}

static bool inflate_bytes(struct png_rows *rows, uint8_t *out, size_t size)
{
    struct inflate_state *stream = &rows->stream;
    stream->next_out = out;
    stream->avail_out = (uint32_t)size;
    while (stream->avail_out > 0) {
        const uint32_t room = stream->avail_out;
        if (has_ended(rows))
            return false;
        if (!run_stream(stream))
            return false;
        /* It may hold back some of what it has inflated: it is asked before it is fed. */
        if (stream->avail_out == room && stream->avail_in == 0 && !has_ended(rows) && !feed(rows))
            return false;
    }
    return true;
}

/* Of the image data no more than a tail is left. */
static bool is_near_end(const struct png_rows *rows)
{
    const size_t position = rows->next - rows->n_unfed - rows->stream.avail_in;
    size_t end = rows->next, next = end;
    struct png_chunk chunk;
    while (end <= position + PNG_TAIL_MAX) {
        if (!png_chunk_next(rows->data, rows->size, &next, &chunk) || !png_chunk_is(&chunk, "IDAT"))
            return true;
        end = next;
    }
    return false;
}

/* After the last row: nothing more in the stream, whose checksum is right, and an end chunk. A
 * stream of which much is left is not looked at. */
static bool check_end(struct png_rows *rows)
{
    struct inflate_state *stream = &rows->stream;
    uint8_t extra;
    if (!is_near_end(rows))
        return false;
    while (!has_ended(rows)) {
        stream->next_out = &extra;
        stream->avail_out = 1;
        if (!run_stream(stream) || stream->avail_out == 0)
            return false;
        if (!has_ended(rows) && stream->avail_in == 0 && !feed(rows))
            return false;
    }
    struct png_chunk chunk;
    if (stream->avail_in > 0 || rows->n_unfed > 0 || stream->read_in_length >= 8)
        return false;
    while (next_chunk(rows, &chunk) && decode_guard_pass(rows->guard, PNG_CHUNK_OVERHEAD)) {
        /* Upper case: a chunk that must be understood, and a second IDAT is none of ours. */
        if (png_chunk_is(&chunk, "IEND"))
            return chunk.length == 0 && has_checksum(&chunk);
        if ((chunk.type[0] & 0x20) == 0)
            return false;
    }
    return false;
}

/* ---- filters ---- */

static uint8_t paeth(int left, int up, int corner)
{
    const int p = up - corner, q = left - corner;
    const int to_left = abs(p), to_up = abs(q), to_corner = abs(p + q);
    if (to_left <= to_up && to_left <= to_corner)
        return (uint8_t)left;
    return (uint8_t)(to_up <= to_corner ? up : corner);
}

/* One row; `above` is the row before it (zeros for the first). */
static bool unfilter_row(uint8_t filter, const uint8_t *in, const uint8_t *above, size_t n,
                         size_t bpp, uint8_t *out)
{
    switch (filter) {
    case FILTER_NONE:
        memcpy(out, in, n);
        return true;
    case FILTER_SUB:
        memcpy(out, in, bpp);
        for (size_t i = bpp; i < n; i++)
            out[i] = (uint8_t)(in[i] + out[i - bpp]);
        return true;
    case FILTER_UP:
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)(in[i] + above[i]);
        return true;
    case FILTER_AVERAGE:
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)(in[i] + ((i < bpp ? 0 : out[i - bpp]) + above[i]) / 2);
        return true;
    case FILTER_PAETH:
        for (size_t i = 0; i < bpp; i++)
            out[i] = (uint8_t)(in[i] + above[i]);
        for (size_t i = bpp; i < n; i++)
            out[i] = (uint8_t)(in[i] + paeth(out[i - bpp], above[i], above[i - bpp]));
        return true;
    }
    return false;
}

#define INLINE static inline __attribute__((always_inline)) /* into the clones */

/* The compiler does not find the instructions of the first case by itself. */
#if defined(__SSE2__)
INLINE bytes larger(bytes a, bytes b)
{
    return (bytes)_mm_max_epu8((__m128i)a, (__m128i)b);
}

INLINE bytes smaller(bytes a, bytes b)
{
    return (bytes)_mm_min_epu8((__m128i)a, (__m128i)b);
}
#else
INLINE bytes larger(bytes a, bytes b)
{
    const bytes is_larger = (bytes)(a > b);
    return (a & is_larger) | (b & ~is_larger);
}

INLINE bytes smaller(bytes a, bytes b)
{
    const bytes is_smaller = (bytes)(a < b);
    return (a & is_smaller) | (b & ~is_smaller);
}
#endif

/* The same of sixteen neighbours at once, in bytes. With low and high of left and up, the
 * prediction is low where the corner is not below high, and high where it is not above low. Between
 * them it is low, high or the corner, whichever low + high - corner is nearest to: to low it is
 * high - corner, to high it is corner - low, to the corner it is the difference of the two; in a
 * tie the corner comes last. Differences that would be negative are 0, and make the first two cases
 * part of the third. */
INLINE bytes paeth_lanes(bytes left, bytes up, bytes corner)
{
    const bytes low = smaller(left, up), high = larger(left, up);
    const bytes to_low = larger(high, corner) - corner, to_high = larger(corner, low) - low;
    const bytes farther = larger(to_low, to_high);
    const bytes to_corner_if_high = farther - to_low, to_corner_if_low = farther - to_high;
    const bytes is_low = (bytes)(larger(to_low, to_corner_if_high) == to_corner_if_high);
    const bytes is_high = (bytes)(larger(to_high, to_corner_if_low) == to_corner_if_low);
    return (low & is_low) | (((high & is_high) | (corner & ~is_high)) & ~is_low);
}

/* ---- blocks of Paeth rows ---- */

/* At step t lane r is at pixel t - r of row r. Lanes that have not begun hold zeros, as the filter
 * wants of what lies left of a row; what lanes past their row's end hold reaches nothing. */
struct front {
    bytes made; /* by the step before */
    bytes up;   /* what that step had above it */
};

INLINE void step(struct front *front, bytes filtered, uint8_t above)
{
    const bytes zeros = {0}, first = {above};
    const bytes up = __builtin_shufflevector(front->made, zeros, 16, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
                                             10, 11, 12, 13, 14) |
                     first;
    front->made = filtered + paeth_lanes(front->made, up, front->up);
    front->up = up;
}

/* Row r becomes byte r of all rows. */
INLINE void transpose(bytes rows[LANES])
{
    for (size_t round = 0; round < 4; round++) {
        bytes next[LANES];
        for (size_t i = 0; i < LANES / 2; i++) {
            const bytes a = rows[i], b = rows[i + LANES / 2];
            next[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                                  22, 7, 23);
            next[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                      13, 29, 14, 30, 15, 31);
        }
        memcpy(rows, next, sizeof(next));
    }
}

/* The lanes of sixteen steps, from t on. */
INLINE void load_steps(const uint8_t *in, size_t in_step, bytes steps[LANES])
{
    for (size_t r = 0; r < LANES; r++)
        memcpy(&steps[r], in + r * (in_step - 1), sizeof(steps[r]));
    transpose(steps);
}

/* The way back. */
INLINE void store_steps(bytes steps[LANES], size_t out_step, uint8_t *out)
{
    transpose(steps);
    for (size_t r = 0; r < LANES; r++)
        memcpy(out + r * (out_step - 1), &steps[r], sizeof(steps[r]));
}

/* Sixteen rows on their way. */
struct run {
    struct front front;
    const uint8_t *in, *above;
    uint8_t *out;
    size_t in_step, n;
    size_t t; /* the next step */
};

/* Steps at the rows' ends, where some lanes have no pixel. */
static void run_partly(struct run *run, size_t end)
{
    const size_t n = run->n;
    for (size_t t = run->t; t < end; t++) {
        const size_t first = t < n ? 0 : t - n + 1, last = t < LANES ? t : LANES - 1;
        uint8_t lanes[LANES] = {0};
        bytes filtered;
        for (size_t r = first; r <= last; r++)
            lanes[r] = run->in[r * run->in_step + t - r];
        memcpy(&filtered, lanes, sizeof(filtered));
        step(&run->front, filtered, t < n ? run->above[t] : 0);
        memcpy(lanes, &run->front.made, sizeof(lanes));
        for (size_t r = first; r <= last; r++)
            run->out[r * n + t - r] = lanes[r];
    }
    run->t = end;
}

/* n runs side by side, as far as the first one goes, or until `end`: a step is a long chain, and
 * the processor overlaps several of them. */
INLINE void run_side_by_side(struct run *runs, size_t n, size_t end)
{
    struct front fronts[RUNS];
    for (size_t i = 0; i < n; i++)
        fronts[i] = runs[i].front;
    for (; runs[0].t + LANES <= end;) {
        bytes steps[RUNS][LANES];
        for (size_t i = 0; i < n; i++)
            load_steps(runs[i].in + runs[i].t, runs[i].in_step, steps[i]);
        for (size_t k = 0; k < LANES; k++) {
#pragma GCC unroll 4
            for (size_t i = 0; i < n; i++) {
                step(&fronts[i], steps[i][k], runs[i].above[runs[i].t + k]);
                steps[i][k] = fronts[i].made;
            }
        }
        for (size_t i = 0; i < n; i++) {
            store_steps(steps[i], runs[i].n, runs[i].out + runs[i].t);
            runs[i].t += LANES;
        }
    }
    for (size_t i = 0; i < n; i++)
        runs[i].front = fronts[i];
}

/* LANES rows. */
VECTOR_CLONES static void unfilter_paeth_rows(const uint8_t *in, size_t in_step,
                                              const uint8_t *above, size_t n, uint8_t *out)
{
    struct run run = {.in = in, .above = above, .out = out, .in_step = in_step, .n = n};
    run_partly(&run, LANES - 1);
    run_side_by_side(&run, 1, n);
    run_partly(&run, n + LANES - 1);
}

/* BLOCK_ROWS rows of at least WIDTH_MIN pixels. Each run begins when the one above is so far ahead
 * that neither waits for the other: what it reads in its steps up to t was written by the upper
 * one's up to t + LANES - 1. */
VECTOR_CLONES static void unfilter_paeth_block(const uint8_t *in, size_t in_step,
                                               const uint8_t *above, size_t n, uint8_t *out)
{
    struct run runs[RUNS];
    for (size_t i = 0; i < RUNS; i++)
        runs[i] = (struct run){.in = in + i * LANES * in_step,
                               .above = i == 0 ? above : out + (i * LANES - 1) * n,
                               .out = out + i * LANES * n,
                               .in_step = in_step,
                               .n = n};
    run_partly(&runs[0], LANES - 1);
    run_side_by_side(runs, 1, 3 * LANES);
    run_partly(&runs[1], LANES - 1);
    run_side_by_side(runs, 2, 5 * LANES);
    run_partly(&runs[2], LANES - 1);
    run_side_by_side(runs, 3, 7 * LANES);
    run_partly(&runs[3], LANES - 1);
    run_side_by_side(runs, 4, n);
    run_partly(&runs[0], n + LANES - 1);
    run_side_by_side(runs + 1, 3, n);
    run_partly(&runs[1], n + LANES - 1);
    run_side_by_side(runs + 2, 2, n);
    run_partly(&runs[2], n + LANES - 1);
    run_side_by_side(runs + 3, 1, n);
    run_partly(&runs[3], n + LANES - 1);
}

/* ---- all filters ---- */

/* How many rows from the first on have the Paeth filter. */
static uint32_t count_paeth(const uint8_t *in, uint32_t n_rows, size_t row_size)
{
    uint32_t n = 0;
    while (n < n_rows && in[n * (row_size + 1)] == FILTER_PAETH)
        n++;
    return n;
}

/* How many of n Paeth rows are undone next, where n_before rows before them have been: sixteen at
 * once, or one. *n_again: of the sixteen, how many are undone once more, since fewer are left. */
static uint32_t choose_rows(uint32_t n, uint32_t n_before, size_t row_size, uint32_t *n_again)
{
    *n_again = 0;
    if (n == BLOCK_ROWS && row_size >= WIDTH_MIN)
        return BLOCK_ROWS;
    if (n > 0 && n < LANES && n + n_before >= LANES)
        *n_again = LANES - n;
    return n + *n_again >= LANES ? LANES : 1;
}

static bool unfilter_block(const uint8_t *in, uint32_t n_rows, const uint8_t *above,
                           size_t row_size, size_t bpp, uint8_t *out)
{
    uint32_t n_run = 0, n_again; /* Paeth rows up to here; of them, undone once more */
    for (uint32_t y = 0; y < n_rows;) {
        const uint8_t *from = in + y * (row_size + 1);
        const uint32_t n_paeth = bpp == 1 ? count_paeth(from, n_rows - y, row_size) : 0;
        const uint32_t n = choose_rows(n_paeth, n_run, row_size, &n_again);
        const uint32_t first = y - n_again;
        const uint8_t *over = first == 0 ? above : out + (first - 1) * row_size;
        uint8_t *to = out + first * row_size;
        from = in + first * (row_size + 1);
        if (n == BLOCK_ROWS)
            unfilter_paeth_block(from + 1, row_size + 1, over, row_size, to);
        else if (n == LANES)
            unfilter_paeth_rows(from + 1, row_size + 1, over, row_size, to);
        else if (!unfilter_row(from[0], from + 1, over, row_size, bpp, to))
            return false;
        n_run = n_paeth > 0 ? n_run + n - n_again : 0;
        y = first + n;
    }
    return true;
}

/* ---- all rows ---- */

struct png_rows *png_rows_create(const uint8_t *data, size_t size, uint64_t data_size_max,
                                 uint32_t width, uint32_t height, uint32_t sample_size,
                                 struct decode_guard *guard)
{
    struct png_rows *rows = malloc(sizeof(*rows));
    if (rows == NULL)
        return NULL;
    const size_t row_size = (size_t)width * sample_size;
    *rows = (struct png_rows){.data = data,
                              .size = size,
                              .next = PNG_SIGNATURE_SIZE,
                              .n_data_left = data_size_max,
                              .guard = guard,
                              .row_size = row_size,
                              .sample_size = sample_size,
                              .height = height,
                              .block = malloc(BLOCK_ROWS * (row_size + 1)),
                              .above = calloc(row_size, 1)};
    isal_inflate_init(&rows->stream);
    rows->stream.crc_flag = ISAL_ZLIB;
    if (rows->block == NULL || rows->above == NULL) {
        png_rows_destroy(rows);
        return NULL;
    }
    return rows;
}

void png_rows_destroy(struct png_rows *rows)
{
    if (rows == NULL)
        return;
    free(rows->block);
    free(rows->above);
    free(rows);
}

/* Half blocks first: somebody waits for the first rows. */
static uint32_t next_rows(const struct png_rows *rows, uint32_t n_max)
{
    uint32_t n = rows->n_rows < 2 * BLOCK_ROWS ? BLOCK_ROWS / 2 : BLOCK_ROWS;
    n = n_max < n ? n_max : n;
    return rows->height - rows->n_rows < n ? rows->height - rows->n_rows : n;
}

/* PNG has the most significant byte first. */
static void to_native_order(uint16_t *samples, size_t n)
{
    for (size_t i = 0; SAMPLES_ARE_LITTLE_ENDIAN && i < n; i++)
        samples[i] = (uint16_t)(samples[i] << 8 | samples[i] >> 8);
}

bool png_rows_read(struct png_rows *rows, uint32_t n_max, void *out, uint32_t *n_rows)
{
    const size_t row_size = rows->row_size;
    const uint32_t n = next_rows(rows, n_max);
    if (!inflate_bytes(rows, rows->block, n * (row_size + 1)) ||
        !decode_guard_pass(rows->guard, n * (row_size + 1)))
        return false;
    give_way();
    if (!unfilter_block(rows->block, n, rows->above, row_size, rows->sample_size, out))
        return false;
    memcpy(rows->above, (const uint8_t *)out + (n - 1) * row_size, row_size);
    if (rows->sample_size == 2)
        to_native_order(out, n * (row_size / 2));
    give_way();
    rows->n_rows += n;
    *n_rows = n;
    return rows->n_rows < rows->height || check_end(rows);
}
