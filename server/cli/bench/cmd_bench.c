/* chipshot bench: how fast this machine encodes, in rounds of bench_encode.h. The median over
 * rounds is reported: a disturbance of one round does not show. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/encoder/encoder.h"
#include "engine/random.h"
#include "server/cli/bench/bench_encode.h"
#include "server/cli/bench/cmd_bench_job.h"
#include "server/cli/bench/cmd_bench_precision.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"
#include "server/cli/embedding_choice.h"
#include "server/cli/bench/peak_memory.h"

struct bench_options {
    const char *encoder_path;
    const char *architecture;
    const char *precision_name;
    const char *encoding_name;
    enum encoding encoding;   /* read from it */
    enum precision precision; /* read from it */
    uint64_t size;
    uint64_t batch;
    uint64_t n_threads;
    uint64_t n_rounds;
    uint64_t round_ms;
    bool json;
    bool layers;
};

struct bench {
    struct encoder *encoder;
    uint32_t size;
    float *chips;
    uint32_t n_threads;
    struct bench_thread *threads;
    struct bench_tile *tiles;        /* n_threads; NULL: chips are encoded */
    double rates[OPTION_ROUNDS_MAX]; /* chips a second, ascending when measured */
    double median;
    uint32_t n_rounds;
    uint64_t peak_memory; /* bytes */
};

/* ---- setting up ---- */

static int prepare_tile(const struct bench_options *options, struct bench *bench, uint32_t number,
                        struct error *err)
{
    struct bench_thread *thread = &bench->threads[number];
    thread->tile = &bench->tiles[number];
    int rc = bench_tile_init(thread->tile, bench->encoder, bench->size, err);
    if (rc < 0)
        return rc;
    return encoder_workspace_create_tile(&thread->workspace, bench->encoder,
                                         bench_tile_side(thread->tile), options->precision, NULL,
                                         err);
}

