#include "server/worker/job_reference.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/image_counts.h"
#include "base/clock.h"
#include "engine/image/normalise_pool.h"
#include "server/worker/job_keys.h"
#include "server/worker/job_pixels.h"
#include "server/worker/stored_file.h"

/* Ranges are alike whose ends lie nearer than this share of the range. Below it, to stretch an
 * image again moves its vectors less than another draw of the examples moves the classes. */
static const double ALIKE = 0.03;

/* An image that has less than this share of the range is flat: its own stretch shows what is left
 * of noise, and its vectors vary by where the image ends. */
static const double FLAT = 0.01;

/* ---- the images ---- */

struct sorting {
    const struct job_image *images;
};

/* By what they show: the order of a job's images says nothing. */
static int compare_images(const void *a, const void *b, void *context)
{
    const struct sorting *sorting = context;
    const struct db_image *p = &sorting->images[*(const size_t *)a].row;
    const struct db_image *q = &sorting->images[*(const size_t *)b].row;
    const int files = strcmp(p->sha256, q->sha256);
    if (files != 0)
        return files;
    if (p->frame != q->frame)
        return p->frame < q->frame ? -1 : 1;
    return strcmp(p->id, q->id);
}

static void list_holders(struct job_reference *reference, const struct job_state *state)
{
    const struct db_support_set *set = &state->set;
    for (size_t i = 0; i < state->n_images; i++) {
        size_t n_classes = 0;
        for (size_t c = 0; c < set->n_classes; c++) {
            const struct db_class *class = &set->classes[c];
            size_t k = 0;
            while (k < class->n_examples &&
                   strcmp(class->examples[k].image_id, state->images[i].row.id) != 0)
                k++;
            n_classes += k < class->n_examples;
        }
        reference->holds[i] = n_classes > 0;
        reference->holds_all[i] = n_classes == set->n_classes;
    }
}

static int view_init(struct job_view *view, const struct job_state *state, struct error *err)
{
    view->references = calloc(state->n_images, sizeof(view->references[0]));
    return view->references == NULL ? error_set_nomem(err, "a job's references") : 0;
}

static void view_clear(struct job_view *view, const struct job_state *state)
{
    job_examples_clear(&view->examples);
    for (size_t i = 0; view->references != NULL && i < state->n_images; i++)
        reference_clear(&view->references[i]);
    free(view->references);
    free(view->of_examples);
}

int job_reference_create(struct job_reference *out, struct job_state *state, struct error *err)
{
    const size_t n = state->n_images;
    const enum classifier_transform transform = state->params.classifier.transform;
    struct sorting sorting = {state->images};
    *out = (struct job_reference){
        .is_measured = state->params.reference != REFERENCE_TARGET &&
                       (transform == CLASSIFIER_TRANSFORM_CL2N ||
                        transform == CLASSIFIER_TRANSFORM_STANDARDISE),
        .holds = calloc(n, sizeof(bool)),
        .holds_all = calloc(n, sizeof(bool)),
        .order = calloc(n, sizeof(size_t)),
        .is_shared = calloc(n, sizeof(bool)),
        .is_flat = calloc(n, sizeof(bool)),
    };
    out->own.images = state->images;
    out->shared.images = calloc(n, sizeof(out->shared.images[0]));
    if (out->holds == NULL || out->holds_all == NULL || out->order == NULL ||
        out->is_shared == NULL || out->is_flat == NULL || out->shared.images == NULL)
        return error_set_nomem(err, "a job's references");
    memcpy(out->shared.images, state->images, n * sizeof(state->images[0]));
    for (size_t i = 0; i < n; i++)
        out->order[i] = i;
    qsort_r(out->order, n, sizeof(out->order[0]), compare_images, &sorting);
    list_holders(out, state);
    int rc = view_init(&out->own, state, err);
    return rc < 0 ? rc : view_init(&out->shared, state, err);
}

