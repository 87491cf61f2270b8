/* Percentiles are exact and take linear time: floats are mapped to unsigned keys of the same order,
 * the upper half of the keys is counted, and for each order statistic the lower half of the keys in
 * the one bucket that holds it. Nothing is sorted or copied.
 */
#include "engine/image/normalise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_BUCKETS = 1 << 16,
    CLIP_LIMIT_MAX = 100,
    TILES_MAX = 64,
    PART_PIXELS = 1 << 20, /* looked at before the cancel is asked again */
};

/* Of outliers (normalise.h). */
static const double FENCE = 20.0, NEAR_FENCE = 5.0; /* beyond the quartiles, in their distances */
static const double OUTLIERS_MAX = 0.05;            /* of the pixels */
static const double BETWEEN_MAX = 0.01;             /* of the outliers: between the two fences */

const struct normalise_params normalise_params_default = {
    .method = NORMALISE_PERCENTILE,
    .low = 0.5,
    .high = 99.5,
    .outliers = NORMALISE_REPLACE,
    .flatten = {.method = FLATTEN_NONE, .order = 2, .scale = 256},
    .clahe = {.enabled = false, .clip_limit = 2, .tiles = 8},
};

static const enum normalise_method all_methods[] = {NORMALISE_PERCENTILE, NORMALISE_MINMAX,
                                                    NORMALISE_NONE};

const char *normalise_method_name(enum normalise_method method)
{
    switch (method) {
    case NORMALISE_PERCENTILE:
        return "percentile";
    case NORMALISE_MINMAX:
        return "minmax";
    case NORMALISE_NONE:
        return "none";
    }
    return "unknown";
}

