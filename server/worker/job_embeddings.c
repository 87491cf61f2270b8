/* A failure of the cache loses nothing but time: the embeddings are then encoded again. */
#include "server/worker/job_embeddings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "engine/encoder/encoder.h"
#include "engine/fewshot/smoothing.h"
#include "engine/fewshot/statistics.h"
#include "server/worker/job_keys.h"

/* A batch that is encoded is a block that is written, and later read. */
_Static_assert((int)ENCODER_BATCH == (int)CACHE_BLOCK_ROWS &&
                   (int)EMBEDDINGS_BLOCK == (int)CACHE_BLOCK_ROWS,
               "one size of blocks");

/* ---- chips of a grid ---- */

static uint64_t half_of_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

static int name_embeddings(const struct job_embeddings *embeddings, const struct error *inner,
                           struct error *err)
{
    return error_set(err, inner->code, "image %s: its embeddings: %.400s",
                     embeddings->image->row.id, inner->message);
}

/* A job that the kernel kills would take the server with it, at every start again. What grows with
 * the image whatever is done are the results of its chips: a label, the classifier's own, a
 * distance and the probabilities, as they are, encoded, and in the database's row, or, before there
 * are the latter two, what they are smoothed in; and, beside the first, the map that the statistics
 * are read off. */
static uint64_t chip_size(const struct job_state *state)
{
    const uint32_t n_classes = (uint32_t)state->set.n_classes;
    const uint64_t result = 2 * sizeof(uint16_t) + sizeof(float) + n_classes * sizeof(float);
    const uint64_t smoothed = result + smoothing_chip_size(n_classes);
    return state->params.smoothing != SMOOTHING_OFF && smoothed > 3 * result ? smoothed
                                                                             : 3 * result;
}

static int check_results(const struct job_embeddings *embeddings, struct error *err)
{
    const struct job_state *state = embeddings->state;
    const uint64_t n = grid_n_chips(&embeddings->image->grid);
    struct fine_map map;
    fine_map_plan(&embeddings->image->grid, &map);
    const uint64_t map_size = fine_map_n_cells(&map) * STATISTICS_CELL_SIZE;
    const uint64_t max_size =
        state->engine->max_result_size > 0 ? state->engine->max_result_size : half_of_memory();
    if (map_size <= max_size && n <= (max_size - map_size) / chip_size(state))
        return 0;
    return error_set(err, ERROR_INVALID,
                     "image %s: the labels and probabilities of %" PRIu64
                     " chips need more than the limit of %" PRIu64
                     " MiB, half of the memory; a larger stride needs less",
                     embeddings->image->row.id, n, max_size >> 20);
}

static int begin_in_memory(struct job_embeddings *embeddings, const char *key, struct error *err)
{
    const struct job_state *state = embeddings->state;
    const uint64_t n = grid_n_chips(&embeddings->image->grid);
    embeddings->values =
        memory_spare_take(state->engine->spare, n * state->dimension * sizeof(float));
    if (embeddings->values == NULL)
        return error_set_nomem(err, "an image's embeddings");
    embeddings->is_cached =
        cache_get(state->engine->cache, key, n, state->dimension, embeddings->values, NULL) == 0;
    return 0;
}

static int begin_in_file(struct job_embeddings *embeddings, const char *key, struct error *err)
{
    const struct job_state *state = embeddings->state;
    struct cache *cache = state->engine->cache;
    struct error inner = {0};
    const uint64_t n = grid_n_chips(&embeddings->image->grid);
    memory_spare_drop(state->engine->spare); /* a large image needs the room */
    int rc = cache_entry_open(&embeddings->stored, cache, key, n, state->dimension, &inner);
    embeddings->is_cached = rc == 0;
    if (rc == ERROR_NOT_FOUND)
        rc = cache_entry_create(&embeddings->stored, cache, key, n, state->dimension, &inner);
    return rc < 0 ? name_embeddings(embeddings, &inner, err) : 0;
}

