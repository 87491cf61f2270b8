/* Where the embeddings of an image's chips are. Of a small image they are in memory. Of a large one
 * they are in a file, the cache's entry or what becomes it: a worker writes each batch as it is
 * encoded, and they are read back in bands, so that memory follows a plan whatever the image. */
#ifndef CHIPSHOT_SERVER_JOB_EMBEDDINGS_H
#define CHIPSHOT_SERVER_JOB_EMBEDDINGS_H

#include "db/store/cache.h"
#include "engine/fewshot/embeddings.h"
#include "server/worker/job_state.h"

struct job_embeddings {
    struct job_state *state;
    const struct job_image *image;
    float *values; /* grid_n_chips x dimension; or else: */
    struct cache_entry *stored;
    bool is_cached;         /* was found in the cache */
    atomic_bool is_damaged; /* `stored` could not be read */
};

/* Looks for them in the cache, which sets `is_cached`, or else makes room for them. `out` is to be
 * cleared, also after a failure, and stays where it is until then. ERROR_INVALID: the results would
 * not fit in memory. ERROR_FULL: the embeddings do not fit on the disk. */
int job_embeddings_begin(struct job_embeddings *out, struct job_state *state,
                         const struct job_image *image, struct error *err);
/* Where they go when they are encoded. */
struct embed_output job_embeddings_output(struct job_embeddings *embeddings);
/* Puts them into the cache once they are complete; any thread. */
void job_embeddings_keep(const struct job_embeddings *embeddings);
void job_embeddings_clear(struct job_embeddings *embeddings);
/* To read, once they are complete, until they are cleared. Reading them stops with the job. */
struct embeddings job_embeddings_view(struct job_embeddings *embeddings);
/* True when what the cache had was changed while it was read. It is not in the cache any more: what
 * is begun anew will be encoded. */
bool job_embeddings_were_lost(const struct job_embeddings *embeddings);

/* The cache's embedding of a window that is no chip of the job's grids: dimension floats. False: it
 * is not there. */
bool job_embeddings_get_window(struct job_state *state, const struct job_image *image,
                               const struct chip_rect *rect, float *out);
void job_embeddings_put_window(struct job_state *state, const struct job_image *image,
                               const struct chip_rect *rect, const float *embedding);

#endif
