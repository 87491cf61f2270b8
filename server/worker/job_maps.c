/* A strip is a block of the cache's table, so that what a window sees is read without the rest. */
#include "server/worker/job_maps.h"

#include "db/store/cache.h"
#include "server/worker/job_keys.h"

uint64_t job_maps_max_size(const struct job_state *state)
{
    const uint64_t size = state->engine->max_maps_size;
    return size > 0 ? size : EMBED_MAPS_SIZE;
}

/* Words of a row of the table: values are of 16 bits, and a strip is CACHE_BLOCK_ROWS rows. */
static uint64_t n_columns(const struct dense_maps *maps)
{
    return maps->strip_values * sizeof(uint16_t) / sizeof(uint32_t) / CACHE_BLOCK_ROWS;
}

static void plan_grid(const struct job_state *state, const struct job_image *image,
                      struct grid *out)
{
    *out = (struct grid){
        .params = {.chip_width = state->set.chip_width, .chip_height = state->set.chip_height},
        .image_width = image->row.width,
        .image_height = image->row.height};
}

/* The strips first .. end - 1 that the windows see; of none, all. */
static void find_strips(const struct dense_geometry *geometry, const struct chip_rect *rects,
                        uint32_t n, uint32_t *first, uint32_t *end)
{
    *first = n > 0 ? geometry->n_strips : 0;
    *end = n > 0 ? 0 : geometry->n_strips;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t top, bottom;
        dense_window_strips(geometry, rects[i].y, &top, &bottom);
        *first = top < *first ? top : *first;
        *end = bottom > *end ? bottom : *end;
    }
}

/* The maps at one input size. */
static int load_size(struct job_state *state, const struct job_image *image, uint32_t input_size,
                     const struct chip_rect *rects, uint32_t n, struct dense_maps *out,
                     struct error *err)
{
    struct grid grid;
    struct dense_geometry geometry;
    char key[JOB_KEY_SIZE];
    struct cache_entry *entry = NULL;
    plan_grid(state, image, &grid);
    int rc = dense_geometry_init(&geometry, &grid, input_size, err);
    if (rc < 0)
        return rc;
    const struct encoder_info *info = encoder_info(embedder_encoder(state->encoder->embedder));
    uint32_t first, end;
    find_strips(&geometry, rects, n, &first, &end);
    job_key_of_maps(state, image, input_size, key);
    const struct dense_tiles tiles = dense_tiles_all(&geometry);
    if (dense_maps_size(&geometry, info, &tiles) > job_maps_max_size(state))
        return error_set(err, ERROR_NOT_FOUND, "maps of this size are not kept");
    rc = dense_maps_init_strips(out, &geometry, info, first, end, err);
    if (rc == 0)
        rc = cache_entry_open(&entry, state->engine->cache, key,
                              (uint64_t)geometry.n_strips * CACHE_BLOCK_ROWS, n_columns(out), err);
    if (rc == 0)
        rc = cache_entry_read(entry, (uint64_t)first * CACHE_BLOCK_ROWS,
                              (uint64_t)(end - first) * CACHE_BLOCK_ROWS, out->values, err);
    cache_entry_destroy(entry);
    return rc;
}

bool job_maps_load_windows(struct job_state *state, const struct job_image *image,
                           const struct chip_rect *rects, uint32_t n, struct embed_maps *out)
{
    const struct embedder *embedder = state->encoder->embedder;
    const struct input_sizes *sizes = embedder_input_sizes(embedder);
    struct error ignored = {0};
    if (embedder_encoding(embedder) != ENCODING_DENSE)
        return false;
    for (uint32_t i = 0; i < sizes->n; i++) {
        if (load_size(state, image, sizes->sides[i], rects, n, &out->sizes[i], &ignored) < 0) {
            embed_maps_clear(out);
            return false;
        }
    }
    out->n = sizes->n;
    return true;
}

bool job_maps_load(struct job_state *state, const struct job_image *image, struct embed_maps *out)
{
    return job_maps_load_windows(state, image, NULL, 0, out);
}

void job_maps_keep(const struct job_state *state, const struct job_image *image,
                   const struct embed_maps *maps)
{
    char key[JOB_KEY_SIZE];
    for (uint32_t i = 0; i < maps->n; i++) {
        const struct dense_maps *size = &maps->sizes[i];
        job_key_of_maps(state, image, size->geometry.input, key);
        /* Without the entry nothing is lost but time. */
        cache_put(state->engine->cache, key, (uint64_t)size->n_strips * CACHE_BLOCK_ROWS,
                  n_columns(size), size->values, NULL);
    }
}
