/* The chips that resemble a chip are looked for in a sample of the image, by sketches: a vector's
 * components, each with a sign drawn for it, summed up in SKETCH buckets (Charikar, Chen,
 * Farach-Colton: Finding frequent items in data streams, 2002). Distances between sketches are
 * those between vectors on average, at a small part of the work, which is the same for every chip
 * of an image of any size.
 */
#include "engine/fewshot/unknown.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/heads/prototypes.h"
#include "engine/fewshot/space.h"
#include "engine/give_way.h"
#include "engine/random.h"

enum {
    SKETCH = 32,  /* numbers of a sketch */
    SAMPLE = 128, /* chips of the sample */
    TILE = 64,    /* of the sample, compared at once */
    PARTS = 32,   /* of sums */
    NEIGHBOURS = 10,
    STEPS = 12,       /* halvings of an interval */
    PART_CHIPS = 64,  /* chips that a thread takes at once */
    SIGNS_STREAM = 0, /* of the random numbers */
    SAMPLE_STREAM = 1,
};

static const double DEVIATIONS = 1.64; /* 95 of 100 examples of a normal distribution lie below */
/* Below what rounding of float32 embeddings makes of equal ones: (2^-24)^2, a few times over. */
static const double ROUNDING = 1e-14;

/* ---- how far classes reach ---- */

struct reach {
    struct prototypes prototypes;
    double squares[CLASSIFIER_CLASSES_MAX]; /* sum over a class's examples of their distances */
    double total;                           /* sum of these */
    double scale[CLASSIFIER_CLASSES_MAX];   /* v_k (1 + 1 / n_k) */
};

static double squared_distance(const double *a, const double *b, uint32_t dimension)
{
    return prototypes_distance(CLASSIFIER_SQUARED_EUCLIDEAN, a, b, dimension);
}

/* v (1 + 1 / n) of a class whose n examples have these squares, `total` and n_free being those of
 * all classes. */
static double scale_of(double squares, uint32_t n, double total, uint32_t n_free)
{
    return 0.5 * (squares / (n - 1) + total / n_free) * (1.0 + 1.0 / n);
}

static int check(const struct examples *examples, struct error *err)
{
    for (uint32_t k = 0; k < examples->n_classes; k++) {
        if (examples->counts[k] < UNKNOWN_EXAMPLES_MIN)
            return error_set(err, ERROR_INVALID,
                             "unknown: class %u has %u examples, at least %d are needed", k,
                             examples->counts[k], UNKNOWN_EXAMPLES_MIN);
    }
    return 0;
}

static int reach_init(struct reach *reach, const struct examples *examples, struct error *err)
{
    const uint32_t n_free = examples->n - examples->n_classes, dimension = examples->dimension;
    double size = 0.0;
    int rc = prototypes_init(&reach->prototypes, examples, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < examples->n; i++) {
        const uint32_t k = examples->class_of[i];
        const double *mean = reach->prototypes.means + (size_t)k * dimension;
        reach->squares[k] += squared_distance(examples_vector(examples, i), mean, dimension);
    }
    for (uint32_t k = 0; k < examples->n_classes; k++)
        reach->total += reach->squares[k];
    for (size_t i = 0; i < (size_t)examples->n_classes * dimension; i++)
        size += reach->prototypes.means[i] * reach->prototypes.means[i];
    if (!(reach->total / n_free > ROUNDING * size / examples->n_classes)) {
        prototypes_clear(&reach->prototypes);
        return error_set(err, ERROR_INVALID,
                         "unknown: the examples of each class are alike: they do not say how far "
                         "it reaches");
    }
    for (uint32_t k = 0; k < examples->n_classes; k++)
        reach->scale[k] = scale_of(reach->squares[k], examples->counts[k], reach->total, n_free);
    return 0;
}

/* r of the head of this module's header. */
static double ratio_of(const struct reach *reach, const double *vector)
{
    const struct prototypes *prototypes = &reach->prototypes;
    double least = INFINITY;
    for (uint32_t k = 0; k < prototypes->n_classes; k++) {
        const double *mean = prototypes->means + (size_t)k * prototypes->dimension;
        least =
            fmin(least, squared_distance(vector, mean, prototypes->dimension) / reach->scale[k]);
    }
    return least;
}