int job_embeddings_begin(struct job_embeddings *out, struct job_state *state,
                         const struct job_image *image, struct error *err)
{
    char key[JOB_KEY_SIZE];
    *out = (struct job_embeddings){.state = state, .image = image};
    int rc = image->counted != NULL ? check_results(out, err) : 0;
    if (rc < 0)
        return rc;
    job_key_of_grid(state, image, key);
    const double start = clock_now_seconds();
    rc = job_image_is_small(state, image) ? begin_in_memory(out, key, err)
                                          : begin_in_file(out, key, err);
    job_time(state, JOB_PART_CACHE, start);
    if (rc < 0)
        return rc;
    metrics_add(state->engine->metrics, out->is_cached ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES,
                (double)grid_n_chips(&image->grid));
    return 0;
}

static int store_batch(void *context, uint64_t first, uint32_t n, const float *batch,
                       struct error *err)
{
    const struct job_embeddings *embeddings = context;
    struct error inner = {0};
    int rc = cache_entry_write(embeddings->stored, first, n, batch, &inner);
    return rc < 0 ? name_embeddings(embeddings, &inner, err) : 0;
}

struct embed_output job_embeddings_output(struct job_embeddings *embeddings)
{
    return (struct embed_output){.embeddings = embeddings->values,
                                 .store = store_batch,
                                 .context = embeddings,
                                 .cancel = &embeddings->state->cancel};
}

static int read_block(void *context, uint64_t first, uint32_t n, float *out, struct error *err)
{
    struct job_embeddings *embeddings = context;
    struct error inner = {0};
    int rc = job_check_stop(embeddings->state, err);
    if (rc < 0)
        return rc;
    rc = cache_entry_read(embeddings->stored, first, n, out, &inner);
    if (rc == 0)
        return 0;
    atomic_store(&embeddings->is_damaged, true);
    return name_embeddings(embeddings, &inner, err);
}

struct embeddings job_embeddings_view(struct job_embeddings *embeddings)
{
    return (struct embeddings){
        .n_chips = grid_n_chips(&embeddings->image->grid),
        .dimension = embeddings->state->dimension,
        .values = embeddings->values,
        .read = read_block,
        .context = embeddings,
        .cancel = &embeddings->state->cancel,
    };
}

bool job_embeddings_were_lost(const struct job_embeddings *embeddings)
{
    return embeddings->is_cached && atomic_load(&embeddings->is_damaged);
}

void job_embeddings_keep(const struct job_embeddings *embeddings)
{
    char key[JOB_KEY_SIZE];
    const struct job_state *state = embeddings->state;
    job_key_of_grid(state, embeddings->image, key);
    /* Without the entry nothing is lost but time. */
    if (embeddings->stored != NULL)
        cache_entry_keep(embeddings->stored, NULL);
    else
        cache_put(state->engine->cache, key, grid_n_chips(&embeddings->image->grid),
                  state->dimension, embeddings->values, NULL);
}

void job_embeddings_clear(struct job_embeddings *embeddings)
{
    if (embeddings->values != NULL)
        memory_spare_give(embeddings->state->engine->spare, embeddings->values);
    cache_entry_destroy(embeddings->stored);
    embeddings->values = NULL;
    embeddings->stored = NULL;
}

/* ---- windows ---- */

bool job_embeddings_get_window(struct job_state *state, const struct job_image *image,
                               const struct chip_rect *rect, float *out)
{
    char key[JOB_KEY_SIZE];
    job_key_of_window(state, image, rect, key);
    const double start = clock_now_seconds();
    const bool is_there = cache_get(state->engine->cache, key, 1, state->dimension, out, NULL) == 0;
    job_time(state, JOB_PART_CACHE, start);
    metrics_add(state->engine->metrics, is_there ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES, 1);
    return is_there;
}

void job_embeddings_put_window(struct job_state *state, const struct job_image *image,
                               const struct chip_rect *rect, const float *embedding)
{
    char key[JOB_KEY_SIZE];
    job_key_of_window(state, image, rect, key);
    const double start = clock_now_seconds();
    cache_put(state->engine->cache, key, 1, state->dimension, embedding, NULL);
    job_time(state, JOB_PART_CACHE, start);
}
