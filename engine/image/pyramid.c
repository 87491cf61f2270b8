/* Making: each level has one row of tiles, which is written when it is full, and, above level 0,
 * one row of sums: what level 0 has in the areas of its pixels, as far as the rows have come. Sums
 * are handed upwards before they are rounded. */
#include "engine/image/pyramid.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct maker_level {
    uint8_t *tiles; /* columns x PYRAMID_TILE_SIZE; owned */
    uint32_t *sums; /* width; NULL at level 0; owned */
};

struct pyramid_maker {
    const struct pyramid *pyramid;
    pyramid_write_tiles write;
    void *context;
    uint32_t n_rows; /* of level 0, that were added */
    uint8_t *row;    /* one of level 1; owned */
    struct maker_level levels[PYRAMID_LEVELS_MAX];
};

/* n / d, rounded up, without overflow. */
static uint32_t divide_up(uint32_t n, uint32_t d)
{
    return n / d + (n % d != 0);
}

static bool is_one_tile(const struct pyramid_level *level)
{
    return level->columns == 1 && level->rows == 1;
}

void pyramid_plan(struct pyramid *out, uint32_t width, uint32_t height)
{
    assert(width > 0 && height > 0);
    struct pyramid plan = {.n_levels = 0};
    do {
        struct pyramid_level *level = &plan.levels[plan.n_levels];
        level->width = divide_up(width, UINT32_C(1) << plan.n_levels);
        level->height = divide_up(height, UINT32_C(1) << plan.n_levels);
        level->columns = divide_up(level->width, PYRAMID_TILE_WIDTH);
        level->rows = divide_up(level->height, PYRAMID_TILE_HEIGHT);
        level->first = plan.n_tiles;
        plan.n_tiles += (uint64_t)level->columns * level->rows;
        plan.n_levels++;
    } while (plan.n_levels < PYRAMID_LEVELS_MAX && !is_one_tile(&plan.levels[plan.n_levels - 1]));
    *out = plan;
}

void pyramid_quantise(const float *values, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const double scaled = floor((double)values[i] * 255 + 0.5);
        out[i] = scaled > 0 ? (scaled < 255 ? (uint8_t)scaled : 255) : 0;
    }
}

/* ---- making ---- */

int pyramid_maker_create(struct pyramid_maker **out, const struct pyramid *pyramid,
                         pyramid_write_tiles write, void *context, struct error *err)
{
    struct pyramid_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL)
        return error_set_nomem(err, "an image's levels");
    maker->pyramid = pyramid;
    maker->write = write;
    maker->context = context;
    bool is_there = true;
    for (uint32_t k = 0; k < pyramid->n_levels; k++) {
        const struct pyramid_level *level = &pyramid->levels[k];
        maker->levels[k].tiles = calloc(level->columns, PYRAMID_TILE_SIZE);
        is_there = is_there && maker->levels[k].tiles != NULL;
        if (k == 0)
            continue;
        maker->levels[k].sums = calloc(level->width, sizeof(uint32_t));
        is_there = is_there && maker->levels[k].sums != NULL;
    }
    maker->row = malloc(divide_up(pyramid->levels[0].width, 2));
    if (!is_there || maker->row == NULL) {
        pyramid_maker_destroy(maker);
        return error_set_nomem(err, "an image's levels");
    }
    *out = maker;
    return 0;
}

void pyramid_maker_destroy(struct pyramid_maker *maker)
{
    if (maker == NULL)
        return;
    for (uint32_t k = 0; k < PYRAMID_LEVELS_MAX; k++) {
        free(maker->levels[k].tiles);
        free(maker->levels[k].sums);
    }
    free(maker->row);
    free(maker);
}

/* Puts row y of a level into its tiles, which are written when they are full. */
static int put_row(struct pyramid_maker *maker, uint32_t k, uint32_t y, const uint8_t *row,
                   struct error *err)
{
    const struct pyramid_level *level = &maker->pyramid->levels[k];
    const uint32_t in_tile = y % PYRAMID_TILE_HEIGHT;
    uint8_t *tiles = maker->levels[k].tiles;
    /* Tiles that the image does not fill: what the row before left there. */
    if (in_tile == 0 && level->height - y < PYRAMID_TILE_HEIGHT)
        memset(tiles, 0, (size_t)level->columns * PYRAMID_TILE_SIZE);
    for (uint32_t c = 0; c < level->columns; c++) {
        const uint32_t x = c * PYRAMID_TILE_WIDTH;
        const uint32_t n =
            level->width - x < PYRAMID_TILE_WIDTH ? level->width - x : PYRAMID_TILE_WIDTH;
        memcpy(tiles + (size_t)c * PYRAMID_TILE_SIZE + (size_t)in_tile * PYRAMID_TILE_WIDTH,
               row + x, n);
    }
    if (in_tile + 1 < PYRAMID_TILE_HEIGHT && y + 1 < level->height)
        return 0;
    return maker->write(maker->context,
                        level->first + (uint64_t)(y / PYRAMID_TILE_HEIGHT) * level->columns,
                        level->columns, tiles, err);
}

static void fold_bytes(const uint8_t *row, uint32_t width, uint32_t *sums)
{
    for (uint32_t x = 0; x < width / 2; x++)
        sums[x] += (uint32_t)row[2 * x] + row[2 * x + 1];
    if (width % 2 != 0)
        sums[width / 2] += row[width - 1];
}

