/* The examples of a job's support set and their embeddings. */
#ifndef CHIPSHOT_SERVER_JOB_EXAMPLES_H
#define CHIPSHOT_SERVER_JOB_EXAMPLES_H

#include "engine/fewshot/embeddings.h"
#include "engine/fewshot/smoothing.h"
#include "server/worker/job_encoding.h"
#include "server/worker/job_state.h"

struct job_example;

struct job_examples {
    struct job_image *images;  /* the state's, or copies of them; borrowed */
    bool encodes_all;          /* others than the job's are encoded, too */
    struct job_example *items; /* by image */
    uint32_t n;
    float *embeddings; /* n x dimension, in the order of the support set */
    uint32_t *classes; /* likewise */
    size_t *image_of;  /* likewise: where their images are in `images` */
    /* Windows that are to be embedded, image by image. */
    uint32_t n_windows;
    struct chip_rect *rects;
    float *window_embeddings; /* n_windows x dimension */
};

/* Lists the examples and embeds those that are no chips of the job's own grids, but for those that
 * dense encoding of the images pools. `images` as in the structure. */
int job_examples_create(struct job_examples *out, struct job_state *state, struct job_image *images,
                        bool encodes_all, struct error *err);
void job_examples_clear(struct job_examples *examples);
/* True when a chip of this image's grid is an example, or a window that is to be pooled. */
bool job_examples_need(const struct job_examples *examples, size_t image);
/* The windows of an image that are to be pooled when it is encoded. */
struct job_windows job_examples_windows(const struct job_examples *examples,
                                        const struct job_state *state, size_t image);
/* Takes the embeddings of the examples that lie in the image, which is encoded. */
int job_examples_take(struct job_examples *examples, struct job_state *state, size_t image,
                      const struct job_encoding *encoding, const struct embeddings *chips,
                      struct error *err);

/* The chips of an image's grid that are examples: `out` has room for examples->n. Returns how many.
 */
uint32_t job_examples_chips(const struct job_examples *examples, const struct job_state *state,
                            size_t image, struct example_chip *out);

#endif