static int prepare_threads(const struct bench_options *options, struct bench *bench,
                           struct error *err)
{
    const uint32_t batch = (uint32_t)options->batch;
    const uint32_t dimension = encoder_info(bench->encoder)->dimension;
    bench->threads = calloc(bench->n_threads, sizeof(bench->threads[0]));
    if (options->encoding == ENCODING_DENSE)
        bench->tiles = calloc(bench->n_threads, sizeof(bench->tiles[0]));
    if (bench->threads == NULL || (options->encoding == ENCODING_DENSE && bench->tiles == NULL))
        return error_set_nomem(err, "the threads");
    for (uint32_t i = 0; i < bench->n_threads; i++) {
        struct bench_thread *thread = &bench->threads[i];
        *thread = (struct bench_thread){.encoder = bench->encoder,
                                        .chips = bench->chips,
                                        .out = calloc((size_t)batch * dimension, sizeof(float)),
                                        .batch = batch,
                                        .round_seconds = (double)options->round_ms / 1e3};
        if (thread->out == NULL)
            return error_set_nomem(err, "embeddings");
        int rc = bench->tiles != NULL
                     ? prepare_tile(options, bench, i, err)
                     : encoder_workspace_create(&thread->workspace, bench->encoder, bench->size,
                                                options->precision, NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int prepare(const struct bench_options *options, struct bench *bench, struct error *err)
{
    int rc = bench_load_encoder(options->encoder_path, options->architecture, &bench->encoder, err);
    if (rc < 0)
        return rc;
    bench->size =
        options->size != 0 ? (uint32_t)options->size : encoder_info(bench->encoder)->input_size;
    bench->n_threads = (uint32_t)options->n_threads;
    const size_t n_pixels = (size_t)options->batch * bench->size * bench->size;
    bench->chips = malloc(n_pixels * sizeof(float));
    if (bench->chips == NULL)
        return error_set_nomem(err, "a batch of chips");
    struct random random;
    random_seed(&random, 1, 0);
    for (size_t i = 0; i < n_pixels; i++)
        bench->chips[i] = (float)random_uniform(&random);
    return prepare_threads(options, bench, err);
}

static void bench_clear(struct bench *bench)
{
    for (uint32_t i = 0; bench->threads != NULL && i < bench->n_threads; i++) {
        encoder_workspace_destroy(bench->threads[i].workspace);
        free(bench->threads[i].out);
    }
    for (uint32_t i = 0; bench->tiles != NULL && i < bench->n_threads; i++)
        bench_tile_clear(&bench->tiles[i]);
    free(bench->tiles);
    free(bench->threads);
    free(bench->chips);
    encoder_destroy(bench->encoder);
}

/* ---- measuring ---- */

static int measure(struct bench *bench, uint32_t n_rounds, struct error *err)
{
    double warm_up;
    peak_memory_forget();
    int rc = bench_round(bench->threads, bench->n_threads, &warm_up, err);
    for (uint32_t i = 0; i < n_rounds && rc == 0; i++)
        rc = bench_round(bench->threads, bench->n_threads, &bench->rates[i], err);
    if (rc < 0)
        return rc;
    bench->n_rounds = n_rounds;
    bench->peak_memory = peak_memory();
    bench->median = bench_median(bench->rates, n_rounds);
    return 0;
}

/* ---- reporting ---- */

/* Of direct convolution; of a tile the share that is as large as a chip, margins included. */
static double flops_per_chip(const struct bench *bench)
{
    const double flops = (double)encoder_workspace_flops(bench->threads[0].workspace);
    return bench->tiles != NULL ? flops / bench->tiles[0].n_chips : flops;
}

static void print_text(const struct bench *bench, uint32_t batch)
{
    const struct encoder_info *info = encoder_info(bench->encoder);
    const double gflop = flops_per_chip(bench) / 1e9;
    char unit[64];
    if (bench->tiles != NULL)
        snprintf(unit, sizeof(unit), "tiles of %" PRIu32 " px", bench_tile_side(&bench->tiles[0]));
    else
        snprintf(unit, sizeof(unit), "batches of %" PRIu32, batch);
    printf("encoder:     %s (%s), %" PRIu64 " parameters, dimension %" PRIu32 "\n", info->name,
           info->architecture, info->n_parameters, info->dimension);
    printf("input:       %" PRIu32 " x %" PRIu32 " px, %s, %" PRIu32 " thread(s)\n", bench->size,
           bench->size, unit, bench->n_threads);
    printf("kernels:     %s\n", encoder_kernels());
    printf("speed:       %.1f chips/s (median of %" PRIu32 " rounds, %.1f to %.1f)\n",
           bench->median, bench->n_rounds, bench->rates[0], bench->rates[bench->n_rounds - 1]);
    printf("arithmetic:  %.1f GFLOP/s (%.4f GFLOP a chip by direct convolution)\n",
           bench->median * gflop, gflop);
    printf("peak memory: %.1f MB\n", (double)bench->peak_memory / 1e6);
}

static int print_json(const struct bench_options *options, const struct bench *bench,
                      struct error *err)
{
    const struct encoder_info *info = encoder_info(bench->encoder);
    const double flops = flops_per_chip(bench);
    json_t *root = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:s, s:s}",
        "encoder", info->name, "architecture", info->architecture, "n_parameters",
        (json_int_t)info->n_parameters, "dimension", (json_int_t)info->dimension, "input_size",
        (json_int_t)bench->size, "batch", (json_int_t)options->batch, "threads",
        (json_int_t)bench->n_threads, "rounds", (json_int_t)bench->n_rounds, "round_ms",
        (json_int_t)options->round_ms, "chips_per_second", bench->median, "chips_per_second_min",
        bench->rates[0], "chips_per_second_max", bench->rates[bench->n_rounds - 1],
        "gflop_per_second", bench->median * flops / 1e9, "flop_per_chip", (json_int_t)flops,
        "peak_rss_bytes", (json_int_t)bench->peak_memory, "kernels", encoder_kernels(), "encoding",
        encoding_name(options->encoding));
    if (root != NULL && bench->tiles != NULL)
        json_object_set_new(root, "tile_side", json_integer(bench_tile_side(&bench->tiles[0])));
    return bench_print_json(root, err);
}

/* One more round on one thread, with a clock around every layer. */
static int print_layers(struct bench *bench, struct error *err)
{
    struct bench_thread *thread = &bench->threads[0];
    int rc = encoder_workspace_measure(thread->workspace, err);
    if (rc < 0)
        return rc;
    if (thread->tile != NULL)
        thread->tile->put_seconds = thread->tile->pool_seconds = 0;
    bench_encode(thread);
    const double n_maps = (double)thread->n_calls * (thread->tile != NULL ? 1 : thread->batch);
    const double beside =
        thread->tile != NULL ? thread->tile->put_seconds + thread->tile->pool_seconds : 0;
    struct encoder_layer layer;
    double seconds = beside;
    for (uint32_t i = 0; encoder_workspace_layer(thread->workspace, i, &layer); i++)
        seconds += layer.seconds;
    puts("| layer | shape | algorithm | share of the time | GFLOP/s by direct count |");
    puts("| --- | --- | --- | ---: | ---: |");
    for (uint32_t i = 0; encoder_workspace_layer(thread->workspace, i, &layer); i++) {
        char shape[64] = "";
        if (layer.kernel > 0)
            snprintf(shape, sizeof(shape), "%ux%u/%u, %u to %u, map %u", layer.kernel, layer.kernel,
                     layer.stride, layer.in_channels, layer.out_channels, layer.side);
        else if (thread->tile != NULL)
            continue; /* what chips have in place of windows */
        printf("| %s | %s | %s | %.1f %% | %.0f |\n", layer.name, shape, layer.algorithm,
               100.0 * layer.seconds / seconds, (double)layer.flops * n_maps / layer.seconds / 1e9);
    }
    if (thread->tile == NULL)
        return 0;
    printf("| rounding of maps | | | %.1f %% | 0 |\n", 100.0 * thread->tile->put_seconds / seconds);
    printf("| windows | | | %.1f %% | 0 |\n", 100.0 * thread->tile->pool_seconds / seconds);
    return 0;
}

static int bench_encoder(const struct bench_options *options, struct error *err)
{
    static struct bench bench; /* large (rates); one a process */
    int rc = prepare(options, &bench, err);
    if (rc == 0)
        rc = measure(&bench, (uint32_t)options->n_rounds, err);
    if (rc == 0 && options->json)
        rc = print_json(options, &bench, err);
    else if (rc == 0)
        print_text(&bench, (uint32_t)options->batch);
    if (rc == 0 && options->layers)
        rc = print_layers(&bench, err);
    bench_clear(&bench);
    return rc;
}

/* What the command line says; one a process. */
static struct bench_options given = {
    .batch = ENCODER_BATCH, .n_threads = 1, .n_rounds = 5, .round_ms = 500};

static const struct command_option known_options[] = {
    OPTION_ENCODER(&given.encoder_path),
    OPTION_ARCHITECTURE(&given.architecture),
    OPTION_SIZE(&given.size),
    OPTION_BATCH(&given.batch),
    OPTION_ENCODING_THREADS(&given.n_threads),
    OPTION_PRECISION(&given.precision_name),
    OPTION_TEXT("encoding", "NAME", &given.encoding_name,
                "chips (default): batches of them; dense: a tile of an image with its chips, as "
                "many a second\n                           as its area without margins holds"),
    OPTION_ROUNDS(&given.n_rounds, "after one to warm up (default 5)"),
    OPTION_ROUND_MS(&given.round_ms),
    {.name = "layers",
     .type = COMMAND_FLAG,
     .value.flag = &given.layers,
     .help = "then print where one thread's time goes"},
    OPTION_JSON(&given.json),
};

static const struct command description = {
    .usage = "bench encoder [--encoder FILE | --arch NAME] [OPTION]...",
    .summary = "Measures how many chips a second an encoder embeds on this machine.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
    .min_operands = 1,
    .max_operands = 1,
};

int cmd_bench(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } others[] = {{"job", cmd_bench_job}, {"precision", cmd_bench_precision}};
    const char *operand = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(argv[1], others[i].name) == 0)
            return others[i].run(argc, argv);
    }
    enum command_action action = command_parse(&description, argc, argv, &operand);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    if (strcmp(operand, "encoder") != 0) {
        fprintf(stderr,
                "chipshot: '%.100s' is not a benchmark (encoder, job or precision); usage: "
                "chipshot %s\n",
                operand, description.usage);
        return 2;
    }
    struct error err = {0};
    if (bench_check_encoder(given.encoder_path, given.architecture, &err) < 0)
        return command_fail_usage(&err);
    if (embedding_parse_precision(given.precision_name, &given.precision, &err) < 0)
        return command_fail_usage(&err);
    if (embedding_parse_encoding(given.encoding_name, &given.encoding, &err) < 0)
        return command_fail_usage(&err);
    if (given.encoding == ENCODING_OWN)
        given.encoding = ENCODING_CHIPS;
    return bench_encoder(&given, &err) == 0 ? command_end_output() : command_fail(&err);
}
