/* The map from embeddings to the space in which distances are taken. Internal to engine/fewshot.
 *
 * A transform holds two numbers a dimension and is applied to one vector at a time, so that an
 * image with a million chips needs no second copy of its embeddings.
 */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_TRANSFORM_H
#define CHIPSHOT_ENGINE_FEWSHOT_TRANSFORM_H

#include <stdint.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"
#include "engine/fewshot/heads/examples.h"
#include "engine/pool.h"

/* Threads look whether to give way each time they have treated so many chips, some tens of
 * microseconds. */
enum { GIVE_WAY_CHIPS = 32 };

struct transform {
    enum classifier_transform kind;
    uint32_t dimension;
    double *mean;  /* owned, NULL where the kind has none */
    double *scale; /* what multiplies x - mean; owned, NULL where the kind has none */
};

/* Learns the transform from the image's chips, and `standardise` from the examples, as they are,
 * too (transform.c says how), and checks that every value of the chips is finite. `lane` as in
 * pool_share. ERROR_INVALID, ERROR_NOMEM, or what reading the chips gave. */
int transform_init(struct transform *transform, enum classifier_transform kind,
                   const struct examples *examples, const struct embeddings *chips,
                   struct pool_lane *lane, struct error *err);
void transform_clear(struct transform *transform);

/* Both hold `dimension` values. */
void transform_apply(const struct transform *transform, const float *in, double *out);

/* ERROR_INVALID unless all values are finite; `what` names them in the message. */
int transform_check_finite(const float *embeddings, uint64_t n_embeddings, uint32_t dimension,
                           const char *what, struct error *err);

#endif
