/* none: x. l2: x / |x|. cl2n: (x - mean) / |x - mean| (Wang et al., SimpleShot, 2019), the mean
 * being the image's chips'. standardise: z / |z| with z = (x - mean) / (std + STD_FLOOR). A zero
 * vector stays zero.
 *
 * The image's chips say in which dimensions it varies: between its classes, and within them. How
 * much within them the examples say, the more surely the more there are. With f = N - K degrees of
 * freedom, N examples of K classes, standardise takes
 *
 *     std^2 = (1 - u) s^2 + u p,     u = f / (f + WITHIN_SHARE)
 *
 * s^2 being the population's variance over the image's chips and p that of the examples within
 * their classes. The mean is the image's chips': to move it towards the classes' gained nothing.
 *
 * Statistics are taken in one pass in double by Welford's recurrence (Welford 1962), chip after
 * chip: exact for a constant dimension. Threads share the dimensions and not the chips, so that the
 * bytes are the same whatever their number.
 */
#include "engine/fewshot/transform.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/heads/prototypes.h"
#include "engine/give_way.h"

enum {
    PARTS = 32,
    COLUMNS = 128, /* dimensions that a thread takes at once: some lines of each embedding */
    LINE = 16,     /* floats of a cache line */
    AHEAD = 12,    /* chips whose columns are on their way from memory */
};

/* Components of the encoder's unit-length parts are about 0.05 in size. A dimension that varies by
 * rounding alone must not be blown up to the weight of the others; the training of the default
 * encoder uses the same number. */
static const double STD_FLOOR = 1e-6;

static const double WITHIN_SHARE = 8.0; /* chosen on the dev tasks (docs/accuracy.md) */

/* x * 0 is 0 for a finite x and NaN otherwise, and NaN survives the sums. */
VECTOR_CLONES static bool all_finite(const float *values, size_t n)
{
    float sums[PARTS] = {0};
    for (; n >= PARTS; n -= PARTS, values += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += values[k] * 0.0f;
    }
    for (size_t i = 0; i < n; i++)
        sums[i] += values[i] * 0.0f;
    for (size_t k = 1; k < PARTS; k++)
        sums[0] += sums[k];
    return sums[0] == 0.0f;
}

/* `first` is the index of the first one in messages. */
static int check_finite(const float *embeddings, uint64_t first, uint64_t n_embeddings,
                        uint32_t dimension, const char *what, struct error *err)
{
    for (uint64_t i = 0; i < n_embeddings; i++) {
        if (!all_finite(embeddings + i * dimension, dimension))
            return error_set(err, ERROR_INVALID, "%s %llu: the embedding is not finite", what,
                             (unsigned long long)(first + i));
    }
    return 0;
}

int transform_check_finite(const float *embeddings, uint64_t n_embeddings, uint32_t dimension,
                           const char *what, struct error *err)
{
    return check_finite(embeddings, 0, n_embeddings, dimension, what, err);
}

static int check_band(void *context, const float *band, uint64_t first, uint64_t n,
                      struct error *err)
{
    const struct embeddings *chips = context;
    return check_finite(band, first, n, chips->dimension, "chip", err);
}

static int check_chips(const struct embeddings *chips, struct pool_lane *lane, struct error *err)
{
    return embeddings_visit(chips, lane, check_band, (void *)chips, err);
}

/* The chips' statistics, shared by threads, one band after the other. */
struct statistics {
    struct pool_lane *lane;
    const struct embeddings *chips;
    uint32_t dimension;
    const float *band;
    uint64_t first, n; /* chips of the band */
    uint64_t n_before; /* that were analysed before it */
    double *mean, *squares;
};

/* The processor foresees lines that follow one another, not the same few of one embedding after the
 * other. */
static inline void fetch_columns(const float *chip, size_t n)
{
    for (size_t d = 0; d < n; d += LINE)
        __builtin_prefetch(chip + d);
}

/* Of n columns of `n_chips` embeddings that are `dimension` floats long, but for those whose `skip`
 * (NULL: none) is not 0; both outputs begin as zeros when `n_before` of them, 0, were taken.
 * `squares`: the sum of the squared differences from the mean.
 */
VECTOR_CLONES static void column_statistics(const float *chips, const uint8_t *skip,
                                            uint64_t n_before, uint64_t n_chips, size_t dimension,
                                            size_t n, double *restrict mean,
                                            double *restrict squares)
{
    for (uint64_t i = 0; i < n_chips; i++, chips += dimension) {
        if (skip != NULL && skip[i] != 0)
            continue;
        const double weight = 1.0 / (double)++n_before;
        if (n_chips - i > AHEAD)
            fetch_columns(chips + AHEAD * dimension, n);
        for (size_t d = 0; d < n; d++) {
            const double before = chips[d] - mean[d];
            mean[d] += before * weight;
            squares[d] += before * (chips[d] - mean[d]);
        }
        if (i % GIVE_WAY_CHIPS == 0)
            give_way();
    }
}

static void take_statistics(void *context, uint32_t part, uint32_t slot)
{
    (void)slot;
    const struct statistics *statistics = context;
    const uint32_t first = part * COLUMNS, left = statistics->dimension - first;
    const uint8_t *skip = statistics->chips->skip;
    column_statistics(statistics->band + first, skip != NULL ? skip + statistics->first : NULL,
                      statistics->n_before, statistics->n, statistics->dimension,
                      left < COLUMNS ? left : COLUMNS, statistics->mean + first,
                      statistics->squares + first);
}