static void fold_sums(const uint32_t *row, uint32_t width, uint32_t *sums)
{
    for (uint32_t x = 0; x < width / 2; x++)
        sums[x] += row[2 * x] + row[2 * x + 1];
    if (width % 2 != 0)
        sums[width / 2] += row[width - 1];
}

/* How many of the `size` pixels of level 0 pixel i of level k covers on an axis. */
static uint32_t covered(uint32_t i, uint32_t k, uint32_t size)
{
    const uint32_t left = size - (i << k);
    return left < UINT32_C(1) << k ? left : UINT32_C(1) << k;
}

static uint8_t mean(uint32_t sum, uint32_t n)
{
    return (uint8_t)(((uint64_t)sum + n / 2) / n);
}

/* Row y of level k, from its sums. All pixels but the last have areas of one size. */
static void make_means(const struct pyramid_maker *maker, uint32_t k, uint32_t y)
{
    const struct pyramid_level *whole = &maker->pyramid->levels[0];
    const uint32_t *sums = maker->levels[k].sums;
    const uint32_t last = maker->pyramid->levels[k].width - 1;
    const uint32_t height = covered(y, k, whole->height);
    const uint32_t area = height << k;
    if (height == UINT32_C(1) << k) {
        for (uint32_t x = 0; x < last; x++)
            maker->row[x] = (uint8_t)((sums[x] + area / 2) >> (2 * k));
    } else {
        for (uint32_t x = 0; x < last; x++)
            maker->row[x] = mean(sums[x], area);
    }
    maker->row[last] = mean(sums[last], covered(last, k, whole->width) * height);
}

static int add_row(struct pyramid_maker *maker, const uint8_t *row, struct error *err)
{
    const struct pyramid *pyramid = maker->pyramid;
    const uint32_t height = pyramid->levels[0].height;
    int rc = put_row(maker, 0, maker->n_rows, row, err);
    const uint32_t n = ++maker->n_rows;
    if (pyramid->n_levels > 1)
        fold_bytes(row, pyramid->levels[0].width, maker->levels[1].sums);
    /* The levels of which this row ends one. */
    for (uint32_t k = 1; rc == 0 && k < pyramid->n_levels; k++) {
        if (n < height && n % (UINT32_C(1) << k) != 0)
            return 0;
        const uint32_t y = (n - 1) >> k, width = pyramid->levels[k].width;
        uint32_t *sums = maker->levels[k].sums;
        make_means(maker, k, y);
        rc = put_row(maker, k, y, maker->row, err);
        if (k + 1 < pyramid->n_levels)
            fold_sums(sums, width, maker->levels[k + 1].sums);
        memset(sums, 0, width * sizeof(sums[0]));
    }
    return rc;
}

int pyramid_maker_add(struct pyramid_maker *maker, const uint8_t *rows, uint32_t n,
                      struct error *err)
{
    const struct pyramid_level *whole = &maker->pyramid->levels[0];
    assert(n <= whole->height - maker->n_rows);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = add_row(maker, rows + (size_t)i * whole->width, err);
    return rc;
}

/* ---- reading ---- */

/* Copies what row `row` of a level's tiles has of the window. `tiles`: those from column `first`
 * on. */
static void copy_tiles(const uint8_t *tiles, uint32_t first, uint32_t row,
                       const struct chip_rect *window, uint8_t *out)
{
    const uint32_t top = row * PYRAMID_TILE_HEIGHT, right = window->x + window->width;
    const uint32_t from = top > window->y ? top : window->y;
    const uint32_t below = window->y + window->height;
    const uint32_t end = below - top < PYRAMID_TILE_HEIGHT ? below : top + PYRAMID_TILE_HEIGHT;
    for (uint32_t y = from; y < end; y++) {
        uint8_t *to = out + (size_t)(y - window->y) * window->width;
        for (uint32_t x = window->x; x < right;) {
            const uint32_t in_tile = x % PYRAMID_TILE_WIDTH;
            const uint32_t left = PYRAMID_TILE_WIDTH - in_tile;
            const uint32_t n = right - x < left ? right - x : left;
            const uint8_t *tile =
                tiles + (size_t)(x / PYRAMID_TILE_WIDTH - first) * PYRAMID_TILE_SIZE;
            memcpy(to, tile + (size_t)(y - top) * PYRAMID_TILE_WIDTH + in_tile, n);
            to += n;
            x += n;
        }
    }
}

int pyramid_read(const struct pyramid *pyramid, uint32_t level, const struct chip_rect *window,
                 pyramid_read_tiles read, void *context, uint8_t *out, struct error *err)
{
    assert(level < pyramid->n_levels);
    const struct pyramid_level *l = &pyramid->levels[level];
    assert(window->width > 0 && window->x < l->width && window->width <= l->width - window->x);
    assert(window->height > 0 && window->y < l->height && window->height <= l->height - window->y);
    const uint32_t first = window->x / PYRAMID_TILE_WIDTH;
    const uint32_t n = (window->x + window->width - 1) / PYRAMID_TILE_WIDTH - first + 1;
    const uint32_t last_row = (window->y + window->height - 1) / PYRAMID_TILE_HEIGHT;
    uint8_t *tiles = malloc((size_t)n * PYRAMID_TILE_SIZE);
    int rc = tiles == NULL ? error_set_nomem(err, "a picture's pixels") : 0;
    for (uint32_t row = window->y / PYRAMID_TILE_HEIGHT; rc == 0 && row <= last_row; row++) {
        rc = read(context, l->first + (uint64_t)row * l->columns + first, n, tiles, err);
        if (rc == 0)
            copy_tiles(tiles, first, row, window, out);
    }
    free(tiles);
    return rc;
}
