/* The average of nearest prototypes and of a ridge regression, in dimensions weighted by what the
 * examples say about them. With five examples a class and more these tell classes apart better
 * than prototypes alone (docs/accuracy.md, decision 24). All of it follows from the examples:
 *
 * - Dimension d is multiplied by g_d = (B_d / (B_d + W_d))^WEIGHT_POWER, B being the variance
 *   between the classes' means and W that within the classes (Fisher's ratio); the mean of g_d^2 is
 *   1. From here on, z = g (x - M), M the mean of the classes' means.
 * - d_k = |z - m_k|^2 - v / n_k are the costs of nearest prototypes; w_k are the weights of a ridge
 *   regression (ridge.h), z . w_k its answers.
 * - Both lose their mean over classes and are scaled to one spread, that of the distances in
 *   dimensions that have no weights; spreads are those of the examples left out one by one:
 *
 *     cost_k = mean_j d_j + a (d_k - mean_j d_j) / 2 - b (z . w_k - mean_j z . w_j) / 2 + T o_k
 *
 * - The temperature is fitted to these costs of the examples left out (temperature.c), near where
 *   it is with prototypes; then offsets o_k (offsets.h), which move the border towards the class
 *   that varies less.
 *
 * Since |z - m_k|^2 is |z|^2 less what is linear in z, so is the whole: a chip takes one length and
 * one product a class.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clones.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/heads/offsets.h"
#include "engine/fewshot/heads/prototypes.h"
#include "engine/fewshot/heads/ridge.h"
#include "engine/fewshot/heads/temperature.h"

/* Chosen on the dev tasks, with several sets of draws (docs/accuracy.md). */
static const double WEIGHT_POWER = 0.25;
static const double PENALTY = 0.5;
static const enum classifier_distance EUCLIDEAN = CLASSIFIER_SQUARED_EUCLIDEAN;

struct model {
    uint32_t n_classes, dimension;
    double *scale;     /* dimension: g; owned */
    double *centre;    /* dimension: M; owned */
    double *slopes;    /* n_classes x dimension: of the costs, by z; owned */
    double *constants; /* n_classes: of the costs; owned */
};

static void free_model(void *context)
{
    struct model *model = context;
    if (model == NULL)
        return;
    free(model->scale);
    free(model->centre);
    free(model->slopes);
    free(model->constants);
    free(model);
}

static struct model *create_model(const struct examples *examples)
{
    struct model *model = calloc(1, sizeof(*model));
    if (model == NULL)
        return NULL;
    *model = (struct model){
        .n_classes = examples->n_classes,
        .dimension = examples->dimension,
        .scale = calloc(examples->dimension, sizeof(double)),
        .centre = calloc(examples->dimension, sizeof(double)),
        .slopes = calloc((size_t)examples->n_classes * examples->dimension, sizeof(double)),
        .constants = calloc(examples->n_classes, sizeof(double))};
    if (model->scale == NULL || model->centre == NULL || model->slopes == NULL ||
        model->constants == NULL) {
        free_model(model);
        return NULL;
    }
    return model;
}

/* ---- what is learned ---- */

/* Examples in some dimensions' units, and what nearest prototypes make of them. */
struct view {
    struct examples examples;
    struct prototypes prototypes;
    double spread;
    struct held_out held_out;
};

static void view_clear(struct view *view)
{
    prototypes_clear(&view->prototypes);
    held_out_clear(&view->held_out);
}

/* The examples are borrowed. */
static int view_init(struct view *view, const struct examples *examples, struct error *err)
{
    view->examples = *examples;
    int rc = prototypes_init(&view->prototypes, examples, err);
    if (rc < 0)
        return rc;
    view->spread = prototypes_spread(&view->prototypes, examples, EUCLIDEAN);
    rc = held_out_init(&view->held_out, examples, err);
    if (rc == 0)
        rc = held_out_by_prototypes(&view->held_out, EUCLIDEAN, examples, &view->prototypes,
                                    view->spread, err);
    if (rc < 0)
        view_clear(view);
    return rc;
}

static void learn_centre(const struct view *plain, double *centre)
{
    const uint32_t dimension = plain->prototypes.dimension, n = plain->prototypes.n_classes;
    for (uint32_t k = 0; k < n; k++) {
        for (uint32_t d = 0; d < dimension; d++)
            centre[d] += plain->prototypes.means[(size_t)k * dimension + d] / n;
    }
}

/* g of the comment above; ones where no dimension tells classes apart. */
static void learn_scale(const struct view *plain, const double *centre, double *scale)
{
    const struct examples *examples = &plain->examples;
    const uint32_t dimension = examples->dimension, n_classes = examples->n_classes;
    double sum = 0.0;
    for (uint32_t d = 0; d < dimension; d++) {
        const double *means = plain->prototypes.means + d;
        double between = 0.0, within = 0.0;
        for (uint32_t k = 0; k < n_classes; k++) {
            const double from = means[(size_t)k * dimension] - centre[d];
            between += from * from / (n_classes - 1);
        }
        for (uint32_t i = 0; i < examples->n; i++) {
            const double from =
                examples_vector(examples, i)[d] - means[(size_t)examples->class_of[i] * dimension];
            within += from * from / (examples->n - n_classes);
        }
        scale[d] = between > 0.0 ? pow(between / (between + within), WEIGHT_POWER) : 0.0;
        sum += scale[d] * scale[d];
    }
    for (uint32_t d = 0; d < dimension; d++)
        scale[d] = sum > 0.0 ? scale[d] / sqrt(sum / dimension) : 1.0;
}

