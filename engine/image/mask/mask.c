/* Chips are counted row of chips by row of chips: sums over the columns of the pixels' rows that it
 * has, moved along with it, and the sum of these from the left. So no pixel is looked at more than
 * twice, however the chips overlap. */
#include "engine/image/mask/mask.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WORD = 64 };

int mask_init(struct mask *out, uint32_t width, uint32_t height, struct error *err)
{
    struct mask mask = {.width = width, .height = height, .n_words = (width + WORD - 1) / WORD};
    mask.bits = calloc(mask.n_words * height, sizeof(*mask.bits));
    mask.n_of_row = calloc(height, sizeof(*mask.n_of_row));
    if (mask.bits == NULL || mask.n_of_row == NULL) {
        mask_clear(&mask);
        return error_set_nomem(err, "a mask");
    }
    *out = mask;
    return 0;
}

void mask_clear(struct mask *mask)
{
    free(mask->bits);
    free(mask->n_of_row);
    *mask = (struct mask){0};
}

/* ---- putting it together ---- */

static uint64_t *row_of(const struct mask *mask, uint32_t y)
{
    return mask->bits + y * mask->n_words;
}

/* Bits first .. end - 1 of a word. */
static uint64_t bits_between(uint32_t first, uint32_t end)
{
    const uint64_t below_end = end == WORD ? UINT64_MAX : (UINT64_C(1) << end) - 1;
    return below_end & ~((UINT64_C(1) << first) - 1);
}

static void set_run(struct mask *mask, uint32_t y, uint32_t first, uint32_t end)
{
    uint64_t *row = row_of(mask, y);
    while (first < end) {
        const uint32_t word = first / WORD, word_end = (word + 1) * WORD;
        const uint32_t last = end < word_end ? end : word_end;
        row[word] |= bits_between(first % WORD, last - word * WORD);
        first = last;
    }
}

/* After a row was changed. */
static void count_row(struct mask *mask, uint32_t y)
{
    const uint64_t *row = row_of(mask, y);
    uint32_t n = 0;
    for (size_t i = 0; i < mask->n_words; i++)
        n += (uint32_t)__builtin_popcountll(row[i]);
    mask->n_pixels += n - mask->n_of_row[y];
    mask->n_of_row[y] = n;
}

/* Of an axis of `side` pixels: where a rectangle that begins at `first` ends on it. */
static uint32_t end_within(uint32_t first, uint32_t length, uint32_t side)
{
    const uint64_t end = (uint64_t)first + length;
    return end < side ? (uint32_t)end : side;
}

void mask_add_rectangle(struct mask *mask, const struct chip_rect *rect)
{
    const uint32_t right = end_within(rect->x, rect->width, mask->width);
    const uint32_t bottom = end_within(rect->y, rect->height, mask->height);
    for (uint32_t y = rect->y; y < bottom; y++) {
        set_run(mask, y, rect->x, right);
        count_row(mask, y);
    }
}

/* The first pixel whose centre is at `x` or right of it. */
static uint32_t pixel_from(double x, uint32_t side)
{
    const double pixel = ceil(x - 0.5);
    return pixel <= 0 ? 0 : pixel < side ? (uint32_t)pixel : side;
}

/* Turns the bit of the first pixel to the right of each edge that crosses the line at height `y`.
 * An edge has its upper end and not its lower one, so that a line through a corner crosses one of
 * two edges that go on, and both or none of two that turn: their number is even. */
static void turn_at_crossings(const struct mask_point *points, size_t n_points, double y,
                              uint32_t side, uint64_t *turns)
{
    const struct mask_point *p = &points[n_points - 1];
    for (size_t i = 0; i < n_points; p = &points[i++]) {
        const struct mask_point *q = &points[i];
        if ((p->y <= y) == (q->y <= y))
            continue;
        const uint32_t x = pixel_from(p->x + (y - p->y) * ((q->x - p->x) / (q->y - p->y)), side);
        turns[x / WORD] ^= UINT64_C(1) << (x % WORD);
    }
}

