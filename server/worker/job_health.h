/* What a job says of the examples that it uses (engine/fewshot/help/health.h), stored with their
 * support set's version. They are asked once, as the job measures them: by the images that they lie
 * in, unless it measures all by something else. A job that measures them by the image that is asked
 * (REFERENCE_TARGET) asks in each image those that lie in it. */
#ifndef CHIPSHOT_SERVER_JOB_HEALTH_H
#define CHIPSHOT_SERVER_JOB_HEALTH_H

#include "engine/fewshot/help/health.h"
#include "server/worker/job_examples.h"

/* Begins zeroed. */
struct job_health {
    struct health health; /* of no example until one was asked */
    bool is_done;
};

/* Whether an analysis of the image is to ask the examples. */
bool job_health_wants(const struct job_health *health, const struct job_state *state,
                      const struct job_examples *examples, size_t image);
/* Takes what it answered. ERROR_NOMEM. */
int job_health_take(struct job_health *health, const struct job_state *state,
                    const struct job_examples *examples, size_t image,
                    const struct health *answered, struct error *err);
/* Stores what was taken, unless that is nothing. ERROR_CONFLICT: the lease was lost. */
int job_health_store(const struct job_health *health, const struct job_state *state,
                     struct error *err);
void job_health_clear(struct job_health *health);

#endif
