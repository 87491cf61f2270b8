/* A call makes one `run`, shared by its tasks. Tasks carry no batch of their own: each takes the
 * next batch index when it starts, so that submitting allocates nothing. */
#include "engine/embed.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* What one pool worker owns; workers run one task at a time, so no lock is needed. */
struct worker_memory {
    struct encoder_workspace *workspace;
    float *chips; /* ENCODER_BATCH x size x size */
};

struct embedder {
    struct pool *pool;
    const struct encoder *encoder;
    uint32_t input_size;
    uint32_t n_workers;
    struct worker_memory workers[];
};

struct run {
    struct embedder *embedder;
    struct pool_lane *lane;
    const float *pixels;
    uint32_t image_width;
    const struct grid *grid;       /* grid runs */
    const struct chip_rect *rects; /* window runs */
    uint64_t n_chips;
    uint32_t batch;
    struct chip_resampler *resampler;
    float *scratch; /* n_workers x scratch_size */
    size_t scratch_size;
    float *out;
    embed_progress progress;
    void *context;
    pthread_mutex_t mutex; /* guards the two below and serialises progress */
    uint64_t next;         /* first chip of the next batch */
    bool cancelled;
};

int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    uint32_t input_size, struct error *err)
{
    uint32_t size = input_size != 0 ? input_size : encoder_info(encoder)->input_size;
    uint32_t n = pool_n_workers(pool);
    struct embedder *embedder = calloc(1, sizeof(*embedder) + n * sizeof(embedder->workers[0]));
    if (embedder == NULL)
        return error_set_nomem(err, "an embedder");
    embedder->pool = pool;
    embedder->encoder = encoder;
    embedder->input_size = size;
    embedder->n_workers = n;
    int status = 0;
    for (uint32_t i = 0; i < n && status == 0; i++) {
        struct worker_memory *worker = &embedder->workers[i];
        status = encoder_workspace_create(&worker->workspace, encoder, size, err);
        if (status == 0) {
            worker->chips = malloc((size_t)ENCODER_BATCH * size * size * sizeof(float));
            if (worker->chips == NULL)
                status = error_set_nomem(err, "a batch of chips");
        }
    }
    if (status < 0) {
        embedder_destroy(embedder);
        return status;
    }
    *out = embedder;
    return 0;
}

void embedder_destroy(struct embedder *embedder)
{
    if (embedder == NULL)
        return;
    for (uint32_t i = 0; i < embedder->n_workers; i++) {
        encoder_workspace_destroy(embedder->workers[i].workspace);
        free(embedder->workers[i].chips);
    }
    free(embedder);
}

const struct encoder *embedder_encoder(const struct embedder *embedder)
{
    return embedder->encoder;
}

uint32_t embedder_input_size(const struct embedder *embedder)
{
    return embedder->input_size;
}

static struct chip_rect chip_at(const struct run *run, uint64_t index)
{
    return run->grid != NULL ? grid_chip(run->grid, index) : run->rects[index];
}

/* Takes the next batch; false when the run is over. */
static bool take_batch(struct run *run, uint64_t *first, uint32_t *n)
{
    pthread_mutex_lock(&run->mutex);
    bool more = !run->cancelled && run->next < run->n_chips;
    if (more) {
        uint64_t left = run->n_chips - run->next;
        *first = run->next;
        *n = left < run->batch ? (uint32_t)left : run->batch;
        run->next += *n;
    }
    pthread_mutex_unlock(&run->mutex);
    return more;
}

static void embed_batch(void *argument, uint32_t worker_index)
{
    struct run *run = argument;
    uint64_t first;
    uint32_t n;
    if (!take_batch(run, &first, &n))
        return;
    struct embedder *embedder = run->embedder;
    struct worker_memory *worker = &embedder->workers[worker_index];
    size_t chip_floats = (size_t)embedder->input_size * embedder->input_size;
    for (uint32_t i = 0; i < n; i++) {
        struct chip_rect rect = chip_at(run, first + i);
        chip_resample(run->resampler, run->pixels, run->image_width, rect.x, rect.y,
                      run->scratch + worker_index * run->scratch_size,
                      worker->chips + i * chip_floats);
    }
    uint32_t dimension = encoder_info(embedder->encoder)->dimension;
    encoder_embed(embedder->encoder, worker->workspace, worker->chips, n,
                  run->out + first * dimension);

    pthread_mutex_lock(&run->mutex);
    if (run->progress != NULL && !run->cancelled && !run->progress(run->context, n))
        run->cancelled = true;
    pthread_mutex_unlock(&run->mutex);
}

/* Keeps at most a few tasks a worker in the lane, so that a cancelled run stops within one batch.
 */
static int submit_all(struct run *run, struct error *err)
{
    uint64_t n_batches = (run->n_chips + run->batch - 1) / run->batch;
    uint32_t in_flight = 2 * run->embedder->n_workers;
    int status = 0;
    for (uint64_t i = 0; i < n_batches && status == 0; i++) {
        pool_lane_wait_below(run->lane, in_flight);
        pthread_mutex_lock(&run->mutex);
        bool cancelled = run->cancelled;
        pthread_mutex_unlock(&run->mutex);
        if (cancelled)
            break;
        status = pool_submit(run->lane, embed_batch, run, err);
    }
    pool_lane_wait(run->lane);
    if (status == 0 && run->cancelled)
        status = error_set(err, ERROR_CANCELLED, "cancelled");
    return status;
}

static int run_all(struct run *run, uint32_t chip_width, uint32_t chip_height, struct error *err)
{
    uint32_t size = run->embedder->input_size;
    int status = chip_resampler_create(&run->resampler, chip_width, chip_height, size, size, err);
    if (status < 0)
        return status;
    run->scratch_size = chip_resampler_scratch(run->resampler);
    run->scratch = calloc((size_t)run->embedder->n_workers * run->scratch_size, sizeof(float));
    if (run->scratch == NULL) {
        status = error_set_nomem(err, "resampling");
    } else {
        pthread_mutex_init(&run->mutex, NULL);
        status = submit_all(run, err);
        pthread_mutex_destroy(&run->mutex);
    }
    free(run->scratch);
    chip_resampler_destroy(run->resampler);
    return status;
}

int embed_grid(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
               const struct grid *grid, embed_progress progress, void *context, float *out,
               struct error *err)
{
    struct run run = {
        .embedder = embedder,
        .lane = lane,
        .pixels = pixels,
        .image_width = grid->image_width,
        .grid = grid,
        .n_chips = grid_n_chips(grid),
        .batch = ENCODER_BATCH,
        .out = out,
        .progress = progress,
        .context = context,
    };
    return run_all(&run, grid->params.chip_width, grid->params.chip_height, err);
}

int embed_rects(struct embedder *embedder, struct pool_lane *lane, const float *pixels,
                uint32_t image_width, const struct chip_rect *rects, uint32_t n_rects,
                uint32_t batch, float *out, struct error *err)
{
    if (n_rects == 0)
        return 0;
    struct run run = {
        .embedder = embedder,
        .lane = lane,
        .pixels = pixels,
        .image_width = image_width,
        .rects = rects,
        .n_chips = n_rects,
        .batch = batch,
        .out = out,
    };
    return run_all(&run, rects[0].width, rects[0].height, err);
}
