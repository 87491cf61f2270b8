/* Called on the job's own thread, but for what a worker is told of by function. */
#include "server/worker/job_encoding.h"

#include <stdlib.h>
#include <string.h>

#include "api/job/image_counts.h"
#include "base/clock.h"
#include "engine/image/normalise.h"
#include "server/worker/job_maps.h"
#include "server/worker/stored_file.h"

static bool on_progress(void *context, uint64_t n_chips)
{
    struct job_encoding *encoding = context;
    struct job_state *state = encoding->state;
    if (!encoding->maps_were_there) {
        metrics_add(state->engine->metrics, METRIC_CHIPS_ENCODED, (double)n_chips);
        atomic_fetch_add(&state->control->n_chips_encoded, n_chips);
    }
    encoding->n_encoded += n_chips;
    job_count_done(state, encoding->image, encoding->n_encoded);
    return atomic_load(&state->control->stop) == JOB_STOP_NONE;
}

static void note_first_batch(struct job_state *state)
{
    struct job_times *times = state->engine->times;
    if (times != NULL && times->first_batch == 0)
        times->first_batch = clock_now_seconds();
}

/* Sets the workers on what lies in the first `n_rows` rows. */
static int begin_embedding(struct job_encoding *encoding, const struct chip_source *source,
                           uint32_t n_rows, struct error *err)
{
    struct job_state *state = encoding->state;
    if (n_rows > 0)
        note_first_batch(state);
    struct embed_output output = job_embeddings_output(&encoding->embeddings);
    output.windows = encoding->windows.rects;
    output.n_windows = encoding->windows.n;
    output.window_embeddings = encoding->windows.embeddings;
    output.maps = &encoding->maps;
    output.max_maps_size = job_maps_max_size(state);
    return embed_grid_begin(&encoding->run, state->encoder->embedder, state->lane, source,
                            &encoding->image->grid, n_rows, on_progress, encoding, &output, err);
}

/* ERROR_CORRUPT when an image's file is not what it was when it was uploaded: whoever changed it
 * behind our back gets an error and never a result. */
static void check_file(void *context)
{
    struct job_encoding *encoding = context;
    const struct job_image *image = encoding->image;
    char text[JOB_IMAGE_TEXT];
    const double start = clock_now_seconds();
    stored_file_check(encoding->file, job_image_text(image, text), image->row.sha256,
                      &encoding->state->cancel, &encoding->check_error);
    encoding->check_seconds = clock_now_seconds() - start;
}

/* A worker that has no chips yet checks the file while this thread decodes it. */
static void begin_check(struct job_encoding *encoding, const struct store_file *file)
{
    encoding->file = file;
    encoding->check = (struct pool_errand){
        .lane = encoding->state->lane, .function = check_file, .context = encoding};
    pool_errand_send(&encoding->check);
}

/* What the check found; 0 when that was said before. */
static int finish_check(struct job_encoding *encoding, struct error *err)
{
    if (encoding->check.function == NULL)
        return 0;
    pool_errand_finish(&encoding->check);
    encoding->check.function = NULL;
    job_add_time(encoding->state, JOB_PART_READ, encoding->check_seconds);
    const struct error *found = &encoding->check_error;
    return found->code < 0 ? error_set(err, found->code, "%s", found->message) : 0;
}

static int begin_pixels(struct job_encoding *encoding, const struct store_file *file,
                        struct error *err)
{
    const struct grid *grid = &encoding->image->grid;
    int rc = finish_check(encoding, err);
    if (rc == 0)
        rc = job_pixels_decode(encoding->state, encoding->image, encoding->mask, file,
                               &encoding->pixels, err);
    if (rc < 0)
        return rc;
    const struct chip_source source = {.pixels = encoding->pixels.pixels,
                                       .image_width = grid->image_width};
    return begin_embedding(encoding, &source, grid->image_height, err);
}

/* ---- samples, row by row ---- */

/* Checked: when it was uploaded, and what is made of it is kept only once its hash is known to be
 * that of then (finish_check). */
static int open_source(struct job_encoding *encoding, const struct store_file *file,
                       struct image_source *out, struct error *err)
{
    struct job_state *state = encoding->state;
    struct error inner = {0};
    const double start = clock_now_seconds();
    const struct image_request request = {.data = file->data,
                                          .size = file->size,
                                          .limits = &state->engine->limits->image,
                                          .frame = encoding->image->row.frame,
                                          .trust = IMAGE_CHECKED,
                                          .cancel = &state->cancel};
    int rc = image_open(&request, out, &inner);
    job_time(state, JOB_PART_DECODE, start);
    return rc < 0 ? job_image_fail(encoding->image, &inner, err) : 0;
}

