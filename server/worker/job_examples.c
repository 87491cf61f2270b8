/* Reproducibility: an example that is a chip of the job's own grid takes its embedding from those
 * of that grid, any other example is embedded in a batch of its own. Which of the two holds
 * depends on the job alone, never on what the cache happens to hold, so the same job gives the same
 * bytes. In dense encoding a window has the same bytes whoever pools it.
 *
 * A window has an entry of its own in the cache. Many of one image whose maps are kept have none:
 * to pool them again takes less than that many files.
 */
#include "server/worker/job_examples.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/fewshot/classifier.h"
#include "server/worker/job_embeddings.h"
#include "server/worker/job_maps.h"
#include "server/worker/job_pixels.h"

#define NO_WINDOW UINT32_MAX

enum {
    WINDOWS_PART = 64,
    ENTRIES_MAX = 64, /* windows of an image whose maps are kept: more have no entries */
};

/* One example and the place of its embedding. */
struct job_example {
    const char *image_id, *class_name;
    struct chip_rect rect;
    float *embedding;
    size_t image;    /* index among the job's images and the others */
    int64_t chip;    /* of that image's grid; -1: none */
    uint32_t window; /* among those that are to be embedded; NO_WINDOW: none */
};

static size_t find_image(const struct job_state *state, const char *image_id)
{
    size_t i = 0;
    while (i < state->n_images && strcmp(state->images[i].row.id, image_id) != 0)
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
                .class_name = class->name,
                .rect = {example->x, example->y, set->chip_width, set->chip_height},
                .embedding = examples->embeddings + k * state->dimension,
                .image = find_image(state, example->image_id),
                .chip = -1,
                .window = NO_WINDOW,
            };
            if (item->image < state->job->n_images)
                item->chip = grid_find(&state->images[item->image].grid, &item->rect);
            examples->classes[k] = (uint32_t)c;
            examples->image_of[k] = item->image;
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

/* Pools windows of an image whose maps are in the cache; *found says whether they are there. */
static int pool_windows(struct job_state *state, const struct job_image *image,
                        const struct job_windows *windows, bool *found, struct error *err)
{
    struct embed_maps maps = {0};
    const double start = clock_now_seconds();
    int rc = 0;
    *found =
        windows->n > 0 && job_maps_load_windows(state, image, windows->rects, windows->n, &maps);
    for (uint32_t i = 0; i < windows->n && *found && rc == 0; i++) {
        rc = job_check_stop(state, err);
        if (rc == 0)
            embed_from_maps(state->encoder->embedder, &maps, windows->rects[i].x,
                            windows->rects[i].y,
                            windows->embeddings + (size_t)i * state->dimension);
    }
    embed_maps_clear(&maps);
    job_time(state, JOB_PART_CACHE, start);
    if (*found)
        metrics_add(state->engine->metrics, METRIC_CACHE_HITS, windows->n);
    return rc;
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
                             image->row.height, windows->rects + i, n, 1, &state->cancel,
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

static bool are_many(const struct job_windows *windows)
{
    return windows->n > ENTRIES_MAX;
}

static void keep_windows(struct job_state *state, const struct job_image *image,
                         const struct job_windows *windows)
{
    for (uint32_t i = 0; i < windows->n; i++)
        job_embeddings_put_window(state, image, &windows->rects[i],
                                  windows->embeddings + (size_t)i * state->dimension);
}

/* Gives the windows first .. first + n - 1 to their examples. */
static void settle_windows(struct job_examples *examples, const struct job_state *state,
                           uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < examples->n; i++) {
        struct job_example *item = &examples->items[i];
        if (item->window < first || item->window >= first + n)
            continue;
        memcpy(item->embedding, examples->window_embeddings + item->window * state->dimension,
               state->dimension * sizeof(float));
        item->window = NO_WINDOW;
    }
}

/* Lists those of `n` examples, all of one image, that are no chips of a grid. */
static int list_windows(struct job_examples *examples, const struct job_image *image, size_t first,
                        size_t n, struct error *err)
{
    int rc = 0;
    for (size_t i = first; i < first + n && rc == 0; i++) {
        struct job_example *item = &examples->items[i];
        if (item->chip >= 0)
            continue;
        rc = check_window(image, &item->rect, err);
        examples->rects[examples->n_windows] = item->rect;
        item->window = examples->n_windows++;
    }
    return rc;
}

/* Takes the windows that have entries off the list's end, which begins at window `first_window`. */
static int find_windows(struct job_examples *examples, struct job_state *state,
                        const struct job_image *image, size_t first, size_t n,
                        uint32_t first_window, struct error *err)
{
    int rc = 0;
    examples->n_windows = first_window;
    for (size_t i = first; i < first + n && rc == 0; i++) {
        struct job_example *item = &examples->items[i];
        if (item->window == NO_WINDOW)
            continue;
        rc = job_check_stop(state, err);
        if (job_embeddings_get_window(state, image, &item->rect, item->embedding)) {
            item->window = NO_WINDOW;
            continue;
        }
        examples->rects[examples->n_windows] = item->rect;
        item->window = examples->n_windows++;
    }
    return rc;
}

static struct job_windows windows_from(const struct job_examples *examples,
                                       const struct job_state *state, uint32_t first_window)
{
    return windows_of(examples, state, first_window, examples->n_windows - first_window);
}

