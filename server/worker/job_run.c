/* A software pipeline over the job's images. A step needs the embeddings of one image; while the
 * workers embed the image of step k, the driver (this thread) stores the result of step k - 1 and
 * then reads, decodes and normalises the image of step k + 1, whose batches queue up behind those
 * of step k. Normalisation looks at all pixels, so the batches of one image cannot begin before it
 * is decoded as a whole. First come the images with examples, then all others: classifying needs
 * every example, and what the examples are measured by (job_reference.h).
 *
 * An image that is measured by itself, but does not lie near the examples then, is asked once more
 * in the shared view: a step within its step, since few images come to that.
 */
#include "server/worker/job_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "api/job/suggestions_text.h"
#include "base/clock.h"
#include "db/results/results.h"
#include "engine/fewshot/analysis.h"
#include "engine/fewshot/labels.h"
#include "server/worker/job_encoding.h"
#include "server/worker/job_health.h"
#include "server/worker/job_reference.h"

/* ---- results ---- */

_Static_assert((int)LABEL_UNDECIDED == (int)DB_LABEL_UNDECIDED &&
                   (int)LABEL_UNKNOWN == (int)DB_LABEL_UNKNOWN &&
                   (int)LABEL_NOT_ANALYSED == (int)DB_LABEL_NOT_ANALYSED,
               "the database and the engine agree on labels that are no class");

/* The statistics as the database takes them; NULL when out of memory. */
static struct db_quantity *make_quantities(const struct statistics *statistics)
{
    struct db_quantity *quantities = calloc(statistics->n_items, sizeof(*quantities));
    for (size_t i = 0; quantities != NULL && i < statistics->n_items; i++) {
        const struct statistic *item = &statistics->items[i];
        struct db_quantity *out = &quantities[i];
        *out = (struct db_quantity){.class_index = item->class_index,
                                    .value = item->value,
                                    .low = item->low,
                                    .high = item->high};
        snprintf(out->name, sizeof(out->name), "%s", item->name);
        snprintf(out->unit, sizeof(out->unit), "%s", item->unit);
    }
    return quantities;
}

static int store_result(struct job_state *state, struct job_image *image,
                        const struct analysis *analysis, struct error *err)
{
    const struct grid_params *grid = &image->grid.params;
    const struct classification *chips = &analysis->chips;
    struct db_result result = {
        .rows = image->grid.rows,
        .columns = image->grid.columns,
        .chip_width = grid->chip_width,
        .chip_height = grid->chip_height,
        .stride_x = grid->stride_x,
        .stride_y = grid->stride_y,
        .offset_x = grid->offset_x,
        .offset_y = grid->offset_y,
        .n_classes = chips->n_classes,
        .temperature = chips->temperature,
        .analysis = analysis_text_create(analysis),
        .suggestions = suggestions_text_create(&analysis->suggestions, &image->grid),
        .quantities = make_quantities(&analysis->statistics),
        .n_quantities = analysis->statistics.n_items,
        .labels = chips->labels,
        .probabilities = chips->probabilities,
        .distances = chips->distances,
        .raw_labels = chips->raw_labels,
    };
    snprintf(result.job_id, sizeof(result.job_id), "%s", state->job->id);
    snprintf(result.image_id, sizeof(result.image_id), "%s", image->row.id);
    snprintf(result.edge, sizeof(result.edge), "%s", grid_edge_name(grid->edge));
    int rc = result.quantities == NULL || result.analysis == NULL || result.suggestions == NULL
                 ? error_set_nomem(err, "a result's statistics")
                 : db_result_insert(state->engine->db, &result, state->lease,
                                    atomic_load(&state->control->n_chips_done), err);
    free(result.quantities);
    free(result.analysis);
    free(result.suggestions);
    return rc;
}

/* ---- steps ---- */

/* What is done with the embeddings of an image, once they are there. */
struct step {
    size_t image;
    struct job_view *view;
    bool take_examples;
    bool take_reference;
    bool classify;
};