int normalise_method_parse(const char *name, enum normalise_method *out, struct error *err)
{
    for (size_t i = 0; i < sizeof(all_methods) / sizeof(all_methods[0]); i++) {
        if (strcmp(name, normalise_method_name(all_methods[i])) == 0) {
            *out = all_methods[i];
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID,
                     "normalise.method must be percentile, minmax or none, but is '%.40s'", name);
}

const char *normalise_outliers_name(enum normalise_outliers outliers)
{
    return outliers == NORMALISE_KEEP ? "keep" : "replace";
}

int normalise_outliers_parse(const char *name, enum normalise_outliers *out, struct error *err)
{
    const bool is_keep = strcmp(name, "keep") == 0;
    if (!is_keep && strcmp(name, "replace") != 0)
        return error_set(err, ERROR_INVALID,
                         "normalise.outliers must be keep or replace, but is '%.40s'", name);
    *out = is_keep ? NORMALISE_KEEP : NORMALISE_REPLACE;
    return 0;
}

bool normalise_is_by_level(const struct normalise_params *params)
{
    return params->flatten.method == FLATTEN_NONE && !params->clahe.enabled;
}

int normalise_params_check(const struct normalise_params *params, struct error *err)
{
    /* Written so that NaN fails. */
    if (params->method == NORMALISE_PERCENTILE &&
        !(params->low >= 0 && params->low < params->high && params->high <= 100))
        return error_set(
            err, ERROR_INVALID,
            "normalise.low and normalise.high must be percentages with 0 <= low < high "
            "<= 100, but are %g and %g",
            params->low, params->high);
    if (strcmp(normalise_method_name(params->method), "unknown") == 0)
        return error_set(err, ERROR_INVALID, "normalise.method %d is unknown", (int)params->method);
    if (flatten_params_check(&params->flatten, err) < 0)
        return ERROR_INVALID;
    const struct clahe_params *clahe = &params->clahe;
    if (!clahe->enabled)
        return 0;
    if (!(clahe->clip_limit >= 1 && clahe->clip_limit <= CLIP_LIMIT_MAX))
        return error_set(err, ERROR_INVALID, "clahe.clip_limit must be 1 to %d, but is %g",
                         CLIP_LIMIT_MAX, clahe->clip_limit);
    if (clahe->tiles < 1 || clahe->tiles > TILES_MAX)
        return error_set(err, ERROR_INVALID, "clahe.tiles must be 1 to %d, but is %u", TILES_MAX,
                         clahe->tiles);
    return 0;
}

/* All pixels, part by part. */
struct walk {
    const struct cancel *cancel;
    size_t n;
    size_t first, end; /* the part at hand */
    bool is_cancelled;
};

/* False: there is no other part, or it is not wanted any more. */
static bool next_part(struct walk *walk)
{
    if (walk->end == walk->n)
        return false;
    walk->is_cancelled = cancel_is_asked(walk->cancel);
    walk->first = walk->end;
    walk->end = walk->n - walk->first < PART_PIXELS ? walk->n : walk->first + PART_PIXELS;
    return !walk->is_cancelled;
}

static int set_cancelled(struct error *err)
{
    return error_set(err, ERROR_CANCELLED, "image: the normalisation was called off");
}

struct selector {
    const uint32_t *counts; /* of the levels; NULL when there are pixels */
    uint32_t n_levels;
    double lowest; /* value of level 0 */
    const float *pixels;
    size_t n_pixels; /* those without a value are behind the others */
    size_t n;        /* values */
    const struct cancel *cancel;
    bool is_cancelled; /* what is selected means nothing */
    uint64_t *upper;   /* N_BUCKETS: counts of the keys' upper halves */
    uint64_t *lower;   /* N_BUCKETS: counts of the lower halves in bucket `lower_of` */
    uint32_t lower_of; /* N_BUCKETS when `lower` is not filled yet */
};

/* The bucket in which the running sum passes *rank; *rank becomes the rank within it. */
static uint32_t find_bucket(const uint64_t *counts, uint64_t *rank)
{
    uint32_t bucket = 0;
    while (bucket < N_BUCKETS - 1 && *rank >= counts[bucket])
        *rank -= counts[bucket++];
    return bucket;
}

static void count_lower(struct selector *selector, const struct walk *walk, uint32_t upper)
{
    for (size_t i = walk->first; i < walk->end; i++) {
        uint32_t key = sample_float_key(selector->pixels[i]);
        if (key >> 16 == upper)
            selector->lower[key & 0xffff]++;
    }
}

/* The value that would stand at `rank` (0-based, below n) if the pixels were sorted. */
static double select_rank(struct selector *selector, uint64_t rank)
{
    if (selector->counts != NULL) {
        uint32_t level = 0;
        while (rank >= selector->counts[level])
            rank -= selector->counts[level++];
        return selector->lowest + level;
    }
    uint32_t upper = find_bucket(selector->upper, &rank);
    if (selector->lower_of != upper) {
        memset(selector->lower, 0, N_BUCKETS * sizeof(*selector->lower));
        struct walk walk = {.cancel = selector->cancel, .n = selector->n_pixels};
        while (next_part(&walk))
            count_lower(selector, &walk, upper);
        selector->is_cancelled |= walk.is_cancelled;
        selector->lower_of = upper;
    }
    return sample_key_float(upper << 16 | find_bucket(selector->lower, &rank));
}

/* Hyndman and Fan's definition 7, NumPy's default, of the `n` pixels that come behind the first
 * `n_before` in the order of their values. */
static double select_percentile(struct selector *selector, double percent, uint64_t n_before,
                                uint64_t n)
{
    double position = percent / 100 * (double)(n - 1);
    uint64_t rank = (uint64_t)position;
    double part = position - (double)rank;
    double low = select_rank(selector, n_before + rank);
    if (part == 0)
        return low;
    return low + part * (select_rank(selector, n_before + rank + 1) - low);
}

/* ---- outliers ---- */

struct fences {
    double low, near_low, near_high, high;
    uint64_t n_low, n_near_low, n_near_high, n_high; /* pixels beyond each */
};

static void count_beyond(struct fences *fences, double value, uint64_t n)
{
    fences->n_low += value < fences->low ? n : 0;
    fences->n_near_low += value < fences->near_low ? n : 0;
    fences->n_near_high += value > fences->near_high ? n : 0;
    fences->n_high += value > fences->high ? n : 0;
}

static void count_all_beyond(struct selector *selector, struct fences *fences)
{
    if (selector->counts != NULL) {
        for (uint32_t i = 0; i < selector->n_levels; i++)
            count_beyond(fences, selector->lowest + i, selector->counts[i]);
        return;
    }
    struct walk walk = {.cancel = selector->cancel, .n = selector->n_pixels};
    while (next_part(&walk)) {
        for (size_t i = walk.first; i < walk.end; i++)
            count_beyond(fences, selector->pixels[i], 1);
    }
    selector->is_cancelled |= walk.is_cancelled;
}

/* How many of the pixels beyond a fence are outliers: all or none. */
static uint64_t judge(uint64_t n_beyond, uint64_t n_beyond_near, size_t n)
{
    const double n_between = (double)(n_beyond_near - n_beyond);
    return (double)n_beyond <= OUTLIERS_MAX * (double)n &&
                   n_between <= BETWEEN_MAX * (double)n_beyond
               ? n_beyond
               : 0;
}

static void find_percentiles_of(struct selector *selector, const struct normalise_params *params,
                                struct normalise_range *out)
{
    const size_t n = selector->n;
    *out = (struct normalise_range){.low = select_percentile(selector, params->low, 0, n),
                                    .high = select_percentile(selector, params->high, 0, n)};
    if (params->outliers == NORMALISE_KEEP || out->low == out->high)
        return;
    const double q1 = select_percentile(selector, 25, 0, n);
    const double q3 = select_percentile(selector, 75, 0, n), w = q3 - q1;
    struct fences fences = {.low = q1 - FENCE * w,
                            .near_low = q1 - NEAR_FENCE * w,
                            .near_high = q3 + NEAR_FENCE * w,
                            .high = q3 + FENCE * w};
    /* Half of an image that is one value says nothing of how values spread. */
    if (!(w > 0) || (out->low >= fences.low && out->high <= fences.high))
        return;
    count_all_beyond(selector, &fences);
    const uint64_t n_low = judge(fences.n_low, fences.n_near_low, n);
    const uint64_t n_high = judge(fences.n_high, fences.n_near_high, n);
    if (!(out->low < fences.low && n_low > 0) && !(out->high > fences.high && n_high > 0))
        return;
    const size_t n_left = n - n_low - n_high;
    *out = (struct normalise_range){
        .low = select_percentile(selector, params->low, n_low, n_left),
        .high = select_percentile(selector, params->high, n_low, n_left),
        .n_outliers = n_low + n_high,
        .least = n_low > 0 ? fences.low : -INFINITY,
        .most = n_high > 0 ? fences.high : INFINITY,
        .median = select_percentile(selector, 50, n_low, n_left),
    };
}

/* The middle one, or the lower of two. */
static double select_median(struct selector *selector)
{
    return select_rank(selector, (selector->n - 1) / 2);
}

/* Of `n` pixels, `n_values` of which have a value: the percentiles, where they are asked for, and
 * what is to fill the others, where there are some. */
static int find_order(const struct normalise_params *params, const float *pixels, size_t n,
                      size_t n_values, const struct cancel *cancel, struct normalise_range *out,
                      struct error *err)
{
    struct selector selector = {
        .pixels = pixels, .n_pixels = n, .n = n_values, .cancel = cancel, .lower_of = N_BUCKETS};
    struct walk walk = {.cancel = cancel, .n = n};
    int rc = 0;
    selector.upper = calloc(N_BUCKETS, sizeof(*selector.upper));
    selector.lower = calloc(N_BUCKETS, sizeof(*selector.lower));
    if (selector.upper == NULL || selector.lower == NULL) {
        rc = error_set_nomem(err, "the percentiles");
        goto out;
    }
    while (next_part(&walk)) {
        for (size_t i = walk.first; i < walk.end; i++)
            selector.upper[sample_float_key(pixels[i]) >> 16]++;
    }
    if (params->method == NORMALISE_PERCENTILE)
        find_percentiles_of(&selector, params, out);
    if (n_values < n)
        out->fill = select_median(&selector);
    if (walk.is_cancelled || selector.is_cancelled)
        rc = set_cancelled(err);
out:
    free(selector.upper);
    free(selector.lower);
    return rc;
}

/* The extremes of the pixels that have a value, and how many these are; or ERROR_INVALID when one
 * is infinite. */
static int find_extremes(const float *pixels, size_t n, const struct cancel *cancel, double *low,
                         double *high, size_t *n_values, struct error *err)
{
    struct walk walk = {.cancel = cancel, .n = n};
    float smallest = INFINITY;
    float largest = -INFINITY;
    *n_values = n;
    while (next_part(&walk)) {
        for (size_t i = walk.first; i < walk.end; i++) {
            *n_values -= isnan(pixels[i]);
            if (isinf(pixels[i]))
                return error_set(err, ERROR_INVALID, "image: pixel %zu has the value %g", i,
                                 (double)pixels[i]);
            smallest = pixels[i] < smallest ? pixels[i] : smallest;
            largest = pixels[i] > largest ? pixels[i] : largest;
        }
    }
    *low = smallest;
    *high = largest;
    return walk.is_cancelled ? set_cancelled(err) : 0;
}

static void replace_outliers(const struct normalise_range *range, float *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (pixels[i] < range->least || pixels[i] > range->most)
            pixels[i] = (float)range->median;
    }
}

