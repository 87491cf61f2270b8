/* A job's parameters as JSON, both ways. */
#include "api/job/job_params.h"

#include <string.h>

#include "api/job/job_fields.h"
#include "engine/fewshot/heads/head.h"

enum { STRIDE_MAX = 32768, OFFSET_MAX = 32767 };

/* ---- writing ---- */

/* With what the method depends on. */
static json_t *flatten_json(const struct flatten_params *flatten)
{
    const char *method = flatten_method_name(flatten->method);
    switch (flatten->method) {
    case FLATTEN_NONE:
        return json_null();
    case FLATTEN_PLANE:
        return json_pack("{s:s}", "method", method);
    case FLATTEN_POLYNOMIAL:
        return json_pack("{s:s, s:i}", "method", method, "order", (int)flatten->order);
    case FLATTEN_LARGE_SCALE:
        return json_pack("{s:s, s:i}", "method", method, "scale", (int)flatten->scale);
    }
    return NULL;
}

json_t *job_params_to_json(const struct job_params *params)
{
    const struct grid_params *grid = &params->grid;
    const struct normalise_params *normalise = &params->normalise;
    const struct classifier_params *classifier = &params->classifier;
    json_t *clahe = normalise->clahe.enabled
                        ? json_pack("{s:f, s:i}", "clip_limit", normalise->clahe.clip_limit,
                                    "tiles", (int)normalise->clahe.tiles)
                        : json_null();
    json_t *input_sizes = params->input_sizes.n > 0 ? json_array() : NULL;
    for (uint32_t i = 0; i < params->input_sizes.n; i++)
        json_array_append_new(input_sizes, json_integer(params->input_sizes.sides[i]));
    json_t *temperature =
        classifier->temperature == 0 ? json_string("auto") : json_real(classifier->temperature);
    json_t *json = json_pack(
        "{s:{s:i, s:i}, s:{s:i, s:i}, s:{s:i, s:i}, s:s, s:{s:s, s:f, s:f, s:s}, s:o, s:{s:s, s:s, "
        "s:o}, s:o*, s:s, s:s, s:{s:b}, s:s, s:s, s:b, s:s, s:s}",
        "chip", "width", (int)grid->chip_width, "height", (int)grid->chip_height, "stride", "x",
        (int)grid->stride_x, "y", (int)grid->stride_y, "offset", "x", (int)grid->offset_x, "y",
        (int)grid->offset_y, "edge", grid_edge_name(grid->edge), "normalise", "method",
        normalise_method_name(normalise->method), "low", normalise->low, "high", normalise->high,
        "outliers", normalise_outliers_name(normalise->outliers), "clahe", clahe, "classifier",
        "distance", classifier_distance_name(classifier->distance), "transform",
        classifier_transform_name(classifier->transform), "temperature", temperature, "input_sizes",
        input_sizes, "encoding", encoding_name(params->encoding), "precision",
        precision_name(params->precision), "mask", "proposed",
        params->proposals == MASK_WITH_PROPOSED, "head", head_name(classifier->head), "borders",
        borders_name(params->borders), "unknown", params->unknown, "smoothing",
        smoothing_name(params->smoothing), "reference", reference_choice_name(params->reference));
    if (json_object_set_new(json, "flatten", flatten_json(&normalise->flatten)) == 0)
        return json;
    json_decref(json);
    return NULL;
}

json_t *job_params_stored_json(const char *text)
{
    json_t *json = json_loads(text, 0, NULL);
    if (json != NULL && json_object_get(json, "encoding") == NULL)
        json_object_set_new(json, "encoding", json_string(encoding_name(ENCODING_CHIPS)));
    if (json != NULL && json_object_get(json, "flatten") == NULL)
        json_object_set_new(json, "flatten", json_null());
    if (json != NULL && json_object_get(json, "reference") == NULL)
        json_object_set_new(json, "reference",
                            json_string(reference_choice_name(REFERENCE_TARGET)));
    json_t *normalise = json_object_get(json, "normalise");
    if (normalise != NULL && json_object_get(normalise, "outliers") == NULL)
        json_object_set_new(normalise, "outliers",
                            json_string(normalise_outliers_name(NORMALISE_KEEP)));
    if (json != NULL && json_object_get(json, "mask") == NULL)
        json_object_set_new(json, "mask", json_pack("{s:b}", "proposed", 0));
    if (json != NULL && json_object_get(json, "head") == NULL)
        json_object_set_new(json, "head", json_string(head_name(&head_prototypes)));
    if (json != NULL && json_object_get(json, "borders") == NULL)
        json_object_set_new(json, "borders", json_string(borders_name(BORDERS_OFF)));
    if (json != NULL && json_object_get(json, "unknown") == NULL)
        json_object_set_new(json, "unknown", json_false());
    if (json != NULL && json_object_get(json, "smoothing") == NULL)
        json_object_set_new(json, "smoothing", json_string(smoothing_name(SMOOTHING_OFF)));
    return json;
}

char *job_params_to_text(const struct job_params *params)
{
    json_t *json = job_params_to_json(params);
    if (json == NULL)
        return NULL;
    /* 17 digits bring every double back exactly. */
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    return text;
}

