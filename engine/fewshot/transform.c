/* none: x. l2: x / |x|. cl2n: (x - mean) / |x - mean| (Wang et al., SimpleShot, 2019), the mean
 * being the reference's. standardise: z / |z| with z = (x - mean) / (std + STD_FLOOR). A zero
 * vector stays zero.
 *
 * The reference says in which dimensions its chips vary: between classes, and within them. How much
 * within them the examples say, the more surely the more there are. With f = N - K degrees of
 * freedom, N examples of K classes, standardise takes
 *
 *     std^2 = (1 - u) s^2 + u p,     u = f / (f + WITHIN_SHARE)
 *
 * s^2 being the reference's variance and p that of the examples within their classes. The mean is
 * the reference's: to move it towards the classes' gained nothing.
 *
 * Of examples that are measured by several references each counts from the mean of its own: what
 * sets their images apart is nothing that a class varies by.
 */
#include "engine/fewshot/transform.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/heads/prototypes.h"

enum { PARTS = 32 };

/* Components of the encoder's unit-length parts are about 0.05 in size. A dimension that varies by
 * rounding alone must not be blown up to the weight of the others; the training of the default
 * encoder uses the same number. */
static const double STD_FLOOR = 1e-6;

static const double WITHIN_SHARE = 8.0; /* chosen on the dev tasks (docs/accuracy.md) */

static double scale_of(enum classifier_transform kind, double variance)
{
    if (kind == CLASSIFIER_TRANSFORM_CL2N)
        return 1.0;
    return variance > 0.0 ? 1.0 / (sqrt(variance) + STD_FLOOR) : 0.0;
}

/* ---- the variance within classes ---- */

static const struct reference *reference_of(const struct references *references, uint32_t example)
{
    return references->examples != NULL ? references->examples[example] : references->chips;
}

static bool have_one(const struct references *references, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        if (reference_of(references, i) != reference_of(references, 0))
            return false;
    }
    return true;
}

static void centre(struct examples *examples, const struct references *references)
{
    for (uint32_t i = 0; i < examples->n; i++) {
        const double *mean = reference_of(references, i)->mean;
        double *example = examples->vectors + (size_t)i * examples->dimension;
        for (uint32_t d = 0; d < examples->dimension; d++)
            example[d] -= mean[d];
    }
}

/* p and u of the comment above. */
struct within {
    double share;
    double *variance; /* owned */
};

/* Overwrites the examples. */
static int within_init(struct within *within, struct examples *examples,
                       const struct references *references, struct error *err)
{
    const uint32_t dimension = examples->dimension, n_free = examples->n - examples->n_classes;
    struct prototypes classes;
    double *squares = calloc(dimension, sizeof(*squares));
    if (squares == NULL)
        return error_set_nomem(err, "the variances within classes");
    if (!have_one(references, examples->n))
        centre(examples, references);
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
        squares[d] /= n_free;
    *within = (struct within){n_free / (n_free + WITHIN_SHARE), squares};
    prototypes_clear(&classes);
    return 0;
}

/* ---- learning ---- */

static bool has_statistics(enum classifier_transform kind)
{
    return kind == CLASSIFIER_TRANSFORM_CL2N || kind == CLASSIFIER_TRANSFORM_STANDARDISE;
}

/* Fills mean and scale. `within` of standardise only. */
static int measure(struct transform *transform, const struct reference *reference,
                   const struct within *within, struct error *err)
{
    const uint32_t dimension = transform->dimension;
    transform->mean = calloc(dimension, sizeof(double));
    transform->scale = calloc(dimension, sizeof(double));
    if (transform->mean == NULL || transform->scale == NULL)
        return error_set_nomem(err, "a transform");
    for (uint32_t d = 0; d < dimension; d++) {
        double variance = reference_variance(reference, d);
        if (within->share > 0.0)
            variance += within->share * (within->variance[d] - variance);
        transform->mean[d] = reference->mean[d];
        transform->scale[d] = scale_of(transform->kind, variance);
    }
    return 0;
}

/* The examples that have the same reference as example `first`, which is the first of them. */
static int apply_to_some(const struct transform *chips, const struct support *support,
                         const struct references *references, const struct within *within,
                         uint32_t first, double *out, struct error *err)
{
    const struct reference *reference = reference_of(references, first);
    const uint32_t dimension = chips->dimension;
    struct transform own = {.kind = chips->kind, .dimension = dimension};
    const bool is_chips = reference == references->chips;
    int rc = is_chips ? 0 : measure(&own, reference, within, err);
    for (uint32_t i = first; i < support->n_examples && rc == 0; i++) {
        if (reference_of(references, i) == reference)
            transform_apply(is_chips ? chips : &own, support->embeddings + (size_t)i * dimension,
                            out + (size_t)i * dimension);
    }
    transform_clear(&own);
    return rc;
}

static bool is_first(const struct references *references, uint32_t example)
{
    for (uint32_t i = 0; i < example; i++) {
        if (reference_of(references, i) == reference_of(references, example))
            return false;
    }
    return true;
}

static int learn(struct transform *transform, const struct support *support,
                 const struct references *references, struct examples *examples, struct error *err)
{
    struct within within = {0};
    int rc = 0;
    if (transform->kind == CLASSIFIER_TRANSFORM_STANDARDISE)
        rc = within_init(&within, examples, references, err);
    if (rc == 0)
        rc = measure(transform, references->chips, &within, err);
    for (uint32_t i = 0; i < support->n_examples && rc == 0; i++) {
        if (is_first(references, i))
            rc = apply_to_some(transform, support, references, &within, i, examples->vectors, err);
    }
    free(within.variance);
    return rc;
}

int transform_init(struct transform *transform, enum classifier_transform kind,
                   const struct support *support, const struct references *given,
                   struct examples *examples, const struct embeddings *chips,
                   struct pool_lane *lane, struct error *err)
{
    const bool takes_own = has_statistics(kind) && (given == NULL || given->chips == NULL);
    struct transform t = {.kind = kind, .dimension = chips->dimension, .has_seen = takes_own};
    struct reference own = {0};
    int rc = takes_own ? reference_take(&own, chips, lane, err) : 0;
    const struct references references = {.chips = takes_own || given == NULL ? &own : given->chips,
                                          .examples = given != NULL ? given->examples : NULL};
    if (rc == 0 && has_statistics(kind))
        rc = learn(&t, support, &references, examples, err);
    for (uint32_t i = 0; i < support->n_examples && rc == 0 && !has_statistics(kind); i++)
        transform_apply(&t, support->embeddings + (size_t)i * t.dimension,
                        examples->vectors + (size_t)i * t.dimension);
    reference_clear(&own);
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

double transform_apply(const struct transform *transform, const float *in, double *out)
{
    const uint32_t dimension = transform->dimension;
    if (transform->mean != NULL) {
        standardise(transform, in, out);
    } else {
        for (uint32_t d = 0; d < dimension; d++)
            out[d] = in[d];
    }
    const double squared =
        transform->kind != CLASSIFIER_TRANSFORM_NONE ? sum_of_squares(out, dimension) : 0.0;
    if (!(squared > 0.0))
        return 1.0;
    const double length = sqrt(squared);
    multiply(out, dimension, 1.0 / length);
    return length;
}
