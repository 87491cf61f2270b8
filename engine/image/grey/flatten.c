/* Both kinds of background rest on blocks: polynomials on their means, the large scale on their
 * medians. Coordinates of polynomials run from -1 to 1 over the image, so that the normal equations
 * are well enough conditioned for doubles up to the fourth order.
 */
#include "engine/image/grey/flatten.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TERMS_MAX = (FLATTEN_ORDER_MAX + 1) * (FLATTEN_ORDER_MAX + 2) / 2,
    MEDIAN_SAMPLES = 4096, /* of a block, evenly spread, at most about four times as many */
};

static const enum flatten_method all_methods[] = {FLATTEN_PLANE, FLATTEN_POLYNOMIAL,
                                                  FLATTEN_LARGE_SCALE};

const char *flatten_method_name(enum flatten_method method)
{
    switch (method) {
    case FLATTEN_NONE:
        return "none";
    case FLATTEN_PLANE:
        return "plane";
    case FLATTEN_POLYNOMIAL:
        return "polynomial";
    case FLATTEN_LARGE_SCALE:
        return "large_scale";
    }
    return "unknown";
}

int flatten_method_parse(const char *name, enum flatten_method *out, struct error *err)
{
    for (size_t i = 0; i < sizeof(all_methods) / sizeof(all_methods[0]); i++) {
        if (strcmp(name, flatten_method_name(all_methods[i])) == 0) {
            *out = all_methods[i];
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID,
                     "flatten.method must be plane, polynomial or large_scale, but is '%.40s'",
                     name);
}

int flatten_params_check(const struct flatten_params *params, struct error *err)
{
    if (strcmp(flatten_method_name(params->method), "unknown") == 0)
        return error_set(err, ERROR_INVALID, "flatten.method %d is unknown", (int)params->method);
    if (params->method == FLATTEN_POLYNOMIAL &&
        (params->order < FLATTEN_ORDER_MIN || params->order > FLATTEN_ORDER_MAX))
        return error_set(err, ERROR_INVALID, "flatten.order must be %d to %d, but is %u",
                         FLATTEN_ORDER_MIN, FLATTEN_ORDER_MAX, params->order);
    if (params->method == FLATTEN_LARGE_SCALE &&
        (params->scale < FLATTEN_SCALE_MIN || params->scale > FLATTEN_SCALE_MAX))
        return error_set(err, ERROR_INVALID, "flatten.scale must be %d to %d, but is %u",
                         FLATTEN_SCALE_MIN, FLATTEN_SCALE_MAX, params->scale);
    return 0;
}

void flatten_key(const struct flatten_params *params, char out[FLATTEN_KEY_SIZE])
{
    const char *name = flatten_method_name(params->method);
    switch (params->method) {
    case FLATTEN_NONE:
        out[0] = '\0';
        break;
    case FLATTEN_PLANE:
        snprintf(out, FLATTEN_KEY_SIZE, " %s", name);
        break;
    case FLATTEN_POLYNOMIAL:
        snprintf(out, FLATTEN_KEY_SIZE, " %s %u", name, params->order);
        break;
    case FLATTEN_LARGE_SCALE:
        snprintf(out, FLATTEN_KEY_SIZE, " %s %u", name, params->scale);
        break;
    }
}

struct plane {
    float *pixels;
    uint32_t width, height;
    const struct cancel *cancel;
};

static int check_cancel(const struct plane *plane, struct error *err)
{
    return cancel_is_asked(plane->cancel)
               ? error_set(err, ERROR_CANCELLED, "image: flattening was called off")
               : 0;
}

/* Block i of n along a side. */
static uint32_t block_begin(uint32_t size, uint32_t n, uint32_t i)
{
    return (uint32_t)((uint64_t)size * i / n);
}

/* ---- polynomials ---- */

/* Means of x^0, x^1, ... over some columns or rows, so that the block means of a polynomial are
 * fitted without remainder. */
struct powers {
    double of[FLATTEN_ORDER_MAX + 1];
};

struct block {
    const struct powers *x, *y;
    double mean;
    double n; /* pixels that are there; 0: no part of the fit */
};

struct fit {
    uint32_t order, n_terms;
    double terms[TERMS_MAX];
};

/* Of a pixel's middle, from -1 to 1. */
static double to_unit(uint32_t pixel, uint32_t size)
{
    return (2.0 * pixel + 1.0) / size - 1.0;
}

static void average_powers(uint32_t size, uint32_t n_blocks, struct powers *out)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint32_t begin = block_begin(size, n_blocks, i);
        const uint32_t end = block_begin(size, n_blocks, i + 1);
        out[i] = (struct powers){{0.0}};
        for (uint32_t pixel = begin; pixel < end; pixel++) {
            double power = 1.0;
            for (uint32_t k = 0; k <= FLATTEN_ORDER_MAX; k++, power *= to_unit(pixel, size))
                out[i].of[k] += power / (end - begin);
        }
    }
}

