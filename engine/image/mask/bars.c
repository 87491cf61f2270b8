/* Of each row are kept how far the value at either end goes on, and the value that most of it has.
 *
 * A border is a strip of one value along an edge that ends abruptly: where it ends, hardly a pixel
 * goes on with its value. Dark vacuum that the detector clips has one value as well, but ends where
 * the specimen's edge happens to be.
 *
 * A data bar is a strip across the image most of each row of which is one value, its background,
 * with blank rows between the lines of text, and that ends abruptly too. The rest, its text, is at
 * the other end of the image's range and much of it of one value.
 */
#include "engine/image/mask/bars.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clones.h"

enum {
    SAMPLES = 64,    /* of a row, that say which value may be the most common one */
    SAMPLES_MIN = 8, /* that have it, where it is worth counting */
    PART = 16,
    SIDE_MIN = 64,     /* of an image: shorter rows have one value by chance */
    BAR_ROWS_MIN = 12, /* smaller letters cannot be read */
    BAR_BLANK_ROWS_MIN = 2,
    BAR_TEXT_ROWS_MIN = 5,
    SEPARATOR_ROWS = 3, /* of a line between image and bar */
    BESIDE_ROWS = 8,    /* of specimen, that a strip is held against */
};

static const double SHARE_OF_BACKGROUND = 0.55; /* of a bar's row, at least */
static const double SHARE_BEYOND = 0.25;        /* of pixels that go on with the value, at most */
static const double SHARE_OF_TEXT = 0.3;        /* of what is not background: of one value */
static const double CONTRAST = 0.5;             /* of the image's range, at least */
static const double BAR_HEIGHT_MAX = 1.0 / 3;
static const double SPECIMEN_MIN = 0.25; /* of either side: that much is left of the image */

/* Ends of a row: 0 left, 1 right. */
struct row {
    struct {
        float value;
        uint32_t n;  /* pixels that have it, from the end on */
        float after; /* the value of the next one; `value` when there is none */
    } ends[2];
    float common;      /* the most common value */
    uint32_t n_common; /* 0: no value is common, and none of the next two are counted */
    uint32_t n_low, n_high;
    float low, high;
};

struct bars_scan {
    uint32_t width, height;
    uint32_t n_rows; /* that were taken */
    uint64_t n_missing;
    float low, high;
    struct row rows[];
};

const char *bar_kind_name(enum bar_kind kind)
{
    return kind == BAR_BORDER ? "border" : "bar";
}

int bars_scan_create(struct bars_scan **out, uint32_t width, uint32_t height, struct error *err)
{
    struct bars_scan *scan = calloc(1, sizeof(*scan) + height * sizeof(scan->rows[0]));
    if (scan == NULL)
        return error_set_nomem(err, "an image's rows");
    scan->width = width;
    scan->height = height;
    scan->low = INFINITY;
    scan->high = -INFINITY;
    *out = scan;
    return 0;
}

void bars_scan_destroy(struct bars_scan *scan)
{
    free(scan);
}

uint64_t bars_scan_n_missing(const struct bars_scan *scan)
{
    return scan->n_missing;
}

/* ---- rows ---- */

/* Exact for whole numbers of any order, so that it may be done in parts. */
VECTOR_CLONES static uint32_t count_equal(const float *row, size_t n, float value)
{
    uint32_t counts[PART] = {0};
    uint32_t sum = 0;
    for (; n >= PART; n -= PART, row += PART) {
        for (size_t i = 0; i < PART; i++)
            counts[i] += row[i] == value;
    }
    for (size_t i = 0; i < n; i++)
        sum += row[i] == value;
    for (size_t i = 0; i < PART; i++)
        sum += counts[i];
    return sum;
}

VECTOR_CLONES static void find_range(const float *row, size_t n, float *low, float *high)
{
    float lows[PART], highs[PART];
    for (size_t i = 0; i < PART; i++) {
        lows[i] = INFINITY;
        highs[i] = -INFINITY;
    }
    for (; n >= PART; n -= PART, row += PART) {
        for (size_t i = 0; i < PART; i++) {
            lows[i] = row[i] < lows[i] ? row[i] : lows[i];
            highs[i] = row[i] > highs[i] ? row[i] : highs[i];
        }
    }
    for (size_t i = 0; i < n; i++) {
        lows[i] = row[i] < lows[i] ? row[i] : lows[i];
        highs[i] = row[i] > highs[i] ? row[i] : highs[i];
    }
    for (size_t i = 1; i < PART; i++) {
        lows[0] = lows[i] < lows[0] ? lows[i] : lows[0];
        highs[0] = highs[i] > highs[0] ? highs[i] : highs[0];
    }
    *low = lows[0];
    *high = highs[0];
}

/* The most common of values spread over a row: a value that more than half of it has is hardly ever
 * another one. *n: how many of them have it. */
