/* How far an image lies from the examples of a support set: what says whether an image is measured
 * by itself or by the support images, and what a user is told of an image that is unlike them. */
#ifndef CHIPSHOT_ENGINE_FEWSHOT_DRIFT_H
#define CHIPSHOT_ENGINE_FEWSHOT_DRIFT_H

#include <stdbool.h>

#include "base/error.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/embeddings.h"

/* In the space of the classifier's transform. NaN: the examples do not say, for each class has one,
 * or all of a class are alike. */
struct drift {
    double nearest; /* median over chips of the least squared distance to a prototype */
    /* Median over chips of r = min_k |x - m_k|^2 / (v (1 + 1 / n_k)): 1 is what another example of
     * a class would have on average. */
    double distance;
    /* Mean + DRIFT_DEVIATIONS standard deviations of r over the examples, each left out. */
    double limit;
};

/* Of chips spread evenly over the image, one of which at least is analysed. ERROR_INVALID,
 * ERROR_NOMEM, or what reading the chips gave.
 */
int drift_measure(const struct classifier_params *params, const struct support *support,
                  const struct embeddings *chips, struct pool_lane *lane, struct drift *out,
                  struct error *err);

/* More than half of the chips lie farther from their class than hardly any example does. */
bool drift_is_flagged(const struct drift *drift);

/* Measured by itself the image lies so near that no other reference could bring it nearer. */
bool drift_is_near(const struct drift *own);

/* Whether the image is told apart by the support images' reference rather than by its own. */
bool drift_prefers_support(const struct drift *own, const struct drift *support);

/* An image that does not vary lies so far from every class that none can be said. */
bool drift_is_undecided(const struct drift *drift);

#endif