/* ---- reading ---- */

struct pair {
    uint32_t *x, *y;
};

static void read_pair(json_t *value, const struct json_at *at, uint32_t min, uint32_t max,
                      const char *key_x, const char *key_y, struct pair out)
{
    const struct json_field fields[] = {
        json_uint_field(key_x, JSON_REQUIRED, min, max, out.x),
        json_uint_field(key_y, JSON_REQUIRED, min, max, out.y),
    };
    json_read_object(value, at, fields, 2);
}

/* One number stands for both directions. */
static void read_stride(json_t *value, const struct json_at *at, void *context)
{
    struct grid_params *grid = context;
    if (!json_is_object(value)) {
        if (json_read_uint(value, at, 1, STRIDE_MAX, &grid->stride_x))
            grid->stride_y = grid->stride_x;
        return;
    }
    read_pair(value, at, 1, STRIDE_MAX, "x", "y", (struct pair){&grid->stride_x, &grid->stride_y});
}

static void read_offset(json_t *value, const struct json_at *at, void *context)
{
    struct grid_params *grid = context;
    read_pair(value, at, 0, OFFSET_MAX, "x", "y", (struct pair){&grid->offset_x, &grid->offset_y});
}

static void read_chip(json_t *value, const struct json_at *at, void *context)
{
    struct grid_params *grid = context;
    read_pair(value, at, CHIP_SIDE_MIN, CHIP_SIDE_MAX, "width", "height",
              (struct pair){&grid->chip_width, &grid->chip_height});
}

