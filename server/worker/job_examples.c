/* Reproducibility: an example that is a chip of the job's own grid takes its embedding from those
 * of that grid, any other example is embedded in a batch of its own. Which of the two holds
 * depends on the job alone, never on what the cache happens to hold, so the same job gives the same
 * bytes. In dense encoding a window has the same bytes whoever pools it.
 */
#include "server/worker/job_examples.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/fewshot/classifier.h"
#include "server/worker/job_embeddings.h"
#include "server/worker/job_maps.h"
#include "server/worker/job_pixels.h"

#define NO_WINDOW UINT32_MAX

enum { WINDOWS_PART = 64 };

/* One example and the place of its embedding. */
struct job_example {
    const char *image_id;
    struct chip_rect rect;
    float *embedding;
    size_t image;    /* index among the job's images; n_images: none of them */
    int64_t chip;    /* of that image's grid; -1: none */
    uint32_t window; /* among those that are to be embedded; NO_WINDOW: none */
};

static size_t find_image(const struct job_state *state, const char *image_id)
{
    size_t i = 0;
    while (i < state->job->n_images && strcmp(state->job->image_ids[i], image_id) != 0)
        i++;
    return i;
}

static int compare_examples(const void *a, const void *b)
{
    const struct job_example *p = a, *q = b;
    int order = strcmp(p->image_id, q->image_id);
    /* Embeddings lie in the support set's order: equal images keep it. */
    return order != 0 ? order : (p->embedding > q->embedding) - (p->embedding < q->embedding);
}

static void list(struct job_examples *examples, const struct job_state *state)
{
    const struct db_support_set *set = &state->set;
    size_t k = 0;
    for (size_t c = 0; c < set->n_classes; c++) {
        const struct db_class *class = &set->classes[c];
        for (size_t i = 0; i < class->n_examples; i++, k++) {
            const struct db_example *example = &class->examples[i];
            struct job_example *item = &examples->items[k];
            *item = (struct job_example){
                .image_id = example->image_id,
                .rect = {example->x, example->y, set->chip_width, set->chip_height},
                .embedding = examples->embeddings + k * state->dimension,
                .image = find_image(state, example->image_id),
                .chip = -1,
                .window = NO_WINDOW,
            };
            if (item->image < state->job->n_images)
                item->chip = grid_find(&state->images[item->image].grid, &item->rect);
            examples->classes[k] = (uint32_t)c;
        }
    }
    qsort(examples->items, examples->n, sizeof(examples->items[0]), compare_examples);
}

/* ---- windows: examples that are no chips of the job's grids ---- */

static int check_window(const struct job_image *image, const struct chip_rect *rect,
                        struct error *err)
{
    struct error inner = {0};
    int rc = chip_rect_check(rect, image->row.width, image->row.height, &inner);
    return rc < 0 ? error_set(err, ERROR_CORRUPT, "support set: an example in image %s: %.300s",
                              image->row.id, inner.message)
                  : 0;
}

/* Finds a window's embedding without the image: its own in the cache, or its image's maps. */
static bool find_window(struct job_state *state, const struct job_image *image,
                        const struct chip_rect *rect, float *out)
{
    struct embed_maps maps = {0};
    if (job_embeddings_get_window(state, image, rect, out))
        return true;
    const double start = clock_now_seconds();
    const bool found = job_maps_load_window(state, image, rect, &maps);
    if (found)
        embed_from_maps(state->encoder->embedder, &maps, rect->x, rect->y, out);
    embed_maps_clear(&maps);
    job_time(state, JOB_PART_CACHE, start);
    if (found)
        job_embeddings_put_window(state, image, rect, out);
    return found;
}

/* Embeds windows of an image that is decoded for them, a part at a time: a job stops in between. */
static int embed_windows(struct job_state *state, const struct job_image *image,
                         const struct job_windows *windows, struct error *err)
{
    struct image pixels = {0};
    int rc = windows->n > 0 ? job_pixels_load(state, image, &pixels, err) : 0;
    const double start = clock_now_seconds();
    for (uint32_t i = 0; i < windows->n && rc == 0; i += WINDOWS_PART) {
        const uint32_t n = windows->n - i < WINDOWS_PART ? windows->n - i : WINDOWS_PART;
        rc = job_check_stop(state, err);
        if (rc == 0)
            rc = embed_rects(state->encoder->embedder, state->lane, pixels.pixels, image->row.width,
                             image->row.height, windows->rects + i, n, 1,
                             windows->embeddings + (size_t)i * state->dimension, err);
    }
    job_time(state, JOB_PART_ENCODE, start);
    image_clear(&pixels);
    if (rc == 0)
        metrics_add(state->engine->metrics, METRIC_CHIPS_ENCODED, windows->n);
    return rc;
}

static struct job_windows windows_of(const struct job_examples *examples,
                                     const struct job_state *state, uint32_t first, uint32_t n)
{
    return (struct job_windows){.rects = examples->rects + first,
                                .embeddings =
                                    examples->window_embeddings + (size_t)first * state->dimension,
                                .n = n};
}

/* Gives the windows first .. first + n - 1 to their examples, and to the cache. */
static void settle_windows(struct job_examples *examples, struct job_state *state,
                           const struct job_image *image, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < examples->n; i++) {
        struct job_example *item = &examples->items[i];
        if (item->window < first || item->window >= first + n)
            continue;
        memcpy(item->embedding, examples->window_embeddings + item->window * state->dimension,
               state->dimension * sizeof(float));
        job_embeddings_put_window(state, image, &item->rect, item->embedding);
        item->window = NO_WINDOW;
    }
}