/* r of an example as if it were a chip: its class is the mean of the others, and nothing of it is
 * in the variances. Without x, a mean m of n moves so that |x - m| grows by n / (n - 1), and the
 * class's squares lose n / (n - 1) |x - m|^2. */
static double ratio_left_out(const struct reach *reach, const struct examples *examples,
                             uint32_t index)
{
    const uint32_t own = examples->class_of[index], n_classes = examples->n_classes;
    const uint32_t n = examples->counts[own], n_free = examples->n - 1 - n_classes;
    const uint32_t dimension = examples->dimension;
    const double *means = reach->prototypes.means, *vector = examples_vector(examples, index);
    const double to_own = squared_distance(vector, means + (size_t)own * dimension, dimension);
    const double grown = (double)n / (n - 1), lost = fmin(grown * to_own, reach->squares[own]);
    double least = grown * grown * to_own /
                   scale_of(reach->squares[own] - lost, n - 1, reach->total - lost, n_free);
    for (uint32_t k = 0; k < n_classes; k++) {
        if (k == own)
            continue;
        const double scale =
            scale_of(reach->squares[k], examples->counts[k], reach->total - lost, n_free);
        least =
            fmin(least, squared_distance(vector, means + (size_t)k * dimension, dimension) / scale);
    }
    return least;
}

static double threshold_of(const struct reach *reach, const struct examples *examples)
{
    double mean = 0.0, squares = 0.0;
    for (uint32_t i = 0; i < examples->n; i++) {
        const double ratio = ratio_left_out(reach, examples, i), before = ratio - mean;
        mean += before / (i + 1);
        squares += before * (ratio - mean);
    }
    return mean + DEVIATIONS * sqrt(squares / (examples->n - 1));
}

/* ---- chips that are alike ---- */

/* One chip of each of n equal stretches of the image. */
struct sketches {
    float values[SKETCH][SAMPLE]; /* of the stretch's chip a column */
    float halves[SAMPLE];         /* half its squared length; INFINITY: there is none */
    float ratios[SAMPLE];         /* its r */
    uint64_t chips[SAMPLE];       /* UINT64_MAX: there is none */
    float longest;                /* squared length */
    uint32_t n;
    uint64_t n_chips; /* of the image */
};

struct search {
    const struct space *space;
    const struct reach *reach;
    const uint8_t *skip; /* as of embeddings */
    struct pool_lane *lane;
    double *signs;           /* of each dimension */
    struct sketches *sample; /* of the image */
    double *buffers;         /* slots x dimension */
    const float *band;       /* the chips that are looked at now: */
    uint64_t first, end;
    float *novelty; /* of all chips */
};

VECTOR_CLONES static void sketch_of(const double *vector, const double *signs, size_t n,
                                    float *restrict sketch)
{
    double sums[SKETCH] = {0};
    for (; n >= SKETCH; n -= SKETCH, vector += SKETCH, signs += SKETCH) {
        for (size_t k = 0; k < SKETCH; k++)
            sums[k] += vector[k] * signs[k];
    }
    for (size_t k = 0; k < n; k++)
        sums[k] += vector[k] * signs[k];
    for (size_t k = 0; k < SKETCH; k++)
        sketch[k] = (float)sums[k];
}

/* How near a sketch is to those of the sample: (|q|^2 - |q - x|^2) / 2. */
VECTOR_CLONES static void compare(const struct sketches *sample, const float *sketch,
                                  float *restrict nearness)
{
    for (size_t first = 0; first < SAMPLE; first += TILE) {
        float sums[TILE];
        for (size_t j = 0; j < TILE; j++)
            sums[j] = -sample->halves[first + j];
        for (size_t k = 0; k < SKETCH; k++) {
            for (size_t j = 0; j < TILE; j++)
                sums[j] += sketch[k] * sample->values[k][first + j];
        }
        memcpy(nearness + first, sums, sizeof(sums));
    }
}

