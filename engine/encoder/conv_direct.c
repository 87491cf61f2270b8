/* A convolution as a product of matrices whose rows are read where they lie: a row of the left
 * matrix is the pixel under one tap of the window, so nothing is copied.
 *
 * At the edges of a map some taps see only padding. Positions are taken together whose windows are
 * cut alike, and only the taps that they have are computed: on the 2x2 maps of a last stage that is
 * four of nine. Where there are few positions in all, the weights' way from memory costs more than
 * the products, and all positions are taken at once, with rows of zeros for the padding. */
#include "engine/encoder/conv.h"

enum {
    CHUNK_ROWS_MAX = 256,
    CHUNK_ROWS_MIN = 48,
    /* Floats of the rows and of the panel taken at once (256 KB each): both stay in the cache. */
    CHUNK_FLOATS = 64 * 1024,
    FEW_ROWS = 64,
};

/* Output coordinates first..first + n along one axis, whose windows have the taps tap..tap_end. */
struct span {
    uint32_t first;
    uint32_t n;
    uint32_t tap;
    uint32_t tap_end;
};

/* Rows collected until they are multiplied. */
struct chunk {
    struct conv_scratch *scratch;
    const struct conv_call *call;
    const float *in; /* the maps as the kernels want them, floats or words of several values */
    const float *panels;
    const float *map_steps; /* of int8 only, as the next */
    const float *column_scales;
    void (*gemm)(const struct gemm *gemm);
    uint32_t in_words; /* of a position */
    uint32_t depth;    /* words that are multiplied */
    uint32_t capacity;
    uint32_t n;
    uint32_t n_taps;
    uint32_t taps[9];     /* numbers of their weights */
    uint32_t tap_rows[9]; /* their offsets from an output's centre, modulo 2^32 */
    uint32_t tap_columns[9];
};

/* Multiplies with one panel, a few taps at a time. */
static void multiply_panel(const struct chunk *chunk, uint32_t column, uint32_t width)
{
    const struct conv *conv = chunk->call->conv;
    const uint32_t depth = chunk->depth;
    const uint64_t tap_floats = (uint64_t)depth * width;
    const float *panel = chunk->panels + (uint64_t)conv->kernel * conv->kernel * depth * column;
    const float *panels[9];
    for (uint32_t i = 0; i < chunk->n_taps; i++)
        panels[i] = panel + chunk->taps[i] * tap_floats;
    const bool in_place = conv->kernel > 1 && chunk->call->residual == chunk->call->out;
    /* Between the steps sums lie in `out`: a residual that is there is what they begin with, or,
     * where they are whole numbers, stays there until all taps are added at once. */
    const bool whole = chunk->column_scales != NULL;
    const bool begun = in_place && !whole;
    const uint32_t step = in_place && whole           ? chunk->n_taps
                          : tap_floats < CHUNK_FLOATS ? (uint32_t)(CHUNK_FLOATS / tap_floats)
                                                      : 1;
    const bool adds = chunk->call->residual != NULL && !begun;
    for (uint32_t tap = 0; tap < chunk->n_taps; tap += step) {
        const struct gemm gemm = {
            .n_rows = chunk->n,
            .n_taps = smaller(chunk->n_taps - tap, step),
            .depth = depth,
            .width = width,
            .rows = chunk->scratch->rows + (size_t)tap * chunk->n,
            .panels = panels + tap,
            .ahead = panels[tap] + smaller(chunk->n_taps - tap, step) * tap_floats,
            .out = chunk->scratch->out,
            .residual = adds ? chunk->scratch->residual : NULL,
            .column = column,
            .bias = conv->bias + column,
            .row_scales = chunk->scratch->row_scales,
            .column_scales = chunk->column_scales == NULL ? NULL : chunk->column_scales + column,
            .accumulate = begun || tap > 0,
            .finish = tap + step >= chunk->n_taps,
            .relu = chunk->call->relu,
        };
        conv_multiply(chunk->scratch, chunk->gemm, &gemm);
    }
}

