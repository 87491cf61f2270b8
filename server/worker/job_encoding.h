/* The encoding of all chips of one image: its embeddings, found in the cache, or else the image on
 * its way from the file to the workers. The driver begins one while the workers are still busy with
 * the one before. */
#ifndef CHIPSHOT_SERVER_JOB_ENCODING_H
#define CHIPSHOT_SERVER_JOB_ENCODING_H

#include "engine/image/samples.h"
#include "server/worker/job_embeddings.h"
#include "server/worker/job_pixels.h"

/* Examples that are no chips of the image's grid, which dense encoding pools on its way. */
struct job_windows {
    const struct chip_rect *rects; /* borrowed */
    float *embeddings;             /* n x dimension, the caller's */
    uint32_t n;
};

struct job_encoding {
    struct job_state *state; /* NULL: not begun */
    struct job_image *image;
    struct job_windows windows; /* n is 0 where no run fills their embeddings */
    struct embed_maps maps;     /* of an image small enough */
    bool maps_were_there;       /* in the cache */
    struct job_embeddings embeddings;
    struct pool_errand check;      /* of the file's hash, while it is open; function NULL: none */
    const struct store_file *file; /* what is checked; borrowed */
    struct error check_error;
    double check_seconds;
    struct image pixels; /* until finished; or else: */
    struct samples samples;
    float *levels;           /* of the samples, normalised */
    const struct mask *mask; /* of the image, while it is begun; NULL: none */
    uint32_t fill_level;     /* of samples that it leaves out */
    uint8_t *skip;           /* of the grid's chips, until cleared: not 0 for those that are not
                                analysed; NULL: all are */
    struct embed_run *run;   /* NULL: not in flight */
    uint64_t n_encoded;      /* chips; counted by workers while in flight */
    struct pool_errand keep; /* writes the cache; function NULL: it need not */
    double keep_seconds;
};

/* Reads the cache, or else decodes the image and sets the workers on it. `out` is to be cleared,
 * also after a failure, and stays where it is until then. `windows` (copied): to be pooled, too. */
int job_encoding_begin(struct job_encoding *out, struct job_state *state, struct job_image *image,
                       const struct job_windows *windows, struct error *err);
/* Waits for the workers. The embeddings are complete then, those of the windows, too, unless their
 * number is 0: then the chips' were in the cache. The cache is filled meanwhile. */
int job_encoding_finish(struct job_encoding *encoding, struct error *err);
/* Stops what is still in flight, but for the cache, which is filled by then. */
void job_encoding_clear(struct job_encoding *encoding);

#endif
