/* A call makes one `run`, shared by its tasks. Tasks carry no batch of their own: each takes the
 * next batch index when it starts, so that submitting allocates nothing. */
#include "engine/embed.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* What one pool worker owns; workers run one task at a time, so no lock is needed. */
struct worker_memory {
    struct encoder_workspace *workspaces[INPUT_SIZES_MAX];
    float *chips;   /* ENCODER_BATCH x largest side x largest side */
    float *vectors; /* ENCODER_BATCH x the encoder's dimension; NULL with one size */
};

struct embedder {
    struct pool *pool;
    const struct encoder *encoder;
    struct input_sizes sizes;
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
    struct chip_resampler *resamplers[INPUT_SIZES_MAX];
    float *scratch; /* n_workers x scratch_size */
    size_t scratch_size;
    float *out;
    embed_progress progress;
    void *context;
    pthread_mutex_t mutex; /* guards the two below and serialises progress */
    uint64_t next;         /* first chip of the next batch */
    bool cancelled;
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
                       struct error *err)
{
    const struct input_sizes *sizes = &embedder->sizes;
    int status = 0;
    for (uint32_t i = 0; i < sizes->n && status == 0; i++)
        status = encoder_workspace_create(&worker->workspaces[i], embedder->encoder,
                                          sizes->sides[i], err);
    if (status < 0)
        return status;
    size_t side = sizes->sides[sizes->n - 1]; /* the largest */
    size_t dimension = encoder_info(embedder->encoder)->dimension;
    worker->chips = malloc(ENCODER_BATCH * side * side * sizeof(float));
    if (sizes->n > 1)
        worker->vectors = malloc(ENCODER_BATCH * dimension * sizeof(float));
    if (worker->chips == NULL || (sizes->n > 1 && worker->vectors == NULL))
        return error_set_nomem(err, "a batch of chips");
    return 0;
}

int embedder_create(struct embedder **out, struct pool *pool, const struct encoder *encoder,
                    const struct input_sizes *sizes, struct error *err)
{
    if (sizes != NULL && input_sizes_check(sizes, err) < 0)
        return ERROR_INVALID;
    uint32_t n = pool_n_workers(pool);
    struct embedder *embedder = calloc(1, sizeof(*embedder) + n * sizeof(embedder->workers[0]));
    if (embedder == NULL)
        return error_set_nomem(err, "an embedder");
    embedder->pool = pool;
    embedder->encoder = encoder;
    if (sizes != NULL && sizes->n > 0)
        embedder->sizes = *sizes;
    else
        embedder->sizes = (struct input_sizes){1, {encoder_info(encoder)->input_size}};
    embedder->n_workers = n;
    int status = 0;
    for (uint32_t i = 0; i < n && status == 0; i++)
        status = worker_init(&embedder->workers[i], embedder, err);
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
        struct worker_memory *worker = &embedder->workers[i];
        for (uint32_t k = 0; k < INPUT_SIZES_MAX; k++)
            encoder_workspace_destroy(worker->workspaces[k]);
        free(worker->chips);
        free(worker->vectors);
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

uint32_t embedder_dimension(const struct embedder *embedder)
{
    return embedder->sizes.n * encoder_info(embedder->encoder)->dimension;
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

/* One size's vectors as a block of columns of `out`, each divided by its norm. */
static void place_part(const float *vectors, uint32_t n, uint32_t dimension, uint32_t row_floats,
                       float *out)
{
    for (uint32_t i = 0; i < n; i++, vectors += dimension, out += row_floats) {
        double squares = 0.0;
        for (uint32_t k = 0; k < dimension; k++)
            squares += (double)vectors[k] * vectors[k];
        const double norm = fmax(sqrt(squares), 1e-12);
        for (uint32_t k = 0; k < dimension; k++)
            out[k] = (float)(vectors[k] / norm);
    }
}

/* Encodes n chips from `first` on at one of the sizes. */
static void embed_at_size(struct run *run, uint32_t size_index, uint64_t first, uint32_t n,
                          uint32_t worker_index)
{
    struct embedder *embedder = run->embedder;
    struct worker_memory *worker = &embedder->workers[worker_index];
    const uint32_t side = embedder->sizes.sides[size_index];
    const uint32_t dimension = encoder_info(embedder->encoder)->dimension;
    const uint32_t row_floats = embedder_dimension(embedder);
    float *out = run->out + first * row_floats;
    for (uint32_t i = 0; i < n; i++) {
        struct chip_rect rect = chip_at(run, first + i);
        chip_resample(run->resamplers[size_index], run->pixels, run->image_width, rect.x, rect.y,
                      run->scratch + worker_index * run->scratch_size,
                      worker->chips + (size_t)i * side * side);
    }
    float *vectors = embedder->sizes.n > 1 ? worker->vectors : out;
    encoder_embed(embedder->encoder, worker->workspaces[size_index], worker->chips, n, vectors);
    if (vectors != out)
        place_part(vectors, n, dimension, row_floats, out + (size_t)size_index * dimension);
}

static void embed_batch(void *argument, uint32_t worker_index)
{
    struct run *run = argument;
    uint64_t first;
    uint32_t n;
    if (!take_batch(run, &first, &n))
        return;
    for (uint32_t i = 0; i < run->embedder->sizes.n; i++)
        embed_at_size(run, i, first, n, worker_index);

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

static int make_resamplers(struct run *run, uint32_t chip_width, uint32_t chip_height,
                           struct error *err)
{
    const struct input_sizes *sizes = &run->embedder->sizes;
    for (uint32_t i = 0; i < sizes->n; i++) {
        uint32_t side = sizes->sides[i];
        int status =
            chip_resampler_create(&run->resamplers[i], chip_width, chip_height, side, side, err);
        if (status < 0)
            return status;
        size_t scratch = chip_resampler_scratch(run->resamplers[i]);
        run->scratch_size = scratch > run->scratch_size ? scratch : run->scratch_size;
    }
    run->scratch = calloc((size_t)run->embedder->n_workers * run->scratch_size, sizeof(float));
    return run->scratch == NULL ? error_set_nomem(err, "resampling") : 0;
}

static int run_all(struct run *run, uint32_t chip_width, uint32_t chip_height, struct error *err)
{
    int status = make_resamplers(run, chip_width, chip_height, err);
    if (status == 0) {
        pthread_mutex_init(&run->mutex, NULL);
        status = submit_all(run, err);
        pthread_mutex_destroy(&run->mutex);
    }
    free(run->scratch);
    for (uint32_t i = 0; i < INPUT_SIZES_MAX; i++)
        chip_resampler_destroy(run->resamplers[i]);
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