/* Those of `n` examples, all of one image, that are no chips of a grid: what is found is settled.
 * The others are embedded now, unless they are pooled when the image is encoded densely. */
static int settle_examples(struct job_examples *examples, struct job_state *state, size_t first,
                           size_t n, struct error *err)
{
    const struct job_example *items = examples->items + first;
    const bool is_in_job = items->image < state->job->n_images;
    const uint32_t first_window = examples->n_windows;
    struct job_image other = {0};
    const struct job_image *image = is_in_job ? &state->images[items->image] : &other;
    int rc = is_in_job ? 0 : db_image_get(state->engine->db, items->image_id, &other.row, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct job_example *item = &examples->items[first + i];
        rc = item->chip < 0 ? check_window(image, &item->rect, err) : 0;
        if (rc == 0)
            rc = job_check_stop(state, err);
        if (rc < 0 || item->chip >= 0 || find_window(state, image, &item->rect, item->embedding))
            continue;
        examples->rects[examples->n_windows] = item->rect;
        item->window = examples->n_windows++;
    }
    const uint32_t n_windows = examples->n_windows - first_window;
    const bool is_pooled =
        is_in_job && embedder_encoding(state->encoder->embedder) == ENCODING_DENSE;
    if (rc == 0 && !is_pooled) {
        const struct job_windows windows = windows_of(examples, state, first_window, n_windows);
        rc = embed_windows(state, image, &windows, err);
        if (rc == 0)
            settle_windows(examples, state, image, first_window, n_windows);
    }
    db_image_clear(&other.row);
    return rc;
}

int job_examples_create(struct job_examples *out, struct job_state *state, struct error *err)
{
    struct job_examples examples = {0};
    size_t n = 0;
    for (size_t c = 0; c < state->set.n_classes; c++)
        n += state->set.classes[c].n_examples;
    if (n == 0 || n > CLASSIFIER_EXAMPLES_MAX)
        return error_set(err, ERROR_CORRUPT, "support set: %zu examples are not within 1..%d", n,
                         CLASSIFIER_EXAMPLES_MAX);
    examples.n = (uint32_t)n;
    examples.items = calloc(n, sizeof(examples.items[0]));
    examples.embeddings = calloc(n * state->dimension, sizeof(float));
    examples.classes = calloc(n, sizeof(uint32_t));
    examples.rects = calloc(n, sizeof(examples.rects[0]));
    examples.window_embeddings = calloc(n * state->dimension, sizeof(float));
    int rc = 0;
    if (examples.items == NULL || examples.embeddings == NULL || examples.classes == NULL ||
        examples.rects == NULL || examples.window_embeddings == NULL)
        rc = error_set_nomem(err, "a support set");
    else
        list(&examples, state);
    for (size_t first = 0; first < n && rc == 0;) {
        const struct job_example *items = examples.items;
        size_t end = first;
        while (end < n && strcmp(items[end].image_id, items[first].image_id) == 0)
            end++;
        rc = settle_examples(&examples, state, first, end - first, err);
        first = end;
    }
    if (rc < 0)
        job_examples_clear(&examples);
    else
        *out = examples;
    return rc;
}

void job_examples_clear(struct job_examples *examples)
{
    free(examples->items);
    free(examples->embeddings);
    free(examples->classes);
    free(examples->rects);
    free(examples->window_embeddings);
    *examples = (struct job_examples){0};
}

bool job_examples_need(const struct job_examples *examples, size_t image)
{
    for (uint32_t i = 0; i < examples->n; i++) {
        const struct job_example *item = &examples->items[i];
        if (item->image == image && (item->chip >= 0 || item->window != NO_WINDOW))
            return true;
    }
    return false;
}

struct job_windows job_examples_windows(const struct job_examples *examples,
                                        const struct job_state *state, size_t image)
{
    uint32_t first = 0, n = 0;
    for (uint32_t i = 0; i < examples->n; i++) {
        const struct job_example *item = &examples->items[i];
        if (item->image != image || item->window == NO_WINDOW)
            continue;
        first = n == 0 || item->window < first ? item->window : first;
        n++;
    }
    return windows_of(examples, state, first, n);
}

int job_examples_take(struct job_examples *examples, struct job_state *state, size_t image,
                      const struct job_encoding *encoding, const struct embeddings *chips,
                      struct error *err)
{
    const struct job_windows windows = job_examples_windows(examples, state, image);
    int rc = 0;
    /* Where the chips were in the cache, but not the maps, nobody has pooled the windows. */
    if (windows.n > 0 && encoding->windows.n == 0)
        rc = embed_windows(state, &state->images[image], &windows, err);
    if (rc == 0 && windows.n > 0)
        settle_windows(examples, state, &state->images[image],
                       (uint32_t)(windows.rects - examples->rects), windows.n);
    for (uint32_t i = 0; i < examples->n && rc == 0; i++) {
        const struct job_example *item = &examples->items[i];
        if (item->image == image && item->chip >= 0)
            rc = embeddings_get(chips, (uint64_t)item->chip, item->embedding, err);
    }
    return rc;
}
