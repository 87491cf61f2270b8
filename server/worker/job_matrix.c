/* The embeddings of a job's images and examples: keys of the cache, decoding, encoding. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/image_counts.h"
#include "base/clock.h"
#include "db/blobs.h"
#include "db/cache.h"
#include "engine/encoder/encoder.h"
#include "server/worker/job_state.h"
#include "server/worker/stored_file.h"

enum { KEY_SIZE = 512 };

/* ---- keys of the embedding cache ---- */

/* All that an embedding depends on besides the window. The kernels are part of it: others round
 * differently, and a matrix must not mix them. */
static void write_key(const struct job_state *state, const struct job_image *image,
                      const char *window, char out[KEY_SIZE])
{
    const struct normalise_params *n = &state->params.normalise;
    char sizes[INPUT_SIZES_TEXT];
    input_sizes_text(embedder_input_sizes(state->encoder->embedder), sizes);
    snprintf(out, KEY_SIZE, "4|%s|%s|%s %s|%s|%s|%s %.17g %.17g|%d %.17g %" PRIu32,
             image->row.sha256, state->encoder->sha256, encoder_kernels(),
             precision_name(embedder_precision(state->encoder->embedder)), sizes, window,
             normalise_method_name(n->method), n->low, n->high, n->clahe.enabled,
             n->clahe.clip_limit, n->clahe.tiles);
}

static void write_grid_key(const struct job_state *state, const struct job_image *image,
                           char out[KEY_SIZE])
{
    char window[128];
    const struct grid_params *g = &image->grid.params;
    snprintf(window, sizeof(window),
             "grid %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32 " %" PRIu32 ",%" PRIu32 " %s",
             g->chip_width, g->chip_height, g->stride_x, g->stride_y, g->offset_x, g->offset_y,
             grid_edge_name(g->edge));
    write_key(state, image, window, out);
}

static void write_chip_key(const struct job_state *state, const struct job_image *image,
                           const struct chip_rect *rect, char out[KEY_SIZE])
{
    char window[128];
    snprintf(window, sizeof(window), "chip %" PRIu32 "x%" PRIu32 " %" PRIu32 ",%" PRIu32,
             rect->width, rect->height, rect->x, rect->y);
    write_key(state, image, window, out);
}

/* ---- pixels ---- */

enum { WHAT_SIZE = DB_ID_SIZE + 16 };

static const char *what_is(const struct job_image *image, char what[WHAT_SIZE])
{
    snprintf(what, WHAT_SIZE, "image %s", image->row.id);
    return what;
}

static int name_image(const struct job_image *image, const struct error *inner, struct error *err)
{
    return error_set(err, inner->code, "image %s: %.400s", image->row.id, inner->message);
}

/* So that windows lie inside the pixels. */
static int check_size(const struct job_image *image, uint32_t width, uint32_t height,
                      struct error *err)
{
    const struct db_image *row = &image->row;
    if (width == row->width && height == row->height)
        return 0;
    return error_set(err, ERROR_CORRUPT,
                     "image %s: its file has %" PRIu32 " x %" PRIu32
                     " pixels, its row says %" PRIu32 " x %" PRIu32,
                     row->id, width, height, row->width, row->height);
}

/* Any image, as floats. */
static int decode_pixels(struct job_state *state, const struct job_image *image,
                         const struct db_blob *file, struct image *out, struct error *err)
{
    struct error inner = {0};
    double start = clock_now_seconds();
    int rc = image_decode(file->data, file->size, &state->engine->limits->image, out, &inner);
    start = job_time(state, JOB_PART_DECODE, start);
    if (rc < 0)
        return name_image(image, &inner, err);
    rc = check_size(image, out->info.width, out->info.height, err);
    if (rc == 0)
        rc = job_check_stop(state, err); /* a huge image takes seconds */
    if (rc == 0)
        rc = normalise_apply(&state->params.normalise, out->pixels, out->info.width,
                             out->info.height, out->info.bit_depth, err);
    if (rc < 0)
        image_clear(out);
    job_time(state, JOB_PART_NORMALISE, start);
    return rc;
}

static int load_pixels(struct job_state *state, const struct job_image *image, struct image *out,
                       struct error *err)
{
    char what[WHAT_SIZE];
    struct db_blob file = {0};
    const double start = clock_now_seconds();
    int rc =
        stored_file_open(state->engine->db, what_is(image, what), image->row.sha256, &file, err);
    job_time(state, JOB_PART_READ, start);
    if (rc < 0)
        return rc;
    rc = decode_pixels(state, image, &file, out, err);
    db_blob_close(&file);
    return rc;
}

/* ---- matrices ---- */

