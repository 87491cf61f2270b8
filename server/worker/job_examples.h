/* The examples of a job's support set and their embeddings. */
#ifndef CHIPSHOT_SERVER_JOB_EXAMPLES_H
#define CHIPSHOT_SERVER_JOB_EXAMPLES_H

#include "engine/fewshot/embeddings.h"
#include "server/worker/job_state.h"

struct job_example;

struct job_examples {
    struct job_example *items; /* by image */
    uint32_t n;
    float *embeddings; /* n x dimension, in the order of the support set */
    uint32_t *classes; /* likewise */
};

/* Lists the examples and embeds those that are no chips of the job's own grids. */
int job_examples_create(struct job_examples *out, struct job_state *state, struct error *err);
void job_examples_clear(struct job_examples *examples);
/* True when a chip of this image's grid is an example. */
bool job_examples_need(const struct job_examples *examples, size_t image);
/* Takes the embeddings of the examples that are chips of the image's grid. */
int job_examples_take(struct job_examples *examples, size_t image, const struct embeddings *chips,
                      struct error *err);

#endif