/* Lets go of what was read of a large file, of which about as much is read as of the image's rows:
 * `first` of them before, `n_rows` now. */
static void forget_file(const struct store_file *file, uint32_t height, uint32_t first,
                        uint32_t n_rows)
{
    const uint64_t row_size = file->size / height;
    if (row_size * first / STORE_FILE_PART != row_size * n_rows / STORE_FILE_PART)
        store_file_forget(file, 0, file->size);
}

/* The next rows; ERROR_CANCELLED when the job is to stop. */
static int read_rows(struct job_encoding *encoding, const struct store_file *file,
                     struct image_source *source, struct error *err)
{
    struct error inner = {0};
    const uint32_t first = source->n_rows;
    int rc = samples_read(&encoding->samples, source, &inner);
    if (rc < 0)
        return job_image_fail(encoding->image, &inner, err);
    forget_file(file, encoding->samples.height, first, source->n_rows);
    return job_check_stop(encoding->state, err);
}

static int count_rows(struct job_encoding *encoding, const struct store_file *file,
                      struct image_source *source, uint32_t *counts, struct error *err)
{
    const double start = clock_now_seconds();
    int rc = 0;
    while (rc == 0 && source->n_rows < encoding->samples.height) {
        const uint32_t first = source->n_rows;
        rc = read_rows(encoding, file, source, err);
        if (rc == 0)
            samples_count(&encoding->samples, encoding->mask, first, source->n_rows, counts);
    }
    job_time(encoding->state, JOB_PART_DECODE, start);
    return rc;
}

/* The next rows take the places of those that are in memory longest: waits until the workers do not
 * need them any more. */
static int wait_for_room(struct job_encoding *encoding, uint32_t n_rows, struct error *err)
{
    const struct samples *samples = &encoding->samples;
    const uint64_t n_next = (uint64_t)n_rows + samples_next_rows(samples, n_rows);
    if (n_next <= samples->n_held)
        return 0;
    const uint32_t first_kept = (uint32_t)(n_next - samples->n_held);
    if (embed_wait(encoding->run, first_kept))
        return 0;
    return error_set(err, ERROR_CANCELLED, "stopped on request");
}

static void allow_rows(struct job_encoding *encoding, uint32_t n_rows)
{
    if (n_rows >= encoding->image->grid.params.chip_height)
        note_first_batch(encoding->state);
    embed_allow(encoding->run, n_rows);
}

static void fill_rows(struct job_encoding *encoding, uint32_t first, uint32_t end)
{
    if (encoding->mask != NULL)
        samples_fill(&encoding->samples, encoding->mask, first, end, encoding->fill_level);
}

static int embed_rows(struct job_encoding *encoding, const struct store_file *file,
                      struct image_source *source, struct error *err)
{
    const double start = clock_now_seconds();
    int rc = 0;
    while (rc == 0 && source->n_rows < encoding->samples.height) {
        const uint32_t first = source->n_rows;
        rc = wait_for_room(encoding, first, err);
        if (rc == 0)
            rc = read_rows(encoding, file, source, err);
        if (rc == 0) {
            fill_rows(encoding, first, source->n_rows);
            allow_rows(encoding, source->n_rows);
        }
    }
    job_time(encoding->state, JOB_PART_DECODE, start);
    return rc;
}

/* The value of each level, from the counts. */
static int make_levels(struct job_encoding *encoding, const struct image_info *info,
                       const uint32_t *counts, struct error *err)
{
    const double start = clock_now_seconds();
    const uint32_t n_levels = sample_type_n_levels(info->type);
    encoding->fill_level = normalise_median_level(counts, n_levels);
    encoding->levels = malloc(n_levels * sizeof(float));
    int rc = encoding->levels == NULL
                 ? error_set_nomem(err, "an image's levels")
                 : normalise_levels(&encoding->image->normalise, counts, info->type,
                                    &info->full_scale, encoding->levels, err);
    job_time(encoding->state, JOB_PART_NORMALISE, start);
    return rc;
}

