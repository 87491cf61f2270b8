/* Antialiased bilinear resampling of one window, in two separable passes: every row of the window
 * is first brought to the output's width (into scratch), then columns to its height. Rows are
 * taken in blocks, so that what is added at once lies side by side in both passes. Every sum has
 * its terms in the same order, without fused operations: the bytes are the same on any processor.
 *
 * Output sample i of an axis has its centre at (i + 0.5) * scale in the input, scale = in / out,
 * and is the sum over the inputs within max(1, scale) of that centre, weighted by a triangle of
 * that half-width; the weights of each output are divided by their sum, so that a constant stays
 * that constant. Weights are computed in double, once a plan, and kept as float.
 */
#include "engine/image/chip_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/image/chip_bytes.h"

enum {
    QUAD = 4,
    WIDE = 16,
    BLOCK_ROWS = WIDE, /* rows of the window that are brought to the output's width at once */
    CACHE_LINE = 64,
    STRIDE = WIDE, /* rows in scratch have a multiple of that many floats */
};

_Static_assert((int)BLOCK_ROWS == (int)CHIP_BYTES_ROWS, "bytes are taken as whole blocks");

typedef float quad __attribute__((vector_size(QUAD * sizeof(float))));
typedef float wide __attribute__((vector_size(WIDE * sizeof(float))));

/* All outputs have n_taps weights, so that no loop's length depends on the output: where fewer
 * would do, the others are 0, which changes no sum of finite samples. */
struct axis {
    uint32_t *first; /* n_out: the first input sample; first + n_taps <= n_in */
    float *weights;  /* n_out x n_taps */
    uint32_t n_taps;
    uint32_t begin; /* where the input begins on the image */
    uint32_t n_in;
    uint32_t n_out;
};

struct chip_resampler {
    struct axis horizontal;
    struct axis vertical;
};

/* Input samples that may weigh something, [*first, *last), and the sum of their weights. */
static double find_window(uint32_t n_in, double centre, double half_width, uint32_t *first,
                          uint32_t *last)
{
    double lowest = floor(centre - half_width + 0.5);
    double end = floor(centre + half_width + 0.5);
    double sum = 0;
    *first = lowest > 0 ? (uint32_t)lowest : 0;
    *last = end < n_in ? (uint32_t)end : n_in;
    for (uint32_t j = *first; j < *last; j++)
        sum += fmax(0, 1 - fabs((j + 0.5 - centre) / half_width));
    return sum;
}

/* Samples at the very edge of the triangle weigh nothing: an unscaled axis becomes a copy. Returns
 * the number of the others, of which *first is the first; weights (NULL: not wanted) are theirs. */
static uint32_t plan_taps(uint32_t n_in, double centre, double half_width, uint32_t *first,
                          float *weights)
{
    uint32_t begin, end, n = 0;
    const double sum = find_window(n_in, centre, half_width, &begin, &end);
    for (uint32_t j = begin; j < end; j++) {
        double weight = fmax(0, 1 - fabs((j + 0.5 - centre) / half_width)) / sum;
        if (weight == 0)
            continue;
        if (n == 0)
            *first = j;
        if (weights != NULL)
            weights[n] = (float)weight;
        n++;
    }
    return n;
}

static int axis_allocate(struct axis *axis, uint32_t n_out, struct error *err)
{
    axis->n_out = n_out;
    axis->first = calloc(n_out, sizeof(*axis->first));
    return axis->first == NULL ? error_set_nomem(err, "the resampling weights") : 0;
}

/* The centre of one of a span's outputs. */
static double centre_of(const struct resample_span *span, uint32_t i)
{
    return (span->outputs[i] + 0.5) * span->scale;
}

/* Finds the taps of every output, and the input that they need. */
static int find_taps(struct axis *axis, const struct resample_span *span, double half_width,
                     struct error *err)
{
    uint32_t begin = UINT32_MAX, end = 0;
    for (uint32_t i = 0; i < span->n_out; i++) {
        const uint32_t n =
            plan_taps(span->n_in, centre_of(span, i), half_width, &axis->first[i], NULL);
        if (n == 0)
            return error_set(err, ERROR_INVALID,
                             "resampling: output %u lies beyond the image's %u samples",
                             span->outputs[i], span->n_in);
        axis->n_taps = n > axis->n_taps ? n : axis->n_taps;
        begin = axis->first[i] < begin ? axis->first[i] : begin;
        end = axis->first[i] + n > end ? axis->first[i] + n : end;
    }
    /* Outputs at an end of the image have fewer taps than those that set their number. */
    if (end - begin < axis->n_taps)
        begin = end > axis->n_taps ? end - axis->n_taps : 0;
    if (end - begin < axis->n_taps)
        end = begin + axis->n_taps;
    axis->begin = begin;
    axis->n_in = end - begin;
    return 0;
}