/* Blocks of rows first .. end - 1, one beside another. */
static void average_row(const struct plane *plane, uint32_t first, uint32_t end, uint32_t n_blocks,
                        struct block *blocks)
{
    for (uint32_t i = 0; i < n_blocks; i++) {
        const uint32_t left = block_begin(plane->width, n_blocks, i);
        const uint32_t right = block_begin(plane->width, n_blocks, i + 1);
        double sum = 0.0;
        uint64_t n = 0;
        for (uint32_t y = first; y < end; y++) {
            const float *row = plane->pixels + (size_t)y * plane->width;
            for (uint32_t x = left; x < right; x++) {
                const bool is_there = isfinite(row[x]);
                sum += is_there ? (double)row[x] : 0.0;
                n += is_there;
            }
        }
        blocks[i].mean = n > 0 ? sum / (double)n : 0.0;
        blocks[i].n = (double)n;
    }
}

static void get_terms(uint32_t order, const struct block *block, double out[TERMS_MAX])
{
    for (uint32_t i = 0, k = 0; i <= order; i++) {
        for (uint32_t j = 0; i + j <= order; j++)
            out[k++] = block->x->of[i] * block->y->of[j];
    }
}

/* Solves a x = b by Cholesky's decomposition, in place; false: a is not positive definite. */
static bool solve(double a[TERMS_MAX][TERMS_MAX], double b[TERMS_MAX], uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (uint32_t k = 0; k < j; k++)
                sum -= a[i][k] * a[j][k];
            if (i == j && !(sum > 1e-10 * a[i][i]))
                return false;
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < i; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    for (uint32_t i = n; i-- > 0;) {
        for (uint32_t k = i + 1; k < n; k++)
            b[i] -= a[k][i] * b[k];
        b[i] /= a[i][i];
    }
    return true;
}

static bool fit_blocks(const struct block *blocks, size_t n_blocks, struct fit *fit)
{
    double a[TERMS_MAX][TERMS_MAX] = {{0.0}}, b[TERMS_MAX] = {0.0}, terms[TERMS_MAX];
    for (size_t i = 0; i < n_blocks; i++) {
        get_terms(fit->order, &blocks[i], terms);
        for (uint32_t j = 0; j < fit->n_terms; j++) {
            b[j] += blocks[i].n * terms[j] * blocks[i].mean;
            for (uint32_t k = 0; k <= j; k++)
                a[j][k] += blocks[i].n * terms[j] * terms[k];
        }
    }
    if (!solve(a, b, fit->n_terms))
        return false;
    memcpy(fit->terms, b, sizeof(b));
    return true;
}

static double mean_in(const struct fit *fit, const struct block *block)
{
    double terms[TERMS_MAX], sum = 0.0;
    get_terms(fit->order, block, terms);
    for (uint32_t i = 0; i < fit->n_terms; i++)
        sum += fit->terms[i] * terms[i];
    return sum;
}

/* Leaves blocks out that are far off. */
static void drop_outliers(const struct fit *fit, struct block *blocks, size_t n_blocks)
{
    double sum = 0.0, n = 0.0;
    for (size_t i = 0; i < n_blocks; i++) {
        const double off = blocks[i].mean - mean_in(fit, &blocks[i]);
        sum += blocks[i].n * off * off;
        n += blocks[i].n;
    }
    const double most = FLATTEN_OUTLIER * sqrt(sum / n);
    for (size_t i = 0; i < n_blocks; i++) {
        if (fabs(blocks[i].mean - mean_in(fit, &blocks[i])) > most)
            blocks[i].n = 0.0;
    }
}

/* The polynomial in x of a row, by Horner's rule, and its mean over the blocks taken off. */
static void subtract_row(const struct plane *plane, const struct fit *fit, double mean, uint32_t y)
{
    float *row = plane->pixels + (size_t)y * plane->width;
    double in_x[FLATTEN_ORDER_MAX + 1] = {0.0};
    const double unit_y = to_unit(y, plane->height);
    for (uint32_t i = 0, k = 0; i <= fit->order; i++) {
        double power = 1.0;
        for (uint32_t j = 0; i + j <= fit->order; j++, power *= unit_y)
            in_x[i] += fit->terms[k++] * power;
    }
    in_x[0] -= mean;
    for (uint32_t x = 0; x < plane->width; x++) {
        const double unit_x = to_unit(x, plane->width);
        double value = in_x[fit->order];
        for (uint32_t i = fit->order; i-- > 0;)
            value = value * unit_x + in_x[i];
        row[x] = (float)((double)row[x] - value);
    }
}