/* Adds the pixels up to which an odd number of bits was turned. */
static void set_between_turns(struct mask *mask, uint32_t y, const uint64_t *turns)
{
    uint64_t *row = row_of(mask, y), before = 0;
    for (size_t i = 0; i < mask->n_words; i++) {
        uint64_t word = turns[i];
        for (int shift = 1; shift < WORD; shift *= 2)
            word ^= word << shift;
        word ^= before;
        row[i] |= word;
        before = word >> (WORD - 1) != 0 ? UINT64_MAX : 0;
    }
}

/* The crossings need no order: 10,000 edges may cross each of 32,768 rows. */
int mask_add_polygon(struct mask *mask, const struct mask_point *points, size_t n_points,
                     const struct cancel *cancel, struct error *err)
{
    double top = INFINITY, bottom = -INFINITY;
    const size_t n_words = mask->width / WORD + 1; /* crossings may be right of all pixels */
    uint64_t *turns = malloc(n_words * sizeof(*turns));
    if (turns == NULL)
        return error_set_nomem(err, "a polygon");
    for (size_t i = 0; i < n_points; i++) {
        top = fmin(top, points[i].y);
        bottom = fmax(bottom, points[i].y);
    }
    const uint32_t end = n_points > 0 ? pixel_from(bottom, mask->height) : 0;
    int rc = 0;
    for (uint32_t y = n_points > 0 ? pixel_from(top, mask->height) : 0; y < end && rc == 0; y++) {
        memset(turns, 0, n_words * sizeof(*turns));
        turn_at_crossings(points, n_points, y + 0.5, mask->width, turns);
        set_between_turns(mask, y, turns);
        count_row(mask, y);
        if (cancel_is_asked(cancel))
            rc = error_set(err, ERROR_CANCELLED, "a mask was no longer wanted");
    }
    free(turns);
    return rc;
}

void mask_add_missing(struct mask *mask, uint32_t y, const float *row)
{
    for (uint32_t x = 0; x < mask->width; x++) {
        if (isnan(row[x]))
            set_run(mask, y, x, x + 1);
    }
    count_row(mask, y);
}

void mask_add_zeros(struct mask *mask, uint32_t y, const float *row)
{
    for (uint32_t x = 0; x < mask->width; x++) {
        if (row[x] == 0)
            set_run(mask, y, x, x + 1);
    }
    count_row(mask, y);
}

void mask_count_rows(struct mask *mask)
{
    const uint32_t n_last = mask->width - (uint32_t)(mask->n_words - 1) * WORD;
    for (uint32_t y = 0; y < mask->height; y++) {
        row_of(mask, y)[mask->n_words - 1] &= bits_between(0, n_last);
        count_row(mask, y);
    }
}

/* ---- reading ---- */

/* The first pixel from `x` on whose bit, after `flip`, is set; the width when there is none. */
static uint32_t find_bit(const struct mask *mask, uint32_t y, uint32_t x, uint64_t flip)
{
    const uint64_t *row = row_of(mask, y);
    while (x < mask->width) {
        const uint64_t word = (row[x / WORD] ^ flip) >> (x % WORD);
        if (word != 0) {
            x += (uint32_t)__builtin_ctzll(word);
            break;
        }
        x = (x / WORD + 1) * WORD;
    }
    return x < mask->width ? x : mask->width;
}

bool mask_next_run(const struct mask *mask, uint32_t y, uint32_t *first, uint32_t *end)
{
    if (mask->n_of_row[y] == 0 || *first >= mask->width)
        return false;
    *first = find_bit(mask, y, *first, 0);
    *end = find_bit(mask, y, *first, UINT64_MAX);
    return *first < mask->width;
}

