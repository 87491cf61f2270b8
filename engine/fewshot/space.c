#include "engine/fewshot/space.h"

int space_init(struct space *out, const struct classifier_params *params,
               const struct support *support, const struct embeddings *chips,
               struct pool_lane *lane, struct error *err)
{
    struct space space = {0};
    int rc = examples_init(&space.examples, support, err);
    if (rc < 0)
        return rc;
    rc = transform_init(&space.transform, params->transform, support, params->references,
                        &space.examples, chips, lane, err);
    if (rc == 0)
        *out = space;
    else
        space_clear(&space);
    return rc;
}

void space_clear(struct space *space)
{
    transform_clear(&space->transform);
    examples_clear(&space->examples);
}
