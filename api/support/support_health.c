/* The health of a support set: what its places say, which needs nothing but them, and what the
 * latest job measured. A request never encodes: where no job has measured, the answer says which
 * would. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/call.h"
#include "api/job/health_text.h"
#include "db/results/support_health.h"
#include "db/support_sets.h"
#include "engine/fewshot/help/example_places.h"
#include "engine/fewshot/unknown.h"

enum {
    PAIRS_MAX = 100, /* of examples that share pixels: more are not listed */
    PROBABILITIES_MIN = 2,
};

static const double OVERLAP_SHARE = 0.5; /* of a chip */

/* What the parts of an answer share. */
struct report {
    const struct db_support_set *set;
    struct example_place *places; /* of all examples; owned */
    uint32_t n;
    json_t *pairs; /* where pairs are added */
};

/* ---- places ---- */

static int list_places(struct report *report, struct error *err)
{
    const struct db_support_set *set = report->set;
    size_t n = 0;
    for (size_t c = 0; c < set->n_classes; c++)
        n += set->classes[c].n_examples;
    report->places = calloc(n + 1, sizeof(*report->places));
    if (report->places == NULL)
        return error_set_nomem(err, "the examples of a support set");
    for (size_t c = 0; c < set->n_classes; c++) {
        for (size_t i = 0; i < set->classes[c].n_examples; i++) {
            const struct db_example *example = &set->classes[c].examples[i];
            report->places[report->n++] = (struct example_place){.image_id = example->image_id,
                                                                 .x = example->x,
                                                                 .y = example->y,
                                                                 .class_index = (uint32_t)c,
                                                                 .index = (uint32_t)i};
        }
    }
    return 0;
}

static json_t *place_json(const struct db_support_set *set, const struct example_place *place)
{
    return json_pack("{s:s, s:I, s:s, s:I, s:I}", "class", set->classes[place->class_index].name,
                     "example_index", (json_int_t)place->index, "image_id", place->image_id, "x",
                     (json_int_t)place->x, "y", (json_int_t)place->y);
}

static void add_pair(void *context, const struct example_place *first,
                     const struct example_place *second)
{
    struct report *report = context;
    if (json_array_size(report->pairs) < PAIRS_MAX)
        json_array_append_new(report->pairs,
                              json_pack("{s:o, s:o}", "first", place_json(report->set, first),
                                        "second", place_json(report->set, second)));
}

static json_t *repeats_json(struct report *report)
{
    report->pairs = json_array();
    example_places_visit_repeats(report->places, report->n, add_pair, report);
    return report->pairs;
}

static json_t *overlaps_json(struct report *report)
{
    report->pairs = json_array();
    example_places_visit_overlaps(report->places, report->n, report->set->chip_width,
                                  report->set->chip_height, OVERLAP_SHARE, PAIRS_MAX, add_pair,
                                  report);
    return report->pairs;
}

/* ---- counts ---- */

/* What a class with so few examples forbids. */
static json_t *forbidden_json(size_t n_examples)
{
    json_t *forbids = json_array();
    if (n_examples < PROBABILITIES_MIN)
        json_array_append_new(forbids, json_string("health"));
    if (n_examples < UNKNOWN_EXAMPLES_MIN) {
        json_array_append_new(forbids, json_string("unknown"));
        json_array_append_new(forbids, json_string("ridge"));
    }
    return forbids;
}

static json_t *too_few_json(const struct db_support_set *set)
{
    json_t *classes = json_array();
    for (size_t c = 0; c < set->n_classes; c++) {
        const struct db_class *class = &set->classes[c];
        if (class->n_examples < UNKNOWN_EXAMPLES_MIN)
            json_array_append_new(classes, json_pack("{s:s, s:I, s:o}", "class", class->name,
                                                     "n_examples", (json_int_t) class->n_examples,
                                                     "forbids", forbidden_json(class->n_examples)));
    }
    return classes;
}

/* ---- what a job measured ---- */

static json_t *class_probabilities(const struct db_class *class, const struct health_answer *first)
{
    json_t *probabilities = json_array();
    for (size_t i = 0; i < class->n_examples; i++)
        json_array_append_new(probabilities,
                              isnan(first[i].own) ? json_null() : json_real(first[i].own));
    return json_pack("{s:s, s:o}", "class", class->name, "probabilities", probabilities);
}

static json_t *flag_json(const struct db_support_set *set, size_t class_index, size_t index,
                         const struct health_answer *answer)
{
    const struct db_example *example = &set->classes[class_index].examples[index];
    const struct example_place place = {example->image_id, example->x, example->y,
                                        (uint32_t)class_index, (uint32_t)index};
    json_t *json = place_json(set, &place);
    json_object_set_new(json, "probability", json_real(answer->own));
    json_object_set_new(json, "likely", json_string(set->classes[answer->likely].name));
    return json;
}

