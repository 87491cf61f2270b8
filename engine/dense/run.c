/* A task of the pool takes the next unit of work when it starts: a batch of windows whose maps are
 * there, or else a tile. It submits itself anew when it ends, and others where its end made more
 * work ready, so that workers go on without the thread that began the run.
 *
 * Where not all maps are in memory they lie in a ring of strips, long enough for two rows of tiles
 * and what windows between them see: a row of tiles is begun once no window needs what it
 * overwrites. The chips of a batch may lie farther apart than that, in a narrow image or far from
 * each other: where there is nothing else to do those that are ready are pooled, as a part of
 * their batch. */
#include "engine/dense/run.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/dense/pass.h"
#include "engine/dense/windows.h"
#include "engine/embedder_parts.h"
#include "engine/give_way.h"

#define NONE UINT64_MAX

enum unit_kind { UNIT_NONE, UNIT_CHIPS, UNIT_WINDOW, UNIT_TILE };

/* What a worker is at. */
struct unit {
    enum unit_kind kind;
    uint64_t first; /* chip, window in the order of their rows, or tile */
    uint32_t n;     /* chips */
    uint32_t pass;  /* of a tile */
};

/* The first of each kind of unit that nobody has taken. */
struct ahead {
    uint64_t chip;
    bool part_runs;                  /* a part of a batch is being pooled */
    uint32_t window;                 /* in the order of their rows */
    uint32_t tiles[INPUT_SIZES_MAX]; /* of each pass */
};

struct dense_run {
    struct dense_run_plan plan;
    uint32_t n_passes;
    struct pass passes[INPUT_SIZES_MAX];
    uint64_t n_chips;
    uint32_t *order;        /* n_windows: by their rows */
    float *batches;         /* n_workers + 1 of ENCODER_BATCH embeddings, the last one of parts;
                               NULL: all are in memory */
    bool encodes_all;       /* tiles that no window sees are wanted, too */
    pthread_mutex_t mutex;  /* guards what follows, and serialises progress */
    pthread_cond_t changed; /* a unit ended */
    uint32_t n_tasks;       /* that wait in the lane or run */
    uint32_t n_running;
    struct unit *running; /* n_workers */
    uint32_t n_rows;      /* of pixels that are there */
    struct ahead ahead;
    bool cancelled;
    struct error failure; /* the first one */
    struct embed_times times;
};

/* ---- what is ready, all called with the mutex held ---- */

static bool window_is_ready(const struct dense_run *run, uint32_t y)
{
    for (uint32_t i = 0; i < run->n_passes; i++) {
        if (!pass_window_is_ready(&run->passes[i], y))
            return false;
    }
    return true;
}

static uint32_t window_row(const struct dense_run *run, uint64_t number)
{
    return run->plan.output.windows[run->order[number]].y;
}

static uint32_t chip_row(const struct dense_run *run, uint64_t chip)
{
    return grid_chip(&run->plan.grid, chip).y;
}

/* The first strip that a window sees which is not pooled. */
static uint32_t first_needed(const struct dense_run *run, const struct ahead *ahead,
                             const struct pass *pass)
{
    uint64_t chip = ahead->chip, window = ahead->window;
    for (uint32_t i = 0; i < run->plan.embedder->n_workers; i++) {
        const struct unit *unit = &run->running[i];
        if (unit->kind == UNIT_CHIPS && unit->first < chip)
            chip = unit->first;
        if (unit->kind == UNIT_WINDOW && unit->first < window)
            window = unit->first;
    }
    uint32_t needed = UINT32_MAX, first, end;
    if (chip < run->n_chips) {
        dense_window_strips(&pass->geometry, chip_row(run, chip), &first, &end);
        needed = first;
    }
    if (window < run->plan.output.n_windows) {
        dense_window_strips(&pass->geometry, window_row(run, window), &first, &end);
        needed = first < needed ? first : needed;
    }
    return needed;
}