static void fill_missing(const struct normalise_range *range, float *pixels, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pixels[i] = isnan(pixels[i]) ? (float)range->fill : pixels[i];
}

static void stretch(const struct normalise_range *range, float *pixels, size_t n)
{
    const double low = range->low, high = range->high;
    fill_missing(range, pixels, n);
    if (range->n_outliers > 0)
        replace_outliers(range, pixels, n);
    if (!(high > low)) {
        for (size_t i = 0; i < n; i++)
            pixels[i] = pixels[i] > low ? 1 : 0;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double value = (pixels[i] - low) / (high - low);
        pixels[i] = (float)(value > 0 ? (value < 1 ? value : 1) : 0);
    }
}

static int check_full_scale(const struct sample_range *range, struct error *err)
{
    if (isfinite(range->low) && isfinite(range->high) && range->low < range->high)
        return 0;
    return error_set(err, ERROR_INVALID, "image: a full scale of %g to %g is none", range->low,
                     range->high);
}

static int check(const struct normalise_params *params, const struct sample_range *full_scale,
                 struct error *err)
{
    int rc = normalise_params_check(params, err);
    return rc == 0 ? check_full_scale(full_scale, err) : rc;
}

/* The range that is stretched, the image's own being `own`. */
static struct normalise_range given_or_own(const struct normalise_params *params,
                                           struct normalise_range own)
{
    if (params->given.is_given && params->method != NORMALISE_NONE) {
        own.low = params->given.low;
        own.high = params->given.high;
    }
    return own;
}

