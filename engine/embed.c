/* A call makes one `embed_run`, shared by its tasks. Tasks carry no batch of their own: each takes
 * the next batch index when it starts and submits itself anew when it ends, so that submitting
 * allocates nothing and workers go from batch to batch without the thread that began the run. */
#include "engine/embed.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/give_way.h"

#define NO_CHIP UINT64_MAX

enum { PART_CHIPS_MIN = 4 }; /* of a batch that is shared: never one, which is encoded otherwise */

/* What one pool worker owns; workers run one task at a time, so no lock is needed. */
struct worker_memory {
    struct encoder_workspace *workspaces[INPUT_SIZES_MAX];
    float *chips;      /* ENCODER_BATCH x largest side x largest side */
    float *embeddings; /* ENCODER_BATCH x the encoder's dimension; NULL with one size */
};

struct embedder {
    struct pool *pool;
    const struct encoder *encoder;
    struct input_sizes sizes;
    enum encoding encoding;
    enum precision precision;
    uint32_t n_workers;
    struct worker_memory workers[];
};

/* What a worker is at. */
struct running {
    uint64_t first; /* chip; NO_CHIP: nothing */
    uint32_t n;     /* chips */
    double began;   /* CLOCK_MONOTONIC in seconds */
};

struct embed_run {
    struct embedder *embedder;
    struct pool_lane *lane;
    struct chip_source source;
    struct grid grid;              /* grid runs */
    const struct chip_rect *rects; /* window runs; NULL in grid runs */
    uint64_t n_chips;
    uint32_t batch;
    struct chip_resampler *resamplers[INPUT_SIZES_MAX];
    float *scratch; /* n_workers x scratch_size */
    size_t scratch_size;
    struct embed_output output;
    float *batches; /* n_workers x ENCODER_BATCH embeddings; NULL when all of them are in memory */
    embed_progress progress;
    void *context;
    pthread_mutex_t mutex;   /* guards what follows, and serialises progress */
    pthread_cond_t changed;  /* a task ended */
    uint32_t n_tasks;        /* that wait in the lane or run */
    struct running *running; /* n_workers */
    uint64_t next;           /* first chip of the next batch */
    uint64_t n_ended;        /* chips whose batches have ended, which `times` are of */
    uint64_t n_allowed;      /* chips, from the first, whose pixels are there */
    bool cancelled;
    struct error failure; /* of storing a batch: the first one */
    struct embed_times times;
};

int input_sizes_check(const struct input_sizes *sizes, struct error *err)
{
    if (sizes->n > INPUT_SIZES_MAX)
        return error_set(err, ERROR_INVALID, "input sizes: %u, at most %d are allowed", sizes->n,
                         INPUT_SIZES_MAX);
    for (uint32_t i = 0; i < sizes->n; i++) {
        uint32_t side = sizes->sides[i];
        if (side < ENCODER_INPUT_SIZE_MIN || side > ENCODER_INPUT_SIZE_MAX)
            return error_set(err, ERROR_INVALID, "input size %u is not within %d..%d", side,
                             ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX);
        if (i > 0 && side <= sizes->sides[i - 1])
            return error_set(err, ERROR_INVALID,
                             "input size %u does not exceed the one before it, %u", side,
                             sizes->sides[i - 1]);
    }
    return 0;
}

const char *input_sizes_text(const struct input_sizes *sizes, char text[INPUT_SIZES_TEXT])
{
    int length = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < sizes->n && length < INPUT_SIZES_TEXT; i++)
        length += snprintf(text + length, (size_t)(INPUT_SIZES_TEXT - length), "%s%u",
                           i > 0 ? "+" : "", sizes->sides[i]);
    return text;
}

static int worker_init(struct worker_memory *worker, const struct embedder *embedder,
                       const struct cancel *cancel, struct error *err)
{
    const struct input_sizes *sizes = &embedder->sizes;
    int rc = 0;
    for (uint32_t i = 0; i < sizes->n && rc == 0; i++)
        rc = encoder_workspace_create(&worker->workspaces[i], embedder->encoder, sizes->sides[i],
                                      embedder->precision, cancel, err);
    if (rc < 0)
        return rc;
    size_t side = sizes->sides[sizes->n - 1]; /* the largest */
    size_t dimension = encoder_info(embedder->encoder)->dimension;
    worker->chips = malloc(ENCODER_BATCH * side * side * sizeof(float));
    if (sizes->n > 1)
        worker->embeddings = malloc(ENCODER_BATCH * dimension * sizeof(float));
    if (worker->chips == NULL || (sizes->n > 1 && worker->embeddings == NULL))
        return error_set_nomem(err, "a batch of chips");
    return 0;
}