/* The examples as z; their vectors are the caller's to free. */
static int scale_examples(const struct examples *examples, const struct model *model,
                          struct examples *out, struct error *err)
{
    const uint32_t dimension = examples->dimension;
    struct examples scaled = *examples;
    scaled.vectors = calloc((size_t)examples->n * dimension, sizeof(*scaled.vectors));
    if (scaled.vectors == NULL)
        return error_set_nomem(err, "the examples");
    for (uint32_t i = 0; i < examples->n; i++) {
        const double *from = examples_vector(examples, i);
        double *to = scaled.vectors + (size_t)i * dimension;
        for (uint32_t d = 0; d < dimension; d++)
            to[d] = model->scale[d] * (from[d] - model->centre[d]);
    }
    *out = scaled;
    return 0;
}

/* Root of the mean square of the rows' values, each less its row's mean. */
static double spread_over_classes(const double *rows, uint32_t n, uint32_t n_classes)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++, rows += n_classes) {
        double mean = 0.0;
        for (uint32_t k = 0; k < n_classes; k++)
            mean += rows[k] / n_classes;
        for (uint32_t k = 0; k < n_classes; k++)
            sum += (rows[k] - mean) * (rows[k] - mean);
    }
    return sqrt(sum / ((double)n * n_classes));
}

static double ratio(double a, double b)
{
    return b > 0.0 ? a / b : 0.0;
}

/* Half of what distances and answers are multiplied by: a / 2 and b / 2 of the comment above. */
struct shares {
    double distance, answer;
};

static struct shares learn_shares(const struct view *plain, const struct view *scaled,
                                  const struct ridge *ridge)
{
    const uint32_t n = plain->held_out.n, n_classes = plain->held_out.n_classes;
    const double spread = spread_over_classes(plain->held_out.costs, n, n_classes);
    return (struct shares){
        0.5 * ratio(spread, spread_over_classes(scaled->held_out.costs, n, n_classes)),
        0.5 * ratio(spread, spread_over_classes(ridge->held_out, n, n_classes))};
}

/* The costs of the examples left out, less what their classes have in common, in place of those of
 * prototypes. */
static void average_held_out(struct held_out *costs, const struct ridge *ridge,
                             const struct shares *shares)
{
    const size_t n_values = (size_t)costs->n * costs->n_classes;
    for (size_t i = 0; i < n_values; i++)
        costs->costs[i] = shares->distance * costs->costs[i] - shares->answer * ridge->held_out[i];
}

/* Slopes and constants of the costs, by x; `offsets` are in units of costs. */
static void combine(const struct view *scaled, const struct ridge *ridge,
                    const struct shares *shares, const double *offsets, struct model *model)
{
    const uint32_t dimension = model->dimension, n_classes = model->n_classes;
    double constants[CLASSIFIER_CLASSES_MAX], mean = 0.0;
    for (uint32_t k = 0; k < n_classes; k++) {
        const double *m = scaled->prototypes.means + (size_t)k * dimension;
        constants[k] = -prototypes_excess(EUCLIDEAN, scaled->spread, scaled->examples.counts[k]);
        for (uint32_t d = 0; d < dimension; d++)
            constants[k] += m[d] * m[d];
        mean += constants[k] / n_classes;
    }
    for (uint32_t k = 0; k < n_classes; k++)
        model->constants[k] = mean + shares->distance * (constants[k] - mean) + offsets[k];
    for (uint32_t d = 0; d < dimension; d++) {
        double mean_weight = 0.0;
        for (uint32_t k = 0; k < n_classes; k++)
            mean_weight += ridge->weights[(size_t)k * dimension + d] / n_classes;
        for (uint32_t k = 0; k < n_classes; k++) {
            const size_t at = (size_t)k * dimension + d;
            /* The mean of the classes' means is 0 in z. */
            model->slopes[at] =
                -model->scale[d] * (2.0 * shares->distance * scaled->prototypes.means[at] +
                                    shares->answer * (ridge->weights[at] - mean_weight));
            model->constants[k] -= model->slopes[at] * model->centre[d];
        }
    }
}