static bool all_is_pooled(const struct dense_run *run, const struct ahead *ahead)
{
    return ahead->chip == run->n_chips && ahead->window == run->plan.output.n_windows;
}

/* Of the passes whose next tile is ready, the one that is behind the others. */
static bool find_tile(const struct dense_run *run, const struct ahead *ahead, uint32_t *out)
{
    double least = 2;
    if (!run->encodes_all && all_is_pooled(run, ahead))
        return false;
    for (uint32_t i = 0; i < run->n_passes; i++) {
        const struct pass *pass = &run->passes[i];
        const uint32_t tile = ahead->tiles[i];
        if (tile == pass->n_tiles || (double)tile / pass->n_tiles >= least ||
            !pass_tile_is_ready(pass, tile, run->n_rows, first_needed(run, ahead, pass)))
            continue;
        *out = i;
        least = (double)tile / pass->n_tiles;
    }
    return least < 2;
}

/* Chips from this one to the end of its batch. */
static uint32_t left_of_batch(const struct dense_run *run, uint64_t chip)
{
    const uint64_t left = run->n_chips - chip, n = ENCODER_BATCH - chip % ENCODER_BATCH;
    return (uint32_t)(left < n ? left : n);
}

static bool is_part(const struct dense_run *run, const struct unit *unit)
{
    return unit->first % ENCODER_BATCH != 0 || unit->n < left_of_batch(run, unit->first);
}

/* Whether the next n chips are: a whole batch, or a part of one, of which one runs at a time. */
static bool chips_are_ready(const struct dense_run *run, const struct ahead *ahead, uint32_t n)
{
    const struct unit unit = {.first = ahead->chip, .n = n};
    return n > 0 && !(ahead->part_runs && is_part(run, &unit)) &&
           window_is_ready(run, chip_row(run, ahead->chip + n - 1));
}

static struct unit take_chips(const struct dense_run *run, struct ahead *ahead, uint32_t n)
{
    const struct unit unit = {.kind = UNIT_CHIPS, .first = ahead->chip, .n = n};
    ahead->chip += n;
    ahead->part_runs = ahead->part_runs || is_part(run, &unit);
    return unit;
}

/* The next unit, if one is ready, which is then behind. */
static struct unit next_unit(const struct dense_run *run, struct ahead *ahead)
{
    const uint32_t n = left_of_batch(run, ahead->chip);
    uint32_t pass = 0;
    if (run->cancelled)
        return (struct unit){.kind = UNIT_NONE};
    if (ahead->window < run->plan.output.n_windows &&
        window_is_ready(run, window_row(run, ahead->window)))
        return (struct unit){.kind = UNIT_WINDOW, .first = ahead->window++};
    if (chips_are_ready(run, ahead, n))
        return take_chips(run, ahead, n);
    if (find_tile(run, ahead, &pass))
        return (struct unit){.kind = UNIT_TILE, .first = ahead->tiles[pass]++, .pass = pass};
    for (uint32_t n_part = n; n_part-- > 1;) {
        if (chips_are_ready(run, ahead, n_part))
            return take_chips(run, ahead, n_part);
    }
    return (struct unit){.kind = UNIT_NONE};
}

static void take_unit(struct dense_run *run, uint32_t worker, struct unit *out)
{
    pthread_mutex_lock(&run->mutex);
    *out = next_unit(run, &run->ahead);
    run->n_running++;
    run->running[worker] = *out;
    pthread_mutex_unlock(&run->mutex);
}

static void dense_task(void *argument, uint32_t worker);

/* A worker for each unit that is ready. Those that become ready later are found by the end of what
 * makes them so. */