/* The rows lie tap by tap, `capacity` apart; the kernel wants them n apart. */
static void close_gaps(struct chunk *chunk)
{
    if (chunk->n == chunk->capacity)
        return;
    const float **rows = chunk->scratch->rows;
    for (uint32_t tap = 1; tap < chunk->n_taps; tap++) {
        for (uint32_t i = 0; i < chunk->n; i++)
            rows[(size_t)tap * chunk->n + i] = rows[(size_t)tap * chunk->capacity + i];
    }
}

static void multiply_chunk(struct chunk *chunk)
{
    if (chunk->n == 0)
        return;
    close_gaps(chunk);
    const uint32_t n_columns = padded_channels(chunk->call->conv->out_channels);
    for (uint32_t column = 0; column < n_columns; column += panel_width(column, n_columns))
        multiply_panel(chunk, column, panel_width(column, n_columns));
    chunk->n = 0;
}

/* Appends the positions x..x + n of one output row. */
static void add_positions(struct chunk *chunk, uint32_t out_side, uint32_t map, uint32_t y,
                          uint32_t x, uint32_t n)
{
    const struct conv_call *call = chunk->call;
    const uint32_t side = call->side;
    const uint32_t stride = call->conv->stride;
    struct conv_scratch *scratch = chunk->scratch;
    for (uint32_t i = 0; i < chunk->n_taps; i++) {
        const float **rows = scratch->rows + (size_t)i * chunk->capacity + chunk->n;
        /* Beside the map coordinates wrap around and exceed its side. */
        const uint32_t row = y * stride + chunk->tap_rows[i];
        uint32_t column = x * stride + chunk->tap_columns[i];
        const size_t at = row < side ? ((size_t)map * side + row) * side * chunk->in_words : 0;
        for (uint32_t k = 0; k < n; k++, column += stride)
            rows[k] = row < side && column < side
                          ? chunk->in + at + (size_t)column * chunk->in_words
                          : scratch->zeros;
    }
    const size_t out_words = padded_channels(call->conv->out_channels);
    const size_t at = (((size_t)map * out_side + y) * out_side + x) * out_words;
    for (uint32_t k = 0; k < n; k++)
        scratch->out[chunk->n + k] = call->out + at + k * out_words;
    if (call->residual != NULL) {
        for (uint32_t k = 0; k < n; k++)
            scratch->residual[chunk->n + k] = call->residual + at + k * out_words;
    }
    if (chunk->map_steps != NULL) {
        for (uint32_t k = 0; k < n; k++)
            scratch->row_scales[chunk->n + k] = chunk->map_steps[map];
    }
    chunk->n += n;
}

/* Chunks of nearly equal size. */
static uint32_t chunk_capacity(const struct chunk *chunk, uint32_t n_rows)
{
    uint32_t capacity = CHUNK_FLOATS / chunk->in_words;
    if (capacity < CHUNK_ROWS_MIN)
        capacity = CHUNK_ROWS_MIN;
    const uint32_t n_chunks =
        (n_rows + smaller(capacity, CHUNK_ROWS_MAX) - 1) / smaller(capacity, CHUNK_ROWS_MAX);
    return (n_rows + n_chunks - 1) / n_chunks;
}

static void multiply_class(struct chunk *chunk, uint32_t out_side, struct span rows,
                           struct span columns)
{
    const uint32_t kernel = chunk->call->conv->kernel;
    chunk->capacity = chunk_capacity(chunk, chunk->call->n * rows.n * columns.n);
    chunk->n_taps = 0;
    for (uint32_t y = rows.tap; y < rows.tap_end; y++) {
        for (uint32_t x = columns.tap; x < columns.tap_end; x++) {
            chunk->taps[chunk->n_taps] = y * kernel + x;
            chunk->tap_rows[chunk->n_taps] = y - kernel / 2;
            chunk->tap_columns[chunk->n_taps++] = x - kernel / 2;
        }
    }
    for (uint32_t map = 0; map < chunk->call->n; map++) {
        for (uint32_t y = rows.first; y < rows.first + rows.n; y++) {
            for (uint32_t x = columns.first; x < columns.first + columns.n;) {
                const uint32_t n =
                    smaller(columns.first + columns.n - x, chunk->capacity - chunk->n);
                add_positions(chunk, out_side, map, y, x, n);
                x += n;
                if (chunk->n == chunk->capacity)
                    multiply_chunk(chunk);
            }
        }
    }
    multiply_chunk(chunk);
}