static json_t *overlapping_json(const struct db_support_set *set,
                                const struct health_stored *stored)
{
    json_t *pairs = json_array();
    for (uint32_t i = 0; i < stored->n_pairs; i++) {
        const struct health_pair *pair = &stored->pairs[i];
        if (pair->confusion > HEALTH_CONFUSION_MAX)
            json_array_append_new(
                pairs, json_pack("{s:s, s:s, s:f}", "first", set->classes[pair->a].name, "second",
                                 set->classes[pair->b].name, "confusion", pair->confusion));
    }
    return pairs;
}

static json_t *measured_json(const struct db_support_set *set, const struct db_support_health *row,
                             const struct health_stored *stored)
{
    json_t *classes = json_array(), *flagged = json_array();
    const struct health_answer *first = stored->answers;
    for (size_t c = 0; c < set->n_classes; first += set->classes[c].n_examples, c++) {
        json_array_append_new(classes, class_probabilities(&set->classes[c], first));
        for (size_t i = 0; i < set->classes[c].n_examples; i++) {
            if (health_is_flagged(first[i].own))
                json_array_append_new(flagged, flag_json(set, c, i, &first[i]));
        }
    }
    return json_pack("{s:s, s:s, s:I, s:f, s:o, s:o, s:f, s:o}", "job_id", row->job_id,
                     "measured_at", row->measured_at, "n_asked", (json_int_t)stored->n_asked,
                     "threshold", HEALTH_PROBABILITY_MIN, "classes", classes, "flagged", flagged,
                     "overlap_threshold", HEALTH_CONFUSION_MAX, "overlapping_classes",
                     overlapping_json(set, stored));
}

/* The body of a job that measures every example; places are by image. */
static json_t *job_json(const struct report *report)
{
    json_t *images = json_array();
    for (uint32_t i = 0; i < report->n; i++) {
        const char *image_id = report->places[i].image_id;
        if (i == 0 || strcmp(image_id, report->places[i - 1].image_id) != 0)
            json_array_append_new(images, json_string(image_id));
    }
    return json_pack("{s:s, s:I, s:o}", "support_set_id", report->set->id, "support_set_version",
                     (json_int_t)report->set->version, "image_ids", images);
}

static const char *reason_of(const struct health_stored *stored, const struct report *report)
{
    if (stored->answers == NULL)
        return "no job of this version has ended: POST `job` to the project's jobs";
    if (stored->n_asked < report->n)
        return "some examples are alone in their class, or the job measured them by the image that "
               "was asked and had not all of theirs";
    return NULL;
}

/* ---- the answer ---- */

static int answer(struct api_call *call, struct report *report, const struct db_support_health *row,
                  const struct health_stored *stored, struct error *err)
{
    const struct db_support_set *set = report->set;
    const char *reason = reason_of(stored, report);
    json_t *repeats = repeats_json(report), *overlaps = overlaps_json(report);
    json_t *links = json_pack("{s:o, s:o}", "support_set",
                              json_sprintf("/v1/support-sets/%s?version=%u", set->id, set->version),
                              "jobs", json_sprintf("/v1/projects/%s/jobs", set->project_id));
    json_t *json = json_pack(
        "{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:s?, s:o, s:o}", "support_set_id", set->id, "version",
        (json_int_t)set->version, "n_examples", (json_int_t)report->n, "too_few", too_few_json(set),
        "repeated_examples", repeats, "overlapping_examples", overlaps, "probabilities",
        stored->answers != NULL ? measured_json(set, row, stored) : json_null(), "reason", reason,
        "job", job_json(report), "links", links);
    api_response_header(call->response, "Cache-Control", "no-store");
    return response_json(call->response, 200, json, err);
}

/* `stored` stays empty where no job has measured. */
static int read_measured(struct api_call *call, const struct report *report,
                         struct db_support_health *row, struct health_stored *stored,
                         struct error *err)
{
    const struct db_support_set *set = report->set;
    struct error cause = {0};
    int rc = db_support_health_get(call->api->db, set->id, set->version, row, err);
    if (rc != 0)
        return rc == ERROR_NOT_FOUND ? 0 : rc;
    rc = health_text_read(row->text, (uint32_t)set->n_classes, report->n, stored, &cause);
    return rc == 0 ? 0
                   : error_set(err, rc, "support set %s, version %u: %s", set->id, set->version,
                               cause.message);
}

int support_health_get(struct api_call *call, struct error *err)
{
    const char *id = call_id(call, 0, "sup_", "support set", err);
    if (id == NULL)
        return ERROR_NOT_FOUND;
    struct db_support_set set = {0};
    struct db_support_health row = {0};
    struct health_stored stored = {0};
    struct report report = {.set = &set};
    int rc = db_support_set_get(call->api->db, id, call_query(call, "version")->number, &set, err);
    if (rc != 0)
        return rc;
    rc = list_places(&report, err);
    if (rc == 0)
        rc = read_measured(call, &report, &row, &stored, err);
    if (rc == 0)
        rc = answer(call, &report, &row, &stored, err);
    free(report.places);
    health_stored_clear(&stored);
    db_support_health_clear(&row);
    db_support_set_clear(&set);
    return rc;
}
