/* chipshot bench precision: what a reduced precision gains and what it costs on this machine.
 *
 * Each precision encodes the chips of a drawn scene, and the scene is classified by the nearest
 * prototype of its examples with either's embeddings. Speed is that of full batches on threads with
 * workspaces of their own; rounds of the precisions take turns, so that a disturbance hits all, and
 * medians are reported. */
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/embed.h"
#include "engine/fewshot/classifier.h"
#include "engine/image/chip_grid.h"
#include "engine/image/normalise.h"
#include "engine/simulate/scene.h"
#include "server/cli/bench/bench_encode.h"
#include "server/cli/bench/cmd_bench_precision.h"
#include "server/cli/command.h"
#include "server/cli/common_options.h"

struct options {
    const char *encoder_path;
    const char *architecture;
    const char *scene;
    uint64_t size;
    uint64_t batch;
    uint64_t n_threads;
    uint64_t n_rounds;
    uint64_t round_ms;
    bool json;
};

/* What is known of one precision. */
struct outcome {
    bool offered;
    float *embeddings; /* n_chips x dimension */
    struct classification labels;
    double rates[OPTION_ROUNDS_MAX];
    double chips_per_second; /* median */
    double max_error;        /* of a chip's embedding, relative L2, against float32 */
    double mean_error;
    double agreement; /* share of the chips with float32's label */
};

struct bench {
    const struct options *options;
    struct encoder *encoder;
    uint32_t size;
    struct scene scene;
    float *pixels; /* the scene's, normalised */
    struct grid grid;
    uint64_t n_chips;
    uint32_t dimension;
    struct outcome outcomes[PRECISIONS];
};

/* ---- the scene ---- */

static int prepare(struct bench *bench, struct error *err)
{
    const struct scene_params params = {0};
    int rc = bench_load_encoder(bench->options->encoder_path, bench->options->architecture,
                                &bench->encoder, err);
    if (rc == 0)
        rc = scene_draw(bench->options->scene, &params, &bench->scene, err);
    if (rc != 0)
        return rc;
    const struct encoder_info *info = encoder_info(bench->encoder);
    bench->size = bench->options->size != 0 ? (uint32_t)bench->options->size : info->input_size;
    bench->dimension = info->dimension;
    const struct scene *scene = &bench->scene;
    const size_t n_pixels = (size_t)scene->width * scene->height;
    bench->pixels = malloc(n_pixels * sizeof(float));
    if (bench->pixels == NULL)
        return error_set_nomem(err, "the scene");
    for (size_t i = 0; i < n_pixels; i++)
        bench->pixels[i] = scene->pixels[i];
    const struct sample_range full_scale = sample_type_range(SAMPLE_U16);
    const struct grid_params grid = {.chip_width = scene->chip, .chip_height = scene->chip};
    rc = normalise_apply(&normalise_params_default, bench->pixels, scene->width, scene->height,
                         &full_scale, NULL, err);
    if (rc == 0)
        rc = grid_plan(&grid, scene->width, scene->height, n_pixels, &bench->grid, err);
    bench->n_chips = rc == 0 ? grid_n_chips(&bench->grid) : 0;
    return rc;
}

static int classify(const struct bench *bench, struct outcome *outcome, struct error *err)
{
    const struct scene *scene = &bench->scene;
    const uint32_t dimension = bench->dimension;
    float *examples = calloc((size_t)scene->n_examples * dimension, sizeof(float));
    uint32_t *class_of = calloc(scene->n_examples, sizeof(*class_of));
    int rc = examples == NULL || class_of == NULL ? error_set_nomem(err, "the examples") : 0;
    for (uint32_t i = 0; i < scene->n_examples && rc == 0; i++) {
        const struct scene_example *example = &scene->examples[i];
        const struct chip_rect rect = {example->x, example->y, scene->chip, scene->chip};
        memcpy(examples + (size_t)i * dimension,
               outcome->embeddings + (size_t)grid_find(&bench->grid, &rect) * dimension,
               dimension * sizeof(float));
        class_of[i] = example->class_index;
    }
    const struct support support = {
        .embeddings = examples,
        .class_of = class_of,
        .n_examples = scene->n_examples,
        .n_classes = scene->n_classes,
        .dimension = dimension,
    };
    const struct embeddings chips = {
        .n_chips = bench->n_chips, .dimension = dimension, .values = outcome->embeddings};
    if (rc == 0)
        rc = classifier_run(&classifier_params_default, &support, &chips, NULL, &outcome->labels,
                            err);
    free(examples);
    free(class_of);
    return rc;
}

