/* Reproducibility: an example that is a chip of the job's own grid takes its vector from that
 * grid's matrix, any other example is embedded in a batch of its own. Which of the two holds
 * depends on the job alone, never on what the cache happens to hold, so the same job gives the same
 * bytes.
 */
#include "server/job_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/job_params.h"
#include "db/blobs.h"
#include "db/cache.h"
#include "db/images.h"
#include "db/results.h"
#include "db/support_sets.h"
#include "engine/encoder/cpu.h"
#include "engine/fewshot/classifier.h"
#include "engine/fewshot/statistics.h"
#include "server/clock.h"
#include "server/stored_file.h"

enum { KEY_SIZE = 512 };

struct job_image {
    struct db_image row;
    struct grid grid;
    uint64_t n_done; /* chips of it that count as progress */
};

struct job_run {
    const struct job_engine *engine;
    const struct db_job *job;
    const char *owner;
    struct job_control *control;
    struct job_params params;
    struct db_support_set set;
    const struct loaded_encoder *encoder;
    uint32_t dimension;
    struct pool_lane *lane;
    struct job_image *images;  /* job->n_images */
    struct job_image *current; /* the one whose chips are being embedded */
    uint64_t n_encoded;        /* chips of `current` so far */
    /* The examples of all classes, embedded. */
    struct support support;
    float *support_vectors;
    uint32_t *support_classes;
    /* The matrix last loaded, since an image's examples and chips are often needed in turn. */
    size_t memo_image;
    float *memo;
};

static double seconds_since(int64_t start_ms)
{
    return (double)(clock_now_ms() - start_ms) / 1000;
}

/* ---- progress and cancellation ---- */

static int check_stop(struct job_run *run, struct error *err)
{
    if (atomic_load(&run->control->stop) != JOB_STOP_NONE)
        return error_set(err, ERROR_CANCELLED, "stopped on request");
    return 0;
}

/* Counts chips of an image once, also when its matrix is loaded a second time. */
static void count_done(struct job_run *run, struct job_image *image, uint64_t n_done)
{
    if (n_done <= image->n_done)
        return;
    atomic_fetch_add(&run->control->n_chips_done, n_done - image->n_done);
    image->n_done = n_done;
}

static bool on_progress(void *context, uint64_t n_chips)
{
    struct job_run *run = context;
    metrics_add(run->engine->metrics, METRIC_CHIPS_ENCODED, (double)n_chips);
    atomic_fetch_add(&run->control->n_chips_encoded, n_chips);
    run->n_encoded += n_chips;
    count_done(run, run->current, run->n_encoded);
    return atomic_load(&run->control->stop) == JOB_STOP_NONE;
}

/* ---- keys of the embedding cache ---- */

/* All that an embedding depends on besides the window. The BLAS kernels are part of it: others
 * round differently, and a matrix must not mix them. */
static void write_key(const struct job_run *run, const struct job_image *image, const char *window,
                      char out[KEY_SIZE])
{
    const struct normalise_params *n = &run->params.normalise;
    char sizes[INPUT_SIZES_TEXT];
    input_sizes_text(embedder_input_sizes(run->encoder->embedder), sizes);
    snprintf(out, KEY_SIZE, "1|%s|%s|%s|%s|%s|%s %.17g %.17g|%d %.17g %" PRIu32, image->row.sha256,
             run->encoder->sha256, cpu_blas_core(), sizes, window, normalise_method_name(n->method),
             n->low, n->high, n->clahe.enabled, n->clahe.clip_limit, n->clahe.tiles);
}

static void write_grid_key(const struct job_run *run, const struct job_image *image,
                           char out[KEY_SIZE])
{
    char window[128];
    const struct grid_params *g = &image->grid.params;
    snprintf(window, sizeof(window),
             "grid %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32 " %" PRIu32 ",%" PRIu32 " %s",
             g->chip_width, g->chip_height, g->stride_x, g->stride_y, g->offset_x, g->offset_y,
             grid_edge_name(g->edge));
    write_key(run, image, window, out);
}

