/* What the images of a job and its examples are measured by (engine/fewshot/reference.h), and the
 * grey levels that they are stretched to.
 *
 * There are two views of the images. In the own one each image has its own range of grey levels and
 * its own statistics. In the shared one the images that hold examples (or these and the job's
 * images) give both. Where an image's own range is nearly the shared one, it keeps its own: its
 * chips are encoded once for both. Statistics and ranges are in the cache, beside what they are of.
 */
#ifndef CHIPSHOT_SERVER_JOB_REFERENCE_H
#define CHIPSHOT_SERVER_JOB_REFERENCE_H

#include "engine/fewshot/reference.h"
#include "server/worker/job_examples.h"
#include "server/worker/job_state.h"

struct job_view {
    struct job_image *images; /* state->n_images: the state's, or copies with a range given */
    struct job_examples examples;
    struct reference *references;         /* n_images; of those that are taken */
    const struct reference **of_examples; /* of each example's image, in the set's order */
};

struct job_reference {
    bool is_measured; /* the transform looks at references */
    bool *holds;      /* n_images: it holds an example */
    bool *holds_all;  /* n_images: it holds one of each class */
    size_t *order;    /* n_images: all, by what is in them */
    bool *is_shared;  /* n_images: its range in the shared view is known, and: */
    bool *is_flat;    /* n_images: hardly a level of that range is in it */
    struct job_view own, shared;
    struct reference pooled; /* of the shared view */
    bool is_ready;           /* the shared view is */
};

/* The state's images are loaded. `out` is to be cleared, also after a failure. */
int job_reference_create(struct job_reference *out, struct job_state *state, struct error *err);
void job_reference_clear(struct job_reference *reference, const struct job_state *state);

/* Lists a view's examples (job_examples_create). */
int job_view_begin(struct job_reference *reference, struct job_view *view, struct job_state *state,
                   struct error *err);
/* Gives an image its range in the shared view. */
int job_reference_share(struct job_reference *reference, struct job_state *state, size_t image,
                        struct error *err);
/* Pools the shared view's statistics, once those of all its images are taken, always in the same
 * order. */
int job_reference_pool(struct job_reference *reference, struct job_state *state, struct error *err);

/* Whether the statistics of an image's chips are taken; looks for them in the cache. */
bool job_view_has(struct job_view *view, struct job_state *state, size_t image);
/* Takes them from its chips, unless they are. */
int job_view_take(struct job_view *view, struct job_state *state, size_t image,
                  const struct embeddings *chips, struct error *err);

/* Whether the image and all that hold examples vary, so that each can be measured by itself. Its
 * range in the shared view is known, unless it holds examples of all classes. */
bool job_reference_has_own(const struct job_reference *reference, size_t image);
/* What chips of an image, and the examples, are measured by in a view. */
struct references job_reference_of(const struct job_reference *reference,
                                   const struct job_view *view, size_t image);

#endif