/* *temperature: 0 where the examples do not say one. */
static void learn_costs(const struct view *plain, struct view *scaled, const struct ridge *ridge,
                        struct model *model, double *temperature)
{
    const struct examples *examples = &plain->examples;
    const struct shares shares = learn_shares(plain, scaled, ridge);
    double offsets[CLASSIFIER_CLASSES_MAX] = {0.0};
    const double typical =
        temperature_typical(EUCLIDEAN, examples, &plain->prototypes, plain->spread);
    *temperature = 0.0;
    if (typical > 0.0) {
        average_held_out(&scaled->held_out, ridge, &shares);
        *temperature = temperature_search(&scaled->held_out, typical);
        offsets_fit(&scaled->held_out, examples, *temperature, offsets);
    }
    for (uint32_t k = 0; k < examples->n_classes; k++)
        offsets[k] *= *temperature;
    combine(scaled, ridge, &shares, offsets, model);
}

static int learn(const struct view *plain, struct model *model, double *temperature,
                 struct error *err)
{
    struct examples examples = {0};
    struct view scaled = {0};
    struct ridge ridge = {0};
    double *origin = calloc(model->dimension, sizeof(*origin));
    learn_centre(plain, model->centre);
    learn_scale(plain, model->centre, model->scale);
    int rc = origin == NULL ? error_set_nomem(err, "a ridge regression")
                            : scale_examples(&plain->examples, model, &examples, err);
    if (rc == 0)
        rc = view_init(&scaled, &examples, err);
    if (rc == 0)
        rc = ridge_fit(&examples, origin, PENALTY, &ridge, err);
    if (rc == 0)
        learn_costs(plain, &scaled, &ridge, model, temperature);
    ridge_clear(&ridge);
    view_clear(&scaled);
    free(examples.vectors);
    free(origin);
    return rc;
}

static int check(enum classifier_distance distance, const uint32_t *counts, uint32_t n_classes,
                 const char *const *names, struct error *err)
{
    if (distance != EUCLIDEAN)
        return error_set(err, ERROR_INVALID,
                         "head ridge needs the distance euclidean, asked for is %s",
                         classifier_distance_name(distance));
    for (uint32_t k = 0; k < n_classes; k++) {
        char index[24];
        snprintf(index, sizeof(index), "%u", k);
        if (counts[k] < HEAD_RIDGE_EXAMPLES_MIN)
            return error_set(err, ERROR_INVALID,
                             "head ridge needs %d examples of each class, class '%.100s' has %u",
                             HEAD_RIDGE_EXAMPLES_MIN, names != NULL ? names[k] : index, counts[k]);
    }
    return 0;
}

static int fit(const struct classifier_params *params, const struct examples *examples,
               struct head_fit *out, struct error *err)
{
    struct view plain = {0};
    double temperature = 0.0;
    int rc = check(params->distance, examples->counts, examples->n_classes, NULL, err);
    if (rc < 0)
        return rc;
    struct model *model = create_model(examples);
    if (model == NULL)
        return error_set_nomem(err, "a ridge regression");
    rc = view_init(&plain, examples, err);
    if (rc == 0)
        rc = learn(&plain, model, &temperature, err);
    view_clear(&plain);
    if (rc < 0)
        free_model(model);
    else
        *out = (struct head_fit){&head_ridge, model,
                                 params->temperature > 0.0 ? params->temperature : temperature};
    return rc;
}

/* ---- scoring ---- */

enum { PARTS = 32 }; /* partial sums, always the same ones, let additions overlap */

static double sum_parts(const double *sums)
{
    double total = sums[0];
    for (size_t k = 1; k < PARTS; k++)
        total += sums[k];
    return total;
}

/* |z|^2 */
VECTOR_CLONES static double squared_length(const double *x, const double *centre,
                                           const double *scale, size_t n)
{
    double sums[PARTS] = {0.0};
    for (; n >= PARTS; n -= PARTS, x += PARTS, centre += PARTS, scale += PARTS) {
        for (size_t k = 0; k < PARTS; k++) {
            const double z = scale[k] * (x[k] - centre[k]);
            sums[k] += z * z;
        }
    }
    for (size_t k = 0; k < n; k++) {
        const double z = scale[k] * (x[k] - centre[k]);
        sums[k] += z * z;
    }
    return sum_parts(sums);
}

VECTOR_CLONES static double product(const double *a, const double *b, size_t n)
{
    double sums[PARTS] = {0.0};
    for (; n >= PARTS; n -= PARTS, a += PARTS, b += PARTS) {
        for (size_t k = 0; k < PARTS; k++)
            sums[k] += a[k] * b[k];
    }
    for (size_t k = 0; k < n; k++)
        sums[k] += a[k] * b[k];
    return sum_parts(sums);
}

static void score(const void *context, const double *embeddings, uint32_t n, double *costs)
{
    const struct model *model = context;
    const uint32_t dimension = model->dimension, n_classes = model->n_classes;
    for (uint32_t i = 0; i < n; i++, embeddings += dimension, costs += n_classes) {
        const double length = squared_length(embeddings, model->centre, model->scale, dimension);
        for (uint32_t k = 0; k < n_classes; k++)
            costs[k] = length + model->constants[k] +
                       product(embeddings, model->slopes + (size_t)k * dimension, dimension);
    }
}

const struct head head_ridge = {
    .name = "ridge",
    .check = check,
    .fit = fit,
    .score = score,
    .free = free_model,
};
