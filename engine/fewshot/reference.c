/* Statistics are taken in one pass in double by Welford's recurrence (Welford 1962), chip after
 * chip: exact for a constant dimension. Threads share the dimensions and not the chips, so that the
 * bytes are the same whatever their number. Those of several images are put together by the formula
 * of Chan, Golub and LeVeque (Updating Formulae and a Pairwise Algorithm for Computing Sample
 * Variances, 1979).
 */
#include "engine/fewshot/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/give_way.h"

enum {
    PARTS = 32,
    COLUMNS = 128, /* dimensions that a thread takes at once: some lines of each embedding */
    LINE = 16,     /* floats of a cache line */
    AHEAD = 12,    /* chips whose columns are on their way from memory */
};

static const char *const choice_names[] = {
    [REFERENCE_AUTO] = "auto",     [REFERENCE_IMAGE] = "image",   [REFERENCE_SUPPORT] = "support",
    [REFERENCE_SERIES] = "series", [REFERENCE_TARGET] = "target",
};

const char *reference_choice_name(enum reference_choice choice)
{
    return choice_names[choice];
}

int reference_choice_parse(const char *name, enum reference_choice *out, struct error *err)
{
    for (int i = REFERENCE_AUTO; i < REFERENCE_TARGET; i++) {
        if (strcmp(name, choice_names[i]) == 0) {
            *out = (enum reference_choice)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID,
                     "reference must be auto, image, support or series, but is '%.40s'", name);
}

/* ---- finite values ---- */

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

int embeddings_check_finite(const float *embeddings, uint64_t n_embeddings, uint32_t dimension,
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

int embeddings_check_chips(const struct embeddings *chips, struct pool_lane *lane,
                           struct error *err)
{
    return embeddings_visit(chips, lane, check_band, (void *)chips, err);
}

/* ---- of one image ---- */

/* The chips' statistics, shared by threads, one band after the other. */
struct taking {
    struct pool_lane *lane;
    const struct embeddings *chips;
    const float *band;
    uint64_t first, n;     /* chips of the band */
    struct reference *out; /* of the chips before it */
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

static void take_columns(void *context, uint32_t part, uint32_t slot)
{
    (void)slot;
    const struct taking *taking = context;
    const struct reference *out = taking->out;
    const uint32_t first = part * COLUMNS, left = out->dimension - first;
    const uint8_t *skip = taking->chips->skip;
    column_statistics(taking->band + first, skip != NULL ? skip + taking->first : NULL,
                      out->n_chips, taking->n, out->dimension, left < COLUMNS ? left : COLUMNS,
                      out->mean + first, out->squares + first);
}

static int take_band(void *context, const float *band, uint64_t first, uint64_t n,
                     struct error *err)
{
    (void)err;
    struct taking *taking = context;
    taking->band = band;
    taking->first = first;
    taking->n = n;
    pool_share(taking->lane, take_columns, taking,
               (taking->out->dimension + COLUMNS - 1) / COLUMNS);
    taking->out->n_chips += embeddings_n_analysed(taking->chips, first, n);
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

int reference_init(struct reference *out, uint32_t dimension, struct error *err)
{
    struct reference reference = {.dimension = dimension,
                                  .mean = calloc(dimension, sizeof(double)),
                                  .squares = calloc(dimension, sizeof(double))};
    if (reference.mean == NULL || reference.squares == NULL) {
        reference_clear(&reference);
        return error_set_nomem(err, "the statistics of the chips");
    }
    *out = reference;
    return 0;
}

int reference_take(struct reference *out, const struct embeddings *chips, struct pool_lane *lane,
                   struct error *err)
{
    struct reference reference = {0};
    int rc = reference_init(&reference, chips->dimension, err);
    if (rc < 0)
        return rc;
    struct taking taking = {.lane = lane, .chips = chips, .out = &reference};
    rc = embeddings_visit(chips, lane, take_band, &taking, err);
    /* A value that is not finite leaves its dimension's mean so. */
    if (rc == 0 && !are_finite(reference.mean, reference.dimension))
        rc = embeddings_check_chips(chips, lane, err);
    if (rc < 0)
        reference_clear(&reference);
    else
        *out = reference;
    return rc;
}

/* ---- of several ---- */

void reference_add(struct reference *reference, const struct reference *other)
{
    if (other->n_chips == 0)
        return;
    const double n = (double)reference->n_chips, m = (double)other->n_chips;
    for (uint32_t d = 0; d < reference->dimension; d++) {
        const double apart = other->mean[d] - reference->mean[d];
        reference->mean[d] += apart * (m / (n + m));
        reference->squares[d] += other->squares[d] + apart * apart * (n * m / (n + m));
    }
    reference->n_chips += other->n_chips;
}

void reference_clear(struct reference *reference)
{
    free(reference->mean);
    free(reference->squares);
    *reference = (struct reference){0};
}

bool reference_varies(const struct reference *reference)
{
    for (uint32_t d = 0; d < reference->dimension; d++) {
        if (reference->squares[d] > 0.0)
            return true;
    }
    return false;
}