static int submit_ready(struct dense_run *run, struct error *err)
{
    struct ahead ahead = run->ahead;
    const uint32_t n_workers = run->plan.embedder->n_workers;
    uint32_t n_waiting = run->n_tasks - run->n_running;
    int rc = 0;
    for (uint32_t n_ready = 1; rc == 0 && run->n_tasks < n_workers; n_ready++) {
        if (next_unit(run, &ahead).kind == UNIT_NONE)
            break;
        if (n_ready <= n_waiting)
            continue;
        rc = pool_submit(run->plan.lane, dense_task, run, err);
        run->n_tasks += rc == 0 ? 1 : 0;
        n_waiting++;
    }
    run->cancelled = run->cancelled || rc < 0;
    return rc;
}

/* ---- units ---- */

static void fail(struct dense_run *run, const struct error *error)
{
    pthread_mutex_lock(&run->mutex);
    if (run->failure.code == 0)
        run->failure = *error;
    run->cancelled = true;
    pthread_mutex_unlock(&run->mutex);
}

static int prepare_worker(struct worker_memory *memory, const struct embedder *embedder,
                          uint32_t side, const struct cancel *cancel, struct error *err)
{
    if (memory->tile_workspace != NULL && memory->tile_side == side)
        return 0;
    encoder_workspace_destroy(memory->tile_workspace);
    memory->tile_workspace = NULL;
    free(memory->pixels);
    memory->pixels = malloc((size_t)side * side * sizeof(float));
    if (memory->pixels == NULL)
        return error_set_nomem(err, "a tile");
    memory->tile_side = side;
    return encoder_workspace_create_tile(&memory->tile_workspace, embedder->encoder, side,
                                         embedder->precision, cancel, err);
}

struct put {
    struct dense_maps *maps;
    uint32_t x, y;
};

static void put_map(void *context, uint32_t stage, const struct encoder_map *map)
{
    const struct put *put = context;
    dense_maps_put(put->maps, put->x, put->y, stage, map);
}

static int encode_tile(struct dense_run *run, const struct unit *unit, uint32_t worker,
                       struct embed_times *times, struct error *err)
{
    const struct embedder *embedder = run->plan.embedder;
    struct worker_memory *memory = &run->plan.embedder->workers[worker];
    const struct pass *pass = &run->passes[unit->pass];
    const struct cancel *cancel = run->plan.output.cancel;
    const uint32_t tile = (uint32_t)unit->first;
    struct put put = {pass->maps, pass_tile_column(pass, tile), pass_tile_row(pass, tile)};
    const double start = clock_now_seconds();
    int rc = prepare_worker(memory, embedder, pass->geometry.side, cancel, err);
    if (rc == 0)
        rc = dense_tile_make(&pass->geometry, &run->plan.source, put.x, put.y, &memory->scratch,
                             cancel, memory->pixels, err);
    if (rc < 0)
        return rc;
    dense_maps_put_pixels(put.maps, put.x, put.y, memory->pixels);
    const double resampled = clock_now_seconds();
    encoder_workspace_set_cancel(memory->tile_workspace, cancel);
    encoder_run_tile(embedder->encoder, memory->tile_workspace, memory->pixels, put_map, &put);
    times->resample += resampled - start;
    times->encode += clock_now_seconds() - resampled;
    return 0;
}

static void pool_windows(const struct dense_run *run, const struct chip_rect *rects, uint32_t n,
                         float *out)
{
    const struct embedder *embedder = run->plan.embedder;
    const struct encoder_info *info = encoder_info(embedder->encoder);
    const size_t row_floats = embedder_dimension(embedder);
    for (uint32_t i = 0; i < run->n_passes; i++) {
        float *part = out + (size_t)i * info->dimension;
        dense_pool_windows(run->passes[i].maps, info, rects, n, row_floats, part);
        for (uint32_t k = 0; k < n && run->n_passes > 1; k++, part += row_floats)
            embedder_place_part(part, 1, info->dimension, info->dimension, part);
    }
}