/* What is found of one image. */
struct finding {
    struct analysis_reference reference;
    bool has_own; /* it can be measured by itself */
    bool is_done; /* its result is stored */
};

struct run {
    struct job_state *state;
    struct job_reference reference;
    struct job_health health;
    struct finding *asking; /* of the image that a step within its step is about; NULL: none */
};

static struct support support_of(const struct job_state *state, const struct job_view *view)
{
    return (struct support){
        .embeddings = view->examples.embeddings,
        .class_of = view->examples.classes,
        .n_examples = view->examples.n,
        .n_classes = (uint32_t)state->set.n_classes,
        .dimension = state->dimension,
    };
}

/* Classifies an image by a view and stores what comes out. */
static int classify_image(struct run *run, size_t image, const struct job_view *view,
                          const struct embeddings *chips, struct finding *finding,
                          struct error *err)
{
    struct job_state *state = run->state;
    const struct support support = support_of(state, view);
    const struct references references = job_reference_of(&run->reference, view, image);
    struct classifier_params params = state->params.classifier;
    params.references = &references;
    struct example_chip *example_chips = calloc(support.n_examples, sizeof(*example_chips));
    if (example_chips == NULL)
        return error_set_nomem(err, "an image's examples");
    const struct analysis_input input = {
        .classifier = &params,
        .support = &support,
        .grid = &state->images[image].grid,
        .chips = chips,
        .mask = &state->images[image].mask.parts,
        .uncounted = db_support_set_uncounted(&state->set),
        .borders = state->params.borders,
        .unknown = state->params.unknown,
        .smoothing = state->params.smoothing,
        .example_chips = example_chips,
        .n_example_chips = job_examples_chips(&view->examples, state, image, example_chips),
        .reference = state->params.reference == REFERENCE_TARGET ? NULL : &finding->reference,
        .ask_examples = job_health_wants(&run->health, state, &view->examples, image),
        .suggest = true,
    };
    struct analysis analysis = {0};
    double start = clock_now_seconds();
    int rc = analysis_run(&input, state->lane, &analysis, err);
    start = job_time(state, JOB_PART_CLASSIFY, start);
    if (rc == 0)
        rc = job_check_stop(state, err);
    if (rc == 0)
        rc = job_health_take(&run->health, state, &view->examples, image, &analysis.health, err);
    if (rc == 0) {
        rc = store_result(state, &state->images[image], &analysis, err);
        job_time(state, JOB_PART_STORE, start);
    }
    analysis_clear(&analysis);
    free(example_chips);
    finding->is_done = rc == 0;
    return rc;
}

/* ---- what an image is measured by ---- */

static int run_steps(struct run *run, const struct step *steps, size_t n, struct error *err);
static size_t plan_learning(struct run *run, struct job_view *view, struct step *steps);

static int measure(struct run *run, size_t image, const struct job_view *view,
                   const struct embeddings *chips, struct drift *out, struct error *err)
{
    struct job_state *state = run->state;
    const struct support support = support_of(state, view);
    const struct references references = job_reference_of(&run->reference, view, image);
    struct classifier_params params = state->params.classifier;
    params.references = &references;
    const double start = clock_now_seconds();
    int rc = drift_measure(&params, &support, chips, state->lane, out, err);
    job_time(state, JOB_PART_CLASSIFY, start);
    return rc;
}

/* Whether an image is one that shows nothing: it does not vary, and lies far from every class. */
static int judge_flat(struct run *run, size_t image, const struct embeddings *chips,
                      struct finding *finding, struct error *err)
{
    struct reference chips_own = {0};
    if (!run->reference.is_measured || !drift_is_undecided(&finding->reference.shared))
        return 0;
    int rc = reference_take(&chips_own, chips, run->state->lane, err);
    if (rc == 0 && (run->reference.is_flat[image] || !reference_varies(&chips_own)))
        finding->reference.undecided = ANALYSIS_FLAT;
    reference_clear(&chips_own);
    return rc;
}