static int axis_init(struct axis *axis, const struct resample_span *span, struct error *err)
{
    const double half_width = fmax(1, span->scale);
    int rc = axis_allocate(axis, span->n_out, err);
    if (rc == 0)
        rc = find_taps(axis, span, half_width, err);
    if (rc != 0)
        return rc;
    axis->weights = calloc((size_t)axis->n_out * axis->n_taps, sizeof(*axis->weights));
    if (axis->weights == NULL)
        return error_set_nomem(err, "the resampling weights");
    for (uint32_t i = 0; i < axis->n_out; i++) {
        /* At the far end the weights of 0 come first. */
        const uint32_t room = axis->begin + axis->n_in - axis->n_taps;
        const uint32_t shift = axis->first[i] > room ? axis->first[i] - room : 0;
        plan_taps(span->n_in, centre_of(span, i), half_width, &axis->first[i],
                  axis->weights + (size_t)i * axis->n_taps + shift);
        axis->first[i] -= shift + axis->begin;
    }
    return 0;
}

/* All outputs of an axis that is scaled as a whole; the whole input is its
 * window. */
static int axis_init_whole(struct axis *axis, uint32_t n_in, uint32_t n_out, struct error *err)
{
    uint32_t outputs[CHIP_SIDE_MAX];
    for (uint32_t i = 0; i < n_out; i++)
        outputs[i] = i;
    const struct resample_span span = {n_in, (double)n_in / n_out, outputs, n_out};
    int rc = axis_init(axis, &span, err);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < n_out; i++)
        axis->first[i] += axis->begin;
    axis->begin = 0;
    axis->n_in = n_in;
    return 0;
}

static void axis_clear(struct axis *axis)
{
    free(axis->first);
    free(axis->weights);
}

static int check_side(const char *name, uint32_t value, struct error *err)
{
    if (value >= 1 && value <= CHIP_SIDE_MAX)
        return 0;
    return error_set(err, ERROR_INVALID, "resampling: %s must be 1 to %d pixels, but is %u", name,
                     CHIP_SIDE_MAX, value);
}

int chip_resampler_create(struct chip_resampler **out, uint32_t width, uint32_t height,
                          uint32_t out_width, uint32_t out_height, struct error *err)
{
    int rc;
    if ((rc = check_side("width", width, err)) != 0 ||
        (rc = check_side("height", height, err)) != 0 ||
        (rc = check_side("output width", out_width, err)) != 0 ||
        (rc = check_side("output height", out_height, err)) != 0)
        return rc;
    struct chip_resampler *resampler = calloc(1, sizeof(*resampler));
    if (resampler == NULL)
        return error_set_nomem(err, "the resampler");
    rc = axis_init_whole(&resampler->horizontal, width, out_width, err);
    if (rc == 0)
        rc = axis_init_whole(&resampler->vertical, height, out_height, err);
    if (rc != 0) {
        chip_resampler_destroy(resampler);
        return rc;
    }
    *out = resampler;
    return 0;
}

int chip_resampler_set_rows(struct chip_resampler *resampler, const struct resample_span *vertical,
                            struct error *err)
{
    struct axis made = {0};
    int rc = axis_init(&made, vertical, err);
    if (rc != 0) {
        axis_clear(&made);
        return rc;
    }
    axis_clear(&resampler->vertical);
    resampler->vertical = made;
    return 0;
}

int chip_resampler_create_part(struct chip_resampler **out, const struct resample_span *horizontal,
                               const struct resample_span *vertical, struct error *err)
{
    struct chip_resampler *resampler = calloc(1, sizeof(*resampler));
    if (resampler == NULL)
        return error_set_nomem(err, "the resampler");
    int rc = axis_init(&resampler->horizontal, horizontal, err);
    if (rc == 0)
        rc = chip_resampler_set_rows(resampler, vertical, err);
    if (rc != 0) {
        chip_resampler_destroy(resampler);
        return rc;
    }
    *out = resampler;
    return 0;
}

struct chip_rect chip_resampler_window(const struct chip_resampler *resampler)
{
    const struct axis *horizontal = &resampler->horizontal, *vertical = &resampler->vertical;
    return (struct chip_rect){horizontal->begin, vertical->begin, horizontal->n_in, vertical->n_in};
}