/* What is above `low`, NEIGHBOURS numbers or, of numbers that are nearly alike, some more, and all
 * where there are fewer. Halves the interval without looking at single numbers, which branches
 * would make slow. */
VECTOR_CLONES static float bound_of_nearest(const float *nearness, float low, float high)
{
    for (int step = 0; step < STEPS; step++) {
        const float middle = 0.5f * (low + high);
        int32_t n = 0;
        for (size_t j = 0; j < SAMPLE; j++)
            n += nearness[j] > middle;
        if (n >= NEIGHBOURS)
            low = middle;
        else
            high = middle;
    }
    return low;
}

VECTOR_CLONES static double mean_above(const float *nearness, const float *ratios, float bound)
{
    float sums[PARTS] = {0};
    int32_t n = 0;
    for (size_t first = 0; first < SAMPLE; first += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += nearness[first + k] > bound ? ratios[first + k] : 0.0f;
    }
    for (size_t j = 0; j < SAMPLE; j++)
        n += nearness[j] > bound;
    for (size_t k = 1; k < PARTS; k++)
        sums[0] += sums[k];
    return n > 0 ? (double)sums[0] / n : NAN;
}

/* Mean r of the nearest of the sample, the chip itself left out. NaN: the sample has no other. */
static double ratio_around(const struct sketches *sample, const float *sketch, uint64_t chip)
{
    float nearness[SAMPLE], square = 0.0f;
    compare(sample, sketch, nearness);
    for (size_t k = 0; k < SKETCH; k++)
        square += sketch[k] * sketch[k];
    const uint64_t stretch = chip * sample->n / sample->n_chips;
    for (uint64_t i = stretch > 0 ? stretch - 1 : 0; i <= stretch + 1 && i < sample->n; i++) {
        if (sample->chips[i] == chip)
            nearness[i] = -INFINITY;
    }
    /* Nothing is farther than twice the longest of all. */
    const float low = -2.0f * (square + sample->longest) - FLT_MIN;
    return mean_above(nearness, sample->ratios, bound_of_nearest(nearness, low, 0.5f * square));
}

static void look_at(const struct search *search, uint64_t chip, double *buffer)
{
    const uint32_t dimension = search->space->transform.dimension;
    float sketch[SKETCH];
    transform_apply(&search->space->transform,
                    search->band + (size_t)(chip - search->first) * dimension, buffer);
    const double own = ratio_of(search->reach, buffer);
    sketch_of(buffer, search->signs, dimension, sketch);
    const double around = ratio_around(search->sample, sketch, chip);
    search->novelty[chip] = (float)fmin(isnan(around) ? own : 0.5 * own + 0.5 * around, FLT_MAX);
}

static void look_at_part(void *context, uint32_t part, uint32_t slot)
{
    const struct search *search = context;
    const uint64_t first = search->first + (uint64_t)part * PART_CHIPS, left = search->end - first;
    const uint64_t end = first + (left < PART_CHIPS ? left : PART_CHIPS);
    double *buffer = search->buffers + (size_t)slot * search->space->transform.dimension;
    for (uint64_t chip = first; chip < end; chip++) {
        if (search->skip == NULL || search->skip[chip] == 0)
            look_at(search, chip, buffer);
        if (chip % GIVE_WAY_CHIPS == 0)
            give_way();
    }
}

static int look_at_band(void *context, const float *band, uint64_t first, uint64_t n,
                        struct error *err)
{
    (void)err;
    struct search *search = context;
    search->band = band;
    search->first = first;
    search->end = first + n;
    pool_share(search->lane, look_at_part, search, (uint32_t)((n - 1) / PART_CHIPS + 1));
    return 0;
}

static void put(struct sketches *sample, uint32_t i, uint64_t chip, double ratio,
                const float *sketch)
{
    float square = 0.0f;
    for (uint32_t k = 0; k < SKETCH; k++) {
        sample->values[k][i] = sketch[k];
        square += sketch[k] * sketch[k];
    }
    sample->chips[i] = chip;
    sample->ratios[i] = (float)fmin(ratio, FLT_MAX);
    sample->halves[i] = 0.5f * square;
    sample->longest = fmaxf(sample->longest, square);
}