int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    const struct input_sizes *sizes, enum encoding encoding,
                    enum precision precision, const struct cancel *cancel, struct error *err)
{
    if (sizes != NULL && input_sizes_check(sizes, err) < 0)
        return ERROR_INVALID;
    uint32_t n = pool_n_workers(pool);
    struct embedder *embedder = calloc(1, sizeof(*embedder) + n * sizeof(embedder->workers[0]));
    if (embedder == NULL)
        return error_set_nomem(err, "an embedder");
    embedder->pool = pool;
    embedder->encoder = encoder;
    embedder->encoding = encoding != ENCODING_OWN ? encoding : encoder_info(encoder)->encoding;
    embedder->precision = precision;
    if (sizes != NULL && sizes->n > 0)
        embedder->sizes = *sizes;
    else
        embedder->sizes = (struct input_sizes){1, {encoder_info(encoder)->input_size}};
    embedder->n_workers = n;
    int rc =
        encoding_check_side(embedder->encoding, embedder->sizes.sides[embedder->sizes.n - 1], err);
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = worker_init(&embedder->workers[i], embedder, cancel, err);
    if (rc < 0) {
        embedder_destroy(embedder);
        return rc;
    }
    *out = embedder;
    return 0;
}

void embedder_destroy(struct embedder *embedder)
{
    if (embedder == NULL)
        return;
    for (uint32_t i = 0; i < embedder->n_workers; i++) {
        struct worker_memory *worker = &embedder->workers[i];
        for (uint32_t k = 0; k < INPUT_SIZES_MAX; k++)
            encoder_workspace_destroy(worker->workspaces[k]);
        free(worker->chips);
        free(worker->embeddings);
    }
    free(embedder);
}

const struct encoder *embedder_encoder(const struct embedder *embedder)
{
    return embedder->encoder;
}

const struct input_sizes *embedder_input_sizes(const struct embedder *embedder)
{
    return &embedder->sizes;
}

enum encoding embedder_encoding(const struct embedder *embedder)
{
    return embedder->encoding;
}

enum precision embedder_precision(const struct embedder *embedder)
{
    return embedder->precision;
}

uint32_t embedder_dimension(const struct embedder *embedder)
{
    return embedder->sizes.n * encoder_info(embedder->encoder)->dimension;
}

static struct chip_rect chip_at(const struct embed_run *run, uint64_t index)
{
    return run->rects == NULL ? grid_chip(&run->grid, index) : run->rects[index];
}

/* How many of its chips a worker may have left, if it is as fast as all were so far. */
static double estimate_left(const struct embed_run *run, const struct running *running, double now)
{
    const double seconds = run->times.resample + run->times.encode;
    if (running->first == NO_CHIP)
        return 0;
    if (seconds <= 0)
        return running->n;
    const double n_done = (now - running->began) * (double)run->n_ended / seconds;
    return fmax(running->n - n_done, 0);
}

/* How many chips a worker would have until the end, if all of them ended at the same time. */
static double even_share(const struct embed_run *run)
{
    const uint32_t n_workers = run->embedder->n_workers;
    const double n_left = (double)(run->n_chips - run->next), now = clock_now_seconds();
    double share = INFINITY;
    /* The second time without those that have more than that to do already. */
    for (int round = 0; round < 2; round++) {
        double sum = n_left;
        uint32_t n = 0;
        for (uint32_t i = 0; i < n_workers; i++) {
            const double left = estimate_left(run, &run->running[i], now);
            sum += left < share ? left : 0;
            n += left < share ? 1 : 0;
        }
        share = sum / (n > 0 ? n : 1);
    }
    return share;
}

/* The last batches are shared, so that no worker waits long for another one: of n chips, how many
 * are taken together. The same bytes, as long as none is alone. What is stored is whole batches:
 * such a run is long, and its end a small part of it. */