/* Classifies an image by the shared view, unless its own brings it nearer. */
static int try_shared(struct run *run, size_t image, const struct embeddings *chips,
                      struct finding *finding, struct error *err)
{
    struct job_reference *reference = &run->reference;
    struct analysis_reference *found = &finding->reference;
    int rc = 0;
    if (reference->is_measured && reference->pooled.mean == NULL)
        rc = job_reference_pool(reference, run->state, err);
    const bool varies = !reference->is_measured || reference_varies(&reference->pooled);
    if (rc < 0 || (!varies && finding->has_own))
        return rc;
    if (varies && embeddings_n_analysed(chips, 0, chips->n_chips) > 0)
        rc = measure(run, image, &reference->shared, chips, &found->shared, err);
    if (rc < 0 || (finding->has_own && !drift_prefers_support(&found->own, &found->shared)))
        return rc;
    found->used = found->asked == REFERENCE_SERIES ? REFERENCE_SERIES : REFERENCE_SUPPORT;
    if (varies)
        rc = judge_flat(run, image, chips, finding, err);
    else
        found->undecided = ANALYSIS_UNMEASURED;
    return rc < 0 ? rc : classify_image(run, image, &reference->shared, chips, finding, err);
}

/* Makes the shared view: its images are those that hold examples, or all. */
static int learn_shared(struct run *run, struct error *err)
{
    struct job_state *state = run->state;
    struct job_reference *reference = &run->reference;
    struct step *steps = calloc(state->n_images, sizeof(steps[0]));
    int rc = steps == NULL ? error_set_nomem(err, "a job") : 0;
    for (size_t i = 0; i < state->n_images && rc == 0; i++) {
        if (reference->holds[i])
            rc = job_reference_share(reference, state, i, err);
    }
    if (rc == 0)
        rc = job_view_begin(reference, &reference->shared, state, err);
    if (rc == 0)
        rc = run_steps(run, steps, plan_learning(run, &reference->shared, steps), err);
    reference->is_ready = rc == 0;
    free(steps);
    return rc;
}

/* `chips` are those of the own view. */
static int ask_shared(struct run *run, size_t image, const struct embeddings *chips,
                      struct finding *finding, struct error *err)
{
    struct job_reference *reference = &run->reference;
    int rc = reference->is_ready ? 0 : learn_shared(run, err);
    if (rc == 0) /* unless it is known */
        rc = job_reference_share(reference, run->state, image, err);
    if (rc < 0)
        return rc;
    if (!reference->shared.images[image].normalise.given.is_given)
        return try_shared(run, image, chips, finding, err);
    const struct step step = {.image = image, .view = &reference->shared, .classify = true};
    run->asking = finding;
    rc = run_steps(run, &step, 1, err);
    run->asking = NULL;
    return rc;
}

/* An image in its own view. */
static int settle(struct run *run, size_t image, const struct embeddings *chips,
                  struct finding *finding, struct error *err)
{
    struct job_state *state = run->state;
    struct job_reference *reference = &run->reference;
    struct job_view *own = &reference->own;
    struct analysis_reference *found = &finding->reference;
    int rc = reference->is_measured ? job_view_take(own, state, image, chips, err) : 0;
    if (rc == 0 && !reference->holds_all[image])
        rc = job_reference_share(reference, state, image, err);
    finding->has_own = rc == 0 && job_reference_has_own(reference, image);
    if (rc == 0 && finding->has_own)
        rc = measure(run, image, own, chips, &found->own, err);
    const bool is_own = found->asked == REFERENCE_IMAGE || reference->holds_all[image] ||
                        drift_is_near(&found->own);
    if (rc == 0 && !(finding->has_own && is_own))
        rc = ask_shared(run, image, chips, finding, err);
    return rc < 0 || finding->is_done ? rc : classify_image(run, image, own, chips, finding, err);
}