/* Cuts an axis into spans; returns their number, at most 3 for kernels of 1 and 3. */
static uint32_t make_spans(const struct conv *conv, uint32_t side, uint32_t out_side,
                           struct span spans[3])
{
    const uint32_t padding = conv->kernel / 2;
    uint32_t n = 0;
    for (uint32_t i = 0; i < out_side; i++) {
        const uint32_t begin = i * conv->stride;
        const uint32_t tap = begin < padding ? padding - begin : 0;
        const uint32_t tap_end = smaller(conv->kernel, side + padding - begin);
        if (n > 0 && spans[n - 1].tap == tap && spans[n - 1].tap_end == tap_end)
            spans[n - 1].n++;
        else
            spans[n++] = (struct span){i, 1, tap, tap_end};
    }
    return n;
}

uint64_t conv_map_words(const struct conv *conv, enum conv_algorithm algorithm, uint32_t side,
                        uint32_t n)
{
    const uint64_t n_floats = (uint64_t)n * side * side * padded_channels(conv->in_channels);
    if (algorithm == CONV_INT8_DIRECT)
        return n_floats / 4 + n; /* and the maps' steps */
    return algorithm == CONV_BFLOAT16_DIRECT ? n_floats / 2 : 0;
}

static void begin_int8(struct chunk *chunk)
{
    const struct conv_call *call = chunk->call;
    const struct conv *conv = call->conv;
    struct conv_scratch *scratch = chunk->scratch;
    const uint32_t padded = padded_channels(conv->in_channels);
    const size_t map_floats = (size_t)call->side * call->side * padded;
    float *steps = scratch->words + call->n * map_floats / 4;
    conv_round_maps(scratch->int8, call->in, call->n, map_floats, scratch->words, steps);
    chunk->gemm = scratch->int8->gemm;
    chunk->in = scratch->words;
    chunk->panels = conv->panel_quads;
    chunk->map_steps = steps;
    chunk->column_scales = conv->weight_steps;
    chunk->in_words = padded / 4;
    chunk->depth = (conv->in_channels + 3) / 4;
}

static void begin_bfloat16(struct chunk *chunk)
{
    const struct conv_call *call = chunk->call;
    const struct conv *conv = call->conv;
    struct conv_scratch *scratch = chunk->scratch;
    const uint32_t padded = padded_channels(conv->in_channels);
    scratch->bfloat16->make_pairs(call->in, (size_t)call->n * call->side * call->side * padded,
                                  scratch->words);
    chunk->gemm = scratch->bfloat16->gemm;
    chunk->in = scratch->words;
    chunk->panels = conv->panel_pairs;
    chunk->in_words = padded / 2;
    chunk->depth = (conv->in_channels + 1) / 2;
}

static void begin_float32(struct chunk *chunk)
{
    const struct conv *conv = chunk->call->conv;
    chunk->gemm = chunk->scratch->kernels->gemm;
    chunk->in = chunk->call->in;
    chunk->panels = conv->panels;
    chunk->in_words = padded_channels(conv->in_channels);
    chunk->depth = conv->in_channels;
}

/* The operands in the call's precision. */
static void begin_chunk(struct chunk *chunk)
{
    if (chunk->call->algorithm == CONV_INT8_DIRECT)
        begin_int8(chunk);
    else if (chunk->call->algorithm == CONV_BFLOAT16_DIRECT)
        begin_bfloat16(chunk);
    else
        begin_float32(chunk);
}

void conv_apply_direct(struct conv_scratch *scratch, const struct conv_call *call)
{
    const struct conv *conv = call->conv;
    const uint32_t out_side = window_output_side(call->side, conv->kernel, conv->stride);
    struct chunk chunk = {.scratch = scratch, .call = call};
    begin_chunk(&chunk);
    struct span spans[3] = {{0, out_side, 0, conv->kernel}};
    const bool few = (uint64_t)call->n * out_side * out_side < FEW_ROWS;
    const uint32_t n_spans = few ? 1 : make_spans(conv, call->side, out_side, spans);
    for (uint32_t i = 0; i < n_spans; i++) {
        for (uint32_t k = 0; k < n_spans; k++)
            multiply_class(&chunk, out_side, spans[i], spans[k]);
    }
}