static uint32_t choose_part(const struct embed_run *run, uint32_t n)
{
    if (run->batches != NULL || n < 2 * PART_CHIPS_MIN ||
        run->n_chips - run->next > (uint64_t)run->embedder->n_workers * run->batch)
        return n;
    const double share = ceil(even_share(run) / PART_CHIPS_MIN) * PART_CHIPS_MIN;
    const uint32_t part = share < n ? (uint32_t)fmax(share, PART_CHIPS_MIN) : n;
    return n - part < PART_CHIPS_MIN ? n : part;
}

/* Chips of the next batch, or what is left of it; 0 when there is none to be had now. Called with
 * the mutex held. */
static uint32_t next_batch(const struct embed_run *run)
{
    const uint64_t left = run->n_chips - run->next;
    const uint32_t whole = run->batch - (uint32_t)(run->next % run->batch);
    const uint32_t n = left < whole ? (uint32_t)left : whole;
    return run->cancelled || run->next + n > run->n_allowed ? 0 : n;
}

/* Takes the next batch, or a part of it; returns the number of its chips. */
static uint32_t take_batch(struct embed_run *run, uint32_t worker_index, uint64_t *first)
{
    pthread_mutex_lock(&run->mutex);
    const uint32_t n = choose_part(run, next_batch(run));
    *first = run->next;
    run->next += n;
    run->running[worker_index] =
        (struct running){.first = n > 0 ? *first : NO_CHIP, .n = n, .began = clock_now_seconds()};
    pthread_mutex_unlock(&run->mutex);
    return n;
}

/* One size's embeddings as a block of columns of `out`, each divided by its norm. */
static void place_part(const float *embeddings, uint32_t n, uint32_t dimension, uint32_t row_floats,
                       float *out)
{
    for (uint32_t i = 0; i < n; i++, embeddings += dimension, out += row_floats) {
        double squares = 0.0;
        for (uint32_t k = 0; k < dimension; k++)
            squares += (double)embeddings[k] * embeddings[k];
        const double norm = fmax(sqrt(squares), 1e-12);
        for (uint32_t k = 0; k < dimension; k++)
            out[k] = (float)(embeddings[k] / norm);
    }
}

/* Encodes n chips from `first` on at one of the sizes. `out`: their embeddings, of all sizes. */
static void embed_at_size(struct embed_run *run, uint32_t size_index, uint64_t first, uint32_t n,
                          uint32_t worker_index, float *out, struct embed_times *times)
{
    struct embedder *embedder = run->embedder;
    struct worker_memory *worker = &embedder->workers[worker_index];
    const uint32_t side = embedder->sizes.sides[size_index];
    const uint32_t dimension = encoder_info(embedder->encoder)->dimension;
    const uint32_t row_floats = embedder_dimension(embedder);
    const double start = clock_now_seconds();
    for (uint32_t i = 0; i < n && !cancel_is_asked(run->output.cancel); i++) {
        struct chip_rect rect = chip_at(run, first + i);
        chip_resample_source(run->resamplers[size_index], &run->source, rect.x, rect.y,
                             run->scratch + worker_index * run->scratch_size,
                             worker->chips + (size_t)i * side * side);
        give_way();
    }
    const double resampled = clock_now_seconds();
    float *embeddings = embedder->sizes.n > 1 ? worker->embeddings : out;
    encoder_workspace_set_cancel(worker->workspaces[size_index], run->output.cancel);
    encoder_embed(embedder->encoder, worker->workspaces[size_index], worker->chips, n, embeddings);
    if (embeddings != out)
        place_part(embeddings, n, dimension, row_floats, out + (size_t)size_index * dimension);
    times->resample += resampled - start;
    times->encode += clock_now_seconds() - resampled;
}

static void embed_batch(void *argument, uint32_t worker_index);

/* The end of a task. Another batch is queued behind the other jobs' batches by the worker that ends
 * this one, so that no worker waits for the thread that began the run. */
