/* The head of prototypical networks (Snell et al. 2017): each class is the mean of its transformed
 * examples, and the cost of a class is the distance to it.
 *
 * The mean of n examples lies |m - M|^2 = v / n off the class's true mean M on average, v being the
 * variance within a class: that much every chip seems to be farther from the class than it is, and
 * most so of the class with the fewest examples. With squared Euclidean distances it is taken off,
 *
 *     cost = |x - m|^2 - v / n,     v pooled over the classes (prototypes_spread),
 *
 * which changes nothing where all classes have as many examples.
 */
#include <stdlib.h>

#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/heads/prototypes.h"
#include "engine/fewshot/heads/temperature.h"

struct model {
    enum classifier_distance distance;
    struct prototypes prototypes;
    double excess[CLASSIFIER_CLASSES_MAX]; /* of the distance, of each class */
};

static void free_model(void *context)
{
    struct model *model = context;
    if (model == NULL)
        return;
    prototypes_clear(&model->prototypes);
    free(model);
}

static int fit(const struct classifier_params *params, const struct examples *examples,
               struct head_fit *out, struct error *err)
{
    struct model *model = calloc(1, sizeof(*model));
    double temperature = params->temperature;
    if (model == NULL)
        return error_set_nomem(err, "the prototypes");
    model->distance = params->distance;
    int rc = prototypes_init(&model->prototypes, examples, err);
    if (rc == 0) {
        const double spread = prototypes_spread(&model->prototypes, examples, params->distance);
        for (uint32_t k = 0; k < examples->n_classes; k++)
            model->excess[k] = prototypes_excess(params->distance, spread, examples->counts[k]);
        if (temperature == 0.0)
            rc = temperature_fit(params->distance, examples, &model->prototypes, spread,
                                 &temperature, err);
    }
    if (rc < 0)
        free_model(model);
    else
        *out = (struct head_fit){&head_prototypes, model, temperature};
    return rc;
}

static void score(const void *context, const double *embeddings, uint32_t n, double *costs)
{
    const struct model *model = context;
    const struct prototypes *prototypes = &model->prototypes;
    const uint32_t dimension = prototypes->dimension, n_classes = prototypes->n_classes;
    for (uint32_t i = 0; i < n; i++, embeddings += dimension, costs += n_classes) {
        for (uint32_t k = 0; k < n_classes; k++)
            costs[k] = prototypes_distance(model->distance, embeddings,
                                           prototypes->means + (size_t)k * dimension, dimension) -
                       model->excess[k];
    }
}

const struct head head_prototypes = {
    .name = "prototypes",
    .fit = fit,
    .score = score,
    .free = free_model,
};
