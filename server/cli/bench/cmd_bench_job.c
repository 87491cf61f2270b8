/* chipshot bench job: what a whole job costs on this machine, part by part. */
#include "server/cli/bench/cmd_bench_job.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/pool.h"
#include "server/cli/bench/bench_encode.h"
#include "server/cli/bench/bench_job.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/embedding_choice.h"

static const struct command_numbers chip_numbers = {
    .name = "chips", .min = 1, .max = 4000000, .n_max = BENCH_SCALES_MAX};

/* ---- reporting ---- */

/* Decoding goes on while chips are encoded, so the parts may add up to more than the job. */
static void print_run(const char *name, const struct bench_run *run)
{
    printf("%-9s %8.2f ms: starting %.2f", name, run->seconds * 1e3, run->start_seconds * 1e3);
    for (int i = 0; i < JOB_PARTS; i++)
        printf(", %s %.2f", job_part_name((enum job_part)i), run->parts[i] * 1e3);
    if (run->first_batch_seconds > 0)
        printf("; first batch after %.2f", run->first_batch_seconds * 1e3);
    printf("\n");
}

static void print_text(const struct bench_job_options *options,
                       const struct bench_job_report *report)
{
    printf("image:    %" PRIu32 " x %" PRIu32 " px, %" PRIu64 " chips of %" PRIu32 " x %" PRIu32
           ", encoded at %" PRIu32 " px (%s), %" PRIu32 " thread(s)\n",
           report->width, report->height, report->n_chips, report->chip_width, report->chip_height,
           report->input_size, encoding_name(report->encoding), options->n_threads);
    printf("encoder:  %8.2f ms for chips side by side, each for itself (loading it, once a server: "
           "%.2f ms)\n",
           report->encode_seconds * 1e3, report->load_seconds * 1e3);
    print_run("cold job:", &report->cold);
    print_run("warm job:", &report->warm);
    printf("render:   %8.2f ms for the label map and the overlay, when they are asked for\n",
           report->render_seconds * 1e3);
    printf("ratios:   cold job / encoder %.3f, warm job / cold job %.4f (medians of %" PRIu32
           " rounds)\n",
           report->cold_to_encoder, report->warm_to_cold, options->n_rounds);
    printf("memory:   %.1f MB at most; weights + 3 x float32 image + 100 MB = %.1f MB\n",
           (double)report->peak_memory / 1e6, (double)report->memory_limit / 1e6);
    for (size_t i = 0; i < report->n_scales; i++) {
        const struct bench_scale *scale = &report->scales[i];
        printf("scale:    %8" PRIu64 " chips: %9.2f ms, %7.1f chips/s, %.3f of the first's cost a "
               "chip, %.1f MB; warm job %.2f ms\n",
               scale->n_chips, scale->seconds * 1e3, (double)scale->n_chips / scale->seconds,
               scale->relative, (double)scale->peak_memory / 1e6, scale->warm_seconds * 1e3);
    }
}

static json_t *run_to_json(const struct bench_run *run)
{
    json_t *parts = json_object();
    for (int i = 0; i < JOB_PARTS; i++)
        json_object_set_new(parts, job_part_name((enum job_part)i), json_real(run->parts[i]));
    json_object_set_new(parts, "start", json_real(run->start_seconds));
    return json_pack("{s:f, s:f, s:o}", "seconds", run->seconds, "first_batch_seconds",
                     run->first_batch_seconds, "parts", parts);
}

static json_t *scales_to_json(const struct bench_job_report *report)
{
    json_t *scales = json_array();
    for (size_t i = 0; i < report->n_scales; i++) {
        const struct bench_scale *scale = &report->scales[i];
        json_array_append_new(
            scales, json_pack("{s:I, s:f, s:f, s:f, s:f, s:I}", "chips", (json_int_t)scale->n_chips,
                              "seconds", scale->seconds, "chips_per_second",
                              (double)scale->n_chips / scale->seconds, "relative_cost",
                              scale->relative, "warm_seconds", scale->warm_seconds,
                              "peak_rss_bytes", (json_int_t)scale->peak_memory));
    }
    return scales;
}