void job_reference_clear(struct job_reference *reference, const struct job_state *state)
{
    view_clear(&reference->own, state);
    view_clear(&reference->shared, state);
    reference_clear(&reference->pooled);
    free(reference->shared.images);
    free(reference->holds);
    free(reference->holds_all);
    free(reference->order);
    free(reference->is_shared);
    free(reference->is_flat);
    *reference = (struct job_reference){0};
}

int job_view_begin(struct job_reference *reference, struct job_view *view, struct job_state *state,
                   struct error *err)
{
    int rc = job_examples_create(&view->examples, state, view->images, reference->is_measured, err);
    if (rc < 0)
        return rc;
    view->of_examples = calloc(view->examples.n, sizeof(view->of_examples[0]));
    if (view->of_examples == NULL)
        return error_set_nomem(err, "a support set");
    for (uint32_t i = 0; i < view->examples.n; i++)
        view->of_examples[i] = &view->references[view->examples.image_of[i]];
    return 0;
}

/* ---- grey levels ---- */

/* An image's levels as they are counted when it is uploaded; NULL: they are not, or it has none, or
 * values are not as they were then. The caller's. */
static uint32_t *load_counts(struct job_state *state, const struct job_image *image,
                             struct image_info *info, struct error *err)
{
    char text[JOB_IMAGE_TEXT];
    struct store_file file = {0};
    struct image_source source;
    uint32_t *counts = NULL;
    const struct db_image *row = &image->row;
    if (!image_mask_is_empty(&image->mask) ||
        state->params.normalise.flatten.method != FLATTEN_NONE)
        return NULL;
    if (stored_file_open_unchecked(state->engine->store, job_image_text(image, text), row->sha256,
                                   &file, err) < 0)
        return NULL;
    const struct image_request request = {.data = file.data,
                                          .size = file.size,
                                          .limits = &state->engine->limits->image,
                                          .frame = row->frame,
                                          .trust = IMAGE_CHECKED,
                                          .cancel = &state->cancel};
    if (image_open(&request, &source, err) == 0) {
        const uint32_t n_levels = sample_type_n_levels(source.info.type);
        *info = source.info;
        image_source_close(&source);
        counts = n_levels > 0 ? calloc(n_levels, sizeof(counts[0])) : NULL;
        if (counts != NULL &&
            !image_counts_get(state->engine->cache, row->sha256, row->frame, "",
                              (uint64_t)row->width * row->height, counts, n_levels)) {
            free(counts);
            counts = NULL;
        }
    }
    store_file_close(&file);
    return counts;
}

/* Shows an image to the pool, by its levels where these are counted. */
static int show(struct job_state *state, const struct job_image *image, struct normalise_pool *pool,
                struct error *err)
{
    const struct normalise_params *params = &state->params.normalise;
    struct image_info info;
    struct image pixels = {0};
    struct normalise_range own;
    struct error ignored = {0};
    int rc = job_check_stop(state, err);
    uint32_t *counts = rc == 0 ? load_counts(state, image, &info, &ignored) : NULL;
    if (counts != NULL) {
        rc = normalise_find_level_range(params, counts, info.type, &info.full_scale, &own, err);
        if (rc == 0)
            normalise_pool_add_levels(pool, &own, counts, info.type);
        free(counts);
        return rc;
    }
    if (rc == 0)
        rc = job_pixels_load_values(state, image, &pixels, err);
    if (rc == 0)
        rc = flatten_apply(&params->flatten, pixels.pixels, image->row.width, image->row.height,
                           &state->cancel, err);
    if (rc == 0)
        rc = normalise_find_range(params, pixels.pixels, image->row.width, image->row.height,
                                  &pixels.info.full_scale, &state->cancel, &own, err);
    if (rc == 0)
        normalise_pool_add(pool, &own, pixels.pixels, (size_t)image->row.width * image->row.height);
    image_clear(&pixels);
    return rc;
}

/* Some of the state's images, in the order of what they show. */
struct selection {
    const struct job_image **images;
    size_t n;
};

