/* What `chipshot bench job` runs its jobs on: a data directory in $TMPDIR, the database, the pool
 * and the worker, put together as `chipshot serve` does it, without HTTP. */
#ifndef CHIPSHOT_SERVER_BENCH_RIG_H
#define CHIPSHOT_SERVER_BENCH_RIG_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "server/service.h"

/* One job's image. */
struct bench_image {
    char id[DB_ID_SIZE];
    uint32_t width, height;
};

struct bench_example {
    uint32_t class_index;
    uint32_t x, y; /* top left corner in pixels */
};

struct bench_support {
    uint32_t chip_width, chip_height;
    uint32_t n_classes;
    struct bench_example *examples; /* class by class; borrowed */
    uint32_t n_examples;
};

struct bench_rig {
    char directory[PATH_MAX];
    struct service service;
    struct api_limits limits;
    char project_id[DB_ID_SIZE];
    char encoder_id[DB_ID_SIZE];
    uint64_t weights_size; /* bytes of the encoder's file */
    uint32_t stride; /* of its jobs in pixels, to be set by who wants another; 0: the chip's size */
    bool every_step; /* of the analysis, in its jobs; to be set likewise */
    const struct loaded_encoder *encoder;
    double encoder_seconds; /* what loading it took */
    struct job_times times; /* of the last job */
};

/* `weights`: a safetensors file's bytes, borrowed. The encoder is loaded, as it is in a server that
 * has had a job; its jobs are encoded as `encoding` says. To be closed also after a failure. */
int bench_rig_open(struct bench_rig *rig, const void *weights, size_t weights_size,
                   uint32_t n_threads, enum encoding encoding, struct error *err);
/* Removes the directory. */
void bench_rig_close(struct bench_rig *rig);

/* Stores an image file as an upload does. */
int bench_rig_add_image(struct bench_rig *rig, const void *data, size_t size,
                        struct bench_image *out, struct error *err);
/* A support set as it is given; or one that a user might try next: without the last example of each
 * class that has more than every step of an analysis asks for, and the classes in reverse order. */
enum bench_set { BENCH_SET_AS_GIVEN, BENCH_SET_OTHER };

/* Stores a support set. */
int bench_rig_add_support(struct bench_rig *rig, const struct bench_image *image,
                          const struct bench_support *support, enum bench_set which,
                          char id[DB_ID_SIZE], struct error *err);

struct bench_run {
    double seconds;             /* from queued until its end was told */
    double start_seconds;       /* from queued until the job began to work */
    double first_batch_seconds; /* from queued until the workers got a batch; 0: none */
    double parts[JOB_PARTS];
    uint64_t n_chips;
    char job_id[DB_ID_SIZE];
};

/* Queues a job and waits for its end. `variant` makes the embeddings' key another one, and changes
 * nothing else: jobs of different variants find nothing in the cache. */
int bench_rig_run(struct bench_rig *rig, const struct bench_image *image,
                  const struct bench_support *support, const char *support_id, uint32_t variant,
                  struct bench_run *out, struct error *err);

/* Seconds of drawing what clients ask for after a job: the label map and the overlay. */
int bench_rig_render(struct bench_rig *rig, const struct bench_image *image,
                     const struct bench_run *run, double *seconds, struct error *err);

#endif
