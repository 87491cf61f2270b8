#include "engine/fewshot/drift.h"

#include <math.h>
#include <stdlib.h>

#include "engine/fewshot/heads/prototypes.h"
#include "engine/fewshot/space.h"
#include "engine/give_way.h"

enum { SAMPLE_CHIPS = 512 };

static const double DEVIATIONS = 1.64;
static const double NEAR = 1.25;
static const double MUCH_NEARER = 0.8;
static const double FAR = 3.0;
static const double FAR_AT_ONE = 1.5; /* squared, of vectors of length 1 */

/* The prototypes and what distances to them are measured against. */
struct ruler {
    struct space space;
    struct prototypes prototypes;
    double spread;
};

static void ruler_clear(struct ruler *ruler)
{
    space_clear(&ruler->space);
    prototypes_clear(&ruler->prototypes);
}

static int ruler_init(struct ruler *out, const struct classifier_params *params,
                      const struct support *support, const struct embeddings *chips,
                      struct pool_lane *lane, struct error *err)
{
    struct ruler ruler = {0};
    int rc = space_init(&ruler.space, params, support, chips, lane, err);
    if (rc == 0)
        rc = prototypes_init(&ruler.prototypes, &ruler.space.examples, err);
    if (rc < 0) {
        ruler_clear(&ruler);
        return rc;
    }
    ruler.spread =
        prototypes_spread(&ruler.prototypes, &ruler.space.examples, CLASSIFIER_SQUARED_EUCLIDEAN);
    *out = ruler;
    return 0;
}

static double squared_distance(const struct ruler *ruler, const double *vector, uint32_t class)
{
    const uint32_t dimension = ruler->prototypes.dimension;
    return prototypes_distance(CLASSIFIER_SQUARED_EUCLIDEAN, vector,
                               ruler->prototypes.means + (size_t) class * dimension, dimension);
}

/* The least distance, and the least r but for the division by the spread. */
static void measure_chip(const struct ruler *ruler, const double *vector, double *nearest,
                         double *least)
{
    *nearest = *least = INFINITY;
    for (uint32_t k = 0; k < ruler->prototypes.n_classes; k++) {
        const double squared = squared_distance(ruler, vector, k);
        *nearest = fmin(*nearest, squared);
        *least = fmin(*least, squared / (1.0 + 1.0 / ruler->space.examples.counts[k]));
    }
}

static int compare(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return 0.5 * (values[(n - 1) / 2] + values[n / 2]);
}

/* Of an example left out of its class of n, r = |x - m|^2 n / ((n - 1) v), m being the mean with
 * it: |x - m_-i| = |x - m| n / (n - 1), and the mean of n - 1 adds v / (n - 1). */
static double limit_of(const struct ruler *ruler)
{
    const struct examples *examples = &ruler->space.examples;
    double sum = 0.0, squares = 0.0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < examples->n; i++) {
        const uint32_t class = examples->class_of[i], count = examples->counts[class];
        if (count < 2)
            continue;
        const double r = squared_distance(ruler, examples_vector(examples, i), class) * count /
                         ((count - 1) * ruler->spread);
        sum += r;
        squares += r * r;
        n++;
    }
    const double mean = sum / n;
    return mean + DEVIATIONS * sqrt(fmax(squares / n - mean * mean, 0.0));
}

static int measure(const struct ruler *ruler, const struct embeddings *chips, double *buffer,
                   struct drift *out, struct error *err)
{
    uint64_t sample[SAMPLE_CHIPS];
    const uint32_t n = embeddings_spread(chips, SAMPLE_CHIPS, sample);
    double nearest[SAMPLE_CHIPS], least[SAMPLE_CHIPS];
    float *embedding = (float *)(buffer + chips->dimension);
    for (uint32_t i = 0; i < n; i++) {
        int rc = embeddings_get(chips, sample[i], embedding, err);
        if (rc < 0)
            return rc;
        transform_apply(&ruler->space.transform, embedding, buffer);
        measure_chip(ruler, buffer, &nearest[i], &least[i]);
        if (i % GIVE_WAY_CHIPS == 0)
            give_way();
    }
    const bool is_known = ruler->spread > 0.0;
    *out = (struct drift){.nearest = median(nearest, n),
                          .distance = is_known ? median(least, n) / ruler->spread : NAN,
                          .limit = is_known ? limit_of(ruler) : NAN};
    return 0;
}

int drift_measure(const struct classifier_params *params, const struct support *support,
                  const struct embeddings *chips, struct pool_lane *lane, struct drift *out,
                  struct error *err)
{
    struct ruler ruler;
    int rc = ruler_init(&ruler, params, support, chips, lane, err);
    if (rc < 0)
        return rc;
    double *buffer = calloc(chips->dimension, sizeof(double) + sizeof(float));
    rc = buffer == NULL ? error_set_nomem(err, "the distances of an image's chips")
                        : measure(&ruler, chips, buffer, out, err);
    free(buffer);
    ruler_clear(&ruler);
    return rc;
}

bool drift_is_flagged(const struct drift *drift)
{
    return drift->distance > drift->limit;
}

bool drift_is_near(const struct drift *own)
{
    return own->distance <= NEAR;
}

bool drift_prefers_support(const struct drift *own, const struct drift *support)
{
    if (isnan(own->distance) || isnan(support->distance))
        return support->nearest < MUCH_NEARER * own->nearest;
    return support->distance < MUCH_NEARER * own->distance;
}

bool drift_is_undecided(const struct drift *drift)
{
    return isnan(drift->distance) ? drift->nearest > FAR_AT_ONE : drift->distance > FAR;
}
