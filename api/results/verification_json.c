/* The estimate is not stored: it follows from counts, answers and seed, the same bytes each time.
 */
#include "api/results/verification_json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/render.h"
#include "engine/fewshot/verification.h"

enum { SIDE_MAX = VERIFICATION_SIDE_MAX };

/* What was answered about the chips of one stratum. */
struct tally {
    uint32_t n_drawn, n_answered, n_unsure;
};

struct counts {
    uint32_t n_classes;
    struct tally tallies[SIDE_MAX];
    uint32_t answers[SIDE_MAX * SIDE_MAX]; /* (n_classes + 1) x (n_classes + 1); the last: none */
    uint32_t n_counting;                   /* answers that the estimate counts */
};

/* ---- the form ---- */

static json_t *links_json(const struct db_verification *verification)
{
    char self[DB_ID_SIZE + 40], job[DB_ID_SIZE + 40];
    snprintf(self, sizeof(self), "/v1/verifications/%s", verification->id);
    snprintf(job, sizeof(job), "/v1/jobs/%s", verification->job_id);
    return json_pack("{s:s, s:s}", "self", self, "job", job);
}

json_t *verification_summary_json(const struct db_verification *verification)
{
    json_t *area = verification->area_nm2 > 0 ? json_real(verification->area_nm2) : json_null();
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:I, s:I, s:I, s:s, s:s, s:o}", "id",
                     verification->id, "job_id", verification->job_id, "seed",
                     (json_int_t)verification->seed, "n_images", (json_int_t)verification->n_images,
                     "area_nm2", area, "n_chips", (json_int_t)verification->n_chips, "n_answered",
                     (json_int_t)verification->n_answered, "revision",
                     (json_int_t)verification->revision, "created_at", verification->created_at,
                     "updated_at", verification->updated_at, "links", links_json(verification));
}

static const char *label_text(const struct db_support_set *set, uint32_t stratum)
{
    return stratum < set->n_classes ? set->classes[stratum].name : NULL;
}

static const char *verdict_text(int32_t answer)
{
    switch (answer) {
    case DB_ANSWER_OPEN:
        return "open";
    case DB_ANSWER_NONE:
        return "none";
    case DB_ANSWER_UNSURE:
        return "unsure";
    default:
        return "class";
    }
}

static json_t *chips_json(const struct db_verification *verification,
                          const struct db_support_set *set, enum verification_labels labels)
{
    json_t *chips = json_array();
    for (uint64_t i = 0; i < verification->n_chips; i++) {
        const struct db_verification_chip *chip = &verification->chips[i];
        const struct chip_rect rect = {chip->x, chip->y, set->chip_width, set->chip_height};
        json_t *json = json_pack(
            "{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s?, s:o}", "index", (json_int_t)i,
            "image_id", chip->image_id, "chip", (json_int_t)chip->chip, "x", (json_int_t)chip->x,
            "y", (json_int_t)chip->y, "width", (json_int_t)set->chip_width, "height",
            (json_int_t)set->chip_height, "verdict", verdict_text(chip->answer), "class",
            chip->answer >= 0 ? set->classes[chip->answer].name : NULL, "links",
            render_chip_links(chip->image_id, &rect));
        if (labels == VERIFICATION_WITH_LABELS)
            json_object_set_new(json, "label", json_pack("s?", label_text(set, chip->stratum)));
        json_array_append_new(chips, json);
    }
    return chips;
}

/* ---- counting ---- */

static void count(const struct db_verification *verification, struct counts *out)
{
    const uint32_t n_classes = (uint32_t)verification->n_strata - 1, side = n_classes + 1;
    *out = (struct counts){.n_classes = n_classes};
    for (uint64_t i = 0; i < verification->n_chips; i++) {
        const struct db_verification_chip *chip = &verification->chips[i];
        struct tally *tally = &out->tallies[chip->stratum];
        tally->n_drawn++;
        tally->n_answered += chip->answer != DB_ANSWER_OPEN;
        tally->n_unsure += chip->answer == DB_ANSWER_UNSURE;
        if (chip->answer == DB_ANSWER_OPEN || chip->answer == DB_ANSWER_UNSURE)
            continue;
        const uint32_t truth = chip->answer >= 0 ? (uint32_t)chip->answer : n_classes;
        out->answers[chip->stratum * side + truth]++;
        out->n_counting++;
    }
}