/* The scene's chips and labels in one precision. */
static int run_scene(struct bench *bench, enum precision precision, struct error *err)
{
    struct outcome *outcome = &bench->outcomes[precision];
    const struct input_sizes sizes = {1, {bench->size}};
    struct pool *pool = NULL;
    struct pool_lane *lane = NULL;
    struct embedder *embedder = NULL;
    outcome->embeddings = calloc(bench->n_chips * bench->dimension, sizeof(float));
    int rc = outcome->embeddings == NULL ? error_set_nomem(err, "the embeddings") : 0;
    if (rc == 0)
        rc = pool_create(&pool, (uint32_t)bench->options->n_threads, POOL_LANE_LIMIT, err);
    if (rc == 0)
        rc = pool_lane_create(&lane, pool, err);
    if (rc == 0)
        rc = embedder_create(&embedder, pool, bench->encoder, &sizes, ENCODING_CHIPS, precision,
                             NULL, err);
    if (rc == 0)
        rc = embed_grid(embedder, lane, bench->pixels, &bench->grid, NULL, NULL,
                        outcome->embeddings, err);
    pool_lane_destroy(lane);
    embedder_destroy(embedder);
    pool_destroy(pool);
    return rc == 0 ? classify(bench, outcome, err) : rc;
}

static void compare(const struct bench *bench, struct outcome *outcome)
{
    const struct outcome *exact = &bench->outcomes[PRECISION_FLOAT32];
    uint64_t n_equal = 0;
    for (uint64_t i = 0; i < bench->n_chips; i++) {
        const float *a = exact->embeddings + i * bench->dimension;
        const float *b = outcome->embeddings + i * bench->dimension;
        double norm = 0.0, error = 0.0;
        for (uint32_t k = 0; k < bench->dimension; k++) {
            const double difference = (double)b[k] - (double)a[k];
            norm += (double)a[k] * (double)a[k];
            error += difference * difference;
        }
        const double relative = sqrt(error) / fmax(sqrt(norm), 1e-12);
        outcome->mean_error += relative / (double)bench->n_chips;
        outcome->max_error = fmax(outcome->max_error, relative);
        n_equal += exact->labels.labels[i] == outcome->labels.labels[i];
    }
    outcome->agreement = (double)n_equal / (double)bench->n_chips;
}

/* ---- speed ---- */

/* The workspaces of all offered precisions: [PRECISIONS][n_threads]. */
static int make_threads(const struct bench *bench, const float *chips, struct bench_thread *threads,
                        struct error *err)
{
    const uint64_t n = bench->options->n_threads;
    int rc = 0;
    for (uint64_t i = 0; i < PRECISIONS * n && rc == 0; i++) {
        if (!bench->outcomes[i / n].offered)
            continue;
        threads[i] = (struct bench_thread){
            .encoder = bench->encoder,
            .chips = chips,
            .batch = (uint32_t)bench->options->batch,
            .round_seconds = (double)bench->options->round_ms * 1e-3,
            .out = calloc(bench->options->batch * bench->dimension, sizeof(float)),
        };
        rc = threads[i].out == NULL
                 ? error_set_nomem(err, "embeddings")
                 : encoder_workspace_create(&threads[i].workspace, bench->encoder, bench->size,
                                            (enum precision)(i / n), NULL, err);
    }
    return rc;
}