static int classify_step(struct run *run, const struct step *step, const struct embeddings *chips,
                         struct error *err)
{
    const enum reference_choice asked = run->state->params.reference;
    struct finding finding = {
        .reference = {.asked = asked,
                      .used = asked == REFERENCE_TARGET ? asked : REFERENCE_IMAGE,
                      .own = {NAN, NAN, NAN},
                      .shared = {NAN, NAN, NAN}}};
    if (run->asking != NULL)
        return try_shared(run, step->image, chips, run->asking, err);
    if (step->view == &run->reference.shared)
        return try_shared(run, step->image, chips, &finding, err);
    const bool is_open =
        asked != REFERENCE_TARGET && embeddings_n_analysed(chips, 0, chips->n_chips) > 0;
    return is_open ? settle(run, step->image, chips, &finding, err)
                   : classify_image(run, step->image, step->view, chips, &finding, err);
}

/* ---- the pipeline ---- */

/* The steps that a view's examples and statistics take, at most one an image. */
static size_t plan_learning(struct run *run, struct job_view *view, struct step *steps)
{
    struct job_state *state = run->state;
    const struct job_reference *reference = &run->reference;
    const bool takes_all =
        view == &reference->shared && state->params.reference == REFERENCE_SERIES;
    size_t n = 0;
    for (size_t i = 0; i < state->n_images; i++) {
        const bool is_measured = reference->is_measured && (reference->holds[i] || takes_all);
        const struct step step = {.image = i,
                                  .view = view,
                                  .take_examples = job_examples_need(&view->examples, i),
                                  .take_reference = is_measured && !job_view_has(view, state, i)};
        if (step.take_examples || step.take_reference)
            steps[n++] = step;
    }
    return n;
}

/* `steps` has room for two an image. */
static size_t plan_steps(struct run *run, struct job_view *view, const bool *stored,
                         struct step *steps)
{
    const size_t n_images = run->state->job->n_images;
    size_t n = plan_learning(run, view, steps), first = n_images;
    /* The last one with examples is classified at once: its embeddings are at hand. */
    if (n > 0 && steps[n - 1].image < n_images && !stored[steps[n - 1].image]) {
        steps[n - 1].classify = true;
        first = steps[n - 1].image;
    }
    for (size_t i = 0; i < n_images; i++) {
        if (!stored[i] && i != first)
            steps[n++] = (struct step){.image = i, .view = view, .classify = true};
    }
    return n;
}

static int do_step(struct run *run, const struct step *step, struct job_encoding *encoding,
                   struct error *err)
{
    struct job_state *state = run->state;
    struct embeddings chips = job_embeddings_view(&encoding->embeddings);
    int rc = 0;
    chips.skip = encoding->skip;
    if (step->take_examples)
        rc = job_examples_take(&step->view->examples, state, step->image, encoding, &chips, err);
    if (rc == 0 && step->take_reference)
        rc = job_view_take(step->view, state, step->image, &chips, err);
    if (rc == 0 && step->classify)
        rc = job_check_stop(state, err);
    if (rc == 0 && step->classify)
        rc = classify_step(run, step, &chips, err);
    return rc;
}

static int begin_step(struct run *run, const struct step *step, struct job_encoding *encoding,
                      struct error *err)
{
    struct job_state *state = run->state;
    struct job_windows windows = {0};
    int rc = job_check_stop(state, err);
    if (step->take_examples)
        windows = job_examples_windows(&step->view->examples, state, step->image);
    if (rc == 0)
        rc = job_encoding_begin(encoding, state, &step->view->images[step->image], &windows, err);
    return rc;
}

static int finish_step(struct run *run, const struct step *step, struct job_encoding *encoding,
                       struct error *err)
{
    int rc = job_encoding_finish(encoding, err);
    return rc < 0 ? rc : do_step(run, step, encoding, err);
}

static bool may_prepare(const struct job_state *state, const struct step *steps)
{
    /* Large images are taken one after the other: their encoding is long, so that little is lost.
     * Two encodings of one image at once would count its chips twice. */
    return steps[1].image != steps[0].image &&
           job_image_is_small(state, &state->images[steps[1].image]);
}

