#include "api/job/analysis_text.h"

#include <math.h>

#include "engine/encoder/encoder.h"
#include "engine/fewshot/heads/head.h"
#include "engine/linear.h"

/* A picture and transparent pixels are anywhere: of these the number is said. */
static json_t *part_json(const struct mask_part *part)
{
    const char *kind = mask_kind_name(part->kind), *status = mask_status_name(part->status);
    const struct chip_rect *rect = &part->rect;
    if (part->kind == MASK_PICTURE || part->kind == MASK_TRANSPARENT)
        return json_pack("{s:s, s:s, s:I}", "kind", kind, "status", status, "n_pixels",
                         (json_int_t)part->n_pixels);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "kind", kind, "status", status, "x",
                     (json_int_t)rect->x, "y", (json_int_t)rect->y, "width",
                     (json_int_t)rect->width, "height", (json_int_t)rect->height);
}

json_t *mask_parts_json(const struct mask_parts *parts)
{
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < parts->n; i++) {
        if (json_array_append_new(list, part_json(&parts->items[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

/* A mask without a name is not stored: the parts alone tell of it. */
static int add_mask(json_t *json, const struct mask_parts *parts)
{
    int rc = 0;
    if (parts->n > 0)
        rc = json_object_set_new(json, "not_analysed", mask_parts_json(parts));
    if (rc == 0 && (parts->version > 0 || parts->name[0] != '\0'))
        rc = json_object_set_new(json, "mask",
                                 json_pack("{s:I, s:s?}", "version", (json_int_t)parts->version,
                                           "sha256", parts->name[0] != '\0' ? parts->name : NULL));
    return rc;
}

static int add_smoothing(json_t *json, const struct smoothing_outcome *smoothing)
{
    return !smoothing->asked
               ? 0
               : json_object_set_new(json, "smoothing",
                                     json_pack("{s:b, s:f, s:I}", "done", smoothing->done,
                                               "information", smoothing->information, "n_changed",
                                               (json_int_t)smoothing->n_changed));
}

/* NULL, a number that is left out, where there is none. */
static json_t *number_json(double value)
{
    return isfinite(value) ? json_real(value) : NULL;
}

static json_t *reference_json(const struct analysis_reference *reference)
{
    const char *shared =
        reference->used == REFERENCE_SERIES ? "distance_series" : "distance_support";
    return json_pack("{s:s, s:s, s:o*, s:o*}", "asked", reference_choice_name(reference->asked),
                     "used", reference_choice_name(reference->used), "distance_own",
                     number_json(reference->own.distance), shared,
                     number_json(reference->shared.distance));
}

static json_t *drift_json(const struct drift *drift)
{
    return json_pack("{s:f, s:f, s:b}", "distance", drift->distance, "limit", drift->limit,
                     "flagged", drift_is_flagged(drift));
}

static const char *undecided_reason(enum analysis_undecided undecided)
{
    return undecided == ANALYSIS_FLAT
               ? "the image does not vary, and lies far from every class"
               : "neither the image varies nor do the images that hold the examples";
}

/* Takes over `value`. 0 or not. */
static int add(json_t *json, const char *key, json_t *value)
{
    return json_object_set_new(json, key, value);
}

static int add_reference(json_t *json, const struct analysis_reference *reference)
{
    const struct drift *drift =
        reference->used == REFERENCE_IMAGE || reference->used == REFERENCE_TARGET
            ? &reference->own
            : &reference->shared;
    int rc = add(json, "reference", reference_json(reference));
    if (rc == 0 && isfinite(drift->distance) && isfinite(drift->limit))
        rc = add(json, "drift", drift_json(drift));
    if (rc == 0 && reference->undecided != ANALYSIS_DECIDED)
        rc = add(json, "undecided",
                 json_pack("{s:s}", "reason", undecided_reason(reference->undecided)));
    return rc;
}

static int add_steps(json_t *json, const struct analysis *analysis)
{
    int rc = 0;
    if (analysis->chips.head != NULL)
        rc = add(json, "head", json_string(head_name(analysis->chips.head)));
    if (rc == 0)
        rc = add_smoothing(json, &analysis->smoothing);
    if (rc == 0 && analysis->mask != NULL)
        rc = add_mask(json, analysis->mask);
    if (rc == 0 && analysis->reference != NULL)
        rc = add_reference(json, analysis->reference);
    if (rc == 0 && analysis->borders != BORDERS_OFF)
        rc = add(json, "borders",
                 json_pack("{s:I}", "n_assigned", (json_int_t)analysis->n_assigned));
    if (rc == 0 && !isnan(analysis->unknown_threshold))
        rc = add(json, "unknown", json_pack("{s:f}", "threshold", analysis->unknown_threshold));
    return rc;
}

json_t *analysis_text_json(const struct analysis *analysis)
{
    json_t *json = json_pack("{s:s, s:s, s:s}", "program", CHIPSHOT_VERSION, "kernels",
                             encoder_kernels(), "blas", linear_core());
    if (json != NULL && add_steps(json, analysis) != 0) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

char *analysis_text_create(const struct analysis *analysis)
{
    json_t *json = analysis_text_json(analysis);
    if (json == NULL)
        return NULL;
    /* 17 digits bring every double back exactly. */
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    return text;
}

json_t *analysis_text_stored_json(const char *text)
{
    if (text == NULL)
        return json_object();
    json_t *json = json_loads(text, 0, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}