static void write_chip_key(const struct job_run *run, const struct job_image *image,
                           const struct chip_rect *rect, char out[KEY_SIZE])
{
    char window[128];
    snprintf(window, sizeof(window), "chip %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32,
             rect->width, rect->height, rect->x, rect->y);
    write_key(run, image, window, out);
}

/* ---- embeddings ---- */

/* Decodes an image as it was when it was uploaded: whoever changed its file behind our back gets an
 * error and never a result, and windows lie inside the pixels. */
static int decode(struct job_run *run, const struct job_image *image, struct image *out,
                  struct error *err)
{
    struct db_blob blob = {0};
    struct error inner = {0};
    char what[DB_ID_SIZE + 16];
    snprintf(what, sizeof(what), "image %s", image->row.id);
    int status = stored_file_open(run->engine->db, what, image->row.sha256, &blob, err);
    if (status < 0)
        return status;
    status = image_decode(blob.data, blob.size, &run->engine->limits->image, out, &inner);
    db_blob_close(&blob);
    if (status < 0)
        return error_set(err, inner.code, "%s: %.400s", what, inner.message);
    if (out->info.width == image->row.width && out->info.height == image->row.height)
        return 0;
    status = error_set(
        err, ERROR_CORRUPT,
        "%s: its file has %" PRIu32 " x %" PRIu32 " pixels, its row says %" PRIu32 " x %" PRIu32,
        what, out->info.width, out->info.height, image->row.width, image->row.height);
    image_clear(out);
    return status;
}

static int load_pixels(struct job_run *run, const struct job_image *image, struct image *out,
                       struct error *err)
{
    int64_t start = clock_now_ms();
    int status = decode(run, image, out, err);
    if (status < 0)
        return status;
    status = check_stop(run, err); /* a huge image takes seconds */
    if (status == 0)
        status = normalise_apply(&run->params.normalise, out->pixels, out->info.width,
                                 out->info.height, out->info.bit_depth, err);
    if (status < 0)
        image_clear(out);
    metrics_add(run->engine->metrics, METRIC_PHASE_DECODE_SECONDS, seconds_since(start));
    return status;
}

static int encode_grid(struct job_run *run, struct job_image *image, float *out, struct error *err)
{
    struct image pixels = {0};
    int status = load_pixels(run, image, &pixels, err);
    if (status < 0)
        return status;
    int64_t start = clock_now_ms();
    run->current = image;
    run->n_encoded = 0;
    status = embed_grid(run->encoder->embedder, run->lane, pixels.pixels, &image->grid, on_progress,
                        run, out, err);
    metrics_add(run->engine->metrics, METRIC_PHASE_ENCODE_SECONDS, seconds_since(start));
    image_clear(&pixels);
    return status;
}

/* Space for the embeddings of `n` chips. More than half of the memory is refused: a job that the
 * kernel kills would take the server with it, at every start again. */
static int allocate_matrix(const struct job_run *run, const struct job_image *image, uint64_t n,
                           float **out, struct error *err)
{
    uint64_t row_size = (uint64_t)run->dimension * sizeof(float);
    uint64_t limit = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
    if (n > limit / row_size)
        return error_set(err, ERROR_INVALID,
                         "image %s: the embeddings of %" PRIu64 " chips need more than the limit of"
                         " %" PRIu64 " MiB, half of the memory; a larger stride needs less",
                         image->row.id, n, limit >> 20);
    *out = malloc(n * row_size);
    return *out == NULL ? error_set_nomem(err, "an image's embeddings") : 0;
}

/* The embeddings of all chips of image `index`, from memory, the cache or the encoder. Borrowed
 * until the next call. */
static int load_matrix(struct job_run *run, size_t index, const float **out, struct error *err)
{
    if (run->memo != NULL && run->memo_image == index) {
        *out = run->memo;
        return 0;
    }
    free(run->memo);
    run->memo = NULL;
    struct job_image *image = &run->images[index];
    uint64_t n = grid_n_chips(&image->grid);
    float *matrix = NULL;
    int status = allocate_matrix(run, image, n, &matrix, err);
    if (status < 0)
        return status;
    char key[KEY_SIZE];
    write_grid_key(run, image, key);
    status = db_cache_get(run->engine->db, key, n, run->dimension, matrix, NULL);
    metrics_add(run->engine->metrics, status == 0 ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES,
                (double)n);
    if (status < 0) {
        status = encode_grid(run, image, matrix, err);
        if (status == 0)
            db_cache_put(run->engine->db, key, n, run->dimension, matrix, NULL);
    }
    if (status < 0) {
        free(matrix);
        return status;
    }
    count_done(run, image, n);
    run->memo = matrix;
    run->memo_image = index;
    *out = matrix;
    return 0;
}