/* The counts that were stored with the image, or else those of all its rows: these are stored. */
static int find_counts(struct job_encoding *encoding, const struct store_file *file,
                       struct image_source *source, uint32_t *counts, struct error *err)
{
    struct cache *cache = encoding->state->engine->cache;
    const struct job_image *image = encoding->image;
    const struct samples *samples = &encoding->samples;
    const uint32_t n_levels = sample_type_n_levels(samples->type);
    const uint64_t n_left_out = encoding->mask != NULL ? encoding->mask->n_pixels : 0;
    const uint64_t n_samples = (uint64_t)samples->width * samples->height - n_left_out;
    const char *mask = image->mask.parts.name;
    if (image_counts_get(cache, image->row.sha256, image->row.frame, mask, n_samples, counts,
                         n_levels))
        return 0;
    memset(counts, 0, n_levels * sizeof(counts[0]));
    int rc = finish_check(encoding, err); /* counts are kept */
    if (rc == 0)
        rc = count_rows(encoding, file, source, counts, err);
    if (rc == 0)
        image_counts_put(cache, image->row.sha256, image->row.frame, mask, counts, n_levels);
    return rc;
}

/* Of the rows that were read to be counted, all or a part are in memory. Otherwise they are read
 * (again) while the workers embed those that are there. */
static int begin_rows(struct job_encoding *encoding, const struct store_file *file,
                      struct image_source *source, struct error *err)
{
    const struct samples *samples = &encoding->samples;
    const struct grid *grid = &encoding->image->grid;
    const bool is_whole = samples->n_held == samples->height;
    const bool was_counted = source->n_rows > 0;
    const bool is_there = is_whole && was_counted;
    const struct chip_source chips = {.samples = samples->data,
                                      .type = samples->type,
                                      .levels = encoding->levels,
                                      .image_width = grid->image_width,
                                      .n_held = is_whole ? 0 : samples->n_held};
    if (is_there)
        fill_rows(encoding, 0, grid->image_height);
    int rc = begin_embedding(encoding, &chips, is_there ? grid->image_height : 0, err);
    if (rc < 0 || is_there)
        return rc;
    if (was_counted) {
        image_source_close(source);
        rc = open_source(encoding, file, source, err);
    }
    return rc < 0 ? rc : embed_rows(encoding, file, source, err);
}

/* How many rows of an image's samples are held: of a large one as many as the workers embed while
 * reading goes on. */
static int find_rows_held(const struct job_state *state, const struct job_image *image,
                          uint32_t *out, struct error *err)
{
    uint64_t n_rows = image->row.height;
    int rc = 0;
    if (!job_image_is_small(state, image))
        rc = embed_rows_held(state->encoder->embedder, &image->grid, &n_rows, err);
    if (rc == 0)
        *out = n_rows < image->row.height ? (uint32_t)n_rows : image->row.height;
    return rc;
}

static int begin_samples(struct job_encoding *encoding, const struct store_file *file,
                         struct image_source *source, struct error *err)
{
    const struct image_info info = source->info;
    struct error inner = {0};
    uint32_t n_held = 0;
    int rc = find_rows_held(encoding->state, encoding->image, &n_held, &inner);
    if (rc == 0)
        rc = samples_create(&info, n_held, &encoding->samples, &inner);
    if (rc < 0)
        return job_image_fail(encoding->image, &inner, err);
    rc = job_image_check_size(encoding->image, info.width, info.height, err);
    if (rc < 0)
        return rc;
    uint32_t *counts = calloc(sample_type_n_levels(info.type), sizeof(counts[0]));
    rc = counts == NULL ? error_set_nomem(err, "an image's levels")
                        : find_counts(encoding, file, source, counts, err);
    /* Of an image that is left out as a whole any level will do. */
    if (rc == 0 && encoding->mask != NULL &&
        encoding->mask->n_pixels == (uint64_t)info.width * info.height)
        counts[0] = 1;
    if (rc == 0)
        rc = make_levels(encoding, &info, counts, err);
    free(counts);
    return rc < 0 ? rc : begin_rows(encoding, file, source, err);
}

/* Samples of few levels stay as they are in the file; other images and those that are flattened or
 * that CLAHE works on are needed as floats, as a whole, before the first chip can be cut out. */
static int begin_decoding(struct job_encoding *encoding, const struct store_file *file,
                          struct error *err)
{
    struct image_source source;
    if (!normalise_is_by_level(&encoding->image->normalise))
        return begin_pixels(encoding, file, err);
    int rc = open_source(encoding, file, &source, err);
    if (rc < 0)
        return rc;
    const bool has_levels = sample_type_n_levels(source.info.type) > 0;
    if (has_levels)
        rc = begin_samples(encoding, file, &source, err);
    image_source_close(&source);
    return has_levels ? rc : begin_pixels(encoding, file, err);
}