int normalise_find_range(const struct normalise_params *params, const float *pixels, uint32_t width,
                         uint32_t height, const struct sample_range *full_scale,
                         const struct cancel *cancel, struct normalise_range *out,
                         struct error *err)
{
    struct normalise_range range = {0};
    int rc = check(params, full_scale, err);
    if (rc != 0)
        return rc;
    if (width == 0 || height == 0)
        return error_set(err, ERROR_INVALID, "image: size %u x %u has no pixels", width, height);
    size_t n = (size_t)width * height, n_values = 0;
    rc = find_extremes(pixels, n, cancel, &range.low, &range.high, &n_values, err);
    if (rc != 0)
        return rc;
    if (n_values == 0)
        range = (struct normalise_range){0};
    if (params->method == NORMALISE_NONE)
        range = (struct normalise_range){.low = full_scale->low, .high = full_scale->high};
    if (n_values > 0 && (params->method == NORMALISE_PERCENTILE || n_values < n))
        rc = find_order(params, pixels, n, n_values, cancel, &range, err);
    if (rc == 0)
        *out = given_or_own(params, range);
    return rc;
}

int normalise_apply_range(const struct normalise_params *params,
                          const struct normalise_range *range, float *pixels, uint32_t width,
                          uint32_t height, const struct cancel *cancel, struct error *err)
{
    struct walk walk = {.cancel = cancel, .n = (size_t)width * height};
    while (next_part(&walk))
        stretch(range, pixels + walk.first, walk.end - walk.first);
    if (walk.is_cancelled)
        return set_cancelled(err);
    return params->clahe.enabled ? clahe_apply(&params->clahe, pixels, width, height, cancel, err)
                                 : 0;
}