static bool on_progress(void *context, uint64_t n_chips)
{
    struct job_matrix *matrix = context;
    struct job_state *state = matrix->state;
    metrics_add(state->engine->metrics, METRIC_CHIPS_ENCODED, (double)n_chips);
    atomic_fetch_add(&state->control->n_chips_encoded, n_chips);
    matrix->n_encoded += n_chips;
    job_count_done(state, matrix->image, matrix->n_encoded);
    return atomic_load(&state->control->stop) == JOB_STOP_NONE;
}

/* Sets the workers on the first `n_allowed` chips. */
static int begin_embedding(struct job_matrix *matrix, const struct chip_source *source,
                           uint64_t n_allowed, struct error *err)
{
    struct job_state *state = matrix->state;
    if (state->engine->times != NULL && state->engine->times->first_batch == 0 && n_allowed > 0)
        state->engine->times->first_batch = clock_now_seconds();
    const struct embed_output output = job_features_output(matrix);
    return embed_grid_begin(&matrix->run, state->encoder->embedder, state->lane, source,
                            &matrix->image->grid, n_allowed, on_progress, matrix, &output, err);
}

/* ERROR_CORRUPT when an image's file is not what it was when it was uploaded: whoever changed it
 * behind our back gets an error and never a result. */
static void check_file(void *context)
{
    struct job_matrix *matrix = context;
    const struct job_image *image = matrix->image;
    char what[WHAT_SIZE];
    const double start = clock_now_seconds();
    stored_file_check(matrix->file, what_is(image, what), image->row.sha256, &matrix->check_error);
    matrix->check_seconds = clock_now_seconds() - start;
}

/* A worker that has no chips yet checks the file while this thread decodes it. */
static void begin_check(struct job_matrix *matrix, const struct db_blob *file)
{
    matrix->file = file;
    matrix->check = (struct pool_errand){
        .lane = matrix->state->lane, .function = check_file, .context = matrix};
    pool_errand_send(&matrix->check);
}

/* What the check found; 0 when that was said before. */
static int finish_check(struct job_matrix *matrix, struct error *err)
{
    if (matrix->check.function == NULL)
        return 0;
    pool_errand_finish(&matrix->check);
    matrix->check.function = NULL;
    job_add_time(matrix->state, JOB_PART_READ, matrix->check_seconds);
    const struct error *found = &matrix->check_error;
    return found->code < 0 ? error_set(err, found->code, "%s", found->message) : 0;
}

static int begin_pixels(struct job_matrix *matrix, const struct db_blob *file, struct error *err)
{
    const struct grid *grid = &matrix->image->grid;
    int rc = finish_check(matrix, err);
    if (rc == 0)
        rc = decode_pixels(matrix->state, matrix->image, file, &matrix->pixels, err);
    if (rc < 0)
        return rc;
    const struct chip_source source = {.pixels = matrix->pixels.pixels,
                                       .image_width = grid->image_width};
    return begin_embedding(matrix, &source, grid_n_chips(grid), err);
}

/* Lets go of what was read of a large file, of which about as much is read as of the image's rows.
 */
static void forget_file(struct job_matrix *matrix, uint32_t n_rows)
{
    const struct db_blob *file = matrix->file;
    const uint64_t n_read = file->size / matrix->samples.height * (uint64_t)n_rows;
    const uint32_t n_parts = (uint32_t)(n_read / STORED_FILE_PART);
    if (n_parts != matrix->n_parts)
        db_blob_forget(file, 0, file->size);
    matrix->n_parts = n_parts;
}

static bool on_rows(void *context, uint32_t n_rows)
{
    struct job_matrix *matrix = context;
    struct job_state *state = matrix->state;
    const struct grid *grid = &matrix->image->grid;
    const struct samples *samples = &matrix->samples;
    forget_file(matrix, n_rows);
    if (matrix->run == NULL) {
        samples_count(samples, matrix->n_counted, n_rows, matrix->counts);
        matrix->n_counted = n_rows;
        return atomic_load(&state->control->stop) == JOB_STOP_NONE;
    }
    const uint64_t n_chips = grid_chips_within(grid, n_rows);
    if (n_chips > matrix->n_allowed) {
        if (state->engine->times != NULL && state->engine->times->first_batch == 0)
            state->engine->times->first_batch = clock_now_seconds();
        matrix->n_allowed = n_chips;
        embed_allow(matrix->run, n_chips);
    }
    /* The next rows take the places of those that are in memory longest. */
    const uint64_t n_next = (uint64_t)n_rows + SAMPLES_BLOCK_ROWS;
    if (samples->n_held < samples->height && n_rows < samples->height && n_next > samples->n_held &&
        !embed_wait(matrix->run, grid_chips_above(grid, (uint32_t)(n_next - samples->n_held))))
        return false;
    return atomic_load(&state->control->stop) == JOB_STOP_NONE;
}

