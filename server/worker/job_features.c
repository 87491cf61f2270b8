/* Where the embeddings of an image's chips are. Of a small image they are in memory. Of a large one
 * they are in a file, the cache's entry or what becomes it: a worker writes each batch as it is
 * encoded, and they are read back in bands, so that memory follows a plan whatever the image.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "db/cache.h"
#include "server/worker/job_state.h"

static const uint64_t default_small_size = 256 << 20;

/* A batch that is encoded is a block that is written, and later read. */
_Static_assert((int)ENCODER_BATCH == (int)DB_MATRIX_BLOCK_ROWS &&
                   (int)EMBEDDINGS_BLOCK == (int)DB_MATRIX_BLOCK_ROWS,
               "one size of blocks");

static uint64_t half_of_memory(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;
}

bool job_matrix_is_small(const struct job_state *state, const struct job_image *image)
{
    const uint64_t small_size =
        state->engine->small_size > 0 ? state->engine->small_size : default_small_size;
    const uint64_t n_floats = (uint64_t)image->row.width * image->row.height +
                              grid_n_chips(&image->grid) * state->dimension;
    return n_floats * sizeof(float) <= small_size;
}

static int name_embeddings(const struct job_matrix *matrix, const struct error *inner,
                           struct error *err)
{
    return error_set(err, inner->code, "image %s: its embeddings: %.400s", matrix->image->row.id,
                     inner->message);
}

/* A job that the kernel kills would take the server with it, at every start again. What grows with
 * the image whatever is done are the results of its chips: a label, a distance and the
 * probabilities, as they are, encoded, and in the database's row; and, beside the first, a node of
 * the trees of regions. */
static int check_results(const struct job_matrix *matrix, struct error *err)
{
    const struct job_state *state = matrix->state;
    const uint64_t n = grid_n_chips(&matrix->image->grid);
    const uint64_t result_size =
        sizeof(uint16_t) + sizeof(float) + state->set.n_classes * sizeof(float);
    const uint64_t chip_size = 3 * result_size + sizeof(uint32_t);
    const uint64_t max_size =
        state->engine->max_result_size > 0 ? state->engine->max_result_size : half_of_memory();
    if (n <= max_size / chip_size)
        return 0;
    return error_set(err, ERROR_INVALID,
                     "image %s: the labels and probabilities of %" PRIu64
                     " chips need more than the limit of %" PRIu64
                     " MiB, half of the memory; a larger stride needs less",
                     matrix->image->row.id, n, max_size >> 20);
}

static int begin_in_memory(struct job_matrix *matrix, const char *key, struct error *err)
{
    const struct job_state *state = matrix->state;
    const uint64_t n = grid_n_chips(&matrix->image->grid);
    matrix->values = malloc(n * state->dimension * sizeof(float));
    if (matrix->values == NULL)
        return error_set_nomem(err, "an image's embeddings");
    matrix->is_cached =
        db_cache_get(state->engine->db, key, n, state->dimension, matrix->values, NULL) == 0;
    return 0;
}

static int begin_in_file(struct job_matrix *matrix, const char *key, struct error *err)
{
    const struct job_state *state = matrix->state;
    struct db *db = state->engine->db;
    struct error inner = {0};
    const uint64_t n = grid_n_chips(&matrix->image->grid);
    int rc = db_matrix_open(&matrix->stored, db, key, n, state->dimension, &inner);
    matrix->is_cached = rc == 0;
    if (rc == ERROR_NOT_FOUND)
        rc = db_matrix_create(&matrix->stored, db, key, n, state->dimension, &inner);
    return rc < 0 ? name_embeddings(matrix, &inner, err) : 0;
}

int job_features_begin(struct job_matrix *matrix, const char *key, struct error *err)
{
    struct job_state *state = matrix->state;
    int rc = check_results(matrix, err);
    if (rc < 0)
        return rc;
    const double start = clock_now_seconds();
    rc = job_matrix_is_small(state, matrix->image) ? begin_in_memory(matrix, key, err)
                                                   : begin_in_file(matrix, key, err);
    job_time(state, JOB_PART_CACHE, start);
    if (rc < 0)
        return rc;
    metrics_add(state->engine->metrics, matrix->is_cached ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES,
                (double)grid_n_chips(&matrix->image->grid));
    return 0;
}

static int store_batch(void *context, uint64_t first, uint32_t n, const float *vectors,
                       struct error *err)
{
    const struct job_matrix *matrix = context;
    struct error inner = {0};
    int rc = db_matrix_write(matrix->stored, first, n, vectors, &inner);
    return rc < 0 ? name_embeddings(matrix, &inner, err) : 0;
}

struct embed_output job_features_output(struct job_matrix *matrix)
{
    return (struct embed_output){
        .vectors = matrix->values, .store = store_batch, .context = matrix};
}

static int read_block(void *context, uint64_t first, uint32_t n, float *out, struct error *err)
{
    struct job_matrix *matrix = context;
    struct error inner = {0};
    int rc = job_check_stop(matrix->state, err);
    if (rc < 0)
        return rc;
    rc = db_matrix_read(matrix->stored, first, n, out, &inner);
    if (rc == 0)
        return 0;
    atomic_store(&matrix->is_damaged, true);
    return name_embeddings(matrix, &inner, err);
}

struct embeddings job_matrix_embeddings(struct job_matrix *matrix)
{
    return (struct embeddings){
        .n_chips = grid_n_chips(&matrix->image->grid),
        .dimension = matrix->state->dimension,
        .values = matrix->values,
        .read = read_block,
        .context = matrix,
    };
}

bool job_matrix_was_lost(const struct job_matrix *matrix)
{
    return matrix->is_cached && atomic_load(&matrix->is_damaged);
}

void job_features_keep(struct job_matrix *matrix, const char *key)
{
    const struct job_state *state = matrix->state;
    /* Without the entry nothing is lost but time. */
    if (matrix->stored != NULL)
        db_matrix_keep(matrix->stored, NULL);
    else
        db_cache_put(state->engine->db, key, grid_n_chips(&matrix->image->grid), state->dimension,
                     matrix->values, NULL);
}

void job_features_clear(struct job_matrix *matrix)
{
    free(matrix->values);
    db_matrix_destroy(matrix->stored);
}
