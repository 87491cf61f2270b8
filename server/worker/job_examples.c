/* Reproducibility: an example that is a chip of the job's own grid takes its embedding from those
 * of that grid, any other example is embedded in a batch of its own. Which of the two holds
 * depends on the job alone, never on what the cache happens to hold, so the same job gives the same
 * bytes.
 */
#include "server/worker/job_examples.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/fewshot/classifier.h"
#include "server/worker/job_embeddings.h"
#include "server/worker/job_pixels.h"

/* One example and the place of its embedding. */
struct job_example {
    const char *image_id;
    struct chip_rect rect;
    float *embedding;
    size_t image; /* index among the job's images; n_images: none of them */
    int64_t chip; /* of that image's grid; -1: none */
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
            };
            if (item->image < state->job->n_images)
                item->chip = grid_find(&state->images[item->image].grid, &item->rect);
            examples->classes[k] = (uint32_t)c;
        }
    }
    qsort(examples->items, examples->n, sizeof(examples->items[0]), compare_examples);
}

/* Embeds a window that is no chip of the job's grids, in a batch of its own; `pixels` is decoded
 * when first needed. */
static int embed_window(struct job_state *state, const struct job_image *image,
                        const struct chip_rect *rect, struct image *pixels, float *out,
                        struct error *err)
{
    struct error inner = {0};
    if (job_embeddings_get_window(state, image, rect, out))
        return 0;
    int rc = chip_rect_check(rect, image->row.width, image->row.height, &inner);
    if (rc < 0)
        return error_set(err, ERROR_CORRUPT, "support set: an example in image %s: %.300s",
                         image->row.id, inner.message);
    if (pixels->pixels == NULL)
        rc = job_pixels_load(state, image, pixels, err);
    if (rc < 0)
        return rc;
    const double start = clock_now_seconds();
    rc = embed_rects(state->encoder->embedder, state->lane, pixels->pixels, image->row.width,
                     image->row.height, rect, 1, 1, out, err);
    job_time(state, JOB_PART_ENCODE, start);
    if (rc == 0) {
        metrics_add(state->engine->metrics, METRIC_CHIPS_ENCODED, 1);
        job_embeddings_put_window(state, image, rect, out);
    }
    return rc;
}

/* Embeds those of `n` examples, all of one image, that are no chips of a grid. */
static int embed_windows(struct job_state *state, const struct job_example *items, size_t n,
                         struct error *err)
{
    struct job_image other = {0};
    struct image pixels = {0};
    const struct job_image *image = NULL;
    int rc = 0;
    if (items[0].image < state->job->n_images) {
        image = &state->images[items[0].image];
    } else {
        rc = db_image_get(state->engine->db, items[0].image_id, &other.row, err);
        image = &other;
    }
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = job_check_stop(state, err);
        if (rc == 0 && items[i].chip < 0)
            rc = embed_window(state, image, &items[i].rect, &pixels, items[i].embedding, err);
    }
    image_clear(&pixels);
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
    int rc = 0;
    if (examples.items == NULL || examples.embeddings == NULL || examples.classes == NULL)
        rc = error_set_nomem(err, "a support set");
    else
        list(&examples, state);
    for (size_t first = 0; first < n && rc == 0;) {
        const struct job_example *items = examples.items;
        size_t end = first;
        while (end < n && strcmp(items[end].image_id, items[first].image_id) == 0)
            end++;
        rc = embed_windows(state, items + first, end - first, err);
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
    *examples = (struct job_examples){0};
}

bool job_examples_need(const struct job_examples *examples, size_t image)
{
    for (uint32_t i = 0; i < examples->n; i++) {
        if (examples->items[i].image == image && examples->items[i].chip >= 0)
            return true;
    }
    return false;
}

int job_examples_take(struct job_examples *examples, size_t image, const struct embeddings *chips,
                      struct error *err)
{
    int rc = 0;
    for (uint32_t i = 0; i < examples->n && rc == 0; i++) {
        const struct job_example *item = &examples->items[i];
        if (item->image == image && item->chip >= 0)
            rc = embeddings_get(chips, (uint64_t)item->chip, item->embedding, err);
    }
    return rc;
}