/* The first chip from `start` on that is analysed, round the stretch; `end`: there is none. */
static uint64_t next_analysed(const uint8_t *skip, uint64_t first, uint64_t end, uint64_t start)
{
    if (skip == NULL)
        return start;
    for (uint64_t i = first; i < end; i++) {
        const uint64_t chip =
            start + (i - first) < end ? start + (i - first) : start + (i - first) - (end - first);
        if (skip[chip] == 0)
            return chip;
    }
    return end;
}

/* At equal steps the chips would all lie in a few columns. */
static int take_sample(struct search *search, const struct embeddings *chips, struct error *err)
{
    struct sketches *sample = search->sample;
    const uint64_t n_chips = chips->n_chips;
    float *embedding = calloc(chips->dimension, sizeof(*embedding)), sketch[SKETCH];
    struct random random;
    int rc = embedding == NULL ? error_set_nomem(err, "the chips to compare with") : 0;
    random_seed(&random, 0, SAMPLE_STREAM);
    sample->n_chips = n_chips;
    sample->n = n_chips < SAMPLE ? (uint32_t)n_chips : SAMPLE;
    for (uint32_t i = 0; i < SAMPLE; i++) {
        sample->chips[i] = UINT64_MAX;
        sample->halves[i] = INFINITY;
    }
    for (uint32_t i = 0; i < sample->n && rc == 0; i++) {
        const uint64_t first = n_chips * i / sample->n, end = n_chips * (i + 1) / sample->n;
        const uint64_t start = first + random_below(&random, (uint32_t)(end - first));
        const uint64_t chip = next_analysed(search->skip, first, end, start);
        if (chip == end)
            continue;
        rc = embeddings_get(chips, chip, embedding, err);
        if (rc < 0)
            break;
        transform_apply(&search->space->transform, embedding, search->buffers);
        sketch_of(search->buffers, search->signs, chips->dimension, sketch);
        put(sample, i, chip, ratio_of(search->reach, search->buffers), sketch);
    }
    free(embedding);
    return rc;
}

static int search_init(struct search *search, const struct embeddings *chips, struct error *err)
{
    struct random random;
    search->signs = calloc(chips->dimension, sizeof(*search->signs));
    search->sample = calloc(1, sizeof(*search->sample));
    search->buffers =
        calloc((size_t)pool_n_slots(search->lane) * chips->dimension, sizeof(*search->buffers));
    search->novelty = calloc(chips->n_chips, sizeof(*search->novelty));
    if (search->signs == NULL || search->sample == NULL || search->buffers == NULL ||
        search->novelty == NULL)
        return error_set_nomem(err, "the search for unknown chips");
    random_seed(&random, 0, SIGNS_STREAM);
    for (uint32_t d = 0; d < chips->dimension; d++)
        search->signs[d] = random_below(&random, 2) == 0 ? -1.0 : 1.0;
    return take_sample(search, chips, err);
}

int novelty_compute(const struct space *space, const struct embeddings *chips,
                    struct pool_lane *lane, struct novelty *out, struct error *err)
{
    struct reach reach = {.total = 0.0};
    struct search search = {.space = space, .reach = &reach, .skip = chips->skip, .lane = lane};
    int rc = check(&space->examples, err);
    if (rc == 0)
        rc = reach_init(&reach, &space->examples, err);
    if (rc < 0)
        return rc;
    rc = search_init(&search, chips, err);
    if (rc == 0)
        rc = embeddings_visit(chips, lane, look_at_band, &search, err);
    if (rc == 0) {
        *out = (struct novelty){search.novelty, threshold_of(&reach, &space->examples)};
        search.novelty = NULL;
    }
    prototypes_clear(&reach.prototypes);
    free(search.signs);
    free(search.sample);
    free(search.buffers);
    free(search.novelty);
    return rc;
}

void novelty_clear(struct novelty *novelty)
{
    free(novelty->values);
    *novelty = (struct novelty){0};
}