/* Names of choices are the engine's: its messages list them. */
static void read_edge(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && grid_edge_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_method(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) &&
        normalise_method_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_outliers(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) &&
        normalise_outliers_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_distance(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) &&
        classifier_distance_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_transform(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) &&
        classifier_transform_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_temperature(json_t *value, const struct json_at *at, void *context)
{
    double *temperature = context;
    if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
        *temperature = 0;
    else if (json_is_number(value))
        json_read_number(value, at, 1e-9, 1e9, temperature);
    else
        json_fault(at, "must be \"auto\" or a number from 1e-09 to 1e+09");
}

static void read_input_size(json_t *value, const struct json_at *at, void *context)
{
    struct input_sizes *sizes = context;
    uint32_t side;
    if (!json_read_uint(value, at, ENCODER_INPUT_SIZE_MIN, ENCODER_INPUT_SIZE_MAX, &side))
        return;
    if (sizes->n > 0 && side <= sizes->sides[sizes->n - 1])
        json_fault(at, "must be larger than the size before it, %u, is %u",
                   sizes->sides[sizes->n - 1], side);
    else if (sizes->n < INPUT_SIZES_MAX)
        sizes->sides[sizes->n++] = side;
}

static void read_encoding(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && encoding_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_precision(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && precision_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_borders(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && borders_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_flag(json_t *value, const struct json_at *at, void *context)
{
    if (json_is_boolean(value))
        *(bool *)context = json_is_true(value);
    else
        json_fault(at, "must be true or false, is %s", json_type_name(value));
}

static void read_reference(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) &&
        reference_choice_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_normalise(json_t *value, const struct json_at *at, void *context)
{
    struct normalise_params *normalise = context;
    const struct json_field fields[] = {
        json_value_field("method", JSON_OPTIONAL, read_method, &normalise->method),
        json_number_field("low", JSON_OPTIONAL, 0, 100, &normalise->low),
        json_number_field("high", JSON_OPTIONAL, 0, 100, &normalise->high),
        json_value_field("outliers", JSON_OPTIONAL, read_outliers, &normalise->outliers),
    };
    json_read_object(value, at, fields, 4);
    if (normalise->low >= normalise->high)
        json_fault(at, "low (%.10g) must be below high (%.10g)", normalise->low, normalise->high);
}

static void read_flatten_method(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && flatten_method_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_flatten(json_t *value, const struct json_at *at, void *context)
{
    struct flatten_params *flatten = context;
    const struct json_field fields[] = {
        json_value_field("method", JSON_REQUIRED, read_flatten_method, &flatten->method),
        json_uint_field("order", JSON_OPTIONAL, FLATTEN_ORDER_MIN, FLATTEN_ORDER_MAX,
                        &flatten->order),
        json_uint_field("scale", JSON_OPTIONAL, FLATTEN_SCALE_MIN, FLATTEN_SCALE_MAX,
                        &flatten->scale),
    };
    json_read_object(value, at, fields, 3);
    if (flatten->method != FLATTEN_POLYNOMIAL && json_object_get(value, "order") != NULL)
        json_fault(at, "order is of polynomial alone");
    if (flatten->method != FLATTEN_LARGE_SCALE && json_object_get(value, "scale") != NULL)
        json_fault(at, "scale is of large_scale alone");
}

static void read_clahe(json_t *value, const struct json_at *at, void *context)
{
    struct clahe_params *clahe = context;
    clahe->enabled = true;
    const struct json_field fields[] = {
        json_number_field("clip_limit", JSON_OPTIONAL, 1, 100, &clahe->clip_limit),
        json_uint_field("tiles", JSON_OPTIONAL, 1, 64, &clahe->tiles),
    };
    json_read_object(value, at, fields, 2);
}

static void read_classifier(json_t *value, const struct json_at *at, void *context)
{
    struct classifier_params *classifier = context;
    const struct json_field fields[] = {
        json_value_field("distance", JSON_OPTIONAL, read_distance, &classifier->distance),
        json_value_field("transform", JSON_OPTIONAL, read_transform, &classifier->transform),
        json_value_field("temperature", JSON_OPTIONAL, read_temperature, &classifier->temperature),
    };
    json_read_object(value, at, fields, 3);
}

static void read_mask(json_t *value, const struct json_at *at, void *context)
{
    enum mask_proposals *proposals = context;
    bool proposed = *proposals == MASK_WITH_PROPOSED;
    const struct json_field field = json_bool_field("proposed", JSON_OPTIONAL, &proposed);
    json_read_object(value, at, &field, 1);
    *proposals = proposed ? MASK_WITH_PROPOSED : MASK_WITHOUT_PROPOSED;
}

static void read_head(json_t *value, const struct json_at *at, void *context)
{
    struct classifier_params *classifier = context;
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && head_parse(name, &classifier->head, &err) != 0)
        json_fault(at, "%s", err.message);
}

static void read_smoothing(json_t *value, const struct json_at *at, void *context)
{
    const char *name;
    struct error err = {0};
    if (json_read_string(value, at, 1, 50, &name) && smoothing_parse(name, context, &err) != 0)
        json_fault(at, "%s", err.message);
}

void job_fields_init(struct json_field fields[JOB_FIELDS], struct job_params *params,
                     enum json_presence presence)
{
    struct grid_params *grid = &params->grid;
    struct normalise_params *normalise = &params->normalise;
    fields[0] = json_value_field("stride", presence, read_stride, grid);
    fields[1] = json_value_field("offset", presence, read_offset, grid);
    fields[2] = json_value_field("edge", presence, read_edge, &grid->edge);
    fields[3] = json_value_field("normalise", presence, read_normalise, normalise);
    fields[4] = json_value_field("clahe", JSON_NULLABLE, read_clahe, &normalise->clahe);
    fields[5] = json_value_field("classifier", presence, read_classifier, &params->classifier);
    fields[6] = json_array_field("input_sizes", JSON_OPTIONAL, 1, INPUT_SIZES_MAX, read_input_size,
                                 &params->input_sizes);
    fields[7] = json_value_field("precision", JSON_OPTIONAL, read_precision, &params->precision);
    fields[8] = json_value_field("encoding", JSON_OPTIONAL, read_encoding, &params->encoding);
    fields[9] = json_value_field("mask", JSON_OPTIONAL, read_mask, &params->proposals);
    fields[10] = json_value_field("flatten", JSON_NULLABLE, read_flatten, &normalise->flatten);
    fields[11] = json_value_field("head", JSON_OPTIONAL, read_head, &params->classifier);
    fields[12] = json_value_field("borders", JSON_OPTIONAL, read_borders, &params->borders);
    fields[13] = json_value_field("unknown", JSON_OPTIONAL, read_flag, &params->unknown);
    fields[14] = json_value_field("smoothing", JSON_OPTIONAL, read_smoothing, &params->smoothing);
    fields[15] = json_value_field("reference", JSON_OPTIONAL, read_reference, &params->reference);
}

int job_params_from_text(const char *text, struct job_params *out, struct error *err)
{
    struct job_params params = {.normalise = normalise_params_default,
                                .classifier = classifier_params_default,
                                .proposals = MASK_WITHOUT_PROPOSED,
                                .reference = REFERENCE_TARGET};
    params.normalise.outliers = NORMALISE_KEEP;
    params.classifier.head = &head_prototypes;
    json_t *json = NULL;
    struct error cause = {0};
    int rc = json_parse(text, strlen(text), &json, &cause);
    if (rc == ERROR_NOMEM)
        return error_set_nomem(err, "a job's parameters");
    if (rc != 0)
        return error_set(err, ERROR_CORRUPT, "a job's stored parameters: %s", cause.message);
    struct field_errors errors = {0};
    struct json_at at = {.errors = &errors};
    struct json_field fields[JOB_FIELDS + 1];
    job_fields_init(fields, &params, JSON_REQUIRED);
    fields[JOB_FIELDS] = json_value_field("chip", JSON_REQUIRED, read_chip, &params.grid);
    json_read_object(json, &at, fields, JOB_FIELDS + 1);
    if (errors.n_items > 0)
        rc = error_set(err, ERROR_CORRUPT, "a job's stored parameters: %s %s", errors.items[0].name,
                       errors.items[0].detail);
    else if (errors.n_dropped > 0)
        rc = error_set_nomem(err, "a job's parameters");
    if (rc == 0)
        *out = params;
    field_errors_clear(&errors);
    json_decref(json);
    return rc;
}