/* A label and what its chips were answered to be. */
static json_t *stratum_json(const struct db_verification *verification,
                            const struct db_support_set *set, const struct counts *counts,
                            uint32_t stratum)
{
    const uint32_t side = counts->n_classes + 1;
    const struct tally *tally = &counts->tallies[stratum];
    const uint32_t *answers = counts->answers + (size_t)stratum * side;
    json_t *of_classes = json_array();
    for (uint32_t c = 0; c < counts->n_classes; c++)
        json_array_append_new(of_classes, json_integer(answers[c]));
    return json_pack("{s:s?, s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "label", label_text(set, stratum),
                     "n_chips", (json_int_t)verification->strata[stratum].n_chips, "n_examples",
                     (json_int_t)verification->strata[stratum].n_known, "n_drawn",
                     (json_int_t)tally->n_drawn, "n_answered", (json_int_t)tally->n_answered,
                     "classes", of_classes, "none", (json_int_t)answers[counts->n_classes],
                     "unsure", (json_int_t)tally->n_unsure);
}

static json_t *strata_json(const struct db_verification *verification,
                           const struct db_support_set *set, const struct counts *counts)
{
    json_t *strata = json_array();
    for (uint32_t s = 0; s <= counts->n_classes; s++)
        json_array_append_new(strata, stratum_json(verification, set, counts, s));
    return strata;
}

/* ---- the estimate ---- */

static json_t *interval_json(const struct verification_interval *interval, double scale)
{
    if (isnan(interval->mean) || !(scale > 0))
        return json_null();
    return json_pack("{s:f, s:f, s:f}", "value", interval->mean * scale, "low",
                     interval->low * scale, "high", interval->high * scale);
}

static json_t *estimate_json(const struct db_support_set *set,
                             const struct verification_estimate *estimate, double area_nm2)
{
    json_t *classes = json_array();
    const size_t n_classes = set->n_classes;
    for (size_t c = 0; c < n_classes; c++)
        json_array_append_new(classes,
                              json_pack("{s:s, s:o, s:o, s:o, s:o}", "name", set->classes[c].name,
                                        "fraction", interval_json(&estimate->fractions[c], 1),
                                        "area_nm2", interval_json(&estimate->shares[c], area_nm2),
                                        "precision", interval_json(&estimate->precision[c], 1),
                                        "recall", interval_json(&estimate->recall[c], 1)));
    json_t *none =
        json_pack("{s:o, s:o}", "fraction", interval_json(&estimate->fractions[n_classes], 1),
                  "area_nm2", interval_json(&estimate->shares[n_classes], area_nm2));
    return json_pack("{s:f, s:I, s:o, s:o, s:o}", "confidence", VERIFICATION_CONFIDENCE, "n_draws",
                     (json_int_t)estimate->n_draws, "accuracy",
                     interval_json(&estimate->accuracy, 1), "classes", classes, "none", none);
}

/* Null as long as nothing was answered that counts. */
static int add_estimate(const struct db_verification *verification,
                        const struct db_support_set *set, const struct counts *counts,
                        json_t *object, struct error *err)
{
    uint64_t n_chips[SIDE_MAX], n_known[SIDE_MAX];
    for (uint32_t s = 0; s <= counts->n_classes; s++) {
        n_chips[s] = verification->strata[s].n_chips;
        n_known[s] = verification->strata[s].n_known;
    }
    const struct verification_counts all = {counts->n_classes, n_chips, n_known, counts->answers,
                                            db_support_set_uncounted(set)};
    struct verification_estimate estimate;
    struct error cause = {0};
    json_t *json = json_null();
    if (counts->n_counting > 0) {
        int rc = verification_estimate(&all, verification->seed, &estimate, &cause);
        if (rc != 0)
            return error_set(err, rc == ERROR_INVALID ? ERROR_CORRUPT : rc,
                             "verification %s: %.300s", verification->id, cause.message);
        json = estimate_json(set, &estimate, verification->area_nm2);
    }
    return json_object_set_new(object, "estimate", json) == 0
               ? 0
               : error_set_nomem(err, "a verification");
}

int verification_json(const struct db_verification *verification, const struct db_support_set *set,
                      enum verification_labels labels, json_t **out, struct error *err)
{
    struct counts counts;
    if (verification->n_strata != set->n_classes + 1 || set->n_classes > CLASSIFIER_CLASSES_MAX)
        return error_set(err, ERROR_CORRUPT, "verification %s: another number of classes",
                         verification->id);
    count(verification, &counts);
    json_t *object = verification_summary_json(verification);
    if (object == NULL ||
        json_object_set_new(object, "chips", chips_json(verification, set, labels)) != 0 ||
        json_object_set_new(object, "labels", strata_json(verification, set, &counts)) != 0) {
        json_decref(object);
        return error_set_nomem(err, "a verification");
    }
    int rc = add_estimate(verification, set, &counts, object, err);
    if (rc == 0)
        *out = object;
    else
        json_decref(object);
    return rc;
}