static void end_task(struct embed_run *run, uint32_t worker_index, uint32_t n,
                     const struct embed_times *times)
{
    pthread_mutex_lock(&run->mutex);
    run->running[worker_index].first = NO_CHIP;
    run->n_ended += n;
    run->times.resample += times->resample;
    run->times.encode += times->encode;
    run->times.store += times->store;
    if (n > 0 && run->progress != NULL && !run->cancelled && !run->progress(run->context, n))
        run->cancelled = true;
    bool more = next_batch(run) > 0;
    if (more && pool_submit(run->lane, embed_batch, run, NULL) < 0) {
        run->cancelled = true; /* the lane was */
        more = false;
    }
    /* Under the mutex: the run is freed when the last task has let go of it. */
    run->n_tasks -= more ? 0 : 1;
    pthread_cond_signal(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

static void store_batch(struct embed_run *run, uint64_t first, uint32_t n, const float *embeddings,
                        struct embed_times *times)
{
    struct error inner = {0};
    const double start = clock_now_seconds();
    if (run->output.store(run->output.context, first, n, embeddings, &inner) < 0) {
        pthread_mutex_lock(&run->mutex);
        if (run->failure.code == 0)
            run->failure = inner;
        run->cancelled = true;
        pthread_mutex_unlock(&run->mutex);
    }
    times->store += clock_now_seconds() - start;
}

static void embed_batch(void *argument, uint32_t worker_index)
{
    struct embed_run *run = argument;
    const size_t row_floats = embedder_dimension(run->embedder);
    struct embed_times times = {0};
    uint64_t first;
    uint32_t n = take_batch(run, worker_index, &first);
    float *out = run->batches != NULL ? run->batches + worker_index * ENCODER_BATCH * row_floats
                                      : run->output.embeddings + first * row_floats;
    for (uint32_t i = 0; n > 0 && i < run->embedder->sizes.n; i++)
        embed_at_size(run, i, first, n, worker_index, out, &times);
    if (cancel_is_asked(run->output.cancel))
        embed_cancel(run);
    else if (n > 0 && run->batches != NULL)
        store_batch(run, first, n, out, &times);
    end_task(run, worker_index, n, &times);
}

/* Makes tasks for the batches that can be had, one a worker at most: a cancelled run stops within
 * one batch. */
static int submit_tasks(struct embed_run *run, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&run->mutex);
    uint64_t n_ready = run->n_allowed > run->next ? run->n_allowed - run->next : 0;
    const uint32_t n = next_batch(run), part = choose_part(run, n);
    const uint64_t n_parts = n > 0 ? (n_ready + part - 1) / part : 0;
    /* As many as there are batches or parts: tasks that run now may not come to them at once. */
    for (uint64_t i = 0; i < n_parts && run->n_tasks < run->embedder->n_workers; i++) {
        rc = pool_submit(run->lane, embed_batch, run, err);
        if (rc < 0)
            break;
        run->n_tasks++;
    }
    run->cancelled = run->cancelled || rc < 0;
    pthread_mutex_unlock(&run->mutex);
    return rc;
}

static int make_resamplers(struct embed_run *run, uint32_t chip_width, uint32_t chip_height,
                           struct error *err)
{
    const struct input_sizes *sizes = &run->embedder->sizes;
    for (uint32_t i = 0; i < sizes->n; i++) {
        uint32_t side = sizes->sides[i];
        int rc =
            chip_resampler_create(&run->resamplers[i], chip_width, chip_height, side, side, err);
        if (rc < 0)
            return rc;
        size_t scratch = chip_resampler_scratch(run->resamplers[i]);
        run->scratch_size = scratch > run->scratch_size ? scratch : run->scratch_size;
    }
    run->scratch = calloc((size_t)run->embedder->n_workers * run->scratch_size, sizeof(float));
    return run->scratch == NULL ? error_set_nomem(err, "resampling") : 0;
}

static int make_batches(struct embed_run *run, struct error *err)
{
    const size_t batch_floats = (size_t)ENCODER_BATCH * embedder_dimension(run->embedder);
    if (run->output.embeddings != NULL)
        return 0;
    run->batches = calloc(run->embedder->n_workers, batch_floats * sizeof(float));
    return run->batches == NULL ? error_set_nomem(err, "batches of embeddings") : 0;
}

static int make_running(struct embed_run *run, struct error *err)
{
    const uint32_t n = run->embedder->n_workers;
    run->running = calloc(n, sizeof(run->running[0]));
    if (run->running == NULL)
        return error_set_nomem(err, "an embedding");
    for (uint32_t i = 0; i < n; i++)
        run->running[i].first = NO_CHIP;
    return 0;
}

static void run_destroy(struct embed_run *run)
{
    for (uint32_t i = 0; i < INPUT_SIZES_MAX; i++)
        chip_resampler_destroy(run->resamplers[i]);
    free(run->scratch);
    free(run->batches);
    free(run->running);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->mutex);
    free(run);
}

