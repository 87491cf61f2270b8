/* A software pipeline over the job's images. A step needs the embeddings of one image; while the
 * workers embed the image of step k, the driver (this thread) stores the result of step k - 1 and
 * then reads, decodes and normalises the image of step k + 1, whose batches queue up behind those
 * of step k. Normalisation looks at all pixels, so the batches of one image cannot begin before it
 * is decoded as a whole. First come the images with examples, then all others: classifying needs
 * every example.
 */
#include "server/worker/job_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/job/analysis_text.h"
#include "base/clock.h"
#include "db/results/results.h"
#include "engine/fewshot/analysis.h"
#include "engine/fewshot/labels.h"
#include "server/worker/job_encoding.h"
#include "server/worker/job_examples.h"

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
    int rc = result.quantities == NULL || result.analysis == NULL
                 ? error_set_nomem(err, "a result's statistics")
                 : db_result_insert(state->engine->db, &result, state->lease,
                                    atomic_load(&state->control->n_chips_done), err);
    free(result.quantities);
    free(result.analysis);
    return rc;
}

static int classify_image(struct job_state *state, const struct support *support,
                          const struct job_examples *examples, size_t index,
                          const struct embeddings *chips, struct error *err)
{
    struct job_image *image = &state->images[index];
    struct example_chip *example_chips = calloc(examples->n, sizeof(*example_chips));
    if (example_chips == NULL)
        return error_set_nomem(err, "an image's examples");
    const struct analysis_input input = {
        .classifier = &state->params.classifier,
        .support = support,
        .grid = &image->grid,
        .chips = chips,
        .mask = &image->mask.parts,
        .uncounted = db_support_set_uncounted(&state->set),
        .borders = state->params.borders,
        .unknown = state->params.unknown,
        .smoothing = state->params.smoothing,
        .example_chips = example_chips,
        .n_example_chips = job_examples_chips(examples, state, index, example_chips),
    };
    struct analysis analysis = {0};
    double start = clock_now_seconds();
    int rc = analysis_run(&input, state->lane, &analysis, err);
    start = job_time(state, JOB_PART_CLASSIFY, start);
    if (rc == 0)
        rc = job_check_stop(state, err);
    if (rc == 0) {
        rc = store_result(state, image, &analysis, err);
        job_time(state, JOB_PART_STORE, start);
    }
    analysis_clear(&analysis);
    free(example_chips);
    return rc;
}

/* ---- steps ---- */

/* What is done with the embeddings of an image, once they are there. */
struct step {
    size_t image;
    bool take_examples;
    bool classify;
};

/* At most two steps an image: `steps` has room for them. */
static size_t plan_steps(const struct job_state *state, const struct job_examples *examples,
                         const bool *stored, struct step *steps)
{
    const size_t n_images = state->job->n_images;
    size_t n = 0, first = 0;
    for (size_t i = 0; i < n_images; i++) {
        if (job_examples_need(examples, i))
            steps[n++] = (struct step){.image = i, .take_examples = true};
    }
    /* The last one with examples is classified at once: its embeddings are at hand. */
    if (n > 0 && !stored[steps[n - 1].image]) {
        steps[n - 1].classify = true;
        first = steps[n - 1].image;
    } else {
        first = n_images;
    }
    for (size_t i = 0; i < n_images; i++) {
        if (!stored[i] && i != first)
            steps[n++] = (struct step){.image = i, .classify = true};
    }
    return n;
}

static int do_step(struct job_state *state, const struct step *step, struct job_examples *examples,
                   struct job_encoding *encoding, struct error *err)
{
    struct embeddings chips = job_embeddings_view(&encoding->embeddings);
    int rc = 0;
    chips.skip = encoding->skip;
    const struct support support = {
        .embeddings = examples->embeddings,
        .class_of = examples->classes,
        .n_examples = examples->n,
        .n_classes = (uint32_t)state->set.n_classes,
        .dimension = state->dimension,
    };
    if (step->take_examples)
        rc = job_examples_take(examples, state, step->image, encoding, &chips, err);
    if (rc == 0 && step->classify)
        rc = job_check_stop(state, err);
    if (rc == 0 && step->classify)
        rc = classify_image(state, &support, examples, step->image, &chips, err);
    return rc;
}

