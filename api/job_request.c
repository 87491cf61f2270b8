/* Order: the members' form by the table of fields; then, as far as the form allows, what they name:
 * support set, encoder and, against the chip of the one and the limits, each image. Faults of the
 * client are collected over all of it and answered at once; a fault of the database ends it.
 */
#include "api/job_request.h"

#include <stdlib.h>
#include <string.h>

#include "api/job/job_fields.h"
#include "db/encoders.h"
#include "db/images.h"
#include "db/support_sets.h"
#include "engine/fewshot/heads/head.h"
#include "engine/fewshot/unknown.h"

struct reading {
    struct api_call *call;
    const char *project_id;
    struct db_job *job;
    struct job_params params;
    const char *support_set_id; /* borrowed from the JSON, as all below */
    const char *encoder_id;
    uint32_t version;  /* 0: the latest */
    json_t *image_ids; /* as sent */
    int code;          /* of a database or memory error that ends the reading */
    struct error error;
};

/* A fault of the member `key` of the body. */
#define FAULT(reading, name, ...)                                                                  \
    do {                                                                                           \
        struct json_at root_ = call_json_root((reading)->call);                                    \
        struct json_at member_ = json_at_key(&root_, name);                                        \
        json_fault(&member_, __VA_ARGS__);                                                         \
    } while (0)

static void keep_value(json_t *value, const struct json_at *at, void *context)
{
    (void)at;
    *(json_t **)context = value;
}

/* Reads what the body says, without looking anything up. */
static void read_fields(struct reading *reading, json_t *json)
{
    struct json_field fields[JOB_FIELDS + 5];
    job_fields_init(fields, &reading->params, JSON_OPTIONAL);
    struct json_field *more = fields + JOB_FIELDS;
    more[0] = json_string_field("support_set_id", JSON_REQUIRED, 1, DB_ID_SIZE - 1,
                                &reading->support_set_id);
    more[1] =
        json_uint_field("support_set_version", JSON_NULLABLE, 1, 1000000000, &reading->version);
    more[2] = json_value_field("image_ids", JSON_REQUIRED, keep_value, &reading->image_ids);
    more[3] =
        json_string_field("encoder_id", JSON_NULLABLE, 1, DB_ID_SIZE - 1, &reading->encoder_id);
    more[4] = json_int_field("priority", JSON_OPTIONAL, -100, 100, &reading->job->priority);
    struct json_at at = call_json_root(reading->call);
    json_read_object(json, &at, fields, JOB_FIELDS + 5);
}

/* Keeps an error that is not the client's. */
static void keep_error(struct reading *reading, int code)
{
    if (code != 0 && code != ERROR_NOT_FOUND)
        reading->code = code;
}

/* Whether the head that is asked for can learn from the set. */
static void check_head(struct reading *reading, const struct db_support_set *set)
{
    const char *names[CLASSIFIER_CLASSES_MAX];
    uint32_t counts[CLASSIFIER_CLASSES_MAX];
    struct error cause = {0};
    if (set->n_classes > CLASSIFIER_CLASSES_MAX)
        return;
    for (size_t i = 0; i < set->n_classes; i++) {
        names[i] = set->classes[i].name;
        counts[i] = (uint32_t)set->classes[i].n_examples;
    }
    if (head_check_examples(&reading->params.classifier, counts, (uint32_t)set->n_classes, names,
                            &cause) < 0)
        FAULT(reading, "head", "%s", cause.message);
}

/* Of fewer examples nothing follows about how far a class reaches. */
static void check_unknown(struct reading *reading, const struct db_support_set *set)
{
    for (size_t i = 0; reading->params.unknown && i < set->n_classes; i++) {
        const struct db_class *class = &set->classes[i];
        if (class->n_examples < UNKNOWN_EXAMPLES_MIN)
            FAULT(reading, "unknown", "needs at least %d examples of each class: '%s' has %zu",
                  UNKNOWN_EXAMPLES_MIN, class->name, class->n_examples);
    }
}