/* ---- examples ---- */

/* Index of an image among the job's, or -1. */
static int64_t find_image(const struct job_run *run, const char *image_id)
{
    for (size_t i = 0; i < run->job->n_images; i++) {
        if (strcmp(run->job->image_ids[i], image_id) == 0)
            return (int64_t)i;
    }
    return -1;
}

/* Embeds the window of one example that is no chip of the job's grids; `pixels` is decoded when
 * first needed. */
static int embed_window(struct job_run *run, const struct job_image *image,
                        const struct chip_rect *rect, struct image *pixels, float *out,
                        struct error *err)
{
    char key[KEY_SIZE];
    struct error inner = {0};
    write_chip_key(run, image, rect, key);
    int status = db_cache_get(run->engine->db, key, 1, run->dimension, out, NULL);
    metrics_add(run->engine->metrics, status == 0 ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES, 1);
    if (status == 0)
        return 0;
    status = chip_rect_check(rect, image->row.width, image->row.height, &inner);
    if (status < 0)
        return error_set(err, ERROR_CORRUPT, "support set: an example in image %s: %.300s",
                         image->row.id, inner.message);
    if (pixels->pixels == NULL)
        status = load_pixels(run, image, pixels, err);
    if (status < 0)
        return status;
    int64_t start = clock_now_ms();
    status = embed_rects(run->encoder->embedder, run->lane, pixels->pixels, image->row.width, rect,
                         1, 1, out, err);
    metrics_add(run->engine->metrics, METRIC_PHASE_ENCODE_SECONDS, seconds_since(start));
    if (status == 0) {
        metrics_add(run->engine->metrics, METRIC_CHIPS_ENCODED, 1);
        db_cache_put(run->engine->db, key, 1, run->dimension, out, NULL);
    }
    return status;
}

/* One example of the support set and the place of its vector. */
struct example {
    const char *image_id;
    struct chip_rect rect;
    float *vector;
};

/* Embeds `n` examples, all of one image. */
static int embed_examples_of_image(struct job_run *run, const struct example *examples, size_t n,
                                   struct error *err)
{
    struct job_image other = {0};
    struct image pixels = {0};
    int64_t index = find_image(run, examples[0].image_id);
    int status = 0;
    if (index < 0)
        status = db_image_get(run->engine->db, examples[0].image_id, &other.row, err);
    const struct job_image *image = index < 0 ? &other : &run->images[index];
    for (size_t i = 0; i < n && status == 0; i++) {
        status = check_stop(run, err);
        int64_t chip = index < 0 ? -1 : grid_find(&image->grid, &examples[i].rect);
        const float *matrix = NULL;
        if (status == 0 && chip >= 0) {
            status = load_matrix(run, (size_t)index, &matrix, err);
            if (status == 0)
                memcpy(examples[i].vector, matrix + (size_t)chip * run->dimension,
                       run->dimension * sizeof(float));
        } else if (status == 0) {
            status = embed_window(run, image, &examples[i].rect, &pixels, examples[i].vector, err);
        }
    }
    image_clear(&pixels);
    db_image_clear(&other.row);
    return status;
}

static int compare_examples(const void *a, const void *b)
{
    const struct example *p = a, *q = b;
    int order = strcmp(p->image_id, q->image_id);
    /* Vectors lie in the support set's order: equal images keep it. */
    return order != 0 ? order : (p->vector > q->vector) - (p->vector < q->vector);
}

static struct example *list_examples(struct job_run *run, size_t n)
{
    struct example *examples = calloc(n, sizeof(examples[0]));
    size_t k = 0;
    for (size_t c = 0; c < run->set.n_classes && examples != NULL; c++) {
        const struct db_class *class = &run->set.classes[c];
        for (size_t i = 0; i < class->n_examples; i++, k++) {
            const struct db_example *example = &class->examples[i];
            examples[k] = (struct example){
                .image_id = example->image_id,
                .rect = {example->x, example->y, run->set.chip_width, run->set.chip_height},
                .vector = run->support_vectors + k * run->dimension,
            };
            run->support_classes[k] = (uint32_t)c;
        }
    }
    return examples;
}

