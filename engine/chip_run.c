/* A call makes one `chip_run`, shared by its tasks. Tasks carry no batch of their own: each takes
 * the next batch index when it starts and submits itself anew when it ends, so that submitting
 * allocates nothing and workers go from batch to batch without the thread that began the run. */
#include "engine/chip_run.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/embedder_parts.h"
#include "engine/give_way.h"

#define NO_CHIP UINT64_MAX

enum { PART_CHIPS_MIN = 4 }; /* of a batch that is shared: never one, which is encoded otherwise */

/* What a worker is at. */
struct running {
    uint64_t first; /* chip; NO_CHIP: nothing */
    uint32_t n;     /* chips */
    double began;   /* CLOCK_MONOTONIC in seconds */
};

struct chip_run {
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

static struct chip_rect chip_at(const struct chip_run *run, uint64_t index)
{
    return run->rects == NULL ? grid_chip(&run->grid, index) : run->rects[index];
}

/* How many of its chips a worker may have left, if it is as fast as all were so far. */
static double estimate_left(const struct chip_run *run, const struct running *running, double now)
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
static double even_share(const struct chip_run *run)
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
static uint32_t choose_part(const struct chip_run *run, uint32_t n)
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
static uint32_t next_batch(const struct chip_run *run)
{
    const uint64_t left = run->n_chips - run->next;
    const uint32_t whole = run->batch - (uint32_t)(run->next % run->batch);
    const uint32_t n = left < whole ? (uint32_t)left : whole;
    return run->cancelled || run->next + n > run->n_allowed ? 0 : n;
}

/* Takes the next batch, or a part of it; returns the number of its chips. */
static uint32_t take_batch(struct chip_run *run, uint32_t worker_index, uint64_t *first)
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

/* Encodes n chips from `first` on at one of the sizes. `out`: their embeddings, of all sizes. */
static void embed_at_size(struct chip_run *run, uint32_t size_index, uint64_t first, uint32_t n,
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
                             worker->pixels + (size_t)i * side * side);
        give_way();
    }
    const double resampled = clock_now_seconds();
    float *embeddings = embedder->sizes.n > 1 ? worker->embeddings : out;
    encoder_workspace_set_cancel(worker->workspaces[size_index], run->output.cancel);
    encoder_embed(embedder->encoder, worker->workspaces[size_index], worker->pixels, n, embeddings);
    if (embeddings != out)
        embedder_place_part(embeddings, n, dimension, row_floats,
                            out + (size_t)size_index * dimension);
    times->resample += resampled - start;
    times->encode += clock_now_seconds() - resampled;
}

static void embed_batch(void *argument, uint32_t worker_index);

/* The end of a task. Another batch is queued behind the other jobs' batches by the worker that ends
 * this one, so that no worker waits for the thread that began the run. */