static float guess_common(const float *row, uint32_t width, uint32_t *n)
{
    float values[SAMPLES];
    uint32_t best = 0, n_best = 0;
    for (uint32_t i = 0; i < SAMPLES; i++)
        values[i] = row[(uint64_t)i * width / SAMPLES];
    for (uint32_t i = 0; i + n_best < SAMPLES; i++) {
        uint32_t n_equal = 0;
        for (uint32_t k = i; k < SAMPLES; k++)
            n_equal += values[k] == values[i];
        best = n_equal > n_best ? i : best;
        n_best = n_equal > n_best ? n_equal : n_best;
    }
    *n = n_best;
    return values[best];
}

static void take_end(const float *row, uint32_t width, int end, struct row *out)
{
    const uint32_t last = width - 1;
    const float value = row[end == 0 ? 0 : last];
    uint32_t n = 1;
    while (n < width && row[end == 0 ? n : last - n] == value)
        n++;
    out->ends[end].value = value;
    out->ends[end].n = n;
    out->ends[end].after = n == width ? value : row[end == 0 ? n : last - n];
}

void bars_scan_add_row(struct bars_scan *scan, const float *row)
{
    const uint32_t width = scan->width;
    assert(scan->n_rows < scan->height);
    struct row *out = &scan->rows[scan->n_rows++];
    take_end(row, width, 0, out);
    take_end(row, width, 1, out);
    uint32_t n_samples;
    out->common = guess_common(row, width, &n_samples);
    find_range(row, width, &out->low, &out->high);
    if (n_samples >= SAMPLES_MIN) {
        out->n_common = count_equal(row, width, out->common);
        out->n_low = count_equal(row, width, out->low);
        out->n_high = count_equal(row, width, out->high);
    }
    scan->low = out->low < scan->low ? out->low : scan->low;
    scan->high = out->high > scan->high ? out->high : scan->high;
    for (uint32_t x = 0; x < width; x++)
        scan->n_missing += isnan(row[x]);
}

/* ---- what was found ---- */

/* The rows between first and end - 1 that are not part of a strip yet, and the columns. */
struct search {
    const struct bars_scan *scan;
    uint32_t top, bottom;
    struct {
        float value;
        uint32_t n;
    } sides[2]; /* left and right: how many pixels all rows, but constant ones, begin with */
    struct bar *found;
    uint32_t n_found;
};

static void propose(struct search *search, enum bar_kind kind, uint32_t x, uint32_t y,
                    uint32_t width, uint32_t height)
{
    search->found[search->n_found++] = (struct bar){kind, {x, y, width, height}};
}

/* Row number `i` of those that are left, from the top (edge 0) or from the bottom. */
static const struct row *row_at(const struct search *search, int edge, uint32_t i)
{
    return &search->scan->rows[edge == 0 ? search->top + i : search->bottom - 1 - i];
}

static void take_off(struct search *search, enum bar_kind kind, int edge, uint32_t n)
{
    if (edge == 0) {
        propose(search, kind, 0, search->top, search->scan->width, n);
        search->top += n;
    } else {
        search->bottom -= n;
        propose(search, kind, 0, search->bottom, search->scan->width, n);
    }
}

static bool is_constant(const struct row *row, uint32_t width)
{
    return row->ends[0].n == width;
}

/* What may be a border to the left (end 0) or right. */
static void look_aside(struct search *search, int end)
{
    const struct bars_scan *scan = search->scan;
    uint32_t n = scan->width, n_seen = 0;
    float value = 0;
    for (uint32_t y = 0; y < scan->height && n > 0; y++) {
        const struct row *row = &scan->rows[y];
        if (is_constant(row, scan->width))
            continue;
        if (n_seen++ > 0 && row->ends[end].value != value)
            n = 0;
        value = row->ends[end].value;
        n = row->ends[end].n < n ? row->ends[end].n : n;
    }
    search->sides[end].value = value;
    search->sides[end].n = n_seen > 0 ? n : 0;
}

/* How much of a row has a value, but for borders to its left and right. */
static double share_of(const struct search *search, const struct row *row, float value)
{
    const uint32_t width = search->scan->width;
    uint32_t n_aside = 0;
    if (row->common != value || row->n_common == 0)
        return 0;
    for (int end = 0; end < 2; end++)
        n_aside += search->sides[end].value == value ? search->sides[end].n : 0;
    return n_aside >= width ? 1 : (double)(row->n_common - n_aside) / (width - n_aside);
}

static void find_border_rows(struct search *search, int edge)
{
    const uint32_t width = search->scan->width, n_left = search->bottom - search->top;
    const float value = row_at(search, edge, 0)->common;
    uint32_t n = 0;
    while (n < n_left && is_constant(row_at(search, edge, n), width) &&
           row_at(search, edge, n)->common == value)
        n++;
    if (n == 0 || n_left - n < SPECIMEN_MIN * search->scan->height)
        return;
    const struct row *next = row_at(search, edge, n);
    if (!is_constant(next, width) && share_of(search, next, value) <= SHARE_BEYOND)
        take_off(search, BAR_BORDER, edge, n);
}

