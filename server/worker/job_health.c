#include "server/worker/job_health.h"

#include <stdio.h>

#include "api/job/health_text.h"
#include "db/results/support_health.h"

static bool is_asked_in(const struct job_state *state, const struct job_examples *examples,
                        uint32_t example, size_t image)
{
    return state->params.reference != REFERENCE_TARGET || examples->image_of[example] == image;
}

bool job_health_wants(const struct job_health *health, const struct job_state *state,
                      const struct job_examples *examples, size_t image)
{
    for (uint32_t i = 0; i < examples->n && !health->is_done; i++) {
        if (is_asked_in(state, examples, i, image))
            return true;
    }
    return false;
}

int job_health_take(struct job_health *health, const struct job_state *state,
                    const struct job_examples *examples, size_t image,
                    const struct health *answered, struct error *err)
{
    int rc = 0;
    /* An image whose chips are all left out asks nobody. */
    if (answered->n_examples == 0)
        return 0;
    if (health->health.n_examples == 0)
        rc = health_init(&health->health, examples->classes, examples->n, answered->n_classes, err);
    for (uint32_t i = 0; i < answered->n_examples && rc == 0; i++) {
        if (is_asked_in(state, examples, i, image))
            health_take(&health->health, answered, i);
    }
    health->is_done = state->params.reference != REFERENCE_TARGET;
    return rc;
}

int job_health_store(const struct job_health *health, const struct job_state *state,
                     struct error *err)
{
    const struct db_job *job = state->job;
    struct db_support_health row = {.version = job->support_set_version};
    uint32_t n_asked = 0;
    for (uint32_t i = 0; i < health->health.n_examples; i++)
        n_asked += health_was_asked(&health->health, i);
    if (n_asked == 0)
        return 0;
    snprintf(row.support_set_id, sizeof(row.support_set_id), "%s", job->support_set_id);
    snprintf(row.job_id, sizeof(row.job_id), "%s", job->id);
    row.text = health_text_create(&health->health);
    int rc = row.text == NULL ? error_set_nomem(err, "the health of a support set")
                              : db_support_health_put(state->engine->db, &row, state->lease, err);
    db_support_health_clear(&row);
    return rc;
}

void job_health_clear(struct job_health *health)
{
    health_clear(&health->health);
}
