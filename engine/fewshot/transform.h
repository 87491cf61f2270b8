/* The map from embeddings to the space in which distances are taken. Internal to engine/fewshot.
 *
 * A transform holds two numbers a dimension and is applied to one vector at a time, so that an
 * image with a million chips needs no second copy of its embeddings.
 */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_TRANSFORM_H
#define CHIPSHOT_ENGINE_FEWSHOT_TRANSFORM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"
#include "engine/fewshot/heads/examples.h"
#include "engine/pool.h"

struct transform {
    enum classifier_transform kind;
    uint32_t dimension;
    double *mean;  /* owned, NULL where the kind has none */
    double *scale; /* what multiplies x - mean; owned, NULL where the kind has none */
    bool has_seen; /* all chips, and that their values are finite */
};

/* Learns the transform of the chips, and puts the examples, as examples_init left them, through
 * theirs. `references`: what both are measured by; NULL, or one without `chips`: the chips' own,
 * which are then seen and checked to be finite. `lane` as in pool_share. ERROR_INVALID,
 * ERROR_NOMEM, or what reading the chips gave. */
int transform_init(struct transform *transform, enum classifier_transform kind,
                   const struct support *support, const struct references *references,
                   struct examples *examples, const struct embeddings *chips,
                   struct pool_lane *lane, struct error *err);
void transform_clear(struct transform *transform);

/* Both hold `dimension` values. Returns what the result was divided by to have the length 1; 1
 * where nothing is (`none`, and a vector that is zero). */
double transform_apply(const struct transform *transform, const float *in, double *out);

#endif