/* Settles the windows at the list's end if the image's maps are in the cache, which *found says. */
static int settle_from_maps(struct job_examples *examples, struct job_state *state,
                            const struct job_image *image, uint32_t first_window, bool *found,
                            struct error *err)
{
    const struct job_windows windows = windows_from(examples, state, first_window);
    int rc = pool_windows(state, image, &windows, found, err);
    if (rc < 0 || !*found)
        return rc;
    if (!are_many(&windows))
        keep_windows(state, image, &windows);
    settle_windows(examples, state, first_window, windows.n);
    return 0;
}

/* Embeds windows that nothing was found of now, but for those that are pooled when the image is
 * encoded densely. */
static int embed_missing(struct job_examples *examples, struct job_state *state,
                         const struct job_image *image, uint32_t first_window, bool is_encoded,
                         struct error *err)
{
    const struct job_windows windows = windows_from(examples, state, first_window);
    if (is_encoded && embedder_encoding(state->encoder->embedder) == ENCODING_DENSE)
        return 0;
    int rc = embed_windows(state, image, &windows, err);
    if (rc < 0)
        return rc;
    keep_windows(state, image, &windows);
    settle_windows(examples, state, first_window, windows.n);
    return 0;
}

static int refuse_masked(const struct job_image *image, const struct job_example *item,
                         struct error *err)
{
    return error_set(err, ERROR_INVALID,
                     "support set: an example of class '%.100s', at %" PRIu32 ", %" PRIu32
                     " of image %s: more than half of it is not analysed. Take another one, or "
                     "change the mask (PUT /v1/images/%s/mask, which also refuses what was "
                     "proposed)",
                     item->class_name, item->rect.x, item->rect.y, image->row.id, image->row.id);
}

/* An example cannot stand for its class where the image is left out. */
static int check_mask(const struct job_state *state, const struct job_image *image,
                      const struct job_example *items, size_t n, struct error *err)
{
    struct mask mask = {0};
    if (image_mask_is_empty(&image->mask))
        return 0;
    int rc = job_image_draw_mask(state, image, &mask, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = check_window(image, &items[i].rect, err);
        if (rc == 0 && mask_leaves_out(&mask, &items[i].rect))
            rc = refuse_masked(image, &items[i], err);
    }
    mask_clear(&mask);
    return rc;
}

/* Of `n` examples, all of one image. */
static int settle_examples(struct job_examples *examples, struct job_state *state, size_t first,
                           size_t n, struct error *err)
{
    const struct job_example *items = examples->items + first;
    const uint32_t first_window = examples->n_windows;
    const struct job_image *image = &examples->images[items->image];
    const bool is_encoded = items->image < state->job->n_images || examples->encodes_all;
    bool found = false;
    int rc = check_mask(state, image, items, n, err);
    if (rc == 0)
        rc = list_windows(examples, image, first, n, err);
    const struct job_windows windows = windows_from(examples, state, first_window);
    if (rc == 0 && are_many(&windows))
        rc = settle_from_maps(examples, state, image, first_window, &found, err);
    if (rc == 0 && !found)
        rc = find_windows(examples, state, image, first, n, first_window, err);
    if (rc == 0 && !found && !are_many(&windows))
        rc = settle_from_maps(examples, state, image, first_window, &found, err);
    if (rc == 0 && !found)
        rc = embed_missing(examples, state, image, first_window, is_encoded, err);
    return rc;
}

int job_examples_create(struct job_examples *out, struct job_state *state, struct job_image *images,
                        bool encodes_all, struct error *err)
{
    struct job_examples examples = {.images = images, .encodes_all = encodes_all};
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
    examples.image_of = calloc(n, sizeof(size_t));
    examples.rects = calloc(n, sizeof(examples.rects[0]));
    examples.window_embeddings = calloc(n * state->dimension, sizeof(float));
    int rc = 0;
    if (examples.items == NULL || examples.embeddings == NULL || examples.classes == NULL ||
        examples.image_of == NULL || examples.rects == NULL || examples.window_embeddings == NULL)
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
    free(examples->image_of);
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
        rc = embed_windows(state, &examples->images[image], &windows, err);
    if (rc == 0 && (encoding->maps.n == 0 || !are_many(&windows)))
        keep_windows(state, &examples->images[image], &windows);
    if (rc == 0 && windows.n > 0)
        settle_windows(examples, state, (uint32_t)(windows.rects - examples->rects), windows.n);
    for (uint32_t i = 0; i < examples->n && rc == 0; i++) {
        const struct job_example *item = &examples->items[i];
        if (item->image == image && item->chip >= 0)
            rc = embeddings_get(chips, (uint64_t)item->chip, item->embedding, err);
    }
    return rc;
}

uint32_t job_examples_chips(const struct job_examples *examples, const struct job_state *state,
                            size_t image, struct example_chip *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < examples->n; i++) {
        const struct job_example *item = &examples->items[i];
        const size_t place = (size_t)(item->embedding - examples->embeddings) / state->dimension;
        if (item->image == image && item->chip >= 0)
            out[n++] = (struct example_chip){(uint64_t)item->chip, examples->classes[place]};
    }
    return n;
}