void mask_apply(const struct mask *mask, float *pixels)
{
    for (uint32_t y = 0; y < mask->height; y++) {
        float *row = pixels + (size_t)y * mask->width;
        uint32_t x = 0, end;
        for (; mask_next_run(mask, y, &x, &end); x = end) {
            for (uint32_t i = x; i < end; i++)
                row[i] = NAN;
        }
    }
}

uint64_t mask_count(const struct mask *mask, const struct chip_rect *rect)
{
    const uint32_t right = rect->x + rect->width;
    uint64_t n = 0;
    for (uint32_t y = rect->y; y < rect->y + rect->height; y++) {
        const uint64_t *row = row_of(mask, y);
        for (uint32_t x = rect->x; mask->n_of_row[y] > 0 && x < right;) {
            const uint32_t word = x / WORD, word_end = (word + 1) * WORD;
            const uint32_t end = right < word_end ? right : word_end;
            n += (uint64_t)__builtin_popcountll(row[word] &
                                                bits_between(x % WORD, end - word * WORD));
            x = end;
        }
    }
    return n;
}

/* Half of it stays: then a class's area is as often too large by a part of a chip as too small. */
static bool is_left_out(uint64_t n_pixels, uint32_t width, uint32_t height)
{
    return 2 * n_pixels > (uint64_t)width * height;
}

bool mask_leaves_out(const struct mask *mask, const struct chip_rect *rect)
{
    return is_left_out(mask_count(mask, rect), rect->width, rect->height);
}

/* ---- chips ---- */

/* Sums over rows first .. end - 1, for each column; then from the left. */
struct sums {
    const struct mask *mask;
    uint32_t first, end;
    uint32_t *columns; /* width */
    uint32_t *left;    /* width + 1: of all columns before */
};

static void add_row(struct sums *sums, uint32_t y, uint32_t sign)
{
    uint32_t x = 0, end;
    for (; mask_next_run(sums->mask, y, &x, &end); x = end) {
        for (uint32_t i = x; i < end; i++)
            sums->columns[i] += sign;
    }
}

static void move_to(struct sums *sums, uint32_t first, uint32_t end)
{
    for (; sums->first < first && sums->first < sums->end; sums->first++)
        add_row(sums, sums->first, UINT32_MAX);
    sums->first = first;
    sums->end = sums->end > first ? sums->end : first;
    for (; sums->end < end; sums->end++)
        add_row(sums, sums->end, 1);
    for (uint32_t x = 0; x < sums->mask->width; x++)
        sums->left[x + 1] = sums->left[x] + sums->columns[x];
}

static void take_chips(struct sums *sums, const struct grid *grid, uint8_t *out,
                       uint64_t *n_left_out)
{
    for (uint32_t row = 0; row < grid->rows; row++) {
        const uint64_t first = (uint64_t)row * grid->columns;
        const struct chip_rect begin = grid_chip(grid, first);
        move_to(sums, begin.y, begin.y + begin.height);
        for (uint32_t column = 0; column < grid->columns; column++) {
            const struct chip_rect chip = grid_chip(grid, first + column);
            const uint32_t n = sums->left[chip.x + chip.width] - sums->left[chip.x];
            out[first + column] = is_left_out(n, chip.width, chip.height);
            *n_left_out += out[first + column];
        }
    }
}

int mask_chips(const struct mask *mask, const struct grid *grid, uint8_t *out, uint64_t *n_left_out,
               struct error *err)
{
    struct sums sums = {.mask = mask,
                        .columns = calloc(mask->width, sizeof(*sums.columns)),
                        .left = calloc((size_t)mask->width + 1, sizeof(*sums.left))};
    int rc = sums.columns == NULL || sums.left == NULL ? error_set_nomem(err, "a mask's chips") : 0;
    *n_left_out = 0;
    if (rc == 0)
        take_chips(&sums, grid, out, n_left_out);
    free(sums.columns);
    free(sums.left);
    return rc;
}