static void check_support_set(struct reading *reading)
{
    struct db_support_set set = {0};
    struct db_job *job = reading->job;
    const char *id = reading->support_set_id;
    int rc = !db_id_is(id, "sup_")
                 ? ERROR_NOT_FOUND
                 : db_support_set_get(reading->call->api->db, id, 0, &set, &reading->error);
    keep_error(reading, rc);
    if (rc != 0 || strcmp(set.project_id, reading->project_id) != 0) {
        FAULT(reading, "support_set_id", "is no support set of project %s: '%s'",
              reading->project_id, id);
        goto out;
    }
    if (reading->version > set.version) {
        FAULT(reading, "support_set_version", "must be at most %u, the latest version, is %u",
              set.version, reading->version);
        goto out;
    }
    if (reading->version != 0 && reading->version != set.version) {
        db_support_set_clear(&set);
        set = (struct db_support_set){0};
        rc =
            db_support_set_get(reading->call->api->db, id, reading->version, &set, &reading->error);
        if (rc != 0) {
            reading->code = rc;
            goto out;
        }
    }
    check_head(reading, &set);
    snprintf(job->support_set_id, sizeof(job->support_set_id), "%s", set.id);
    job->support_set_version = set.version;
    struct grid_params *grid = &reading->params.grid;
    grid->chip_width = set.chip_width;
    grid->chip_height = set.chip_height;
    check_unknown(reading, &set);
    grid->stride_x = grid->stride_x != 0 ? grid->stride_x : set.chip_width;
    grid->stride_y = grid->stride_y != 0 ? grid->stride_y : set.chip_height;
out:
    db_support_set_clear(&set);
}

/* What the encoder decides where the request does not. */
static void take_defaults(struct reading *reading, const struct db_encoder *encoder)
{
    struct job_params *params = &reading->params;
    struct error cause = {0};
    const bool encoding_is_given = params->encoding != ENCODING_OWN;
    if (params->input_sizes.n == 0)
        params->input_sizes = (struct input_sizes){1, {encoder->input_size}};
    if (!encoding_is_given && encoding_parse(encoder->encoding, &params->encoding, &cause) < 0) {
        reading->code = error_set(&reading->error, ERROR_CORRUPT, "encoder %s: %.300s", encoder->id,
                                  cause.message);
        return;
    }
    const uint32_t largest = params->input_sizes.sides[params->input_sizes.n - 1];
    if (encoding_check_side(params->encoding, largest, &cause) < 0)
        FAULT(reading, encoding_is_given ? "encoding" : "input_sizes", "%s", cause.message);
    if (params->grid.chip_width != 0 &&
        encoding_check_stride(params->encoding, &params->grid, largest, &cause) < 0)
        FAULT(reading, "stride", "%s", cause.message);
}

static void check_encoder(struct reading *reading)
{
    struct db_encoder encoder = {0};
    struct db *db = reading->call->api->db;
    const char *id = reading->encoder_id;
    int rc;
    if (id == NULL)
        rc = db_encoder_get_default(db, &encoder, &reading->error);
    else if (db_id_is(id, "enc_"))
        rc = db_encoder_get(db, id, &encoder, &reading->error);
    else
        rc = ERROR_NOT_FOUND;
    keep_error(reading, rc);
    if (rc == ERROR_NOT_FOUND && id == NULL)
        FAULT(reading, "encoder_id", "is required: the server has no default encoder");
    else if (rc == ERROR_NOT_FOUND)
        FAULT(reading, "encoder_id", "is no encoder: '%s'", id);
    if (rc == 0) {
        snprintf(reading->job->encoder_id, sizeof(reading->job->encoder_id), "%s", encoder.id);
        take_defaults(reading, &encoder);
    }
    db_encoder_clear(&encoder);
}

/* A stored job may name a precision that this machine lacks; a new one may not. */
static void check_precision(struct reading *reading)
{
    struct error cause = {0};
    if (precision_check(reading->params.precision, &cause) != 0)
        FAULT(reading, "precision", "%s", cause.message);
}