static int run_rounds(struct bench *bench, struct bench_thread *threads, struct error *err)
{
    const uint32_t n_rounds = (uint32_t)bench->options->n_rounds;
    const uint32_t n_threads = (uint32_t)bench->options->n_threads;
    int rc = 0;
    /* One round more than is kept, to warm up. */
    for (uint32_t round = 0; round <= n_rounds; round++) {
        for (enum precision i = 0; i < PRECISIONS && rc == 0; i++) {
            double *rate = &bench->outcomes[i].rates[round > 0 ? round - 1 : 0];
            if (bench->outcomes[i].offered)
                rc = bench_round(threads + (size_t)i * n_threads, n_threads, rate, err);
        }
    }
    for (enum precision i = 0; i < PRECISIONS && rc == 0; i++) {
        struct outcome *outcome = &bench->outcomes[i];
        outcome->chips_per_second = bench_median(outcome->rates, n_rounds);
    }
    return rc;
}

static int measure(struct bench *bench, struct error *err)
{
    const size_t n_threads = PRECISIONS * (size_t)bench->options->n_threads;
    const uint32_t batch = (uint32_t)bench->options->batch;
    struct bench_thread *threads = calloc(n_threads, sizeof(*threads));
    float *chips = calloc((size_t)batch * bench->size * bench->size, sizeof(*chips));
    int rc = threads == NULL || chips == NULL ? error_set_nomem(err, "a batch of chips") : 0;
    struct chip_resampler *resampler = NULL;
    if (rc == 0)
        rc = chip_resampler_create(&resampler, bench->scene.chip, bench->scene.chip, bench->size,
                                   bench->size, err);
    float *scratch = rc == 0 ? calloc(chip_resampler_scratch(resampler), sizeof(*scratch)) : NULL;
    if (rc == 0 && scratch == NULL)
        rc = error_set_nomem(err, "resampling");
    for (uint32_t i = 0; i < batch && rc == 0; i++) {
        const struct chip_rect rect = grid_chip(&bench->grid, i % bench->n_chips);
        chip_resample(resampler, bench->pixels, bench->scene.width, rect.x, rect.y, scratch,
                      chips + (size_t)i * bench->size * bench->size);
    }
    if (rc == 0)
        rc = make_threads(bench, chips, threads, err);
    if (rc == 0)
        rc = run_rounds(bench, threads, err);
    for (size_t i = 0; threads != NULL && i < n_threads; i++) {
        encoder_workspace_destroy(threads[i].workspace);
        free(threads[i].out);
    }
    chip_resampler_destroy(resampler);
    free(scratch);
    free(chips);
    free(threads);
    return rc;
}

/* ---- reporting ---- */

static double speed_ratio(const struct bench *bench, const struct outcome *outcome)
{
    return outcome->chips_per_second / bench->outcomes[PRECISION_FLOAT32].chips_per_second;
}

static void print_text(const struct bench *bench)
{
    const struct encoder_info *info = encoder_info(bench->encoder);
    printf("%s (%s), %" PRIu32 " px, batches of %" PRIu64 ", %" PRIu64 " thread(s); %" PRIu64
           " chips of %s\n\n",
           info->name, info->architecture, bench->size, bench->options->batch,
           bench->options->n_threads, bench->n_chips, bench->scene.name);
    puts("| precision | chips/s | against float32 | mean error | largest error | equal labels |");
    puts("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (enum precision i = 0; i < PRECISIONS; i++) {
        const struct outcome *outcome = &bench->outcomes[i];
        if (outcome->offered)
            printf("| %s | %.0f | %.2f | %.2g | %.2g | %.2f %% |\n", precision_name(i),
                   outcome->chips_per_second, speed_ratio(bench, outcome), outcome->mean_error,
                   outcome->max_error, 100.0 * outcome->agreement);
    }
    struct error err = {0};
    for (enum precision i = 0; i < PRECISIONS; i++) {
        if (precision_check(i, &err) != 0)
            printf("\n%s\n", err.message);
    }
}