static int embed_support(struct job_run *run, struct error *err)
{
    size_t n = 0;
    for (size_t c = 0; c < run->set.n_classes; c++)
        n += run->set.classes[c].n_examples;
    if (n == 0 || n > CLASSIFIER_EXAMPLES_MAX)
        return error_set(err, ERROR_CORRUPT, "support set: %zu examples are not within 1..%d", n,
                         CLASSIFIER_EXAMPLES_MAX);
    run->support_vectors = calloc(n * run->dimension, sizeof(float));
    run->support_classes = calloc(n, sizeof(uint32_t));
    if (run->support_vectors == NULL || run->support_classes == NULL)
        return error_set_nomem(err, "a support set");
    struct example *examples = list_examples(run, n);
    if (examples == NULL)
        return error_set_nomem(err, "a support set");
    qsort(examples, n, sizeof(examples[0]), compare_examples);
    int status = 0;
    for (size_t first = 0; first < n && status == 0;) {
        size_t end = first;
        while (end < n && strcmp(examples[end].image_id, examples[first].image_id) == 0)
            end++;
        status = embed_examples_of_image(run, examples + first, end - first, err);
        first = end;
    }
    free(examples);
    run->support = (struct support){
        .embeddings = run->support_vectors,
        .class_of = run->support_classes,
        .n_examples = (uint32_t)n,
        .n_classes = (uint32_t)run->set.n_classes,
        .dimension = run->dimension,
    };
    return status;
}

/* ---- results ---- */

static int store_result(struct job_run *run, struct job_image *image,
                        const struct classification *classification,
                        const struct class_statistics *statistics, struct error *err)
{
    const struct grid_params *grid = &image->grid.params;
    struct db_class_statistics rows[CLASSIFIER_CLASSES_MAX];
    for (uint32_t i = 0; i < classification->n_classes; i++)
        rows[i] = (struct db_class_statistics){
            .n_chips = statistics[i].n_chips,
            .area_fraction = statistics[i].area_fraction,
            .mean_probability = statistics[i].mean_probability,
            .n_regions_4 = statistics[i].n_regions_4,
            .n_regions_8 = statistics[i].n_regions_8,
            .mean_region_chips = statistics[i].mean_region_chips,
        };
    struct db_result result = {
        .rows = image->grid.rows,
        .columns = image->grid.columns,
        .chip_width = grid->chip_width,
        .chip_height = grid->chip_height,
        .stride_x = grid->stride_x,
        .stride_y = grid->stride_y,
        .offset_x = grid->offset_x,
        .offset_y = grid->offset_y,
        .n_classes = classification->n_classes,
        .temperature = classification->temperature,
        .classes = rows,
        .labels = classification->labels,
        .probabilities = classification->probabilities,
        .distances = classification->distances,
    };
    snprintf(result.job_id, sizeof(result.job_id), "%s", run->job->id);
    snprintf(result.image_id, sizeof(result.image_id), "%s", image->row.id);
    snprintf(result.edge, sizeof(result.edge), "%s", grid_edge_name(grid->edge));
    return db_result_insert(run->engine->db, &result, run->owner,
                            atomic_load(&run->control->n_chips_done), err);
}

static int classify_image(struct job_run *run, size_t index, struct error *err)
{
    struct job_image *image = &run->images[index];
    struct metrics *metrics = run->engine->metrics;
    struct classification classification = {0};
    struct class_statistics statistics[CLASSIFIER_CLASSES_MAX];
    const float *matrix = NULL;
    int status = load_matrix(run, index, &matrix, err);
    if (status < 0)
        return status;
    int64_t start = clock_now_ms();
    status = classifier_run(&run->params.classifier, &run->support, matrix,
                            grid_n_chips(&image->grid), &classification, err);
    if (status == 0)
        status = statistics_compute(classification.labels, classification.probabilities,
                                    image->grid.rows, image->grid.columns, classification.n_classes,
                                    statistics, err);
    metrics_add(metrics, METRIC_PHASE_CLASSIFY_SECONDS, seconds_since(start));
    if (status == 0)
        status = check_stop(run, err);
    if (status == 0) {
        start = clock_now_ms();
        status = store_result(run, image, &classification, statistics, err);
        metrics_add(metrics, METRIC_PHASE_STORE_SECONDS, seconds_since(start));
    }
    classification_clear(&classification);
    return status;
}

