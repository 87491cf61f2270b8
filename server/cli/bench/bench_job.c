/* A round is the encoder alone, a cold job (nothing in the cache), a warm job (another support set,
 * all embeddings in the cache) and the maps, one after the other, so that a slow spell of the
 * machine meets all of them; ratios are taken within rounds and their median is reported. */
#include "server/cli/bench/bench_job.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/encoder/encoder.h"
#include "engine/encoder/random_weights.h"
#include "engine/image/png_write.h"
#include "engine/random.h"
#include "engine/simulate/scene.h"
#include "server/cli/assets.h"
#include "server/cli/bench/bench_encode.h"
#include "server/cli/files.h"
#include "server/cli/bench/peak_memory.h"
#include "server/cli/support_file.h"

enum {
    DRAWN_CHIPS = 1024,
    SCALE_ROUNDS_MAX = 15,
    SCALE_CHIP_SIDE = 64, /* so that 64,000 chips keep within the default limit of an image */
};

static const char scene_name[] = "perovskite-on-diamond";
static const size_t max_file_size = (size_t)2 << 30;
static const uint64_t memory_allowance = 100000000;
/* A scale is measured again until it took that long, so that small ones are no luck. */
static const double scale_seconds = 3;

/* What is classified. */
struct input {
    struct file_bytes png;
    struct bench_support support;
};

static void input_clear(struct input *input)
{
    file_bytes_clear(&input->png);
    free(input->support.examples);
    *input = (struct input){0};
}

/* ---- drawing ---- */

/* The scene repeated until there are about `n_chips` chips of `side` pixels, with noise of its own
 * everywhere: a copy would be compressed to nothing. */
static uint16_t *repeat(const struct scene *scene, uint64_t n_chips, uint32_t side, uint32_t *width,
                        uint32_t *height)
{
    const uint64_t columns = (uint64_t)ceil(sqrt((double)n_chips));
    const uint64_t rows = (n_chips + columns / 2) / columns;
    const uint64_t w = columns * side, h = (rows > 0 ? rows : 1) * side;
    uint16_t *pixels = malloc(w * h * sizeof(pixels[0]));
    struct random random;
    random_seed(&random, 1, 0);
    for (uint64_t y = 0; pixels != NULL && y < h; y++) {
        const uint16_t *row = scene->pixels + y % scene->height * scene->width;
        for (uint64_t x = 0; x < w; x++) {
            uint32_t value = row[x % scene->width] + random_below(&random, 512);
            pixels[y * w + x] = (uint16_t)(value > UINT16_MAX ? UINT16_MAX : value);
        }
    }
    *width = (uint32_t)w;
    *height = (uint32_t)h;
    return pixels;
}

/* The examples keep their places in the grid when its chips have another size. */
static int take_examples(const struct scene *scene, uint32_t side, struct bench_support *out,
                         struct error *err)
{
    struct bench_support support = {.chip_width = side,
                                    .chip_height = side,
                                    .n_classes = scene->n_classes,
                                    .examples = calloc(scene->n_examples, sizeof(*out->examples))};
    if (support.examples == NULL)
        return error_set_nomem(err, "a support set");
    for (uint32_t c = 0; c < scene->n_classes; c++) {
        for (uint32_t i = 0; i < scene->n_examples; i++) {
            const struct scene_example *from = &scene->examples[i];
            if (from->class_index == c)
                support.examples[support.n_examples++] = (struct bench_example){
                    c, from->x / scene->chip * side, from->y / scene->chip * side};
        }
    }
    *out = support;
    return 0;
}

/* `side`: of the chips in pixels; 0: the scene's own. */
static int draw(uint64_t n_chips, uint32_t side, struct input *out, struct error *err)
{
    struct scene scene = {0};
    struct png_bytes png = {0};
    const struct scene_params params = {.seed = 1};
    uint32_t width, height;
    int rc = scene_draw(scene_name, &params, &scene, err);
    if (rc < 0)
        return rc;
    side = side > 0 ? side : scene.chip;
    uint16_t *pixels = repeat(&scene, n_chips, side, &width, &height);
    if (pixels == NULL)
        rc = error_set_nomem(err, "a drawn image");
    if (rc == 0 && (width / side < scene.columns || height / side < scene.rows))
        rc = error_set(err, ERROR_INVALID,
                       "%" PRIu64 " chips are fewer than the %" PRIu32 " of the drawn scene",
                       n_chips, scene.rows * scene.columns);
    if (rc == 0)
        rc = png_write_grey16(pixels, width, height, scene.pixel_size_nm, &png, err);
    if (rc == 0)
        rc = take_examples(&scene, side, &out->support, err);
    out->png = (struct file_bytes){.data = png.data, .size = png.size};
    free(pixels);
    scene_clear(&scene);
    return rc;
}