static int pool_chips(struct dense_run *run, const struct unit *unit, uint32_t worker,
                      struct embed_times *times, struct error *err)
{
    const size_t row_floats = embedder_dimension(run->plan.embedder);
    const uint32_t n_before = unit->first % ENCODER_BATCH; /* of the batch */
    const uint32_t place = is_part(run, unit) ? run->plan.embedder->n_workers : worker;
    float *batch = run->batches != NULL
                       ? run->batches + place * ENCODER_BATCH * row_floats
                       : run->plan.output.embeddings + (unit->first - n_before) * row_floats;
    struct chip_rect rects[ENCODER_BATCH];
    const double start = clock_now_seconds();
    for (uint32_t i = 0; i < unit->n; i++)
        rects[i] = grid_chip(&run->plan.grid, unit->first + i);
    pool_windows(run, rects, unit->n, batch + n_before * row_floats);
    const double pooled = clock_now_seconds();
    times->encode += pooled - start;
    give_way();
    if (run->batches == NULL || unit->n < left_of_batch(run, unit->first) ||
        cancel_is_asked(run->plan.output.cancel))
        return 0;
    int rc = run->plan.output.store(run->plan.output.context, unit->first - n_before,
                                    n_before + unit->n, batch, err);
    times->store += clock_now_seconds() - pooled;
    return rc;
}

static int do_unit(struct dense_run *run, const struct unit *unit, uint32_t worker,
                   struct embed_times *times, struct error *err)
{
    switch (unit->kind) {
    case UNIT_NONE:
        return 0;
    case UNIT_CHIPS:
        return pool_chips(run, unit, worker, times, err);
    case UNIT_WINDOW: {
        const uint32_t number = run->order[unit->first];
        const size_t row_floats = embedder_dimension(run->plan.embedder);
        pool_windows(run, &run->plan.output.windows[number], 1,
                     run->plan.output.window_embeddings + number * row_floats);
        return 0;
    }
    case UNIT_TILE:
        return encode_tile(run, unit, worker, times, err);
    }
    return 0;
}

static void end_unit(struct dense_run *run, const struct unit *unit, uint32_t worker,
                     const struct embed_times *times)
{
    pthread_mutex_lock(&run->mutex);
    run->running[worker].kind = UNIT_NONE;
    run->n_running--;
    run->n_tasks--;
    run->times.resample += times->resample;
    run->times.encode += times->encode;
    run->times.store += times->store;
    if (unit->kind == UNIT_TILE)
        pass_count_tile(&run->passes[unit->pass], (uint32_t)unit->first);
    if (unit->kind == UNIT_CHIPS && is_part(run, unit))
        run->ahead.part_runs = false;
    if (unit->kind == UNIT_CHIPS && run->plan.progress != NULL && !run->cancelled &&
        !run->plan.progress(run->plan.context, unit->n))
        run->cancelled = true;
    submit_ready(run, NULL);
    /* Under the mutex: the run is freed when the last task has let go of it. */
    pthread_cond_broadcast(&run->changed);
    pthread_mutex_unlock(&run->mutex);
}

static void dense_task(void *argument, uint32_t worker)
{
    struct dense_run *run = argument;
    struct embed_times times = {0};
    struct error error = {0};
    struct unit unit;
    take_unit(run, worker, &unit);
    if (do_unit(run, &unit, worker, &times, &error) < 0)
        fail(run, &error);
    else if (cancel_is_asked(run->plan.output.cancel))
        dense_run_cancel(run);
    end_unit(run, &unit, worker, &times);
}

/* ---- a run's life ---- */