/* ---- the whole job ---- */

static int load_images(struct job_run *run, struct error *err)
{
    run->images = calloc(run->job->n_images, sizeof(run->images[0]));
    if (run->images == NULL)
        return error_set_nomem(err, "a job's images");
    int status = 0;
    for (size_t i = 0; i < run->job->n_images && status == 0; i++) {
        struct job_image *image = &run->images[i];
        status = check_stop(run, err);
        if (status == 0)
            status = db_image_get(run->engine->db, run->job->image_ids[i], &image->row, err);
        if (status == 0)
            status = grid_plan(&run->params.grid, image->row.width, image->row.height,
                               run->engine->limits->max_chips_per_image, &image->grid, err);
    }
    return status;
}

static int load_inputs(struct job_run *run, struct error *err)
{
    const struct db_job *job = run->job;
    int status = job_params_from_text(job->params, &run->params, err);
    if (status == 0)
        status = db_support_set_get(run->engine->db, job->support_set_id, job->support_set_version,
                                    &run->set, err);
    if (status == 0 && (run->set.n_classes < 2 || run->set.n_classes > CLASSIFIER_CLASSES_MAX))
        status = error_set(err, ERROR_CORRUPT, "support set: %zu classes are not within 2..%d",
                           run->set.n_classes, CLASSIFIER_CLASSES_MAX);
    if (status == 0)
        status = load_images(run, err);
    if (status == 0)
        status = encoder_store_acquire(run->engine->encoders, job->encoder_id,
                                       &run->params.input_sizes, &run->encoder, err);
    if (status == 0) {
        run->dimension = embedder_dimension(run->encoder->embedder);
        status = pool_lane_create(&run->lane, run->engine->pool, err);
    }
    return status;
}

/* Marks what an earlier attempt stored; *n_left is the number of images still to do. */
static int skip_stored(struct job_run *run, bool *stored, size_t *n_left, struct error *err)
{
    int status = 0;
    *n_left = 0;
    for (size_t i = 0; i < run->job->n_images && status == 0; i++) {
        status = check_stop(run, err);
        if (status == 0)
            status = db_result_exists(run->engine->db, run->job->id, run->job->image_ids[i],
                                      &stored[i], err);
        if (stored[i])
            count_done(run, &run->images[i], grid_n_chips(&run->images[i].grid));
        else
            ++*n_left;
    }
    return status;
}

static int run_images(struct job_run *run, struct error *err)
{
    bool *stored = calloc(run->job->n_images, sizeof(stored[0]));
    size_t n_left = 0;
    int status =
        stored == NULL ? error_set_nomem(err, "a job") : skip_stored(run, stored, &n_left, err);
    if (status == 0 && n_left > 0)
        status = embed_support(run, err);
    for (size_t i = 0; i < run->job->n_images && status == 0; i++) {
        status = check_stop(run, err);
        if (status == 0 && !stored[i])
            status = classify_image(run, i, err);
    }
    free(stored);
    return status;
}

int job_run(const struct job_engine *engine, const struct db_job *job, const char *owner,
            struct job_control *control, struct error *err)
{
    struct job_run run = {.engine = engine, .job = job, .owner = owner, .control = control};
    int status = load_inputs(&run, err);
    if (status == 0)
        status = run_images(&run, err);
    pool_lane_destroy(run.lane);
    encoder_store_release(engine->encoders, run.encoder);
    for (size_t i = 0; run.images != NULL && i < job->n_images; i++)
        db_image_clear(&run.images[i].row);
    free(run.images);
    free(run.memo);
    free(run.support_vectors);
    free(run.support_classes);
    db_support_set_clear(&run.set);
    return status;
}