static void end_task(struct chip_run *run, uint32_t worker_index, uint32_t n,
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

static void store_batch(struct chip_run *run, uint64_t first, uint32_t n, const float *embeddings,
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
    struct chip_run *run = argument;
    const size_t row_floats = embedder_dimension(run->embedder);
    struct embed_times times = {0};
    uint64_t first;
    uint32_t n = take_batch(run, worker_index, &first);
    float *out = run->batches != NULL ? run->batches + worker_index * ENCODER_BATCH * row_floats
                                      : run->output.embeddings + first * row_floats;
    for (uint32_t i = 0; n > 0 && i < run->embedder->sizes.n; i++)
        embed_at_size(run, i, first, n, worker_index, out, &times);
    if (cancel_is_asked(run->output.cancel))
        chip_run_cancel(run);
    else if (n > 0 && run->batches != NULL)
        store_batch(run, first, n, out, &times);
    end_task(run, worker_index, n, &times);
}

/* Makes tasks for the batches that can be had, one a worker at most: a cancelled run stops within
 * one batch. */
static int submit_tasks(struct chip_run *run, struct error *err)
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

static int make_resamplers(struct chip_run *run, uint32_t chip_width, uint32_t chip_height,
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

static int make_batches(struct chip_run *run, struct error *err)
{
    const size_t batch_floats = (size_t)ENCODER_BATCH * embedder_dimension(run->embedder);
    if (run->output.embeddings != NULL)
        return 0;
    run->batches = calloc(run->embedder->n_workers, batch_floats * sizeof(float));
    return run->batches == NULL ? error_set_nomem(err, "batches of embeddings") : 0;
}

static int make_running(struct chip_run *run, struct error *err)
{
    const uint32_t n = run->embedder->n_workers;
    run->running = calloc(n, sizeof(run->running[0]));
    if (run->running == NULL)
        return error_set_nomem(err, "an embedding");
    for (uint32_t i = 0; i < n; i++)
        run->running[i].first = NO_CHIP;
    return 0;
}

static void run_destroy(struct chip_run *run)
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
static int run_begin(struct chip_run **out, const struct chip_run *plan, uint32_t chip_width,
                     uint32_t chip_height, struct error *err)
{
    struct chip_run *run = malloc(sizeof(*run));
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
        chip_run_finish(run, NULL, NULL);
    else
        *out = run;
    return rc;
}

void chip_run_allow(struct chip_run *run, uint32_t n_rows)
{
    pthread_mutex_lock(&run->mutex);
    run->n_allowed = grid_chips_within(&run->grid, n_rows);
    pthread_mutex_unlock(&run->mutex);
    submit_tasks(run, NULL);
}

/* The first chip whose batch has not ended. Called with the mutex held. */
static uint64_t first_needed(const struct chip_run *run)
{
    uint64_t first = run->next;
    for (uint32_t i = 0; i < run->embedder->n_workers; i++)
        first = run->running[i].first < first ? run->running[i].first : first;
    return first;
}

bool chip_run_wait(struct chip_run *run, uint32_t first_row)
{
    const uint64_t n_chips = grid_chips_above(&run->grid, first_row);
    pthread_mutex_lock(&run->mutex);
    while (!run->cancelled && first_needed(run) < n_chips)
        pthread_cond_wait(&run->changed, &run->mutex);
    const bool cancelled = run->cancelled;
    pthread_mutex_unlock(&run->mutex);
    return !cancelled;
}

void chip_run_cancel(struct chip_run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->cancelled = true;
    pthread_mutex_unlock(&run->mutex);
}

int chip_run_finish(struct chip_run *run, struct embed_times *times, struct error *err)
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

int chip_run_begin_grid(struct chip_run **out, struct embedder *embedder, struct pool_lane *lane,
                        const struct chip_source *source, const struct grid *grid, uint32_t n_rows,
                        embed_progress progress, void *context, const struct embed_output *output,
                        struct error *err)
{
    const struct chip_run plan = {
        .embedder = embedder,
        .lane = lane,
        .source = *source,
        .grid = *grid,
        .n_chips = grid_n_chips(grid),
        .n_allowed = grid_chips_within(grid, n_rows),
        .batch = ENCODER_BATCH,
        .output = *output,
        .progress = progress,
        .context = context,
    };
    return run_begin(out, &plan, grid->params.chip_width, grid->params.chip_height, err);
}

int chip_run_begin_rects(struct chip_run **out, struct embedder *embedder, struct pool_lane *lane,
                         const struct chip_source *source, const struct chip_rect *rects,
                         uint32_t n_rects, uint32_t batch, const struct cancel *cancel,
                         float *embeddings, struct error *err)
{
    const struct chip_run plan = {
        .embedder = embedder,
        .lane = lane,
        .source = *source,
        .rects = rects,
        .n_chips = n_rects,
        .n_allowed = n_rects,
        .batch = batch,
        .output = {.embeddings = embeddings, .cancel = cancel},
    };
    return run_begin(out, &plan, rects[0].width, rects[0].height, err);
}

uint64_t chip_run_rows(const struct embedder *embedder, const struct grid *grid)
{
    const uint64_t n_chips = (uint64_t)ENCODER_BATCH * (embedder->n_workers + 1);
    const uint64_t n_steps = (n_chips - 1) / grid->columns + 2;
    return grid->params.chip_height + n_steps * grid->params.stride_y;
}