static int run_steps(struct run *run, const struct step *steps, size_t n, struct error *err)
{
    struct job_encoding encodings[2] = {{0}}; /* step k has encodings[k % 2] */
    int rc = 0;
    for (size_t k = 0; k < n && rc == 0; k++) {
        struct job_encoding *encoding = &encodings[k % 2], *next = &encodings[(k + 1) % 2];
        if (encoding->state == NULL)
            rc = begin_step(run, &steps[k], encoding, err);
        if (rc == 0 && k + 1 < n && may_prepare(run->state, &steps[k]))
            rc = begin_step(run, &steps[k + 1], next, err);
        if (rc == 0)
            rc = finish_step(run, &steps[k], encoding, err);
        if (rc < 0 && job_embeddings_were_lost(&encoding->embeddings)) {
            job_encoding_clear(encoding);
            rc = begin_step(run, &steps[k], encoding, err);
            if (rc == 0)
                rc = finish_step(run, &steps[k], encoding, err);
        }
        job_encoding_clear(encoding);
    }
    job_encoding_clear(&encodings[0]);
    job_encoding_clear(&encodings[1]);
    return rc;
}

/* ---- the whole job ---- */

static int load_image(struct job_state *state, const char *id, struct job_image *out,
                      struct error *err)
{
    int rc = job_check_stop(state, err);
    out->normalise = state->params.normalise;
    if (rc == 0)
        rc = db_image_get(state->engine->db, id, &out->row, err);
    if (rc == 0)
        rc = image_mask_load(state->engine->db, &out->row, state->job->masks_until,
                             state->params.proposals, &out->mask, err);
    return rc;
}

static int plan_grid(const struct job_state *state, const struct grid_params *params,
                     struct job_image *image, struct error *err)
{
    return grid_plan(params, image->row.width, image->row.height,
                     state->engine->limits->max_chips_per_image, &image->grid, err);
}

/* Images that hold examples without being in the job. Their chips need not overlap to say how an
 * image varies, and begin where one fits at least. */
static int load_holder(struct job_state *state, const char *id, struct error *err)
{
    struct grid_params params = state->params.grid;
    size_t i = 0;
    while (i < state->n_images && strcmp(state->images[i].row.id, id) != 0)
        i++;
    if (i < state->n_images)
        return 0;
    struct job_image *image = &state->images[i];
    int rc = load_image(state, id, image, err);
    if (rc < 0)
        return rc;
    state->n_images++;
    if (state->params.reference == REFERENCE_TARGET)
        return 0;
    params.stride_x = params.stride_x > params.chip_width ? params.stride_x : params.chip_width;
    params.stride_y = params.stride_y > params.chip_height ? params.stride_y : params.chip_height;
    if (params.offset_x + params.chip_width > image->row.width ||
        params.offset_y + params.chip_height > image->row.height)
        params.offset_x = params.offset_y = 0;
    return plan_grid(state, &params, image, err);
}

static int load_images(struct job_state *state, struct error *err)
{
    const struct db_support_set *set = &state->set;
    size_t n_examples = 0;
    for (size_t c = 0; c < set->n_classes; c++)
        n_examples += set->classes[c].n_examples;
    state->images = calloc(state->job->n_images + n_examples, sizeof(state->images[0]));
    if (state->images == NULL)
        return error_set_nomem(err, "a job's images");
    int rc = 0;
    for (size_t i = 0; i < state->job->n_images && rc == 0; i++) {
        struct job_image *image = &state->images[i];
        rc = load_image(state, state->job->image_ids[i], image, err);
        image->counted = image;
        state->n_images++;
        if (rc == 0)
            rc = plan_grid(state, &state->params.grid, image, err);
    }
    for (size_t c = 0; c < set->n_classes; c++) {
        for (size_t k = 0; k < set->classes[c].n_examples && rc == 0; k++)
            rc = load_holder(state, set->classes[c].examples[k].image_id, err);
    }
    return rc;
}

