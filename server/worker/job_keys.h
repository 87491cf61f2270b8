/* Names of what the cache keeps of a job's images. */
#ifndef CHIPSHOT_SERVER_JOB_KEYS_H
#define CHIPSHOT_SERVER_JOB_KEYS_H

#include "server/worker/job_state.h"

enum { JOB_KEY_SIZE = 640 };

/* The embeddings of the chips of an image's grid. */
void job_key_of_grid(const struct job_state *state, const struct job_image *image,
                     char out[JOB_KEY_SIZE]);
/* The mean and variance of these. */
void job_key_of_reference(const struct job_state *state, const struct job_image *image,
                          char out[JOB_KEY_SIZE]);
/* The embedding of a window. */
void job_key_of_window(const struct job_state *state, const struct job_image *image,
                       const struct chip_rect *rect, char out[JOB_KEY_SIZE]);
/* The feature maps for chips of the support set's size, at one of the input sizes. */
void job_key_of_maps(const struct job_state *state, const struct job_image *image,
                     uint32_t input_size, char out[JOB_KEY_SIZE]);

#endif