static int make_passes(struct dense_run *run, struct error *err)
{
    const struct input_sizes *sizes = embedder_input_sizes(run->plan.embedder);
    const struct encoder_info *info = encoder_info(run->plan.embedder->encoder);
    const struct embed_output *output = &run->plan.output;
    const struct pass_windows windows = {output->windows, output->n_windows};
    const uint64_t max_size = output->max_maps_size > 0 ? output->max_maps_size : EMBED_MAPS_SIZE;
    struct embed_maps *kept = output->maps;
    int rc = 0;
    run->n_passes = sizes->n;
    run->encodes_all = kept != NULL;
    for (uint32_t i = 0; i < sizes->n && rc == 0; i++) {
        struct pass *pass = &run->passes[i];
        rc = dense_geometry_init(&pass->geometry, &run->plan.grid, sizes->sides[i], err);
        if (rc < 0)
            break;
        if (kept != NULL && kept->n > 0) {
            pass_adopt(pass, &kept->sizes[i]);
            run->ahead.tiles[i] = pass->n_tiles;
            continue;
        }
        const struct dense_tiles tiles = run->plan.windows_only
                                             ? pass_tiles_of(&pass->geometry, &windows)
                                             : dense_tiles_all(&pass->geometry);
        rc = pass_init(pass, info, &tiles, max_size / sizes->n,
                       kept != NULL ? &kept->sizes[i] : NULL, err);
        run->encodes_all = run->encodes_all && pass->maps != &pass->own;
    }
    return rc;
}

struct ordered {
    uint32_t y, number;
};

static int compare_rows(const void *a, const void *b)
{
    const struct ordered *p = a, *q = b;
    return (p->y > q->y) - (p->y < q->y);
}

static int order_windows(struct dense_run *run, struct error *err)
{
    const uint32_t n = run->plan.output.n_windows;
    struct ordered *ordered = calloc(n > 0 ? n : 1, sizeof(ordered[0]));
    run->order = calloc(n > 0 ? n : 1, sizeof(run->order[0]));
    if (ordered == NULL || run->order == NULL) {
        free(ordered);
        return error_set_nomem(err, "an embedding");
    }
    for (uint32_t i = 0; i < n; i++)
        ordered[i] = (struct ordered){run->plan.output.windows[i].y, i};
    qsort(ordered, n, sizeof(ordered[0]), compare_rows);
    for (uint32_t i = 0; i < n; i++)
        run->order[i] = ordered[i].number;
    free(ordered);
    return 0;
}

static int make_memory(struct dense_run *run, struct error *err)
{
    const uint32_t n = run->plan.embedder->n_workers;
    const size_t batch_floats = (size_t)ENCODER_BATCH * embedder_dimension(run->plan.embedder);
    run->running = calloc(n, sizeof(run->running[0]));
    if (run->plan.output.embeddings == NULL && run->n_chips > 0)
        run->batches = calloc(n + 1, batch_floats * sizeof(float));
    if (run->running == NULL ||
        (run->plan.output.embeddings == NULL && run->n_chips > 0 && run->batches == NULL))
        return error_set_nomem(err, "an embedding");
    return 0;
}

static void run_destroy(struct dense_run *run)
{
    for (uint32_t i = 0; i < run->n_passes; i++)
        pass_clear(&run->passes[i]);
    free(run->order);
    free(run->batches);
    free(run->running);
    pthread_cond_destroy(&run->changed);
    pthread_mutex_destroy(&run->mutex);
    free(run);
}

int dense_run_begin(struct dense_run **out, const struct dense_run_plan *plan, struct error *err)
{
    struct dense_run *run = calloc(1, sizeof(*run));
    if (run == NULL)
        return error_set_nomem(err, "an embedding");
    run->plan = *plan;
    run->n_rows = plan->n_rows;
    run->n_chips = plan->windows_only ? 0 : grid_n_chips(&plan->grid);
    pthread_mutex_init(&run->mutex, NULL);
    pthread_cond_init(&run->changed, NULL);
    int rc = order_windows(run, err);
    if (rc == 0)
        rc = make_memory(run, err);
    if (rc == 0)
        rc = make_passes(run, err);
    if (rc == 0) {
        pthread_mutex_lock(&run->mutex);
        rc = submit_ready(run, err);
        pthread_mutex_unlock(&run->mutex);
    }
    if (rc < 0) {
        run->cancelled = true; /* its maps are not complete */
        dense_run_finish(run, NULL, NULL);
        return rc;
    }
    *out = run;
    return 0;
}