static int print_json(const struct bench_job_options *options,
                      const struct bench_job_report *report, struct error *err)
{
    json_t *memory =
        json_pack("{s:I, s:I, s:I, s:I}", "peak_rss_bytes", (json_int_t)report->peak_memory,
                  "weights_bytes", (json_int_t)report->weights_size, "pixels_bytes",
                  (json_int_t)report->pixels_size, "limit_bytes", (json_int_t)report->memory_limit);
    json_t *root = json_pack(
        "{s:{s:I, s:I, s:I}, s:{s:I, s:I}, s:I, s:s, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:f, s:f, "
        "s:o, s:o}",
        "image", "width", (json_int_t)report->width, "height", (json_int_t)report->height, "chips",
        (json_int_t)report->n_chips, "chip", "width", (json_int_t)report->chip_width, "height",
        (json_int_t)report->chip_height, "input_size", (json_int_t)report->input_size, "encoding",
        encoding_name(report->encoding), "threads", (json_int_t)options->n_threads, "rounds",
        (json_int_t)options->n_rounds, "encoder_load_seconds", report->load_seconds,
        "encoder_seconds", report->encode_seconds, "render_seconds", report->render_seconds, "cold",
        run_to_json(&report->cold), "warm", run_to_json(&report->warm), "cold_to_encoder",
        report->cold_to_encoder, "warm_to_cold", report->warm_to_cold, "memory", memory, "scales",
        scales_to_json(report));
    return bench_print_json(root, err);
}

/* ---- options ---- */

/* What the command line says; one a process. */
static struct {
    const char *encoder_path, *architecture, *image_path, *support_path, *chips, *encoding;
    uint64_t n_threads, n_rounds, stride;
    bool every_step, json;
} given = {.n_rounds = 5};

static const struct command_option known_options[] = {
    {.name = "image",
     .argument = "FILE",
     .value.text = &given.image_path,
     .help = "micrograph (default: a drawn one of 1,024 chips)"},
    {.name = "support",
     .argument = "FILE",
     .value.text = &given.support_path,
     .help = "its support set, in the form that chipshot simulate writes"},
    OPTION_ENCODER(&given.encoder_path),
    OPTION_ARCHITECTURE(&given.architecture),
    OPTION_ENCODING(&given.encoding),
    OPTION_STRIDE(&given.stride),
    {.name = "every-step",
     .type = COMMAND_FLAG,
     .value.flag = &given.every_step,
     .help = "jobs with head = ridge, smoothing = on and unknown = true"},
    OPTION_WORKERS(&given.n_threads),
    OPTION_ROUNDS(&given.n_rounds,
                  "of encoder, cold job and warm job, after one to warm up (default 5)"),
    {.name = "chips",
     .argument = "N,N,...",
     .value.text = &given.chips,
     .help = "then drawn images of about so many chips of 64 px"},
    OPTION_JSON(&given.json),
};

static const struct command description = {
    .usage = "bench job [--image FILE --support FILE] [OPTION]...",
    .summary = "Measures what a whole job costs on this machine, part by part, beside the encoder "
               "alone.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
    .min_operands = 1,
    .max_operands = 1,
};

static int read_options(struct bench_job_options *out, struct error *err)
{
    *out = (struct bench_job_options){
        .encoder_path = given.encoder_path,
        .architecture = given.architecture,
        .image_path = given.image_path,
        .support_path = given.support_path,
        .stride = (uint32_t)given.stride,
        .every_step = given.every_step,
        .n_threads = given.n_threads != 0 ? (uint32_t)given.n_threads : pool_n_workers_default(),
        .n_rounds = (uint32_t)given.n_rounds,
    };
    if (bench_check_encoder(given.encoder_path, given.architecture, err) < 0)
        return ERROR_INVALID;
    if ((given.image_path == NULL) != (given.support_path == NULL))
        return error_set(err, ERROR_INVALID, "--image and --support need each other");
    if (embedding_parse_encoding(given.encoding, &out->encoding, err) < 0)
        return ERROR_INVALID;
    return command_parse_numbers(&chip_numbers, given.chips, out->scales, &out->n_scales, err);
}

int cmd_bench_job(int argc, char **argv)
{
    struct bench_job_options options;
    struct bench_job_report report;
    struct error err = {0};
    const char *operand = NULL;
    enum command_action action = command_parse(&description, argc, argv, &operand);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    if (read_options(&options, &err) < 0)
        return command_fail_usage(&err);
    int rc = bench_job(&options, &report, &err);
    if (rc == 0 && given.json)
        rc = print_json(&options, &report, &err);
    else if (rc == 0)
        print_text(&options, &report);
    return rc == 0 ? command_end_output() : command_fail(&err);
}