static int print_json(const struct bench *bench, struct error *err)
{
    const struct encoder_info *info = encoder_info(bench->encoder);
    json_t *precisions = json_object();
    for (enum precision i = 0; i < PRECISIONS; i++) {
        const struct outcome *outcome = &bench->outcomes[i];
        if (outcome->offered)
            json_object_set_new(precisions, precision_name(i),
                                json_pack("{s:f, s:f, s:f, s:f, s:f}", "chips_per_second",
                                          outcome->chips_per_second, "speed_ratio",
                                          speed_ratio(bench, outcome), "mean_error",
                                          outcome->mean_error, "max_error", outcome->max_error,
                                          "label_agreement", outcome->agreement));
    }
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:o}", "encoder", info->name,
                             "architecture", info->architecture, "input_size",
                             (json_int_t)bench->size, "batch", (json_int_t)bench->options->batch,
                             "threads", (json_int_t)bench->options->n_threads, "rounds",
                             (json_int_t)bench->options->n_rounds, "scene", bench->scene.name,
                             "n_chips", (json_int_t)bench->n_chips, "precisions", precisions);
    return bench_print_json(root, err);
}

static int run(const struct options *options, struct error *err)
{
    static struct bench bench; /* large (rates); one a process */
    bench.options = options;
    int rc = prepare(&bench, err);
    for (enum precision i = 0; i < PRECISIONS && rc == 0; i++) {
        bench.outcomes[i].offered = precision_check(i, NULL) == 0;
        if (!bench.outcomes[i].offered)
            continue;
        rc = run_scene(&bench, i, err);
        if (rc == 0)
            compare(&bench, &bench.outcomes[i]);
    }
    if (rc == 0)
        rc = measure(&bench, err);
    if (rc == 0 && options->json)
        rc = print_json(&bench, err);
    else if (rc == 0)
        print_text(&bench);
    for (enum precision i = 0; i < PRECISIONS; i++) {
        free(bench.outcomes[i].embeddings);
        classification_clear(&bench.outcomes[i].labels);
    }
    scene_clear(&bench.scene);
    free(bench.pixels);
    encoder_destroy(bench.encoder);
    return rc;
}

/* ---- the command ---- */

/* What the command line says; one a process. */
static struct options given = {.scene = "perovskite-on-diamond",
                               .batch = ENCODER_BATCH,
                               .n_threads = 1,
                               .n_rounds = 5,
                               .round_ms = 500};

static const struct command_option known_options[] = {
    OPTION_ENCODER(&given.encoder_path),
    OPTION_ARCHITECTURE(&given.architecture),
    {.name = "scene",
     .argument = "NAME",
     .value.text = &given.scene,
     .help = "drawn scene to classify (default perovskite-on-diamond)"},
    OPTION_SIZE(&given.size),
    OPTION_BATCH(&given.batch),
    OPTION_ENCODING_THREADS(&given.n_threads),
    OPTION_ROUNDS(&given.n_rounds, "of each precision, after one to warm up (default 5)"),
    OPTION_ROUND_MS(&given.round_ms),
    OPTION_JSON(&given.json),
};

static const struct command description = {
    .usage = "bench precision [--encoder FILE | --arch NAME] [OPTION]...",
    .summary = "Measures what each precision that this machine offers gains in speed and costs in "
               "accuracy.",
    .options = known_options,
    .n_options = sizeof(known_options) / sizeof(known_options[0]),
    .min_operands = 1,
    .max_operands = 1,
};

int cmd_bench_precision(int argc, char **argv)
{
    const char *operand = NULL;
    enum command_action action = command_parse(&description, argc, argv, &operand);
    if (action != COMMAND_RUN)
        return action == COMMAND_EXIT_OK ? 0 : 2;
    struct error err = {0};
    if (bench_check_encoder(given.encoder_path, given.architecture, &err) < 0)
        return command_fail_usage(&err);
    return run(&given, &err) == 0 ? command_end_output() : command_fail(&err);
}