static int read_files(const struct bench_job_options *options, struct input *out, struct error *err)
{
    struct support_file file = {0};
    int rc = support_file_read(options->support_path, &file, err);
    if (rc == 0)
        rc = file_read(options->image_path, max_file_size, &out->png, err);
    if (rc == 0)
        out->support.examples = calloc(file.n_examples, sizeof(out->support.examples[0]));
    if (rc == 0 && out->support.examples == NULL)
        rc = error_set_nomem(err, "a support set");
    if (rc == 0) {
        out->support.chip_width = file.chip_width;
        out->support.chip_height = file.chip_height;
        out->support.n_classes = file.n_classes;
        out->support.n_examples = file.n_examples;
        for (uint32_t i = 0; i < file.n_examples; i++)
            out->support.examples[i] = (struct bench_example){
                file.examples[i].class_index, file.examples[i].x, file.examples[i].y};
    }
    support_file_clear(&file);
    return rc;
}

/* ---- the encoder alone ---- */

struct chips_alone {
    const struct encoder *encoder;
    const float *chips; /* a batch; borrowed */
    uint64_t n_chips;
    atomic_uint_fast64_t next;
};

struct encoding_thread {
    struct chips_alone *work;
    struct encoder_workspace *workspace;
    float *out;
    pthread_t id;
};

static void *encode_batches(void *argument)
{
    const struct encoding_thread *thread = argument;
    struct chips_alone *work = thread->work;
    for (;;) {
        uint64_t first = atomic_fetch_add(&work->next, ENCODER_BATCH);
        if (first >= work->n_chips)
            return NULL;
        uint64_t left = work->n_chips - first;
        encoder_embed(work->encoder, thread->workspace, work->chips,
                      left < ENCODER_BATCH ? (uint32_t)left : ENCODER_BATCH, thread->out);
    }
}

static int run_threads(struct encoding_thread *threads, uint32_t n, double *seconds,
                       struct error *err)
{
    uint32_t n_started = 0;
    int rc = 0;
    const double start = clock_now_seconds();
    while (n_started < n && rc == 0) {
        rc = pthread_create(&threads[n_started].id, NULL, encode_batches, &threads[n_started]);
        n_started += rc == 0 ? 1 : 0;
    }
    for (uint32_t i = 0; i < n_started; i++)
        pthread_join(threads[i].id, NULL);
    *seconds = clock_now_seconds() - start;
    return rc == 0 ? 0 : error_set_errno(err, rc, "starting a thread");
}

/* Seconds that `n_threads` threads need to encode as many chips, each for itself, in batches as a
 * job's. */
static int encode_alone(const struct bench_rig *rig, uint32_t n_threads, uint64_t n_chips,
                        double *seconds, struct error *err)
{
    const struct encoder *encoder = embedder_encoder(rig->encoder->embedder);
    const struct encoder_info *info = encoder_info(encoder);
    const size_t n_pixels = (size_t)ENCODER_BATCH * info->input_size * info->input_size;
    struct encoding_thread *threads = calloc(n_threads, sizeof(threads[0]));
    float *chips = calloc(n_pixels, sizeof(float));
    struct chips_alone work = {.encoder = encoder, .chips = chips, .n_chips = n_chips};
    struct random random;
    random_seed(&random, 1, 0);
    for (size_t i = 0; chips != NULL && i < n_pixels; i++)
        chips[i] = (float)random_uniform(&random);
    int rc = threads == NULL || chips == NULL ? error_set_nomem(err, "a batch of chips") : 0;
    for (uint32_t i = 0; i < n_threads && rc == 0; i++) {
        threads[i].work = &work;
        threads[i].out = calloc((size_t)ENCODER_BATCH * info->dimension, sizeof(float));
        rc = threads[i].out == NULL ? error_set_nomem(err, "embeddings")
                                    : encoder_workspace_create(&threads[i].workspace, encoder, 0,
                                                               PRECISION_FLOAT32, NULL, err);
        /* Its memory is touched before the time is taken, as a worker's that has had a job. */
        if (rc == 0)
            encoder_embed(encoder, threads[i].workspace, chips, 1, threads[i].out);
    }
    if (rc == 0)
        rc = run_threads(threads, n_threads, seconds, err);
    for (uint32_t i = 0; threads != NULL && i < n_threads; i++) {
        encoder_workspace_destroy(threads[i].workspace);
        free(threads[i].out);
    }
    free(threads);
    free(chips);
    return rc;
}