/* All that is asked of them, and of nobody else; malloc'd, NULL when out of memory. */
static char *range_key(const struct job_state *state, const struct selection *selection)
{
    enum { HEAD = 128 + FLATTEN_KEY_SIZE, EACH = DB_SHA256_SIZE + MASK_NAME_SIZE + 32 };
    const struct normalise_params *n = &state->params.normalise;
    char flatten[FLATTEN_KEY_SIZE];
    const size_t size = HEAD + selection->n * EACH;
    char *key = malloc(size);
    if (key == NULL)
        return NULL;
    flatten_key(&n->flatten, flatten);
    size_t end =
        (size_t)snprintf(key, size, "range 1|%s %.17g %.17g %s%s", normalise_method_name(n->method),
                         n->low, n->high, normalise_outliers_name(n->outliers), flatten);
    for (size_t i = 0; i < selection->n; i++) {
        const struct db_image *row = &selection->images[i]->row;
        end += (size_t)snprintf(key + end, size - end, "|%s#%" PRIu32 " %s", row->sha256,
                                row->frame, selection->images[i]->mask.parts.name);
    }
    return key;
}

static int pool_range(struct job_state *state, const struct selection *selection,
                      struct sample_range *out, struct error *err)
{
    struct normalise_pool *pool = NULL;
    int rc = normalise_pool_create(&pool, &state->params.normalise, err);
    if (rc < 0)
        return rc;
    do {
        for (size_t i = 0; i < selection->n && rc == 0; i++)
            rc = show(state, selection->images[i], pool, err);
    } while (rc == 0 && normalise_pool_again(pool));
    if (rc == 0)
        normalise_pool_range(pool, out);
    normalise_pool_destroy(pool);
    return rc;
}

static int find_range(struct job_state *state, const struct selection *selection,
                      struct sample_range *out, struct error *err)
{
    enum { WORDS = sizeof(struct sample_range) / sizeof(uint32_t) };
    char *key = range_key(state, selection);
    if (key == NULL)
        return error_set_nomem(err, "a range of grey levels");
    int rc = 0;
    if (cache_get(state->engine->cache, key, 1, WORDS, out, NULL) != 0) {
        rc = pool_range(state, selection, out, err);
        if (rc == 0)
            cache_put(state->engine->cache, key, 1, WORDS, out, NULL);
    }
    free(key);
    return rc;
}

static bool is_in_pool(const struct job_reference *reference, const struct job_state *state,
                       size_t image)
{
    return reference->holds[image] || state->params.reference == REFERENCE_SERIES;
}

/* The images that share their levels with `image`: values of other depths are no common scale. */
static int select_shared(const struct job_reference *reference, const struct job_state *state,
                         size_t image, struct selection *out, struct error *err)
{
    *out = (struct selection){.images = calloc(state->n_images, sizeof(out->images[0]))};
    if (out->images == NULL)
        return error_set_nomem(err, "a range of grey levels");
    for (size_t k = 0; k < state->n_images; k++) {
        const size_t i = reference->order[k];
        if (is_in_pool(reference, state, i) &&
            state->images[i].row.bit_depth == state->images[image].row.bit_depth)
            out->images[out->n++] = &state->images[i];
    }
    return 0;
}

static bool are_alike(const struct sample_range *own, const struct sample_range *shared)
{
    const double most = ALIKE * (shared->high - shared->low);
    return fabs(own->low - shared->low) <= most && fabs(own->high - shared->high) <= most;
}

int job_reference_share(struct job_reference *reference, struct job_state *state, size_t image,
                        struct error *err)
{
    struct job_image *shared = &reference->shared.images[image];
    const struct job_image *own = &state->images[image];
    const struct selection alone = {.images = &own, .n = 1};
    struct selection together;
    struct sample_range range = {0}, own_range = {0};
    if (reference->is_shared[image] || state->params.normalise.method == NORMALISE_NONE)
        return 0;
    int rc = select_shared(reference, state, image, &together, err);
    if (rc == 0 && together.n > 0) {
        rc = find_range(state, &together, &range, err);
        if (rc == 0)
            rc = find_range(state, &alone, &own_range, err);
        if (rc == 0 && !are_alike(&own_range, &range))
            shared->normalise.given = (struct normalise_given){true, range.low, range.high};
        reference->is_flat[image] =
            own_range.high - own_range.low <= FLAT * (range.high - range.low);
    }
    reference->is_shared[image] = rc == 0;
    free(together.images);
    return rc;
}

