/* The head of prototypical networks (Snell et al. 2017): each class is the mean of its transformed
 * examples, the cost of a class is the distance to it, and an automatic temperature is fitted to
 * the examples left out one by one. */
#include <stdlib.h>

#include "engine/fewshot/head.h"
#include "engine/fewshot/prototypes.h"
#include "engine/fewshot/temperature.h"

struct model {
    enum classifier_distance distance;
    struct prototypes prototypes;
};

static void free_model(void *context)
{
    struct model *model = context;
    if (model == NULL)
        return;
    prototypes_clear(&model->prototypes);
    free(model);
}

static int fit(const struct classifier_params *params, const struct support *support,
               const struct transform *transform, struct head_fit *out, struct error *err)
{
    struct model *model = calloc(1, sizeof(*model));
    double temperature = params->temperature;
    if (model == NULL)
        return error_set_nomem(err, "the prototypes");
    model->distance = params->distance;
    int rc = prototypes_init(&model->prototypes, support, transform, err);
    if (rc == 0 && temperature == 0.0)
        rc = temperature_fit(params->distance, support, transform, &model->prototypes, &temperature,
                             err);
    if (rc < 0)
        free_model(model);
    else
        *out = (struct head_fit){model, temperature};
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
                                           prototypes->means + (size_t)k * dimension, dimension);
    }
}

const struct head head_prototypes = {
    .name = "prototypes",
    .fit = fit,
    .score = score,
    .free = free_model,
};