/* Looks one image up and plans its grid, when the chip is known. */
static void check_image(struct reading *reading, const char *id, const struct json_at *at)
{
    struct db_image image = {0};
    int rc = !db_id_is(id, "img_")
                 ? ERROR_NOT_FOUND
                 : db_image_get(reading->call->api->db, id, &image, &reading->error);
    keep_error(reading, rc);
    if (rc != 0 || strcmp(image.project_id, reading->project_id) != 0) {
        json_fault(at, "is no image of project %s: '%s'", reading->project_id, id);
        goto out;
    }
    if (reading->params.grid.chip_width == 0)
        goto out;
    struct grid grid;
    struct error cause = {0};
    uint64_t max_chips = reading->call->api->limits.max_chips_per_image;
    if (grid_plan(&reading->params.grid, image.width, image.height, max_chips, &grid, &cause) != 0)
        json_fault(at, "%s", cause.message);
    else
        reading->job->n_chips_total += grid_n_chips(&grid);
    snprintf(reading->job->image_ids[reading->job->n_images++], DB_ID_SIZE, "%s", id);
out:
    db_image_clear(&image);
}

static void check_element(struct reading *reading, json_t *value, const struct json_at *at,
                          json_t *seen)
{
    const char *id;
    if (!json_read_string(value, at, 1, DB_ID_SIZE - 1, &id))
        return;
    json_t *before = json_object_get(seen, id);
    if (before != NULL) {
        json_fault(at, "is the same image as element %lld: '%s'",
                   (long long)json_integer_value(before), id);
        return;
    }
    json_object_set_new(seen, id, json_integer((json_int_t)at->index));
    check_image(reading, id, at);
}

static void check_images(struct reading *reading)
{
    struct json_at root = call_json_root(reading->call);
    struct json_at at = json_at_key(&root, "image_ids");
    uint64_t max = reading->call->api->limits.max_images_per_job;
    size_t n = json_array_size(reading->image_ids);
    if (!json_is_array(reading->image_ids)) {
        json_fault(&at, "must be an array, is %s", json_type_name(reading->image_ids));
        return;
    }
    if (n < 1 || n > max) {
        json_fault(&at, "must have 1 to %llu elements, has %zu", (unsigned long long)max, n);
        return;
    }
    reading->job->image_ids = calloc(n, sizeof(*reading->job->image_ids));
    json_t *seen = json_object();
    if (reading->job->image_ids == NULL || seen == NULL)
        reading->code = error_set_nomem(&reading->error, "a job's images");
    for (size_t i = 0; i < n && reading->code == 0; i++) {
        struct json_at element = json_at_index(&at, i);
        check_element(reading, json_array_get(reading->image_ids, i), &element, seen);
    }
    json_decref(seen);
}

int job_request_read(struct api_call *call, json_t *json, const char *project_id,
                     struct db_job *out, struct error *err)
{
    struct db_job job = {0};
    struct reading reading = {.call = call, .project_id = project_id, .job = &job};
    reading.params.normalise = normalise_params_default;
    reading.params.classifier = classifier_params_default;
    reading.params.encoding = ENCODING_OWN;
    reading.params.proposals = MASK_WITH_PROPOSED;
    reading.params.borders = BORDERS_ASSIGN;
    read_fields(&reading, json);
    check_precision(&reading);
    if (reading.support_set_id != NULL)
        check_support_set(&reading);
    if (reading.code == 0)
        check_encoder(&reading);
    if (reading.code == 0 && reading.image_ids != NULL)
        check_images(&reading);
    int rc = reading.code;
    if (rc != 0)
        error_set(err, rc, "%s", reading.error.message);
    else
        rc = call_check_fields(call, err);
    if (rc == 0) {
        snprintf(job.project_id, sizeof(job.project_id), "%s", project_id);
        job.params = job_params_to_text(&reading.params);
        if (job.params == NULL)
            rc = error_set_nomem(err, "a job's parameters");
    }
    if (rc == 0)
        *out = job;
    else
        db_job_clear(&job);
    return rc;
}