static int take_band(void *context, const float *band, uint64_t first, uint64_t n,
                     struct error *err)
{
    (void)err;
    struct statistics *statistics = context;
    statistics->band = band;
    statistics->first = first;
    statistics->n = n;
    pool_share(statistics->lane, take_statistics, statistics,
               (statistics->dimension + COLUMNS - 1) / COLUMNS);
    statistics->n_before += embeddings_n_analysed(statistics->chips, first, n);
    return 0;
}

static bool are_finite(const double *values, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            return false;
    }
    return true;
}

static double scale_of(enum classifier_transform kind, double variance)
{
    if (kind == CLASSIFIER_TRANSFORM_CL2N)
        return 1.0;
    return variance > 0.0 ? 1.0 / (sqrt(variance) + STD_FLOOR) : 0.0;
}

/* Moves the variances towards those within the examples' classes. */
static int learn_examples(double *variance, const struct examples *examples, struct error *err)
{
    const uint32_t dimension = examples->dimension, n_free = examples->n - examples->n_classes;
    const double within = n_free / (n_free + WITHIN_SHARE);
    struct prototypes classes;
    double *squares = calloc(dimension, sizeof(*squares));
    if (squares == NULL)
        return error_set_nomem(err, "the variances within classes");
    int rc = prototypes_init(&classes, examples, err);
    if (rc < 0) {
        free(squares);
        return rc;
    }
    for (uint32_t i = 0; i < examples->n; i++) {
        const double *example = examples_vector(examples, i);
        const double *mean = classes.means + (size_t)examples->class_of[i] * dimension;
        for (uint32_t d = 0; d < dimension; d++)
            squares[d] += (example[d] - mean[d]) * (example[d] - mean[d]);
    }
    for (uint32_t d = 0; d < dimension && n_free > 0; d++)
        variance[d] += within * (squares[d] / n_free - variance[d]);
    prototypes_clear(&classes);
    free(squares);
    return 0;
}

/* Fills mean and scale. A value that is not finite leaves its dimension's mean so. */
static int learn(struct transform *transform, const struct examples *examples,
                 const struct embeddings *chips, struct pool_lane *lane, struct error *err)
{
    const uint32_t dimension = transform->dimension;
    struct statistics statistics = {.lane = lane,
                                    .chips = chips,
                                    .dimension = dimension,
                                    .mean = calloc(dimension, sizeof(double)),
                                    .squares = calloc(dimension, sizeof(double))};
    transform->mean = statistics.mean;
    transform->scale = statistics.squares;
    if (statistics.mean == NULL || statistics.squares == NULL)
        return error_set_nomem(err, "the statistics of the chips");
    int rc = embeddings_visit(chips, lane, take_band, &statistics, err);
    if (rc < 0)
        return rc;
    if (!are_finite(statistics.mean, dimension))
        return check_chips(chips, lane, err);
    for (uint32_t d = 0; d < dimension; d++)
        transform->scale[d] /= (double)statistics.n_before; /* the population's variance */
    if (transform->kind == CLASSIFIER_TRANSFORM_STANDARDISE)
        rc = learn_examples(transform->scale, examples, err);
    for (uint32_t d = 0; d < dimension; d++)
        transform->scale[d] = scale_of(transform->kind, transform->scale[d]);
    return rc;
}

int transform_init(struct transform *transform, enum classifier_transform kind,
                   const struct examples *examples, const struct embeddings *chips,
                   struct pool_lane *lane, struct error *err)
{
    struct transform t = {.kind = kind, .dimension = chips->dimension};
    int rc = 0;
    if (kind == CLASSIFIER_TRANSFORM_CL2N || kind == CLASSIFIER_TRANSFORM_STANDARDISE)
        rc = learn(&t, examples, chips, lane, err);
    else
        rc = check_chips(chips, lane, err);
    if (rc < 0)
        transform_clear(&t);
    else
        *transform = t;
    return rc;
}

void transform_clear(struct transform *transform)
{
    free(transform->mean);
    free(transform->scale);
    memset(transform, 0, sizeof(*transform));
}

/* Partial sums, always the same ones, let the processor overlap the additions. */
VECTOR_CLONES static double sum_of_squares(const double *values, size_t n)
{
    double sums[PARTS] = {0};
    for (; n >= PARTS; n -= PARTS, values += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += values[k] * values[k];
    }
    for (size_t i = 0; i < n; i++)
        sums[i] += values[i] * values[i];
    for (size_t k = 1; k < PARTS; k++)
        sums[0] += sums[k];
    return sums[0];
}

/* (in - mean) * scale */
VECTOR_CLONES static void standardise(const struct transform *transform, const float *in,
                                      double *restrict out)
{
    const double *mean = transform->mean, *scale = transform->scale;
    const size_t n = transform->dimension;
    for (size_t d = 0; d < n; d++)
        out[d] = (in[d] - mean[d]) * scale[d];
}

VECTOR_CLONES static void multiply(double *values, size_t n, double factor)
{
    for (size_t i = 0; i < n; i++)
        values[i] *= factor;
}

void transform_apply(const struct transform *transform, const float *in, double *out)
{
    const uint32_t dimension = transform->dimension;
    if (transform->mean != NULL) {
        standardise(transform, in, out);
    } else {
        for (uint32_t d = 0; d < dimension; d++)
            out[d] = in[d];
    }
    if (transform->kind == CLASSIFIER_TRANSFORM_NONE)
        return;
    const double squared = sum_of_squares(out, dimension);
    if (squared > 0.0)
        multiply(out, dimension, 1.0 / sqrt(squared));
}
