/* The space in which an image's chips are told apart: the transform, and the examples in it. Steps
 * after the classifier take distances there, too. Internal to engine/fewshot. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_SPACE_H
#define CHIPSHOT_ENGINE_FEWSHOT_SPACE_H

#include "engine/fewshot/heads/examples.h"
#include "engine/fewshot/transform.h"

struct space {
    struct transform transform;
    struct examples examples; /* transformed */
};

/* Learns the transform from chips and examples and takes the examples there. The support is
 * borrowed until space_clear. Errors as examples_init and transform_init. */
int space_init(struct space *out, const struct classifier_params *params,
               const struct support *support, const struct embeddings *chips,
               struct pool_lane *lane, struct error *err);
/* Also of one that is all zeros. */
void space_clear(struct space *space);

#endif