/* Starts a copy of `plan`. */
static int run_begin(struct embed_run **out, const struct embed_run *plan, uint32_t chip_width,
                     uint32_t chip_height, struct error *err)
{
    struct embed_run *run = malloc(sizeof(*run));
    if (run == NULL)
        return error_set_nomem(err, "an embedding");
    *run = *plan;
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->changed, NULL);
    int rc = make_resamplers(run, chip_width, chip_height, err);
    if (rc == 0)
        rc = make_batches(run, err);
    if (rc == 0)
        rc = make_running(run, err);
    if (rc == 0)
        rc = submit_tasks(run, err);
    if (rc < 0)
        embed_finish(run, NULL, NULL);
    else
        *out = run;
    return rc;
}

void embed_allow(struct embed_run *run, uint64_t n_chips)
{
    pthread_mutex_lock(&run->mutex);
    run->n_allowed = n_chips;
    pthread_mutex_unlock(&run->mutex);
    submit_tasks(run, NULL);
}

/* The first chip whose batch has not ended. Called with the mutex held. */
static uint64_t first_needed(const struct embed_run *run)
{
    uint64_t first = run->next;
    for (uint32_t i = 0; i < run->embedder->n_workers; i++)
        first = run->running[i].first < first ? run->running[i].first : first;
    return first;
}

bool embed_wait(struct embed_run *run, uint64_t n_chips)
{
    pthread_mutex_lock(&run->mutex);
    while (!run->cancelled && first_needed(run) < n_chips)
        pthread_cond_wait(&run->changed, &run->mutex);
    const bool cancelled = run->cancelled;
    pthread_mutex_unlock(&run->mutex);
    return !cancelled;
}

void embed_cancel(struct embed_run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->cancelled = true;
    pthread_mutex_unlock(&run->mutex);
}

int embed_finish(struct embed_run *run, struct embed_times *times, struct error *err)
{
    if (run == NULL)
        return 0;
    pthread_mutex_lock(&run->mutex);
    while (run->n_tasks > 0)
        pthread_cond_wait(&run->changed, &run->mutex);
    const bool cancelled = run->cancelled;
    const struct error failure = run->failure;
    if (times != NULL)
        *times = run->times;
    pthread_mutex_unlock(&run->mutex);
    run_destroy(run);
    if (failure.code < 0)
        return error_set(err, failure.code, "%s", failure.message);
    return cancelled ? error_set(err, ERROR_CANCELLED, "cancelled") : 0;
}

int embed_grid_begin(struct embed_run **out, struct embedder *embedder, struct pool_lane *lane,
                     const struct chip_source *source, const struct grid *grid, uint64_t n_allowed,
                     embed_progress progress, void *context, const struct embed_output *output,
                     struct error *err)
{
    const struct embed_run plan = {
        .embedder = embedder,
        .lane = lane,
        .source = *source,
        .grid = *grid,
        .n_chips = grid_n_chips(grid),
        .n_allowed = n_allowed,
        .batch = ENCODER_BATCH,
        .output = *output,
        .progress = progress,
        .context = context,
    };
    return run_begin(out, &plan, grid->params.chip_width, grid->params.chip_height, err);
}

int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err)
{
    const struct chip_source source = {.pixels = pixels, .image_width = grid->image_width};
    const struct embed_output output = {.embeddings = out};
    struct embed_run *run = NULL;
    int rc = embed_grid_begin(&run, embedder, lane, &source, grid, grid_n_chips(grid), progress,
                              context, &output, err);
    return rc < 0 ? rc : embed_finish(run, NULL, err);
}

int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, const struct chip_rect *rects, uint32_t n_rects,
                uint32_t batch, float *out, struct error *err)
{
    if (n_rects == 0)
        return 0;
    const struct embed_run plan = {
        .embedder = embedder,
        .lane = lane,
        .source = {.pixels = pixels, .image_width = image_width},
        .rects = rects,
        .n_chips = n_rects,
        .n_allowed = n_rects,
        .batch = batch,
        .output = {.embeddings = out},
    };
    struct embed_run *run = NULL;
    int rc = run_begin(&run, &plan, rects[0].width, rects[0].height, err);
    return rc < 0 ? rc : embed_finish(run, NULL, err);
}