static int read_samples(struct job_matrix *matrix, const struct db_blob *file, struct error *err)
{
    struct job_state *state = matrix->state;
    struct error inner = {0};
    const double start = clock_now_seconds();
    int rc = samples_read(file->data, file->size, &state->engine->limits->image, &matrix->samples,
                          on_rows, matrix, &inner);
    job_time(state, JOB_PART_DECODE, start);
    return rc < 0 ? name_image(matrix->image, &inner, err) : 0;
}

/* The value of each level, from the counts. */
static int make_levels(struct job_matrix *matrix, const uint32_t *counts, struct error *err)
{
    const uint32_t bit_depth = matrix->samples.bit_depth;
    const double start = clock_now_seconds();
    matrix->levels = malloc(samples_n_levels(bit_depth) * sizeof(float));
    int rc = matrix->levels == NULL ? error_set_nomem(err, "an image's levels")
                                    : normalise_levels(&matrix->state->params.normalise, counts,
                                                       bit_depth, matrix->levels, err);
    job_time(matrix->state, JOB_PART_NORMALISE, start);
    return rc;
}

/* What a file says is not relied upon: ranks are looked up in the counts. */
static bool are_all(const uint32_t *counts, uint32_t n_levels, uint64_t n_samples)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n_levels; i++)
        sum += counts[i];
    return sum == n_samples;
}

static int begin_samples(struct job_matrix *matrix, const struct db_blob *file, uint32_t *counts,
                         struct error *err)
{
    struct db *db = matrix->state->engine->db;
    const char *sha256 = matrix->image->row.sha256;
    const struct samples *samples = &matrix->samples;
    const uint32_t n_levels = samples_n_levels(samples->bit_depth);
    const bool is_whole = samples->n_held == samples->height;
    int rc = check_size(matrix->image, samples->width, samples->height, err);
    if (rc < 0)
        return rc;
    const bool known = image_counts_get(db, sha256, counts, n_levels) &&
                       are_all(counts, n_levels, (uint64_t)samples->width * samples->height);
    if (!known) {
        memset(counts, 0, n_levels * sizeof(counts[0]));
        matrix->counts = counts;
        rc = finish_check(matrix, err); /* counts are kept */
        if (rc == 0)
            rc = read_samples(matrix, file, err);
        if (rc == 0)
            image_counts_put(db, sha256, counts, n_levels);
        matrix->counts = NULL;
    }
    if (rc == 0)
        rc = make_levels(matrix, counts, err);
    if (rc < 0)
        return rc;
    const struct grid *grid = &matrix->image->grid;
    const struct chip_source source = {.samples = samples->data,
                                       .sample_size = samples->bit_depth / 8,
                                       .levels = matrix->levels,
                                       .image_width = grid->image_width,
                                       .n_held = is_whole ? 0 : samples->n_held};
    const bool is_there = is_whole && !known;
    rc = begin_embedding(matrix, &source, is_there ? grid_n_chips(grid) : 0, err);
    return rc == 0 && !is_there ? read_samples(matrix, file, err) : rc;
}

/* How many rows of an image's samples are held: of a large one as many as a batch for each worker
 * and one more reach over, so that reading goes on while they are embedded. */
static uint32_t rows_held(const struct job_state *state, const struct job_image *image)
{
    if (job_matrix_is_small(state, image))
        return image->row.height;
    const struct grid *grid = &image->grid;
    const uint64_t n_chips = (uint64_t)ENCODER_BATCH * (pool_n_workers(state->engine->pool) + 1);
    const uint64_t n_steps = (n_chips - 1) / grid->columns + 2;
    const uint64_t rows =
        grid->params.chip_height + n_steps * grid->params.stride_y + SAMPLES_BLOCK_ROWS;
    return rows < image->row.height ? (uint32_t)rows : image->row.height;
}

/* Plain grey samples stay as they are in the file; other images and those that CLAHE works on are
 * needed as floats, as a whole, before the first chip can be cut out. */
static int begin_decoding(struct job_matrix *matrix, const struct db_blob *file, struct error *err)
{
    const struct job_state *state = matrix->state;
    struct error inner = {0};
    if (state->params.normalise.clahe.enabled)
        return begin_pixels(matrix, file, err);
    int rc = samples_create(file->data, file->size, &state->engine->limits->image,
                            rows_held(state, matrix->image), &matrix->samples, &inner);
    if (rc == ERROR_NOT_FOUND)
        return begin_pixels(matrix, file, err);
    if (rc < 0)
        return name_image(matrix->image, &inner, err);
    uint32_t *counts = calloc(samples_n_levels(matrix->samples.bit_depth), sizeof(counts[0]));
    rc = counts == NULL ? error_set_nomem(err, "an image's levels")
                        : begin_samples(matrix, file, counts, err);
    free(counts);
    return rc;
}

