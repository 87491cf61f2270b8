/* Called on the job's own thread, but for what the workers count through the control's atomics. */
#include "server/worker/job_state.h"

#include "base/clock.h"

static const uint64_t default_small_size = 256 << 20;

/* Any thread. */
static bool is_to_stop(void *context)
{
    struct job_control *control = context;
    return atomic_load(&control->stop) != JOB_STOP_NONE;
}

void job_state_init(struct job_state *out, const struct job_engine *engine,
                    const struct db_job *job, const struct db_lease *lease,
                    struct job_control *control)
{
    *out = (struct job_state){.engine = engine,
                              .job = job,
                              .lease = lease,
                              .control = control,
                              .cancel = {is_to_stop, control}};
}

int job_check_stop(struct job_state *state, struct error *err)
{
    if (cancel_is_asked(&state->cancel))
        return error_set(err, ERROR_CANCELLED, "stopped on request");
    return 0;
}

void job_count_done(struct job_state *state, const struct job_image *image, uint64_t n_done)
{
    struct job_image *counted = image->counted;
    if (counted == NULL || n_done <= counted->n_done)
        return;
    atomic_fetch_add(&state->control->n_chips_done, n_done - counted->n_done);
    counted->n_done = n_done;
}

void job_add_time(struct job_state *state, enum job_part part, double seconds)
{
    if (state->engine->times != NULL)
        state->engine->times->seconds[part] += seconds;
    metrics_add(state->engine->metrics, METRIC_PHASE_LOAD_SECONDS + part, seconds);
}

double job_time(struct job_state *state, enum job_part part, double start)
{
    const double now = clock_now_seconds();
    job_add_time(state, part, now - start);
    return now;
}

void job_time_workers(struct job_state *state, const struct embed_times *times)
{
    const double n = pool_n_workers(state->engine->pool);
    job_add_time(state, JOB_PART_CHIP, times->resample / n);
    job_add_time(state, JOB_PART_ENCODE, times->encode / n);
    job_add_time(state, JOB_PART_CACHE, times->store / n);
}

bool job_image_is_small(const struct job_state *state, const struct job_image *image)
{
    const uint64_t small_size =
        state->engine->small_size > 0 ? state->engine->small_size : default_small_size;
    const uint64_t n_floats = (uint64_t)image->row.width * image->row.height +
                              grid_n_chips(&image->grid) * state->dimension;
    return n_floats * sizeof(float) <= small_size;
}