static double mean_of_fit(const struct fit *fit, const struct block *blocks, size_t n_blocks)
{
    double sum = 0.0;
    for (size_t i = 0; i < n_blocks; i++)
        sum += mean_in(fit, &blocks[i]);
    return sum / (double)n_blocks;
}

static int flatten_polynomial(const struct plane *plane, uint32_t order, struct error *err)
{
    const uint32_t n_x = plane->width < FLATTEN_BLOCKS ? plane->width : FLATTEN_BLOCKS;
    const uint32_t n_y = plane->height < FLATTEN_BLOCKS ? plane->height : FLATTEN_BLOCKS;
    struct fit fit = {.order = order, .n_terms = (order + 1) * (order + 2) / 2};
    struct powers columns[FLATTEN_BLOCKS], rows[FLATTEN_BLOCKS];
    struct block *blocks = calloc((size_t)n_x * n_y, sizeof(*blocks));
    average_powers(plane->width, n_x, columns);
    average_powers(plane->height, n_y, rows);
    for (size_t i = 0; blocks != NULL && i < (size_t)n_x * n_y; i++)
        blocks[i] = (struct block){.x = &columns[i % n_x], .y = &rows[i / n_x]};
    int rc = blocks == NULL ? error_set_nomem(err, "the image's background") : 0;
    for (uint32_t j = 0; j < n_y && rc == 0; j++) {
        average_row(plane, block_begin(plane->height, n_y, j),
                    block_begin(plane->height, n_y, j + 1), n_x, blocks + (size_t)j * n_x);
        rc = check_cancel(plane, err);
    }
    const size_t n_blocks = (size_t)n_x * n_y;
    if (rc == 0 && fit_blocks(blocks, n_blocks, &fit)) {
        drop_outliers(&fit, blocks, n_blocks);
        fit_blocks(blocks, n_blocks, &fit);
        const double mean = mean_of_fit(&fit, blocks, n_blocks);
        for (uint32_t y = 0; y < plane->height && rc == 0; y++) {
            subtract_row(plane, &fit, mean, y);
            rc = check_cancel(plane, err);
        }
    }
    free(blocks);
    return rc;
}

/* ---- the large scale ---- */

/* Block medians, which become the background at the blocks' middles. */
struct mesh {
    uint32_t n_x, n_y;
    float *medians;  /* n_y x n_x; NaN: nothing of the block is there; owned */
    float *smoothed; /* the same, each with its neighbours; owned */
    float *samples;  /* of one block; owned */
};

/* The middle one of n values, the upper one of two, which changes their order (Hoare, 1961). */
static float select_median(float *values, size_t n)
{
    size_t first = 0, last = n - 1;
    while (first < last) {
        const float pivot = values[(first + last) / 2];
        size_t i = first, j = last;
        for (;;) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i >= j)
                break;
            const float other = values[i];
            values[i++] = values[j];
            values[j--] = other;
        }
        if (n / 2 <= j)
            last = j;
        else
            first = j + 1;
    }
    return values[n / 2];
}

static float block_median(const struct plane *plane, struct mesh *mesh, uint32_t column,
                          uint32_t row)
{
    const uint32_t left = block_begin(plane->width, mesh->n_x, column);
    const uint32_t right = block_begin(plane->width, mesh->n_x, column + 1);
    const uint32_t top = block_begin(plane->height, mesh->n_y, row);
    const uint32_t bottom = block_begin(plane->height, mesh->n_y, row + 1);
    uint32_t step = 1;
    while ((uint64_t)(right - left) * (bottom - top) / step / step > MEDIAN_SAMPLES)
        step++;
    size_t n = 0;
    for (uint32_t y = top; y < bottom; y += step) {
        for (uint32_t x = left; x < right; x += step) {
            const float value = plane->pixels[(size_t)y * plane->width + x];
            if (isfinite(value))
                mesh->samples[n++] = value;
        }
    }
    return n > 0 ? select_median(mesh->samples, n) : NAN;
}

static float median_around(const struct mesh *mesh, uint32_t column, uint32_t row)
{
    float values[9];
    size_t n = 0;
    for (uint32_t j = row > 0 ? row - 1 : 0; j <= row + 1 && j < mesh->n_y; j++) {
        for (uint32_t i = column > 0 ? column - 1 : 0; i <= column + 1 && i < mesh->n_x; i++) {
            const float value = mesh->medians[(size_t)j * mesh->n_x + i];
            if (!isnan(value))
                values[n++] = value;
        }
    }
    return n > 0 ? select_median(values, n) : NAN;
}

