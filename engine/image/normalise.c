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

const struct normalise_params normalise_params_default = {
    .method = NORMALISE_PERCENTILE,
    .low = 0.5,
    .high = 99.5,
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

/* Keys of floats compare as the floats do (-0 just below 0). */
static uint32_t float_key(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static float key_float(uint32_t key)
{
    uint32_t bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
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
    double lowest;          /* value of level 0 */
    const float *pixels;
    size_t n;
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
        uint32_t key = float_key(selector->pixels[i]);
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
        struct walk walk = {.cancel = selector->cancel, .n = selector->n};
        while (next_part(&walk))
            count_lower(selector, &walk, upper);
        selector->is_cancelled |= walk.is_cancelled;
        selector->lower_of = upper;
    }
    return key_float(upper << 16 | find_bucket(selector->lower, &rank));
}

/* Hyndman and Fan's definition 7, NumPy's default. */
static double select_percentile(struct selector *selector, double percent)
{
    double position = percent / 100 * (double)(selector->n - 1);
    uint64_t rank = (uint64_t)position;
    double part = position - (double)rank;
    double low = select_rank(selector, rank);
    if (part == 0)
        return low;
    return low + part * (select_rank(selector, rank + 1) - low);
}

static int find_percentiles(const struct normalise_params *params, const float *pixels, size_t n,
                            const struct cancel *cancel, double *low, double *high,
                            struct error *err)
{
    struct selector selector = {.pixels = pixels, .n = n, .cancel = cancel, .lower_of = N_BUCKETS};
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
            selector.upper[float_key(pixels[i]) >> 16]++;
    }
    *low = select_percentile(&selector, params->low);
    *high = select_percentile(&selector, params->high);
    if (walk.is_cancelled || selector.is_cancelled)
        rc = set_cancelled(err);
out:
    free(selector.upper);
    free(selector.lower);
    return rc;
}

/* The extremes, or ERROR_INVALID when a value is not finite. */
static int find_extremes(const float *pixels, size_t n, const struct cancel *cancel, double *low,
                         double *high, struct error *err)
{
    struct walk walk = {.cancel = cancel, .n = n};
    float smallest = pixels[0];
    float largest = pixels[0];
    while (next_part(&walk)) {
        for (size_t i = walk.first; i < walk.end; i++) {
            if (!isfinite(pixels[i]))
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

static void stretch(float *pixels, size_t n, double low, double high)
{
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

int normalise_apply(const struct normalise_params *params, float *pixels, uint32_t width,
                    uint32_t height, const struct sample_range *full_scale,
                    const struct cancel *cancel, struct error *err)
{
    int rc = normalise_params_check(params, err);
    if (rc == 0)
        rc = check_full_scale(full_scale, err);
    if (rc != 0)
        return rc;
    if (width == 0 || height == 0)
        return error_set(err, ERROR_INVALID, "image: size %u x %u has no pixels", width, height);
    size_t n = (size_t)width * height;
    double low = 0;
    double high = 0;
    rc = find_extremes(pixels, n, cancel, &low, &high, err);
    if (rc != 0)
        return rc;
    switch (params->method) {
    case NORMALISE_PERCENTILE:
        rc = find_percentiles(params, pixels, n, cancel, &low, &high, err);
        break;
    case NORMALISE_MINMAX:
        break;
    case NORMALISE_NONE:
        low = full_scale->low;
        high = full_scale->high;
        break;
    }
    if (rc != 0)
        return rc;
    struct walk walk = {.cancel = cancel, .n = n};
    while (next_part(&walk))
        stretch(pixels + walk.first, walk.end - walk.first, low, high);
    if (walk.is_cancelled)
        return set_cancelled(err);
    return params->clahe.enabled ? clahe_apply(&params->clahe, pixels, width, height, cancel, err)
                                 : 0;
}

/* ---- levels ---- */

static void find_level_range(const struct normalise_params *params, const uint32_t *counts,
                             uint32_t n_levels, const struct sample_range *full_scale,
                             double lowest, double *low, double *high)
{
    struct selector selector = {.counts = counts, .lowest = lowest};
    uint32_t smallest = 0, largest = n_levels - 1;
    for (uint32_t i = 0; i < n_levels; i++)
        selector.n += counts[i];
    switch (params->method) {
    case NORMALISE_PERCENTILE:
        *low = select_percentile(&selector, params->low);
        *high = select_percentile(&selector, params->high);
        return;
    case NORMALISE_MINMAX:
        while (counts[smallest] == 0)
            smallest++;
        while (counts[largest] == 0)
            largest--;
        *low = lowest + smallest;
        *high = lowest + largest;
        return;
    case NORMALISE_NONE:
        *low = full_scale->low;
        *high = full_scale->high;
        return;
    }
}

int normalise_levels(const struct normalise_params *params, const uint32_t *counts,
                     enum sample_type type, const struct sample_range *full_scale, float *levels,
                     struct error *err)
{
    int rc = normalise_params_check(params, err);
    if (rc == 0)
        rc = check_full_scale(full_scale, err);
    if (rc != 0)
        return rc;
    const uint32_t n_levels = sample_type_n_levels(type);
    const double lowest = sample_type_range(type).low;
    double low = 0, high = 0;
    find_level_range(params, counts, n_levels, full_scale, lowest, &low, &high);
    for (uint32_t i = 0; i < n_levels; i++)
        levels[i] = (float)(lowest + i);
    stretch(levels, n_levels, low, high);
    return 0;
}