/* ---- rounds ---- */

struct round {
    double encode;
    struct bench_run cold, warm;
    double render;
};

static int compare_rounds(const void *a, const void *b)
{
    return bench_compare_doubles(&((const struct round *)a)->cold.seconds,
                                 &((const struct round *)b)->cold.seconds);
}

static int run_round(struct bench_rig *rig, const struct bench_image *image,
                     const struct bench_support *support, char (*sets)[DB_ID_SIZE],
                     uint32_t variant, struct round *out, uint64_t *peak, struct error *err)
{
    /* Side by side, whatever the job's stride and encoding: a measure that stays the same. */
    const uint64_t n_chips =
        (uint64_t)(image->width / support->chip_width) * (image->height / support->chip_height);
    int rc = encode_alone(rig, pool_n_workers(rig->service.pool), n_chips, &out->encode, err);
    if (rc < 0)
        return rc;
    peak_memory_forget();
    rc = bench_rig_run(rig, image, support, sets[0], variant, &out->cold, err);
    const uint64_t memory = peak_memory();
    *peak = memory > *peak ? memory : *peak;
    if (rc == 0)
        rc = bench_rig_run(rig, image, support, sets[1], variant, &out->warm, err);
    if (rc == 0)
        rc = bench_rig_render(rig, image, &out->cold, &out->render, err);
    return rc;
}

static int summarise(struct round *rounds, size_t n, struct bench_job_report *report,
                     struct error *err)
{
    double *values = calloc(n, sizeof(values[0]));
    if (values == NULL)
        return error_set_nomem(err, "the report");
    for (size_t i = 0; i < n; i++)
        values[i] = rounds[i].encode;
    report->encode_seconds = bench_median(values, n);
    for (size_t i = 0; i < n; i++)
        values[i] = rounds[i].cold.seconds / rounds[i].encode;
    report->cold_to_encoder = bench_median(values, n);
    for (size_t i = 0; i < n; i++)
        values[i] = rounds[i].warm.seconds / rounds[i].cold.seconds;
    report->warm_to_cold = bench_median(values, n);
    qsort(rounds, n, sizeof(rounds[0]), compare_rounds);
    report->cold = rounds[(n - 1) / 2].cold;
    report->warm = rounds[(n - 1) / 2].warm;
    report->render_seconds = rounds[(n - 1) / 2].render;
    report->n_chips = report->cold.n_chips;
    free(values);
    return 0;
}

static int measure(struct bench_rig *rig, const struct bench_image *image,
                   const struct bench_support *support, uint32_t n_rounds,
                   struct bench_job_report *report, struct error *err)
{
    char sets[2][DB_ID_SIZE];
    struct round warm_up;
    uint64_t ignored = 0;
    int rc = bench_rig_add_support(rig, image, support, BENCH_SET_AS_GIVEN, sets[0], err);
    if (rc == 0)
        rc = bench_rig_add_support(rig, image, support, BENCH_SET_OTHER, sets[1], err);
    if (rc < 0)
        return rc;
    struct round *rounds = calloc(n_rounds, sizeof(rounds[0]));
    if (rounds == NULL)
        return error_set_nomem(err, "the rounds");
    rc = run_round(rig, image, support, sets, 0, &warm_up, &ignored, err);
    for (uint32_t i = 0; i < n_rounds && rc == 0; i++)
        rc = run_round(rig, image, support, sets, i + 1, &rounds[i], &report->peak_memory, err);
    if (rc == 0)
        rc = summarise(rounds, n_rounds, report, err);
    free(rounds);
    return rc;
}

/* ---- scales ---- */