/* A strip of rows, counted from the edge. */
struct strip {
    uint32_t n_rows, n_blank, n_text;
    float low, high;
    uint64_t n_ink; /* pixels that are not background */
};

static struct strip find_strip(const struct search *search, int edge, float background)
{
    const uint32_t width = search->scan->width, n_left = search->bottom - search->top;
    struct strip strip = {.low = background, .high = background};
    for (; strip.n_rows < n_left; strip.n_rows++) {
        const struct row *row = row_at(search, edge, strip.n_rows);
        if (row->common != background || row->n_common < SHARE_OF_BACKGROUND * width)
            break;
        const uint32_t n_ink = width - row->n_common;
        strip.n_ink += n_ink;
        strip.n_blank += n_ink == 0;
        strip.n_text += n_ink > 0;
        strip.low = row->low < strip.low ? row->low : strip.low;
        strip.high = row->high > strip.high ? row->high : strip.high;
    }
    return strip;
}

/* Whether what is not background is mostly text: at one side of it, far away, much of one value. */
static bool is_text(const struct search *search, int edge, const struct strip *strip,
                    float background)
{
    const bool is_bright = strip->high - background > background - strip->low;
    const float text = is_bright ? strip->high : strip->low;
    uint64_t n = 0;
    if ((is_bright ? strip->low : strip->high) != background ||
        fabs((double)text - background) <
            CONTRAST * ((double)search->scan->high - search->scan->low))
        return false;
    for (uint32_t i = 0; i < strip->n_rows; i++) {
        const struct row *row = row_at(search, edge, i);
        if ((is_bright ? row->high : row->low) == text)
            n += is_bright ? row->n_high : row->n_low;
    }
    return (double)n >= SHARE_OF_TEXT * (double)strip->n_ink;
}

/* Whether the rows beside a strip have nothing of its background, but for a line between them. */
static bool ends_abruptly(const struct search *search, int edge, uint32_t n_rows, float background)
{
    const uint32_t first = n_rows + SEPARATOR_ROWS, n_left = search->bottom - search->top;
    double sum = 0;
    if (first + BESIDE_ROWS > n_left)
        return false;
    for (uint32_t i = 0; i < BESIDE_ROWS; i++)
        sum += share_of(search, row_at(search, edge, first + i), background);
    return sum <= SHARE_BEYOND * BESIDE_ROWS;
}

static void find_data_bar(struct search *search, int edge)
{
    const uint32_t height = search->scan->height;
    const float background = row_at(search, edge, 0)->common;
    const struct strip strip = find_strip(search, edge, background);
    if (strip.n_rows >= BAR_ROWS_MIN && strip.n_rows <= BAR_HEIGHT_MAX * height &&
        strip.n_blank >= BAR_BLANK_ROWS_MIN && strip.n_text >= BAR_TEXT_ROWS_MIN &&
        is_text(search, edge, &strip, background) &&
        ends_abruptly(search, edge, strip.n_rows, background))
        take_off(search, BAR_DATA, edge, strip.n_rows);
}

/* `end` as in struct row. */
static void find_border_columns(struct search *search, int end)
{
    const struct row *rows = search->scan->rows;
    const uint32_t width = search->scan->width;
    const float value = rows[search->top].ends[end].value;
    uint32_t n = width, n_beyond = 0;
    bool is_flat = true;
    float after = 0;
    for (uint32_t y = search->top; y < search->bottom; y++) {
        if (rows[y].ends[end].value != value)
            return;
        n = rows[y].ends[end].n < n ? rows[y].ends[end].n : n;
    }
    if (width - n < SPECIMEN_MIN * width)
        return;
    /* The column beside it: has it the value, or another one throughout? */
    for (uint32_t y = search->top, n_seen = 0; y < search->bottom; y++) {
        if (rows[y].ends[end].n > n) {
            n_beyond++;
            continue;
        }
        is_flat = is_flat && (n_seen++ == 0 || rows[y].ends[end].after == after);
        after = rows[y].ends[end].after;
    }
    if (!is_flat && n_beyond <= SHARE_BEYOND * (search->bottom - search->top))
        propose(search, BAR_BORDER, end == 0 ? 0 : width - n, search->top, n,
                search->bottom - search->top);
}

uint32_t bars_scan_find(const struct bars_scan *scan, struct bar out[BARS_MAX])
{
    struct search search = {.scan = scan, .bottom = scan->n_rows, .found = out};
    assert(scan->n_rows == scan->height);
    if (scan->width < SIDE_MIN || scan->height < SIDE_MIN)
        return 0;
    for (int end = 0; end < 2; end++)
        look_aside(&search, end);
    for (int edge = 0; edge < 2; edge++)
        find_border_rows(&search, edge);
    for (int edge = 0; edge < 2; edge++)
        find_data_bar(&search, edge);
    for (int end = 0; end < 2; end++)
        find_border_columns(&search, end);
    return search.n_found;
}