/* The mean of the mesh, which stands where there is nothing to tell; NaN: nowhere is. */
static float fill_mesh(struct mesh *mesh)
{
    double sum = 0.0, n = 0.0;
    for (uint32_t j = 0; j < mesh->n_y; j++) {
        for (uint32_t i = 0; i < mesh->n_x; i++) {
            const float value = median_around(mesh, i, j);
            mesh->smoothed[(size_t)j * mesh->n_x + i] = value;
            sum += isnan(value) ? 0.0 : (double)value;
            n += isnan(value) ? 0.0 : 1.0;
        }
    }
    const float mean = n > 0.0 ? (float)(sum / n) : NAN;
    for (size_t i = 0; i < (size_t)mesh->n_x * mesh->n_y; i++)
        mesh->smoothed[i] = isnan(mesh->smoothed[i]) ? mean : mesh->smoothed[i];
    return mean;
}

/* Between which blocks' middles a pixel lies, and how far. */
struct between {
    uint32_t first, second;
    double part; /* of the second */
};

static struct between find_between(uint32_t size, uint32_t n, uint32_t pixel)
{
    const double at = (pixel + 0.5) * n / size - 0.5;
    if (at <= 0.0)
        return (struct between){0, 0, 0.0};
    if (at >= n - 1)
        return (struct between){n - 1, n - 1, 0.0};
    const uint32_t first = (uint32_t)at;
    return (struct between){first, first + 1, at - first};
}

static void subtract_mesh_row(const struct plane *plane, const struct mesh *mesh, float mean,
                              uint32_t y)
{
    float *row = plane->pixels + (size_t)y * plane->width;
    const struct between rows = find_between(plane->height, mesh->n_y, y);
    const float *above = mesh->smoothed + (size_t)rows.first * mesh->n_x;
    const float *below = mesh->smoothed + (size_t)rows.second * mesh->n_x;
    for (uint32_t x = 0; x < plane->width; x++) {
        const struct between columns = find_between(plane->width, mesh->n_x, x);
        const double upper =
            above[columns.first] + columns.part * (above[columns.second] - above[columns.first]);
        const double lower =
            below[columns.first] + columns.part * (below[columns.second] - below[columns.first]);
        const double value = upper + rows.part * (lower - upper) - (double)mean;
        row[x] = (float)((double)row[x] - value);
    }
}

static int allocate_mesh(struct mesh *mesh, struct error *err)
{
    const size_t n = (size_t)mesh->n_x * mesh->n_y;
    mesh->medians = calloc(n, sizeof(*mesh->medians));
    mesh->smoothed = calloc(n, sizeof(*mesh->smoothed));
    /* A block's sides are cut to the steps' multiples, upwards. */
    mesh->samples =
        calloc((size_t)4 * MEDIAN_SAMPLES + 2 * FLATTEN_SCALE_MAX, sizeof(*mesh->samples));
    return mesh->medians == NULL || mesh->smoothed == NULL || mesh->samples == NULL
               ? error_set_nomem(err, "the image's background")
               : 0;
}

static uint32_t n_blocks_of(uint32_t size, uint32_t scale)
{
    const uint32_t n = (size + scale / 2) / scale;
    return n > 0 ? n : 1;
}

static int flatten_large_scale(const struct plane *plane, uint32_t scale, struct error *err)
{
    struct mesh mesh = {.n_x = n_blocks_of(plane->width, scale),
                        .n_y = n_blocks_of(plane->height, scale)};
    int rc = allocate_mesh(&mesh, err);
    for (uint32_t j = 0; j < mesh.n_y && rc == 0; j++) {
        for (uint32_t i = 0; i < mesh.n_x; i++)
            mesh.medians[(size_t)j * mesh.n_x + i] = block_median(plane, &mesh, i, j);
        rc = check_cancel(plane, err);
    }
    const float mean = rc == 0 ? fill_mesh(&mesh) : NAN;
    for (uint32_t y = 0; y < plane->height && rc == 0 && !isnan(mean); y++) {
        subtract_mesh_row(plane, &mesh, mean, y);
        rc = check_cancel(plane, err);
    }
    free(mesh.medians);
    free(mesh.smoothed);
    free(mesh.samples);
    return rc;
}

int flatten_apply(const struct flatten_params *params, float *pixels, uint32_t width,
                  uint32_t height, const struct cancel *cancel, struct error *err)
{
    const struct plane plane = {pixels, width, height, cancel};
    if (width == 0 || height == 0)
        return 0;
    switch (params->method) {
    case FLATTEN_NONE:
        return 0;
    case FLATTEN_PLANE:
        return flatten_polynomial(&plane, 1, err);
    case FLATTEN_POLYNOMIAL:
        return flatten_polynomial(&plane, params->order, err);
    case FLATTEN_LARGE_SCALE:
        return flatten_large_scale(&plane, params->scale, err);
    }
    return error_set(err, ERROR_INVALID, "flatten.method %d is unknown", (int)params->method);
}
