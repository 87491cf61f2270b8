/* What the parts of a running job (job_run.h) share: its rows and parameters, its images, and how
 * its time and progress are counted. */
#ifndef CHIPSHOT_SERVER_JOB_STATE_H
#define CHIPSHOT_SERVER_JOB_STATE_H

#include "api/job/image_mask.h"
#include "api/job/job_params.h"
#include "base/cancel.h"
#include "db/images.h"
#include "db/jobs.h"
#include "db/support_sets.h"
#include "engine/embed.h"
#include "engine/image/chip_grid.h"
#include "server/worker/job_engine.h"

struct job_image {
    struct db_image row;
    struct image_mask mask; /* as it was when the job was made */
    struct grid grid;
    struct normalise_params normalise; /* the job's; with a range that is given, perhaps */
    struct job_image *counted; /* whose progress its chips are: its own, or that of the image that
                                  it is a copy of; NULL: it is not in the job */
    uint64_t n_done;           /* chips of it that count as progress */
};

struct job_state {
    const struct job_engine *engine;
    const struct db_job *job;
    const struct db_lease *lease;
    struct job_control *control;
    struct cancel cancel; /* says when control does; for what takes long */
    struct job_params params;
    struct db_support_set set;
    const struct loaded_encoder *encoder;
    uint32_t dimension;
    struct pool_lane *lane;
    struct job_image *images; /* the job's, and then others that hold examples: */
    size_t n_images;          /* job->n_images or more */
};

/* A job's beginning; all borrowed. `out` stays where it is: its cancel points there. */
void job_state_init(struct job_state *out, const struct job_engine *engine,
                    const struct db_job *job, const struct db_lease *lease,
                    struct job_control *control);
/* ERROR_CANCELLED when the job is to stop. */
int job_check_stop(struct job_state *state, struct error *err);
/* Counts chips of an image as done, once, also when they are embedded a second time, perhaps as a
 * copy of the image with another range; those of an image that is not in the job are not counted.
 */
void job_count_done(struct job_state *state, const struct job_image *image, uint64_t n_done);
void job_add_time(struct job_state *state, enum job_part part, double seconds);
/* Adds what passed since `start` to a part of the job, and returns the time now. */
double job_time(struct job_state *state, enum job_part part, double start);
/* The same for the worker threads' time, as the wall time of all of them at work. */
void job_time_workers(struct job_state *state, const struct embed_times *times);

/* Whether an image is small enough to be held as a whole, also while another one is embedded. Of a
 * larger one a band of rows is in memory, where its format allows that: reading it waits for the
 * workers. */
bool job_image_is_small(const struct job_state *state, const struct job_image *image);

#endif