int job_matrix_begin(struct job_matrix *out, struct job_state *state, struct job_image *image,
                     struct error *err)
{
    char key[KEY_SIZE];
    struct db_blob file = {0};
    *out = (struct job_matrix){.state = state, .image = image};
    write_grid_key(state, image, key);
    int rc = job_features_begin(out, key, err);
    if (rc < 0 || out->is_cached)
        return rc;
    char what[WHAT_SIZE];
    rc = stored_file_open_unchecked(state->engine->db, what_is(image, what), image->row.sha256,
                                    &file, err);
    if (rc < 0)
        return rc;
    struct error inner = {0};
    begin_check(out, &file);
    rc = begin_decoding(out, &file, &inner);
    /* Reading stops when the workers do: what stopped them says why. */
    if (rc == ERROR_CANCELLED && out->run != NULL) {
        embed_cancel(out->run);
        rc = embed_finish(out->run, NULL, &inner);
        out->run = NULL;
    }
    /* A file that was changed is called that, whatever else is wrong with it. */
    int checked = finish_check(out, err);
    if (checked == 0 && rc < 0)
        error_set(err, inner.code, "%s", inner.message);
    db_blob_close(&file);
    return checked < 0 ? checked : rc;
}

static void clear_pixels(struct job_matrix *matrix)
{
    image_clear(&matrix->pixels);
    samples_clear(&matrix->samples);
    free(matrix->levels);
    matrix->levels = NULL;
}

/* The features go to the cache on a worker while this thread classifies and stores the result,
 * which does not wait for it. */
static void keep(void *context)
{
    struct job_matrix *matrix = context;
    const struct job_state *state = matrix->state;
    char key[KEY_SIZE];
    const double start = clock_now_seconds();
    write_grid_key(state, matrix->image, key);
    job_features_keep(matrix, key);
    matrix->keep_seconds = clock_now_seconds() - start;
}

int job_matrix_finish(struct job_matrix *matrix, struct error *err)
{
    struct job_state *state = matrix->state;
    if (matrix->run != NULL) {
        struct embed_times times;
        int rc = embed_finish(matrix->run, &times, err);
        matrix->run = NULL;
        clear_pixels(matrix);
        job_time_workers(state, &times);
        if (rc < 0)
            return rc;
        matrix->keep =
            (struct pool_errand){.lane = state->lane, .function = keep, .context = matrix};
        pool_errand_send(&matrix->keep);
    }
    job_count_done(state, matrix->image, grid_n_chips(&matrix->image->grid));
    return 0;
}

void job_matrix_clear(struct job_matrix *matrix)
{
    if (matrix->run != NULL) {
        embed_cancel(matrix->run);
        embed_finish(matrix->run, NULL, NULL);
    }
    if (matrix->keep.function != NULL) {
        pool_errand_finish(&matrix->keep);
        job_add_time(matrix->state, JOB_PART_CACHE, matrix->keep_seconds);
    }
    clear_pixels(matrix);
    job_features_clear(matrix);
    *matrix = (struct job_matrix){0};
}

/* ---- windows ---- */

int job_embed_window(struct job_state *state, const struct job_image *image,
                     const struct chip_rect *rect, struct image *pixels, float *out,
                     struct error *err)
{
    char key[KEY_SIZE];
    struct error inner = {0};
    write_chip_key(state, image, rect, key);
    double start = clock_now_seconds();
    int rc = db_cache_get(state->engine->db, key, 1, state->dimension, out, NULL);
    job_time(state, JOB_PART_CACHE, start);
    metrics_add(state->engine->metrics, rc == 0 ? METRIC_CACHE_HITS : METRIC_CACHE_MISSES, 1);
    if (rc == 0)
        return 0;
    rc = chip_rect_check(rect, image->row.width, image->row.height, &inner);
    if (rc < 0)
        return error_set(err, ERROR_CORRUPT, "support set: an example in image %s: %.300s",
                         image->row.id, inner.message);
    if (pixels->pixels == NULL)
        rc = load_pixels(state, image, pixels, err);
    if (rc < 0)
        return rc;
    start = clock_now_seconds();
    rc = embed_rects(state->encoder->embedder, state->lane, pixels->pixels, image->row.width, rect,
                     1, 1, out, err);
    start = job_time(state, JOB_PART_ENCODE, start);
    if (rc == 0) {
        metrics_add(state->engine->metrics, METRIC_CHIPS_ENCODED, 1);
        db_cache_put(state->engine->db, key, 1, state->dimension, out, NULL);
        job_time(state, JOB_PART_CACHE, start);
    }
    return rc;
}