void dense_run_allow(struct dense_run *run, uint32_t n_rows)
{
    pthread_mutex_lock(&run->mutex);
    run->n_rows = n_rows;
    submit_ready(run, NULL);
    pthread_mutex_unlock(&run->mutex);
}

/* Called with the mutex held. */
static bool needs_rows(const struct dense_run *run, uint32_t first_row)
{
    bool needs = false;
    for (uint32_t i = 0; i < run->n_passes; i++)
        needs = needs || pass_needs_rows(&run->passes[i], first_row);
    return needs && (run->encodes_all || run->n_tasks > 0 || !all_is_pooled(run, &run->ahead));
}

bool dense_run_wait(struct dense_run *run, uint32_t first_row)
{
    pthread_mutex_lock(&run->mutex);
    while (!run->cancelled && needs_rows(run, first_row))
        pthread_cond_wait(&run->changed, &run->mutex);
    const bool cancelled = run->cancelled;
    pthread_mutex_unlock(&run->mutex);
    return !cancelled;
}

void dense_run_cancel(struct dense_run *run)
{
    pthread_mutex_lock(&run->mutex);
    run->cancelled = true;
    pthread_mutex_unlock(&run->mutex);
}

/* Whole maps are the caller's from now on, if they are complete. */
static void hand_over_maps(struct dense_run *run, bool complete)
{
    struct embed_maps *maps = run->plan.output.maps;
    if (maps == NULL || maps->n > 0)
        return;
    bool all = complete;
    for (uint32_t i = 0; i < run->n_passes; i++)
        all = all && run->passes[i].maps == &maps->sizes[i];
    if (all)
        maps->n = run->n_passes;
    for (uint32_t i = 0; i < INPUT_SIZES_MAX && !all; i++)
        dense_maps_clear(&maps->sizes[i]);
}

int dense_run_finish(struct dense_run *run, struct embed_times *times, struct error *err)
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
    hand_over_maps(run, !cancelled && run->n_passes > 0);
    run_destroy(run);
    if (failure.code < 0)
        return error_set(err, failure.code, "%s", failure.message);
    return cancelled ? error_set(err, ERROR_CANCELLED, "cancelled") : 0;
}

int dense_run_rows(const struct embedder *embedder, const struct grid *grid, uint32_t *out,
                   struct error *err)
{
    const struct input_sizes *sizes = embedder_input_sizes(embedder);
    uint32_t n_rows = 0;
    int rc = 0;
    for (uint32_t i = 0; i < sizes->n && rc == 0; i++) {
        struct dense_geometry geometry;
        rc = dense_geometry_init(&geometry, grid, sizes->sides[i], err);
        /* Of rows of tiles that lie inside the image two lie farthest apart. */
        for (uint32_t row = 0; rc == 0 && row < geometry.y.n_tiles; row++) {
            uint32_t first, end, next_end;
            dense_tile_rows(&geometry, row, &first, &end);
            dense_tile_rows(&geometry, row + 1, &next_end, &end);
            n_rows = end - first > n_rows ? end - first : n_rows;
        }
    }
    if (rc == 0)
        *out = n_rows;
    return rc;
}

int dense_run_fits(const struct embedder *embedder, const struct grid *image,
                   const struct chip_rect *rects, uint32_t n_rects, bool *out, struct error *err)
{
    const struct input_sizes *sizes = embedder_input_sizes(embedder);
    const struct pass_windows windows = {rects, n_rects};
    uint64_t size = 0;
    int rc = 0;
    for (uint32_t i = 0; i < sizes->n && rc == 0; i++) {
        struct dense_geometry geometry;
        rc = dense_geometry_init(&geometry, image, sizes->sides[i], err);
        if (rc < 0)
            break;
        const struct dense_tiles tiles = pass_tiles_of(&geometry, &windows);
        size += dense_maps_size(&geometry, encoder_info(embedder->encoder), &tiles);
    }
    if (rc == 0)
        *out = size <= EMBED_MAPS_SIZE;
    return rc;
}