/* Pools the chips from maps that are there. */
static int begin_pooling(struct job_encoding *encoding, struct error *err)
{
    const struct grid *grid = &encoding->image->grid;
    const struct chip_source none = {.image_width = grid->image_width};
    return begin_embedding(encoding, &none, grid->image_height, err);
}

static bool find_maps(struct job_encoding *encoding)
{
    const double start = clock_now_seconds();
    encoding->maps_were_there = job_maps_load(encoding->state, encoding->image, &encoding->maps);
    job_time(encoding->state, JOB_PART_CACHE, start);
    return encoding->maps_were_there;
}

/* Draws the image's mask and finds the chips that it leaves out. */
static int begin_mask(struct job_encoding *encoding, struct mask *mask, struct error *err)
{
    const struct job_image *image = encoding->image;
    uint64_t n_left_out;
    int rc = job_image_draw_mask(encoding->state, image, mask, err);
    if (rc < 0)
        return rc;
    encoding->mask = mask;
    encoding->skip = malloc(grid_n_chips(&image->grid));
    return encoding->skip == NULL
               ? error_set_nomem(err, "an image's chips")
               : mask_chips(mask, &image->grid, encoding->skip, &n_left_out, err);
}

static int begin(struct job_encoding *out, const struct job_windows *windows, struct error *err)
{
    struct job_state *state = out->state;
    struct job_image *image = out->image;
    struct store_file file = {0};
    int rc = job_embeddings_begin(&out->embeddings, state, image, err);
    if (rc < 0 || out->embeddings.is_cached)
        return rc;
    if (embedder_encoding(state->encoder->embedder) == ENCODING_DENSE)
        out->windows = *windows;
    if (find_maps(out))
        return begin_pooling(out, err);
    char text[JOB_IMAGE_TEXT];
    rc = stored_file_open_unchecked(state->engine->store, job_image_text(image, text),
                                    image->row.sha256, &file, err);
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
    store_file_close(&file);
    return checked < 0 ? checked : rc;
}

int job_encoding_begin(struct job_encoding *out, struct job_state *state, struct job_image *image,
                       const struct job_windows *windows, struct error *err)
{
    struct mask mask = {0};
    *out = (struct job_encoding){.state = state, .image = image};
    int rc = image_mask_is_empty(&image->mask) ? 0 : begin_mask(out, &mask, err);
    if (rc == 0)
        rc = begin(out, windows, err);
    out->mask = NULL;
    mask_clear(&mask);
    return rc;
}

static void clear_pixels(struct job_encoding *encoding)
{
    image_clear(&encoding->pixels);
    samples_clear(&encoding->samples);
    free(encoding->levels);
    encoding->levels = NULL;
}

/* The embeddings go to the cache on a worker while this thread classifies and stores the result,
 * which does not wait for it. */
static void keep(void *context)
{
    struct job_encoding *encoding = context;
    const double start = clock_now_seconds();
    job_embeddings_keep(&encoding->embeddings);
    if (!encoding->maps_were_there)
        job_maps_keep(encoding->state, encoding->image, &encoding->maps);
    encoding->keep_seconds = clock_now_seconds() - start;
}

int job_encoding_finish(struct job_encoding *encoding, struct error *err)
{
    struct job_state *state = encoding->state;
    if (encoding->run != NULL) {
        struct embed_times times;
        int rc = embed_finish(encoding->run, &times, err);
        encoding->run = NULL;
        clear_pixels(encoding);
        job_time_workers(state, &times);
        if (rc < 0)
            return rc;
        encoding->keep =
            (struct pool_errand){.lane = state->lane, .function = keep, .context = encoding};
        pool_errand_send(&encoding->keep);
    }
    job_count_done(state, encoding->image, grid_n_chips(&encoding->image->grid));
    return 0;
}

void job_encoding_clear(struct job_encoding *encoding)
{
    if (encoding->run != NULL) {
        embed_cancel(encoding->run);
        embed_finish(encoding->run, NULL, NULL);
    }
    if (encoding->keep.function != NULL) {
        pool_errand_finish(&encoding->keep);
        job_add_time(encoding->state, JOB_PART_CACHE, encoding->keep_seconds);
    }
    clear_pixels(encoding);
    free(encoding->skip);
    embed_maps_clear(&encoding->maps);
    job_embeddings_clear(&encoding->embeddings);
    *encoding = (struct job_encoding){0};
}
