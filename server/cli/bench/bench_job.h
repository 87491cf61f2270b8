/* What `chipshot bench job` measures: a job as the server runs it, part by part, beside the
 * encoder's time alone for the chips of the image side by side. */
#ifndef CHIPSHOT_SERVER_BENCH_JOB_H
#define CHIPSHOT_SERVER_BENCH_JOB_H

#include "server/cli/bench/bench_rig.h"

enum { BENCH_SCALES_MAX = 16 };

struct bench_job_options {
    const char *encoder_path; /* NULL: the built-in encoder */
    const char *architecture; /* random weights instead; NULL: none */
    const char *image_path;   /* NULL: a drawn image */
    const char *support_path; /* with image_path, NULL without */
    enum encoding encoding;   /* ENCODING_OWN: the encoder's own */
    uint32_t stride;          /* of the jobs in pixels; 0: the chip's size */
    bool every_step;          /* of the analysis: ridge, smoothing, unknown chips */
    uint32_t n_threads;
    uint32_t n_rounds;
    uint64_t scales[BENCH_SCALES_MAX]; /* about as many chips, drawn; in this order */
    size_t n_scales;                   /* 0: none */
};

/* A drawn image of some number of chips. */
struct bench_scale {
    uint64_t n_chips;
    double seconds;  /* of a cold job */
    double relative; /* seconds a chip, against the first scale's */
    double warm_seconds;
    uint64_t peak_memory;
};

struct bench_job_report {
    uint32_t width, height, chip_width, chip_height, input_size;
    enum encoding encoding; /* as used */
    uint64_t n_chips;
    /* The round with the median cold job: all parts are of one job, so that they add up. */
    struct bench_run cold, warm;
    double render_seconds;
    double load_seconds;    /* the encoder, once a server */
    double encode_seconds;  /* the encoder alone, on chips side by side, median */
    double cold_to_encoder; /* median of the rounds' ratios */
    double warm_to_cold;    /* likewise */
    uint64_t peak_memory;   /* of the cold jobs, bytes */
    uint64_t memory_limit;  /* the encoder's file + 3 x the image as float32 + 100 MB */
    uint64_t weights_size;
    uint64_t pixels_size;
    struct bench_scale scales[BENCH_SCALES_MAX];
    size_t n_scales;
};

int bench_job(const struct bench_job_options *options, struct bench_job_report *out,
              struct error *err);

#endif