void chip_resampler_destroy(struct chip_resampler *resampler)
{
    if (resampler == NULL)
        return;
    axis_clear(&resampler->horizontal);
    axis_clear(&resampler->vertical);
    free(resampler);
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* Rows of the output's width, then the columns of a block. */
static size_t rows_size(const struct chip_resampler *resampler)
{
    return round_up(resampler->vertical.n_in, BLOCK_ROWS) *
           round_up(resampler->horizontal.n_out, STRIDE);
}

size_t chip_resampler_scratch(const struct chip_resampler *resampler)
{
    return rows_size(resampler) +
           round_up(resampler->horizontal.n_in, CHIP_BYTES_COLUMNS) * BLOCK_ROWS;
}

/* Copies of floats; as numbers they would pass through the vector registers. */
typedef uint32_t float_bits;

static inline float_bits bits_of(const float *value)
{
    float_bits bits;
    memcpy(&bits, value, sizeof(bits));
    return bits;
}

/* Four rows of a window as columns, BLOCK_ROWS apart. */
static inline void take_pixels(const float *const rows[QUAD], size_t n, float_bits *columns)
{
    for (size_t i = 0; i < n; i++, columns += BLOCK_ROWS) {
        for (size_t r = 0; r < QUAD; r++)
            columns[r] = bits_of(rows[r] + i);
    }
}

static inline void take_bytes(const uint8_t *const rows[QUAD], size_t n, const float *levels,
                              float_bits *columns)
{
    for (size_t i = 0; i < n; i++, columns += BLOCK_ROWS) {
        for (size_t r = 0; r < QUAD; r++)
            columns[r] = bits_of(levels + rows[r][i]);
    }
}

/* `flip` 0, or the bit that makes levels of signed samples. */
static inline void take_pairs(const uint8_t *const rows[QUAD], size_t n, uint16_t flip,
                              const float *levels, float_bits *columns)
{
    const uint16_t *pairs[QUAD];
    for (size_t r = 0; r < QUAD; r++)
        pairs[r] = (const uint16_t *)(const void *)rows[r];
    for (size_t i = 0; i < n; i++, columns += BLOCK_ROWS) {
        for (size_t r = 0; r < QUAD; r++)
            columns[r] = bits_of(levels + (pairs[r][i] ^ flip));
    }
}

/* Where row r of a window lies that begins within the rows in memory. */
static size_t row_of(const struct chip_source *source, const struct chip_rect *window, size_t r)
{
    size_t row = window->y + r;
    if (source->n_held > 0 && row >= source->n_held)
        row -= source->n_held;
    return row * source->image_width + window->x;
}

/* Asks for the samples of a block that is soon taken: rows of a window lie too far apart for the
 * processor to see them come. */
static void prefetch_block(const struct chip_source *source, const struct chip_rect *window,
                           size_t first)
{
    const size_t size = source->pixels != NULL ? sizeof(float) : sample_type_size(source->type);
    const char *begin = source->pixels != NULL ? (const char *)source->pixels : source->samples;
    for (size_t r = first; r < first + BLOCK_ROWS && r < window->height; r++) {
        const char *row = begin + row_of(source, window, r) * size;
        for (size_t i = 0; i < window->width * size; i += CACHE_LINE)
            __builtin_prefetch(row + i);
        __builtin_prefetch(row + window->width * size - 1);
    }
}

/* The next block of the window, or the first one of its right neighbour, which often comes next. */
static void prefetch_next(const struct chip_source *source, const struct chip_rect *window,
                          size_t first)
{
    struct chip_rect right = *window;
    right.x += window->width;
    if (first < window->height)
        prefetch_block(source, window, first);
    else if ((uint64_t)right.x + right.width <= source->image_width)
        prefetch_block(source, &right, 0);
}

/* A block of a window, from row `first` on, as floats. Past the window's end its last row is taken
 * once more, to be used by nothing. `bytes`: NULL where they cannot be had. */
static void take_block(const struct chip_source *source, const struct chip_bytes *bytes,
                       const struct chip_rect *window, size_t first, float_bits *columns)
{
    const float *floats[BLOCK_ROWS];
    const uint8_t *samples[BLOCK_ROWS];
    const size_t size = sample_type_size(source->type);
    for (size_t r = 0; r < BLOCK_ROWS; r++) {
        const size_t row = first + r < window->height ? first + r : window->height - 1u;
        const size_t begin = row_of(source, window, row);
        if (source->pixels != NULL)
            floats[r] = source->pixels + begin;
        else
            samples[r] = (const uint8_t *)source->samples + begin * size;
    }
    if (bytes != NULL)
        chip_bytes_take(bytes, samples, window->width, columns);
    for (size_t r = 0; bytes == NULL && r < BLOCK_ROWS; r += QUAD) {
        if (source->pixels != NULL)
            take_pixels(floats + r, window->width, columns + r);
        else if (source->type == SAMPLE_U8)
            take_bytes(samples + r, window->width, source->levels, columns + r);
        else
            take_pairs(samples + r, window->width, source->type == SAMPLE_I16 ? 0x8000 : 0,
                       source->levels, columns + r);
    }
}

static inline __attribute__((always_inline)) quad load_quad(const float *from)
{
    quad value;
    memcpy(&value, from, sizeof(value));
    return value;
}

static inline __attribute__((always_inline)) void store_quad(float *to, quad value)
{
    memcpy(to, &value, sizeof(value));
}

/* Four columns of BLOCK_ROWS rows, as rows. */
static inline __attribute__((always_inline)) void store_rows(const float *columns, size_t stride,
                                                             float *out)
{
    for (size_t r = 0; r < BLOCK_ROWS; r += QUAD, columns += QUAD, out += QUAD * stride) {
        const quad a = load_quad(columns), b = load_quad(columns + BLOCK_ROWS);
        const quad c = load_quad(columns + 2 * BLOCK_ROWS), d = load_quad(columns + 3 * BLOCK_ROWS);
        const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        store_quad(out, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
        store_quad(out + stride, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
        store_quad(out + 2 * stride, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
        store_quad(out + 3 * stride, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
    }
}

/* The sum of n_taps weighted vectors that are `step` floats apart. */
static inline __attribute__((always_inline)) void
add_taps(const float *weights, size_t n_taps, const float *from, size_t step, float to[WIDE])
{
    wide sum, term;
    memcpy(&term, from, sizeof(term));
    sum = weights[0] * term;
    for (size_t j = 1; j < n_taps; j++) {
        memcpy(&term, from + j * step, sizeof(term));
        sum += weights[j] * term;
    }
    memcpy(to, &sum, sizeof(sum));
}

/* A block of rows, given as columns: the same output of all of them is made at once. The last one
 * is repeated up to the stride. */
VECTOR_CLONES static void resample_block(const struct axis *axis, const float *columns,
                                         size_t stride, float *out)
{
    const size_t n_taps = axis->n_taps;
    for (size_t i = 0; i < stride; i += QUAD) {
        float made[QUAD * BLOCK_ROWS];
        for (size_t k = 0; k < QUAD; k++) {
            const size_t output = i + k < axis->n_out ? i + k : axis->n_out - 1u;
            add_taps(axis->weights + output * n_taps, n_taps,
                     columns + (size_t)axis->first[output] * BLOCK_ROWS, BLOCK_ROWS,
                     made + k * BLOCK_ROWS);
        }
        store_rows(made, stride, out + i);
    }
}

/* The output, of `width` floats a row, from rows that are `stride` apart. */
VECTOR_CLONES static void resample_columns(const struct axis *axis, const float *rows,
                                           size_t stride, size_t width, float *out)
{
    for (size_t i = 0; i < axis->n_out; i++, out += width) {
        const float *weights = axis->weights + i * axis->n_taps;
        const float *first = rows + axis->first[i] * stride;
        for (size_t x = 0; x < width; x += WIDE) {
            float made[WIDE];
            if (width - x >= WIDE) {
                add_taps(weights, axis->n_taps, first + x, stride, out + x);
                continue;
            }
            add_taps(weights, axis->n_taps, first + x, stride, made);
            memcpy(out + x, made, (width - x) * sizeof(float));
        }
    }
}

void chip_resample_source(const struct chip_resampler *resampler, const struct chip_source *source,
                          uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct axis *horizontal = &resampler->horizontal;
    const struct axis *vertical = &resampler->vertical;
    const struct chip_rect window = {x, source->n_held > 0 ? y % source->n_held : y,
                                     horizontal->n_in, vertical->n_in};
    const size_t width = horizontal->n_out, stride = round_up(width, STRIDE);
    float *columns = scratch + rows_size(resampler);
    struct chip_bytes bytes;
    const bool has_bytes = source->pixels == NULL && source->type == SAMPLE_U8 &&
                           chip_bytes_init(&bytes, source->levels);
    for (size_t row = 0; row < window.height; row += BLOCK_ROWS) {
        prefetch_next(source, &window, row + BLOCK_ROWS);
        take_block(source, has_bytes ? &bytes : NULL, &window, row, (float_bits *)(void *)columns);
        resample_block(horizontal, columns, stride, scratch + row * stride);
    }
    resample_columns(vertical, scratch, stride, width, out);
}

void chip_resample(const struct chip_resampler *resampler, const float *pixels,
                   uint32_t image_width, uint32_t x, uint32_t y, float *scratch, float *out)
{
    const struct chip_source source = {.pixels = pixels, .image_width = image_width};
    chip_resample_source(resampler, &source, x, y, scratch, out);
}
