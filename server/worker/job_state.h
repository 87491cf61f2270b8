/* The inside of job_run: what its parts (job_matrix.c, job_features.c, job_examples.c, job_run.c)
 * share. */
#ifndef CHIPSHOT_SERVER_JOB_STATE_H
#define CHIPSHOT_SERVER_JOB_STATE_H

#include "api/job/job_params.h"
#include "db/blobs.h"
#include "db/images.h"
#include "db/matrix.h"
#include "db/support_sets.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/image.h"
#include "server/worker/job_run.h"

struct job_image {
    struct db_image row;
    struct grid grid;
    uint64_t n_done; /* chips of it that count as progress */
};

struct job_state {
    const struct job_engine *engine;
    const struct db_job *job;
    const char *owner;
    struct job_control *control;
    struct job_params params;
    struct db_support_set set;
    const struct loaded_encoder *encoder;
    uint32_t dimension;
    struct pool_lane *lane;
    struct job_image *images; /* job->n_images */
};

/* ERROR_CANCELLED when the job is to stop. */
int job_check_stop(struct job_state *state, struct error *err);
/* Counts chips of an image as done, once, also when its matrix is made a second time. */
void job_count_done(struct job_state *state, struct job_image *image, uint64_t n_done);
void job_add_time(struct job_state *state, enum job_part part, double seconds);
/* Adds what passed since `start` to a part of the job, and returns the time now. */
double job_time(struct job_state *state, enum job_part part, double start);
/* The same for the worker threads' time, as the wall time of all of them at work. */
void job_time_workers(struct job_state *state, const struct embed_times *times);

/* ---- embeddings (job_matrix.c) ---- */

/* The embeddings of all chips of one image, on their way from the cache or the encoder: of a small
 * image in memory, of a large one in a file. The driver begins one while the workers are still busy
 * with the one before. */
struct job_matrix {
    struct job_state *state; /* NULL: not begun */
    struct job_image *image;
    struct pool_errand check;   /* of the file's hash, while it is open; function NULL: none */
    const struct db_blob *file; /* what is checked; borrowed */
    struct error check_error;
    double check_seconds;
    struct image pixels; /* until finished; or else: */
    struct samples samples;
    uint32_t *counts;      /* of the samples, while they are counted; borrowed */
    uint32_t n_counted;    /* rows */
    uint32_t n_parts;      /* of the file that were read */
    float *levels;         /* of the samples, normalised */
    uint64_t n_allowed;    /* chips whose samples have been read */
    struct embed_run *run; /* NULL: not in flight */
    uint64_t n_encoded;    /* chips; counted by workers while in flight */
    float *values;         /* grid_n_chips x dimension; or else: */
    struct db_matrix *stored;
    bool is_cached;          /* was found in the cache */
    atomic_bool is_damaged;  /* `stored` could not be read */
    struct pool_errand keep; /* writes the cache; function NULL: it need not */
    double keep_seconds;
};

/* Reads the cache, or else decodes the image and sets the workers on it. `out` is to be cleared,
 * also after a failure, and stays where it is until then. */
int job_matrix_begin(struct job_matrix *out, struct job_state *state, struct job_image *image,
                     struct error *err);
/* Waits for the workers. The cache is filled meanwhile. */
int job_matrix_finish(struct job_matrix *matrix, struct error *err);
/* Stops what is still in flight, but for the cache, which is filled by then. */
void job_matrix_clear(struct job_matrix *matrix);

/* Embeds a window that is no chip of the job's grids, in a batch of its own; `pixels` is decoded
 * when first needed. `out`: dimension floats. */
int job_embed_window(struct job_state *state, const struct job_image *image,
                     const struct chip_rect *rect, struct image *pixels, float *out,
                     struct error *err);

/* ---- where the embeddings are (job_features.c) ---- */

/* Whether an image is small enough to be held as a whole, also while another one is embedded. Of a
 * larger one a band of rows is in memory, where its format allows that: reading it waits for the
 * workers. */
bool job_matrix_is_small(const struct job_state *state, const struct job_image *image);
/* Looks for them in the cache, which sets `is_cached`, or else makes room for them. ERROR_INVALID:
 * the results would not fit in memory. ERROR_FULL: the embeddings do not fit on the disk. */
int job_features_begin(struct job_matrix *matrix, const char *key, struct error *err);
/* Where they go when they are encoded. */
struct embed_output job_features_output(struct job_matrix *matrix);
/* Puts them into the cache once they are complete. */
void job_features_keep(struct job_matrix *matrix, const char *key);
void job_features_clear(struct job_matrix *matrix);
/* Of a matrix that is finished, until it is cleared. Reading them stops with the job. */
struct embeddings job_matrix_embeddings(struct job_matrix *matrix);
/* True when what the cache had was changed while it was read. It is not in the cache any more: a
 * matrix that is begun anew will be encoded. */
bool job_matrix_was_lost(const struct job_matrix *matrix);

/* ---- examples (job_examples.c) ---- */

struct job_example;

/* The examples of the support set and their vectors. */
struct job_examples {
    struct job_example *items; /* by image */
    uint32_t n;
    float *vectors;    /* n x dimension, in the order of the support set */
    uint32_t *classes; /* likewise */
};

/* Lists the examples and embeds those that are no chips of the job's own grids. */
int job_examples_create(struct job_examples *out, struct job_state *state, struct error *err);
void job_examples_clear(struct job_examples *examples);
/* True when a chip of this image's grid is an example. */
bool job_examples_need(const struct job_examples *examples, size_t image);
/* Takes the vectors of the examples that are chips of the image's grid. */
int job_examples_take(struct job_examples *examples, size_t image, const struct embeddings *chips,
                      struct error *err);

#endif