static int measure_scale(struct bench_rig *rig, uint64_t n_chips, struct bench_scale *out,
                         struct error *err)
{
    struct input input = {0};
    struct bench_image image;
    char set[DB_ID_SIZE];
    int rc = draw(n_chips, SCALE_CHIP_SIDE, &input, err);
    if (rc == 0)
        rc = bench_rig_add_image(rig, input.png.data, input.png.size, &image, err);
    if (rc == 0)
        rc = bench_rig_add_support(rig, &image, &input.support, BENCH_SET_AS_GIVEN, set, err);
    file_bytes_clear(&input.png);
    double times[SCALE_ROUNDS_MAX], total = 0;
    size_t n = 0;
    for (; n < SCALE_ROUNDS_MAX && total < scale_seconds && rc == 0; n++) {
        struct bench_run run;
        peak_memory_forget();
        rc = bench_rig_run(rig, &image, &input.support, set, (uint32_t)n, &run, err);
        if (rc < 0)
            break;
        times[n] = run.seconds;
        total += run.seconds;
        out->n_chips = run.n_chips;
        out->peak_memory = peak_memory();
    }
    if (rc == 0)
        out->seconds = bench_median(times, n);
    /* Once more, now that the embeddings are in the cache. */
    struct bench_run warm;
    if (rc == 0)
        rc = bench_rig_run(rig, &image, &input.support, set, (uint32_t)(n - 1), &warm, err);
    if (rc == 0)
        out->warm_seconds = warm.seconds;
    input_clear(&input);
    return rc;
}

static int measure_scales(struct bench_rig *rig, const struct bench_job_options *options,
                          struct bench_job_report *report, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < options->n_scales && rc == 0; i++) {
        struct bench_scale *scale = &report->scales[i];
        rc = measure_scale(rig, options->scales[i], scale, err);
        if (rc < 0)
            break;
        const struct bench_scale *first = &report->scales[0];
        scale->relative =
            scale->seconds / (double)scale->n_chips / (first->seconds / (double)first->n_chips);
        report->n_scales++;
    }
    return rc;
}

/* ---- all ---- */

static int load_weights(const struct bench_job_options *options, struct file_bytes *out,
                        struct error *err)
{
    if (options->architecture != NULL)
        return random_weights_create(options->architecture, &out->data, &out->size, err);
    if (options->encoder_path != NULL)
        return file_read(options->encoder_path, max_file_size, out, err);
    out->size = (size_t)(asset_encoder_end - asset_encoder);
    out->data = malloc(out->size);
    if (out->data == NULL)
        return error_set_nomem(err, "the encoder");
    memcpy(out->data, asset_encoder, out->size);
    return 0;
}

static int open_rig(const struct bench_job_options *options, struct bench_rig *rig,
                    struct error *err)
{
    struct file_bytes weights = {0};
    int rc = load_weights(options, &weights, err);
    if (rc == 0)
        rc = bench_rig_open(rig, weights.data, weights.size, options->n_threads, options->encoding,
                            err);
    rig->stride = options->stride;
    rig->every_step = options->every_step;
    file_bytes_clear(&weights);
    return rc;
}

static int measure_main(struct bench_rig *rig, const struct bench_job_options *options,
                        struct bench_job_report *report, struct error *err)
{
    struct input input = {0};
    struct bench_image image = {0};
    int rc = options->image_path != NULL ? read_files(options, &input, err)
                                         : draw(DRAWN_CHIPS, 0, &input, err);
    if (rc == 0)
        rc = bench_rig_add_image(rig, input.png.data, input.png.size, &image, err);
    file_bytes_clear(&input.png);
    report->width = image.width;
    report->height = image.height;
    report->chip_width = input.support.chip_width;
    report->chip_height = input.support.chip_height;
    report->weights_size = rig->weights_size;
    report->pixels_size = (uint64_t)image.width * image.height * sizeof(float);
    report->memory_limit = report->weights_size + 3 * report->pixels_size + memory_allowance;
    if (rc == 0)
        rc = measure(rig, &image, &input.support, options->n_rounds, report, err);
    input_clear(&input);
    return rc;
}

int bench_job(const struct bench_job_options *options, struct bench_job_report *out,
              struct error *err)
{
    static struct bench_rig rig; /* large (paths); one a process */
    struct bench_job_report report = {0};
    int rc = open_rig(options, &rig, err);
    if (rc == 0) {
        report.load_seconds = rig.encoder_seconds;
        report.input_size = embedder_input_sizes(rig.encoder->embedder)->sides[0];
        report.encoding = embedder_encoding(rig.encoder->embedder);
        rc = measure_main(&rig, options, &report, err);
    }
    if (rc == 0)
        rc = measure_scales(&rig, options, &report, err);
    bench_rig_close(&rig);
    if (rc == 0)
        *out = report;
    return rc;
}