static int begin_step(struct job_state *state, const struct step *step,
                      const struct job_examples *examples, struct job_encoding *encoding,
                      struct error *err)
{
    struct job_windows windows = {0};
    int rc = job_check_stop(state, err);
    if (step->take_examples)
        windows = job_examples_windows(examples, state, step->image);
    if (rc == 0)
        rc = job_encoding_begin(encoding, state, &state->images[step->image], &windows, err);
    return rc;
}

static int finish_step(struct job_state *state, const struct step *step,
                       struct job_examples *examples, struct job_encoding *encoding,
                       struct error *err)
{
    int rc = job_encoding_finish(encoding, err);
    return rc < 0 ? rc : do_step(state, step, examples, encoding, err);
}

static bool may_prepare(const struct job_state *state, const struct step *steps)
{
    /* Large images are taken one after the other: their encoding is long, so that little is lost.
     * Two encodings of one image at once would count its chips twice. */
    return steps[1].image != steps[0].image &&
           job_image_is_small(state, &state->images[steps[1].image]);
}

static int run_steps(struct job_state *state, const struct step *steps, size_t n,
                     struct job_examples *examples, struct error *err)
{
    struct job_encoding encodings[2] = {{0}}; /* step k has encodings[k % 2] */
    int rc = 0;
    for (size_t k = 0; k < n && rc == 0; k++) {
        struct job_encoding *encoding = &encodings[k % 2], *next = &encodings[(k + 1) % 2];
        if (encoding->state == NULL)
            rc = begin_step(state, &steps[k], examples, encoding, err);
        if (rc == 0 && k + 1 < n && may_prepare(state, &steps[k]))
            rc = begin_step(state, &steps[k + 1], examples, next, err);
        if (rc == 0)
            rc = finish_step(state, &steps[k], examples, encoding, err);
        if (rc < 0 && job_embeddings_were_lost(&encoding->embeddings)) {
            job_encoding_clear(encoding);
            rc = begin_step(state, &steps[k], examples, encoding, err);
            if (rc == 0)
                rc = finish_step(state, &steps[k], examples, encoding, err);
        }
        job_encoding_clear(encoding);
    }
    job_encoding_clear(&encodings[0]);
    job_encoding_clear(&encodings[1]);
    return rc;
}

/* ---- the whole job ---- */

static int load_images(struct job_state *state, struct error *err)
{
    state->images = calloc(state->job->n_images, sizeof(state->images[0]));
    if (state->images == NULL)
        return error_set_nomem(err, "a job's images");
    int rc = 0;
    for (size_t i = 0; i < state->job->n_images && rc == 0; i++) {
        struct job_image *image = &state->images[i];
        rc = job_check_stop(state, err);
        if (rc == 0)
            rc = db_image_get(state->engine->db, state->job->image_ids[i], &image->row, err);
        if (rc == 0)
            rc = image_mask_load(state->engine->db, &image->row, state->job->masks_until,
                                 state->params.proposals, &image->mask, err);
        if (rc == 0)
            rc = grid_plan(&state->params.grid, image->row.width, image->row.height,
                           state->engine->limits->max_chips_per_image, &image->grid, err);
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

static int run_images(struct job_state *state, struct error *err)
{
    const size_t n_images = state->job->n_images;
    bool *stored = calloc(n_images, sizeof(stored[0]));
    struct step *steps = calloc(n_images, 2 * sizeof(steps[0]));
    struct job_examples examples = {0};
    size_t n_left = 0;
    int rc = stored == NULL || steps == NULL ? error_set_nomem(err, "a job")
                                             : skip_stored(state, stored, &n_left, err);
    if (rc == 0 && n_left > 0) {
        rc = job_examples_create(&examples, state, err);
        if (rc == 0)
            rc = run_steps(state, steps, plan_steps(state, &examples, stored, steps), &examples,
                           err);
    }
    job_examples_clear(&examples);
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
    for (size_t i = 0; state.images != NULL && i < job->n_images; i++) {
        db_image_clear(&state.images[i].row);
        image_mask_clear(&state.images[i].mask);
    }
    free(state.images);
    db_support_set_clear(&state.set);
    return rc;
}