int normalise_apply(const struct normalise_params *params, float *pixels, uint32_t width,
                    uint32_t height, const struct sample_range *full_scale,
                    const struct cancel *cancel, struct error *err)
{
    struct normalise_range range;
    int rc = normalise_params_check(params, err);
    if (rc == 0)
        rc = flatten_apply(&params->flatten, pixels, width, height, cancel, err);
    if (rc == 0)
        rc = normalise_find_range(params, pixels, width, height, full_scale, cancel, &range, err);
    return rc < 0 ? rc : normalise_apply_range(params, &range, pixels, width, height, cancel, err);
}

/* ---- levels ---- */

int normalise_find_level_range(const struct normalise_params *params, const uint32_t *counts,
                               enum sample_type type, const struct sample_range *full_scale,
                               struct normalise_range *out, struct error *err)
{
    int rc = check(params, full_scale, err);
    if (rc != 0)
        return rc;
    struct selector selector = {.counts = counts,
                                .n_levels = sample_type_n_levels(type),
                                .lowest = sample_type_range(type).low};
    uint32_t smallest = 0, largest = selector.n_levels - 1;
    for (uint32_t i = 0; i < selector.n_levels; i++)
        selector.n += counts[i];
    switch (params->method) {
    case NORMALISE_PERCENTILE:
        find_percentiles_of(&selector, params, out);
        break;
    case NORMALISE_MINMAX:
        while (counts[smallest] == 0)
            smallest++;
        while (counts[largest] == 0)
            largest--;
        *out = (struct normalise_range){.low = selector.lowest + smallest,
                                        .high = selector.lowest + largest};
        break;
    case NORMALISE_NONE:
        *out = (struct normalise_range){.low = full_scale->low, .high = full_scale->high};
        break;
    }
    *out = given_or_own(params, *out);
    return 0;
}

int normalise_levels(const struct normalise_params *params, const uint32_t *counts,
                     enum sample_type type, const struct sample_range *full_scale, float *levels,
                     struct error *err)
{
    struct normalise_range range;
    int rc = normalise_find_level_range(params, counts, type, full_scale, &range, err);
    if (rc != 0)
        return rc;
    const uint32_t n_levels = sample_type_n_levels(type);
    const double lowest = sample_type_range(type).low;
    for (uint32_t i = 0; i < n_levels; i++)
        levels[i] = (float)(lowest + i);
    stretch(&range, levels, n_levels);
    return 0;
}

uint32_t normalise_median_level(const uint32_t *counts, uint32_t n_levels)
{
    struct selector selector = {.counts = counts, .n_levels = n_levels};
    for (uint32_t i = 0; i < n_levels; i++)
        selector.n += counts[i];
    return selector.n == 0 ? 0 : (uint32_t)select_median(&selector);
}