static int load_inputs(struct job_state *state, struct error *err)
{
    const double start = clock_now_seconds();
    const struct db_job *job = state->job;
    int rc = job_params_from_text(job->params, &state->params, err);
    if (rc == 0)
        rc = db_support_set_get(state->engine->db, job->support_set_id, job->support_set_version,
                                &state->set, err);
    if (rc == 0 && (state->set.n_classes < 2 || state->set.n_classes > CLASSIFIER_CLASSES_MAX))
        rc = error_set(err, ERROR_CORRUPT, "support set: %zu classes are not within 2..%d",
                       state->set.n_classes, CLASSIFIER_CLASSES_MAX);
    if (rc == 0)
        rc = load_images(state, err);
    if (rc == 0)
        rc = encoder_store_acquire(state->engine->encoders, job->encoder_id,
                                   &state->params.input_sizes, state->params.encoding,
                                   state->params.precision, &state->cancel, &state->encoder, err);
    if (rc == 0) {
        state->dimension = embedder_dimension(state->encoder->embedder);
        rc = pool_lane_create(&state->lane, state->engine->pool, err);
    }
    job_time(state, JOB_PART_LOAD, start);
    return rc;
}

/* Marks what an earlier attempt stored; *n_left is the number of images still to do. */
static int skip_stored(struct job_state *state, bool *stored, size_t *n_left, struct error *err)
{
    int rc = 0;
    *n_left = 0;
    for (size_t i = 0; i < state->job->n_images && rc == 0; i++) {
        rc = job_check_stop(state, err);
        if (rc == 0)
            rc = db_result_exists(state->engine->db, state->job->id, state->job->image_ids[i],
                                  &stored[i], err);
        if (stored[i])
            job_count_done(state, &state->images[i], grid_n_chips(&state->images[i].grid));
        else
            ++*n_left;
    }
    return rc;
}

/* What is learnt of the examples' images before the first one is classified. */
static int begin_view(struct run *run, struct job_view **view, struct error *err)
{
    struct job_state *state = run->state;
    struct job_reference *reference = &run->reference;
    const enum reference_choice asked = state->params.reference;
    const bool is_shared = asked == REFERENCE_SUPPORT || asked == REFERENCE_SERIES;
    int rc = job_reference_create(reference, state, err);
    for (size_t i = 0; i < state->n_images && is_shared && rc == 0; i++)
        rc = job_reference_share(reference, state, i, err);
    *view = is_shared ? &reference->shared : &reference->own;
    return rc < 0 ? rc : job_view_begin(reference, *view, state, err);
}

static int run_images(struct job_state *state, struct error *err)
{
    bool *stored = calloc(state->job->n_images, sizeof(stored[0]));
    struct step *steps = calloc(state->n_images, 2 * sizeof(steps[0]));
    struct run run = {.state = state};
    struct job_view *view = NULL;
    size_t n_left = 0;
    int rc = stored == NULL || steps == NULL ? error_set_nomem(err, "a job")
                                             : skip_stored(state, stored, &n_left, err);
    if (rc == 0 && n_left > 0) {
        rc = begin_view(&run, &view, err);
        if (rc == 0)
            rc = run_steps(&run, steps, plan_steps(&run, view, stored, steps), err);
        if (rc == 0)
            rc = job_health_store(&run.health, state, err);
    }
    job_health_clear(&run.health);
    job_reference_clear(&run.reference, state);
    free(steps);
    free(stored);
    return rc;
}

int job_run(const struct job_engine *engine, const struct db_job *job, const struct db_lease *lease,
            struct job_control *control, struct error *err)
{
    struct job_state state;
    job_state_init(&state, engine, job, lease, control);
    if (engine->times != NULL)
        *engine->times = (struct job_times){.began = clock_now_seconds()};
    int rc = load_inputs(&state, err);
    if (rc == 0)
        rc = run_images(&state, err);
    pool_lane_destroy(state.lane);
    encoder_store_release(engine->encoders, state.encoder);
    for (size_t i = 0; i < state.n_images; i++) {
        db_image_clear(&state.images[i].row);
        image_mask_clear(&state.images[i].mask);
    }
    free(state.images);
    db_support_set_clear(&state.set);
    return rc;
}
