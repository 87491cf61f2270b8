/* Suggestions: which chips of a job's images to label next. Each result brought its own, made when
 * it was classified; here the best of all images are merged. */
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/job/suggestions_text.h"
#include "api/render.h"
#include "db/jobs.h"
#include "db/results/suggestions.h"
#include "db/support_sets.h"

/* A suggestion of some image. */
struct entry {
    struct suggestion_stored stored;
    char image_id[DB_ID_SIZE];
    char *image_name; /* owned */
};

/* The best of one class, the best first. */
struct ranking {
    struct entry entries[SUGGESTIONS_MAX];
    uint32_t n, n_given;
};

struct merging {
    uint32_t n_classes, n_wanted;
    struct ranking *rankings; /* n_classes; owned */
    uint64_t n_results, n_without;
    struct suggestion_stored read[SUGGESTIONS_MAX];
};

/* ---- merging ---- */

/* Of equal ones, the image that comes first in the job keeps its place. */
static int add(struct ranking *ranking, uint32_t n_max, const struct suggestion_stored *stored,
               const struct db_suggestions *image, struct error *err)
{
    uint32_t at = ranking->n;
    while (at > 0 && stored->suggestion.score > ranking->entries[at - 1].stored.suggestion.score)
        at--;
    if (at == n_max)
        return 0;
    struct entry entry = {.stored = *stored, .image_name = strdup(image->image_name)};
    if (entry.image_name == NULL)
        return error_set_nomem(err, "a suggestion");
    memcpy(entry.image_id, image->image_id, sizeof(entry.image_id));
    if (ranking->n == n_max)
        free(ranking->entries[--ranking->n].image_name);
    memmove(&ranking->entries[at + 1], &ranking->entries[at],
            (ranking->n - at) * sizeof(ranking->entries[0]));
    ranking->entries[at] = entry;
    ranking->n++;
    return 0;
}

static int take(void *context, const struct db_suggestions *image, struct error *err)
{
    struct merging *merging = context;
    uint32_t n = 0;
    merging->n_results++;
    if (image->text == NULL) {
        merging->n_without++;
        return 0;
    }
    int rc = suggestions_text_read(image->text, merging->n_classes, merging->read, &n, err);
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = add(&merging->rankings[merging->read[i].suggestion.class_index], merging->n_wanted,
                 &merging->read[i], image, err);
    return rc;
}

static void merging_clear(struct merging *merging)
{
    for (uint32_t k = 0; merging->rankings != NULL && k < merging->n_classes; k++) {
        for (uint32_t i = 0; i < merging->rankings[k].n; i++)
            free(merging->rankings[k].entries[i].image_name);
    }
    free(merging->rankings);
}

/* ---- JSON ---- */

static json_t *item_json(const struct entry *entry, const struct db_support_set *set,
                         const struct db_class *class, uint32_t n_examples)
{
    const struct chip_rect rect = {entry->stored.x, entry->stored.y, set->chip_width,
                                   set->chip_height};
    const struct suggestion *suggestion = &entry->stored.suggestion;
    json_t *reason = json_sprintf(
        "looks like '%s', which has fewest examples (%u, suggested ones counted), and is far from "
        "every example, yet like other chips of its image",
        class->name, n_examples);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:o, s:o}", "image_id",
                     entry->image_id, "image_name", entry->image_name, "chip",
                     (json_int_t)suggestion->chip, "x", (json_int_t)entry->stored.x, "y",
                     (json_int_t)entry->stored.y, "class", class->name, "score",
                     (double)suggestion->score, "distance", (double)suggestion->distance, "cosine",
                     (double)suggestion->cosine, "reason", reason, "links",
                     render_chip_links(entry->image_id, &rect));
}

/* Class after class, the one with the fewest examples first. */
static json_t *choose(struct merging *merging, const struct db_support_set *set)
{
    uint32_t n_examples[CLASSIFIER_CLASSES_MAX], n_left[CLASSIFIER_CLASSES_MAX];
    json_t *items = json_array();
    for (uint32_t k = 0; k < merging->n_classes; k++) {
        n_examples[k] = (uint32_t)set->classes[k].n_examples;
        n_left[k] = merging->rankings[k].n;
    }
    for (uint32_t i = 0; i < merging->n_wanted; i++) {
        const uint32_t k = suggestions_next_class(n_examples, n_left, merging->n_classes);
        if (k == merging->n_classes)
            break;
        struct ranking *ranking = &merging->rankings[k];
        json_array_append_new(items, item_json(&ranking->entries[ranking->n_given++], set,
                                               &set->classes[k], n_examples[k]));
        n_examples[k]++;
        n_left[k]--;
    }
    return items;
}

static const char *reason_of(const struct merging *merging, size_t n_items)
{
    if (merging->n_results == 0)
        return "the job has no result yet";
    if (merging->n_without == merging->n_results)
        return "the results were stored by a program that made no suggestions: run the job again";
    if (merging->n_without > 0)
        return "some results were stored by a program that made no suggestions: run the job again";
    return n_items == 0 ? "no chip of any class is unlike all examples" : NULL;
}

static int answer(struct api_call *call, const struct db_job *job, const struct db_support_set *set,
                  struct merging *merging, struct error *err)
{
    json_t *items = choose(merging, set);
    json_t *links =
        json_pack("{s:o, s:o}", "job", json_sprintf("/v1/jobs/%s", job->id), "support_set",
                  json_sprintf("/v1/support-sets/%s?version=%u", job->support_set_id,
                               job->support_set_version));
    json_t *json =
        json_pack("{s:s, s:s, s:I, s:I, s:o, s:s?, s:o}", "job_id", job->id, "support_set_id",
                  job->support_set_id, "support_set_version", (json_int_t)job->support_set_version,
                  "n_results", (json_int_t)merging->n_results, "items", items, "reason",
                  reason_of(merging, json_array_size(items)), "links", links);
    api_response_header(call->response, "Cache-Control", "no-store");
    return response_json(call->response, 200, json, err);
}

static int merge(struct api_call *call, const struct db_job *job, const struct db_support_set *set,
                 struct merging *merging, struct error *err)
{
    struct error cause = {0};
    merging->n_classes = (uint32_t)set->n_classes;
    merging->n_wanted = call_query(call, "n")->number;
    if (set->n_classes == 0 || set->n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_CORRUPT, "support set %s: %zu classes are not within 1..%d",
                         set->id, set->n_classes, CLASSIFIER_CLASSES_MAX);
    merging->rankings = calloc(set->n_classes, sizeof(*merging->rankings));
    if (merging->rankings == NULL)
        return error_set_nomem(err, "suggestions");
    int rc = db_suggestions_visit(call->api->db, job->id, take, merging, &cause);
    return rc == 0 ? 0 : error_set(err, rc, "job %s: %s", job->id, cause.message);
}

int suggestions_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "job_", "job", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_job job = {0};
    struct db_support_set set = {0};
    struct merging *merging = calloc(1, sizeof(*merging));
    int rc = merging == NULL ? error_set_nomem(err, "suggestions")
                             : db_job_get_row(call->api->db, id, &job, err);
    if (rc == 0)
        rc = db_support_set_get_classes(call->api->db, job.support_set_id, job.support_set_version,
                                        &set, err);
    if (rc == 0)
        rc = merge(call, &job, &set, merging, err);
    if (rc == 0)
        rc = answer(call, &job, &set, merging, err);
    if (merging != NULL)
        merging_clear(merging);
    free(merging);
    db_support_set_clear(&set);
    db_job_clear(&job);
    return rc;
}