/* ---- statistics ---- */

/* How they lie in the cache: the number of chips, the means, the squares. */
static uint64_t n_words(const struct job_state *state)
{
    return (1 + 2 * (uint64_t)state->dimension) * (sizeof(double) / sizeof(uint32_t));
}

bool job_view_has(struct job_view *view, struct job_state *state, size_t image)
{
    struct reference *out = &view->references[image];
    char key[JOB_KEY_SIZE];
    if (out->n_chips > 0)
        return true;
    const uint32_t dimension = state->dimension;
    struct reference found = {0};
    double *words = malloc(n_words(state) * sizeof(uint32_t));
    job_key_of_reference(state, &view->images[image], key);
    const double start = clock_now_seconds();
    bool is_there =
        words != NULL && cache_get(state->engine->cache, key, 1, n_words(state), words, NULL) == 0;
    job_time(state, JOB_PART_CACHE, start);
    is_there = is_there && words[0] >= 1.0 && reference_init(&found, dimension, NULL) == 0;
    if (is_there) {
        found.n_chips = (uint64_t)words[0];
        memcpy(found.mean, words + 1, dimension * sizeof(double));
        memcpy(found.squares, words + 1 + dimension, dimension * sizeof(double));
        *out = found;
    }
    free(words);
    return is_there;
}

/* Without the entry nothing is lost but time. */
static void keep(const struct job_view *view, struct job_state *state, size_t image)
{
    const struct reference *reference = &view->references[image];
    const uint32_t dimension = state->dimension;
    char key[JOB_KEY_SIZE];
    double *words = malloc(n_words(state) * sizeof(uint32_t));
    if (words == NULL)
        return;
    words[0] = (double)reference->n_chips;
    memcpy(words + 1, reference->mean, dimension * sizeof(double));
    memcpy(words + 1 + dimension, reference->squares, dimension * sizeof(double));
    job_key_of_reference(state, &view->images[image], key);
    cache_put(state->engine->cache, key, 1, n_words(state), words, NULL);
    free(words);
}

int job_view_take(struct job_view *view, struct job_state *state, size_t image,
                  const struct embeddings *chips, struct error *err)
{
    if (job_view_has(view, state, image) || embeddings_n_analysed(chips, 0, chips->n_chips) == 0)
        return 0;
    const double start = clock_now_seconds();
    int rc = reference_take(&view->references[image], chips, state->lane, err);
    job_time(state, JOB_PART_CLASSIFY, start);
    if (rc == 0)
        keep(view, state, image);
    return rc;
}

int job_reference_pool(struct job_reference *reference, struct job_state *state, struct error *err)
{
    int rc = reference_init(&reference->pooled, state->dimension, err);
    for (size_t k = 0; k < state->n_images && rc == 0; k++) {
        struct reference *one = &reference->shared.references[reference->order[k]];
        if (is_in_pool(reference, state, reference->order[k]) && one->n_chips > 0)
            reference_add(&reference->pooled, one);
        reference_clear(one);
    }
    return rc;
}

bool job_reference_has_own(const struct job_reference *reference, size_t image)
{
    const struct job_view *own = &reference->own;
    bool varies = reference_varies(&own->references[image]);
    for (uint32_t i = 0; i < own->examples.n && varies; i++) {
        /* Examples of an image follow each other, nearly. */
        if (i == 0 || own->of_examples[i] != own->of_examples[i - 1])
            varies = reference_varies(own->of_examples[i]);
    }
    return (varies || !reference->is_measured) && !reference->is_flat[image];
}

struct references job_reference_of(const struct job_reference *reference,
                                   const struct job_view *view, size_t image)
{
    if (!reference->is_measured)
        return (struct references){0};
    if (view == &reference->own)
        return (struct references){.chips = &view->references[image],
                                   .examples = view->of_examples};
    return (struct references){.chips = &reference->pooled};
}
